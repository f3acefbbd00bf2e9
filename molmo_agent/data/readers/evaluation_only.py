"""Readers of benchmarks that have no training split, from their copies on the hub; see ``academic.py``."""

import ast
import re
from dataclasses import replace
from functools import partial
from typing import Any

from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.images.checked import EmbeddedImages
from molmo_agent.data.options import json_file, options_of, required_path
from molmo_agent.data.question import Question
from molmo_agent.data.readers.academic import choice, one_question, open_files, open_hub, texts
from molmo_agent.data.readers.annotated import Annotated, Columns, ParsedRecord, required_texts
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.episode import Image
from molmo_agent.errors import UsageError
from molmo_agent.images import read_image
from molmo_agent.model.prompts import LETTERS

_WORD = "Please answer directly with a single word or number."
_LETTER = "Please answer directly with only the letter of the correct option and nothing else."
_IMAGE = re.compile(r"<img='.*?'>|<image \d+>")
_NUMBERED = re.compile(r"<image ([1-9]\d?)>")


def _parse_list(text: str) -> list[str]:
    """Parse a list in Python notation, without executing it."""
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"expected a list of texts, got {text[:80]!r}") from error
    if not isinstance(value, list):
        raise ValueError(f"expected a list of texts, got {text[:80]!r}")
    return [str(item) for item in value]


def mmmu(source: Source) -> Annotated:
    """Read MMMU: a folder for each subject, ``Accounting/validation-00000-of-00001.parquet``.

    Options: ``split``; ``form``: "first-image" (the first image alone, and none if several options are images, as in
    Molmo's evaluation) or "all-images" (up to seven, each at its place in the question and the options).
    """
    splits, forms = ("dev", "validation", "test"), ("first-image", "all-images")
    options = options_of(source, {"split": "validation", "form": "first-image"}, {"split": splits, "form": forms})
    path, problems = required_path(source), Problems()
    columns = ("id", "question", "options", "answer", "question_type")
    table = Table(path, options["split"], (*columns, "image_1"), problems, nested=True)

    def parse(number: int, record: Any) -> ParsedRecord:
        question, images = _mmmu_question(record)
        if options["form"] == "first-image":
            return ParsedRecord(None if images > 1 else str(number), (question,))
        marks = dict.fromkeys(_NUMBERED.findall(" ".join((question.text, *question.options)))) or {"1": None}
        missing = [mark for mark in marks if f"image_{mark}" not in table.columns]
        if missing:
            raise ValueError(f"the question names <image {missing[0]}>, but the files have no image_{missing[0]}")
        named = {
            f"<image {mark}>": partial(_embedded, EmbeddedImages(path, table, f"image_{mark}"), number)
            for mark in marks
        }
        return ParsedRecord(str(number), (replace(question, images=named),))

    images = EmbeddedImages(path, table, "image_1")
    return open_files(source, Columns(table, columns), parse, images=images, problems=problems)


def _mmmu_question(record: Any) -> tuple[Question, int]:
    """Return the question of a record, and how many of its options are images."""
    name, answer = f"mmmu/{record['id']}", record["answer"]
    unanswered = answer in (None, "", "?")
    subject = "_".join(record["id"].split("_")[1:-1])
    if record["question_type"] != "multiple-choice":
        answers = () if unanswered else tuple(_parse_list(answer)) if answer.startswith("[") else (answer,)
        return one_question(name, record, "vqa2", answers=answers, extra={"group": subject}), 0
    options = _parse_list(record["options"])
    correct = None if unanswered else LETTERS.index(answer)
    images = sum(_IMAGE.match(option) is not None for option in options)
    return choice(name, record, "a_okvqa_mc", options, correct, group=subject), images


def _embedded(images: EmbeddedImages, number: int) -> Image:
    return read_image(images.data(str(number)))


def math_vista(source: Source) -> Annotated:
    """Read MathVista: ``data/testmini-00000-of-00001....parquet``, images in the column decoded_image.

    The question's hint about the form of the answer is removed. ``extra`` has the values for the metric. Options:
    ``split`` ("testmini", "test").
    """
    split = options_of(source, {"split": "testmini"}, {"split": ("testmini", "test")})["split"]
    columns = ("pid", "question", "choices", "unit", "precision", "answer", "question_type", "answer_type", "query")

    def parse(number: int, record: Any) -> ParsedRecord:
        text = required_texts(record, "question").split("Question:")[-1].split("Hint:")[0].strip()
        name, answer = f"math-vista/{record['pid']}", record["answer"]
        names = ("precision", "unit", "answer_type", "question_type", "query")
        extra = {key: record[key] for key in names}
        if record["question_type"] == "multi_choice":
            options = list(record["choices"])
            correct = options.index(answer) if answer else None
            question = choice(name, {"question": text}, "eval_multiple_choice", options, correct, **extra)
        else:
            answers = texts(answer) if answer else ()
            question = one_question(name, {"question": text}, "eval_short_answer", answers=answers, extra=extra)
        return ParsedRecord(str(number), (question,))

    return open_hub(source, split, columns, parse, image="decoded_image")


def real_world_qa(source: Source) -> Annotated:
    """Read RealWorldQA: ``data/test-00000-of-00002....parquet``.

    Choices are part of the question's text. Its request for a letter is kept, its request for a word removed.
    """
    options_of(source, {})

    def parse(number: int, record: Any) -> ParsedRecord:
        text, answer = required_texts(record, "question", "answer")
        letter = _LETTER in text
        if not letter and _WORD not in text:
            raise ValueError(f"expected a question that asks for a word or a letter, got {text[-80:]!r}")
        fields = {"question": text if letter else text.split("\n")[0]}
        style = "eval_multiple_choice" if letter else "eval_short_answer"
        kind = {"question_type": "multiple_choice" if letter else "short_answer"}
        question = one_question(f"real-world-qa/{number}", fields, style, answers=(answer,), extra=kind)
        return ParsedRecord(str(number), (question,))

    return open_hub(source, "test", ("question", "answer"), parse)


def count_bench_qa(source: Source) -> Annotated:
    """Read CountBenchQA: ``data/train-....parquet`` of CountBench, and ``countbench_paired_questions.json`` beside it.

    The text is the whole question (``extra["whole"]``), not only the name of the target. Rows whose image is gone
    are reported.
    """
    options_of(source, {})
    path, problems = required_path(source), Problems()
    entries = json_file(path / "countbench_paired_questions.json")
    table = Table(path, "train", ("image", "number"), problems)
    if len(entries) != len(table):
        raise UsageError(f"expected a question for each of {len(table)} images of {path}, got {len(entries)}")

    def parse(number: int, record: Any) -> ParsedRecord:
        count = int(record["number"])
        question = one_question(
            f"count-bench-qa/{number}",
            entries[number],
            "point_count",
            answers=(str(count),),
            extra={"count": count, "whole": True},
        )
        return ParsedRecord(str(number), (question,))

    images = EmbeddedImages(path, table)
    return open_files(source, Columns(table, ("number",)), parse, images=images, problems=problems)
