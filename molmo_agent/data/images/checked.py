"""The images of a data set. Each is decoded once to find the usable ones, and the result is cached.

Missing, damaged or replaced images are reported before the first training step and excluded from it. The results are
stored in ``checked.jsonl`` beside the images, so that the next run only checks whether the files have changed.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from molmo_agent.data.formats.json_lines import json_rows
from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.images.store import ImageStore
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.errors import ImageError
from molmo_agent.images import read_image

Size = tuple[int, int]
"""(width, height) in pixels."""

NOTES = "checked.jsonl"
# Number of images in memory at once during the check.
_AT_ONCE = 64
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif")


class Images(Protocol):
    """The images of a data set by their keys."""

    # Folder of ``checked.jsonl``.
    folder: Path

    def stamp(self, key: str) -> str:
        """Return a stamp that changes when the image changes.

        Raises:
            OSError: the image is missing.
        """
        ...

    def data(self, key: str) -> bytes:
        """Return the bytes of the file.

        Raises:
            OSError: the image is missing.
        """
        ...


class StoredImages:
    """Images from the web in an :class:`ImageStore`; keys are URLs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._store = folder, ImageStore(folder)

    def stamp(self, key: str) -> str:
        """Return size and time of the file."""
        return _stamp(self._store.path(key))

    def data(self, key: str) -> bytes:
        """Return the file."""
        return self._store.path(key).read_bytes()


class FolderImages:
    """Images in a folder; keys are relative paths, with or without a suffix. Text after ``#`` is ignored."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Return the path of a key's file, which may not exist."""
        path = self.folder / key.partition("#")[0]
        if path.suffix.lower() in _ENDINGS or path.is_file():
            return path
        return next((p for end in _ENDINGS if (p := path.with_name(path.name + end)).is_file()), path)

    def stamp(self, key: str) -> str:
        """Return size and time of the file."""
        return _stamp(self.path(key))

    def data(self, key: str) -> bytes:
        """Return the file."""
        return self.path(key).read_bytes()


class EmbeddedImages:
    """Images in a column of a table; keys are row numbers."""

    def __init__(self, folder: Path, table: Table, column: str = "image") -> None:
        self.folder = folder if folder.is_dir() else folder.parent
        self._table, self._column = table, column

    def stamp(self, key: str) -> str:
        """Return size and time of the table's file."""
        return self._table.stamp(int(key))

    def data(self, key: str) -> bytes:
        """Return the bytes in the column, or of the file that it names."""
        return self.bytes_of(self._table.row(int(key), [self._column])[self._column])

    def bytes_of(self, value: Any) -> bytes:
        """Return an image's bytes from a column value: bytes, or ``{"bytes", "path"}``."""
        if isinstance(value, bytes):
            return value
        if isinstance(value, Mapping) and value.get("bytes"):
            content: bytes = value["bytes"]
            return content
        if isinstance(value, Mapping) and value.get("path"):
            return (self.folder / value["path"]).read_bytes()
        raise FileNotFoundError(2, f"the column {self._column!r} is empty")

    def all(self, keys: set[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (key, bytes) of the given rows in file order, so that every block is read once."""
        for number, row in self._table.scan([self._column]):
            if str(number) in keys:
                try:
                    yield str(number), self.bytes_of(row[self._column])
                # A path with a zero byte is no OSError.
                except (OSError, ValueError, TypeError):
                    yield str(number), b""


def _stamp(path: Path) -> str:
    try:
        status = path.stat()
    # A null character, or half a surrogate pair.
    except ValueError as error:
        raise FileNotFoundError(f"no file can have the name {str(path)!r:.200}: {error}") from error
    return f"{status.st_size} {status.st_mtime_ns}"


def _judge(data: bytes, sha256: str | None) -> Size | str:
    """Return an image's size, or the reason why it is unusable."""
    if not data:
        return "the image is missing"
    if sha256 and (digest := hashlib.sha256(data).hexdigest()) != sha256.strip().lower():
        return f"not the image that was annotated: its sha256 is {digest[:12]}..., expected {sha256[:12]}..."
    try:
        height, width = read_image(data).shape[:2]
    except ImageError as error:
        return str(error)
    return width, height


def check(
    images: Images, hashes: Mapping[str, str | None], problems: Problems
) -> tuple[dict[str, Size], dict[str, str]]:
    """Check every image of a data set.

    Args:
        images: the images.
        hashes: the keys, each with the SHA-256 its file must have; None if none was published.
        problems: collects failures to write the cache.

    Returns:
        The sizes of the usable images, and the reasons why the others are unusable.
    """
    notes = _read(images.folder / NOTES)
    results: dict[str, Size | str] = {}
    new: dict[str, str] = {}
    for key, sha256 in hashes.items():
        try:
            stamp = f"{images.stamp(key)} {sha256 or ''}".strip()
        except OSError:
            results[key] = "the image is missing"
            continue
        note = notes.get(key)
        if note and note[0] == stamp:
            results[key] = note[1]
        else:
            new[key] = stamp
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for batch in _parts(_contents(images, new)):
            verdicts = list(pool.map(lambda pair: _judge(pair[1], hashes[pair[0]]), batch))
            results |= {key: result for (key, _), result in zip(batch, verdicts, strict=True)}
    for key in new:
        # An unreadable block of a table.
        results.setdefault(key, "the image is missing")
    if new:
        _write(images.folder / NOTES, {key: (stamp, results[key]) for key, stamp in new.items()}, problems)
    sizes = {key: result for key, result in results.items() if not isinstance(result, str)}
    return sizes, {key: result for key, result in results.items() if isinstance(result, str)}


def _contents(images: Images, keys: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    if isinstance(images, EmbeddedImages):
        yield from images.all(set(keys)) if keys else ()
        return
    for key in keys:
        try:
            yield key, images.data(key)
        except OSError:
            yield key, b""


def _parts(items: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    rest = iter(items)
    while part := list(islice(rest, _AT_ONCE)):
        yield part


def _read(path: Path) -> dict[str, tuple[str, Size | str]]:
    """Return the cached results; a damaged line is ignored and its image checked again."""
    notes: dict[str, tuple[str, Size | str]] = {}
    if not path.is_file():
        return notes
    for _, note in json_rows(path, "checked images", Problems()):
        if not (isinstance(note, list) and len(note) == 3 and all(isinstance(value, str) for value in note[:2])):
            continue
        key, stamp, result = note
        if isinstance(result, str):
            notes[key] = stamp, result
        # In the file, a size is [height, width].
        elif isinstance(result, list) and len(result) == 2 and all(type(side) is int and side > 0 for side in result):
            notes[key] = stamp, (result[1], result[0])
    return notes


def _write(path: Path, new: Mapping[str, tuple[str, Size | str]], problems: Problems) -> None:
    # Read again: another data set with the same images may have written in the meantime.
    notes = {**_read(path), **new}
    lines = [
        [key, stamp, result if isinstance(result, str) else result[::-1]] for key, (stamp, result) in notes.items()
    ]
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        reason = f"cannot be written ({error.strerror}): the images are checked again next time"
        problems.add(Problem(file=str(path), reason=reason))
