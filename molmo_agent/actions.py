"""The actions of a policy: what it asks an env to execute.

Positions are normalized points of the policy's observation. ``Action`` is a closed union: an env matches
on it and ends with ``assert_never``, so that the type checker lists every place a new action must be handled.
"""

import dataclasses
import math
import types
from dataclasses import dataclass
from typing import Any, Literal, get_args

from molmo_agent.geometry import Point, Stroke

Button = Literal["left", "middle", "right"]

Direction = Literal["up", "down", "left", "right"]
"""The way the view moves over the content: ``down`` shows what lies below, as a wheel turned towards the user does.

(A finger does the opposite movement: to scroll ``down`` it swipes up.)
"""


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


@dataclass(frozen=True, slots=True)
class Click:
    """Press and release a button, ``count`` times: 2 is a double click.

    The keys in ``held`` are held down meanwhile: ``("ctrl",)``, or ``("ctrl_or_cmd",)``, the key that adds to the
    selection (Command on macOS, Ctrl elsewhere). Names are lower case.
    """

    point: Point
    button: Button = "left"
    count: int = 1
    held: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "held", tuple(key.lower() for key in self.held))
        _check_choice("button", self.button, get_args(Button))
        if self.count not in (1, 2, 3):
            raise ValueError(f"count must be 1, 2 or 3, got {self.count!r}")


@dataclass(frozen=True, slots=True)
class LongPress:
    """Press, hold for ``duration_s`` seconds, release."""

    point: Point
    duration_s: float = 0.8


@dataclass(frozen=True, slots=True)
class Drag:
    """Press at ``start``, move to ``end``, release."""

    start: Point
    end: Point
    button: Button = "left"

    def __post_init__(self) -> None:
        _check_choice("button", self.button, get_args(Button))


@dataclass(frozen=True, slots=True)
class Move:
    """Move the pointer without pressing anything."""

    point: Point


@dataclass(frozen=True, slots=True)
class Scroll:
    """Move the view over the content under ``point`` (None: wherever the pointer is) by wheel notches."""

    direction: Direction
    notches: int = 3
    point: Point | None = None

    def __post_init__(self) -> None:
        _check_choice("direction", self.direction, get_args(Direction))
        if self.notches < 1:
            raise ValueError(f"notches must be at least 1, got {self.notches!r}")


@dataclass(frozen=True, slots=True)
class Type:
    """Enter text where the keyboard focus is. ``{{NAME}}`` stands for a secret that only the env receives.

    With ``replace`` the focused field holds exactly the text afterwards, whatever it held before; an empty text empties
    it. Without, the text is added where the caret is.
    """

    text: str
    replace: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.replace, bool):
            raise ValueError(f"replace must be true or false, got {self.replace!r}")


@dataclass(frozen=True, slots=True)
class Key:
    """Press keys together and release them: ``("enter",)`` or ``("ctrl", "s")``. Names are lower case."""

    keys: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", tuple(key.lower() for key in self.keys))
        if not self.keys:
            raise ValueError("keys must name at least one key, got none")


@dataclass(frozen=True, slots=True)
class OpenApp:
    """Start or bring forward an application by its label."""

    name: str


@dataclass(frozen=True, slots=True)
class Back:
    """Go back: Android's back gesture."""


@dataclass(frozen=True, slots=True)
class Home:
    """Go to the home screen."""


@dataclass(frozen=True, slots=True)
class PointAt:
    """Point without pressing: the answer itself, or ordered waypoints for a robot. Empty means "there are none"."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """Do nothing for ``duration_s`` seconds."""

    duration_s: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.duration_s) and self.duration_s >= 0):
            raise ValueError(f"duration_s must be a number of seconds >= 0, got {self.duration_s!r}")


@dataclass(frozen=True, slots=True)
class Done:
    """The policy claims to have finished. The env judges success, if it can."""

    success: bool = True
    message: str = ""


Action = Click | LongPress | Drag | Move | Scroll | Type | Key | OpenApp | Back | Home | PointAt | Wait | Done

_BY_NAME: dict[str, type[Any]] = {cls.__name__: cls for cls in get_args(Action)}


def points_of(action: Action) -> tuple[Point, ...]:
    """Return every point that an action touches, in order."""
    match action:
        case Click(point=point) | LongPress(point=point) | Move(point=point):
            return (point,)
        case Drag(start=start, end=end):
            return (start, end)
        case Scroll(point=Point() as point):
            return (point,)
        case PointAt(points=points):
            return points
        case _:
            return ()


def strokes_of(action: Action) -> tuple[Stroke, ...] | None:
    """Return where an action touches the screen; a drag touches all that lies between its ends.

    None where the action itself does not tell: keys and text go to the focused field, a scroll without a point to
    whatever the pointer is over, system keys and apps to the whole screen.
    """
    match action:
        case Drag(start=start, end=end):
            return ((start, end),)
        case Type() | Key() | OpenApp() | Back() | Home() | Scroll(point=None):
            return None
        case _:
            return tuple((point,) for point in points_of(action))


def action_to_dict(action: Action) -> dict[str, Any]:
    """Return the action as JSON-ready values under its class name: ``{"type": "Click", "point": {...}, ...}``."""
    return {"type": type(action).__name__, **dataclasses.asdict(action)}


def action_from_dict(data: dict[str, Any]) -> Action:
    """Read what :func:`action_to_dict` wrote.

    Raises:
        ValueError: the type is unknown or a field is missing, unknown or out of range.
    """
    values = dict(data)
    name = values.pop("type", None)
    if name not in _BY_NAME:
        raise ValueError(f"expected an action type among {', '.join(_BY_NAME)}, got {name!r}")

    def revive(value: Any) -> Any:
        if isinstance(value, dict):
            return Point(**value)
        return tuple(revive(item) for item in value) if isinstance(value, list) else value

    try:
        action: Action = _BY_NAME[name](**{key: revive(value) for key, value in values.items()})
    except TypeError as error:
        fields = ", ".join(field.name for field in dataclasses.fields(_BY_NAME[name]))
        raise ValueError(f"{name} takes the fields: {fields or 'none'}; got {', '.join(values) or 'none'}") from error
    return action


def describe(action: Action) -> str:
    """Return one line for people: ``Click (0.312, 0.500)``, ``Type "Ada"``, ``Key ctrl+s``."""

    def at(point: Point | None) -> str:
        return f"({point.x:.3f}, {point.y:.3f})" if point else "the pointer"

    match action:
        case Click(point=point, button=button, count=count, held=held):
            kind = "".join(f"{key}+" for key in held) + {1: "Click", 2: "Double-click", 3: "Triple-click"}[count]
            return f"{kind} {at(point)}" + (f" with the {button} button" if button != "left" else "")
        case Drag(start=start, end=end):
            return f"Drag {at(start)} to {at(end)}"
        case Scroll(direction=direction, notches=notches, point=point):
            return f"Scroll {direction} by {notches} at {at(point)}"
        case Type(text=text, replace=replace):
            return f'Replace with "{text}"' if replace else f'Type "{text}"'
        case Key(keys=keys):
            return f"Key {'+'.join(keys)}"
        case LongPress(point=point):
            return f"Long-press {at(point)}"
        case Move(point=point):
            return f"Move to {at(point)}"
        case OpenApp(name=name):
            return f"Open {name}"
        case PointAt(points=points):
            return f"Point at {', '.join(at(point) for point in points) or 'nothing'}"
        case Wait(duration_s=duration_s):
            return f"Wait {duration_s:g} s"
        case Done(success=success, message=message):
            return ("Done" if success else "Give up") + (f": {message}" if message else "")
        case Back() | Home():
            return type(action).__name__


def action_types() -> types.MappingProxyType[str, type[Any]]:
    """Return every action class by its name."""
    return types.MappingProxyType(_BY_NAME)
