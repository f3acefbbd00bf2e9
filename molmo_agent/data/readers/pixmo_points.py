"""Readers of the PixMo data sets with points: pointing, counting, and explanations that point.

Published points are percent of the image, or pixels in PixMo-Count; here they are fractions. Records with a
point outside the image are skipped and reported. Layout and images: ``pixmo.py``.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.images.checked import Size
from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.point_answers import PointAnswers
from molmo_agent.data.question import Question
from molmo_agent.data.readers.annotated import Annotated, Columns, DataSet, ParsedRecord, required_texts
from molmo_agent.data.readers.pixmo import lists_of, web_table
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.geometry import Point
from molmo_agent.point_text.parse import PLACEHOLDER, InlinePoints

_STYLES = ("pointing", "point_count", "count_then_point", "only_count")
# How points become an answer, with the released models' choices first: see data/point_answers.py.
_ANSWERS = {
    "order": ("sorted", "annotated"),
    "places": ("annotated", "random", "random_number"),
    "dialect": ("molmo", "molmo-tokens"),
}
_ANSWER_DEFAULTS = {name: values[0] for name, values in _ANSWERS.items()}
_PARTS = ("train", "validation")


def points(source: Source) -> Annotated:
    """Read PixMo-Points: all targets of an image, one annotation per label.

    Options: ``method`` ("pointing": anything; "counting": frequent objects), ``style`` ("pointing"; "point_count": the
    count after the points; "count_then_point": before them; "only_count"), ``part`` ("validation": 2048 images),
    ``most`` points of a label (the paper skips labels with more than 40; by default no limit), ``leave_out``
    (PixMo-Points-Eval, whose images must not be trained on), ``images``; ``order``, ``places`` and ``dialect`` of the
    answer: :class:`~molmo_agent.data.point_answers.PointAnswers`.
    """
    defaults = {
        "method": "pointing",
        "style": "pointing",
        "part": "train",
        "most": None,
        "leave_out": None,
        "images": None,
        **_ANSWER_DEFAULTS,
    }
    choices = {"method": ("pointing", "counting"), "style": _STYLES, "part": _PARTS, **_ANSWERS}
    options = options_of(source, defaults, choices)
    columns = ("image_url", "image_sha256", "label", "points", "collection_method")
    records, images, problems = web_table(source, "train", columns)
    left_out = _addresses(options["leave_out"], problems)
    method, style, most = options["method"], options["style"], options["most"]

    def parse(number: int, record: Any) -> ParsedRecord | None:
        if record["collection_method"] != method or record["image_url"] in left_out:
            return None
        url, label = required_texts(record, "image_url", "label")
        fractions = percent_points(record["points"])
        if most is not None and len(fractions) > most:
            raise ValueError(f"{label!r} has {len(fractions)} points, more than {most}")
        question = Question(
            id=f"pixmo-points/{number}",
            style=style,
            text=label,
            points=fractions,
            extra={"url": url, "count": len(fractions)},
        )
        return ParsedRecord(url, (question,), record["image_sha256"])

    return Annotated(
        DataSet(
            path=required_path(source),
            records=records,
            parse=parse,
            images=images,
            part=options["part"],
            hold_out=2048,
            to_conversation=_answers(options),
        ),
        problems,
    )


def _answers(options: Any) -> PointAnswers:
    return PointAnswers(**{name: options[name] for name in _ANSWERS})


def _addresses(folder: str | None, problems: Problems) -> set[str]:
    if folder is None:
        return set()
    table = Table(Path(folder), "test", ("image_url",), problems)
    return {row["image_url"] for _, row in table.scan(("image_url",))}


def percent_points(value: Any) -> tuple[Point, ...]:
    """Return points of 0 to 100 as fractions.

    Raises:
        ValueError: a point lies outside, or the list is missing.
    """
    if value is None:
        raise ValueError("expected a list of points, got None")
    return tuple(_inside(x / 100, y / 100) for x, y in zip(*lists_of(value, "x", "y"), strict=True))


def _inside(x: float, y: float) -> Point:
    try:
        return Point(x, y)
    except ValueError as error:
        raise ValueError(f"a point lies outside the image: {error}") from error


def points_eval(source: Source) -> Annotated:
    """Read PixMo-Points-Eval: a label, its points, and a mask of each target, all on images of their own.

    Questions have ``extra["masks"]``, a function that returns (targets, height, width) bool. Options:
    ``images``.
    """
    options_of(source, {"images": None})
    records, images, problems = web_table(source, "test", ("image_url", "image_sha256", "label", "points", "masks"))
    table = records.table
    records = Columns(table, tuple(name for name in records.columns if name != "masks"))

    def masks(number: int) -> npt.NDArray[np.bool_]:
        return np.array(table.row(number, ["masks"])["masks"], dtype=bool)

    def parse(number: int, record: Any) -> ParsedRecord:
        url, label = required_texts(record, "image_url", "label")
        question = Question(
            id=f"pixmo-points-eval/{number}",
            style="pointing",
            text=label,
            points=percent_points(record["points"]),
            extra={"masks": partial(masks, number), "url": url},
        )
        return ParsedRecord(url, (question,), record["image_sha256"])

    return Annotated(DataSet(path=required_path(source), records=records, parse=parse, images=images), problems)


def point_explanations(source: Source) -> Annotated:
    """Read PixMo-Point-Explanations: answers with points inside; an image with several is split into two rows.

    Options: ``part`` ("validation": 1024 images), ``images``.
    """
    options = options_of(source, {"part": "train", "images": None}, {"part": _PARTS})
    names = ("question", "parsed_response", "alt_text", "inline_text", "points")
    records, images, problems = web_table(source, "train", ("image_url", "image_sha256", *names))

    def parse(number: int, record: Any) -> ParsedRecord | None:
        if record["parsed_response"] is None:  # as published: the answer has no points
            return None
        url, question, answer = required_texts(record, "image_url", "question", "parsed_response")
        parts = list(zip(record["points"], record["inline_text"], record["alt_text"], strict=True))
        if answer.count(PLACEHOLDER) != len(parts):
            raise ValueError(f"expected points for {answer.count(PLACEHOLDER)} places of the answer, got {len(parts)}")
        inline = tuple(InlinePoints(percent_points(places), text, alt) for places, text, alt in parts)
        pointing = Question(
            id=f"pixmo-point-explanations/{number}",
            style="point_qa",
            text=question,
            answers=(answer,),
            extra={"inline": inline, "url": url},
        )
        return ParsedRecord(url, (pointing,), record["image_sha256"])

    return Annotated(
        DataSet(
            path=required_path(source),
            records=records,
            parse=parse,
            images=images,
            halves=True,
            part=options["part"],
            hold_out=1024,
        ),
        problems,
    )


def count(source: Source) -> Annotated:
    """Read PixMo-Count: the number of objects of one kind; only the split "train" has points.

    Options: ``split`` ("train", "validation", "test"), ``style``, ``order``, ``places`` and ``dialect`` as for
    :func:`points` (by default "point_count"), ``images``.
    """
    defaults = {"split": "train", "style": "point_count", "images": None, **_ANSWER_DEFAULTS}
    options = options_of(source, defaults, {"split": (*_PARTS, "test"), "style": _STYLES, **_ANSWERS})
    records, images, problems = web_table(source, options["split"], ("image_url", "label", "count", "points"))
    with_points = options["split"] == "train"
    name = f"pixmo-count/{options['split']}"

    def parse(number: int, record: Any) -> ParsedRecord:
        url, label = required_texts(record, "image_url", "label")
        total = int(record["count"])
        pixels = tuple(zip(*lists_of(record["points"], "x", "y"), strict=True)) if with_points else None
        if pixels is not None and len(pixels) != total:
            raise ValueError(f"expected a point for each of {total} {label!r}, got {len(pixels)}")
        question = Question(
            id=f"{name}/{number}",
            style=options["style"],
            text=label,
            answers=(str(total),),
            extra={"count": total, "pixels": pixels, "url": url},
        )
        return ParsedRecord(url, (question,), record.get("image_sha256"))

    def normalize_points(question: Question, size: Size) -> Question:
        pixels = question.extra["pixels"]
        if pixels is None:
            return question
        return replace(question, points=tuple(_inside(x / size[0], y / size[1]) for x, y in pixels))

    return Annotated(
        DataSet(
            path=required_path(source),
            records=records,
            parse=parse,
            images=images,
            grouped=False,
            normalize_points=normalize_points,
            to_conversation=_answers(options),
        ),
        problems,
    )
