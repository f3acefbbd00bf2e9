"""Shared helpers of the readers of academic data sets: published answers, choices, and the two file layouts.

Each reader (``academic_photos.py``, ``academic_texts.py``, ``academic_school.py``, ``academic_charts.py``) lists in its
docstring the files it expects in the data set's folder, as the data set's authors publish them. Some also read the
Parquet shards of the hub's copy. Which answer is the training target, and whether the questions about an image share a
sequence: docs/reference/data.md#texts.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.images.checked import EmbeddedImages, FolderImages, Images
from molmo_agent.data.options import required_path
from molmo_agent.data.question import Question
from molmo_agent.data.readers.annotated import Annotated, Columns, DataSet, ParsedRecord, Records, required_texts
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problems

SPLITS = ("train", "validation", "test")


def texts(value: Any) -> tuple[str, ...]:
    """Return one or several answers as texts; none for a test split with unpublished answers.

    Raises:
        ValueError: one is neither a text nor a finite number.
    """
    if value is None:
        return ()
    items = value if isinstance(value, list) else [value]
    for item in items:
        if not isinstance(item, str) and (type(item) not in (int, float) or not math.isfinite(item)):
            shown = "a null" if item is None else f"{item!r:.40}"
            raise ValueError(f"expected texts, got {shown} among {len(items)}")
    return tuple(str(item) for item in items)


def one_question(name: str, record: Mapping[str, Any], style: str, **said: Any) -> Question:
    """Return a record's question.

    Raises:
        ValueError: the question is empty.
    """
    return Question(id=name, style=style, text=required_texts(record, "question"), **said)


def choice(
    name: str, record: Mapping[str, Any], style: str, options: Any, correct: int | None, **more: Any
) -> Question:
    """Return a multiple choice; ``extra["correct"]`` is the number of the right option, None if unpublished.

    ``more`` is added to ``extra``.

    Raises:
        ValueError: the right option is not in the list.
    """
    option_texts = texts(options)
    if len(option_texts) < 2 or (correct is not None and not 0 <= correct < len(option_texts)):
        raise ValueError(f"expected the answer to be one of {len(option_texts)} options, got number {correct}")
    answers = () if correct is None else (option_texts[correct],)
    return one_question(name, record, style, answers=answers, options=option_texts, extra={**more, "correct": correct})


def short(split: str) -> str:
    """Return the name of a split in most file names."""
    return "val" if split == "validation" else split


def open_files(
    source: Source,
    records: Records,
    parse: Callable[[int, Any], ParsedRecord | None],
    *,
    grouped: bool = False,
    images: Images | None = None,
    problems: Problems | None = None,
) -> Annotated:
    """Open a data set of files; images are in its folder by default."""
    path = required_path(source)
    store = images or FolderImages(path)
    return Annotated(DataSet(path=path, records=records, parse=parse, images=store, grouped=grouped), problems)


def open_hub(
    source: Source,
    split: str,
    columns: tuple[str, ...],
    parse: Callable[[int, Any], ParsedRecord | None],
    image: str = "image",
) -> Annotated:
    """Open the hub's copy of a data set, with the images in the table; rows without an image are skipped."""
    path, problems = required_path(source), Problems()
    table = Table(path, split, (*columns, image), problems)
    return open_files(
        source, Columns(table, columns), parse, images=EmbeddedImages(path, table, image), problems=problems
    )
