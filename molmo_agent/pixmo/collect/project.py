"""The folder of a collection: images, and a log of everything that annotators did. Knows nothing of the web page.

    FOLDER/images/...           the images, in subfolders or not
    FOLDER/annotations.jsonl    one line for each answer; the last one of an annotator counts
    FOLDER/audio/               the recordings, named by their SHA-256
    FOLDER/count.jsonl          proposals of ``agent pixmo count``, to be verified

The log is only ever appended to: the folder can be copied while people work, and resumes after a kill.
"""

import hashlib
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from molmo_agent.errors import DataError, ImageError, UsageError
from molmo_agent.files import append_line, write_whole
from molmo_agent.geometry import Point
from molmo_agent.images.reading import read_size
from molmo_agent.parse import json_lines, read_bounded
from molmo_agent.pixmo.points import Verdict, agree, label_key, to_percent

LOG, LOCK = "annotations.jsonl", ".collect.lock"
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".heic")
_MAX_NAME, _MAX_LABEL, _MAX_TEXT, MAX_POINTS = 60, 200, 20_000, 2_000
TASKS = ("points", "count", "cap", "ask")


@dataclass(frozen=True, slots=True)
class Item:
    """An image to annotate."""

    # Relative to the folder of images, with forward slashes.
    name: str
    path: Path
    # Of the file, in hex: annotations belong to the pixels, not to the name.
    sha256: str
    # (width, height) in pixels, upright.
    size: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an annotator says about one name in one image."""

    label: str
    points: tuple[Point, ...]


class Project:
    """A collection; one process at a time may open it.

    Args:
        folder: of the collection, with a folder ``images``.
        report: called with one line on each image that is skipped and on a log that was cut off.

    Raises:
        UsageError: there is no image, or another process has the folder open.
        DataError: the log is damaged elsewhere than at its end.
    """

    def __init__(self, folder: Path, report: Any = lambda line: None) -> None:
        self.folder, self._report, self._mutex = folder, report, threading.RLock()
        images = folder / "images"
        if not images.is_dir():
            raise UsageError(f"expected images in {images}; make that folder and put them there")
        self._lock = FileLock(folder / LOCK)
        try:
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise UsageError(f"another process collects in {folder}; stop it first, or use its page") from error
        try:
            self.items = self._read_items(images)
            self._answers: dict[tuple[str, str, str], dict[str, Answer]] = {}
            self._settled: dict[tuple[str, str, str], Answer] = {}
            self.records: list[dict[str, Any]] = []
            for record in self._read_log():
                self._take(record)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let another process open the folder."""
        self._lock.release()

    def _read_items(self, images: Path) -> dict[str, Item]:
        items: dict[str, Item] = {}
        for path in sorted(path for path in images.rglob("*") if path.suffix.lower() in _ENDINGS):
            name = path.relative_to(images).as_posix()
            try:
                data = read_bounded(path)
                item = Item(name, path, hashlib.sha256(data).hexdigest(), read_size(data))
            except (ImageError, DataError) as error:
                self._report(f"skipped {name}: {error}")
                continue
            if item.sha256 in items:
                self._report(f"skipped {name}: the same file as {items[item.sha256].name}")
                continue
            items[item.sha256] = item
        if not items:
            raise UsageError(f"expected images in {images} ({', '.join(_ENDINGS)}); found none that can be read")
        return items

    def _read_log(self) -> list[dict[str, Any]]:
        path = self.folder / LOG
        cut: list[str] = []
        if not path.exists():
            return []
        records = [record for _, record in json_lines(path, on_cut_end=cut.append)]
        for number, record in enumerate(records, 1):
            if not isinstance(record, dict) or record.get("task") not in TASKS:
                raise DataError(f"expected an annotation in line {number} of {path}, got {str(record)[:80]}")
        if cut:
            # The next line would be glued to what is left of this one.
            write_whole(path, "".join(json.dumps(record) + "\n" for record in records))
            self._report(cut[0])
        return records

    def item(self, sha256: object) -> Item:
        """Return an image by its hash.

        Raises:
            UsageError: there is no such image.
        """
        if not isinstance(sha256, str) or sha256 not in self.items:
            raise UsageError(f"expected an image of this collection, got {str(sha256)[:80]!r}: reload the page")
        return self.items[sha256]

    def record(self, task: str, annotator: str, item: Item, **values: Any) -> dict[str, Any]:
        """Append an entry to the log; it is on disk when this returns.

        Raises:
            UsageError: the annotator has no name.
            OSError: the log cannot be written to; nothing changed then.
        """
        entry = {
            "task": task,
            "annotator": checked_name(annotator),
            "item": item.sha256,
            "image": item.name,
            "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **values,
        }
        with self._mutex:
            append_line(self.folder / LOG, json.dumps(entry))
            self._take(entry)
        return entry

    def _take(self, entry: dict[str, Any]) -> None:
        self.records.append(entry)
        if entry["task"] not in ("points", "count"):
            return
        key = (entry["task"], entry["item"], label_key(entry["label"]))
        if entry.get("deleted"):
            self._answers.get(key, {}).pop(entry["annotator"], None)
            self._settled.pop(key, None)
            return
        answer = Answer(entry["label"], tuple(Point(x, y) for x, y in entry["points"]))
        if entry.get("settled"):
            self._settled[key] = answer
        else:
            # Whoever answers anew reopens what was settled.
            self._settled.pop(key, None)
            self._answers.setdefault(key, {})[entry["annotator"]] = answer

    def save_points(
        self, annotator: str, item: Item, label: object, points: object, *, task: str = "points", settled: bool = False
    ) -> None:
        """Save what an annotator says about one name in one image; the earlier answer is replaced.

        Args:
            annotator: a name.
            item: the image.
            label: what is pointed at.
            points: a list of [x, y], fractions of the image, one for each instance; empty: it is not there.
            task: points, or count.
            settled: this ends a disagreement.

        Raises:
            UsageError: there is no label, or a point is invalid.
            OSError: see :meth:`record`.
        """
        places = checked_points(points)
        self.record(
            task,
            annotator,
            item,
            label=checked_text(label, "a name for what you point at", _MAX_LABEL),
            points=[[round(p.x, 4), round(p.y, 4)] for p in places],
            **({"settled": True} if settled else {}),
        )

    def delete_points(self, annotator: str, item: Item, label: str) -> None:
        """Withdraw an annotator's answer."""
        self.record("points", annotator, item, label=label, deleted=True)

    def answers(self, item: Item, task: str = "points") -> dict[str, dict[str, Answer]]:
        """Return the answers on an image: name -> annotator -> answer."""
        with self._mutex:
            return {
                label: dict(answers)
                for (kind, sha256, label), answers in self._answers.items()
                if answers and kind == task and sha256 == item.sha256
            }

    def verdict(self, item: Item, key: str, task: str = "points") -> Verdict:
        """Return what the annotators say together about a name that has answers."""
        with self._mutex:
            answers, settled = self._answers[task, item.sha256, key], self._settled.get((task, item.sha256, key))
        if settled is not None:
            return Verdict(settled.points, len(answers))
        return agree({name: answer.points for name, answer in answers.items()}, item.size)


def checked_name(value: object) -> str:
    """Return the name of an annotator.

    Raises:
        UsageError: this is not a name.
    """
    return checked_text(value, "the name of the annotator", _MAX_NAME)


def checked_text(value: object, what: str, most: int = _MAX_TEXT) -> str:
    """Return a text without outer spaces, its inner spaces single.

    Raises:
        UsageError: it is empty, too long, or has characters that cannot be seen.
    """
    text = " ".join(value.split()) if isinstance(value, str) else ""
    if not text or len(text) > most or not text.isprintable():
        raise UsageError(f"expected {what} of 1 to {most} visible characters, got {str(value)[:40]!r}")
    return text


def checked_points(value: object) -> tuple[Point, ...]:
    """Return points from a list of [x, y] in fractions.

    Raises:
        UsageError: this is not such a list, or two points are the same one.
    """
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) > MAX_POINTS:
        raise UsageError(f"expected a list of at most {MAX_POINTS} points, got {str(value)[:40]}")
    points: list[Point] = []
    for pair in value:
        try:
            x, y = (float(number) for number in pair)
            points.append(Point(x, y))
        except (TypeError, ValueError) as error:
            raise UsageError(f"expected points [x, y] within the image, each 0 to 1, got {str(pair)[:40]}") from error
    # The file has one decimal of a percent.
    if len({to_percent(point) for point in points}) < len(points):
        raise UsageError("two points are at the same place: remove one of them, since each instance counts once")
    return tuple(points)


def count_proposals(folder: Path) -> Mapping[str, dict[str, Any]]:
    """Return what a detector proposed to be verified: image hash -> {label, points, split}.

    Raises:
        DataError: the file is damaged.
    """
    path = folder / "count.jsonl"
    if not path.exists():
        return {}
    proposals = {}
    for number, row in json_lines(path):
        try:
            checked_points(row["points"])
            proposals[str(row["item"])] = {name: row[name] for name in ("label", "points", "split")}
        except (TypeError, KeyError, UsageError) as error:
            raise DataError(f"expected a proposal in line {number} of {path}: {error}") from error
    return proposals
