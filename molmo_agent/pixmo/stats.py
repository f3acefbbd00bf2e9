"""Counts what is in PixMo data sets, published or made here, with or without their images.

The numbers are those of the paper: images, annotations, words or tokens, crops (table 7), and the distribution of
points over labels (figure 12 and section F).
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molmo_agent.data.formats.parquet import Table, shards
from molmo_agent.data.images.checked import EmbeddedImages, FolderImages, Images, StoredImages
from molmo_agent.data.readers.pixmo import lists_of, turns_of
from molmo_agent.data.readers.pixmo_layouts import DOCUMENTS, SPLITS, pixmo_kind
from molmo_agent.data.unusable_rows import ROW_ERRORS, Problems
from molmo_agent.errors import ImageError, UsageError
from molmo_agent.images.reading import read_size
from molmo_agent.model.crops import CropLayout, select_crop_grid

# Images of a split whose size is read.
_MAX_SIZES = 2000
# A range of figure 12.
_RANGE = 10
_COLUMNS = {
    "pixmo-points": ("image_url", "label", "points"),
    "pixmo-points-eval": ("image_url", "label", "points"),
    "pixmo-count": ("image_url", "label", "count"),
    "pixmo-cap": ("image_url", "caption"),
    "pixmo-cap-qa": ("image_url", "question", "answer"),
    "pixmo-ask-model-anything": ("image_url", "question", "answer"),
    "pixmo-point-explanations": ("image_url", "question", "response", "points"),
    "pixmo-docs": ("image_id", "questions"),
    "pixmo-clocks": ("example_id", "text"),
}


@dataclass(frozen=True, slots=True)
class Annotation:
    """One question with its answer, a caption, or a label with its points."""

    texts: tuple[str, ...]
    # Number of points; None if this is no pointing data.
    points: int | None = None


@dataclass(slots=True, kw_only=True)
class SplitStats:
    """What is in one split of a data set."""

    # Path of the folder, kind, split.
    name: str
    kind: str
    split: str
    images: int = 0
    annotations: int = 0
    words: int = 0
    # Of the tokenizer that was given, if any.
    tokens: int | None = None
    # Rows that cannot be read.
    unreadable: int = 0
    # Mean number of crops of an image, the global one included; None: no image is there.
    crops: float | None = None
    # Number of points -> number of labels with so many; empty if this is no pointing data.
    by_points: Counter[int] = field(default_factory=Counter)

    @property
    def absent(self) -> int:
        """Labels whose target is not in the image."""
        return self.by_points[0]

    @property
    def points(self) -> int:
        """Points of all labels."""
        return sum(number * times for number, times in self.by_points.items())

    @property
    def ranges(self) -> dict[str, int]:
        """Number of labels with 1 to 10 points, 11 to 20, ...: figure 12."""
        ranges: Counter[int] = Counter()
        for number, times in self.by_points.items():
            if number:
                ranges[(number - 1) // _RANGE] += times
        last = max(ranges, default=-1)
        return {f"{_RANGE * i + 1}-{_RANGE * (i + 1)}": ranges[i] for i in range(last + 1)}


def count_folder(path: Path, tokenize: Callable[[str], int] | None = None) -> list[SplitStats]:
    """Count what is in each split of a data set.

    Args:
        path: folder of a PixMo data set, or one of its files.
        tokenize: returns the number of tokens of a text.

    Raises:
        UsageError: this is no PixMo data set.
    """
    kind = pixmo_kind(path)
    if kind is None:
        raise UsageError(f"expected a PixMo data set at {path}, as Parquet files with its columns; got something else")
    parts = [path / part for part in DOCUMENTS if (path / part).is_dir()] if kind == "pixmo-docs" else []
    counted = []
    for folder in parts or [path]:
        for split in SPLITS if folder.is_dir() else SPLITS[:1]:
            if shards(folder, split):
                name = f"{path.name}/{folder.name}" if parts else path.name
                counted.append(_count(folder, kind, SplitStats(name=name, kind=kind, split=split), tokenize))
    return counted


def _count(folder: Path, kind: str, stats: SplitStats, tokenize: Callable[[str], int] | None) -> SplitStats:
    problems = Problems()
    table = Table(folder, stats.split, _COLUMNS[kind], problems)
    more = [name for name in ("messages",) if name in table.columns]
    keys: dict[str, None] = {}
    stats.tokens = None if tokenize is None else 0
    for number, record in table.scan([*_COLUMNS[kind], *more]):
        try:
            annotations = list(_annotations(kind, record))
        except ROW_ERRORS:
            stats.unreadable += 1
            continue
        keys[_key(kind, number, record)] = None
        for annotation in annotations:
            stats.annotations += 1
            stats.words += sum(len(text.split()) for text in annotation.texts)
            if tokenize is not None and stats.tokens is not None:
                stats.tokens += sum(map(tokenize, annotation.texts))
            if annotation.points is not None:
                stats.by_points[annotation.points] += 1
    stats.images = len(keys)
    stats.unreadable += len(problems.entries)
    stats.crops = _mean_crops(_images(folder, kind, table), list(keys))
    return stats


def _key(kind: str, number: int, record: Mapping[str, Any]) -> str:
    """Return the key of a record's image."""
    if kind == "pixmo-docs":
        return str(number)
    return str(record["example_id" if kind == "pixmo-clocks" else "image_url"])


def _annotations(kind: str, record: Mapping[str, Any]) -> Iterator[Annotation]:
    """Yield the annotations of a record.

    Raises:
        KeyError, TypeError, ValueError: the record is damaged.
    """
    match kind:
        case "pixmo-points" | "pixmo-points-eval":
            yield Annotation((record["label"],), len(lists_of(record["points"], "x", "y")[0]))
        case "pixmo-count":
            yield Annotation((record["label"],), int(record["count"]))
        case "pixmo-cap":
            yield Annotation((record["caption"],))
        case "pixmo-point-explanations":
            points = sum(len(lists_of(group, "x", "y")[0]) for group in record["points"] or ())
            yield Annotation((record["question"], record["response"]), points)
        case "pixmo-docs":
            for pair in zip(*lists_of(record["questions"], "question", "answer"), strict=True):
                yield Annotation(pair)
        case "pixmo-clocks":
            yield Annotation((record["text"],))
        case _:
            turns = turns_of(record)
            for start in range(0, len(turns), 2):
                yield Annotation(turns[start : start + 2])


def _images(folder: Path, kind: str, table: Table) -> Images:
    if kind == "pixmo-docs":
        return EmbeddedImages(folder, table)
    images = (folder if folder.is_dir() else folder.parent) / "images"
    return FolderImages(images) if kind == "pixmo-clocks" else StoredImages(images)


def _mean_crops(images: Images, keys: list[str]) -> float | None:
    """Return the mean number of crops of the images that are there, of at most so many, spread evenly."""
    layout, crops = CropLayout(), []
    for key in keys[:: max(1, len(keys) // _MAX_SIZES)]:
        try:
            width, height = read_size(images.data(key))
        except (OSError, ImageError, ValueError):
            continue
        rows, columns = select_crop_grid(height, width, layout)
        crops.append(1 + rows * columns)
    return sum(crops) / len(crops) if crops else None


def draw_points_figure(stats: list[SplitStats], path: Path) -> None:
    """Draw how many labels have 1 to 10 points, 11 to 20, ..., on a logarithmic scale, for each data set.

    Raises:
        UsageError: no data set has points.
        MissingExtraError: Matplotlib is not installed.
    """
    from molmo_agent.errors import MissingExtraError
    from molmo_agent.files import whole_file

    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("drawing the figure", "pixmo") from error
    pointing = [one for one in stats if one.ranges]
    if not pointing:
        raise UsageError("expected a data set with points for the figure, got none; leave out --figure")
    labels = max((list(one.ranges) for one in pointing), key=len)
    figure = Figure(figsize=(max(5.0, 1.5 + 0.7 * len(labels)), 3.6), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(pointing)
    for place, one in enumerate(pointing):
        heights = list(one.ranges.values())
        starts = [number - 0.4 + (place + 0.5) * width for number in range(len(heights))]
        axes.bar(starts, heights, width, label=f"{one.name} ({one.split})")
    axes.set_yscale("log")
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlabel("points of a label")
    axes.set_ylabel("labels")
    axes.legend(fontsize=8)
    with whole_file(path) as part:
        figure.savefig(part, dpi=120, format="png")
