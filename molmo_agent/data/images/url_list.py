"""Read lists of image URLs: Parquet files of published data sets, JSON lines, or plain text."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molmo_agent.data.formats.json_lines import decode_line, json_rows, numbered_lines
from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.errors import DataError, UsageError


@dataclass(slots=True)
class ImageRequest:
    """An image that one or more rows of a data set need."""

    url: str
    # The first row that needs it, and the number of such rows.
    row: str
    rows: int = 0
    # SHA-256 of the annotated image; any of several is accepted. Empty if unknown.
    hashes: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class ImageList:
    """The images that some files list: each URL once, in order of first use."""

    images: list[ImageRequest]
    # Number of rows without an image.
    problems: Problems
    # Whether any row gives a SHA-256.
    has_hashes: bool


def read_lists(files: Sequence[Path], url_column: str = "image_url", hash_column: str = "image_sha256") -> ImageList:
    """Read the images that some files list.

    Args:
        files: Parquet (``.parquet``), Arrow (``.arrow``), JSON lines (``.jsonl``: objects with the columns), or text
            with one URL per line.
        url_column: the column of the URLs.
        hash_column: the column of the images' SHA-256; it may be missing.

    Raises:
        UsageError: a file cannot be read or has no such column, or no file lists an image.
        MissingExtraError: the library that reads Parquet is not installed.
    """
    requests: dict[str, ImageRequest] = {}
    problems = Problems()
    for path in files:
        if path.is_dir():
            raise UsageError(f"expected a file that lists images, got the folder {path}; name the files in it")
        for number, url, digest in _entries(path, url_column, hash_column, problems):
            # JSON can hold lone surrogates, which cannot be encoded and so have no path in a store.
            if not isinstance(url, str) or not url.strip() or not url.isprintable():
                reason = f"expected an address under {url_column!r}, got {url!r:.80}"
                problems.add(Problem(file=path.name, record=number, reason=reason))
                continue
            image = requests.setdefault(url, ImageRequest(url, f"{path.name} row {number}"))
            image.rows += 1
            if isinstance(digest, str) and digest:
                image.hashes.add(digest.strip().lower())
    if not requests:
        raise UsageError(f"no image is listed in {', '.join(str(path) for path in files)}; {problems.summary()}")
    return ImageList(list(requests.values()), problems, any(image.hashes for image in requests.values()))


def _entries(path: Path, url_column: str, hash_column: str, problems: Problems) -> Iterator[tuple[int, Any, Any]]:
    """Yield (row, address, hash or None)."""
    if path.suffix in (".parquet", ".arrow"):
        table = Table(path, "train", [url_column], problems)
        for number, row in table.scan([name for name in (url_column, hash_column) if name in table.columns]):
            yield number, row[url_column], row.get(hash_column)
        return
    if path.suffix == ".jsonl":
        for number, entry in json_rows(path, "image addresses", problems):
            row = entry if isinstance(entry, dict) else {}
            yield number, row.get(url_column), row.get(hash_column)
        return
    for number, line in numbered_lines(path, "image addresses"):
        try:
            yield number, decode_line(line).strip(), None
        except DataError as error:
            problems.add(Problem(file=path.name, record=number, reason=str(error)))
