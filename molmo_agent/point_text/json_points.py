"""JSON with points: the dialects gemini and qwen, and the tool calls of models that act on screens."""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from molmo_agent.episode import LabelledPoint
from molmo_agent.geometry import Point
from molmo_agent.point_text.scales import Frame
from molmo_agent.point_text.sentences import (
    ANY_THOUGHT,
    NoPoints,
    UnparsedReply,
    check_complete,
    check_label,
    check_prose,
)
from molmo_agent.point_text.tags import thousandths

# Names under which a point may say that it is one. Only a plain "true" confirms it.
_CLAIMS = frozenset({"visible", "is_visible", "present", "exists", "found", "in_frame", "in_view"})
# What a call may do at its place. Everything else is another action than pointing.
_CLICKS = frozenset({"click", "left_click", "click_absolute", "tap", "mouse_move"})
# Entries that a place may have beside its numbers, in three kinds: names of the target, remarks, and numbers.
_NAMES = frozenset(
    {"label", "name", "element", "target", "text", "type", "category", "class", "role", "color", "shape"}
)
_REMARKS = frozenset(
    {"description", "caption", "thought", "thoughts", "reason", "reasoning", "explanation", "rationale"}
)
_NUMERALS = frozenset({"id", "index", "number", "point_id", "image", "image_id", "frame"})
_CONFIDENCES = frozenset({"confidence", "conf", "score", "probability", "prob"})
_WRAPPER = re.compile(r"</?(?:tool_call|answer)>|```(?:json)?", re.IGNORECASE)


class _Literal(str):
    """A JSON number as it was written."""

    __slots__ = ()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a coordinate")


_JSON = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_Literal, parse_float=_Literal, parse_constant=_refuse_constant
)
_STRUCTURE = re.compile(f"`(?=``)|{ANY_THOUGHT.pattern}", re.IGNORECASE)
_BRACKET = re.compile(r"[\[\]{}]")
_PLACE_TEXT = re.compile(r"[\"'](?:point|b?box|coord|position|x|y)\w*[\"']\s{0,4}:", re.IGNORECASE)


def _the_answer(reply: str) -> tuple[Any, list[str]]:
    """Return the one JSON value of a reply, bare or in one code block, and the text around it."""
    parts = reply.split("```")
    if len(parts) not in (1, 3):
        raise UnparsedReply("expected one complete code block")
    body, prose = (parts[1], parts[::2]) if len(parts) == 3 else (reply, [])
    start = _BRACKET.search(body)
    if start is None:
        raise NoPoints
    try:
        value, end = _JSON.raw_decode(body, start.start())
    except (ValueError, RecursionError) as error:
        raise UnparsedReply(f"broken JSON: {str(error)[:80]}") from error
    before, after = body[: start.start()], body[end:]
    if any(_BRACKET.search(text) for text in (*prose, before, after)):
        raise UnparsedReply("expected one answer, got further brackets")
    if re.search(r"<(?:tool_call|answer)>", after + "".join(prose[1:]), re.IGNORECASE):
        raise UnparsedReply("another answer begins behind it")
    check_complete(re.sub(r"\A\s*json\Z", "", before), after, glue="[A-Za-z0-9_]")
    return value, [_WRAPPER.sub("", text) for text in (*prose[:1], before, after, *prose[1:])]


def _check_entry(key: str, value: Any) -> None:
    """Reject an entry that denies the point beside it, that may hold another one, or that nobody knows.

    Raises:
        UnparsedReply: see above.
    """
    name = key.lower()
    if isinstance(value, list | dict):
        raise UnparsedReply(f"expected one place for each object, got another value in {key[:20]!r}")
    if value is None or value is False or (name in _CLAIMS and value is not True):
        raise UnparsedReply(f"its entry {key[:20]!r} says that the target is not there")
    is_text = isinstance(value, str) and not isinstance(value, _Literal)
    if name in _CONFIDENCES and isinstance(value, _Literal):
        if float(value) <= 0:
            raise UnparsedReply(f"its entry {key[:20]!r} is {value[:20]}: it does not believe in its own point")
    elif name in _NAMES and is_text:
        check_label(value)
        if _PLACE_TEXT.search(value):
            raise UnparsedReply(f"its entry {key[:20]!r} holds another place")
    elif name in _REMARKS and is_text:
        check_prose((), 1, reasoning=value)
    elif not (name in _CLAIMS or (name in _NUMERALS and isinstance(value, str))):
        raise UnparsedReply(f"expected a place with a label, got the entry {key[:20]!r}, whose meaning is not known")


def _check_remarks(item: dict[str, Any]) -> None:
    """Check the entries of an object beside its place."""
    for key, value in item.items():
        _check_entry(key, value)


def _numbers(value: Any, counts: tuple[int, ...]) -> list[str] | None:
    fits = isinstance(value, list) and len(value) in counts and all(isinstance(number, _Literal) for number in value)
    return list(value) if fits else None


def _read_objects(reply: str, keys: dict[str, tuple[int, ...]]) -> list[tuple[list[str], str | None]]:
    """Return the numbers and the label of each object of the one JSON answer.

    Args:
        reply: the text.
        keys: the names that a place may have, and how many numbers each may hold: 2 for a point, 4 for a box.
    """
    value, prose = _the_answer(reply)
    places: list[tuple[list[str], str | None]] = []
    for item in value if isinstance(value, list) else [value]:
        entries = dict(item) if isinstance(item, dict) else {}
        matches = [key for key in keys if key in entries]
        numbers = _numbers(entries.pop(matches[0]), keys[matches[0]]) if len(matches) == 1 else None
        if numbers is None:
            forms = " or ".join(f'"{key}": [{", ".join(["number"] * counts[0])}]' for key, counts in keys.items())
            raise UnparsedReply(f"expected objects with {forms}")
        _check_remarks(entries)
        label = entries.get("label")
        places.append((numbers, label if isinstance(label, str) and label else None))
    if places:
        check_prose(prose, len(places))
    return places


def read_gemini(reply: str, frame: Frame) -> Iterable[LabelledPoint]:
    """Read ``[{"point": [y, x], "label": ...}]`` or ``"box_2d": [top, left, bottom, right]``, y first."""
    for numbers, label in _read_objects(reply, {"point": (2,), "box_2d": (4,)}):
        swapped = [numbers[i ^ 1] for i in range(len(numbers))]
        yield LabelledPoint(frame.place(swapped), label)


def read_qwen(reply: str, frame: Frame) -> Iterable[LabelledPoint]:
    """Read ``[{"point_2d": [x, y], "label": ...}]`` or ``"bbox_2d": [left, top, right, bottom]``, or one click."""
    click = read_click(reply, frame)
    if click is not None:
        yield click
        return
    for numbers, label in _read_objects(reply, {"point_2d": (2,), "bbox_2d": (4,)}):
        yield LabelledPoint(frame.place(numbers), label)


def read_click(reply: str, frame: Frame) -> LabelledPoint | None:
    """Read a click as one JSON object, a tool call or its arguments alone; None if the reply is nothing of the kind.

    ``{"name": ..., "arguments": {"action": "left_click", "coordinate": [x, y]}}``, ``{"coordinate": [x, y]}``,
    ``{"x": ..., "y": ...}``.

    Raises:
        UnparsedReply: an action other than a click, or a place that is not one.
    """
    try:
        value, prose = _the_answer(reply)
    except (NoPoints, UnparsedReply):
        return None
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("arguments"), dict):
        if not set(value) <= {"name", "arguments", "id", "type"}:
            raise UnparsedReply("expected a call with a name and arguments")
        arguments = dict(value["arguments"])
        # Tools that do one thing have no action of their own: {"name": "click", "arguments": {"x": 1, "y": 2}}.
        arguments.setdefault("action", value.get("name"))
    else:
        arguments = dict(value)
    if not ("coordinate" in arguments or {"x", "y"} <= set(arguments)):
        return None
    action = arguments.pop("action", "click")
    if action not in _CLICKS:
        raise UnparsedReply(f"expected a click, got the action {str(action)[:20]!r}")
    if "coordinate" in arguments:
        numbers = _numbers(arguments.pop("coordinate"), (2,))
        if {"x", "y"} & set(arguments):
            raise UnparsedReply("expected one place, got two")
    else:
        numbers = _numbers([arguments.pop("x"), arguments.pop("y")], (2,))
    if numbers is None:
        raise UnparsedReply('expected "coordinate": [number, number]')
    if arguments.pop("button", "left") != "left" or arguments.pop("clicks", "1") != "1":
        raise UnparsedReply("expected one click of the left button")
    # A text or keys beside the place would be typed or held.
    if extra := {"text", "keys", "key"} & set(arguments):
        raise UnparsedReply(f"expected a click alone, got {min(extra)!r} beside its place")
    _check_remarks(arguments)
    # Models that call tools reason first.
    reasoning, *rest = prose
    check_prose(rest, 1, reasoning=reasoning)
    return LabelledPoint(frame.place(numbers))


def _dump(rows: list[dict[str, Any]]) -> str:
    """Write JSON in which a label cannot begin or end what stands around an answer: a code block, a thought."""
    text = json.dumps(rows, ensure_ascii=False)
    return _STRUCTURE.sub(lambda match: f"\\u{ord(match[0][0]):04x}{match[0][1:]}", text)


def write_gemini(points: Sequence[Point], label: str, _: str | None, __: Frame) -> str:
    """Write the list, in the order given."""
    rows = [{"point": [thousandths(point.y), thousandths(point.x)], "label": label} for point in points]
    return _dump(rows)


def write_qwen(points: Sequence[Point], label: str, _: str | None, frame: Frame) -> str:
    """Write the list, in the order given."""
    rows = [{"point_2d": frame.numbers(point), "label": label} for point in points]
    return _dump(rows)
