"""The reference metric's lenient point parser, with its quirks, for scores comparable with published ones.

Nothing here decides what gets clicked: that is :func:`molmo_agent.point_text.parse.parse_points`.
"""

import re
from dataclasses import dataclass

# Each pattern is applied to the whole text; the results are concatenated in this order.
_PATTERNS = (
    (re.compile(r"Click\(([0-9]+\.[0-9]), ?([0-9]+\.[0-9])\)"), 1),
    # Also finds the inside of the first pattern, so every Click counts twice.
    (re.compile(r"\(([0-9]+\.[0-9]),? ?([0-9]+\.[0-9])\)"), 1),
    (re.compile(r'x[0-9]*="\s*([0-9]+(?:\.[0-9]+)?)"\s+y[0-9]*="\s*([0-9]+(?:\.[0-9]+)?)"'), 1),
    # Tenths of a percent. One digit before the equals sign represents all of them.
    (re.compile(r"[0-9p]\s*=\s*([0-9]{3})\s*,\s*([0-9]{3})"), 10),
)

_VALUE = r'="\s*+[0-9]++(?:\.[0-9]++)?+"'
_TENTHS = r"(?:[0-9]++|p)\s*+=\s*+[0-9]{3}\s*+,\s*+[0-9]{3}"
_PAIR = rf"(?:x[0-9]*+{_VALUE}\s++y[0-9]*+{_VALUE}|{_TENTHS})"
_WHOLE_TAG = re.compile(rf'<(points?) {_PAIR}(?:\s++{_PAIR})*+(?: alt="[^"]*+")?+>[^<]*+</\1>')
_WHOLE_LIST = re.compile(r"\([0-9]+\.[0-9], [0-9]+\.[0-9]\)(?:, ?+\([0-9]+\.[0-9], [0-9]+\.[0-9]\))*+")


@dataclass(frozen=True, slots=True)
class ReferenceParse:
    """The reference metric's reading of a reply."""

    # (x, y) in fractional pixels; may lie on the far edge (x = width).
    points: tuple[tuple[float, float], ...]
    # Whether the whole text is one answer; the first code's pointing metric scores 0 otherwise.
    valid_format: bool


def parse_reference(text: str, width: int, height: int) -> ReferenceParse:
    """Parse every pair in a text as the reference does, in pixels of an image of ``width`` x ``height``.

    Pairs with a value over 100 are left out one by one, prose is ignored, and x must stand before y.
    """
    points = []
    for pattern, divisor in _PATTERNS:
        for match in pattern.finditer(text):
            x, y = (float(value) / divisor for value in match.groups())
            if max(x, y) <= 100:
                points.append((x / 100 * width, y / 100 * height))
    whole = text.strip()
    valid = _WHOLE_TAG.fullmatch(whole) is not None or _WHOLE_LIST.fullmatch(whole) is not None
    return ReferenceParse(tuple(points), valid)
