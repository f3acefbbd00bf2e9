"""Export descriptions and answered questions: PixMo-Cap, PixMo-AskModelAnything, PixMo-Point-Explanations."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from molmo_agent.files import write_whole
from molmo_agent.parse import read_bounded
from molmo_agent.pixmo.ask_anything import explanation, readable
from molmo_agent.pixmo.cap import caption
from molmo_agent.pixmo.collect.project import Item, Project, checked_points
from molmo_agent.pixmo.collect.tasks import accepted, transcripts
from molmo_agent.pixmo.language_model.writer import UnusableReplyError, Writer
from molmo_agent.pixmo.tables import image_url, new_folder, store_image, write_split

if TYPE_CHECKING:
    from molmo_agent.pixmo.collect.export import Export

# Prompts under way at the same time.
_CONCURRENCY = 8


def export_texts(project: Project, out: Path, export: "Export", writer: Writer | None = None) -> None:
    """Write the data sets of texts that the collection has entries for.

    Args:
        project: the collection.
        out: parent of the data sets' folders.
        export: receives what was done.
        writer: a language model for captions; without one, rules merge the transcripts.
    """
    tasks = {record["task"] for record in project.records}
    if "cap" in tasks:
        _export_captions(project, out, export, writer)
    if "ask" in tasks:
        _export_answers(project, out, export)


def _export_captions(project: Project, out: Path, export: "Export", writer: Writer | None) -> None:
    folder, rows, receipts = new_folder(out / "pixmo-cap", "pixmo-cap"), [], []
    described = [(item, entries) for item in project.items.values() if (entries := transcripts(project, item))]

    def merged(one: tuple[Item, dict[str, dict[str, Any]]]) -> str | UnusableReplyError:
        try:
            return caption([entry["transcript"] for entry in one[1].values()], writer)
        except UnusableReplyError as error:
            return error

    # A server answers several prompts at a time.
    with ThreadPoolExecutor(_CONCURRENCY if writer else 1) as pool:
        captions = list(pool.map(merged, described))
    for (item, entries), text in zip(described, captions, strict=True):
        if isinstance(text, UnusableReplyError):
            export.left_out.append(f"{item.name}, caption: {text}")
            continue
        url = image_url(store_image(folder, read_bounded(item.path)))
        said = [entry["transcript"] for entry in entries.values()]
        rows.append({"image_url": url, "caption": text, "transcripts": said})
        receipts += [
            {"image_url": url, "audio_sha256": entry["audio"], "seconds": entry.get("seconds")}
            for entry in entries.values()
        ]
    write_split(folder, "pixmo-cap", rows)
    write_whole(folder / "receipts.jsonl", "".join(json.dumps(receipt) + "\n" for receipt in receipts))
    export.rows["pixmo-cap"] = len(rows)
    typed = sum(receipt["audio_sha256"] is None for receipt in receipts)
    if typed:
        export.left_out.append(f"{typed} of {len(receipts)} transcripts were typed: no recording proves them")


def _export_answers(project: Project, out: Path, export: "Export") -> None:
    plain: list[dict[str, Any]] = []
    pointing: list[dict[str, Any]] = []
    folders = [new_folder(out / name, name) for name in ("pixmo-ask-model-anything", "pixmo-point-explanations")]
    done = accepted(project)
    for entry in done:
        if entry["item"] not in project.items:
            export.left_out.append(f"{entry['image']}: the image of a question is no longer in the collection")
            continue
        item = project.items[entry["item"]]
        places = {name: checked_points(points) for name, points in entry["places"].items()}
        columns, row = explanation(entry["answer"], places), {"question": entry["question"]}
        sha256 = store_image(folders[columns is not None], read_bounded(item.path))
        row |= {"image_url": image_url(sha256), "image_sha256": sha256}
        if columns is None:
            plain.append({**row, "answer": readable(entry["answer"])})
        else:
            pointing.append({**row, **columns})
    for folder, rows in zip(folders, (plain, pointing), strict=True):
        write_split(folder, folder.name, rows)
        export.rows[folder.name] = len(rows)
    asked = {record["thread"] for record in project.records if record["task"] == "ask"}
    if len(asked) > len(done):
        export.left_out.append(f"{len(asked) - len(done)} of {len(asked)} questions have no accepted answer")
