"""The rules of AITW, AITZ, GUI-Odyssey and Multimodal-Mind2Web, defects of their scripts included where they say so."""

import math
from collections.abc import Mapping
from dataclasses import replace

from molmo_agent.data.readers.grounding.targets import Edges
from molmo_agent.data.readers.steps.step import Act, Step
from molmo_agent.evaluation.steps.texts import (
    contained,
    edit_ratio,
    edit_similarity,
    same,
    token_f1,
    without_punctuation,
)
from molmo_agent.evaluation.steps.verdict import EPSILON, Answer, Rule, Verdict, enlarged, inside, judged

DISTANCE = 0.14
"""Of two taps that match, in fractions of the sides of the screen."""

# AITW's boxes grow by this share of their sides.
_GROWTH = 1.4


def near(step: Step, act: Act) -> bool:
    """Return whether a place is within 14 % of the recorded one."""
    return _distance(step, act) <= DISTANCE + EPSILON


def _distance(step: Step, act: Act) -> float:
    assert step.act.place is not None  # the rules ask only then
    assert act.place is not None
    return math.dist(step.act.place, act.place)


# --- AITW -------------------------------------------------------------------------------------------------------------


def _grown(box: Edges) -> Edges:
    """Return AITW's box: grown on all sides; if it begins before the screen, it is moved there instead of cut off."""
    width, height = box[2] - box[0], box[3] - box[1]
    left, top = max(0.0, box[0] - _GROWTH * width / 2), max(0.0, box[1] - _GROWTH * height / 2)
    return left, top, left + min(1.0, width * (1 + _GROWTH)), top + min(1.0, height * (1 + _GROWTH))


def _grown_about_centre(box: Edges) -> Edges:
    return enlarged(box, 1 + _GROWTH)


def _in_one_box(step: Step, act: Act, *, official: bool) -> bool:
    grow = _grown if official else _grown_about_centre
    gold, said = step.act.place, act.place
    assert gold is not None
    assert said is not None
    return any(inside(gold, box) and inside(said, box) for box in map(grow, step.boxes))


def _aitw_official(step: Step, act: Act) -> bool:
    return near(step, act) or _in_one_box(step, act, official=True)


def _aitw(step: Step, act: Act) -> bool:
    return near(step, act) or _in_one_box(step, act, official=False)


def _aitw_family(act: Act) -> str:
    """Taps and drags are one type there."""
    return "gesture" if act.kind in ("click", "scroll") else act.kind


def _either_contains(gold: str, said: str) -> bool:
    return contained(gold.strip().casefold(), said.strip().casefold())


# --- AITZ -------------------------------------------------------------------------------------------------------------

_AITZ_FACTOR = 1.2
_AITZ_OVERLAP = 0.5
_AITZ_RATIO = 0.8


def _aitz_family(act: Act) -> str:
    if act.kind in ("home", "back", "enter"):
        return "press"
    return "stop" if act.kind in ("complete", "impossible") else act.kind


def _aitz(step: Step, act: Act) -> bool:
    gold, said = step.act.place, act.place
    assert gold is not None
    assert said is not None
    elements = [box for box in (enlarged(box, _AITZ_FACTOR) for box in step.boxes) if inside(gold, box)]
    if act.box is None:
        return any(inside(said, box) for box in elements) if elements else near(step, act)
    area = enlarged(act.box, _AITZ_FACTOR)
    return inside(gold, area) or any(_overlap(area, box) > _AITZ_OVERLAP for box in elements)


def _aitz_official(step: Step, act: Act) -> bool:
    """The released script: the recorded place of a click stays at the corner, and an answer is a box."""
    assert act.place is not None
    corner = replace(step, act=replace(step.act, place=(0.0, 0.0)))
    x, y = act.place
    return _aitz(corner, replace(act, box=act.box or (x, y, x, y)))


def _overlap(first: Edges, second: Edges) -> float:
    """Return intersection over union."""
    width = min(first[2], second[2]) - max(first[0], second[0])
    height = min(first[3], second[3]) - max(first[1], second[1])
    common = max(0.0, width) * max(0.0, height)
    areas = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (first, second))
    return common / (areas - common) if common else 0.0


def _aitz_text(gold: str, said: str) -> bool:
    return contained(gold, said) or edit_ratio(gold, said) > _AITZ_RATIO


def _aitz_text_official(gold: str, said: str) -> bool:
    return said in gold or gold in said or edit_ratio(gold, said) > _AITZ_RATIO


# --- GUI-Odyssey ------------------------------------------------------------------------------------------------------

_ODYSSEY_SIMILARITY = 0.5


def _odyssey(step: Step, act: Act) -> bool:
    said = act.place
    assert said is not None
    return any(inside(said, box) for box in step.targets) or near(step, act)


def _odyssey_text(gold: str, said: str) -> bool:
    gold, said = gold.strip(), said.strip()
    return contained(gold, said) or edit_similarity(gold, said) >= _ODYSSEY_SIMILARITY


def _odyssey_text_official(gold: str, said: str) -> bool:
    """The script splits at colons and keeps what is between the first two, and takes an empty text for any."""
    gold, said = (text.split(":")[0].strip() for text in (gold, said))
    return gold in said or said in gold or edit_similarity(gold, said) >= _ODYSSEY_SIMILARITY


# --- Multimodal-Mind2Web ----------------------------------------------------------------------------------------------


def _mind2web(*, punctuation: bool = True, rounded: bool = False) -> Rule:
    """Return the rule: the place in an element of the target, and the F1 of the operation and its text is 1."""

    def rule(step: Step, answer: Answer) -> Verdict:
        gold, act = step.act, answer.act
        boxes = [_thousandths(box) for box in step.targets[:1]] if rounded else step.targets
        place = act is not None and act.place is not None and any(inside(act.place, box) for box in boxes)
        f1 = 0.0
        if act is not None:
            said, done = _operation(act), _operation(gold)
            f1 = token_f1(said, done) if punctuation else token_f1(without_punctuation(said), without_punctuation(done))
        kind = act is not None and act.kind == gold.kind
        return Verdict(kind=kind, place=place, text=f1, right=place and f1 == 1)

    return rule


def _operation(act: Act) -> list[str]:
    return f"{act.kind} {act.text}".lower().split()


def _thousandths(box: Edges) -> Edges:
    left, top, right, bottom = (round(side, 3) for side in box)
    return left, top, right, bottom


AITW = "touches within 14 %, or in one element enlarged about its centre; drags along the same axis; texts not compared"
AITW_OFFICIAL = "touches within 14 %, or in one element enlarged; drags along the same axis; texts not compared"
AITW_STRICT = "touches within 14 %, or in one element enlarged about its centre; directions and texts compared"
AITZ = "in an enlarged element that holds the touch, or within 14 % where none does"
AITZ_OFFICIAL = "a box that holds the corner of the screen, or overlaps an element there"
AITZ_NEAR = "touches within 14 %; AITZ's texts and directions"
ODYSSEY = "in the element, or within 14 %; similar texts"
ODYSSEY_OFFICIAL = "in the element, or within 14 %; similar texts up to a colon, or none"
ODYSSEY_NEAR = "within 14 %; similar texts"
MIND2WEB = "in an element of the target, F1 of the operation 1"
MIND2WEB_OFFICIAL = (
    "in an element of the target, F1 of the operation without punctuation 1; steps without question wrong"
)
MIND2WEB_FIRST = "in the first element of the target, rounded to 0.1 %, F1 of the operation 1"

RULES: Mapping[str, Rule] = {
    AITW: judged(_aitw, _either_contains, family=_aitw_family, axis_only=True, text_counts=False),
    AITW_OFFICIAL: judged(_aitw_official, _either_contains, family=_aitw_family, axis_only=True, text_counts=False),
    AITW_STRICT: judged(_aitw, same, family=_aitw_family),
    AITZ: judged(_aitz, _aitz_text, family=_aitz_family),
    AITZ_OFFICIAL: judged(_aitz_official, _aitz_text_official, family=_aitz_family),
    AITZ_NEAR: judged(near, _aitz_text, family=_aitz_family),
    ODYSSEY: judged(_odyssey, _odyssey_text),
    ODYSSEY_OFFICIAL: judged(_odyssey, _odyssey_text_official),
    ODYSSEY_NEAR: judged(near, _odyssey_text),
    MIND2WEB: _mind2web(),
    MIND2WEB_OFFICIAL: _mind2web(punctuation=False),
    MIND2WEB_FIRST: _mind2web(rounded=True),
}
