"""An instruction in English -> sub-steps, each of them one action.

``click Name, type "Ada" into it, then press Enter`` names what to do in order, and every step is either a gesture at
something that a pointing model will find, or needs no point at all. The grammar is small on purpose: it reads the forms
below and rejects, with a hint, what is ambiguous or unsupported (see ``orders.py``).

Quoted text is taken as it is: ``type "first, then second"`` is one step. Any pair of quotes will do, and ``{{SECRET}}``
placeholders are never looked into. Outside of quotes, a comma or "and" ends a step only if a verb with an object
follows, so ``click Save and Close`` is one target; ``then``, ``;`` and a new line always end one.
"""

import itertools
import re
from dataclasses import replace
from typing import cast

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.keys import MODIFIERS, read_modifiers, signs_that_are_keys
from molmo_agent.policies.instructions.orders import refuse_aside, refuse_no_order
from molmo_agent.policies.instructions.plain_names import is_label_of_gesture
from molmo_agent.policies.instructions.pressing import read_keys
from molmo_agent.policies.instructions.quoting import KEY, Part, mask_quotes
from molmo_agent.policies.instructions.reading import (
    EXAMPLE,
    OF_LIST,
    PRESS,
    hold_keys,
    need,
    press_keys,
    read_clear,
    read_drag,
    read_fill,
    read_list,
    read_pointing,
    read_scroll,
    read_type,
    read_wait,
)
from molmo_agent.policies.instructions.refused_words import begins_refused
from molmo_agent.policies.instructions.substep import Gesture, SubStep

__all__ = ["SubStep", "split_instruction"]

_HOLD = (
    r"long[- ]?press|press and hold|tap and hold|touch and hold|click and hold"
    rf"|(?<!press and )(?<!touch and )(?<!click and )(?<!tap and )hold(?: down)?(?=\s+the\s+(?!{MODIFIERS}|key))"
)
_CLICK = (
    r"left[- ]?click|click|tap|touch|select|choose|pick|tick|untick|check|uncheck|toggle|activate|open(?: up)?|expand"
    r"|collapse|focus|enable|disable|turn on|turn off|switch on|switch off|switch to|(?:go|navigate) to"
    r"|(?:put|place) (?:the )?(?:text )?(?:cursor|caret)(?=\s+in)"
    r"|mark(?=\s+the\s(?:[^,;\s]+\s)?(?:check\s?)?box(?!\w|\s+as\s))"
)
# Words that a pointing model is asked with as they stand: "close" is part of what is looked for.
_WHOLE = r"close|dismiss|minimi[sz]e|maximi[sz]e|(?:refresh|reload|pause|mute|unmute)(?=\s+the\s+\S)"
# Only what is called a field: "clear the history" deletes something else.
_CLEAR = (
    r"(?:clear|empty)(?=\s[^,;\n]{1,60}?\s(?:field|text\s?box|(?:search|text|input) box|(?:search|address) bar)(?!\w))"
)

# (verb, what it does); the first that fits decides.
_VERBS: tuple[tuple[str, str], ...] = (
    (r"double[- ]?(?:click|tap)", "double_click"),
    (r"triple[- ]?click", "triple_click"),
    (r"(?:right|secondary)[- ]?click", "right_click"),
    (r"middle[- ]?click", "middle_click"),
    (_HOLD, "long_press"),
    (r"hover(?: the (?:mouse|pointer|cursor))?|move (?:the )?(?:mouse|pointer|cursor)", "move"),
    (r"drag and drop|drag|move", "drag"),
    (r"scroll|swipe", "scroll"),
    (r"type in|type|enter|write|input|paste", "type"),
    (r"fill in|fill out|fill", "fill"),
    (_CLEAR, "clear"),
    (r"set", "set"),
    (PRESS, "press"),
    (r"wait|pause(?!\s+the\s)|sleep", "wait"),
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
    r"|(?:can|could|would) you|go ahead(?: and)?|I (?:want|need|would like) you to|I'd like you to)(?!\w)[\s,:]*){1,6}",
    re.IGNORECASE,
)
# Alone and in a capital letter they name an entry of a menu: "click File, then Open".
_LABEL_VERB = re.compile(
    r"(?:Open|Close|Select|Choose|Check|Enable|Disable|Expand|Collapse|Find|Move|Paste|Set|Launch)"
)
# "Can you click Save?" is no question.
_REQUEST = re.compile(r"\W*(?:please\W+)?(?:can|could|would)\s+you(?!\w)", re.IGNORECASE)
_THANKS = re.compile(r"(?<=[^\s,])(?<!\b[Nn]o)(?<!\b[Nn]o,)[\s,]+(?:please|thanks|thank\s+you)[\s.!]*$")
# The letters of one alphabet in a word of another: "n\u043et" for "not".
_MIXED = re.compile(r"[A-Za-z][\u0370-\u03ff\u0400-\u052f]|[\u0370-\u03ff\u0400-\u052f][A-Za-z]")
# "Ctrl-click", "shift + double-click".
_WITH_KEYS = re.compile(rf"({MODIFIERS})(?:\s*[+-]\s*|\s+)(?=(?:\w+[- ])?click)", re.IGNORECASE)
# "Hold ctrl and click A", "click A while holding ctrl".
_HOLDING = re.compile(
    rf"(?:press\s+and\s+)?hold(?:ing)?(?:\s+down)?\s+(?:the\s+)?({MODIFIERS})(?:\s+keys?)?(?:\s+down)?", re.IGNORECASE
)
_HOLD_AND = re.compile(rf"{_HOLDING.pattern}[\s,]+(?:(?:and|then|while)\s+)*(?!keys?(?!\w))(?=\S)", re.IGNORECASE)
_WHILE_HOLDING = re.compile(
    rf"[\s,]+(?:(?:while|whilst)\s+)?(?:holding|pressing)(?:\s+down)?\s+(?:the\s+)?({MODIFIERS})(?:\s+keys?)?$",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^[ \t]*(?:\d{1,2}[.)]|[-*•])\s", re.MULTILINE)
# Longer than any real instruction; bounds the time of repeated searches.
MAX_CHARACTERS = 20_000
MAX_BLANKS = 200
# What copying leaves around a text: byte order marks, marks of direction, blanks.
_AROUND = " \t\r\n\ufeff\u200b\u200e\u200f\u2060\u00a0"
_GAP = re.compile(rf"\s{{{MAX_BLANKS + 1}}}")


def split_instruction(text: str) -> tuple[SubStep, ...]:
    """Split an instruction into sub-steps, in order.

    Without a verb of the grammar, the whole text names one thing to click: ``the Submit button``.

    Raises:
        UsageError: the text contains no action, or an ambiguous part.
    """
    if len(text) > MAX_CHARACTERS:
        raise UsageError(f"expected an instruction of at most {MAX_CHARACTERS} characters, got {len(text)}")
    text = text.strip(_AROUND)
    mask, quotes = mask_quotes(text, frozenset(signs_that_are_keys(text)))
    if _GAP.search(mask):
        raise UsageError(f"expected words, got more than {MAX_BLANKS} blanks in a row outside of quotes")
    # The numbers and dashes of a list are not words.
    whole = Part(text, _BULLET.sub(lambda bullet: " " * len(bullet[0]), mask), quotes)
    if _REQUEST.match(whole.mask) and whole.mask.endswith("?"):
        whole = whole.cut(0, len(whole.text) - 1)
    if mixed := _MIXED.search(whole.mask):
        around = whole.text[max(0, mixed.start() - 10) : mixed.end() + 10]
        raise UsageError(
            f"{around!r} has letters of two alphabets in one word, which look alike; write it again, or quote it"
        )
    parts = _cut_into_parts(whole)
    if len(parts) > 1 and not _begins_a_step(parts[0].mask, 0):
        rest = whole.mask.strip()[len(parts[0].mask) :]
        refuse_aside(parts[0], before_comma=re.match(r"\s*,\s*(?!(?:and\s+)?then(?!\w))", rest) is not None)
    steps: list[SubStep] = []
    for part in parts:
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
        raise UsageError(f"expected something to do, got {text.strip()[:60]!r}; {EXAMPLE}")
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
        return bool(_WITH_KEYS.match(mask, position)) or begins_refused(mask, position)
    return verb.lastgroup in ("wait", "back", "home") or re.match(r"\s+[^\s,;.]", mask[verb.end() :]) is not None


def _trim(part: Part) -> Part:
    """Take "please" and "next" off, and "thanks", unless they are all there is or part of a name."""
    if thanks := _THANKS.search(part.mask):
        part = part.cut(0, thanks.start())
    polite = _POLITE.match(part.mask)
    if polite is None or polite.end() == len(part.mask):
        return part
    sure = re.search(r"please|,\s*$", polite[0], re.IGNORECASE)
    return part.cut(polite.end()) if sure or _VERB.match(part.mask, polite.end()) else part


def _read_part(part: Part, *, after_keys: bool = False) -> list[SubStep]:
    if keys := _WITH_KEYS.match(part.mask) or _HOLD_AND.match(part.mask):
        return hold_keys(part, read_modifiers(keys[1]), _read_part(part.cut(keys.end())))
    if keys := _WHILE_HOLDING.search(part.sentence().mask):
        return hold_keys(part, read_modifiers(keys[1]), _read_part(part.cut(0, keys.start())))
    is_label = _LABEL_VERB.fullmatch(part.mask) or is_label_of_gesture(part.mask)
    verb = None if is_label else _VERB.match(part.mask)
    refuse_no_order(part, verb.end() if verb else None, cast(str, verb.lastgroup) if verb else "")
    if verb is None:
        chords = read_keys(part)
        if chords and (after_keys or any(len(chord) > 1 for chord in chords)):
            return press_keys(part, chords)
        return read_pointing(part, part.sentence(), "click")
    if (list_match := OF_LIST.fullmatch(part.sentence().mask)) and (names := read_list(part.sentence(), list_match)):
        return names
    does, rest = cast(str, verb.lastgroup), part.cut(verb.end())
    match does:
        case "type":
            return read_type(part, rest)
        case "fill" | "set":
            return read_fill(part, rest, "with" if does == "fill" else "to")
        case "clear":
            return read_clear(part, rest.sentence())
        case "press":
            chords = read_keys(rest)
            return press_keys(part, chords) if chords else read_pointing(part, rest.sentence(), "click")
        case "scroll":
            return read_scroll(part, rest.sentence(), swipe=verb[0].lower() == "swipe")
        case "wait":
            return read_wait(part, rest.sentence())
        case "drag":
            return read_drag(part, rest.sentence())
        case "open_app":
            name = re.fullmatch(r"(?:the\s+)?(.+?)(?:\s+(?:app|application|program))?", rest.sentence().mask, re.I)
            value = rest.cut(*name.span(1)) if name else rest
            return [SubStep(text=part.text, gesture="open_app", value=need(part, value.quoted() or value.text))]
        case "back" | "home":
            return [SubStep(text=part.text, gesture="back" if does == "back" else "home")]
        case "whole":
            return read_pointing(part, part.sentence(), "click")
        case _:
            return read_pointing(part, rest.sentence(), cast(Gesture, does))
