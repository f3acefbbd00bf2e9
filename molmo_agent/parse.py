r"""Read JSON, JSON lines and YAML that others wrote, within bounds and with one clear error for all that can be wrong.

Every error is a DataError that names the file and the place in it. Bounds:

    nesting                  64 levels; deeper text exhausts the stack of whoever walks it
    numbers                  finite and at most 300 digits; NaN and Infinity only on request
    encoding                 UTF-8, with or without a byte order mark
    lines of JSON lines      end with a line feed and with nothing else: U+2028 or \x0b within a string is text
    YAML                     one document; aliases may not make it larger than MAX_YAML_NODES, nor refer to themselves
    size                     MAX_FILE_BYTES a file, MAX_LINE_BYTES a line, MAX_YAML_CHARS for YAML; regular files only,
                             since a pipe blocks the reader and a device never ends
"""

import json
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import yaml

from molmo_agent.errors import DataError
from molmo_agent.visible_text import visible_text

MAX_DEPTH = 64
MAX_FILE_BYTES = 256_000_000
MAX_LINE_BYTES = 64_000_000
MAX_YAML_CHARS, MAX_YAML_NODES = 1_000_000, 200_000
_MAX_DIGITS = 300
# Only text with such a number is parsed by the slower way, which checks each number. 1e999 is infinite for Python.
_LONG_NUMBER = re.compile(rf"[0-9][eE]\+?[0-9]{{3}}|[0-9]{{{_MAX_DIGITS}}}")
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def load_json(text: str | bytes, *, where: str | Path, nan: bool = False) -> Any:
    """Parse JSON.

    Args:
        text: the JSON; bytes are decoded by :func:`decode`.
        where: what the error calls the text, such as the file's path.
        nan: whether NaN, Infinity and -Infinity are numbers.

    Raises:
        DataError: this is not JSON, or it is beyond the bounds of this module.
    """
    if isinstance(text, bytes):
        text = decode(text, where=where)
    options: dict[str, Any] = {} if nan else {"parse_constant": _refuse_constant}
    if _LONG_NUMBER.search(text):
        options |= {"parse_int": _short_int}
        if not nan:
            options |= {"parse_float": _finite}
    try:
        value = json.loads(text, **options)
    except json.JSONDecodeError as error:
        end = "; it ends there: is the file complete?" if error.pos >= len(text.rstrip()) else ""
        place = f"line {error.lineno}, column {error.colno}"
        raise DataError(f"expected {where} to be JSON, but {error.msg} at {place}{end}") from error
    except ValueError as error:
        raise DataError(f"expected {where} to be JSON, but {error}") from error
    except RecursionError:
        _refuse_depth(where)
    if _is_deep(value):
        _refuse_depth(where)
    return value


def load_yaml(text: str | bytes, *, where: str | Path) -> Any:
    """Parse YAML: plain data only, in one document.

    Args:
        text: the YAML; bytes are decoded by :func:`decode`.
        where: what the error calls the text, such as the file's path.

    Raises:
        DataError: this is not YAML, or it is beyond the bounds of this module.
    """
    if isinstance(text, bytes):
        text = decode(text, where=where)
    if len(text) > MAX_YAML_CHARS:
        raise DataError(f"expected {where} to have at most {MAX_YAML_CHARS} characters, got {len(text)}")
    try:
        return _BoundedLoader(text).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f" at line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise DataError(f"expected {where} to be YAML, but {visible_text(str(error.problem))}{place}") from error
    except yaml.YAMLError as error:
        raise DataError(f"expected {where} to be YAML, but {visible_text(str(error))}") from error
    # The constructors of dates, numbers and tags raise whatever their Python functions raise.
    except (ValueError, ArithmeticError, AttributeError, TypeError, LookupError) as error:
        raise DataError(f"expected {where} to be YAML, but a value is not what its tag says: {error}") from error


def json_lines(
    path: str | Path, *, nan: bool = False, on_cut_end: Callable[[str], object] | None = None
) -> Iterator[tuple[int, Any]]:
    """Read a file of JSON lines; yield each value with the number of its line, from 1. Blank lines are skipped.

    Args:
        path: the file.
        nan: whether NaN and Infinity are numbers.
        on_cut_end: called with a message instead of raising if the last line is damaged and has no line feed, as a
            killed writer or a full disk leaves it.

    Raises:
        DataError: the file cannot be read, or a line is not JSON in UTF-8 within the bounds of this module.
    """
    path = Path(path)
    try:
        with open_regular(path) as file:
            number = 0
            while line := file.readline(MAX_LINE_BYTES + 1):
                number += 1
                where = f"{path}, line {number}"
                if len(line) > MAX_LINE_BYTES:
                    raise DataError(f"expected {where} to have at most {MAX_LINE_BYTES} bytes; it is longer")
                # A byte order mark is accepted where it belongs, at the beginning of a file.
                if number == 1:
                    line = line.removeprefix(b"\xef\xbb\xbf")
                if not line.strip():
                    continue
                try:
                    value = load_json(_decode_line(line, where), where=where, nan=nan)
                except DataError as error:
                    if on_cut_end is None or line.endswith(b"\n"):
                        raise
                    on_cut_end(f"{where} is cut off and was dropped ({error})")
                    return
                yield number, value
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


def read_json(path: str | Path, *, nan: bool = False) -> Any:
    """Read a JSON file.

    Raises:
        DataError: it cannot be read, is not JSON, or is beyond the bounds of this module.
    """
    return load_json(read_bounded(path), where=path, nan=nan)


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file.

    Raises:
        DataError: it cannot be read, is not YAML, or is beyond the bounds of this module.
    """
    return load_yaml(read_bounded(path), where=path)


def read_bounded(path: str | Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Read a regular file of at most ``limit`` bytes.

    Raises:
        DataError: it cannot be read, is no regular file, or is larger.
    """
    try:
        with open_regular(path) as file:
            data: bytes = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if len(data) > limit:
        raise DataError(f"expected {path} to have at most {limit} bytes; it is larger")
    return data


def open_regular(path: str | Path) -> Any:
    """Open a regular file to read its bytes.

    Raises:
        OSError: it cannot be opened.
        DataError: it is a pipe, a device or a folder.
    """
    # A pipe without a writer would block here; on Windows there is no such flag and no such file.
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError(f"expected {path} to be a regular file, got a folder, a pipe or a device")
    return os.fdopen(descriptor, "rb")


def decode(data: bytes, *, where: str | Path) -> str:
    """Decode UTF-8, with or without a byte order mark.

    Raises:
        DataError: the text has another encoding; the message names it if it can be recognised.
    """
    if data.startswith(_UTF_16) or (len(data) > 1 and 0 in data[:2]):
        raise DataError(f"expected {where} to be UTF-8, got UTF-16 or UTF-32: convert it (iconv -f UTF-16 -t UTF-8)")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"expected {where} to be UTF-8, but line {line} has the byte 0x{data[error.start]:02x} "
            f"({error.reason}): convert it, from Latin-1 for instance (iconv -f LATIN1 -t UTF-8), or replace it"
        ) from error


def _decode_line(line: bytes, where: str) -> str:
    if line.startswith(_UTF_16) or 0 in line:
        return decode(line[:2] if line.startswith(_UTF_16) else b"\0 ", where=where)
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"expected {where} to be UTF-8, but it has the byte 0x{line[error.start]:02x} ({error.reason}): convert "
            "the file, from Latin-1 for instance (iconv -f LATIN1 -t UTF-8), or remove a damaged line"
        ) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number of JSON")


def _short_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits, more than {_MAX_DIGITS}")
    return int(digits)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"the number {text[:20]} is too large")
    return number


def _is_deep(value: Any) -> bool:
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        if not level:
            return False
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, dict | list)
        ]
    return bool(level)


def _refuse_depth(where: str | Path) -> NoReturn:
    raise DataError(f"expected {where} to be nested at most {MAX_DEPTH} levels deep; it is deeper")


class _BoundedLoader(yaml.SafeLoader):
    """Safe YAML that stops at deep nesting, growing aliases and endless numbers, before it builds anything."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        # Number of nodes and levels below each finished node, aliases expanded, and of those that are being read.
        self._measures: dict[int, tuple[int, int]] = {}
        self._open: list[tuple[int, int]] = [(0, 0)]

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark
        is_alias = self.check_event(yaml.AliasEvent)
        self._open.append((1, 1))
        if len(self._open) > MAX_DEPTH + 1:
            self._refuse(f"it is nested more than {MAX_DEPTH} levels deep", mark)
        node: Any = super().compose_node(parent, index)
        nodes, levels = self._open.pop()
        if is_alias:
            if id(node) not in self._measures:
                self._refuse("an alias refers to what it is part of", mark)
            nodes, levels = self._measures[id(node)]
        self._measures[id(node)] = nodes, levels
        outer_nodes, outer_levels = self._open[-1]
        self._open[-1] = outer_nodes + nodes, max(outer_levels, levels + 1)
        if sum(count for count, _ in self._open) > MAX_YAML_NODES:
            self._refuse(f"its aliases make it larger than {MAX_YAML_NODES} values", mark)
        if len(self._open) + levels > MAX_DEPTH + 1:
            self._refuse(f"it is nested more than {MAX_DEPTH} levels deep", mark)
        is_plain_value = isinstance(node, yaml.ScalarNode) and node.tag != self.DEFAULT_SCALAR_TAG
        if is_plain_value and len(node.value) > _MAX_DIGITS:
            self._refuse(f"a number or a date has {len(node.value)} characters, more than {_MAX_DIGITS}", mark)
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Refuse a key that stands twice: YAML would take the last one, and say nothing of the other."""
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    self._refuse(f"the key {key.value[:80]!r} stands there twice", key.start_mark)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep=deep)

    def _refuse(self, problem: str, mark: Any) -> NoReturn:
        raise yaml.composer.ComposerError(None, None, problem, mark)
