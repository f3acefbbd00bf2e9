"""Serve a person's own files as rows: JSON lines, a JSON list, Parquet, or what another reader lists.

Only the positions of records and the sizes of images stay in memory. What a record means is up to a
:class:`RecordForm`: which images it has, and which conversations about them.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from molmo_agent.data.formats.json_array import JsonArray
from molmo_agent.data.formats.json_lines import JsonLines
from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.readers.annotated import Columns, Records
from molmo_agent.data.row import Conversation, Picture, Row
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import ROW_ERRORS, NothingUsableError, Problem, Problems, reason_of
from molmo_agent.episode import Image
from molmo_agent.errors import DataError, UsageError
from molmo_agent.images import read_image, read_size

Size = tuple[int, int]
"""(width, height) in pixels."""

_TABLES = (".parquet", ".arrow")


class RecordForm(Protocol):
    """What the records of a file mean."""

    def images(self, record: Any) -> tuple[Any, ...]:
        """Return the images of a record: paths, or objects with ``bytes`` or ``path``.

        Raises:
            One of ROW_ERRORS: the record is unusable.
        """
        ...

    def conversations(
        self, record: Any, sizes: tuple[Size, ...], rng: np.random.RandomState
    ) -> tuple[Conversation, ...]:
        """Return the conversations of a record about images of these sizes; ``rng`` draws wordings.

        Raises:
            One of ROW_ERRORS: the record is unusable.
        """
        ...


class OwnRecords:
    """Rows of a person's records; those about the same images become annotations of one row.

    Args:
        records: the records by number.
        form: what they mean.
        folder: of the images' relative paths.
        problems: collects the records that cannot be used.

    Raises:
        NothingUsableError: no record can be used.
        UsageError: the file is unreadable.
    """

    def __init__(self, records: Records, form: RecordForm, folder: Path, problems: Problems) -> None:
        self._records, self._form, self._folder, self.problems = records, form, folder, problems
        self._sizes: dict[str, Size | Exception] = {}
        groups: dict[tuple[str, ...] | int, list[int]] = {}
        for number, record in records.scan():
            try:
                images = form.images(record)
                sizes = tuple(self._size(image) for image in images)
                if not form.conversations(record, sizes, np.random.RandomState(0)):
                    raise ValueError("it has no conversation")
            except ROW_ERRORS as error:
                problems.add(Problem(file=records.name, reason=reason_of(error), record=number))
                continue
            paths = tuple(image for image in images if isinstance(image, str))
            # Images inside of records have no name by which others could refer to them.
            key = paths if images and len(paths) == len(images) else number
            groups.setdefault(key, []).append(number)
        self._rows = list(groups.values())
        if not self._rows:
            raise NothingUsableError(f"no record of {records.name}", problems)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._rows)

    def row(self, number: int, seed: int) -> Row:
        """Return a row.

        Raises:
            One of ROW_ERRORS: the file or an image has changed since it was scanned.
        """
        rng = np.random.RandomState(seed & 0xFFFFFFFF)
        records = [self._records.get(entry) for entry in self._rows[number]]
        images = self._form.images(records[0])
        sizes = tuple(self._size(image) for image in images)
        pictures = [
            Picture(size=size, image=partial(self._read, image)) for size, image in zip(sizes, images, strict=True)
        ]
        names = [image for image in images if isinstance(image, str)]
        return Row(
            conversations=tuple(one for record in records for one in self._form.conversations(record, sizes, rng)),
            size=pictures[0].size if pictures else None,
            image=pictures[0].image if pictures else None,
            more_images=tuple(pictures[1:]),
            name=" + ".join(names) or f"record {self._rows[number][0]}",
        )

    def _size(self, image: Any) -> Size:
        if not isinstance(image, str):
            return read_size(_contained(image) or self._path(str(image["path"])))
        if image not in self._sizes:
            try:
                self._sizes[image] = read_size(self._path(image))
            except ROW_ERRORS as error:
                self._sizes[image] = error
        size = self._sizes[image]
        if isinstance(size, Exception):
            raise size
        return size

    def _read(self, image: Any) -> Image:
        if isinstance(image, str):
            return read_image(self._path(image))
        return read_image(_contained(image) or self._path(str(image["path"])))

    def _path(self, name: str) -> Path:
        if name.lower().startswith(("http://", "https://", "s3://", "data:")):
            raise ValueError(f"the image {name[:80]!r} is an address: fetch it first (agent data fetch), give its path")
        path = self._folder / name
        # Files written on Windows.
        return path if "\\" not in name or path.exists() else self._folder / name.replace("\\", "/")


def _contained(image: Any) -> bytes | None:
    """Return the bytes of an image that is inside of its record; None: it has a path.

    Raises:
        ValueError: it has neither.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, dict) and isinstance(image.get("bytes"), bytes):
        return bytes(image["bytes"])
    if isinstance(image, dict) and isinstance(image.get("path"), str):
        return None
    raise ValueError(f"expected an image as a path or with its bytes, got {image!r:.80}")


class _CheckedArray:
    """A JSON list whose scan stops at damage with the file's name."""

    def __init__(self, path: Path, problems: Problems) -> None:
        self._array, self._problems, self.name = JsonArray(path), problems, path.name

    def scan(self) -> Iterator[tuple[int, Any]]:
        """Yield (number, object); what comes after damage is a problem, since its places are unknown."""
        number = -1
        try:
            for number, value in self._array.scan():
                yield number, value
        except UsageError as error:
            if number < 0:
                raise
            self._problems.add(Problem(file=self.name, reason=str(error)))

    def get(self, number: int) -> Any:
        """Return an object."""
        return self._array.get(number)


def open_records(path: Path, what: str, known: tuple[str, ...], problems: Problems) -> Records:
    """Open a file of records by its ending: ``.json`` is a list, ``.parquet`` and ``.arrow`` are tables, else lines.

    Args:
        path: the file, or a folder of Parquet files.
        what: what it holds, for errors.
        known: the columns of a table that count.
        problems: collects what cannot be read.

    Raises:
        UsageError: the file is missing, or no column of a table counts.
    """
    if path.suffix.lower() == ".json" and not _is_lines(path):
        return _CheckedArray(path, problems)
    if path.is_dir() or path.suffix.lower() in _TABLES:
        table = Table(path, "train", (), problems)
        columns = tuple(name for name in known if name in table.columns)
        if not columns:
            raise UsageError(
                f"expected columns such as {', '.join(known[:6])} in {path}, got {', '.join(sorted(table.columns))}"
            )
        return Columns(table, columns)
    return JsonLines(path, what, problems)


def _is_lines(path: Path) -> bool:
    """Return whether a file that should be a JSON list begins with an object, as JSON lines do."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise UsageError(f"expected a JSON file at {path}, but: {error.strerror or error}") from error
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def folder_of(source: Source, path: Path) -> Path:
    """Return the folder of the images: the option ``images``, or that of the file."""
    given = source.options.get("images")
    if given is not None and not isinstance(given, str):
        raise DataError(f"expected the option 'images' of {source.kind!r} to be a folder, got {given!r:.80}")
    return Path(given) if given else path if path.is_dir() else path.parent
