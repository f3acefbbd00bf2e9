"""Where a data set's images come from, and which of them can be used: each is decoded once, and that is remembered.

An image that is missing, damaged or not the one that was annotated is known before the first step, and training never
meets it. What was found is kept in ``checked.jsonl`` beside the images, so that the next run only looks whether the
files are still the same.
"""

import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.images.store import ImageStore
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.episode import Image
from molmo_agent.errors import ImageError
from molmo_agent.model.image_processor import load_image

Size = tuple[int, int]
"""(height, width)."""

NOTES = "checked.jsonl"
# Images whose bytes are in memory at once while they are checked.
_AT_ONCE = 64
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".gif")


class Images(Protocol):
    """The images of a data set by their keys."""

    # Folder for the notes.
    folder: Path

    def stamp(self, key: str) -> str:
        """Return what changes when an image does.

        Raises:
            OSError: there is none.
        """
        ...

    def data(self, key: str) -> bytes:
        """Return the file as it came.

        Raises:
            OSError: there is none.
        """
        ...


def decode(data: bytes) -> Image:
    """Return a file's image, (height, width, 3) uint8, upright.

    Raises:
        ImageError: it is none.
    """
    try:
        with PILImage.open(io.BytesIO(data)) as image:
            return load_image(image)
    except UnidentifiedImageError:
        raise ImageError("the file is not a readable image") from None
    except (OSError, SyntaxError, ValueError, PILImage.DecompressionBombError) as error:
        raise ImageError(f"the file is not a readable image ({error})") from error


class StoredImages:
    """Images of the web, fetched into a :class:`ImageStore`; keys are addresses."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._store = folder, ImageStore(folder)

    def stamp(self, key: str) -> str:
        """Return size and time of the file."""
        return _stamp(self._store.path(key))

    def data(self, key: str) -> bytes:
        """Return the file."""
        return self._store.path(key).read_bytes()


class FolderImages:
    """Images in a folder; keys are paths in it, with or without an ending, behind ``#`` whatever else."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """Return the file of a key, also where there is none."""
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
    """Images in a column of a table; keys are numbers of rows."""

    def __init__(self, folder: Path, table: Table, column: str = "image") -> None:
        self.folder = folder if folder.is_dir() else folder.parent
        self._table, self._column = table, column

    def stamp(self, key: str) -> str:
        """Return size and time of the table's file."""
        return self._table.stamp(int(key))

    def data(self, key: str) -> bytes:
        """Return what the column holds, or the file that it names."""
        return self.bytes_of(self._table.row(int(key), [self._column])[self._column])

    def bytes_of(self, value: Any) -> bytes:
        """Return the image's bytes of the column's value: bytes, or ``{"bytes", "path"}``."""
        if isinstance(value, bytes):
            return value
        if isinstance(value, Mapping) and value.get("bytes"):
            found: bytes = value["bytes"]
            return found
        if isinstance(value, Mapping) and value.get("path"):
            return (self.folder / value["path"]).read_bytes()
        raise FileNotFoundError(2, f"the column {self._column!r} is empty")

    def all(self, keys: set[str]) -> Iterator[tuple[str, bytes]]:
        """Yield (key, bytes) of some rows in the order of the files, so that every block is read once."""
        for number, row in self._table.scan([self._column]):
            if str(number) in keys:
                try:
                    yield str(number), self.bytes_of(row[self._column])
                except OSError:
                    yield str(number), b""


def _stamp(path: Path) -> str:
    told = path.stat()
    return f"{told.st_size} {told.st_mtime_ns}"


def _judge(data: bytes, sha256: str | None) -> Size | str:
    """Return an image's size, or why it cannot be used."""
    if not data:
        return "the image is missing"
    if sha256 and (found := hashlib.sha256(data).hexdigest()) != sha256:
        return f"not the image that was annotated: its sha256 is {found[:12]}..., expected {sha256[:12]}..."
    try:
        height, width = decode(data).shape[:2]
    except ImageError as error:
        return str(error)
    return height, width


def check(
    images: Images, wanted: Mapping[str, str | None], problems: Problems
) -> tuple[dict[str, Size], dict[str, str]]:
    """Look at every image of a data set.

    Args:
        images: where they are.
        wanted: the keys, each with the SHA-256 its file must have; None where none was published.
        problems: where notes that cannot be written are told.

    Returns:
        The sizes of those that can be used, and why the others cannot.
    """
    notes = _read(images.folder / NOTES)
    results: dict[str, Size | str] = {}
    new: dict[str, str] = {}
    for key, sha256 in wanted.items():
        try:
            stamp = f"{images.stamp(key)} {sha256 or ''}".strip()
        except OSError:
            results[key] = "the image is missing"
            continue
        known = notes.get(key)
        if known and known[0] == stamp:
            results[key] = known[1] if isinstance(known[1], str) else (known[1][0], known[1][1])
        else:
            new[key] = stamp
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for found in _parts(_contents(images, new)):
            judged = list(pool.map(lambda pair: _judge(pair[1], wanted[pair[0]]), found))
            results |= {key: result for (key, _), result in zip(found, judged, strict=True)}
    for key in new:
        # A block of a table that could not be read.
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
        yield key, images.data(key)


def _parts(items: Iterable[tuple[str, bytes]]) -> Iterator[list[tuple[str, bytes]]]:
    rest = iter(items)
    while part := list(islice(rest, _AT_ONCE)):
        yield part


def _read(path: Path) -> dict[str, tuple[str, Any]]:
    """Return what is remembered; a line that was cut off is forgotten, and its image looked at again."""
    notes: dict[str, tuple[str, Any]] = {}
    if not path.is_file():
        return notes
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            key, stamp, result = json.loads(line)
        except ValueError:
            continue
        notes[key] = stamp, result
    return notes


def _write(path: Path, new: Mapping[str, tuple[str, Size | str]], problems: Problems) -> None:
    # Read again: another data set of the same images may have written meanwhile.
    notes = {**_read(path), **new}
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text("".join(json.dumps([key, *note]) + "\n" for key, note in notes.items()), encoding="utf-8")
        os.replace(part, path)
    except OSError as error:
        reason = f"cannot be written ({error.strerror}): the images are checked again next time"
        problems.add(Problem(file=str(path), reason=reason))
