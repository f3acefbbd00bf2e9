"""The swipes that scroll a screen, for real phones and the simulated one."""

import math

from molmo_agent.actions import Direction

NOTCH = 0.1
"""The share of the screen's height (or width) that the content moves by for one notch."""

# Fingers stay away from the edges by this share: swipes from there are system gestures (back, home, notifications).
_MARGIN = 0.12
# A long scroll is slow; no sensible request needs more swipes.
_MOST_SWIPES = 20

Swipe = tuple[int, int, int, int]
"""From x, y to x, y in pixels."""


def scroll_swipes(
    direction: Direction, notches: int, size: tuple[int, int], start: tuple[int, int] | None = None
) -> list[Swipe]:
    """Return the swipes that scroll by a number of notches.

    The direction is the way the view moves over the content, as :data:`molmo_agent.actions.Direction` says: to scroll
    down the finger moves up.

    Args:
        direction: where the view goes.
        notches: how far, in :data:`NOTCH`.
        size: (width, height) of the screen in pixels.
        start: where the finger goes down; the content there scrolls. None: on the middle line of the screen.
    """
    axis = 0 if direction in ("left", "right") else 1
    finger = 1 if direction in ("up", "left") else -1
    extent = size[axis]
    low, high = math.ceil(extent * _MARGIN), math.floor(extent * (1 - _MARGIN))
    distance = max(round(notches * NOTCH * extent), 1)
    across = size[1 - axis] // 2 if start is None else start[1 - axis]
    # Where the finger goes down along the axis, and how far it can go from there.
    if start is None:
        begin = min(max(extent // 2 - finger * min(distance, high - low) // 2, low), high)
    else:
        begin = min(max(start[axis], low), high)
    room = (high - begin) if finger > 0 else (begin - low)
    if room < min(distance, extent * NOTCH):  # too near to where it would have to go: begin at the other side
        begin, room = (low, high - low) if finger > 0 else (high, high - low)
    count = min(math.ceil(distance / room), _MOST_SWIPES)
    swipes = []
    for number in range(count):
        length = min(distance, count * room) * (number + 1) // count - min(distance, count * room) * number // count
        end = begin + finger * length
        swipes.append((begin, across, end, across) if axis == 0 else (across, begin, across, end))
    return swipes
