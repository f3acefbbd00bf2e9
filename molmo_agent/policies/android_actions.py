"""AndroidControl's action text <-> actions: ``Click(50.0, 7.3)``, ``Open App Clock``, ``Navigate Back`` (both ways).

Coordinates are percents of the screenshot with one decimal. A text that does not parse completely is an error,
and so is a point outside the screen.
"""

import re
from dataclasses import dataclass
from typing import get_args

from molmo_agent.actions import Action, Back, Click, Direction, Home, LongPress, OpenApp, Scroll, Type, Wait
from molmo_agent.errors import PointTextError
from molmo_agent.geometry import Point
from molmo_agent.point_text.cut_off import is_cut

# re.ASCII: digits, blanks and letters of ASCII only; otherwise "ſcroll" and Arabic digits would be read too.
_FLAGS = re.IGNORECASE | re.ASCII
_NUMBER = r"-?[0-9]{1,6}(?:\.[0-9]{1,12})?"
_POINT = rf"\(\s{{0,8}}({_NUMBER})\s{{0,8}},\s{{0,8}}({_NUMBER})\s{{0,8}}\)"
_WAYS = "|".join(get_args(Direction))
# Case matters only in the text to type and in the name of the app.
_FORMS = {
    "click": re.compile(rf"click\s{{0,8}}{_POINT}", _FLAGS),
    "long press": re.compile(rf"long press\s{{0,8}}{_POINT}", _FLAGS),
    "scroll": re.compile(rf"scroll\s{{1,8}}({_WAYS})", _FLAGS),
    "type": re.compile(r"type(?:\s(.*))?", _FLAGS | re.DOTALL),
    "open app": re.compile(r"open app\s{1,8}(\S.*)", _FLAGS),
    "navigate home": re.compile(r"navigate home", _FLAGS),
    "navigate back": re.compile(r"navigate back", _FLAGS),
    "wait": re.compile(r"wait", _FLAGS),
}
_PLAN = re.compile(r"plan:", _FLAGS)
_ACTION = re.compile(r"action:", _FLAGS)
# Within a plan, a text or a name: another action. A line of its own, behind "Action:", or one with a place.
_LINE_END = r"[\n\r\v\f\x85\u2028\u2029]"
_WHOLE_LINE = rf"(?:scroll\s{{1,8}}(?:{_WAYS})|open app\s.*|navigate (?:home|back)|wait)\s{{0,8}}(?:{_LINE_END}|\Z)"
_OTHER_ACTION = re.compile(
    rf"(?:click|long press)\s{{0,8}}{_POINT}"
    rf"|action:\s{{0,8}}(?:click|long press|scroll\s|type\b|open app\b|navigate\s|wait\b)"
    rf"|{_LINE_END}\s{{0,8}}(?:action:|{_WHOLE_LINE})",
    _FLAGS,
)
# AndroidControl's longest texts have a few hundred characters.
_MAX_LENGTH = 10_000
# A scroll has no distance: half a screen, so that no content is skipped.
_SCROLL_NOTCHES = 5
EXAMPLES = "Click(50.0, 7.3), Long Press(50.0, 7.3), Scroll down, Type hello, Open App Clock, Navigate Back, Wait"


@dataclass(frozen=True, slots=True)
class ActionText:
    """An action in AndroidControl's words, parsed but not checked: its point may lie outside the screen."""

    # One of the keys of _FORMS.
    kind: str
    # Percents of the width and height.
    point: tuple[float, float] | None = None
    # The direction, the text to type, or the name of the app.
    text: str = ""
    # The plan that precedes the action.
    plan: str = ""


@dataclass(frozen=True, slots=True)
class PlannedAction:
    """The action of a reply, and the plan that precedes it, if any."""

    action: Action
    plan: str = ""


class OutOfScreen(PointTextError):
    """A point outside the screenshot."""


def parse_action_text(reply: str) -> ActionText:
    """Parse a reply; the policy, the scores and the previews share this parser. It takes linear time.

    Raises:
        PointTextError: the reply is not exactly one action, or was cut off; the error holds the reply.
    """
    if len(reply) > _MAX_LENGTH:
        raise PointTextError(f"expected at most {_MAX_LENGTH:,} characters, got {len(reply):,}", reply)
    if is_cut(reply):
        raise PointTextError("expected a complete action, but the reply was cut off at its limit of tokens", reply)
    text, plan = reply.strip(), ""
    start = _PLAN.match(text)
    mark = _ACTION.search(text, start.end()) if start else _ACTION.match(text)
    if mark:
        plan = text[start.end() : mark.start()].strip() if start else ""
        text = text[mark.end() :].lstrip()
    for kind, form in _FORMS.items():
        if match := form.fullmatch(text):
            _refuse_second(plan, reply)
            if kind in ("click", "long press"):
                return ActionText(kind, point=(_percent(match[1], reply), _percent(match[2], reply)), plan=plan)
            free = (match[1] or "") if form.groups else ""
            _refuse_second(free, reply)
            return ActionText(kind, text=free, plan=plan)
    raise PointTextError(f"expected one of {EXAMPLES}; got {text[:80]!r}", reply)


def _percent(number: str, reply: str) -> float:
    value = float(number)
    if number.startswith("-") and value == 0:
        raise PointTextError(f"expected one of {EXAMPLES}; got the number {number!r}", reply)
    return value


def _refuse_second(text: str, reply: str) -> None:
    """Refuse another action within a plan, a text to type or a name: which of the two is meant is not known.

    Raises:
        PointTextError: there is one.
    """
    if other := _OTHER_ACTION.search(text):
        raise PointTextError(f"expected one action, got a second one: {other[0].strip()[:40]!r}", reply)


def read_action(reply: str) -> PlannedAction:
    """Parse a reply into an action that can be executed.

    Raises:
        PointTextError: the reply is not exactly one action; the error holds the reply.
        OutOfScreen: its point lies outside the screenshot.
    """
    parsed = parse_action_text(reply)
    return PlannedAction(_make(parsed, reply), parsed.plan)


def _make(parsed: ActionText, reply: str) -> Action:
    if parsed.point is not None:
        x, y = parsed.point
        if not (0 <= x <= 100 and 0 <= y <= 100):
            raise OutOfScreen(f"expected percents from 0 to 100, got ({x}, {y})", reply)
        point = Point(x / 100, y / 100)
        return Click(point) if parsed.kind == "click" else LongPress(point)
    match parsed.kind:
        case "scroll":
            direction = next(way for way in get_args(Direction) if way == parsed.text.lower())
            return Scroll(direction, _SCROLL_NOTCHES)
        case "type":
            return Type(parsed.text)
        case "open app":
            return OpenApp(parsed.text)
        case "navigate home":
            return Home()
        case "navigate back":
            return Back()
        case _:
            return Wait()


def action_text(action: Action) -> str:
    """Write an action as AndroidControl does.

    Raises:
        ValueError: AndroidControl has no words for it.
    """
    match action:
        case Click(point=point, button="left", count=1, held=()):
            return f"Click{_percents(point)}"
        case LongPress(point=point):
            return f"Long Press{_percents(point)}"
        case Scroll(direction=direction):
            return f"Scroll {direction}"
        case Type(text=text, replace=False):
            return f"Type {text}"
        case OpenApp(name=name):
            return f"Open App {name}"
        case Home():
            return "Navigate Home"
        case Back():
            return "Navigate Back"
        case Wait():
            return "Wait"
        case _:
            raise ValueError(f"AndroidControl has no words for {action}; it has {EXAMPLES}")


def _percents(point: Point) -> str:
    return f"({round(point.x * 100, 1)}, {round(point.y * 100, 1)})"
