"""What a rule says of one answer, and how its parts are put together."""

from collections.abc import Callable
from dataclasses import dataclass

from molmo_agent.data.readers.grounding.targets import Edges
from molmo_agent.data.readers.steps.step import Act, Place, Step

EPSILON = 1e-9
"""Allows for rounding errors of decimals: 0.5 + 0.14 is within 0.14 of 0.5."""

_TYPED = ("type", "select", "open app")
# One type in AITZ, and then the same action.
_ENDINGS = {"complete", "impossible"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply, and the action in it; None if it is not exactly one action."""

    text: str
    act: Act | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The parts of a score; None where a part does not apply."""

    # The type of the action.
    kind: bool
    # The place, if both actions have one and the same type.
    place: bool | None = None
    # The text, if the recorded action has one.
    text: bool | float | None = None
    # The whole step.
    right: bool


Rule = Callable[[Step, Answer], Verdict]
Places = Callable[[Step, Act], bool]
Texts = Callable[[str, str], bool]
Family = Callable[[Act], str]


def kind_itself(act: Act) -> str:
    """Return the type of an action."""
    return act.kind


def judged(
    places: Places, texts: Texts, *, family: Family = kind_itself, axis_only: bool = False, text_counts: bool = True
) -> Rule:
    """Return the rule that types are equal, and so are places, texts and directions where there are any.

    Args:
        places: whether the place of an answer is right.
        texts: whether two texts are the same: recorded, replied.
        family: the type of an action, if several count as one type.
        axis_only: whether scrolls along the same axis are the same.
        text_counts: whether a step with another text is wrong.
    """

    def rule(step: Step, answer: Answer) -> Verdict:
        gold, act = step.act, answer.act
        if act is None:
            return Verdict(kind=False, text=False if gold.kind in _TYPED else None, right=False)
        kind = family(gold) == family(act)
        text = (gold.kind == act.kind and texts(gold.text, act.text)) if gold.kind in _TYPED else None
        place = None
        if gold.kind == act.kind and gold.place is not None:
            place = act.place is not None and places(step, act)
        if gold.kind == act.kind == "scroll":
            right = _axis(gold) == _axis(act) if axis_only else gold.direction == act.direction
        else:
            right = gold.kind == act.kind or (kind and {gold.kind, act.kind} == _ENDINGS)
        right = right and place is not False and (text is not False or not text_counts)
        return Verdict(kind=kind, place=place, text=text, right=right)

    return rule


def _axis(act: Act) -> str:
    return "vertical" if act.direction in ("up", "down") else "horizontal"


def inside(place: Place, box: Edges) -> bool:
    """Return whether a place is in a box, edges included."""
    x, y = place
    return box[0] - EPSILON <= x <= box[2] + EPSILON and box[1] - EPSILON <= y <= box[3] + EPSILON


def enlarged(box: Edges, factor: float) -> Edges:
    """Return a box with its sides multiplied by a factor, about its centre."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    half_width, half_height = (box[2] - box[0]) / 2 * factor, (box[3] - box[1]) / 2 * factor
    return x - half_width, y - half_height, x + half_width, y + half_height
