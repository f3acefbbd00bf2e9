"""Rows: what readers return and training, previews and evaluation consume."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from molmo_agent.data.unusable_rows import Problems
from molmo_agent.episode import Image
from molmo_agent.geometry import Box, Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a pointing model would be asked, and where that is."""

    instruction: str
    # Empty: it is not there.
    points: tuple[Point, ...]
    # Where each point counts; none where that is not known.
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Alternating questions and answers, and the style of the data set they come from."""

    turns: tuple[str, ...]
    style: str
    # Where the conversation is a click, which can be scored.
    target: Target | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row as a reader gives it: messages, not tensors. The image is decoded when it is needed."""

    conversations: tuple[Conversation, ...]
    # (height, width) of the image; None for text alone.
    size: tuple[int, int] | None = None
    image: Callable[[], Image] | None = None
    # For reports.
    name: str = ""
    weight: float = 1.0


class Rows(Protocol):
    """Rows of a data set by number."""

    # What could not be used.
    problems: Problems

    def __len__(self) -> int:
        """Return how many rows there are; 0: without end."""
        ...

    def row(self, number: int, seed: int) -> Row:
        """Return a row; the seed decides everything random about it."""
        ...
