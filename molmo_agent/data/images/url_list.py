"""Lists of image addresses: Parquet files of published data sets, JSON lines, or plain text. Asks no network."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.errors import UsageError


@dataclass(slots=True)
class Wanted:
    """An image that rows of a data set need."""

    url: str
    # The first of them, and how many.
    row: str
    rows: int = 0
    # SHA-256 of the image as it was when the data set was made; any of several will do, empty if not known.
    hashes: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class ImageList:
    """What some files list, each address once, in the order they were met."""

    images: list[Wanted]
    # Rows that name no image.
    problems: Problems
    # Whether a file says what its images must be.
    checked: bool


def read_lists(files: Sequence[Path], url_column: str = "image_url", hash_column: str = "image_sha256") -> ImageList:
    """Read what images some files list.

    Args:
        files: Parquet (``.parquet``), Arrow (``.arrow``), JSON lines (``.jsonl``: objects with the columns), or text
            with an address a line.
        url_column: where the addresses stand.
        hash_column: where the SHA-256 of the images stand; it may be missing.

    Raises:
        UsageError: a file cannot be read or has no such column, or no file lists an image.
        MissingExtraError: a Parquet file, and no library to read it.
    """
    wanted: dict[str, Wanted] = {}
    problems = Problems()
    for path in files:
        if path.is_dir():
            raise UsageError(f"expected a file that lists images, got the folder {path}; name the files in it")
        for number, url, digest in _entries(path, url_column, hash_column, problems):
            # Half a character of UTF-16, which JSON can hold, has no bytes and so no place in a store.
            if not isinstance(url, str) or not url.strip() or not url.isprintable():
                reason = f"expected an address under {url_column!r}, got {url!r:.80}"
                problems.add(Problem(file=path.name, record=number, reason=reason))
                continue
            image = wanted.setdefault(url, Wanted(url, f"{path.name} row {number}"))
            image.rows += 1
            if isinstance(digest, str) and digest:
                image.hashes.add(digest.lower())
    if not wanted:
        raise UsageError(f"no image is listed in {', '.join(str(path) for path in files)}; {problems.summary()}")
    return ImageList(list(wanted.values()), problems, any(image.hashes for image in wanted.values()))


def _entries(path: Path, url_column: str, hash_column: str, problems: Problems) -> Iterator[tuple[int, Any, Any]]:
    """Yield (row, address, hash or None)."""
    if path.suffix in (".parquet", ".arrow"):
        table = Table(path, "train", [url_column], problems)
        for number, row in table.scan([name for name in (url_column, hash_column) if name in table.columns]):
            yield number, row[url_column], row.get(hash_column)
        return
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise UsageError(f"expected image addresses in {path}, but: {getattr(error, 'strerror', error)}") from error
    for number, line in enumerate(lines):
        if path.suffix != ".jsonl":
            if line.strip():
                yield number, line.strip(), None
            continue
        try:
            entry = json.loads(line)
        except ValueError:
            entry = line
        if isinstance(entry, dict):
            yield number, entry.get(url_column), entry.get(hash_column)
        else:
            yield number, None, None
