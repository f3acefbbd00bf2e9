"""An instruction in English -> sub-steps, each of them one action.

``click Name, type "Ada" into it, then press Enter`` names what to do in order, and every step is either a gesture at
something that a pointing model will find, or needs no point at all. The grammar is small on purpose: it reads the forms
below and rejects, with a hint, what is ambiguous or unsupported (see ``conditions.py``).

Quoted text is taken as it is: ``type "first, then second"`` is one step. Any pair of quotes will do, and ``{{SECRET}}``
placeholders are never looked into. Outside of quotes, a comma or "and" ends a step only if a verb with an object
follows, so ``click Save and Close`` is one target; ``then``, ``;`` and a new line always end one.
"""

import itertools
import re
from dataclasses import replace
from typing import cast

from molmo_agent.actions import Direction
from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.conditions import begins_here, refuse_conditions
from molmo_agent.policies.instructions.counts import COUNT, number, read_times
from molmo_agent.policies.instructions.keys import MODIFIERS, read_chord, read_modifiers, signs_that_are_keys
from molmo_agent.policies.instructions.pressing import read_keys, refuse_chord
from molmo_agent.policies.instructions.quoting import KEY, Part, mask_quotes
from molmo_agent.policies.instructions.substep import Gesture, SubStep, is_field

__all__ = ["SubStep", "split_instruction"]

_PRESS = r"press|hit|push"
_HOLD = r"long[- ]?press|press and hold|tap and hold|touch and hold|click and hold"
_CLICK = (
    r"left[- ]?click|click|tap|touch|select|choose|pick|tick|untick|check|uncheck|toggle|activate|open|expand|collapse"
    r"|focus|enable|disable|turn on|turn off|switch on|switch off|switch to|go to"
)
# Words that a pointing model is asked with as they stand: "close" is part of what is looked for.
_WHOLE = r"close|minimi[sz]e|maximi[sz]e"

# (verb, what it does); the first that fits decides.
_VERBS: tuple[tuple[str, str], ...] = (
    (r"double[- ]?(?:click|tap)", "double_click"),
    (r"triple[- ]?click", "triple_click"),
    (r"(?:right|secondary)[- ]?click", "right_click"),
    (r"middle[- ]?click", "middle_click"),
    (_HOLD, "long_press"),
    (r"hover|move (?:the )?(?:mouse|pointer|cursor)", "move"),
    (r"drag and drop|drag|move", "drag"),
    (r"scroll|swipe", "scroll"),
    (r"type in|type|enter|write|input|paste", "type"),
    (r"fill in|fill out|fill", "fill"),
    (r"set", "set"),
    (_PRESS, "press"),
    (r"wait|pause|sleep", "wait"),
    (r"launch", "open_app"),
    (r"go back", "back"),
    (r"go home|go to the home screen", "home"),
    (r"point to|point at|point out|point|where is|where are|locate|find|show me", "point"),
    (_CLICK, "click"),
    (_WHOLE, "whole"),
)
_VERB = re.compile("|".join(f"(?P<{does}>(?:{verb})(?![\\w+]))" for verb, does in _VERBS), re.IGNORECASE)
_POLITE = re.compile(
    r"(?:(?:please|kindly|now|first|firstly|next|finally|lastly|also|just|simply|afterwards?|after that|and|then"
    r"|(?:can|could|would) you|go ahead and|I (?:want|need|would like) you to|I['’]d like you to)(?!\w)[\s,:]*){1,6}",
    re.IGNORECASE,
)
# "Ctrl-click", "shift + double-click".
_WITH_KEYS = re.compile(rf"({MODIFIERS})(?:\s*[+-]\s*|\s+)(?=(?:\w+[- ])?click)", re.IGNORECASE)
# "Hold ctrl and click A", "click A while holding ctrl".
_HOLDING = re.compile(
    rf"(?:press\s+and\s+)?hold(?:ing)?(?:\s+down)?\s+(?:the\s+)?({MODIFIERS})(?:\s+keys?)?(?:\s+down)?", re.IGNORECASE
)
_HOLD_AND = re.compile(rf"{_HOLDING.pattern}[\s,]+(?:(?:and|then|while)\s+)*(?=\S)", re.IGNORECASE)
_WHILE_HOLDING = re.compile(
    rf"[\s,]+(?:(?:while|whilst)\s+)?(?:holding|pressing)(?:\s+down)?\s+(?:the\s+)?({MODIFIERS})(?:\s+keys?)?$",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^[ \t]*(?:\d{1,2}[.)]|[-*•])\s", re.MULTILINE)
# Longer than any real instruction; bounds the time of repeated searches.
MAX_CHARACTERS = 20_000
MAX_WAIT_S = 3600
MAX_BLANKS = 200
_GAP = re.compile(rf"\s{{{MAX_BLANKS + 1}}}")
_EXAMPLE = 'say for example: click Name, type "Ada", then press Enter'


def split_instruction(text: str) -> tuple[SubStep, ...]:
    """Split an instruction into sub-steps, in order.

    Without a verb of the grammar, the whole text names one thing to click: ``the Submit button``.

    Raises:
        UsageError: the text contains no action, or an ambiguous part.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"expected an instruction of at most {MAX_CHARACTERS} characters, got {len(text)}")
    mask, quotes = mask_quotes(text, frozenset(signs_that_are_keys(text)))
    if _GAP.search(mask):
        raise UsageError(f"expected words, got more than {MAX_BLANKS} blanks in a row outside of quotes")
    # The numbers and dashes of a list are not words.
    whole = Part(text, _BULLET.sub(lambda bullet: " " * len(bullet[0]), mask), quotes)
    steps: list[SubStep] = []
    for part in _cut_into_parts(whole):
        after_keys = bool(steps) and steps[-1].gesture == "key"
        steps += _resolve_it(_read_part(part, after_keys=after_keys), steps)
    for step, following in itertools.pairwise(steps):
        if step.value in ("ctrl", "shift", "alt", "cmd") and step.gesture == "key" and following.targets:
            key, target = step.value, following.targets[0]
            raise UsageError(
                f"{step.text!r} releases the key before {following.text!r}; "
                f"to hold it meanwhile, say {key}-click {target}"
            )
    if not steps:
        raise UsageError(f"expected something to do, got {text.strip()[:60]!r}; {_EXAMPLE}")
    return tuple(steps)


def _resolve_it(new: list[SubStep], before: list[SubStep]) -> list[SubStep]:
    """Replace "it" by the last target."""
    antecedent = [target for step in before for target in step.targets][-1:]
    new_steps = []
    for step in new:
        targets = []
        for target in step.targets:
            if target.lower() in ("it", "this", "that"):
                if not antecedent:
                    raise UsageError(f"{step.text!r}: it is not clear what {target!r} stands for; name it")
                target = antecedent[-1]
            targets.append(target)
            antecedent = [target]
        new_steps.append(replace(step, targets=tuple(targets)))
    return new_steps


_STRONG = r"\s*[;\n]+\s*|[,.]?\s+(?:and\s+)?then(?!\w)[\s,:]*"
_WEAK = rf"\s*,\s*(?:and\s+)?|\s+and\s+(?:also\s+)?|\.\s+|\s+\d{{1,2}}[.)]\s+|(?<={KEY})\s+"
_SEPARATOR = re.compile(f"(?P<strong>{_STRONG})|(?P<weak>{_WEAK})", re.IGNORECASE)


# A part of these characters alone is empty.
_NO_WORDS = " \t\r\n.,;:!?-"


def _cut_into_parts(whole: Part) -> list[Part]:
    parts, start, position = [], 0, 0
    while separator := _SEPARATOR.search(whole.mask, position):
        position = separator.end()
        # "First, click A": the comma belongs to the word before it.
        before = whole.mask[start : separator.start()].strip() if separator.start() - start < 40 else "-"
        only_polite = _POLITE.fullmatch(before)
        if _HOLDING.fullmatch(before):
            continue
        if separator["strong"] is None and (only_polite or not _begins_a_step(whole.mask, position)):
            continue
        parts.append(whole.cut(start, separator.start()))
        start = position
    parts.append(whole.cut(start))
    return [_trim(part) for part in parts if part.mask.strip(_NO_WORDS)]


def _begins_a_step(mask: str, position: int) -> bool:
    """Tell whether a verb with something after it stands there: "and Close" may be the end of a button's name."""
    polite = _POLITE.match(mask, position)
    verb = _VERB.match(mask, polite.end() if polite else position)
    if verb is None:
        return bool(_WITH_KEYS.match(mask, position)) or begins_here(mask, position)
    return verb.lastgroup in ("wait", "back", "home") or re.match(r"\s+[^\s,;.]", mask[verb.end() :]) is not None


def _trim(part: Part) -> Part:
    """Take "please" and "next" off the front, unless they are all there is or part of a name."""
    polite = _POLITE.match(part.mask)
    if polite is None or polite.end() == len(part.mask):
        return part
    sure = re.search(r"please|,\s*$", polite[0], re.IGNORECASE)
    return part.cut(polite.end()) if sure or _VERB.match(part.mask, polite.end()) else part


def _read_part(part: Part, *, after_keys: bool = False) -> list[SubStep]:
    if keys := _WITH_KEYS.match(part.mask) or _HOLD_AND.match(part.mask):
        return _hold(part, read_modifiers(keys[1]), _read_part(part.cut(keys.end())))
    if keys := _WHILE_HOLDING.search(part.sentence().mask):
        return _hold(part, read_modifiers(keys[1]), _read_part(part.cut(0, keys.start())))
    verb = _VERB.match(part.mask)
    refuse_conditions(part, verb.end() if verb else None)
    if verb is None:
        chords = read_keys(part)
        if chords and (after_keys or any(len(chord) > 1 for chord in chords)):
            return _press(part, chords)
        return _read_pointing(part, part.sentence(), "click")
    if (list_match := _OF_LIST.fullmatch(part.sentence().mask)) and (names := _read_list(part.sentence(), list_match)):
        return names
    does, rest = cast(str, verb.lastgroup), part.cut(verb.end())
    match does:
        case "type":
            return _read_type(part, rest)
        case "fill" | "set":
            return _read_fill(part, rest, "with" if does == "fill" else "to")
        case "press":
            chords = read_keys(rest)
            return _press(part, chords) if chords else _read_pointing(part, rest.sentence(), "click")
        case "scroll":
            return _read_scroll(part, rest.sentence(), swipe=verb[0].lower() == "swipe")
        case "wait":
            return _read_wait(part, rest.sentence())
        case "drag":
            return _read_drag(part, rest.sentence())
        case "open_app":
            name = re.fullmatch(r"(?:the\s+)?(.+?)(?:\s+(?:app|application|program))?", rest.sentence().mask, re.I)
            value = rest.cut(*name.span(1)) if name else rest
            return [SubStep(text=part.text, gesture="open_app", value=_need(part, value.quoted() or value.text))]
        case "back" | "home":
            return [SubStep(text=part.text, gesture="back" if does == "back" else "home")]
        case "whole":
            return _read_pointing(part, part.sentence(), "click")
        case _:
            return _read_pointing(part, rest.sentence(), cast(Gesture, does))


_OF_LIST = re.compile(
    r"(?:select|choose|pick)\s+(?P<names>.+?)(?P<where>\s+(?:from|in)\s+the\s+(?:\w+\s+){0,2}list(?:\s?box)?)", re.I
)
_COMMA = re.compile(r"\s*,\s*(?:and\s+)?|\s+and\s+", re.IGNORECASE)


def _read_list(part: Part, match: re.Match[str]) -> list[SubStep]:
    """Read ``select A, B and C from the list``: the others are added to the first. Nothing where it is one name.

    Without a comma "and" may be a part of a name, unless all names are in quotes.
    """
    names, edges = part.cut(*match.span("names")), [0]
    for comma in _COMMA.finditer(names.mask):
        edges += comma.span()
    parts = [names.cut(*span) for span in zip(edges[::2], [*edges[1::2], len(names.mask)], strict=True)]
    if len(parts) == 1 or not ("," in names.mask or all(name.quoted() is not None for name in parts)):
        return []
    where = part.cut(*match.span("where")).text
    adding = SubStep(text=part.text, gesture="click", held=("ctrl_or_cmd",))
    steps = [replace(adding, targets=(f"{_need(part, name.text)} {where}",)) for name in parts]
    return [replace(steps[0], held=()), *steps[1:]]


def _need(part: Part, value: str) -> str:
    if not value:
        raise UsageError(f"{part.text!r} does not say what; {_EXAMPLE}")
    return value


_PREPOSITION = re.compile(r"(?:on|at|onto|over|to)\s+", re.IGNORECASE)
_BUTTON = re.compile(r"\s+(?:with|using) the (right|middle|left)(?: mouse)? button$", re.IGNORECASE)


def _read_pointing(part: Part, rest: Part, gesture: Gesture) -> list[SubStep]:
    rest, times = read_times(rest)
    if gesture == "click" and (button := _BUTTON.search(rest.mask)):
        rest = rest.cut(0, button.start())
        button_name = button[1].lower()
        gesture = "right_click" if button_name == "right" else "middle_click" if button_name == "middle" else "click"
    if rest.text != part.text and (preposition := _PREPOSITION.match(rest.mask)):
        rest = rest.cut(preposition.end())
    refuse_chord(part, rest)
    return [SubStep(text=part.text, gesture=gesture, targets=(_need(part, rest.text),))] * times


_WHAT = re.compile(
    r"(?:the\s+)?(?:following\s+)?(?:text|words?|string|phrase|letters?|numbers?|name)[\s:]+(?=\0)", re.I
)
_INTO = re.compile(r"\s+(?:into|in|to|inside|on|at)(?:\s+to)?\s+", re.IGNORECASE)
# Between unquoted words only "into" is surely no part of the text; "in" needs something that is clearly a field.
_LOOSE_INTO = re.compile(
    r"\s+(?:into|inside)\s+(?=\S)|\s+in\s+(?=(?:the\s|\0)|\S+(?:\s\S+){0,3}\s(?:field|box|input|bar|area)\s*$)",
    re.IGNORECASE,
)
# What stands between two fields: with "Ada", and Surname with ...
_NEXT_PAIR = re.compile(r"(?<=\0)\s*(?:,\s*(?:and\s+)?|\s+and\s+)", re.IGNORECASE)
_HERE = re.compile(r"(?:it|there|here|the focused field)?", re.IGNORECASE)


def _read_type(part: Part, rest: Part) -> list[SubStep]:
    if not rest.text and part.mask.lower().startswith("enter"):
        return [SubStep(text=part.text, gesture="key", value="enter")]
    if noun := _WHAT.match(rest.mask):
        rest = rest.cut(noun.end())
    target: Part | None = None
    if 0 in rest.quotes:
        text, tail = rest.text[1 : rest.quotes[0] - 1], rest.cut(rest.quotes[0]).sentence()
        if tail.mask not in ".!?" and not _HERE.fullmatch(tail.mask):
            into = _INTO.match(" " + tail.mask)
            if into is None:
                raise UsageError(f"{part.text!r}: expected 'into' and a field after the quoted text, got {tail.text!r}")
            target = tail.cut(into.end() - 1)
    else:
        matches = list(_LOOSE_INTO.finditer(rest.mask))
        if len(matches) > 1:
            raise UsageError(f"{part.text!r}: it is not clear where the text ends; put it in quotes")
        if matches:
            target = rest.cut(matches[0].end()).sentence()
            rest = rest.cut(0, matches[0].start())
        else:
            rest = rest.sentence()
        text = rest.text
    typing = SubStep(text=part.text, gesture="type", value=_need(part, text))
    if target is None or _HERE.fullmatch(target.mask):
        return [typing]
    return [*_read_pointing(part, target, "click"), typing]


def _read_fill(part: Part, rest: Part, link: str) -> list[SubStep]:
    """Read ``fill in Name with "Ada"`` and ``set Name to "Ada"``, also several of them joined by commas or "and"."""
    example = 'say for example: fill in Name with "Ada"'
    # Between two pairs there is a quoted text at the left and one more link at the right.
    cuts = [m for m in _NEXT_PAIR.finditer(rest.mask) if re.search(rf"\s{link}\s", rest.mask[m.end() :], re.IGNORECASE)]
    edges = [0, *(edge for match in cuts for edge in match.span()), len(rest.text)]
    steps: list[SubStep] = []
    for pair in (rest.cut(*span) for span in zip(edges[::2], edges[1::2], strict=True)):
        links = list(re.finditer(rf"\s+{link}\s+", pair.mask, re.IGNORECASE))
        if not links:
            raise UsageError(f"{part.text!r} does not say {link} what; {example}")
        if len(links) > 1:
            raise UsageError(f"{part.text!r}: it is not clear where the text begins; put it in quotes, {example}")
        target, text = pair.cut(0, links[0].start()), pair.cut(links[0].end()).sentence()
        value = text.quoted()
        if link == "to" and value is None and text.text == text.mask and not is_field(target.text):
            raise UsageError(
                f"{part.text!r}: only fields can be set; put the text in quotes: set {target.text} to "
                f'"{text.text}", or name the clicks one by one'
            )
        value = _need(part, text.text) if value is None else value
        steps += _read_pointing(part, target, "click")
        steps.append(SubStep(text=part.text, gesture="type", value=value, replace=True))
    return steps


def _press(part: Part, chords: list[tuple[str, ...]]) -> list[SubStep]:
    return [SubStep(text=part.text, gesture="key", value=" ".join(chord)) for chord in chords]


def _hold(part: Part, modifiers: tuple[str, ...], steps: list[SubStep]) -> list[SubStep]:
    """Hold modifiers during clicks, or add them to a chord: ``hold ctrl and press s``."""
    if len(steps) == 1 and steps[0].targets and re.match(_PRESS, steps[0].text, re.IGNORECASE):
        steps = _press(part, [read_chord("+".join((*modifiers, *steps[0].targets)))[len(modifiers) :]])
    if all(step.gesture.endswith("click") for step in steps):
        return [replace(step, text=part.text, held=modifiers) for step in steps]
    if all(step.gesture == "key" for step in steps):
        return [replace(step, text=part.text, value=" ".join((*modifiers, step.value))) for step in steps]
    raise UsageError(f"{part.text!r}: keys can be held during clicks only")


_WAY = r"(up|down|left|right)(?:wards?)?"
_SCROLL = re.compile(
    rf"(?:(?P<before>.*?)\s+)?{_WAY}(?:\s+(?:by\s+)?(?P<count>{COUNT})(?:\s+(?:times?|notch(?:es)?|steps?|clicks?|lines?))?"
    r"|\s+a\s+(?:bit|little))?(?:\s+(?:in|on|over|inside|within)\s+(?P<after>.+))?",
    re.IGNORECASE | re.DOTALL,
)
_OPPOSITE: dict[str, Direction] = {"up": "down", "down": "up", "left": "right", "right": "left"}
DEFAULT_NOTCHES = 3


def _read_scroll(part: Part, rest: Part, *, swipe: bool) -> list[SubStep]:
    match = _SCROLL.fullmatch(rest.mask)
    if match is None or (match["before"] and match["after"]):
        raise UsageError(f"{part.text!r}: expected a direction; say for example: scroll down 5 in the list")
    way = match[2].lower()
    notches = number(match["count"]) if match["count"] else DEFAULT_NOTCHES
    if notches != int(notches) or notches < 1:
        raise UsageError(f"{part.text!r}: expected a whole number of notches, 1 or more, got {match['count']}")
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
    rf"(?:for\s+)?(?:(?P<count>{COUNT})\s*(?P<unit>seconds?|secs?|s|milliseconds?|ms|minutes?|mins?|m)|(?:a\s+)?(?:moment|bit|little))?",
    re.IGNORECASE,
)


def _read_wait(part: Part, rest: Part) -> list[SubStep]:
    match = _WAIT.fullmatch(rest.mask)
    if match is None:
        raise UsageError(f"{part.text!r}: can only wait for a time; say for example: wait 2 seconds")
    unit = (match["unit"] or "s").lower()
    factor = 0.001 if unit.startswith(("ms", "milli")) else 60.0 if unit.startswith("m") else 1.0
    seconds = number(match["count"]) * factor if match["count"] else 1.0
    if seconds > MAX_WAIT_S:
        raise UsageError(f"{part.text!r}: expected at most {MAX_WAIT_S / 60:g} minutes, got {seconds / 60:g}")
    return [SubStep(text=part.text, gesture="wait", amount=seconds)]


_TO = re.compile(
    r"\s+(?:and\s+drop\s+(?:it\s+)?)?(?:to|onto|on\s+to|into|over|over\s+to)\s+|\s+and\s+drop\s+(?:it\s+)?(?:on|in)\s+",
    re.I,
)


def _read_drag(part: Part, rest: Part) -> list[SubStep]:
    if start := re.match(r"from\s+", rest.mask, re.IGNORECASE):
        rest = rest.cut(start.end())
    if (match := _TO.search(rest.mask)) is None:
        raise UsageError(f"{part.text!r} does not say where to; say for example: drag the file to Trash")
    ends = (rest.cut(0, match.start()).text, rest.cut(match.end()).text)
    return [SubStep(text=part.text, gesture="drag", targets=(_need(part, ends[0]), _need(part, ends[1])))]
