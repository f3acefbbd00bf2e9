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
from molmo_agent.policies.instructions.counts import read_several, read_times, times_last, without_again
from molmo_agent.policies.instructions.doubts import why_misread
from molmo_agent.policies.instructions.keys import MODIFIERS, read_modifiers, signs_that_are_keys
from molmo_agent.policies.instructions.moving import read_drag, read_scroll, read_wait
from molmo_agent.policies.instructions.orders import refusal, refuse_aside, refuse_no_order
from molmo_agent.policies.instructions.places import PLACE, behind_its_verb
from molmo_agent.policies.instructions.plain_names import is_label_of_gesture
from molmo_agent.policies.instructions.pressing import (
    EFFECT,
    read_gesture_as_means,
    read_keys,
    read_means,
    read_pressed,
)
from molmo_agent.policies.instructions.quoting import KEY, Part, mask_quotes
from molmo_agent.policies.instructions.reading import (
    EXAMPLE,
    OF_LIST,
    hold_keys,
    need,
    press_keys,
    read_back,
    read_clear,
    read_fill,
    read_list,
    read_pointing,
    read_put,
    read_type,
)
from molmo_agent.policies.instructions.refused_words import begins_refused
from molmo_agent.policies.instructions.searching import read_address, read_search
from molmo_agent.policies.instructions.substep import Gesture, SubStep
from molmo_agent.policies.instructions.verbs import POLITE, VERB

__all__ = ["SubStep", "split_instruction"]

# Alone and in a capital letter they name an entry of a menu: "click File, then Open".
_LABEL_VERB = re.compile(
    r"(?:Open|Close|Select|Choose|Check|Enable|Disable|Expand|Collapse|Find|Move|Paste|Set|Launch)"
)
# "Can you click Save?" is no question.
_REQUEST = re.compile(r"\W*(?:please\W+)?(?:can|could|would)\s+you(?!\w)", re.IGNORECASE)
_GREETING = re.compile(r"(?:hi|hey|hello)(?:\s+there)?\s*[,.!]\s+(?=\S)", re.IGNORECASE)
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
    rf"[\s,]+(?:(?:(?:while|whilst)\s+)?(?:holding|pressing)(?:\s+down)?\s+(?:the\s+)?({MODIFIERS})(?:\s+keys?)?"
    rf"|with\s+(?:the\s+)?({MODIFIERS})(?:\s+key)?\s+(?:held(?:\s+down)?|pressed))$",
    re.IGNORECASE,
)
_HELD_ALONE = re.compile(rf"with\s+(?:the\s+)?({MODIFIERS})(?:\s+key)?\s+(?:held(?:\s+down)?|pressed)", re.IGNORECASE)
_WITH_HELD = re.compile(rf"{_HELD_ALONE.pattern}[\s,]+(?=\S)", re.IGNORECASE)
# "The Cut and Paste button" is one name; "the file and close tab" may be two steps.
_NAME_WITH_VERB = re.compile(
    r"(?:the|a|an|this|that)\s+(?:[A-Z][\w-]*\s+and\s+[A-Z][\w-]*\s+[a-z]+(?!\s+[a-z]|\w)"
    r"|[\w-]+\s+and\s+(?!press|click|tap|hit|push|touch|select|choose|pick|open|hold|hover)[\w-]+\s+"
    r"(?:button|icon|command|tool)(?!\w))"
)
# "Swipe down from the top edge to the middle".
_FROM_TO = re.compile(r"(?:(?:up|down|left|right)\s+)?(?P<ends>from\s.*\sto\s)", re.IGNORECASE)
_ON_OR_OFF = re.compile(r"\s+(?:on|off)\W*$", re.IGNORECASE)
# "Select May from the month list and 2027 from the year list".
_FROM_TWO = re.compile(
    r"((?:(?!\sfrom\s).)+\sfrom\s+the\s(?:(?!\sfrom\s).)+)\s+and\s+((?:(?!\sfrom\s).)+\sfrom\s+the\s.+)", re.I
)
# "Type Ada into the Name field, then Berg into the Town field".
_TEXT_AGAIN = re.compile(
    r"(?!(?:the|an?|my|on|in|into|to)\s)[^,;]{1,60}?\s(?:in|into)\s+the\s(?:[\w-]+\s){0,3}(?:[\w-]+\s)?(?:field|box|bar)\W*",
    re.IGNORECASE,
)
_BULLET = re.compile(r"^[ \t]*(?:(?:step\s)?\d{1,2}[.):]|[-*•])\s", re.MULTILINE | re.IGNORECASE)
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
    if (greeting := _GREETING.match(whole.mask)) and _begins_a_step(whole.mask, greeting.end()):
        whole = whole.cut(greeting.end())
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
    _refuse_held_on(whole, parts)
    steps: list[SubStep] = []
    for part in parts:
        new = _resolve_it(_read_part(part, steps[-1] if steps else None), steps)
        # "Search for cats and press Enter": once is enough.
        is_entered = len(steps) > 2 and steps[-3].text == steps[-1].text and steps[-2].replace
        steps += [] if is_entered and [(step.gesture, step.value) for step in new] == [("key", "enter")] else new
    if steps and steps[-1].gesture == "type" and text[-1] in ",;:" and whole.mask[-1] == text[-1]:
        raise UsageError(f"{steps[-1].text!r}: put the text in quotes, with {text[-1]!r} if it belongs to it")
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


def _refuse_held_on(whole: Part, parts: list[Part]) -> None:
    """Refuse ``hold ctrl, click A and click B``: whether the key is held for B is not said.

    Raises:
        UsageError: only a comma or "and" stands between such clicks.
    """
    end = 0
    for part, following in itertools.pairwise(parts):
        end = whole.mask.index(part.mask, end) + len(part.mask)
        joint = whole.mask[end : whole.mask.index(following.mask, end)]
        verb = VERB.match(following.mask)
        if (
            _HOLD_AND.match(part.mask)
            and verb
            and verb.lastgroup == "click"
            and re.fullmatch(r"[\s,]*(?:and)?\s*", joint)
        ):
            raise refusal(
                following,
                verb[0],
                f"it is not clear what is held; say for example: ctrl-click A, then {following.text}",
            )


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


# "Type "Ada", Enter".
_KEY_AFTER_TEXT = re.compile(r"(?:enter|return|tab|escape|esc)(?=\s*(?:[.,;]|$|\s(?:and|then)\s))", re.IGNORECASE)
# Keys that have no button of that name: "backspace 3 times".
_BARE_KEYS = {("tab",), ("backspace",), ("escape",), ("space",), ("pageup",), ("pagedown",)}
_WITHOUT_FAVOUR = ("type", "fill", "set", "put", "search", "address", "wait")
_FOR_ME = re.compile(r"\s+for\s+me$")
_STRONG = r"\s*[;\n]+\s*|[,.]?\s+(?:and\s+)?then(?!\w)[\s,:]*"
_STEP_NUMBER = r"(?:step\s+\d{1,2}[.):]\s+)?"
_WEAK = rf"\s*,\s*(?:and\s+)?{_STEP_NUMBER}|\s+and\s+(?:also\s+)?|\.\s+{_STEP_NUMBER}"
_WEAK += rf"|\s+(?:step\s+)?\d{{1,2}}[.):]\s+|(?<={KEY})\s+"
_SEPARATOR = re.compile(f"(?P<strong>{_STRONG})|(?P<weak>{_WEAK})", re.IGNORECASE)


# A part of these characters alone is empty.
_NO_WORDS = " \t\r\n.,;:!?-"


def _cut_into_parts(whole: Part) -> list[Part]:
    parts, start, position = [], 0, 0
    in_names = {place for name in _NAME_WITH_VERB.finditer(whole.mask) for place in range(*name.span())}
    while separator := _SEPARATOR.search(whole.mask, position):
        position = separator.end()
        # "First, click A": the comma belongs to the word before it.
        before = whole.mask[start : separator.start()].strip() if separator.start() - start < 40 else "-"
        is_key = whole.mask[separator.start() - 1 : separator.start()] == "\0" and _KEY_AFTER_TEXT.match(
            whole.mask, position
        )
        only_polite = POLITE.fullmatch(before)
        if separator.start() in in_names:
            continue
        if (
            _HOLDING.fullmatch(before)
            or _HELD_ALONE.fullmatch(before)
            or _is_place(whole.mask[start:], separator.start() - start)
        ):
            continue
        if separator["strong"] is None and (only_polite or not (is_key or _begins_a_step(whole.mask, position))):
            continue
        parts.append(whole.cut(start, separator.start()))
        start = position
    parts.append(whole.cut(start))
    return [_trim(part) for part in parts if part.mask.strip(_NO_WORDS)]


def _is_place(mask: str, end: int) -> bool:
    """Tell whether all that stands before a position is a place: "in the File menu, click Print"."""
    polite = POLITE.match(mask)
    place = PLACE.match(mask, polite.end() if polite else 0)
    return place is not None and place.end() == end


def _begins_a_step(mask: str, position: int) -> bool:
    """Tell whether a verb with something after it stands there: "and Close" may be the end of a button's name."""
    polite = POLITE.match(mask, position)
    position = polite.end() if polite else position
    if place := PLACE.match(mask, position):
        position = len(mask) - len(mask[place.end() :].lstrip(" \t\r\n,:"))
    verb = VERB.match(mask, position)
    if verb is None:
        return bool(_WITH_KEYS.match(mask, position)) or begins_refused(mask, position)
    return verb.lastgroup in ("wait", "back", "home") or re.match(r"\s+[^\s,;.]", mask[verb.end() :]) is not None


def _trim(part: Part) -> Part:
    """Take "please" and "next" off, and "thanks", unless they are all there is or part of a name."""
    if thanks := _THANKS.search(part.mask):
        part = part.cut(0, thanks.start())
    polite = POLITE.match(part.mask)
    if polite is None or polite.end() == len(part.mask):
        return part
    sure = re.search(r"please|,\s*$", polite[0], re.IGNORECASE)
    return part.cut(polite.end()) if sure or VERB.match(part.mask, polite.end()) else part


def _read_part(part: Part, before: SubStep | None = None) -> list[SubStep]:
    """Return the steps of one part; ``before`` is the step that it follows."""
    if place := PLACE.match(part.mask):
        step = _trim(part.cut(place.end()))
        if another := PLACE.match(step.mask):
            raise refusal(part, another[0], "name one place before the verb")
        # What is refused without the place is refused with it, wherever it ends.
        _read_part(step)
        if _begins_a_step(step.mask, 0):
            verb = VERB.match(step.mask)
            does = cast(str, verb.lastgroup) if verb else ""
            return _read_part(behind_its_verb(step, part.cut(0, place.end()), does))
    if keys := _WITH_KEYS.match(part.mask) or _HOLD_AND.match(part.mask) or _WITH_HELD.match(part.mask):
        rest = part.cut(keys.end())
        if clicking := re.match(r"(?:you\s+)?clicking\s+(?=\S)", rest.mask, re.IGNORECASE):
            rest = Part("click", "click", {}).then(rest.cut(clicking.end()))
        return hold_keys(part, read_modifiers(keys[1]), _read_part(rest))
    if keys := _WHILE_HOLDING.search(part.sentence().mask):
        return hold_keys(part, read_modifiers(keys[1] or keys[2]), _read_part(part.cut(0, keys.start())))
    effect, chords = read_means(part.sentence())
    if effect:
        # "Select everything with ctrl+a" is one key.
        does = "key" if effect.mask[:6].lower() == "select" else "press"
        word = EFFECT.match(effect.mask)
        refuse_no_order(effect, word.end() if word else len(effect.mask.split()[0]), does)
        return press_keys(part, chords)
    aim, gesture = read_gesture_as_means(part)
    if aim and gesture:
        refuse_no_order(aim, len(aim.text.split()[0]), "key")
        return _read_part(gesture)
    only_a_text = before is not None and before.gesture == "type" and not _begins_a_step(part.mask, 0)
    if only_a_text and _TEXT_AGAIN.fullmatch(part.mask) and not VERB.match(part.mask):
        return _read_part(Part("type", "type", {}).then(part))
    is_label = _LABEL_VERB.fullmatch(part.mask) or is_label_of_gesture(part.mask)
    verb = None if is_label else VERB.match(part.mask)
    refuse_no_order(part, verb.end() if verb else None, cast(str, verb.lastgroup) if verb else "")
    if verb is None:
        return _read_name(part, before)
    favour = _FOR_ME.search(part.sentence().mask)
    if favour and (verb.lastgroup not in _WITHOUT_FAVOUR or part.mask[favour.start() - 1] == "\0"):
        # "Click Save for me", but not "type wait for me".
        part = part.cut(0, favour.start())
    if (list_match := OF_LIST.fullmatch(part.sentence().mask)) and (names := read_list(part.sentence(), list_match)):
        return names
    return _read_verb(part, verb)


def _read_name(part: Part, before: SubStep | None) -> list[SubStep]:
    """Read a part without a verb: ``ctrl+s``, ``the Save button``, and ``on Open`` after a click."""
    chords = read_keys(part)
    after_keys = before is not None and (
        before.gesture == "key" or (before.gesture == "type" and _KEY_AFTER_TEXT.match(part.mask) is not None)
    )
    if chords and (after_keys or any(len(chord) > 1 for chord in chords)):
        return press_keys(part, chords)
    if len(chords) > 1 and set(chords) <= _BARE_KEYS:
        # "Backspace 3 times".
        return press_keys(part, chords)
    is_after_bare_key = before is not None and _KEY_AFTER_TEXT.fullmatch(before.text) is not None
    if before and (is_after_bare_key or before.gesture not in ("click", "key", "open_app", "wait", "back", "home")):
        raise refusal(part, part.text, f"say what to do with it, as in {before.text!r}")
    name = part.sentence()
    if before and (preposition := re.match(r"(?:on|to)\s+", name.mask)):
        name = name.cut(preposition.end())
    _refuse_misread(part, name, "click", "")
    return read_pointing(part, name, "click")


def _read_verb(part: Part, verb: re.Match[str]) -> list[SubStep]:
    does, rest = cast(str, verb.lastgroup), part.cut(verb.end())
    match does:
        case "type":
            return read_type(part, rest)
        case "fill" if 0 in rest.quotes and re.match(r"\0+\s+(?:in|into|as|for)\s", rest.mask):
            return read_put(part, rest)
        case "fill" | "set":
            return read_fill(part, rest, "with" if does == "fill" else "to")
        case "put":
            return read_put(part, rest)
        case "address":
            return read_address(part, rest.sentence("."))
        case "use":
            if chords := read_pressed(part, rest):
                return press_keys(part, chords)
            raise refusal(part, verb[0], "expected keys: use ctrl+s; or name what is clicked")
        case "search":
            return read_search(part, rest.sentence("."))
        case "clear":
            return read_clear(part, rest.sentence())
        case "press" if chords := read_pressed(part, rest):
            return press_keys(part, chords)
        case "scroll" if verb[0].lower() != "scroll" and (ends := _FROM_TO.match(rest.mask)):
            ends_of_swipe = rest.cut(ends.start("ends")).sentence()
            _refuse_misread(part, ends_of_swipe, "drag", verb[0])
            return read_drag(part, ends_of_swipe)
        case "scroll":
            return read_scroll(part, rest.sentence(), swipe=verb[0].lower() != "scroll")
        case "wait":
            return read_wait(part, rest.sentence())
        case "back" | "home":
            return read_back(part, rest.sentence(), cast(Gesture, does))
    _refuse_misread(part, rest, does, verb[0])
    match does:
        case "drag":
            return read_drag(part, rest.sentence())
        case "open_app":
            name = re.fullmatch(r"(?:the\s+)?(.+?)(?:\s+(?:app|application|program))?", rest.sentence().mask, re.I)
            value = rest.cut(*name.span(1)) if name else rest
            return [SubStep(text=part.text, gesture="open_app", value=need(part, value.quoted() or value.text))]
        case "whole":
            return read_pointing(part, part.sentence(), "click")
        case "click" if pair := _FROM_TWO.fullmatch(rest.sentence().mask):
            choices = [rest.cut(*pair.span(number)) for number in (1, 2)]
            return [step for choice in choices for step in read_pointing(part, choice, "click")]
        case "click" if verb[0].lower() in ("turn", "switch") and not _ON_OR_OFF.search(rest.mask):
            raise refusal(part, rest.text, "name what is switched, and nothing behind 'on' or 'off'")
        case "click" if (switch := _ON_OR_OFF.search(rest.mask)) and verb[0].lower() in ("turn", "switch"):
            return read_pointing(part, rest.cut(0, switch.start()), "click")
        case _:
            gesture = "click" if does == "press" else does
            return read_pointing(part, rest.sentence(), cast(Gesture, gesture))


def _refuse_misread(part: Part, rest: Part, does: str, verb: str) -> None:
    """Refuse what is more than one target: ``the red square and the blue circle``."""
    target = rest.sentence()
    if preposition := re.match(r"(?:on|at|onto|over)\s+", target.mask, re.IGNORECASE):
        target = target.cut(preposition.end())
    target, _ = read_times(times_last(without_again(target)))
    if read_several(target, is_click=does in ("click", "press")):
        return
    # "Select the first three files to move them": what it is good for hides no range.
    purpose = re.search(r"\s(?:in\s+order\s+)?to\s+[a-z]", target.mask)
    for phrase in (target.mask, target.mask[: purpose.start()]) if purpose else (target.mask,):
        words, advice = why_misread(phrase, does, verb)
        if words:
            raise refusal(part, words, advice)
