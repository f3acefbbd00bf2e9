"""Read JSON lines that others wrote: a line that cannot be used is a problem, and the lines after it are read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.errors import DataError, UsageError
from molmo_agent.parse import MAX_LINE_BYTES, load_json, open_regular

_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def numbered_lines(path: Path, what: str) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file with their numbers; see :func:`located_lines`.

    Raises:
        UsageError: the file is unreadable or has another encoding, or a line is longer than MAX_LINE_BYTES.
    """
    for number, _, line in located_lines(path, what):
        yield number, line


def located_lines(path: Path, what: str) -> Iterator[tuple[int, int, bytes]]:
    r"""Yield the lines of a file with their numbers, from 1, and offsets, but for blank ones.

    Only line feeds end a line, U+2028 or \r do not.

    Args:
        path: the file.
        what: what the lines hold, for the error.

    Raises:
        UsageError: the file is unreadable or has another encoding, or a line is longer than MAX_LINE_BYTES.
    """
    try:
        with open_regular(path) as file:
            number = offset = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                if len(line) > MAX_LINE_BYTES:
                    raise UsageError(
                        f"expected lines of at most {MAX_LINE_BYTES} bytes in {path}; line {number} is longer"
                    )
                if number == 1 and (line.startswith(_UTF_16) or b"\0" in line[:4]):
                    raise UsageError(
                        f"expected {path} to be UTF-8, got UTF-16 or UTF-32: convert it (iconv -f UTF-16 -t UTF-8)"
                    )
                if line.strip():
                    yield number, offset, line
                offset += len(line)
    except OSError as error:
        raise UsageError(f"expected {what} at {path}, but: {error.strerror or error}") from error


def json_rows(path: Path, what: str, problems: Problems) -> Iterator[tuple[int, Any]]:
    """Yield the values of a file of JSON lines with the numbers of their lines; lines without JSON become problems.

    Args:
        path: the file.
        what: what the lines hold, for the error.
        problems: collects the lines that are not JSON in UTF-8, within the bounds of :mod:`molmo_agent.parse`.

    Raises:
        UsageError: the file is unreadable or has another encoding, or a line is longer than MAX_LINE_BYTES.
    """
    for number, line in numbered_lines(path, f"a JSONL file of {what}"):
        try:
            value = load_json(decode_line(line), where="the line")
        except DataError as error:
            problems.add(Problem(file=path.name, reason=str(error), record=number))
            continue
        yield number, value


def decode_line(line: bytes) -> str:
    """Return the text of a line.

    Raises:
        DataError: it is not UTF-8.
    """
    try:
        return line.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"expected UTF-8, got the byte 0x{line[error.start]:02x} ({error.reason}): convert the file, from Latin-1 "
            "for instance (iconv -f LATIN1 -t UTF-8)"
        ) from error


class JsonLines:
    """The values of a file of JSON lines by the numbers of their lines, from 1; only their places stay in memory.

    Args:
        path: the file.
        what: what the lines hold, for the error.
        problems: collects the lines that are not JSON.
    """

    def __init__(self, path: Path, what: str, problems: Problems) -> None:
        self.path, self.name = path, path.name
        self._what, self._problems = what, problems
        self._places: dict[int, int] = {}

    def scan(self) -> Iterator[tuple[int, Any]]:
        """Yield (number, value) from the beginning, and record the places that :meth:`get` needs.

        Raises:
            UsageError: see :func:`located_lines`.
        """
        for number, place, line in located_lines(self.path, f"a JSONL file of {self._what}"):
            try:
                value = load_json(decode_line(line), where="the line")
            except DataError as error:
                self._problems.add(Problem(file=self.name, reason=str(error), record=number))
                continue
            self._places[number] = place
            yield number, value

    def get(self, number: int) -> Any:
        """Return the value of a line.

        Raises:
            DataError: the file has changed since it was scanned.
        """
        with self.path.open("rb") as file:
            file.seek(self._places[number])
            return load_json(decode_line(file.readline()), where=f"line {number} of {self.path}")
