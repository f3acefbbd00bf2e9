"""The objects of a large JSON array one by one, and again by number; keeps where they are, not what they are."""

import json
import re
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from molmo_agent.errors import UsageError

_CHUNK = 1 << 22
_BETWEEN = re.compile(r"[\s,]*")


class JsonArray:
    """An array of objects: the whole file, or what stands under a key.

    Args:
        path: the file.
        key: name of the array in the object that the file is; None: the file is the array.

    Raises:
        UsageError: there is no such file.
    """

    def __init__(self, path: Path, key: str | None = None) -> None:
        if not path.is_file():
            raise UsageError(f"expected a JSON file at {path}, found none")
        self.path, self.name = path, path.name
        self._opening = re.compile(r"\[" if key is None else rf'"{re.escape(key)}"\s*:\s*\[')
        self._what = "an array" if key is None else f"an array {key!r}"
        self._offsets, self._lengths = array("q"), array("q")

    def __len__(self) -> int:
        """Return the number of objects, once they were gone through."""
        return len(self._offsets)

    def scan(self) -> Iterator[tuple[int, Any]]:
        """Yield (number, object) from the beginning; afterwards :meth:`get` knows where they are.

        Raises:
            UsageError: there is no such array, or it breaks off.
        """
        self._offsets, self._lengths = array("q"), array("q")
        decode = json.JSONDecoder().raw_decode
        # One character a byte, so that places in the text are places in the file.
        with self.path.open(encoding="latin-1", newline="") as file:
            text, base = file.read(_CHUNK), 0
            opening = self._opening.search(text)
            if opening is None:
                raise UsageError(f"expected {self._what} of objects in {self.path}, found none near its beginning")
            place = opening.end()
            while True:
                place = _BETWEEN.match(text, place).end()  # type: ignore[union-attr]
                if text[place : place + 1] == "]":
                    return
                try:
                    found, end = decode(text, place)
                except ValueError as error:
                    more = file.read(_CHUNK)
                    if not more:
                        raise UsageError(
                            f"{self.path} breaks off or is damaged behind object {len(self)} ({error}); fetch it again"
                        ) from error
                    text, base, place = text[place:] + more, base + place, 0
                    continue
                self._offsets.append(base + place)
                self._lengths.append(end - place)
                piece = text[place:end]
                yield len(self) - 1, found if piece.isascii() else json.loads(piece.encode("latin-1"))
                place = end

    def get(self, number: int) -> Any:
        """Return an object."""
        with self.path.open("rb") as file:
            file.seek(self._offsets[number])
            return json.loads(file.read(self._lengths[number]))
