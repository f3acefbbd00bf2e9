"""Whether a place that is found again, after the screen changed there, still shows the same target.

A model that points at one place before and after a window came over it did not look: one of the answers is wrong.
"""

import math
from collections.abc import Sequence

import numpy as np

from molmo_agent.actions import Action, points_of
from molmo_agent.episode import Image, Step
from molmo_agent.geometry import Point
from molmo_agent.images import edge_similarity
from molmo_agent.policies.progress import same_place
from molmo_agent.policies.typed_text import letters, resembles
from molmo_agent.screen_text import Line, TextReader

# Half the side of the square that is compared where there is nothing to read; the share of the longer side, and pixels.
_SHARE, _LEAST_PX = 0.015, 20
_SAME_EDGES = 0.5


def doubt_about_place(
    action: Action, earlier: Sequence[Step], image: Image, reader: TextReader | None, targets: Sequence[str] = ()
) -> str:
    """Return why an action at the place of an earlier one is doubtful, or an empty string.

    Args:
        action: what is to be done now.
        earlier: attempts that were not sent because the screen changed.
        image: the screen now; RGB uint8 of shape (height, width, 3).
        reader: reads the words at the place; None: only edges are compared.
        targets: what is asked for. A place that shows these words now is no doubt: a slow window had not drawn them.

    Raises:
        ModelError: the reader failed.
    """
    same = [step for step in earlier if same_place(action, step.action)]
    for point in points_of(action):
        doubts = [_difference(point, step.observation.image, image, reader, targets) for step in same]
        if doubts and all(doubts):
            return f"{doubts[-1]}, yet the model points at the same place"
    return ""


def _difference(point: Point, before: Image, after: Image, reader: TextReader | None, targets: Sequence[str]) -> str:
    if before.shape != after.shape:
        return "the screen has another size than before"
    old, new = (_words(point, image, reader) for image in (before, after))
    if old or new:
        if new and any(resembles(new, text) for text in (old, *targets) if text):
            return ""
        return f"the place of {old or 'a picture'!r} now shows {new or 'something else'!r}"
    if edge_similarity(_crop(point, before), _crop(point, after)) >= _SAME_EDGES:
        return ""
    return "what is shown there changed"


def _words(point: Point, image: Image, reader: TextReader | None) -> str:
    """Return the line of text at a point, or the nearest one close to it."""
    if reader is None:
        return ""
    height, width = image.shape[:2]
    x, y = point.to_pixels(width, height)

    def distance_px(line: Line) -> float:
        box = line.box
        across = max(box.left * width - x, x - box.right * width, 0.0)
        return math.hypot(across, max(box.top * height - y, y - box.bottom * height, 0.0))

    near = [line for line in reader.read(image) if letters(line.text) and distance_px(line) <= _reach_px(image)]
    return min(near, key=distance_px).text if near else ""


def _reach_px(image: Image) -> int:
    return max(_LEAST_PX, round(_SHARE * max(image.shape[:2])))


def _crop(point: Point, image: Image) -> Image:
    height, width = image.shape[:2]
    reach = _reach_px(image)
    x, y = point.to_pixels(width, height)
    crop: Image = np.ascontiguousarray(image[max(0, y - reach) : y + reach + 1, max(0, x - reach) : x + reach + 1])
    return crop
