"""Rows: what readers return and training, previews and evaluation consume."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from molmo_agent.data.unusable_rows import Problems
from molmo_agent.episode import Image
from molmo_agent.geometry import Box, Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """An instruction for a pointing model, and the correct points."""

    instruction: str
    # Empty if the target is absent.
    points: tuple[Point, ...]
    # The box in which each point is correct; empty if unknown.
    boxes: tuple[Box, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Conversation:
    """Alternating questions and answers, and the style of the data set they come from."""

    turns: tuple[str, ...]
    style: str
    # Present if the conversation is a click, which can be scored.
    target: Target | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One image of a row, decoded on demand."""

    # (width, height) in pixels.
    size: tuple[int, int]
    image: Callable[[], Image]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row as readers return it: messages, not tensors. Images are decoded on demand."""

    conversations: tuple[Conversation, ...]
    # (width, height) of the image in pixels; None for text alone.
    size: tuple[int, int] | None = None
    image: Callable[[], Image] | None = None
    # The images after the first, in their order. All of them stand before the text.
    more_images: tuple[Picture, ...] = ()
    # For reports.
    name: str = ""
    weight: float = 1.0

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """All images in their order; empty for text alone."""
        if self.image is None:
            return self.more_images
        # Decoded here only for a row that does not tell its size: no image is left out.
        size = self.size or self.image().shape[1::-1]
        return (Picture(size=size, image=self.image), *self.more_images)


class Rows(Protocol):
    """Rows of a data set by number."""

    # The rows that could not be used.
    problems: Problems

    def __len__(self) -> int:
        """Return the number of rows; 0: infinite."""
        ...

    def row(self, number: int, seed: int) -> Row:
        """Return a row; all its randomness comes from the seed."""
        ...
