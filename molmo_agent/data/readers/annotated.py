"""Serve a published data set as training rows and as benchmark questions.

:class:`DataSet` describes what is specific to a data set: its records, how a record becomes questions, and where its
images are. Data is read on demand; only the positions of records and the sizes of images stay in memory.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from molmo_agent.data.conversations import conversation
from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.images.checked import Images, Size, check
from molmo_agent.data.question import Question
from molmo_agent.data.row import Conversation, Row
from molmo_agent.data.unusable_rows import ROW_ERRORS, NothingUsableError, Problem, Problems, reason_of
from molmo_agent.episode import Image
from molmo_agent.images import read_image


class Records(Protocol):
    """Records of files by number."""

    @property
    def name(self) -> str:
        """The name of the files in reports."""
        ...

    def scan(self) -> Iterator[tuple[int, Any]]:
        """Yield (number, record) of all records."""
        ...

    def get(self, number: int) -> Any:
        """Return a record by number."""
        ...


@dataclass(frozen=True)
class RecordList:
    """Records in memory, for files that are read whole."""

    name: str
    records: Sequence[Any]

    def scan(self) -> Iterator[tuple[int, Any]]:
        """Yield (number, record)."""
        return enumerate(self.records)

    def get(self, number: int) -> Any:
        """Return a record."""
        return self.records[number]


@dataclass(frozen=True)
class Columns:
    """Some columns of a table as records; optional columns may be missing."""

    table: Table
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of the table."""
        return self.table.name

    def scan(self) -> Iterator[tuple[int, Any]]:
        """Yield (number, record)."""
        return self.table.scan(self.columns)

    def get(self, number: int) -> Any:
        """Return a record."""
        return self.table.row(number, self.columns)


@dataclass(frozen=True, slots=True)
class ParsedRecord:
    """A parsed record."""

    # Key of its image; None for text alone.
    image: str | None
    questions: tuple[Question, ...]
    # SHA-256 of the image's file, if published.
    sha256: str | None = None
    # Weight of a row with one question.
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """The description of a data set."""

    path: Path
    records: Records
    # From number and record; None if the record is not in this part of the data set. Raises one of ROW_ERRORS if the
    # record is unusable.
    parse: Callable[[int, Any], ParsedRecord | None]
    images: Images
    # One row per image, whose annotations do not attend to each other; otherwise one row per record.
    grouped: bool = True
    # Split rows of several records in two.
    halves: bool = False
    # Which part, and the maximum number of validation images.
    part: str = "train"
    hold_out: int = 0
    # Converts published points to normalized ones, if that needs the image size.
    normalize_points: Callable[[Question, Size], Question] | None = None
    to_conversation: Callable[[Question, np.random.RandomState], Conversation] = conversation
    # Replaces the image of the file, given key and image.
    redraw: Callable[[str, Image], Image] | None = None


def held_out(keys: Sequence[str], most: int) -> set[str]:
    """Return the validation images: those with the smallest hashes, at most a tenth of all.

    So the split of an image hardly depends on which other images could be fetched.
    """
    count = min(most, len(keys) // 10)
    return set(sorted(keys, key=lambda key: hashlib.sha256(key.encode()).digest())[:count])


class Annotated:
    """Rows and questions of a data set.

    Raises:
        UsageError: no record is usable.
    """

    def __init__(self, data: DataSet, problems: Problems | None = None) -> None:
        self._data = data
        self.problems = problems if problems is not None else Problems()
        groups, hashes, alone = self._collect()
        self._sizes, faults = check(data.images, hashes, self.problems)
        for key, reason in faults.items():
            for number in groups.pop(key):
                self._tell(number, key, reason)
        self._rows: list[tuple[str | None, Sequence[int]]] = [(None, [number]) for number in alone]
        for key, numbers in groups.items():
            inside = self._inside(key, numbers)
            if not data.grouped:
                self._rows += [(key, [number]) for number in inside]
            elif data.halves and len(inside) > 1:
                half = (len(inside) + 1) // 2
                self._rows += [(key, inside[:half]), (key, inside[half:])]
            elif len(inside):
                self._rows.append((key, inside))
        self._rows.sort(key=lambda row: row[1][0])
        if not self._rows:
            raise NothingUsableError(f"no record of {data.path}", self.problems)

    def _collect(self) -> "tuple[dict[str, array[int]], dict[str, str | None], list[int]]":
        """Return the records of each image, the expected hash of its file, and the records without an image."""
        groups: dict[str, array[int]] = {}
        hashes: dict[str, str | None] = {}
        alone: list[int] = []
        for number, record in self._data.records.scan():
            try:
                parsed = self._data.parse(number, record)
            except ROW_ERRORS as error:
                self._tell(number, None, reason_of(error))
                continue
            if parsed is None:
                continue
            if parsed.image is None:
                alone.append(number)
                continue
            groups.setdefault(parsed.image, array("q")).append(number)
            hashes[parsed.image] = parsed.sha256 if isinstance(parsed.sha256, str) else None
        if self._data.hold_out:
            hold_out_keys = held_out(list(groups), self._data.hold_out)
            for key in [key for key in groups if (key in hold_out_keys) != (self._data.part == "validation")]:
                del groups[key], hashes[key]
        return groups, hashes, alone

    def _inside(self, key: str, numbers: Sequence[int]) -> Sequence[int]:
        """Return the records whose points lie inside the image, for data sets that need its size."""
        if self._data.normalize_points is None:
            return numbers
        inside = []
        for number in numbers:
            try:
                for _ in self._questions(key, number):
                    pass
            except ROW_ERRORS as error:
                self._tell(number, key, reason_of(error))
                continue
            inside.append(number)
        return inside

    def _tell(self, number: int, row: str | None, reason: str) -> None:
        file = f"{self._data.path.name}/{self._data.records.name}"
        self.problems.add(Problem(file=file, reason=reason, record=number, row=row))

    def _record(self, number: int) -> ParsedRecord:
        parsed = self._data.parse(number, self._data.records.get(number))
        assert parsed is not None, "a skipped record is in no row"
        return parsed

    def _questions(self, key: str | None, number: int) -> Iterator[Question]:
        """Yield the questions of a record with their image."""
        size = None if key is None else self._sizes[key]
        for question in self._record(number).questions:
            if key is None or size is None:
                yield question
                continue
            if self._data.normalize_points is not None:
                question = self._data.normalize_points(question, size)
            yield replace(question, size=size, image=partial(self._image, key))

    def _image(self, key: str) -> Image:
        image = read_image(self._data.images.data(key))
        return image if self._data.redraw is None else self._data.redraw(key, image)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def row(self, number: int, seed: int) -> Row:
        """Return a row.

        Raises:
            ValueError: no answer was published for it.
        """
        key, records = self._rows[number]
        rng = np.random.RandomState(seed & 0xFFFFFFFF)
        questions = [question for record in records for question in self._questions(key, record)]
        weight = self._record(records[0]).weight if len(records) == 1 else 1.0
        return Row(
            conversations=tuple(self._data.to_conversation(question, rng) for question in questions),
            size=None if key is None else self._sizes[key],
            image=None if key is None else partial(self._image, key),
            name=key if key is not None and self._data.grouped else questions[0].id,
            weight=weight,
        )

    def questions(self) -> Iterator[Question]:
        """Yield every usable question with its image, in the order of the data set."""
        for key, records in self._rows:
            for record in records:
                yield from self._questions(key, record)


def required_texts(record: Mapping[str, Any], *names: str) -> Any:
    """Return texts of a record; one name gives the text itself.

    Raises:
        ValueError: a value is missing, empty or not a text.
    """
    for name in names:
        if not isinstance(record.get(name), str) or not record[name].strip():
            raise ValueError(f"expected a text in {name!r}, got {record.get(name)!r}")
    return record[names[0]] if len(names) == 1 else tuple(record[name] for name in names)
