"""A published data set as rows to train on and as questions to score: images by number, each with what was asked.

What is particular to a data set is told as data (:class:`DataSet`): its records, how one becomes questions, and where
the images are. Everything is read when it is asked for; in memory are the places of the records and the sizes of the
images.
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
from molmo_agent.data.images.checked import Images, Size, check, decode
from molmo_agent.data.question import Question
from molmo_agent.data.row import Conversation, Row
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.episode import Image
from molmo_agent.errors import UsageError


class Records(Protocol):
    """Records of files by number."""

    @property
    def name(self) -> str:
        """What the files are called, in reports."""
        ...

    def scan(self) -> Iterator[tuple[int, Any]]:
        """Yield (number, record), all of them."""
        ...

    def get(self, number: int) -> Any:
        """Return one again."""
        ...


@dataclass(frozen=True)
class Listed:
    """Records in memory, for files of which nothing is left out."""

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
    """Some columns of a table as records; those that only some versions have may be missing."""

    table: Table
    columns: tuple[str, ...]

    @property
    def name(self) -> str:
        """What the table is called."""
        return self.table.name

    def scan(self) -> Iterator[tuple[int, Any]]:
        """Yield (number, record)."""
        return self.table.scan(self.columns)

    def get(self, number: int) -> Any:
        """Return a record."""
        return self.table.row(number, self.columns)


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a record says."""

    # Of the image that it is about; None for text alone.
    image: str | None
    questions: tuple[Question, ...]
    # Of the image's file, where it was published.
    sha256: str | None = None
    # For a row that is one question.
    weight: float = 1.0


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What is particular to a data set."""

    path: Path
    records: Records
    # From number and record; None leaves the record out, which is not one of this part of the data set. Raises
    # ValueError, KeyError or TypeError where it cannot be used.
    parse: Callable[[int, Any], Parsed | None]
    images: Images
    # Everything about an image in one row, as annotations that do not see each other; else a row for each record.
    grouped: bool = True
    # Rows of several records are cut in two.
    halves: bool = False
    # Which part, and how many images at most are held out for validation.
    part: str = "train"
    hold_out: int = 0
    # From the published points to normalized ones, where the size of the image is needed for that.
    placed: Callable[[Question, Size], Question] | None = None
    dressed: Callable[[Question, np.random.RandomState], Conversation] = conversation
    # Another image than the file's, from key and file.
    drawn: Callable[[str, Image], Image] | None = None


def held_out(keys: Sequence[str], most: int) -> set[str]:
    """Return the images that belong to validation: those with the smallest hashes, a tenth of them at most.

    So whether an image is held out depends little on which others could be fetched.
    """
    count = min(most, len(keys) // 10)
    return set(sorted(keys, key=lambda key: hashlib.sha256(key.encode()).digest())[:count])


class Annotated:
    """Rows and questions of a data set.

    Raises:
        UsageError: it has nothing that can be used.
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
            kept = self._inside(key, numbers)
            if not data.grouped:
                self._rows += [(key, [number]) for number in kept]
            elif data.halves and len(kept) > 1:
                half = (len(kept) + 1) // 2
                self._rows += [(key, kept[:half]), (key, kept[half:])]
            elif len(kept):
                self._rows.append((key, kept))
        self._rows.sort(key=lambda row: row[1][0])
        if not self._rows:
            raise UsageError(f"no record of {data.path} can be used; {self.problems.summary()}")

    def _collect(self) -> "tuple[dict[str, array[int]], dict[str, str | None], list[int]]":
        """Return the records of each image, what its file's hash should be, and the records without an image."""
        groups: dict[str, array[int]] = {}
        hashes: dict[str, str | None] = {}
        alone: list[int] = []
        for number, record in self._data.records.scan():
            try:
                parsed = self._data.parse(number, record)
            except (ValueError, KeyError, TypeError, IndexError) as error:
                reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
                self._tell(number, None, reason)
                continue
            if parsed is None:
                continue
            if parsed.image is None:
                alone.append(number)
                continue
            groups.setdefault(parsed.image, array("q")).append(number)
            hashes[parsed.image] = parsed.sha256
        if self._data.hold_out:
            held = held_out(list(groups), self._data.hold_out)
            for key in [key for key in groups if (key in held) != (self._data.part == "validation")]:
                del groups[key], hashes[key]
        return groups, hashes, alone

    def _inside(self, key: str, numbers: Sequence[int]) -> Sequence[int]:
        """Return the records whose points lie in the image, where only the image's size tells."""
        if self._data.placed is None:
            return numbers
        kept = []
        for number in numbers:
            try:
                for _ in self._questions(key, number):
                    pass
            except ValueError as error:
                self._tell(number, key, str(error))
                continue
            kept.append(number)
        return kept

    def _tell(self, number: int, row: str | None, reason: str) -> None:
        file = f"{self._data.path.name}/{self._data.records.name}"
        self.problems.add(Problem(file=file, reason=reason, record=number, row=row))

    def _parsed(self, number: int) -> Parsed:
        parsed = self._data.parse(number, self._data.records.get(number))
        assert parsed is not None, "a record that was left out is in no row"
        return parsed

    def _questions(self, key: str | None, number: int) -> Iterator[Question]:
        """Yield the questions of a record with their image."""
        size = None if key is None else self._sizes[key]
        for question in self._parsed(number).questions:
            if key is None or size is None:
                yield question
                continue
            if self._data.placed is not None:
                question = self._data.placed(question, size)
            yield replace(question, size=size, image=partial(self._image, key))

    def _image(self, key: str) -> Image:
        image = decode(self._data.images.data(key))
        return image if self._data.drawn is None else self._data.drawn(key, image)

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
        weight = self._parsed(records[0]).weight if len(records) == 1 else 1.0
        return Row(
            conversations=tuple(self._data.dressed(question, rng) for question in questions),
            size=None if key is None else self._sizes[key],
            image=None if key is None else partial(self._image, key),
            name=key if key is not None and self._data.grouped else questions[0].id,
            weight=weight,
        )

    def questions(self) -> Iterator[Question]:
        """Yield every question that can be asked, with its image, in the order of the data set."""
        for key, records in self._rows:
            for record in records:
                yield from self._questions(key, record)


def needed(record: Mapping[str, Any], *names: str) -> Any:
    """Return texts of a record; one name gives the text itself.

    Raises:
        ValueError: one is missing, empty or no text.
    """
    for name in names:
        if not isinstance(record.get(name), str) or not record[name].strip():
            raise ValueError(f"expected a text in {name!r}, got {record.get(name)!r}")
    return record[names[0]] if len(names) == 1 else tuple(record[name] for name in names)
