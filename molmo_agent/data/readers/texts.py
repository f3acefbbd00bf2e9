"""Conversations without images, such as Tulu 3: JSON lines or Parquet, read on demand.

They are asked without a tag of a style. Only the positions of the rows stay in memory.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from molmo_agent.data.formats.json_lines import decode_line, located_lines
from molmo_agent.data.formats.parquet import Table, shards
from molmo_agent.data.index_cache import remembered
from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.row import Conversation, Row
from molmo_agent.data.source import Source
from molmo_agent.data.turns import turns_of
from molmo_agent.data.unusable_rows import NothingUsableError, Problem, Problems
from molmo_agent.errors import DataError, UsageError
from molmo_agent.model.prompts import TEXT_STYLE
from molmo_agent.parse import MAX_LINE_BYTES, load_json, open_regular

_COLUMNS = ("messages", "conversations")
# Increase it when a change of this module makes other rows usable.
_VERSION = 2


def _turns(entry: Any) -> tuple[str, ...]:
    """Return the turns of a row, which has them as ``messages`` or ``conversations``.

    Raises:
        ValueError: it does not, or they are not questions and answers in turn.
    """
    return turns_of(
        next((entry[name] for name in _COLUMNS if name in entry), None) if isinstance(entry, dict) else None, None
    )


class _Records(Protocol):
    """The rows of a file or folder."""

    @property
    def files(self) -> Sequence[Path]:
        """The files that the index depends on."""
        ...

    def scan(self, problems: Problems) -> Iterable[tuple[int, int, Any]]:
        """Yield (number for reports, position, row) of all rows."""
        ...

    def get(self, position: int) -> Any:
        """Return a row."""
        ...


class _Lines:
    """Rows of a file of JSON lines; positions are offsets in bytes."""

    def __init__(self, path: Path) -> None:
        self.files = [path]

    def scan(self, problems: Problems) -> Iterable[tuple[int, int, Any]]:
        (path,) = self.files
        for number, offset, line in located_lines(path, "a JSONL file of conversations"):
            try:
                yield number, offset, load_json(decode_line(line), where="the line")
            except DataError as error:
                problems.add(Problem(file=path.name, reason=str(error), record=number))

    def get(self, position: int) -> Any:
        (path,) = self.files
        with open_regular(path) as file:
            file.seek(position)
            return load_json(decode_line(file.readline(MAX_LINE_BYTES)), where=f"{path.name} at byte {position}")


class _TableRows:
    """Rows of Parquet or Arrow files; positions are numbers of rows."""

    def __init__(self, path: Path, split: str, problems: Problems) -> None:
        self._table = Table(path, split, (), problems)
        self.files = shards(path, split)
        column = next((name for name in _COLUMNS if name in self._table.columns), None)
        if column is None:
            have = ", ".join(sorted(self._table.columns))
            raise UsageError(f"expected a column {' or '.join(_COLUMNS)} in {path}, which has {have}")
        self._columns, self._problems = (column,), problems

    def scan(self, problems: Problems) -> Iterable[tuple[int, int, Any]]:
        before = len(self._problems.entries)
        for number, row in self._table.scan(self._columns):
            yield number, number, row
        # The table reports its damaged blocks where it was opened.
        problems.entries += self._problems.entries[before:]
        del self._problems.entries[before:]

    def get(self, position: int) -> Any:
        return self._table.row(position, self._columns)


class TextRows:
    """Text alone: a JSONL file, a Parquet file, or a folder of Parquet or Arrow files.

    Each row has ``messages`` or ``conversations``; see :func:`molmo_agent.data.turns.turns_of`.

    Options: ``split`` ("train"), for a folder.

    Raises:
        UsageError: no row is usable.
    """

    def __init__(self, source: Source) -> None:
        options = options_of(source, {"split": "train"})
        path = required_path(source)
        self.problems = Problems()
        is_table = path.is_dir() or path.suffix in (".parquet", ".arrow")
        self._records: _Records = _TableRows(path, options["split"], self.problems) if is_table else _Lines(path)
        if not is_table and not path.exists():
            raise UsageError(f"expected a JSONL or Parquet file of conversations at {path}, found none")
        # Number for reports and position of each usable row.
        self._numbers, self._positions, problems = remembered(
            self._records.files,
            name="texts",
            version=[_VERSION, options["split"]],
            scan=lambda: _scan(self._records),
            read=_read,
        )
        self.problems.entries += problems
        if not len(self._numbers):
            raise NothingUsableError(f"no row of {path}", self.problems)

    def __len__(self) -> int:
        """Return the number of conversations."""
        return len(self._numbers)

    def row(self, number: int, seed: int) -> Row:
        """Return a conversation.

        Raises:
            ValueError: the file has changed.
        """
        turns = _turns(self._records.get(self._positions[number]))
        return Row(conversations=(Conversation(turns=tuple(turns), style=TEXT_STYLE),), name=self._name(number))

    def _name(self, number: int) -> str:
        return f"{'line' if isinstance(self._records, _Lines) else 'row'} {self._numbers[number]}"


def _scan(records: _Records) -> dict[str, Any]:
    """Return the usable rows and all problems as plain data."""
    problems = Problems()
    rows = []
    for number, position, entry in records.scan(problems):
        try:
            _turns(entry)
        except ValueError as error:
            problems.add(Problem(file=records.files[0].name, reason=str(error), record=number))
            continue
        rows.append([number, position])
    return {"rows": rows, "problems": [asdict(problem) for problem in problems.entries]}


def _read(found: Any) -> "tuple[array[int], array[int], list[Problem]]":
    """Check and convert what :func:`_scan` returned.

    Raises:
        ValueError, LookupError, TypeError: this is something else.
    """
    if not all(type(value) is int and value >= 0 for row in found["rows"] for value in row):
        raise TypeError("expected whole numbers")
    numbers, positions = array("q", [n for n, _ in found["rows"]]), array("q", [p for _, p in found["rows"]])
    return numbers, positions, [Problem(**problem) for problem in found["problems"]]
