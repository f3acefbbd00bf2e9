"""Write data sets as the PixMo readers read them: Parquet shards and a store of the images, unmodified."""

import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from molmo_agent.data.images.store import ImageStore
from molmo_agent.errors import MissingExtraError, UsageError
from molmo_agent.files import whole_file, write_whole

# Columns of each published data set with the Arrow type of each, in their order.
_PERCENTS = [("x", "float64"), ("y", "float64")]
_TEXT = "string"
COLUMNS: Mapping[str, Mapping[str, Any]] = {
    "pixmo-points": {
        "image_url": _TEXT,
        "image_sha256": _TEXT,
        "label": _TEXT,
        "points": [_PERCENTS],
        "count": "int64",
        "collection_method": _TEXT,
    },
    "pixmo-count": {
        "image_url": _TEXT,
        "image_sha256": _TEXT,
        "label": _TEXT,
        "count": "int64",
        "points": [("x", ["float64"]), ("y", ["float64"])],
    },
    "pixmo-cap": {"image_url": _TEXT, "caption": _TEXT, "transcripts": [_TEXT]},
    "pixmo-cap-qa": {"image_url": _TEXT, "question": _TEXT, "answer": _TEXT, "messages": [_TEXT]},
    "pixmo-ask-model-anything": {"image_url": _TEXT, "image_sha256": _TEXT, "question": _TEXT, "answer": _TEXT},
    "pixmo-point-explanations": {
        "image_url": _TEXT,
        "image_sha256": _TEXT,
        "question": _TEXT,
        "response": _TEXT,
        "parsed_response": _TEXT,
        "alt_text": [_TEXT],
        "inline_text": [_TEXT],
        "points": [[_PERCENTS]],
    },
}


def image_url(sha256: str) -> str:
    """Return the URL of an image that has no address on the web: its hash, which reveals no file name."""
    return f"urn:sha256:{sha256}"


def _arrow_type(arrow: Any, kind: Any) -> Any:
    if isinstance(kind, str):
        return getattr(arrow, kind)()
    if isinstance(kind[0], tuple):
        return arrow.struct([(name, _arrow_type(arrow, inner)) for name, inner in kind])
    return arrow.list_(_arrow_type(arrow, kind[0]))


def write_split(folder: Path, name: str, rows: Sequence[Mapping[str, Any]], split: str = "train") -> Path:
    """Write the rows of a split whole or not at all, in ``folder/data``.

    Args:
        folder: of the data set.
        name: of the published data set with these columns, a key of ``COLUMNS``.
        rows: values by column.
        split: train, validation or test.

    Raises:
        MissingExtraError: the library that writes Parquet is not installed.
        OSError: the file cannot be written.
    """
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise MissingExtraError("writing Parquet files", "train") from error
    schema = arrow.schema([(column, _arrow_type(arrow, kind)) for column, kind in COLUMNS[name].items()])
    path = folder / "data" / f"{split}-00000-of-00001.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        parquet.write_table(arrow.Table.from_pylist(list(rows), schema=schema), part)
    return path


def store_image(folder: Path, data: bytes) -> str:
    """Store an image file in ``folder/images`` unless it is there, and return its SHA-256 in hex."""
    digest = hashlib.sha256(data).hexdigest()
    path = ImageStore(folder / "images").path(image_url(digest))
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    return digest


def new_folder(folder: Path, name: str) -> Path:
    """Make the folder of an export; an earlier export of the same kind may be replaced, nothing else.

    Raises:
        UsageError: the folder holds something else.
    """
    marker = folder / "pixmo.json"
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir()) and not marker.is_file()):
        raise UsageError(f"expected a new folder or an earlier export for {name}, got {folder}: choose another one")
    folder.mkdir(parents=True, exist_ok=True)
    for old in (folder / "data").glob("*.parquet"):
        old.unlink()
    write_whole(marker, json.dumps({"data": name}) + "\n")
    return folder
