"""Read the objects of a large JSON array in order, then by number; only their positions stay in memory."""

import json
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from molmo_agent.errors import UsageError

_CHUNK = 1 << 22
_MAX_OBJECT_CHARS = 64_000_000
_BETWEEN = re.compile(r"[\s,]*")


class JsonArray:
    """An array of objects: the whole file, or the value of one key.

    Args:
        path: the file.
        key: name of the array in the file's object; None if the file itself is the array.

    Raises:
        UsageError: the file does not exist.
    """

    def __init__(self, path: Path, key: str | None = None) -> None:
        if not path.is_file():
            raise UsageError(f"expected a JSON file at {path}, found none")
        self.path, self.name = path, path.name
        self._opening = re.compile(r"\[" if key is None else rf'"{re.escape(key)}"\s*:\s*\[')
        self._what = "an array" if key is None else f"an array {key!r}"
        self._offsets, self._lengths = array("q"), array("q")

    def __len__(self) -> int:
        """Return the number of objects; known after :meth:`scan`."""
        return len(self._offsets)

    def scan(self) -> Iterator[tuple[int, Any]]:
        """Yield (number, object) from the beginning and record the positions that :meth:`get` needs.

        Raises:
            UsageError: the array is missing or truncated, is not UTF-8, or an object is too long or nested too deeply.
        """
        self._offsets, self._lengths = array("q"), array("q")
        decode = json.JSONDecoder().raw_decode
        # One character per byte, so that text positions are file positions.
        with self.path.open(encoding="latin-1", newline="") as file:
            text, base = file.read(_CHUNK), 0
            if "\0" in text[:4]:
                raise UsageError(f"expected {self.path} to be UTF-8, got UTF-16 or UTF-32: convert it with iconv")
            opening = self._opening.search(text)
            if opening is None:
                raise UsageError(f"expected {self._what} of objects in {self.path}, found none near its beginning")
            place = opening.end()
            while True:
                place = _BETWEEN.match(text, place).end()  # type: ignore[union-attr]
                if text[place : place + 1] == "]":
                    return
                try:
                    value, end = decode(text, place)
                except RecursionError as error:
                    raise UsageError(f"object {len(self)} of {self.path} is nested too deeply") from error
                except ValueError as error:
                    # As much again each time: an object is parsed a few times only, however long it is.
                    more = file.read(max(_CHUNK, len(text) - place))
                    if len(text) - place > _MAX_OBJECT_CHARS:
                        raise UsageError(
                            f"object {len(self)} of {self.path} does not end within {_MAX_OBJECT_CHARS:,} bytes; is "
                            "the file damaged? Fetch it again"
                        ) from error
                    if not more:
                        raise UsageError(
                            f"{self.path} is truncated or damaged after object {len(self)} ({error}); fetch it again"
                        ) from error
                    text, base, place = text[place:] + more, base + place, 0
                    continue
                self._offsets.append(base + place)
                self._lengths.append(end - place)
                piece = text[place:end]
                yield len(self) - 1, value if piece.isascii() else self._decoded(piece, len(self) - 1)
                place = end

    def _decoded(self, piece: str, number: int) -> Any:
        try:
            return json.loads(piece.encode("latin-1"))
        except UnicodeDecodeError as error:
            raise UsageError(
                f"object {number} of {self.path} is not UTF-8 ({error.reason}): convert the file"
            ) from error

    def get(self, number: int) -> Any:
        """Return an object."""
        with self.path.open("rb") as file:
            file.seek(self._offsets[number])
            return json.loads(file.read(self._lengths[number]))
