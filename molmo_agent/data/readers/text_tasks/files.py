"""Find a benchmark's files in one of its published layouts, and read their rows: CSV, JSON, JSON lines, Parquet."""

import csv
import io
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from molmo_agent.data.formats.json_lines import decode_line
from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.errors import DataError
from molmo_agent.parse import MAX_FILE_BYTES, decode, load_json, read_bounded

Row = tuple[Path, int, Mapping[str, Any]]
"""A file, the number of a row in it, from 0, and the row."""


def find_files(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Return the files of the first pattern that any are of; numbers in names count as numbers.

    Args:
        folder: of the benchmark.
        patterns: relative to the folder, the preferred layout first.
    """
    for pattern in patterns:
        if paths := [path for path in folder.glob(pattern) if path.is_file()]:
            return sorted(paths, key=_order)
    return []


def _order(path: Path) -> tuple[str, int, str]:
    return str(path.parent), int(path.stem) if path.stem.isascii() and path.stem.isdecimal() else -1, path.name


def read_rows(
    paths: Sequence[Path], problems: Problems, *, columns: Sequence[str], cells: Sequence[str] = ()
) -> Iterator[Row]:
    """Yield the rows of files; files and lines that cannot be read become problems.

    Args:
        paths: ``.csv`` without a header; ``.json`` with one object; ``.jsonl``, also compressed as ``.jsonl.gz``; or
            ``.parquet``.
        problems: collects what cannot be read.
        columns: that a Parquet file must have; the others are read too.
        cells: names of the cells of a CSV file.

    Raises:
        UsageError: a Parquet file has no such column.
        MissingExtraError: there is no library to read Parquet.
    """
    for path in paths:
        if path.suffix == ".parquet":
            table = Table(path, "", columns, problems)
            for number, row in table.scan(table.columns):
                yield path, number, row
            continue
        try:
            yield from _csv(path, cells, problems) if path.suffix == ".csv" else _json(path, problems)
        except (DataError, csv.Error) as error:
            problems.add(Problem(file=path.name, reason=str(error)))


def _csv(path: Path, names: Sequence[str], problems: Problems) -> Iterator[Row]:
    text = decode(read_bounded(path), where=path)
    for number, cells in enumerate(csv.reader(io.StringIO(text, newline=""))):
        if len(cells) == len(names):
            yield path, number, dict(zip(names, cells, strict=True))
        elif cells:
            reason = f"expected {len(names)} cells ({', '.join(names)}), got {len(cells)}"
            problems.add(Problem(file=path.name, reason=reason, record=number))


def _json(path: Path, problems: Problems) -> Iterator[Row]:
    if path.suffix == ".json":
        yield path, 0, load_json(read_bounded(path), where=path)
        return
    data = _unpacked(path) if path.suffix == ".gz" else read_bounded(path)
    for number, line in enumerate(data.split(b"\n")):
        if not line.strip():
            continue
        try:
            yield path, number, load_json(decode_line(line), where="the line")
        except DataError as error:
            problems.add(Problem(file=path.name, reason=str(error), record=number))


def _unpacked(path: Path) -> bytes:
    """Return what a gzip file holds.

    Raises:
        DataError: it is damaged, or holds more than MAX_FILE_BYTES.
    """
    rest, data = read_bounded(path), b""
    # A file may have several members.
    while rest:
        reader = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        try:
            data += reader.decompress(rest, MAX_FILE_BYTES + 1 - len(data))
        except zlib.error as error:
            raise DataError(f"expected {path} to be a gzip file, but {error}; fetch it again") from error
        if len(data) > MAX_FILE_BYTES:
            raise DataError(f"expected {path} to hold at most {MAX_FILE_BYTES} bytes; it holds more")
        if not reader.eof:
            raise DataError(f"{path} is cut off; fetch it again")
        rest = reader.unused_data
    return data


def name_of(path: Path, number: int) -> str:
    """Return the name of a row among those of all shards: its number, behind that of its shard after the first."""
    shard = re.search(r"-(\d{5})-of-\d{5}$", path.stem)
    return f"{int(shard[1])}-{number}" if shard and int(shard[1]) else f"{number}"


def needs(row: Any, *names: str) -> list[Any]:
    """Return values of a row.

    Raises:
        ValueError: it is no object, or one is missing.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"expected an object, got {type(row).__name__}")
    if absent := [name for name in names if row.get(name) is None]:
        raise ValueError(f"expected {', '.join(names)}; there is no {absent[0]}")
    return [row[name] for name in names]


def text_of(value: Any, name: str) -> str:
    """Return a text that is not blank.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"expected a text as {name!r}, got {value!r}"[:300])
    return value


def must_exist(paths: Sequence[Path], what: str, folder: Path, patterns: Sequence[str]) -> Sequence[Path]:
    """Return the files.

    Raises:
        DataError: there are none.
    """
    if not paths:
        raise DataError(f"expected {what} in {folder}, as {', '.join(patterns)}; found none")
    return paths
