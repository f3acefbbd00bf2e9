"""Read the action of a reply: AndroidControl's words, and those that other step benchmarks need besides.

A reply must be exactly one action. Places are percent of the image.
"""

import re

from molmo_agent.data.readers.steps.step import Act, Kind
from molmo_agent.errors import PointTextError
from molmo_agent.policies.android_actions import parse_action_text

_FLAGS = re.IGNORECASE | re.ASCII
_NUMBER = r"\s{0,8}(-?[0-9]{1,6}(?:\.[0-9]{1,12})?)\s{0,8}"
_PLACE = re.compile(rf"(click|long press|type|select)\({_NUMBER},{_NUMBER}\)(?:[ ]([^\n\r]*))?", _FLAGS)
_AREA = re.compile(rf"(click|long press)\s{{0,8}}\({_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}\)", _FLAGS)
_BEFORE = re.compile(r"(?:plan:.{0,4000}?)?action:\s{0,8}", _FLAGS | re.DOTALL)
_WORDS: dict[str, Kind] = {
    "press enter": "enter",
    "press recent": "recent",
    "task complete": "complete",
    "task impossible": "impossible",
}
_KINDS: dict[str, Kind] = {"navigate home": "home", "navigate back": "back"}
_MAX_LENGTH = 10_000


def read_answer(reply: str) -> Act | None:
    """Return the action of a reply; None if it is not exactly one action."""
    text = reply.strip()
    if len(text) > _MAX_LENGTH:
        return None
    try:
        return _of_android(text)
    except PointTextError:
        pass
    if before := _BEFORE.match(text):
        text = text[before.end() :]
    if word := _WORDS.get(" ".join(text.lower().split())):
        return Act(kind=word)
    if area := _AREA.fullmatch(text):
        left, top, right, bottom = (float(number) / 100 for number in area.groups()[1:])
        if left > right or top > bottom:
            return None
        kind: Kind = "click" if area[1].lower() == "click" else "long press"
        return Act(kind=kind, place=((left + right) / 2, (top + bottom) / 2), box=(left, top, right, bottom))
    placed = _PLACE.fullmatch(text)
    # A click with a text behind it is more than an action.
    if placed is None or (placed[1].lower() in ("click", "long press")):
        return None
    try:
        # Another action in the text: which of the two is meant is not known.
        parse_action_text(f"Type {placed[4] or ''}")
    except PointTextError:
        return None
    kind = "type" if placed[1].lower() == "type" else "select"
    return Act(kind=kind, place=(float(placed[2]) / 100, float(placed[3]) / 100), text=placed[4] or "")


def _of_android(text: str) -> Act:
    parsed = parse_action_text(text)
    kind: Kind = _KINDS.get(parsed.kind, parsed.kind)  # type: ignore[arg-type]
    if parsed.point is not None:
        return Act(kind=kind, place=(parsed.point[0] / 100, parsed.point[1] / 100))
    if kind == "scroll":
        return Act(kind=kind, direction=parsed.text.lower())
    return Act(kind=kind, text=parsed.text)
