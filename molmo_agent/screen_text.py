"""Text on a screenshot: words and lines with their boxes, and the protocol of what reads them."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from molmo_agent.episode import Image
from molmo_agent.geometry import Box


@dataclass(frozen=True, slots=True)
class Word:
    """A word as it was read, with its box as fractions of the image."""

    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class Line:
    """A piece of text on one line, as far as the engine takes it to belong together."""

    words: tuple[Word, ...]
    box: Box
    # The engine's own score in [0, 1]; not calibrated.
    confidence: float

    @property
    def text(self) -> str:
        """The words, separated by single spaces."""
        return " ".join(word.text for word in self.words)


@runtime_checkable
class TextReader(Protocol):
    """Reads what is written on an image. Stateless to its callers: the same image gives the same lines."""

    name: str

    def read(self, image: Image) -> Sequence[Line]:
        """Read an RGB uint8 image of shape (height, width, 3); lines from top to bottom.

        Raises:
            ModelError: the engine failed.
        """
        ...


@runtime_checkable
class LineReader(Protocol):
    """Reads an image that shows a single line, or a single sign: what detectors of text miss."""

    def read_line(self, image: Image) -> tuple[str, float]:
        """Return the text of an RGB uint8 image of shape (height, width, 3), and the engine's score in [0, 1].

        Raises:
            ModelError: the engine failed.
        """
        ...


def box_around(boxes: Sequence[Box]) -> Box:
    """Return the smallest box that holds all of them, at least one."""
    return Box(
        min(box.left for box in boxes),
        min(box.top for box in boxes),
        max(box.right for box in boxes),
        max(box.bottom for box in boxes),
    )


def reading_order(lines: Sequence[Line]) -> tuple[Line, ...]:
    """Sort lines from top to bottom, and from left to right where they stand beside each other."""
    by_top = sorted(lines, key=lambda line: line.box.top)
    rows: list[list[Line]] = []
    for line in by_top:
        middle = (line.box.top + line.box.bottom) / 2
        if rows and middle < rows[-1][0].box.bottom:
            rows[-1].append(line)
        else:
            rows.append([line])
    return tuple(itertools.chain.from_iterable(sorted(row, key=lambda line: line.box.left) for row in rows))
