"""A planner's reply -> one step: a tool call, or a line in the grammar of instructions.

A reply is exactly one step. Anything else is an error whose text goes back to the planner: unknown tools and arguments,
two steps at once, prose.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast, get_args

from molmo_agent.actions import (
    Back,
    Click,
    Direction,
    Drag,
    Home,
    Key,
    LongPress,
    Move,
    OpenApp,
    Scroll,
    Type,
    Wait,
)
from molmo_agent.errors import MolmoAgentError, UsageError
from molmo_agent.parse import load_json
from molmo_agent.policies.instructions.moving import DEFAULT_NOTCHES, MAX_NOTCHES, MAX_WAIT_S
from molmo_agent.policies.instructions.splitter import split_instruction
from molmo_agent.policies.instructions.substep import Gesture, SubStep

MAX_CHARACTERS = 20_000
"""Longer replies are no steps."""

MODIFIERS = ("ctrl", "shift", "alt", "cmd", "ctrl_or_cmd")


class ReplyError(MolmoAgentError):
    """A reply that is not one step; the message is for the planner."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """Something that a planner can do."""

    name: str
    what: str
    # Argument -> its type and meaning; those with "?" may be left out.
    arguments: Mapping[str, tuple[str, str]]
    # The actions that it needs; the env must execute all of them.
    needs: frozenset[type] = frozenset()


_TARGET = ("string", 'words for one thing on the screen, with its label: the "Save" button')

TOOLS: tuple[Tool, ...] = (
    Tool(
        name="click",
        what="Click or tap something.",
        arguments={
            "target": _TARGET,
            "button?": ("left|right|middle", "mouse button"),
            "count?": ("integer", "2 is a double click"),
            "held?": ("array", f"keys that are held: {', '.join(MODIFIERS)}"),
        },
        needs=frozenset({Click}),
    ),
    Tool(
        name="long_press",
        what="Press something and hold.",
        arguments={"target": _TARGET},
        needs=frozenset({LongPress}),
    ),
    Tool(name="hover", what="Move the pointer there.", arguments={"target": _TARGET}, needs=frozenset({Move})),
    Tool(
        name="type",
        what="Type text; with into, click that field first.",
        arguments={
            "text": ("string", "exactly what is typed; {{NAME}} stands for a secret that the task names"),
            "into?": ("string", "words for the field"),
            "replace?": ("boolean", "replace what the field holds"),
        },
        needs=frozenset({Type}),
    ),
    Tool(
        name="press",
        what="Press keys together.",
        arguments={"keys": ("string", "such as Enter, ctrl+s")},
        needs=frozenset({Key}),
    ),
    Tool(
        name="scroll",
        what="Move the view.",
        arguments={
            "direction": ("up|down|left|right", "where the view moves to"),
            "amount?": ("integer", f"wheel notches, 1 to {MAX_NOTCHES}"),
            "in?": ("string", "words for what is scrolled"),
        },
        needs=frozenset({Scroll}),
    ),
    Tool(
        name="drag",
        what="Drag something.",
        arguments={"from": _TARGET, "to": _TARGET},
        needs=frozenset({Drag}),
    ),
    Tool(name="wait", what="Wait.", arguments={"seconds": ("number", "at most 3600")}, needs=frozenset({Wait})),
    Tool(
        name="launch",
        what="Open an app by its name.",
        arguments={"app": ("string", "its name")},
        needs=frozenset({OpenApp}),
    ),
    Tool(name="back", what="Go back.", arguments={}, needs=frozenset({Back})),
    Tool(name="home", what="Go to the home screen.", arguments={}, needs=frozenset({Home})),
    Tool(
        name="ask",
        what="Ask the user something that only the user can know or decide.",
        arguments={"question": ("string", "one question")},
    ),
    Tool(
        name="done",
        what="End: the task is finished.",
        arguments={
            "evidence?": ("string", "words that the screen shows now and that prove it, copied exactly"),
            "answer?": ("string", "the answer, if the task asks for one; in the words of the screen"),
        },
    ),
    Tool(name="give_up", what="End: it cannot be done.", arguments={"reason": ("string", "why")}),
)
_BY_NAME = {tool.name: tool for tool in TOOLS}
_CLICKS: Mapping[tuple[str, int], Gesture] = {
    ("left", 1): "click",
    ("left", 2): "double_click",
    ("left", 3): "triple_click",
    ("right", 1): "right_click",
    ("middle", 1): "middle_click",
}
# A line of the grammar begins with one of its verbs: other lines are prose, and not the name of something to click.
_LINE = re.compile(
    r"(?:(?:double|triple|right|middle|ctrl|shift|alt|cmd)[- ]?)*(?:click|tap|touch|long[- ]?press|press|hit|push|hold|"
    r"hover|drag|move|scroll|swipe|type|enter|write|input|paste|fill (?:in|out)|set|select|choose|pick|tick|untick|"
    r"check|uncheck|toggle|activate|open|expand|collapse|focus|enable|disable|(?:turn|switch) (?:on|off)|switch to|"
    r"close|minimi[sz]e|maximi[sz]e|wait|launch|go (?:back|home|to))(?!\w)",
    re.IGNORECASE,
)
_ENDING = re.compile(r"(?P<name>done|ask|give[ _]up)\s*(?::\s*(?P<text>.*))?", re.IGNORECASE | re.DOTALL)
_CALL = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_FENCE = re.compile(r"```(?:json)?\s*\n?(.*?)```", re.DOTALL)
_THOUGHT = re.compile(r"\A\s*(?:<think>.*?</think>|Thought:.*?(?=\n\s*Action:))", re.DOTALL)
_ACTION = re.compile(r"\A\s*Action:\s*")
_NAMES = ("name", "tool", "action")
_PACKED = ("arguments", "args", "parameters", "input")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One step that a planner proposed."""

    # Name of a tool, or "step" for a line of the grammar.
    name: str
    arguments: Mapping[str, Any]
    # What is carried out; empty for ask, done and give_up.
    steps: tuple[SubStep, ...] = ()

    @property
    def call(self) -> str:
        """The step as JSON; :func:`read_call` reads it."""
        return json.dumps({"name": self.name, "arguments": dict(self.arguments)}, ensure_ascii=False)

    @property
    def words(self) -> str:
        """The step for people."""
        if self.steps:
            return self.steps[0].text
        text = "; ".join(str(value) for value in self.arguments.values())
        return f"{self.name}: {text}" if text else self.name


def tools_for(capabilities: Iterable[type] | None) -> tuple[Tool, ...]:
    """Return the tools that an env's actions can carry out; all of them for None."""
    if capabilities is None:
        return TOOLS
    known = frozenset(capabilities)
    return tuple(tool for tool in TOOLS if tool.needs <= known)


def read_reply(reply: str, tools: Iterable[Tool] = TOOLS) -> Proposal:
    """Read a reply.

    Raises:
        ReplyError: it is not exactly one step, or one of a tool that is not offered.
    """
    if len(reply) > MAX_CHARACTERS:
        raise ReplyError(f"expected one step, got {len(reply)} characters")
    offered = {tool.name for tool in tools}
    text = _THOUGHT.sub("", reply).strip()
    calls = _CALL.findall(text)
    if len(calls) > 1:
        raise ReplyError(
            f"expected one step, got {len(calls)} tool calls; the next step depends on the screen after it"
        )
    if "<tool_call>" in text and not calls:
        raise ReplyError("expected a tool call, got one that is not closed")
    if not calls and (fences := _FENCE.findall(text)):
        if len(fences) > 1:
            raise ReplyError(f"expected one step, got {len(fences)} blocks")
        calls = fences
    body = _ACTION.sub("", calls[0] if calls else text).strip()
    if body.startswith(("{", "[")):
        proposal = read_call(body)
    elif calls and "<tool_call>" in text:
        raise ReplyError(f"expected a tool call in JSON, got {body[:80]!r}")
    else:
        proposal = _read_line(body)
    if proposal.name not in offered and proposal.name != "step":
        raise ReplyError(f"there is no tool {proposal.name!r} here; the tools are {', '.join(sorted(offered))}")
    return proposal


def read_call(text: str) -> Proposal:
    """Read a tool call in JSON, and what :attr:`Proposal.call` wrote.

    Raises:
        ReplyError: it is not one known call with its arguments.
    """
    try:
        value = load_json(text, where="the reply")
    except MolmoAgentError as error:
        raise ReplyError(f"expected one tool call in JSON: {error}") from error
    if isinstance(value, list):
        if len(value) != 1:
            raise ReplyError(f"expected one tool call, got a list of {len(value)}")
        value = value[0]
    if not isinstance(value, dict):
        raise ReplyError(f"expected a tool call as an object, got {type(value).__name__}")
    value = {key: item for key, item in value.items() if key not in ("thought", "type", "id")}
    key = next((key for key in _NAMES if isinstance(value.get(key), str)), None)
    if key is None:
        raise ReplyError('expected {"name": ..., "arguments": {...}}, got no name')
    name, rest = value.pop(key), value
    packed = next((key for key in _PACKED if key in rest), None)
    if packed is not None:
        if len(rest) > 1 or not isinstance(rest[packed], dict):
            raise ReplyError(f"expected the arguments of {name!r} as one object")
        rest = rest[packed]
    if name == "step" and list(rest) == ["text"] and isinstance(rest["text"], str):
        return _read_line(rest["text"])
    return _checked(name, rest)


def _checked(name: str, arguments: Mapping[str, Any]) -> Proposal:
    """Check a call's arguments against its tool.

    Raises:
        ReplyError: there is no such tool, or an argument is unknown, missing or of another type.
    """
    tool = _BY_NAME.get(name)
    if tool is None:
        raise ReplyError(f"there is no tool {name[:40]!r}; the tools are {', '.join(_BY_NAME)}")
    types = {key.rstrip("?"): kind for key, (kind, _) in tool.arguments.items()}
    arguments = {key: value for key, value in arguments.items() if value is not None}
    for key, value in arguments.items():
        if key not in types:
            raise ReplyError(f"{name} has no argument {str(key)[:40]!r}; it has {', '.join(types) or 'none'}")
        _check_type(f"{name}.{key}", value, types[key])
    for key in tool.arguments:
        if not key.endswith("?") and key not in arguments:
            raise ReplyError(f"{name} needs {key!r}: {tool.arguments[key][1]}")
    return Proposal(name=name, arguments=arguments, steps=_steps(name, arguments))


def _check_type(what: str, value: Any, kind: str) -> None:
    if kind == "string":
        right = isinstance(value, str) and bool(value.strip())
    elif kind == "boolean":
        right = isinstance(value, bool)
    elif kind == "integer":
        right = isinstance(value, int) and not isinstance(value, bool)
    elif kind == "number":
        right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    elif kind == "array":
        right = isinstance(value, list) and all(isinstance(item, str) for item in value)
    else:
        right = isinstance(value, str) and value in kind.split("|")
    if not right:
        raise ReplyError(f"{what} must be {kind.replace('|', ' or ')}, got {json.dumps(value)[:60]}")


def _steps(name: str, arguments: Mapping[str, Any]) -> tuple[SubStep, ...]:
    """Return what a checked call does.

    Raises:
        ReplyError: a value is out of range.
    """
    get: Callable[..., Any] = arguments.get
    match name:
        case "click":
            gesture = _CLICKS.get((get("button", "left"), get("count", 1)))
            held = tuple(key.lower() for key in get("held", ()))
            if gesture is None or not set(held) <= set(MODIFIERS):
                raise ReplyError(f"click: expected a count of 1 to 3 and held keys among {', '.join(MODIFIERS)}")
            return (_at(gesture, get("target"), held=held),)
        case "long_press" | "hover":
            return (_at("long_press" if name == "long_press" else "move", get("target")),)
        case "type":
            words = f"type {_quoted(get('text'))}" + (f" into {get('into')}" if "into" in arguments else "")
            typing = SubStep(text=words, gesture="type", value=get("text"), replace=get("replace", False))
            return (*((_at("click", get("into"), words),) if "into" in arguments else ()), typing)
        case "press":
            return _read_line(f"press {get('keys')}", "key").steps
        case "scroll":
            amount, place = get("amount", DEFAULT_NOTCHES), get("in")
            if not 1 <= amount <= MAX_NOTCHES:
                raise ReplyError(f"scroll.amount must be 1 to {MAX_NOTCHES}, got {amount}")
            way = next(way for way in get_args(Direction) if way == get("direction"))
            words = f"scroll {way} {amount}" + (f" in {place}" if place else "")
            targets = (place,) if place else ()
            return (SubStep(text=words, gesture="scroll", direction=way, amount=amount, targets=targets),)
        case "drag":
            ends = (get("from"), get("to"))
            return (SubStep(text=f"drag {ends[0]} to {ends[1]}", gesture="drag", targets=cast("tuple[str]", ends)),)
        case "wait":
            if not 0 <= get("seconds") <= MAX_WAIT_S:
                raise ReplyError(f"wait.seconds must be 0 to {MAX_WAIT_S}, got {get('seconds')}")
            return (SubStep(text=f"wait {get('seconds'):g} seconds", gesture="wait", amount=get("seconds")),)
        case "launch":
            return (SubStep(text=f"launch {get('app')}", gesture="open_app", value=get("app")),)
        case "back" | "home":
            return (SubStep(text=f"go {name}", gesture="back" if name == "back" else "home"),)
        case _:
            return ()


def _at(gesture: Gesture, target: Any, words: str = "", *, held: tuple[str, ...] = ()) -> SubStep:
    keys = "".join(f"{key}-" for key in held)
    return SubStep(
        text=words or f"{keys}{gesture.replace('_', '-')} {target}", gesture=gesture, targets=(target,), held=held
    )


def _quoted(text: Any) -> str:
    return json.dumps(text, ensure_ascii=False)


def _read_line(text: str, gesture: str = "") -> Proposal:
    """Read one step of the grammar of instructions, or ``done: ...``, ``ask: ...``, ``give up: ...``.

    Raises:
        ReplyError: it is something else.
    """
    if ending := _ENDING.fullmatch(text):
        name, words = ending["name"].lower().replace(" ", "_"), (ending["text"] or "").strip()
        if name == "done":
            return _checked("done", {"answer": words} if words else {})
        return _checked(name, {"question" if name == "ask" else "reason": words})
    if "\n" in text or not _LINE.match(text):
        raise ReplyError(
            f'expected one step, such as {{"name": "click", "arguments": {{"target": "Save"}}}}, got {text[:80]!r}'
        )
    try:
        steps = split_instruction(text)
    except UsageError as error:
        raise ReplyError(f"that step cannot be carried out: {error}") from error
    if len({step.text for step in steps}) > 1 or (gesture and any(step.gesture != gesture for step in steps)):
        what = "one step" if not gesture else "keys"
        raise ReplyError(f"expected {what}, got {text[:80]!r}; the next step depends on the screen after it")
    return Proposal(name="step", arguments={"text": text}, steps=steps)
