"""Readers of school-book question data sets: ScienceQA, TabMWP, AI2D (whose labels are drawn here)."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from molmo_agent.data.conversations import NO_LETTER_STYLE
from molmo_agent.data.formats.parquet import Table, shards
from molmo_agent.data.images.checked import EmbeddedImages, FolderImages
from molmo_agent.data.options import json_file, options_of, required_path
from molmo_agent.data.readers.academic import SPLITS, choice, one_question, open_files, short, texts
from molmo_agent.data.readers.annotated import Annotated, DataSet, ParsedRecord, RecordList, required_texts
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import ROW_ERRORS, Problem, Problems, reason_of
from molmo_agent.episode import Image
from molmo_agent.errors import UsageError

# Metrically compatible with Arial.
_FONT = Path(__file__).parents[2] / "envs" / "drawing" / "font_files" / "arimo.ttf"
_FILL = (25, 249, 255)


def science_qa(source: Source) -> Annotated:
    """Read the questions of ScienceQA that have an image: ``problems.json``, ``images/train/<id>/image.png``.

    Or the hub's shards with image, question, choices, answer and hint. A hint precedes its question. Options:
    ``split``.
    """
    split = options_of(source, {"split": "train"}, {"split": SPLITS})["split"]
    path = required_path(source)
    hub = bool(shards(path, split))

    def parse(number: int, record: Any) -> ParsedRecord | None:
        if hub and not record["shown"]:
            return None
        asked = required_texts(record, "hint", "question") if record["hint"] else (required_texts(record, "question"),)
        name = f"science-qa/{split}/{record.get('id', number)}"
        question = choice(name, {"question": "\n".join(asked)}, "science_qa", record["choices"], record["answer"])
        return ParsedRecord(str(number) if hub else record["file"], (question,))

    if hub:
        problems = Problems()
        table = Table(path, split, ("question", "choices", "answer", "hint", "image"), problems)
        images = EmbeddedImages(path, table)
        return open_files(source, _WithImage(table), parse, images=images, problems=problems)
    file, part = path / "problems.json", short(split)
    entries = [
        record | {"file": f"images/{part}/{record['id']}/{record['image']}"} if isinstance(record, dict) else record
        for record in _problems(file)
        if not isinstance(record, dict) or (record.get("split") == part and record.get("image"))
    ]
    return open_files(source, RecordList(file.name, entries), parse)


@dataclass(frozen=True)
class _WithImage:
    """ScienceQA's rows on the hub, and whether each has an image."""

    table: Table

    @property
    def name(self) -> str:
        return self.table.name

    def scan(self) -> Iterator[tuple[int, Any]]:
        for number, row in self.table.scan(("question", "choices", "answer", "hint", "image")):
            yield number, row | {"shown": row["image"] is not None}

    def get(self, number: int) -> Any:
        return self.table.row(number, ("question", "choices", "answer", "hint")) | {"shown": True}


def _problems(path: Path) -> list[Any]:
    """Return the problems of a file, each with its id; what is no object stays as it is and is reported later."""
    data = json_file(path)
    if not isinstance(data, dict) or not any(isinstance(record, dict) for record in data.values()):
        raise UsageError(f"expected an object of problems by their ids in {path}")
    return [record | {"id": name} if isinstance(record, dict) else record for name, record in data.items()]


def tabmwp(source: Source) -> Annotated:
    """Read TabMWP: ``problems_train.json``, ``problems_dev.json``, ``problems_test.json``.

    Images are ``tables/<id>.png``. The prompt asks for the answer directly, without options. Options: ``split``.
    """
    split = options_of(source, {"split": "train"}, {"split": SPLITS})["split"]
    path = required_path(source) / f"problems_{'dev' if split == 'validation' else split}.json"
    entries = _problems(path)

    def parse(number: int, record: Any) -> ParsedRecord:
        extra = {"unit": record.get("unit"), "answer_type": record.get("ans_type")}
        name = f"tabmwp/{record['id']}"
        question = one_question(name, record, "tabwmp_da", answers=texts([record["answer"]]), extra=extra)
        return ParsedRecord(f"tables/{record['id']}.png", (question,))

    return open_files(source, RecordList(path.name, entries), parse)


def ai2d(source: Source) -> Annotated:
    """Read AI2D: ``questions/<image>.json``, ``annotations/<image>.json``, ``images/``, ``ai2d_test_ids.csv``.

    Questions about labels show them as letters, drawn over the text (opaque) or beside it (transparent). If nearly
    all options are such letters, they get no option letters of their own. Options: ``split`` (validation: 384
    images of train), ``boxes`` ("both", "opaque", "transparent").
    """
    choices = {"split": SPLITS, "boxes": ("both", "opaque", "transparent")}
    options = options_of(source, {"split": "train", "boxes": "both"}, choices)
    path = required_path(source)
    names = sorted((path / "questions").glob("*.json"), key=lambda file: _number(file.name))
    if not names:
        raise UsageError(f"expected AI2D's questions as JSON files in {path / 'questions'}, found none")
    numbers = _images_of(path, [_number(file.name) for file in names], options["split"])
    entries: list[Any] = []
    problems = Problems()
    kinds = [kind for kind in ("opaque", "transparent") if options["boxes"] in ("both", kind)]
    for file in names:
        if _number(file.name) not in numbers:
            continue
        try:
            entries += _diagram(path, json_file(file), kinds)
        except ROW_ERRORS as error:
            problems.add(Problem(file=file.name, reason=reason_of(error)))

    def parse(number: int, record: Any) -> ParsedRecord:
        options = list(dict.fromkeys(option for option in record["answerTexts"] if option != "{}"))
        correct = options.index(record["answerTexts"][record["correctAnswer"]])
        lettered = [option.upper() in record["letters"] for option in options]
        style = "ai2_diagram"
        if record["abcLabel"] and sum(lettered) >= len(options) - 1:
            style = NO_LETTER_STYLE
            options = [option.upper() if letter else option for option, letter in zip(options, lettered, strict=True)]
        name = f"ai2d/{record['questionId']}/{record['drawn']}"
        question = choice(name, record, style, options, correct, group=record["drawn"])
        return ParsedRecord(f"images/{record['picture']}#{record['drawn']}", (question,))

    def redraw(key: str, image: Image) -> Image:
        file, _, kind = key.partition("#")
        return image if kind == "plain" else _draw(image, _letters(path, Path(file).name), kind)

    records, images = RecordList("questions", entries), FolderImages(path)
    data = DataSet(path=path, records=records, parse=parse, images=images, grouped=False, redraw=redraw)
    return Annotated(data, problems)


def _diagram(path: Path, page: Any, kinds: list[str]) -> list[dict[str, Any]]:
    """Return the questions about a diagram, each once for every kind of letters.

    Raises one of ROW_ERRORS if they have another form.
    """
    letters = _letters(path, page["imageName"]) if any(q["abcLabel"] for q in page["questions"].values()) else {}
    about = {"picture": page["imageName"], "letters": set(letters)}
    return [
        record | about | {"question": text, "drawn": kind}
        for text, record in page["questions"].items()
        for kind in (kinds if record["abcLabel"] else ["plain"])
    ]


def _number(name: str) -> int:
    match = re.match(r"\d+", name)
    if match is None:
        raise UsageError(f"expected AI2D's file names to be the numbers of their images, got {name!r}")
    return int(match[0])


def _images_of(path: Path, numbers: list[int], split: str) -> set[int]:
    """Return the images of a split: the published test split, and train divided as the authors of Molmo do."""
    file = path / "ai2d_test_ids.csv"
    try:
        test = {int(line) for line in file.read_text().split()}
    except (OSError, ValueError) as error:
        raise UsageError(f"expected the numbers of AI2D's test images in {file}, one per line, but: {error}") from error
    if split == "test":
        return test & set(numbers)
    rest = sorted(set(numbers) - test)
    np.random.RandomState(5961).shuffle(rest)
    num_validation = min(384, len(rest) // 10)
    return set(rest[:num_validation] if split == "validation" else rest[num_validation:])


def _letters(path: Path, image: str) -> dict[str, tuple[int, int, int, int]]:
    """Return the box (left, top, right, bottom, in pixels) of each letter that stands for a label."""
    labels = json_file(path / "annotations" / f"{image}.json")["text"].values()
    boxes = {}
    for label in labels:
        (left, top), (right, bottom) = label["rectangle"]
        boxes[label["replacementText"]] = left, top, right, bottom
    return boxes


def _draw(image: Image, letters: Mapping[str, tuple[int, int, int, int]], kind: str) -> Image:
    """Draw the letters: over their labels, which are covered, or at the corner of labels that shine through."""
    canvas = PILImage.fromarray(image)
    draw = ImageDraw.Draw(canvas, "RGBA")
    for letter, (left, top, right, bottom) in letters.items():
        if bottom <= top:
            continue
        if kind == "opaque":
            draw.rectangle((left, top, right, bottom), fill=_FILL)
            size = min(22, max(bottom - top, 6))
            font = ImageFont.truetype(_FONT, size)
            draw.text(((left + right) / 2, (top + bottom) / 2), letter, fill="black", font=font, anchor="mm")
        else:
            draw.rectangle((left, top, right, bottom), fill=(*_FILL, 127))
            font = ImageFont.truetype(_FONT, min(max(16, min(canvas.size) // 50), 32))
            place = max(left - 12, 0), max(top - 10, 0)
            draw.rectangle(draw.textbbox(place, letter, font=font), fill="white")
            draw.text(place, letter, fill="black", font=font)
    return np.asarray(canvas)
