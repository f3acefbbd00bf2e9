"""Export a collection as data sets that the PixMo readers read. What is disputed or unverified stays out."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molmo_agent.errors import UsageError
from molmo_agent.parse import read_bounded
from molmo_agent.pixmo.collect.project import Item, Project, count_proposals
from molmo_agent.pixmo.language_model.writer import Writer
from molmo_agent.pixmo.points import METHODS, label_key, points_row
from molmo_agent.pixmo.tables import image_url, new_folder, store_image, write_split


@dataclass
class Export:
    """What was written."""

    # Data set -> number of rows.
    rows: Counter[str] = field(default_factory=Counter)
    # One line on each thing that stayed out.
    left_out: list[str] = field(default_factory=list)


def export_points(project: Project, out: Path, export: Export, *, method: str, least: int) -> None:
    """Write PixMo-Points.

    Args:
        project: the collection.
        out: parent of the data set's folder.
        export: receives what was done.
        method: ``collection_method`` of the rows, pointing or counting.
        least: number of annotators that have to agree on a name.
    """
    if method not in METHODS:
        raise UsageError(f"expected the method {' or '.join(METHODS)}, got {method!r}")
    rows = []
    folder = new_folder(out / "pixmo-points", "pixmo-points")
    for item in project.items.values():
        for key, answers in sorted(project.answers(item).items()):
            verdict, label = project.verdict(item, key), next(iter(answers.values())).label
            if verdict.points is None:
                export.left_out.append(f"{item.name}, {label!r}: {' and '.join(answers)} disagree; settle it")
                continue
            if verdict.num_annotators < least:
                export.left_out.append(
                    f"{item.name}, {label!r}: {verdict.num_annotators} of {least} annotators pointed at it"
                )
                continue
            sha256 = store_image(folder, read_bounded(item.path))
            rows.append(points_row(image_url(sha256), sha256, label, verdict.points, method))
    write_split(folder, "pixmo-points", rows)
    export.rows["pixmo-points"] = len(rows)


def export_counts(project: Project, out: Path, export: Export) -> None:
    """Write PixMo-Count: training rows as detected, or as corrected; validation and test only what people verified."""
    proposals = count_proposals(project.folder)
    splits: dict[str, list[dict[str, Any]]] = {"train": [], "validation": [], "test": []}
    folder = new_folder(out / "pixmo-count", "pixmo-count")
    for sha256, proposal in proposals.items():
        if sha256 not in project.items:
            export.left_out.append(f"the image {sha256[:12]}... of a count is no longer in the collection")
            continue
        item = project.items[sha256]
        row = _count_row(project, item, proposal, export)
        if row is not None:
            store_image(folder, read_bounded(item.path))
            splits[proposal["split"]].append(row)
    for split, rows in splits.items():
        write_split(folder, "pixmo-count", rows, split)
        export.rows[f"pixmo-count/{split}"] = len(rows)


def _count_row(project: Project, item: Item, proposal: Mapping[str, Any], export: Export) -> dict[str, Any] | None:
    key = label_key(proposal["label"])
    points = [(float(x), float(y)) for x, y in proposal["points"]]
    if project.answers(item, "count").get(key):
        verdict = project.verdict(item, key, "count")
        if verdict.points is None:
            export.left_out.append(f"{item.name}, count of {proposal['label']!r}: the annotators disagree")
            return None
        points = [(point.x, point.y) for point in verdict.points]
    elif proposal["split"] != "train":
        export.left_out.append(f"{item.name}, count of {proposal['label']!r}: nobody verified it")
        return None
    width, height = item.size
    return {
        "image_url": image_url(item.sha256),
        "image_sha256": item.sha256,
        "label": proposal["label"],
        "count": len(points),
        "points": {
            "x": [round(x * width, 1) for x, _ in points],
            "y": [round(y * height, 1) for _, y in points],
        },
    }


def export_project(
    folder: Path,
    out: Path,
    *,
    method: str,
    least: int,
    report: Callable[[str], object],
    writer: Writer | None = None,
) -> Export:
    """Write the data sets of a collection that have annotations: pixmo-points, pixmo-count, ... in ``out``.

    Args:
        folder: of the collection.
        out: parent of the data sets' folders.
        method: ``collection_method`` of the points, pointing or counting.
        least: number of annotators that have to agree on points.
        report: called with one line on each problem of the folder.
        writer: a language model that merges transcripts; without one, rules merge them.

    Raises:
        UsageError: there is nothing to export, or ``out`` holds something else.
    """
    from molmo_agent.pixmo.collect.export_texts import export_texts

    project, export = Project(folder, report), Export()
    try:
        tasks = {record["task"] for record in project.records}
        if "points" in tasks:
            export_points(project, out, export, method=method, least=least)
        if count_proposals(folder):
            export_counts(project, out, export)
        export_texts(project, out, export, writer)
    finally:
        project.close()
    if not sum(export.rows.values()):
        reasons = "".join(f"\n  {line}" for line in export.left_out[:10])
        raise UsageError(f"there is nothing to export in {folder}: annotate images first{reasons}")
    return export
