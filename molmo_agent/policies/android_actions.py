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

_POINT = r"\(\s*([+-]?\d+(?:\.\d+)?)\s*,\s*([+-]?\d+(?:\.\d+)?)\s*\)"
# Case matters only in the text to type and in the name of the app.
_FORMS = {
    "click": re.compile(rf"click\s*{_POINT}", re.IGNORECASE),
    "long press": re.compile(rf"long press\s*{_POINT}", re.IGNORECASE),
    "scroll": re.compile(rf"scroll\s+({'|'.join(get_args(Direction))})", re.IGNORECASE),
    "type": re.compile(r"type(?:\s(.*))?", re.IGNORECASE | re.DOTALL),
    "open app": re.compile(r"open app\s+(\S.*)", re.IGNORECASE),
    "navigate home": re.compile(r"navigate home", re.IGNORECASE),
    "navigate back": re.compile(r"navigate back", re.IGNORECASE),
    "wait": re.compile(r"wait", re.IGNORECASE),
}
_PLANNED = re.compile(r"(?:plan:\s*(.*?)\s*)?action:\s*(.*)", re.IGNORECASE | re.DOTALL)
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
    """Parse a reply; the policy, the scores and the previews share this parser.

    Raises:
        PointTextError: the reply is not exactly one action; the error holds the reply.
    """
    text, plan = reply.strip(), ""
    plan_match = _PLANNED.fullmatch(text)
    if plan_match is not None:
        plan, text = plan_match[1] or "", plan_match[2]
    for kind, form in _FORMS.items():
        if match := form.fullmatch(text):
            if kind in ("click", "long press"):
                return ActionText(kind, point=(float(match[1]), float(match[2])), plan=plan)
            return ActionText(kind, text=(match[1] or "") if form.groups else "", plan=plan)
    raise PointTextError(f"expected one of {EXAMPLES}; got {text[:80]!r}", reply)


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
