"""Recognise a PixMo data set by its columns, as published or as made here."""

from pathlib import Path

from molmo_agent.data.formats.parquet import Table, shards
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.errors import UsageError

SPLITS = ("train", "validation", "test")
# Kind -> its columns; those with more columns first, since others may have a part of them.
_COLUMNS = {
    "pixmo-points-eval": {"image_url", "label", "points", "masks"},
    "pixmo-points": {"image_url", "label", "points", "collection_method"},
    "pixmo-point-explanations": {"image_url", "question", "parsed_response", "inline_text", "alt_text", "points"},
    "pixmo-count": {"image_url", "label", "count", "points"},
    "pixmo-cap": {"image_url", "caption", "transcripts"},
    "pixmo-ask-model-anything": {"image_url", "image_sha256", "question", "answer"},
    "pixmo-cap-qa": {"image_url", "question", "answer"},
    "pixmo-docs": {"image", "image_id", "questions"},
    "pixmo-clocks": {"example_id", "hour_visible", "minute_visible", "text"},
}
DOCUMENTS = ("charts", "tables", "diagrams", "other")
"""The parts of PixMo-Docs, each in a folder of its own."""


def pixmo_kind(path: Path) -> str | None:
    """Return the kind of the PixMo data set in a folder or a Parquet file, None if it is none of them.

    The folder of PixMo-Docs may be that of one of its parts, or the one above them.
    """
    folders = [path, *(path / part for part in DOCUMENTS)]
    for folder in folders:
        for split in SPLITS:
            if shards(folder, split):
                return _kind_of(folder, split)
    return None


def _kind_of(folder: Path, split: str) -> str | None:
    try:
        columns = set(Table(folder, split, (), Problems()).columns)
    except UsageError:
        # A file that is no Parquet file: its reader will say so.
        return None
    return next((kind for kind, needed in _COLUMNS.items() if needed <= columns), None)
