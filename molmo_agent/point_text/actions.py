"""Pairs of numbers: the dialect tuple; and the dialect gui, of models that answer with an action or with a place.

The models of the dialect gui write one place in many forms: ``click(start_box='(350,670)')``,
``pyautogui.click(x=0.35, y=0.67)``, ``CLICK <point>[[350, 670]]</point>``, ``<|box_start|>(10,20),(30,40)<|box_end|>``,
``[10, 20, 30, 40]``, a tool call. Each form has one reading once the scale is declared.
"""

import re
from collections.abc import Iterable, Sequence

from molmo_agent.episode import LabelledPoint
from molmo_agent.geometry import Point
from molmo_agent.point_text.json_points import read_click, read_qwen
from molmo_agent.point_text.scales import NUMBER, Frame
from molmo_agent.point_text.sentences import NoPoints, UnparsedReply, check_complete, check_prose

_PAIR = re.compile(rf"\(\s*+({NUMBER})\s*+,\s*+({NUMBER})\s*+\)", re.ASCII)
_PAIRS = re.compile(rf"\[\s*+(?:{_PAIR.pattern}\s*+(?:,\s*+{_PAIR.pattern}\s*+)*+,?+\s*+)?\]", re.ASCII)
_UNIT = re.compile(r"\s{0,3}(?:%|percent\b|px\b|pixels?\b|of\s{1,3}\(?\d|±|\+/?-|->|=>|→)", re.IGNORECASE)
# Whatever could be meant as an answer.
_PAIR_START = re.compile(r"\[|\(\s{0,8}[-+.0-9]")


def _check_unit(after: str) -> None:
    """Reject a place with a unit behind it, or with the beginning of a path.

    Raises:
        UnparsedReply: see above.
    """
    if unit := _UNIT.match(after):
        raise UnparsedReply(f"behind its place there is {unit[0].strip()!r}: another scale, or more than a place")


def read_tuple(reply: str, frame: Frame) -> Iterable[LabelledPoint]:
    """Read ``[(x, y), ...]`` or one bare ``(x, y)``."""
    start = _PAIR_START.search(reply)
    if start is None:
        raise NoPoints
    answer = (_PAIRS if start[0] == "[" else _PAIR).match(reply, start.start())
    if answer is None:
        raise UnparsedReply(f"the list or pair at character {start.start()} is broken or not closed")
    before, after = reply[: start.start()], reply[answer.end() :]
    if _PAIR_START.search(after):
        raise UnparsedReply("expected one answer, got further pairs")
    pairs = _PAIR.findall(answer[0])
    if pairs:
        check_complete(before, after)
        _check_unit(after)
        check_prose((before, after), len(pairs))
        if re.search(r"[\]{}]", before + after):
            raise UnparsedReply("expected one answer, got further brackets")
    for pair in pairs:
        yield LabelledPoint(frame.place(list(pair)))


def write_tuple(points: Sequence[Point], _: str, __: str | None, ___: Frame) -> str:
    """Write the list, in the order given, three decimals."""
    return "[" + ", ".join(f"({point.x:.3f}, {point.y:.3f})" for point in points) + "]"


# --- Actions and places -----------------------------------------------------------------------------------------------

_GAP = r"\s{0,4}"
_COMMA = rf"{_GAP},{_GAP}"
_TWO = rf"{NUMBER}{_COMMA}{NUMBER}"
_FOUR = rf"{_TWO}{_COMMA}{_TWO}"
_LIST = rf"(?:\({_GAP}(?:{_FOUR}|{_TWO}){_GAP}\)|\[{_GAP}(?:{_FOUR}|{_TWO}){_GAP}\])"
_CORNERS = rf"\({_GAP}{_TWO}{_GAP}\){_GAP},?{_GAP}\({_GAP}{_TWO}{_GAP}\)"
_BARE = rf"(?:\[{_GAP}{_LIST}{_GAP}\]|{_CORNERS}|{_LIST})"
_SPACED = rf"{NUMBER}(?:\s{{1,4}}{NUMBER}){{1,3}}"
_INSIDE = rf"{_GAP}(?:{_BARE}|{_FOUR}|{_TWO}|{_SPACED}){_GAP}"
_TAGGED = (
    rf"(?:<point>{_INSIDE}</point>|<box>{_INSIDE}</box>|<bbox>{_INSIDE}</bbox>|<\|box_start\|>{_INSIDE}<\|box_end\|>)"
)
_REFERENCE = rf"(?:<ref>[^<]{{0,200}}</ref>|<\|object_ref_start\|>[^<]{{0,200}}<\|object_ref_end\|>){_GAP}"
_PLACE = rf"(?:{_REFERENCE})?(?:{_TAGGED}|{_BARE})"
_NAMED = rf"x{_GAP}={_GAP}{NUMBER}{_COMMA}y{_GAP}={_GAP}{NUMBER}"
_ARGUMENT = rf"(?:start_box|point|coordinate){_GAP}={_GAP}(?:'{_PLACE}'|\"{_PLACE}\"|{_PLACE})"
_BUTTON = rf"(?:{_COMMA}button{_GAP}={_GAP}[\"']left[\"'])?"
_VERB = r"(?:pyautogui\.)?(?:click|left_click|left_single|tap|moveTo)"
_CLICK = rf"{_VERB}\({_GAP}(?:{_ARGUMENT}|{_NAMED}|{_TWO}){_BUTTON}{_GAP}\)"
_ANSWER = re.compile(rf"(?i:{_CLICK}|(?:CLICK{_GAP})?{_PLACE})", re.ASCII)
_NUMBERS = re.compile(NUMBER)
# The heads of a reply in parts: "Thought: ...", "## Action:", "## Code:". Behind the last one there is only the call.
_PART = re.compile(
    r"(?:\A|\n)[\s#*]{0,8}(?P<name>thoughts?|reflection|observation|plan|reason(?:ing)?|思考|action|actions|code)[\s*]{0,4}[:：]",
    re.IGNORECASE,
)
_WORDS = re.compile(r"\w|#")
# Words of an action that is not a click, on the line of a place; and what makes a click conditional.
_OTHER_ACTION = re.compile(
    r"\b(?:double|triple|right|middle|long|drag|drop|scroll|type|write|enter|hover|press|swipe|hotkey|wait|finished|"
    r"select)(?:[\s_-]{0,2}(?:click|tap|press|button))?(?:ed|ing)?(?:\s{1,3}(?:on|at|from|to|into|in))?\s{0,4}:?\s{0,4}\Z"
    r"|\b(?:double|triple|right|middle|long)[\s_-]{1,2}(?:click|tap|press)|\b(?:if|unless|else|while|for)\b[^\n:]{0,200}:"
    r"|(?:\A|\s)#(?!#)|\s{1,4}(?:click|type|scroll|drag|press|wait|finished|hotkey|then)\b|\s{1,4}at\s{0,4}\Z",
    re.IGNORECASE,
)
# Another call, or the rest of a list.
_REST = re.compile(r"[a-z_]\(|[\[\]{}]", re.IGNORECASE)


def _check_line(before: str, after: str) -> bool:
    """Reject a place on a line with words of another action, or a line of an action with more than a click.

    Returns:
        Whether the text before is reasoning, in a part of its own.

    Raises:
        UnparsedReply: see above.
    """
    _check_unit(after)
    head = before.rpartition("\n")[2]
    if other := _OTHER_ACTION.search(head) or _OTHER_ACTION.match(after):
        raise UnparsedReply(f"expected one place or click, got {other[0].strip()[:20]!r} beside it")
    parts = list(_PART.finditer(before))
    if sum(part["name"].lower().startswith("action") for part in parts) > 1:
        raise UnparsedReply("expected one action, got two")
    if parts and parts[-1]["name"].lower() in ("action", "actions", "code"):
        rest = re.sub(r"```(?:python)?", "", before[parts[-1].end() :]), after
        if any(map(_WORDS.search, rest)):
            raise UnparsedReply("expected a click alone behind 'Action:', got further words")
    return bool(parts)


def read_gui(reply: str, frame: Frame) -> Iterable[LabelledPoint]:
    """Read one place, the middle of one box, or one click."""
    if "{" in reply:
        click = read_click(reply, frame)
        yield from [click] if click is not None else read_qwen(reply, frame)
        return
    answer = _ANSWER.search(reply)
    if answer is None:
        if re.search(r"[\[(<]\s{0,4}[-+.\d]|\b(?:x|start_box|point)\s{0,4}=", reply):
            raise UnparsedReply("expected a place or a click, got one that is broken or not closed")
        raise NoPoints
    before, after = reply[: answer.start()], reply[answer.end() :]
    check_complete(before, after)
    if _REST.search(before) or _REST.search(after):
        raise UnparsedReply("expected one place or click, got another call or bracket")
    reasons = _check_line(before, after)
    check_prose(("" if reasons else before, after), 1, reasoning=before if reasons else "")
    numbers = _NUMBERS.findall(re.sub(_REFERENCE, "", answer[0]))
    if len(numbers) not in (2, 4):
        raise UnparsedReply(f"expected a point or a box, got {len(numbers)} numbers")
    yield LabelledPoint(frame.place(numbers))


def write_gui(points: Sequence[Point], _: str, __: str | None, frame: Frame) -> str:
    """Write one click."""
    x, y = frame.numbers(points[0])
    return f"click(start_box='({x},{y})')"
