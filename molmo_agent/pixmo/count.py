"""Counts by a detector: the most frequent class of each image, a point in the middle of each object.

A detector is trusted where it is sure: images with a doubtful detection of that class are skipped. For each number of
objects some images go to validation and test, which people verify on the page of ``agent pixmo collect``.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import PIL.Image
from scipy import ndimage

from molmo_agent.episode import Image
from molmo_agent.errors import DataError, ImageError, ModelError, UsageError
from molmo_agent.files import write_whole
from molmo_agent.geometry import Box, Point
from molmo_agent.images import read_image
from molmo_agent.parse import read_bounded
from molmo_agent.pixmo.shards import Mapper, batches

MAX_COUNT = 10
# Two boxes of one class that share more than this are one object found twice.
_SAME_OBJECT = 0.7
# Images in one task.
_BATCH = 32
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")


@dataclass(frozen=True, slots=True)
class Detection:
    """An object that a detector found."""

    label: str
    box: Box
    # In [0, 1]; a detector's own.
    score: float


class Detector(Protocol):
    """Finds the objects of the classes it knows."""

    def detect(self, image: Image, least: float) -> Sequence[Detection]:
        """Return the objects on an RGB uint8 image of shape (height, width, 3) with at least this score."""
        ...


class ShapesDetector:
    """Coloured shapes on a plain ground, for tests and for those who want to see the pipeline without a model."""

    def detect(self, image: Image, least: float) -> Sequence[Detection]:
        """Return the shapes; those that touch the border or are mostly holes score 0.5."""
        height, width = image.shape[:2]
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        ground = np.median(border, axis=0)
        regions, _ = ndimage.label(np.abs(image - ground).max(axis=-1) > 40)
        found = []
        for number, (rows, columns) in enumerate(ndimage.find_objects(regions), 1):
            mask = regions[rows, columns] == number
            if mask.sum() < 2e-4 * width * height:
                continue
            touches = rows.start == 0 or columns.start == 0 or rows.stop == height or columns.stop == width
            score = 0.5 if touches or mask.mean() < 0.4 else 1.0
            if score >= least:
                colour = np.median(image[rows, columns][mask], axis=0)
                box = Box(columns.start / width, rows.start / height, columns.stop / width, rows.stop / height)
                found.append(Detection(f"{_colour_name(colour)} shape", box, score))
        return found


def _colour_name(colour: Any) -> str:
    pixel = np.asarray(colour, dtype=np.uint8).reshape(1, 1, 3)
    hue, saturation, value = np.asarray(PIL.Image.fromarray(pixel).convert("HSV"))[0, 0]
    if value < 50:
        return "black"
    if saturation < 50:
        return "white" if value > 200 else "grey"
    names = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "red")
    return names[int(np.searchsorted((10, 30, 48, 120, 140, 180, 232), hue, side="right"))]


class TransformersDetector:
    """A detection model of transformers: DETR, YOLOS, RT-DETR, ...

    Args:
        name: a folder, or a name on the Hugging Face hub.

    Raises:
        UsageError: there is no such model, or it does not detect objects.
    """

    def __init__(self, name: str) -> None:
        self._name, self._pipeline = name, _pipeline(name)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        """Travel to other processes by name; each loads the model once."""
        return TransformersDetector, (self._name,)

    def detect(self, image: Image, least: float) -> Sequence[Detection]:
        """Return the objects, boxes cut off at the border."""
        height, width = image.shape[:2]
        try:
            found = self._pipeline(PIL.Image.fromarray(image), threshold=least)
        except RuntimeError as error:
            raise ModelError(f"the detector {self._name} failed on an image of {width} x {height}: {error}") from error
        detections = []
        for one in found:
            left, right = (float(np.clip(one["box"][side] / width, 0, 1)) for side in ("xmin", "xmax"))
            top, bottom = (float(np.clip(one["box"][side] / height, 0, 1)) for side in ("ymin", "ymax"))
            if left < right and top < bottom:
                detections.append(Detection(str(one["label"]), Box(left, top, right, bottom), float(one["score"])))
        return detections


@lru_cache(maxsize=1)
def _pipeline(name: str) -> Any:
    import transformers

    try:
        return transformers.pipeline("object-detection", model=name)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise UsageError(f"expected a detection model of transformers or 'shapes', got {name!r}: {error}") from error


def load_detector(name: str) -> Detector:
    """Return a detector by its name: shapes, or a model of transformers."""
    return ShapesDetector() if name == "shapes" else TransformersDetector(name)


def most_frequent(detections: Sequence[Detection], threshold: float) -> tuple[str, tuple[Point, ...]] | None:
    """Return the class with most objects, and the middle of each.

    Args:
        detections: with their scores, also those below the threshold.
        threshold: minimum score of what counts.

    Returns:
        None if nothing was found, or what was found of that class is doubtful.
    """
    by_class: dict[str, list[Detection]] = defaultdict(list)
    for detection in sorted(detections, key=lambda one: -one.score):
        if all(_shared(detection.box, other.box) <= _SAME_OBJECT for other in by_class[detection.label]):
            by_class[detection.label].append(detection)
    sure = {label: [one for one in found if one.score >= threshold] for label, found in by_class.items()}
    # Of two classes with as many objects the first by name: the same for everyone.
    label = min(sure, key=lambda name: (-len(sure[name]), name), default=None)
    if label is None or not sure[label] or len(sure[label]) < len(by_class[label]):
        return None
    return label, tuple(one.box.center for one in sure[label])


def _shared(first: Box, second: Box) -> float:
    width = min(first.right, second.right) - max(first.left, second.left)
    height = min(first.bottom, second.bottom) - max(first.top, second.top)
    both = max(width, 0) * max(height, 0)
    areas = [(box.right - box.left) * (box.bottom - box.top) for box in (first, second)]
    return both / (sum(areas) - both)


def _detect(paths: Sequence[Path], *, detector: Detector, least: float) -> list[tuple[str, Sequence[Detection]] | str]:
    """Return the hash of each image and its objects, or why it cannot be read."""
    outcomes: list[tuple[str, Sequence[Detection]] | str] = []
    for path in paths:
        try:
            data = read_bounded(path)
            outcomes.append((hashlib.sha256(data).hexdigest(), detector.detect(read_image(data), least)))
        except (ImageError, DataError) as error:
            outcomes.append(str(error))
    return outcomes


def propose(
    images: Path,
    folder: Path,
    detector: Detector,
    *,
    threshold: float,
    per_count: int,
    spread: Mapper = map,
    report: Callable[[str], object] = lambda line: None,
) -> Mapping[str, Counter[int]]:
    """Write the counts of a folder of images as a collection: its images, and ``count.jsonl``.

    Args:
        images: searched with its subfolders.
        folder: of the collection; the images are copied to its folder ``images``.
        detector: finds the objects.
        threshold: minimum score; a detection of half this score makes an image doubtful.
        per_count: images of each number of objects in validation, and in test; at most a third of them in each.
        spread: where the detector runs; the files are the same anywhere.
        report: called with one line on what was skipped.

    Returns:
        For each split the number of images with each number of objects.

    Raises:
        UsageError: there is no such folder.
        OSError: the collection cannot be written.
    """
    if not images.is_dir():
        raise UsageError(f"expected a folder of images, got {images}")
    counts: dict[str, tuple[str, tuple[Point, ...]]] = {}
    empty, paths = [], {}
    skipped: Counter[str] = Counter()
    files = sorted(path for path in images.rglob("*") if path.suffix.lower() in _ENDINGS)
    work = partial(_detect, detector=detector, least=threshold / 2)
    for path, outcome in zip(files, chain.from_iterable(spread(work, batches(files, _BATCH))), strict=True):
        if isinstance(outcome, str):
            report(f"skipped {path.name}: {outcome}")
            continue
        sha256, detections = outcome
        paths[sha256] = path
        found = most_frequent(detections, threshold)
        if found is not None and len(found[1]) <= MAX_COUNT:
            counts[sha256] = found
        elif not detections:
            empty.append(sha256)
        else:
            skipped[f"more than {MAX_COUNT} objects" if found else "doubtful detections"] += 1
    labels = sorted({label for label, _ in counts.values()})
    for sha256 in empty if labels else ():
        # Nothing was found, so none of what other images show.
        counts[sha256] = (labels[int(sha256[:8], 16) % len(labels)], ())
    for reason, number in skipped.items():
        report(f"skipped {number} images: {reason}")
    return _write(folder, counts, paths, per_count)


def _write(
    folder: Path, counts: Mapping[str, tuple[str, tuple[Point, ...]]], paths: Mapping[str, Path], per_count: int
) -> Mapping[str, Counter[int]]:
    by_number: dict[int, list[str]] = defaultdict(list)
    for sha256 in sorted(counts):
        by_number[len(counts[sha256][1])].append(sha256)
    summary: dict[str, Counter[int]] = defaultdict(Counter)
    lines = []
    for number, hashes in sorted(by_number.items()):
        held_out = min(per_count, len(hashes) // 3)
        for place, sha256 in enumerate(hashes):
            split = "validation" if place < held_out else "test" if place < 2 * held_out else "train"
            label, points = counts[sha256]
            row = {"item": sha256, "label": label, "points": [[p.x, p.y] for p in points], "split": split}
            lines.append(json.dumps(row) + "\n")
            summary[split][number] += 1
            copy = folder / "images" / f"{sha256[:16]}{paths[sha256].suffix.lower()}"
            if folder / "images" not in paths[sha256].parents and not copy.exists():
                copy.parent.mkdir(parents=True, exist_ok=True)
                write_whole(copy, read_bounded(paths[sha256]))
    if lines:
        write_whole(folder / "count.jsonl", "".join(lines))
    return dict(summary)
