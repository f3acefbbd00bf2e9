"""One step of an instruction, and its action at the points of its targets."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from molmo_agent.actions import (
    Action,
    Back,
    Click,
    Direction,
    Drag,
    Home,
    Key,
    LongPress,
    Move,
    OpenApp,
    PointAt,
    Scroll,
    Type,
    Wait,
)
from molmo_agent.geometry import Point
from molmo_agent.pointers.reading.expression import read_expression

# What text is typed into, by its last word.
_TYPED_INTO = re.compile(
    r"\b(?:field|box|textbox|bar|area|input|entry|edit(?:or)?|document|page|line|cell|prompt|window|terminal|console|"
    r"drop-?down|spinner)s?\W*$",
    re.IGNORECASE,
)
# A quoted name, or words that begin with a capital letter, without a place behind them.
_NAME = re.compile(
    r"(?:the\s+)?(?:\"[^\"]+\"|“[^”]+”"
    r"|[A-Z](?:(?!\s(?:in|on|at|of|from|to|beside)\sthe\b)[^\"“”])*(?<!\sbox))"
)
_ARTICLE = re.compile(r"^(?:the|an?)\s+", re.IGNORECASE)

Gesture = Literal[
    "click",
    "double_click",
    "triple_click",
    "right_click",
    "middle_click",
    "long_press",
    "move",
    "drag",
    "point",
    "scroll",
    "type",
    "key",
    "wait",
    "open_app",
    "back",
    "home",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubStep:
    """One step: a gesture, its targets, and its words in the instruction."""

    # The part of the instruction that this step comes from.
    text: str
    gesture: Gesture
    # Phrases for the pointing model, one per point that the gesture needs.
    targets: tuple[str, ...] = ()
    # Text to type, keys joined by a blank, or the name of an app.
    value: str = ""
    direction: Direction = "down"
    # Wheel notches or seconds.
    amount: float = 0.0
    # Keys that are down during a click.
    held: tuple[str, ...] = ()
    # Typing: the text replaces what the field holds.
    replace: bool = False

    def action(self, points: Sequence[Point] = ()) -> Action:
        """Return the action at the points of the targets, one per target.

        Raises:
            ValueError: the number of points does not fit; an action is never made from a missing point.
        """
        if self.gesture != "point" and len(points) != len(self.targets):
            raise ValueError(f"{self.text!r} needs {len(self.targets)} points, got {len(points)}")
        match self.gesture:
            case "click":
                return Click(points[0], held=self.held)
            case "double_click":
                return Click(points[0], count=2, held=self.held)
            case "triple_click":
                return Click(points[0], count=3, held=self.held)
            case "right_click":
                return Click(points[0], button="right", held=self.held)
            case "middle_click":
                return Click(points[0], button="middle", held=self.held)
            case "long_press":
                return LongPress(points[0])
            case "move":
                return Move(points[0])
            case "drag":
                return Drag(points[0], points[1])
            case "point":
                return PointAt(tuple(points))
            case "scroll":
                return Scroll(self.direction, int(self.amount), points[0] if points else None)
            case "type":
                return Type(self.value, replace=self.replace)
            case "key":
                return Key(tuple(self.value.split(" ")))
            case "wait":
                return Wait(self.amount)
            case "open_app":
                return OpenApp(self.value)
            case "back":
                return Back()
            case "home":
                return Home()
            case _:
                assert_never(self.gesture)


def is_field(target: str) -> bool:
    """Return whether a phrase calls its target something that text is typed into: ``the Name field``."""
    return _TYPED_INTO.search(target) is not None


def as_field(target: str) -> str:
    """Return a phrase that names a field, for something that text is typed into: ``"Name"`` -> ``the "Name" field``."""
    if is_field(target):
        return target
    return f"the {_ARTICLE.sub('', target)} field"


def as_check_box(target: str) -> str:
    """Return a phrase that names a check box, for what is ticked: ``Gift`` -> ``the Gift checkbox``.

    In some programs only the box reacts, and not its label. A phrase that says more than a name stays as it is.
    """
    said = read_expression(target)
    says_more = said.kind or said.ordinal or said.relation or said.place or said.several
    return target if says_more or not _NAME.fullmatch(target) else f"the {_ARTICLE.sub('', target)} checkbox"
