"""Names of one or two signs, such as "7", "=" or "AC": text detectors miss these, so single regions are read."""

import unicodedata
from collections.abc import Sequence

import numpy as np

from molmo_agent.geometry import Box
from molmo_agent.pointers.icons.proposals import propose
from molmo_agent.pointers.reading.matching import Segment, TextMatch
from molmo_agent.pointers.reading.scene import Scene
from molmo_agent.screen_text import LineReader, Word

# Longer names are words, which a detector finds.
LONGEST = 2
# Larger regions are no signs.
_LARGEST_PX = 64
# Letters and digits that the engine is less sure of are icons; a sign that is no letter is rarely read by mistake.
_SURE_LETTER, _SURE_SIGN = 0.6, 0.25
# Signs that engines or people write in several ways.
_SAME = (
    frozenset("×xX✕✖*"),
    frozenset("÷/"),
    frozenset("-−–—_一"),
    frozenset("=二"),
    frozenset("√✓"),
    frozenset("·.•"),
    frozenset("<‹"),
    frozenset(">›"),
)


def is_sign(name: str) -> bool:
    """Return whether a name is so short that single regions are read for it."""
    return 0 < len(name.strip()) <= LONGEST


def find_sign(name: str, scene: Scene, reader: LineReader) -> list[TextMatch]:
    """Return the regions that show a sign, the surest first, at most one per place.

    Args:
        name: one or two signs.
        scene: where.
        reader: reads what a region shows.

    Raises:
        ModelError: the reader failed.
    """
    matches = []
    for region in propose(scene.image, [line.box for line in scene.lines if len(line.text) > LONGEST]):
        left, top, right, bottom = region
        if max(right - left, bottom - top) > _LARGEST_PX:
            continue
        crop = _with_margin(scene, left, top, right, bottom)
        text, confidence = reader.read_line(crop)
        least = _SURE_LETTER if any(sign.isalnum() for sign in name) else _SURE_SIGN
        if confidence >= least and _is_same(text, name):
            box = Box.from_pixels(left, top, right, bottom, scene.width, scene.height)
            segment = Segment((Word(text, box),), box, box.bottom - box.top)
            matches.append(TextMatch(segment, box, 0.9 + 0.09 * confidence, True))
    matches.sort(key=lambda match: -match.quality)
    return _distinct(matches)


def _with_margin(scene: Scene, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """Return the region with the background around it that a line of text has."""
    across, down = right - left, bottom - top
    side = max(down * 1.5, across * 1.2, 18.0)
    half = max(across * 0.75, side * 0.5)
    x, y = (left + right) / 2, (top + bottom) / 2
    rows = slice(max(int(y - side / 2), 0), int(y + side / 2))
    columns = slice(max(int(x - half), 0), int(x + half))
    return np.ascontiguousarray(scene.image[rows, columns])


def _is_same(text: str, name: str) -> bool:
    first, second = (unicodedata.normalize("NFKC", value).strip() for value in (text, name))
    if len(first) != len(second):
        return False
    return all(a == b or any(a in group and b in group for group in _SAME) for a, b in zip(first, second, strict=True))


def _distinct(matches: Sequence[TextMatch]) -> list[TextMatch]:
    places: list[TextMatch] = []
    for match in matches:
        inside = any(one.box.contains(match.box.center) or match.box.contains(one.box.center) for one in places)
        if not inside:
            places.append(match)
    return places
