"""Allowed and denied regions, and where an input reaches: along its whole way, and for keys the focused field."""

import itertools
from collections.abc import Sequence

from molmo_agent.actions import (
    Action,
    Back,
    Click,
    Home,
    Key,
    LongPress,
    Move,
    OpenApp,
    PointAt,
    Scroll,
    Type,
    Wait,
    describe,
    strokes_of,
)
from molmo_agent.episode import Image, Observation, Step
from molmo_agent.geometry import Box, Point, Stroke
from molmo_agent.interfaces import Env, KnowsPlaces

# Keys that act in the focused field. Others may reach the window, the desktop or another field.
_FIELD_KEYS = frozenset(
    ("backspace", "delete", "del", "space", "left", "right", "up", "down", "home", "end", "enter", "return", "tab")
)
_FIELD_CHORDS = frozenset({"a", "c", "x", "v", "z", "y", "left", "right", "home", "end", "backspace", "delete"})
_CONTROL = frozenset({"ctrl", "control", "cmd", "command", "ctrl_or_cmd"})
# After these the focus may be elsewhere.
_LEAVING_KEYS = frozenset({"enter", "return", "tab"})
_ROUNDING = 1e-9


def where(box: Box) -> str:
    """Return a box as the command line takes it: ``left,top,right,bottom``."""
    return f"{box.left:g},{box.top:g},{box.right:g},{box.bottom:g}"


def outside(strokes: Sequence[Stroke], allow: Sequence[Box], deny: Sequence[Box]) -> str:
    """Return where strokes leave the allowed regions or meet a denied one, as text; empty if they do not.

    Args:
        strokes: in points of the observation.
        allow: a stroke lies completely in these; none: anywhere.
        deny: a stroke meets none of these.
    """
    allowed = f"the allowed regions {' '.join(map(where, allow))}"
    for point in (point for stroke in strokes for point in stroke):
        if allow and not any(box.contains(point) for box in allow):
            return f"{_at(point)} is outside {allowed}"
        for box in deny:
            if box.contains(point):
                return f"{_at(point)} is inside the denied region {where(box)}"
    for stroke in strokes:
        for start, end in itertools.pairwise(stroke):
            way = f"the way from {_at(start)} to {_at(end)}"
            for box in deny:
                if _crossing(start, end, box):
                    return f"{way} crosses the denied region {where(box)}"
            if allow and not _covers([part for box in allow if (part := _crossing(start, end, box))]):
                return f"{way} leaves {allowed}"
    return ""


def _at(point: Point) -> str:
    return f"({point.x:.3f}, {point.y:.3f})"


def _crossing(start: Point, end: Point, box: Box) -> tuple[float, float] | None:
    """Return from which share of a straight way to which it lies in a box; None if it misses it."""
    first, last = 0.0, 1.0
    for origin, goal, low, high in (
        (start.x, end.x, box.left, box.right),
        (start.y, end.y, box.top, box.bottom),
    ):
        if origin == goal:
            if not low <= origin <= high:
                return None
            continue
        near, far = sorted(((low - origin) / (goal - origin), (high - origin) / (goal - origin)))
        first, last = max(first, near), min(last, far)
    return (first, last) if first <= last else None


def _covers(parts: Sequence[tuple[float, float]]) -> bool:
    """Return whether parts of a way from 0 to 1 cover all of it."""
    reached = 0.0
    for first, last in sorted(parts):
        if first > reached + _ROUNDING:
            return False
        reached = max(reached, last)
    return reached >= 1 - _ROUNDING


def strokes_now(action: Action, env: Env, observation: Observation, history: Sequence[Step]) -> list[Stroke] | None:
    """Return where an action would touch the screen; None where nobody knows.

    Args:
        action: what is to be sent.
        env: where; it may know where its pointer and its focused field are.
        observation: the newest one.
        history: the steps before. Keys go to the field that was clicked last, while the focus cannot have left it.
    """
    strokes = env.strokes(action) if isinstance(env, KnowsPlaces) else None
    strokes = strokes_of(action) if strokes is None else strokes
    if strokes is not None:
        return list(strokes)
    if not (_stays_in_field(action) if isinstance(action, Type) else isinstance(action, Key) and _is_for_field(action)):
        return None
    field = clicked_field(observation, history)
    return None if field is None else [(field,)]


def unknown_place(action: Action) -> str:
    """Return why it is not known where in the regions an action goes, and what to do about it."""
    match action:
        case Key() if not _is_for_field(action):
            why = "such keys act on the whole window or desktop"
        case Type() if not _stays_in_field(action):
            why = "a tab or line end in the text may move on to another field. Click into each field, then type"
        case Type() | Key():
            why = "they go to the focused field, whose place is not known. Click into a field there first"
        case Scroll():
            why = "it is not known what the pointer is over. Say where to scroll"
        case Back() | Home() | OpenApp():
            why = "it acts on the whole screen"
        case _:
            why = "it has no place"
    return f"{describe(action)} may reach beyond the allowed and denied regions: {why}"


def _stays_in_field(action: Type) -> bool:
    return not set(action.text.rstrip("\r\n")) & {"\n", "\r", "\t"}


def _is_for_field(action: Key) -> bool:
    *held, last = action.keys
    if not held:
        return last in _FIELD_KEYS or len(last) == 1
    if set(held) == {"shift"}:
        return last in _FIELD_KEYS - _LEAVING_KEYS - {"delete", "del"} or len(last) == 1 or last == "tab"
    return set(held) - {"shift"} <= _CONTROL and last in _FIELD_CHORDS


def clicked_field(observation: Observation, history: Sequence[Step]) -> Point | None:
    """Return where the field was clicked that still has the focus; None if that is not certain."""
    windows = [observation.info.get("window")]
    for step in reversed(history):
        action = step.action
        if step.refused or step.dry_run or isinstance(action, Wait | Move | PointAt):
            windows.append(step.observation.info.get("window"))
            continue
        match action:
            case Click(button="left", held=(), point=point) | LongPress(point=point):
                # A click that opens a window gives it the keyboard.
                clicked = step.info.get("window", step.observation.info.get("window"))
                return point if all(window == clicked for window in windows) else None
            case Type(text=text) if not set(text) & {"\n", "\r", "\t"}:
                pass
            case Key(keys=keys) if _is_for_field(action) and not _LEAVING_KEYS & set(keys):
                pass
            case _:
                return None
        windows.append(step.observation.info.get("window"))
    return None


def typed_on(history: Sequence[Step]) -> Image | None:
    """Return the screen on which the last input of a run was typed; None if that was no text, or one that was sent off.

    A line end submits what was typed, and a field may then be empty.
    """
    for step in reversed(history):
        if step.refused or step.dry_run or isinstance(step.action, Wait | PointAt):
            continue
        match step.action:
            case Type(text=text) if not set(text) & {"\n", "\r", "\t"}:
                return step.observation.image
            case _:
                return None
    return None
