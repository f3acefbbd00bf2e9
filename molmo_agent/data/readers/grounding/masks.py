"""Readers of benchmarks for pointing into a region of a photograph, given as a mask or a polygon."""

import csv
import io
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from molmo_agent.data.formats.json_lines import json_rows
from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.question import Question
from molmo_agent.data.readers.annotated import required_texts
from molmo_agent.data.readers.grounding.items import (
    Items,
    Parse,
    embedded,
    existing,
    file_records,
    image_file,
    pointing_question,
    table_records,
)
from molmo_agent.data.readers.grounding.targets import Target, numbers
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.episode import Image
from molmo_agent.errors import UsageError
from molmo_agent.parse import decode, load_json, read_bounded

_CATEGORIES = ("affordable", "counting", "spatial", "reasoning", "steerable")
_PAIR = re.compile(r"\(\s*(-?\d+(?:\.\d+)?)\s*,\s*(-?\d+(?:\.\d+)?)\s*\)")


def _mask_target(mask: Callable[[], Image], facet: str, value: str, count: int | None = None) -> Target:
    return Target(kind="mask", mask=mask, count=count, facets={facet: (value,)})


def point_bench(source: Source) -> Items:
    """Read Point-Bench: ``data.json``, ``selected_images/CATEGORY/``, ``selected_masks/CATEGORY/``.

    Steerable questions start from a point of ``pixmo_metadata.csv``, which is written into the question in percent.

    Raises:
        UsageError: the files are missing.
    """
    options_of(source, {})
    path = required_path(source)
    starts = _start_points(path / "pixmo_metadata.csv")

    def parse(number: int, record: Any) -> Question | None:
        mask = record.get("mask_filename")
        if not mask:
            # Unscored in the published evaluation, too.
            return None
        category, text, name = record["category"], required_texts(record, "user_input"), record["image_filename"]
        if category not in _CATEGORIES:
            raise ValueError(f"expected 'category' {', '.join(_CATEGORIES)}, got {category!r:.80}")
        count = record.get("count")
        if category == "counting" and type(count) is not int:
            raise ValueError(f"expected a whole number as 'count', got {count!r}")
        if category == "steerable":
            if name not in starts:
                raise ValueError(f"expected the start point of {name} in pixmo_metadata.csv, found none")
            text = f"{text} (start: {', '.join(f'x={x:.1f} y={y:.1f}' for x, y in starts[name])})"
        target = _mask_target(
            image_file(path / "selected_masks" / category, mask),
            "category",
            category,
            count if category == "counting" else None,
        )
        return pointing_question(
            f"{category}/{number}", text, target, image_file(path / "selected_images" / category, name)
        )

    file = path / "data.json"
    return Items(path.name, [(file.name, file_records(file), parse)], Problems())


def _start_points(path: Path) -> dict[str, list[tuple[float, float]]]:
    """Return the points of each image in percent; none without the file, which only steerable questions need."""
    if not path.is_file():
        return {}
    rows = csv.DictReader(io.StringIO(decode(read_bounded(path), where=path)))
    points: dict[str, list[tuple[float, float]]] = {}
    for row in rows:
        try:
            listed = load_json(row["points"], where=f"the points of {path.name}")
            points[row["image_filename"]] = [(float(one["x"]), float(one["y"])) for one in listed]
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"expected image_filename and points [{{x, y}}] in line {rows.line_num} of {path}: {error}"
            ) from error
    return points


def ref_spatial(source: Source) -> Items:
    """Read RefSpatial-Bench: ``Location/``, ``Placement/``, ``Unseen/`` with ``question.json``, ``image/``, ``mask/``.

    The hub's Parquet files are read, too. Options: ``split``: "location", "placement", "unseen" or all.

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such split.
    """
    splits = ("location", "placement", "unseen")
    split = options_of(source, {"split": "all"}, {"split": (*splits, "all")})["split"]
    path, problems = required_path(source), Problems()
    parts: list[tuple[str, Iterator[tuple[int, Any]], Parse]] = []
    for name in splits if split == "all" else (split,):
        folder = path / name.capitalize()
        if folder.is_dir():

            def from_files(number: int, record: Any, name: str = name, folder: Path = folder) -> Question:
                target = _mask_target(_beside(folder, "mask", record["mask_path"]), "split", name)
                image = _beside(folder, "image", record["rgb_path"])
                return pointing_question(f"{name}/{record['id']}", record["prompt"], target, image)

            parts.append((f"{folder.name}/question.json", file_records(folder / "question.json"), from_files))
            continue
        table, records = table_records(path, name, ("id", "image", "mask", "prompt"), problems)

        def from_table(number: int, record: Any, name: str = name, table: Any = table) -> Question:
            target = _mask_target(embedded(path, table, number, "mask"), "split", name)
            image = embedded(path, table, number)
            return pointing_question(f"{name}/{record['id']}", record["prompt"], target, image)

        parts.append((table.name, records, from_table))
    return Items(path.name, parts, problems)


def _beside(folder: Path, kind: str, name: Any) -> Callable[[], Image]:
    """Return what reads a file of a folder, named with or without the folder."""
    if isinstance(name, str) and not existing(folder, name).is_file():
        return image_file(folder / kind, name)
    return image_file(folder, name)


def where2place(source: Source) -> Items:
    """Read Where2Place: ``point_questions.jsonl``, ``images/`` and ``masks/NN.jpg`` by the number of the line.

    Options: ``form``: "original", or "parquet" for the copy with masks in the table.

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such form.
    """
    form = options_of(source, {"form": "original"}, {"form": ("original", "parquet")})["form"]
    path, problems = required_path(source), Problems()
    if form == "parquet":
        table, records = table_records(path, "test", ("question", "question_id", "image", "mask"), problems)

        def from_table(number: int, record: Any) -> Question:
            target = _mask_target(embedded(path, table, number, "mask"), "part", "all")
            name = str(record["question_id"])
            return pointing_question(name, record["question"], target, embedded(path, table, number))

        return Items(path.name, [(table.name, records, from_table)], problems)
    file = path / "point_questions.jsonl"
    if not file.is_file():
        raise UsageError(f"expected the questions of Where2Place at {file}, found none")

    def parse(number: int, record: Any) -> Question:
        # Lines are counted from one, masks from zero.
        mask = image_file(path / "masks", f"{number - 1:02d}.jpg")
        target = _mask_target(mask, "part", str(record.get("category") or "all"))
        return pointing_question(
            str(record["question_id"]), record["text"], target, image_file(path / "images", record["image"])
        )

    return Items(path.name, [(file.name, json_rows(file, "questions", problems), parse)], problems)


def robo_spatial_home(source: Source) -> Items:
    """Read RoboSpatial-Home: Parquet files of the splits "context" (points), "compatibility", "configuration".

    ``context`` has a polygon as text, fractions of the image; the others are questions for yes or no. Options:
    ``split``.

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such split.
    """
    splits = ("context", "compatibility", "configuration")
    split = options_of(source, {"split": "context"}, {"split": splits})["split"]
    path, problems = required_path(source), Problems()
    table, records = table_records(path, split, ("category", "question", "answer", "img"), problems)

    def parse(number: int, record: Any) -> Question:
        image, name = embedded(path, table, number, "img"), f"{split}/{number}"
        answer = record["answer"]
        if split != "context":
            word = str(answer).strip().lower()
            if word not in ("yes", "no"):
                raise ValueError(f"expected the answer yes or no, got {answer!r:.80}")
            target = Target(kind="absent", facets={"answer": (word,)})
            return Question(
                id=name,
                style="eval_short_answer",
                text=record["question"],
                answers=(word,),
                image=image,
                extra={"target": target, "word": word},
            )
        polygon = tuple((float(x), float(y)) for x, y in _PAIR.findall(str(answer)))
        if len(polygon) < 3:
            raise ValueError(f"expected a polygon of at least three (x, y), got {answer!r:.80}")
        numbers([value for corner in polygon for value in corner], "'answer'")
        target = Target(kind="polygon", frame="fractions", polygon=polygon, facets={"split": (split,)})
        return pointing_question(name, record["question"], target, image)

    return Items(path.name, [(table.name, records, parse)], problems)
