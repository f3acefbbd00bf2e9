"""AndroidControl's rules: Molmo's own, and those of other groups, which differ in what a right click and text is."""

import math
from collections.abc import Mapping
from functools import partial

from molmo_agent.data.readers.grounding.targets import Edges
from molmo_agent.data.readers.steps.step import Act, Place, Step
from molmo_agent.evaluation.metrics.android_control import parse_answer, score
from molmo_agent.evaluation.steps.rules import near
from molmo_agent.evaluation.steps.texts import same, token_f1
from molmo_agent.evaluation.steps.verdict import Answer, Rule, Verdict, inside, judged

_MIN_F1 = 0.5
# ClawGUI compares distances on a screen of this size, and looks at this many elements.
_CLAW_SCREEN = (1080, 2400)
_CLAW_DISTANCE_PX = 0.14 * math.hypot(*_CLAW_SCREEN)
_CLAW_ELEMENTS = 5


def _by_text(name: str) -> Rule:
    """Return a rule of :mod:`molmo_agent.evaluation.metrics.android_control`, which compares rounded texts."""

    def rule(step: Step, answer: Answer) -> Verdict:
        gold = step.act.words()
        box = step.targets[0] if step.targets else None
        percents = None if box is None else _percents(box)
        right = score(gold, percents, answer.text, name)
        recorded, said = parse_answer(gold), parse_answer(answer.text)
        alike = recorded is not None and said is not None and recorded.kind == said.kind
        # A click on the app's name opens it, too.
        placed = alike and recorded is not None and recorded.point is not None
        texts = recorded is not None and recorded.kind in ("type", "open app")
        return Verdict(
            kind=alike or right, place=right if placed else None, text=(alike and right) if texts else None, right=right
        )

    return rule


def _percents(box: Edges) -> Edges:
    left, top, right, bottom = (round(side * 100, 1) for side in box)
    return left, top, right, bottom


def _f1(gold: str, said: str) -> bool:
    return same(gold, said) or token_f1(said.lower().split(), gold.lower().split()) > _MIN_F1


def _first_word(gold: str, said: str) -> bool:
    """OS-Atlas splits the whole action at blanks and compares its second word, which is the text's first one."""
    return gold == said or bool(gold.split() and gold.lower().split()[:1] == said.lower().split()[:1])


def _in_target(step: Step, act: Act) -> bool:
    return act.place is not None and any(inside(act.place, box) for box in step.targets)


def _in_target_or_near(step: Step, act: Act) -> bool:
    return _in_target(step, act) or near(step, act)


def _area(box: Edges) -> float:
    return (box[2] - box[0]) * (box[3] - box[1])


def _smallest(step: Step, place: Place) -> int | None:
    """Return the number of the smallest element at a place; the first one of several."""
    holding = [number for number, box in enumerate(step.boxes) if inside(place, box)]
    return min(holding, key=lambda number: _area(step.boxes[number]), default=None)


def _in_smallest(step: Step, act: Act) -> bool:
    assert step.act.place is not None
    number = _smallest(step, step.act.place)
    return number is not None and act.place is not None and inside(act.place, step.boxes[number])


def _uground(step: Step, answer: Answer) -> Verdict:
    """Clicks on an element whose text has the app's name, or the word back, are as good as these actions."""
    verdict = judged(_in_smallest, lambda gold, said: gold == said)(step, answer)
    gold, act = step.act, answer.act
    word = gold.text if gold.kind == "open app" else "back" if gold.kind == "back" else ""
    if act is None or act.kind != "click" or act.place is None or not word:
        return verdict
    number = _smallest(step, act.place)
    label = step.labels[number] if number is not None and step.labels else ""
    right = word.lower() in label.lower()
    return Verdict(kind=right, place=right, text=right if gold.kind == "open app" else None, right=right)


def _claw_place(step: Step, act: Act) -> bool:
    """Return whether a place is in one of the elements at the recorded place that are nearest to it, or not far."""
    gold, said = step.act.place, act.place
    assert gold is not None
    assert said is not None
    holding = sorted((box for box in step.boxes if inside(gold, box)), key=partial(_distance_to_centre, said))
    width, height = _CLAW_SCREEN
    apart = math.hypot((gold[0] - said[0]) * width, (gold[1] - said[1]) * height)
    return any(inside(said, box) for box in holding[:_CLAW_ELEMENTS]) or apart <= _CLAW_DISTANCE_PX


def _distance_to_centre(place: Place, box: Edges) -> float:
    return math.dist(place, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2))


def _claw(step: Step, answer: Answer) -> Verdict:
    if step.act.kind == "wait":
        return Verdict(kind=True, right=True)
    return judged(_claw_place, same)(step, answer)


BOX, BOX_ENLARGED = "click inside the element's box", "click inside the element's box enlarged 1.2 times"
DISTANCE_14 = "click within a distance of 14 on a grid of 100 x 100"
DISTANCE_4, EXACT = "click within a distance of 4 on a grid of 100 x 100", "the same text of the action"
OS_ATLAS = "within 14 %; first words of texts"
OS_ATLAS_TEXTS = "within 14 %; texts with an F1 above 0.5"
CLAW_GUI = "in an element near the answer, or within 368 of 1080 x 2400 pixels; waiting always right"
UGROUND = "in the smallest element; clicks on the app's name and on back"
BOX_OR_NEAR = "in the element's box, or within 14 %; same texts"
BOX_OR_NEAR_F1 = "in the element's box, or within 14 %; texts with an F1 above 0.5"

RULES: Mapping[str, Rule] = {
    BOX: _by_text("box_inside"),
    BOX_ENLARGED: _by_text("box_1.2x"),
    DISTANCE_14: _by_text("dist_14"),
    DISTANCE_4: _by_text("dist_4"),
    EXACT: _by_text("exact_text"),
    OS_ATLAS: judged(near, _first_word),
    OS_ATLAS_TEXTS: judged(near, _f1),
    CLAW_GUI: _claw,
    UGROUND: _uground,
    BOX_OR_NEAR: judged(_in_target_or_near, same),
    BOX_OR_NEAR_F1: judged(_in_target_or_near, _f1),
}
