"""AndroidControl's step accuracy under every published rule.

The rules differ in what a right click is; numbers under different rules do not compare
(docs/reference/evaluation.md#androidcontrol). Actions are read strictly; :func:`reference_score` reads as the authors'
code does.
"""

import math
import re

from molmo_agent.data.android_control.episodes import PercentBox
from molmo_agent.errors import PointTextError
from molmo_agent.policies.android_actions import ActionText, parse_action_text

RULES = ("box_inside", "box_1.2x", "dist_14", "dist_4", "exact_text")
"""Inside the element's box (Molmo's own rule), inside it enlarged, within 14 or 4 percent of the point, same text."""


def parse_answer(answer: str) -> ActionText | None:
    """Parse the action of an answer, as the policy does; None if it is not exactly one action."""
    try:
        return parse_action_text(answer)
    except PointTextError:
        return None


def inside(point: tuple[float, float], box: PercentBox | None, enlarged: float = 1.0) -> bool:
    """Return whether a point is in a box (edges included) enlarged about its centre."""
    if box is None:
        return False
    center_x, center_y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    reach_x, reach_y = (box[2] - box[0]) / 2 * enlarged, (box[3] - box[1]) / 2 * enlarged
    # Allow for rounding errors of decimals.
    return abs(point[0] - center_x) <= reach_x + 1e-9 and abs(point[1] - center_y) <= reach_y + 1e-9


def score(gold: str, box: PercentBox | None, answer: str, rule: str = "box_inside") -> bool:
    """Return whether an answer is right.

    Args:
        gold: the action that was done, as text.
        box: of the correct element, or of the app's name; None if there is none.
        answer: the model's reply.
        rule: one of :data:`RULES`.

    Raises:
        ValueError: no such rule.
    """
    if rule not in RULES:
        raise ValueError(f"expected one of the rules {', '.join(RULES)}, got {rule!r}")
    target, prediction = parse_answer(gold), parse_answer(answer)
    if target is None or prediction is None:
        return False
    enlarged = 1.2 if rule == "box_1.2x" else 1.0
    if (
        rule.startswith("box")
        and target.kind == "open app"
        and prediction.kind == "click"
        and prediction.point is not None
    ):
        return inside(prediction.point, box, enlarged)
    if target.kind != prediction.kind:
        return False
    if target.point is None or prediction.point is None:
        return target.text.strip().casefold() == prediction.text.strip().casefold()
    if rule == "exact_text":
        return target.point == prediction.point
    if rule.startswith("dist"):
        return math.dist(target.point, prediction.point) <= float(rule.removeprefix("dist_"))
    return inside(prediction.point, box, enlarged)


_PREFIXES = ("click", "long press", "type", "scroll", "open app")
_WHOLE = ("wait", "navigate home", "navigate back")


def _reference_kind(text: str) -> str | None:
    if text in _WHOLE:
        return text
    return next((prefix for prefix in _PREFIXES if text.startswith(prefix)), None)


def _reference_point(text: str) -> tuple[float, float] | None:
    """Return the first two numbers of a text, wherever they stand, without their signs; None if it has fewer."""
    numbers = re.findall(r"\d+(?:\.\d+)?", text)
    return (float(numbers[0]), float(numbers[1])) if len(numbers) > 1 else None


def _reference_inside(answer: str, box: str) -> bool:
    point = _reference_point(answer)
    if point is None:  # before the box is parsed, as in the authors' code
        return False
    edges = [float(edge) for edge in re.findall(r"\d+\.\d+", box)]
    if len(edges) != 4:
        raise ValueError(f"expected a box of four decimals such as [7.4, 21.0, 31.1, 24.0], got {box!r}")
    left, top, right, bottom = edges
    return left <= point[0] <= right and top <= point[1] <= bottom


def reference_score(gold: str, box: str, answer: str) -> bool:
    """Score as the authors' code does, defects included: signs are ignored, and words are compared by prefixes.

    Args:
        gold: the action that was done, as text.
        box: the text of the box: four decimals in any notation, or empty.
        answer: the model's reply; blanks anywhere between the word, the brackets and the numbers are accepted.

    Raises:
        ValueError: a point must be compared with a box that does not have exactly four decimals.
    """
    if "Action:" in answer:
        answer = answer.split("Action:")[1]
    gold, answer = gold.strip().lower(), answer.strip().lower()
    gold_kind, answer_kind = _reference_kind(gold), _reference_kind(answer)
    if gold_kind != answer_kind:
        return gold_kind == "open app" and answer_kind == "click" and bool(box) and _reference_inside(answer, box)
    if gold_kind in ("click", "long press"):
        return _reference_point(gold) is not None and _reference_inside(answer, box)
    if gold_kind == "scroll":
        return gold.split()[1:2] == answer.split()[1:2]
    if gold_kind in ("type", "open app"):
        start = len(gold_kind) + 1  # the text behind the word
        return gold[start:] == answer[start:]
    return True
