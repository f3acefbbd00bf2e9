"""Points and boxes as fractions of an image, without pixels of any device.

The coordinate rule of the whole package: a point is (x, y) in [0, 1]², float64, a fraction of the observed image,
origin at the top left, x to the right, y down. A pixel is ``min(floor(fraction * size), size - 1)``: 0.0 is the
first pixel, 1.0 the last one, and nothing is rounded anywhere else.
"""

import math
from dataclasses import dataclass
from typing import Self


def _fraction(name: str, value: float) -> float:
    value = float(value)
    if not 0.0 <= value <= 1.0:  # also rejects NaN
        raise ValueError(f"{name} must be a fraction of the image in [0, 1], got {value!r}")
    return value


def to_pixel(fraction: float, size_px: int) -> int:
    """Return the pixel index in ``0 .. size_px - 1`` that a fraction in [0, 1] falls on."""
    return min(math.floor(fraction * size_px), size_px - 1)


@dataclass(frozen=True, slots=True)
class Point:
    """A normalized point: fractions of the image's width and height, origin at the top left.

    Raises:
        ValueError: a coordinate is outside [0, 1] or not a number.
    """

    x: float
    y: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", _fraction("x", self.x))
        object.__setattr__(self, "y", _fraction("y", self.y))

    @classmethod
    def from_pixel(cls, x_px: float, y_px: float, width: int, height: int) -> Self:
        """Make the point at the middle of a pixel, so that ``to_pixels`` returns the same pixel."""
        return cls((x_px + 0.5) / width, (y_px + 0.5) / height)

    def to_pixels(self, width: int, height: int) -> tuple[int, int]:
        """Return ``(x_px, y_px)`` in an image of ``width`` x ``height`` pixels."""
        return to_pixel(self.x, width), to_pixel(self.y, height)

    def distance(self, other: "Point") -> float:
        """Return the distance in fractions of the image (x and y weigh the same whatever the aspect ratio)."""
        return math.hypot(self.x - other.x, self.y - other.y)


Stroke = tuple[Point, ...]
"""A line of straight parts that a pointer or a finger follows; one point is a click."""


@dataclass(frozen=True, slots=True)
class Box:
    """A normalized rectangle, left <= right and top <= bottom, edges included.

    Raises:
        ValueError: an edge is outside [0, 1], not a number, or the edges are swapped.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        for name in ("left", "top", "right", "bottom"):
            object.__setattr__(self, name, _fraction(name, getattr(self, name)))
        if self.left > self.right or self.top > self.bottom:
            raise ValueError(f"expected left <= right and top <= bottom, got {self}")

    @classmethod
    def from_pixels(cls, left: float, top: float, right: float, bottom: float, width: int, height: int) -> Self:
        """Make a box from pixel edges (right and bottom exclusive), cut off at the image's border."""
        x0, x1 = (min(max(v / width, 0.0), 1.0) for v in (left, right))
        y0, y1 = (min(max(v / height, 0.0), 1.0) for v in (top, bottom))
        return cls(x0, y0, x1, y1)

    @property
    def center(self) -> Point:
        """The middle of the box."""
        return Point((self.left + self.right) / 2, (self.top + self.bottom) / 2)

    @property
    def area(self) -> float:
        """The share of the image that the box covers."""
        return (self.right - self.left) * (self.bottom - self.top)

    def contains(self, point: Point) -> bool:
        """Return whether the point lies in the box, edges included."""
        return self.left <= point.x <= self.right and self.top <= point.y <= self.bottom
