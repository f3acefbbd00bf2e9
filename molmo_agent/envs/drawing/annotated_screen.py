"""The ground truth of a drawn screen: its elements and lines of text.

Every position here is in pixels of the drawn screenshot, origin at the top left; boxes are (left, top, right, bottom).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PixelBox = tuple[float, float, float, float]
"""(left, top, right, bottom) in pixels; right and bottom are exclusive."""


@dataclass(frozen=True, slots=True)
class TextRun:
    """One drawn line of text, or the visible part of it."""

    text: str
    # x of every character boundary, left to right: len(text) + 1 values, pixels.
    edges: tuple[float, ...]
    # From the ascent line to the descent line, pixels.
    top: float
    bottom: float

    @property
    def box(self) -> PixelBox:
        """The rectangle around the line."""
        return self.edges[0], self.top, self.edges[-1], self.bottom

    def transform(self, x: float, y: float, *, across: float = 1, down: float = 1) -> "TextRun":
        """Return the line in an image that is scaled by (across, down) and then shifted by (x, y) pixels."""
        edges = tuple(edge * across + x for edge in self.edges)
        return TextRun(self.text, edges, self.top * down + y, self.bottom * down + y)


@dataclass(frozen=True, slots=True)
class Element:
    """Something on the screen that an instruction can refer to."""

    id: int
    kind: str
    label: str
    # The thing to click: of a check box the small square alone, of a field the box to type into.
    box: PixelBox
    # Entirely drawn, with nothing over it.
    visible: bool
    # Names for people ("red", "star", "large"), where they mean something.
    color: str | None = None
    shape: str | None = None
    size: str | None = None
    # "checked", "unchecked", "selected", "disabled", a slider's "40%" ...
    state: str | None = None
    # True when the whole label can be read on the screen, on the element or next to it.
    text: bool = False

    @property
    def center(self) -> tuple[float, float]:
        """(x, y) of the box's middle, pixels."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2


@dataclass(frozen=True, slots=True)
class Screen:
    """An image with its ground truth."""

    # (height, width, 3) uint8 RGB, read-only.
    image: npt.NDArray[np.uint8]
    # In drawing order: later ones lie over earlier ones.
    elements: tuple[Element, ...]
    # Only readable text: covered lines are dropped, partly covered ones cut to their longest readable part.
    texts: tuple[TextRun, ...]
