"""Numbers of a reply as fractions of the image. The scale is declared; it is never guessed from the numbers."""

import re
from dataclasses import dataclass
from typing import Literal

from molmo_agent.geometry import Point
from molmo_agent.point_text.sentences import PointOutOfRange, UnparsedReply

ImageSize = tuple[int, int]
"""(width, height) in pixels of the image at the model's input size."""

Scale = Literal[1, 100, 999, 1000, "pixels"]
"""What the right and the lower edge of the image are in a reply: 1, 100, 999 or 1000; or its pixels are counted."""

SCALES: tuple[Scale, ...] = (1, 100, 999, 1000, "pixels")

# ASCII digits only, without sign and exponent. Longer numbers are noise, not precision.
NUMBER = r"(?:[0-9]{1,6}(?:\.[0-9]{1,12})?|\.[0-9]{1,12})"
_NUMBER = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,12})?")
_WHOLE = re.compile(r"[0-9]{1,6}")
# More zeros than Molmo2 writes ("007") are a sign of lost digits, or of two numbers in one.
_ZEROS = re.compile(r"00[0-9]+\.|0[0-9]{3}")

# Both coordinates like this where percents are due: fractions, whose place would be the corner.
_FRACTION = re.compile(r"0?\.[0-9]{2,}")


def check_percents(x: str, y: str) -> None:
    """Reject fractions where percents are due.

    Raises:
        UnparsedReply: both numbers are below one and have decimals finer than a percent's.
    """
    if _FRACTION.fullmatch(x) and _FRACTION.fullmatch(y):
        raise UnparsedReply(f"expected percents, got {x[:20]} and {y[:20]}, which look like fractions")


def to_fraction(text: str, scale: int, *, whole: bool = False) -> float:
    """Parse a number and return it as a fraction of ``scale``.

    Args:
        text: the number as it was written.
        scale: the number at the far edge.
        whole: accept no decimals: where whole numbers are the rule, decimals are a sign of another scale.

    Raises:
        UnparsedReply: it is not such a number.
        PointOutOfRange: it lies outside 0 to ``scale``.
    """
    if (_WHOLE if whole else _NUMBER).fullmatch(text) is None or _ZEROS.match(text):
        what = "a whole number" if whole and _NUMBER.fullmatch(text) and not _ZEROS.match(text) else "a coordinate"
        raise UnparsedReply(f"{text[:20]!r} is not {what}")
    value = float(text)
    if value > scale:
        raise PointOutOfRange(f"{text} is outside of 0 to {scale}")
    return value / scale


@dataclass(frozen=True, slots=True)
class Frame:
    """What the numbers of a reply refer to.

    Args:
        scale: see :data:`Scale`.
        size: (width, height) in pixels, used with the scale "pixels".
    """

    scale: Scale
    size: ImageSize

    def place(self, numbers: list[str]) -> Point:
        """Return the point of ``[x, y]``, or the middle of the box ``[left, top, right, bottom]``.

        Raises:
            UnparsedReply: the numbers are malformed, of another scale, or of a box whose edges are swapped.
            PointOutOfRange: the place is outside the image.
        """
        if len(numbers) == 2:
            return self._point(*numbers)
        left, top, right, bottom = (self._edge(text, axis) for axis, text in zip((0, 1, 0, 1), numbers, strict=True))
        if left > right or top > bottom:
            raise UnparsedReply(f"the edges of the box {', '.join(numbers)} are swapped")
        return Point((left + right) / 2, (top + bottom) / 2)

    def numbers(self, point: Point) -> list[float]:
        """Return x and y of a point as a reply of this scale has them."""
        if self.scale == "pixels":
            return [*point.to_pixels(*self.size)]
        if self.scale <= 100:
            return [round(value * self.scale, 3) for value in (point.x, point.y)]
        return [round(round(value * self.scale, 9)) for value in (point.x, point.y)]

    def _point(self, x: str, y: str) -> Point:
        if self.scale == 100:
            check_percents(x, y)
        if self.scale != "pixels":
            return Point(self._edge(x, 0), self._edge(y, 1))
        if any(_WHOLE.fullmatch(text) is None or _ZEROS.match(text) for text in (x, y)):
            raise UnparsedReply(f"expected whole pixels, got {x[:20]!r} and {y[:20]!r}")
        width, height = self.size
        if int(x) >= width or int(y) >= height:
            raise PointOutOfRange(f"({x}, {y}) is outside of {width} x {height} pixels")
        return Point.from_pixel(int(x), int(y), width, height)

    def _edge(self, text: str, axis: int) -> float:
        if text.startswith("."):
            text = f"0{text}"
        if self.scale == "pixels":
            return to_fraction(text, self.size[axis], whole=True)
        return to_fraction(text, self.scale, whole=self.scale > 100)
