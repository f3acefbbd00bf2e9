"""Read one step that moves the view or a thing, or waits: ``scroll down 5``, ``drag A to B``, ``wait 2 seconds``."""

import re
from typing import cast

from molmo_agent.actions import Direction
from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.counts import COUNT, number
from molmo_agent.policies.instructions.quoting import Part
from molmo_agent.policies.instructions.reading import need, outside_names
from molmo_agent.policies.instructions.substep import SubStep

MAX_WAIT_S = 3600
MAX_NOTCHES = 100
_WAY = r"(up|down|left|right)(?:wards?)?"
_SCROLL = re.compile(
    rf"(?:(?P<before>(?!(?:from|to|up|down|left|right|all|both|every|each)(?!\w)).*?)\s+)?(?:to\s+the\s+(?=left|right))?{_WAY}(?:\s+(?:by\s+)?(?P<count>{COUNT}|once|twice)(?:\s+(?:times?|notch(?:es)?|steps?|clicks?|lines?))?"
    r"|\s+(?:a\s+(?:(?:little|tiny)\s+)?(?:bit|little)|slowly|slightly|further|again|more)(?:\s+(?:more|further|again))?)?"
    # "Swipe down to refresh": what it is good for; "to the comments" is a place, which is not looked for.
    r"(?:\s+to\s+(?:refresh|reload|update|unlock|load\s+more|see\s+more|continue)(?!\w)[^,;]{0,20})?"
    r"(?:\s+(?:in|on|over|inside|within)\s+(?P<after>.+?)(?:\s+by\s+(?P<far>\d{1,4})(?:\s+(?:notch(?:es)?|steps?|lines?))?)?)?",
    re.IGNORECASE | re.DOTALL,
)
_OPPOSITE: dict[str, Direction] = {"up": "down", "down": "up", "left": "right", "right": "left"}
DEFAULT_NOTCHES = 3


def read_scroll(part: Part, rest: Part, *, swipe: bool) -> list[SubStep]:
    """Read ``down 5 in the list``; a swipe moves the other way.

    Raises:
        UsageError: there is no direction, or no sensible number of notches.
    """
    match = _SCROLL.fullmatch(rest.mask)
    if match is None or (match["before"] and match["after"]):
        if swipe and re.search(r"(?<!\w)from\s", rest.mask, re.IGNORECASE):
            raise UsageError(
                f"{part.text!r}: a swipe from a place needs its end, too; say for example: swipe from the bottom "
                "edge to the middle of the screen"
            )
        raise UsageError(
            f"{part.text!r}: expected a direction; say for example: scroll down 5 in the list. No end and no place is "
            "looked for: the number says how far"
        )
    way = match[2].lower()
    count = match["count"] or match["far"]
    notches = number(count) if count else DEFAULT_NOTCHES
    if notches != int(notches) or notches < 1:
        raise UsageError(f"{part.text!r}: expected a whole number of notches, 1 or more, got {count}")
    if notches > MAX_NOTCHES:
        raise UsageError(f"{part.text!r}: expected at most {MAX_NOTCHES} notches, got {count}")
    place = (
        rest.cut(*match.span("before"))
        if match["before"]
        else rest.cut(*match.span("after"))
        if match["after"]
        else None
    )
    return [
        SubStep(
            text=part.text,
            gesture="scroll",
            # A finger moves against the view.
            direction=_OPPOSITE[way] if swipe else cast(Direction, way),
            amount=notches,
            targets=(place.text,) if place else (),
        )
    ]


_WAIT = re.compile(
    rf"(?:for\s+)?(?:(?P<count>{COUNT})\s*(?P<unit>seconds?|secs?|s|milliseconds?|ms|minutes?|mins?|m)|(?P<half>half\s+an?\s+(?:second|minute))|(?:a\s+)?(?:moment|bit|little))?",
    re.IGNORECASE,
)


def read_wait(part: Part, rest: Part) -> list[SubStep]:
    """Read ``2 seconds``; a moment is one second.

    Raises:
        UsageError: it is no time, or longer than :data:`MAX_WAIT_S`.
    """
    match = _WAIT.fullmatch(rest.mask)
    if match is None:
        raise UsageError(f"{part.text!r}: can only wait for a time; say for example: wait 2 seconds")
    unit = (match["unit"] or (match["half"] or "s").split()[-1]).lower()
    factor = 0.001 if unit.startswith(("ms", "milli")) else 60.0 if unit.startswith("m") else 1.0
    seconds = number(match["count"]) * factor if match["count"] else factor / 2 if match["half"] else 1.0
    if seconds > MAX_WAIT_S:
        raise UsageError(f"{part.text!r}: expected at most {MAX_WAIT_S / 60:g} minutes, got {seconds / 60:g}")
    return [SubStep(text=part.text, gesture="wait", amount=seconds)]


_TO = re.compile(
    r"(?:\s+(?:up|down|across|all\s+the\s+way))?\s+(?:and\s+drop\s+(?:it\s+)?)?(?<!next)(?<!close)(?:to|onto|on\s+to|into|over|over\s+to)\s+"
    r"|\s+and\s+drop\s+(?:it\s+)?(?:on|in)\s+",
    re.I,
)
_DROP_ON = re.compile(r"\s+(?:on|in)\s+(?=the\s|\0)", re.I)


def read_drag(part: Part, rest: Part) -> list[SubStep]:
    """Read ``the file to Trash``.

    Raises:
        UsageError: it does not say where to.
    """
    if source := re.match(r"from\s+", rest.mask, re.IGNORECASE):
        rest = rest.cut(source.end())
    ends = outside_names(list(_TO.finditer(rest.mask)))
    if not ends and re.match(r"drag\s+and\s+drop(?!\w)", part.mask, re.IGNORECASE):
        ends = list(_DROP_ON.finditer(rest.mask))
    if not ends:
        raise UsageError(f"{part.text!r} does not say where to; say for example: drag the file to Trash")
    if len(ends) > 1:
        raise UsageError(
            f"{part.text!r}: it is not clear which of the words {ends[0][0].strip()!r} and {ends[1][0].strip()!r} says "
            'where to; put the names in quotes: drag "A" to "B"'
        )
    match = ends[0]
    start, end = rest.cut(0, match.start()).text, rest.cut(match.end()).text
    return [SubStep(text=part.text, gesture="drag", targets=(need(part, start), need(part, end)))]
