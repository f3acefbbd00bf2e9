"""Reader of a user's own questions: a JSONL file, with the images beside it.

A line is an object::

    {"image": "1.png", "question": "What colour is the car?", "answers": ["red", "dark red"]}

``image`` is relative to the file. Optional keys: ``id`` (else the line's number), ``style`` (else the
benchmark's), ``options`` of a multiple choice, whose ``answers`` are a letter or an option's text, ``points`` ([x, y]
pairs, fractions of width and height) with the region in which each is correct, as ``boxes`` ([left, top, right,
bottom], fractions too) or ``masks`` (black and white images, white where a point is correct), ``extra`` (an object with
values for one metric).
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from molmo_agent.data.formats.json_lines import json_rows
from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.question import Question
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.errors import ImageError
from molmo_agent.geometry import Box, Point
from molmo_agent.images import read_image

Mask = npt.NDArray[np.bool_]

_KEYS = ("id", "image", "question", "style", "answers", "options", "points", "boxes", "masks", "extra")


class QuestionsFile:
    """The questions of a file; unusable lines are reported in ``problems``.

    Options: ``style`` and ``choice_style``: the styles of lines without one, without and with options.

    Raises:
        UsageError: the file is unreadable.
    """

    def __init__(self, source: Source) -> None:
        options = options_of(source, {"style": "user_qa", "choice_style": "a_okvqa_mc"})
        path = required_path(source)
        self.problems = Problems()
        self._questions = []
        for number, line in json_rows(path, "questions", self.problems):
            try:
                entry = _validate(line)
                style = options["choice_style" if entry.get("options") else "style"]
                self._questions.append(_question(entry, path.parent, f"line {number}", style))
            except ValueError as error:
                self.problems.add(Problem(file=path.name, reason=str(error), record=number))

    def __len__(self) -> int:
        """Return the number of usable questions."""
        return len(self._questions)

    def questions(self) -> list[Question]:
        """Return the questions in the order of the lines."""
        return self._questions


def _validate(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError("expected an object with 'image', 'question' and 'answers' or 'points'")
    unknown = entry.keys() - set(_KEYS)
    if unknown:
        raise ValueError(f"unknown key {min(unknown)!r}; known: {', '.join(_KEYS)}")
    for name in ("image", "question"):
        if not isinstance(entry.get(name), str) or not entry[name].strip():
            raise ValueError(f"expected a text as {name!r}, got {entry.get(name)!r}")
    if not isinstance(entry.get("style", ""), str):
        raise ValueError(f"expected a text as 'style', got {entry['style']!r}")
    for name in ("answers", "options", "masks"):
        texts = entry.get(name, [])
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"expected a list of texts as {name!r}, got {texts!r}")
    if not isinstance(entry.get("extra", {}), dict):
        raise ValueError(f"expected an object as 'extra', got {entry['extra']!r}")
    if not entry.get("answers") and "points" not in entry:
        raise ValueError("expected 'answers' or 'points'; without them a reply cannot be scored")
    return entry


def _fractions(rows: Any, form: str) -> list[list[float]]:
    if not isinstance(rows, list):
        raise ValueError(f"expected a list of {form}, got {rows!r}")
    for row in rows:
        numbers = (
            isinstance(row, list) and len(row) == form.count(",") + 1 and all(type(v) in (int, float) for v in row)
        )
        if not numbers or not all(0 <= v <= 1 for v in row):
            raise ValueError(f"expected {form} as fractions of the image in 0..1, got {row!r}")
    return rows


def _question(entry: Mapping[str, Any], folder: Path, row: str, style: str) -> Question:
    points = tuple(Point(x, y) for x, y in _fractions(entry["points"], "[x, y]")) if "points" in entry else None
    extra, image = {"screen": entry["image"], **entry.get("extra", {})}, folder / entry["image"]
    for name in ("masks", "boxes"):
        if name in entry and len(entry[name]) != len(points or ()):
            raise ValueError(f"expected as many {name!r} as points, got {len(entry[name])} for {len(points or ())}")
    if "boxes" in entry:
        boxes = [Box(*box) for box in _fractions(entry["boxes"], "[left, top, right, bottom]")]
        extra |= {"boxes": tuple(boxes), "masks": partial(_box_masks, image, boxes)}
    if "masks" in entry:
        extra["masks"] = partial(_read_masks, [folder / name for name in entry["masks"]])
    return Question(
        id=str(entry.get("id", row)),
        style=entry.get("style", style),
        text=entry["question"],
        answers=tuple(entry.get("answers", ())),
        options=tuple(entry.get("options", ())),
        points=points,
        image=partial(read_image, image),
        extra=extra,
    )


def _read_masks(paths: list[Path]) -> list[Mask]:
    masks = []
    for path in paths:
        try:
            masks.append(read_image(path).mean(axis=2) >= 128)
        except ImageError as error:
            raise ValueError(f"the mask {path} cannot be read: {error}") from error
    return masks


def _box_masks(image: Path, boxes: list[Box]) -> list[Mask]:
    height, width = read_image(image).shape[:2]
    # A pixel belongs to the box if its centre is inside.
    y, x = (np.arange(height)[:, None] + 0.5) / height, (np.arange(width)[None, :] + 0.5) / width
    return [(box.left <= x) & (x <= box.right) & (box.top <= y) & (y <= box.bottom) for box in boxes]
