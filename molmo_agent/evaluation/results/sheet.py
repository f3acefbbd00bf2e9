"""A table of results for the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sheet:
    """One printed table."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    # What is said below it; may be empty.
    note: str = ""
