"""Which of several places with a fitting name is meant: by the kind that was named, and by where such things stand."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from molmo_agent.geometry import Box
from molmo_agent.pointers.reading.expression import Expression, Kind, Place
from molmo_agent.pointers.reading.matching import Segment, TextMatch, find_name
from molmo_agent.pointers.reading.requests import is_request
from molmo_agent.pointers.reading.scene import Scene
from molmo_agent.pointers.reading.widgets import (
    enclosing,
    field_around,
    field_beside,
    field_left,
    is_framed,
    mark_beside,
)

T = TypeVar("T")

# Another reading of the name than the first costs this much quality each.
_READING = 0.025
# Candidates whose ranks and qualities differ by less are told apart by nothing that was looked at.
_SAME_RANK, _SAME_QUALITY = 0.015, 0.025
# The quality of a coloured word in a sentence, the least that its match must have, and how far the colours are apart.
_LINK, _LEAST_PART, _OTHER_COLOR = 0.94, 0.65, 60
_FIELDS: tuple[Kind, ...] = ("field", "dropdown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A place that an expression may mean."""

    # Where to point: in its middle.
    box: Box
    # The text that it was found by.
    match: TextMatch
    # How well the name fits, in [0, 1].
    quality: float
    # What speaks for it beyond the name.
    support: float
    # How the place follows from the text, for people.
    found_by: str

    @property
    def rank(self) -> float:
        """Sorts candidates."""
        return self.quality + self.support


def candidates(expression: Expression, scene: Scene) -> list[Candidate]:
    """Return the places that fit an expression by their text, the best first."""
    best: dict[int, TextMatch] = {}
    for number, name in enumerate(expression.names):
        for match in find_name(name, scene.segments, number):
            cost = _READING * number
            if id(match.segment) not in best or match.quality - cost > best[id(match.segment)].quality:
                best[id(match.segment)] = replace(match, quality=match.quality - cost)
    if not best:
        return []
    best = {key: _as_link(match, scene) for key, match in best.items()}
    top = max(match.quality for match in best.values())
    near = [match for match in best.values() if match.quality > top - 0.2]
    placed = [_place(match, expression, scene) for match in near]
    placed = [one for one in placed if expression.kind == "text" or not _only_asks_for_it(one, scene)]
    placed.sort(key=lambda candidate: -candidate.rank)
    placed = _related(placed, expression, scene)
    if expression.ordinal is not None:
        placed = _ordered(placed, expression.ordinal)
    return placed


def equals(placed: Sequence[Candidate]) -> list[Candidate]:
    """Return the best candidate and those that fit as well, at other places."""
    if not placed:
        return []
    best, alike = placed[0], [placed[0]]
    for one in placed[1:]:
        same = best.rank - one.rank < _SAME_RANK and abs(best.quality - one.quality) < _SAME_QUALITY
        if same and not any(other.box.contains(one.box.center) for other in alike):
            alike.append(one)
    return alike


def _place(match: TextMatch, expression: Expression, scene: Scene) -> Candidate:
    kind = expression.kind
    if kind in _FIELDS:
        return _place_field(match, kind, scene)
    support, found_by = 0.0, "its text"
    box = match.box
    mark = None
    if match.whole or kind in ("checkbox", "radio", "switch"):
        mark = mark_beside(scene, match.segment.box, at_right=match.segment.text.rstrip().endswith(":"))
    framed = is_framed(scene, match.segment.box)
    if kind in ("checkbox", "radio", "switch"):
        support += 0.3 if mark else 0.0
        if mark is not None and kind != "switch":
            box, found_by = scene.box(mark), "the mark beside its text"
    elif kind == "button":
        support += 0.15 if framed else 0.0
    elif kind == "menu":
        support += 0.1 * _in_a_row(match, scene) - 0.25 * match.segment.box.top
    elif kind == "tab":
        # Tabs lie below menu bars.
        support += 0.1 * _in_a_row(match, scene) + 0.1 * match.segment.box.top
    elif kind == "link":
        support += 0.1 * _is_colored(match, scene)
    elif kind == "text":
        support += 0.0
    else:
        support += 0.06 if framed or mark else 0.0
        if mark is not None and match.segment.text.rstrip().endswith(":"):
            # Only a check box beside it makes such a label something to click.
            box, found_by = scene.box(mark), "the mark beside its text"
        support += 0.03 * _is_colored(match, scene)
    if match.segment.text.rstrip().endswith(":") and not mark:
        # The label of something else.
        support -= 0.04
    if kind != "text":
        support -= 0.12 * _is_title(match, scene) + 0.08 * _is_large(match, scene)
    if kind in ("icon", "button") and not match.whole:
        support -= 0.08
    if expression.place:
        support += 0.15 * towards(box, expression.place)
    return Candidate(box=box, match=match, quality=match.quality, support=support, found_by=found_by)


def _as_link(match: TextMatch, scene: Scene) -> TextMatch:
    """Return a match inside of a sentence as a whole one where it has a colour of its own: a link."""
    if match.whole or match.quality < _LEAST_PART or len(match.segment.words) < 2:
        return match
    return replace(match, quality=max(match.quality, _LINK)) if _has_own_color(match, scene) else match


def _has_own_color(match: TextMatch, scene: Scene) -> bool:
    """Tell whether the matching words have another colour than the words around them."""
    outside = [word.box for word in match.segment.words if not match.box.contains(word.box.center)]
    others = [scene.text_color(box) for box in outside[:6]]
    return bool(others) and float(np.abs(scene.text_color(match.box) - np.median(others, axis=0)).max()) > _OTHER_COLOR


def _only_asks_for_it(one: Candidate, scene: Scene) -> bool:
    """Tell whether a candidate is the name in a sentence that asks for the thing: nothing to point at."""
    at_its_text = one.box == one.match.box
    return at_its_text and is_request(one.match, scene) and not _has_own_color(one.match, scene)


def _place_field(match: TextMatch, kind: Kind | None, scene: Scene) -> Candidate:
    """Return the field that a text labels, or stands in; the text itself where no field can be seen."""
    box, support, found_by = match.box, -0.1, "its text"
    text_box = match.segment.box
    framed = is_framed(scene, text_box)
    around = None if match.segment.text.rstrip().endswith(":") else field_around(scene, text_box)
    # "Save As..." opens a dialog. It labels no field, but may stand in one: "Search...".
    beside = None if _opens(match) else field_beside(scene, text_box, in_a_row=bool(_in_a_row(match, scene)))
    if kind == "dropdown" and match.whole and (framed or around is not None):
        # A drop-down is also named by the value that it shows.
        support = 0.15
    elif framed and kind == "field" and (left := field_left(scene, text_box)):
        # The button beside a field often names it: "Search".
        box, support, found_by = scene.box(left), 0.15, "the field left of its button"
    elif around is not None and (beside is None or around.width > 4 * around.height):
        support, found_by = 0.2, "the field around its text"
        box = match.box if match.whole else scene.box(around)
    elif beside is not None:
        region, at_right = beside
        box, support = scene.box(region), 0.2
        found_by = f"the field {'right of' if at_right else 'below'} its text"
        if match.segment.text.rstrip().endswith(":"):
            support += 0.03
        if mark_beside(scene, text_box) is not None:
            # The label belongs to a check box.
            support -= 0.1
    return Candidate(box=box, match=match, quality=match.quality, support=support, found_by=found_by)


def _opens(match: TextMatch) -> bool:
    """Tell whether a text is the whole name of a command that opens a dialog."""
    return match.whole and re.search(r"(?:\.\.|…)\s*$", match.segment.text) is not None


def _in_a_row(match: TextMatch, scene: Scene) -> float:
    """Return 1 where other labels stand in the same row, close by, as in a menu bar or beside other tabs."""
    box = match.segment.box
    middle, height = (box.top + box.bottom) / 2, match.segment.height
    aspect = scene.width / scene.height
    neighbours = [
        segment
        for segment in scene.segments
        if segment is not match.segment
        and abs((segment.box.top + segment.box.bottom) / 2 - middle) < 0.3 * height
        and max(segment.box.left - box.right, box.left - segment.box.right) * aspect < 4 * height
    ]
    return float(bool(neighbours))


def _is_title(match: TextMatch, scene: Scene) -> float:
    """Return 1 for the title of a window: alone in a bar that is far wider than it and not much higher."""
    frame = enclosing(scene, match.segment.box)
    if frame is None:
        return 0.0
    left, top, right, bottom = scene.pixels(match.segment.box)
    width, height = right - left, bottom - top
    centered = abs((left + right) / 2 - (frame.left + frame.right) / 2) < 0.06 * frame.width
    return float(centered and frame.width > 3 * width + 10 * height and not _in_a_row(match, scene))


def _is_large(match: TextMatch, scene: Scene) -> float:
    """Return 1 for text that is larger than most: a heading."""
    segments = scene.segments
    usual = float(np.median([segment.height for segment in segments]))
    across = float(np.median([_letter_width(segment) for segment in segments]))
    return float(match.segment.height > 1.25 * usual and _letter_width(match.segment) > 1.25 * across)


def _letter_width(segment: Segment) -> float:
    return (segment.box.right - segment.box.left) / max(len(segment.text), 1)


def _is_colored(match: TextMatch, scene: Scene) -> float:
    """Return 1 for coloured letters."""
    color = scene.text_color(match.box)
    return float(color.max() - color.min() > 60)


def towards(box: Box, place: Place) -> float:
    """Return how near a box is to an edge of the screen, in [0, 1]."""
    center = box.center
    return {"top": 1 - center.y, "bottom": center.y, "left": 1 - center.x, "right": center.x}[place]


def _ordered(placed: list[Candidate], ordinal: int) -> list[Candidate]:
    """Return the one that is meant by "second" or "last", of those whose name fits as well as the best one's."""
    return nth([one for one in placed if one.quality > placed[0].quality - 0.03], lambda one: one.box, ordinal)


def nth(things: Sequence[T], box_of: Callable[[T], Box], ordinal: int) -> list[T]:
    """Return one of several things, counted from the top, left to right; none where there are too few.

    Args:
        things: in any order.
        box_of: returns where a thing is.
        ordinal: 1 for the first, -1 for the last.
    """
    in_order = sorted(things, key=lambda thing: (round(box_of(thing).top, 2), box_of(thing).left))
    position = ordinal - 1 if ordinal > 0 else len(in_order) + ordinal
    return [in_order[position]] if 0 <= position < len(in_order) else []


def _related(placed: list[Candidate], expression: Expression, scene: Scene) -> list[Candidate]:
    """Sort by how well a relation to another text holds: nearest to it, on the side that was named."""
    if expression.relation is None or not expression.anchor or len(placed) < 2:
        return placed
    anchors = find_name(expression.anchor, scene.segments)
    if not anchors:
        return placed
    anchor = anchors[0].segment.box
    aspect = scene.width / scene.height

    def distance(one: Candidate) -> float:
        across, down = (one.box.center.x - anchor.center.x) * aspect, one.box.center.y - anchor.center.y
        wrong = {"left": across > 0, "right": across < 0, "above": down > 0, "below": down < 0, "in": down < -0.01}
        return float(np.hypot(across, down)) + (10.0 if wrong.get(expression.relation or "", False) else 0.0)

    nearest = sorted(placed, key=distance)
    # The relation decides: what it leads to outranks the others by more than any support.
    return [replace(one, support=one.support - 0.2 * number) for number, one in enumerate(nearest)]
