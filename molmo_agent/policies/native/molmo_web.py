"""MolmoWeb's JSON <-> actions: ``{"thought": "...", "action": {"name": "click", "x": 50.0, "y": 7.3}}``.

Places are percents of the screenshot, scroll amounts percents of its size. Names of pages are not known here, so that
opening addresses and changing tabs cannot be carried out; a reply with these ends the run.
"""

import json
from collections.abc import Sequence
from typing import Any, get_args

from molmo_agent.actions import Action, Back, Button, Click, Drag, Key, Move, Scroll, Type, Wait
from molmo_agent.errors import PointTextError
from molmo_agent.geometry import Point
from molmo_agent.point_text.scales import Frame
from molmo_agent.policies.native.replies import NOTCH_PX, Fields, NativeStep, check_length, key, load_object, place

_NAMES = {
    ("enter",): "Enter",
    ("escape",): "Escape",
    ("backspace",): "Backspace",
    ("tab",): "Tab",
    ("up",): "ArrowUp",
    ("down",): "ArrowDown",
    ("left",): "ArrowLeft",
    ("right",): "ArrowRight",
    ("ctrl", "a"): "ControlOrMeta+a",
    ("ctrl", "c"): "ControlOrMeta+c",
    ("ctrl", "v"): "ControlOrMeta+v",
    ("f5",): "F5",
}
_MAX_NOTCHES = 50
MAX_PAST_STEPS = 10
"""Earlier steps in a question: as many as in training."""


def read(reply: str, frame: Frame) -> NativeStep:
    """Read a reply.

    Args:
        reply: the model's words.
        frame: the scale 100, and the size of the image that was sent.

    Raises:
        PointTextError: it is not exactly one action, or one that cannot be carried out; the error holds the reply.
        OutOfScreen: its point lies outside the screenshot.
    """
    check_length(reply)
    value = load_object(reply, reply)
    nested = isinstance(value.get("action"), dict)
    fields = Fields(value["action"] if nested else value, reply)
    thought = value.get("thought", "") if nested else ""
    if nested and set(value) - {"thought", "action", "action_description"}:
        raise PointTextError("expected a thought and one action", reply)
    step = _read(fields.text("name"), fields, frame)
    fields.end()
    return NativeStep(thought=str(thought), actions=step.actions, ending=step.ending, text=step.text)


def _read(name: str, fields: Fields, frame: Frame) -> NativeStep:
    def at(prefix: str = "") -> Point:
        numbers = [f"{fields.number(f'{prefix}{axis}'):.12g}" for axis in "xy"]
        return place(numbers, frame, fields.reply)

    match name:
        case "click" | "mouse_click" | "dblclick":
            said, kind = fields.text("button", "left"), fields.text("click_type", "single")
            button = next((button for button in get_args(Button) if button == said), None)
            if button is None or kind not in ("single", "double"):
                raise PointTextError(f"expected a button and a type of click, got {said!r} and {kind!r}", fields.reply)
            return NativeStep(actions=(Click(at(), button, 2 if name == "dblclick" or kind == "double" else 1),))
        case "hover_at":
            fields.number("duration", 1.0)
            return NativeStep(actions=(Move(at()),))
        case "drag_and_drop" | "mouse_drag_and_drop":
            return NativeStep(actions=(Drag(at("from_"), at("to_")),))
        case "scroll" | "scroll_at":
            point = at() if name == "scroll_at" else None
            return NativeStep(actions=_scroll(fields, frame, point))
        case "type" | "keyboard_type":
            return NativeStep(actions=(Type(fields.text("text")),))
        case "keypress" | "keyboard_press":
            pressed = fields.text("key")
            if pressed.lower() not in map(str.lower, _NAMES.values()):
                raise PointTextError(
                    f"expected a key among {', '.join(_NAMES.values())}, got {pressed!r}", fields.reply
                )
            return NativeStep(actions=(key(pressed.split("+"), fields.reply),))
        case "browser_nav" if fields.text("nav_type") == "go_back":
            fields.number("index", -1)
            return NativeStep(actions=(Back(),))
        case "noop":
            fields.text("noop_reason", "")
            return NativeStep(actions=(Wait(1.0),))
        case "send_msg_to_user":
            return NativeStep(ending="done", text=fields.text("msg"))
        case "report_infeasible":
            return NativeStep(ending="failed", text=fields.text("infeasibility_reason", ""))
        case _:
            raise PointTextError(f"the action {name[:40]!r} cannot be carried out here", fields.reply)


def _scroll(fields: Fields, frame: Frame, point: Point | None) -> tuple[Action, ...]:
    across, down = fields.number("delta_x", 0.0), fields.number("delta_y", 0.0)
    if (across == 0) == (down == 0):
        raise PointTextError("expected to scroll along one axis", fields.reply)
    pixels = abs(down) * frame.size[1] / 100 if down else abs(across) * frame.size[0] / 100
    notches = min(max(1, round(pixels / NOTCH_PX)), _MAX_NOTCHES)
    if down:
        return (Scroll("down" if down > 0 else "up", notches, point),)
    return (Scroll("right" if across > 0 else "left", notches, point),)


def write(action: Action, frame: Frame, thought: str = "") -> str:
    """Write an action.

    Raises:
        ValueError: MolmoWeb has no words for it.
    """
    words = action_words(action, frame)
    return json.dumps({"thought": thought, "action": words} if thought else {"action": words}, ensure_ascii=False)


def action_words(action: Action, frame: Frame) -> dict[str, Any]:
    """Return an action as MolmoWeb's dictionary.

    Raises:
        ValueError: MolmoWeb has no words for it.
    """

    def at(point: Point, prefix: str = "") -> dict[str, float]:
        return {f"{prefix}x": round(point.x * 100, 1), f"{prefix}y": round(point.y * 100, 1)}

    match action:
        case Click(point=point, button=button, count=count, held=()) if count in (1, 2):
            kind = "single" if count == 1 else "double"
            return {"name": "click", **at(point), "button": button, "click_type": kind}
        case Move(point=point):
            return {"name": "hover_at", **at(point), "duration": 1.0}
        case Drag(start=start, end=end):
            return {"name": "mouse_drag_and_drop", **at(start, "from_"), **at(end, "to_")}
        case Scroll(direction=direction, notches=notches, point=point):
            axis, side = ("delta_y", frame.size[1]) if direction in ("up", "down") else ("delta_x", frame.size[0])
            amount = round(100 * notches * NOTCH_PX / side, 1) * (1 if direction in ("down", "right") else -1)
            deltas = {"delta_x": 0.0, "delta_y": 0.0, axis: amount}
            return {"name": "scroll_at", **at(point), **deltas} if point else {"name": "scroll", **deltas}
        case Type(text=text, replace=False):
            return {"name": "keyboard_type", "text": text}
        case Key(keys=keys) if keys in _NAMES:
            return {"name": "keyboard_press", "key": _NAMES[keys]}
        case Back():
            return {"name": "browser_nav", "nav_type": "go_back"}
        case Wait():
            return {"name": "noop"}
        case _:
            raise ValueError(f"MolmoWeb has no words for {action}")


def prompt(task: str, past: Sequence[tuple[str, dict[str, Any]]], *, title: str = "", url: str = "") -> str:
    """Return the question: the goal, the last steps and the page.

    Args:
        task: what the user asked for.
        past: (thought, action) of every earlier step.
        title: of the page; the env does not tell it.
        url: of the page.
    """
    first = max(0, len(past) - MAX_PAST_STEPS)
    steps = "".join(
        f"## Step {number}\nTHOUGHT: {thought}\nACTION: {action}\n"
        for number, (thought, action) in enumerate(past[first:], start=first + 1)
    )
    return (
        f"molmo_web_think: \n# GOAL\n{task}\n\n# PREVIOUS STEPS\n{steps}\n# CURRENTLY ACTIVE PAGE\n"
        f"Page 0: {title[:100]} | {url[:100]}\n\n# NEXT STEP\n\n"
    )
