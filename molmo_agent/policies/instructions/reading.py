"""Read one step of an instruction whose verb is known: ``type "Ada" into Name`` -> a click and a text."""

import re
from dataclasses import replace

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.counts import (
    read_several,
    read_times,
    times_last,
    without_again,
)
from molmo_agent.policies.instructions.doubts import CALLED, VALUE_CALLED, why_no_end, why_no_text
from molmo_agent.policies.instructions.keys import read_chord
from molmo_agent.policies.instructions.orders import refusal
from molmo_agent.policies.instructions.pressing import refuse_chord
from molmo_agent.policies.instructions.quoting import Part
from molmo_agent.policies.instructions.substep import Gesture, SubStep, is_field

PRESS = r"press|hit|push"
EXAMPLE = 'say for example: click Name, type "Ada", then press Enter'

OF_LIST = re.compile(
    r"(?:select|choose|pick)\s+(?P<names>.+?)(?P<where>\s+(?:from|in)\s+the\s+(?:\w+\s+){0,2}list(?:\s?box)?)", re.I
)
_COMMA = re.compile(r"\s*,\s*(?:and\s+)?|\s+and\s+", re.IGNORECASE)


def read_list(part: Part, match: re.Match[str]) -> list[SubStep]:
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
    steps = [replace(adding, targets=(f"{need(part, name.text)} {where}",)) for name in parts]
    return [replace(steps[0], held=()), *steps[1:]]


def need(part: Part, value: str) -> str:
    """Return a text or a target, which may not be empty.

    Raises:
        UsageError: it is empty.
    """
    if not value:
        raise UsageError(f"{part.text!r} does not say what; {EXAMPLE}")
    return value


def outside_names(links: list[re.Match[str]]) -> list[re.Match[str]]:
    """Return the links in small letters, if any: in ``set the To field to Rome`` a name holds the same word."""
    return [link for link in links if link[0].islower()] or links


_PREPOSITION = re.compile(
    r"(?:on|at|onto|over|to|(?:inside|into|in)(?=\s+(?:the\s+)?cell\s|\s+the\s[^,;]*?(?:field|box|bar|area)s?\W*$))\s+",
    re.IGNORECASE,
)
_BUTTON = re.compile(r"\s+(?:with|using) the (right|middle|left)(?: mouse)? button$", re.IGNORECASE)
# "The right mouse button on the file".
_BUTTON_FIRST = re.compile(
    r"(?:(?:with|using)\s+)?the\s+(right|middle|left)(?:\s+mouse)?\s+button\s+on\s+(?=\S)", re.IGNORECASE
)


def read_pointing(part: Part, rest: Part, gesture: Gesture) -> list[SubStep]:
    """Read what a gesture is done to: ``the file with the right button``, ``Next twice``."""
    rest, times = read_times(times_last(without_again(rest)))
    button = _BUTTON_FIRST.match(rest.mask) or _BUTTON.search(rest.mask)
    if gesture == "click" and button:
        rest = rest.cut(0, button.start()) if button.start() else rest.cut(button.end())
        button_name = button[1].lower()
        gesture = "right_click" if button_name == "right" else "middle_click" if button_name == "middle" else "click"
    if rest.text != part.text and (preposition := _PREPOSITION.match(rest.mask)):
        rest = rest.cut(preposition.end())
    refuse_chord(part, rest)
    several = read_several(rest, is_click=gesture == "click")
    if several and rest.quotes and re.match(r"select|choose|pick|open", part.mask, re.IGNORECASE):
        raise UsageError(
            f"{part.text!r}: name one thing, and one step for each; to add to a selection, say: ctrl-click {several[1]}"
        )
    targets = several or [need(part, rest.text)]
    return [SubStep(text=part.text, gesture=gesture, targets=(target,)) for target in targets] * times


_WHAT = re.compile(
    r"(?:the\s+)?(?:following\s+)?(?:text|words?|string|phrase|sentence|letters?|numbers?|name|password|(?:pass)?code|pin|user\s?name"
    r"|e-?mail(?:\s+address)?|address|value|amount|title|date|url)[\s:]+(?=\0)",
    re.I,
)
_INTO = re.compile(
    r"\s+(?:into|in|to|inside|on|at|as(?=\s+the\s)|for(?=\s+(?:the\s|(?-i:[A-Z])|\0)))(?:\s+to)?\s+", re.IGNORECASE
)
# "06/11/2025 as the check-in date": a number or an address is one word, and what follows is its field.
_ROLE = re.compile(
    r"(?P<text>\S*[\d@]\S*)\s+(?:as|for)\s+(?P<field>(?:the|my)\s+(?!.*\sand\s)[a-z][^,;.]{1,40})"
    r"|(?P<value>\S*[\d@]\S*)\s+in\s+(?P<name>(?-i:[A-Z])[\w-]*(?:\s(?-i:[A-Z])[\w-]*)?)",
    re.IGNORECASE,
)
# Between unquoted words only "into" is surely no part of the text; "in" needs something that is clearly a field.
_LOOSE_INTO = re.compile(
    r"\s+(?:into|inside)\s+(?=\S)|\s+in\s+(?=(?:the\s|\0)|\S+(?:\s\S+){0,3}\s(?:field|box|input|bar|area)\s*$|cell\s\S+\s*$)",
    re.IGNORECASE,
)
# What stands between two fields: with "Ada", and Surname with ...
_NEXT_PAIR = re.compile(
    r"(?:(?<=\0)\s*(?:,\s*(?:and\s+)?|\s+and\s+)|\s*(?:,\s*(?:and\s+)?|\s+and\s+)"
    r"(?=the\s+[^,;\0]{1,30}?\swith\s|the\s+[^,;\0]{1,30}?\s(?:field|box)\s+to\s))",
    re.IGNORECASE,
)
# "First name with Ada and Last name with Berg": each text is one word.
_WORD_EACH = re.compile(
    r"[^,;\0]{1,30}?\swith\s+(?P<text>[^\s\0]+)\s+and\s+(?:[A-Z][\w-]*(?:\s(?!with\s)[\w-]+){0,2})\s+with\s+[^\s\0]+"
)
_AND = re.compile(r"\s+and\s+")
_AS = re.compile(r"\sas\s+(?:the|my|your|an?)\s+\S+", re.IGNORECASE)
_SEVERAL_FIELDS = re.compile(r",|\s(?:and|&)\s")
# "Type "yes" followed by Enter".
_THEN_KEY = re.compile(
    r"(?:and(?:\s+then)?|followed\s+by|and\s+confirm(?:\s+it)?\s+with)\s+(?:the\s+)?(enter|return|tab)(?:\s+key)?",
    re.IGNORECASE,
)
_HERE = re.compile(r"(?:it|there|here|the focused field|at the (?:cursor|caret))?", re.IGNORECASE)


# Where the next text begins: "Ada" into Name and "Berg" into Town; Ada in the Name field and Berg in the Town field.
_NEXT_TEXT = re.compile(
    r"(?P<joint>\s*,\s*(?:and\s+)?|\s+and\s+)"
    r"(?:(?=\0+\s+(?:into|in|to|for)\s)|(?=[^,;\0]{1,40}?\s(?:in|into)\s+the\s[^,;]{1,30}?(?:field|box|bar)(?!\w))"
    r"|(?=[^\s,;\0]+\s+(?:into|in\s+cell)\s)|(?=[^\s,;\0]*[\d@][^\s,;\0]*\s+in\s+(?-i:[A-Z])))",
    re.IGNORECASE,
)
_IN_FIELD = re.compile(
    r"\s(?:in|into)\s+the\s.*(?:field|box|bar)$|^\S+\s+(?:into\s+(?-i:[A-Z])[\w-]*(?:\s[\w-]+)?|in(?:to)?\s+cell\s+\S+)$"
    r"|^\S*[\d@]\S*\s+in\s+(?-i:[A-Z])[\w-]*(?:\s(?-i:[A-Z])[\w-]*)?$",
    re.IGNORECASE,
)


def read_clear(part: Part, rest: Part) -> list[SubStep]:
    """Read ``the search field``, which is emptied.

    Raises:
        UsageError: it names more than one field.
    """
    if _SEVERAL_FIELDS.search(rest.mask):
        raise UsageError(f'{part.text!r}: expected one field to clear; say for example: fill in Name with ""')
    emptying = SubStep(text=part.text, gesture="type", value="", replace=True)
    return [*read_pointing(part, rest, "click"), emptying]


def read_type(part: Part, rest: Part) -> list[SubStep]:
    """Read ``"Ada" into Name``, or a text alone.

    Raises:
        UsageError: it is not clear where the text ends.
    """
    if re.match(r"enter\s*,", part.mask, re.IGNORECASE):
        raise refusal(part, "Enter", "it may be the key: say press Enter, then type what follows")
    if not rest.text and part.mask.lower().startswith("enter"):
        return [SubStep(text=part.text, gesture="key", value="enter")]
    verb = re.split(r"\s", part.mask, maxsplit=1)[0].lower()
    noun = _WHAT.match(rest.mask) or CALLED.match(rest.mask)
    if noun is None and verb in ("enter", "input"):
        noun = VALUE_CALLED.match(rest.mask)
    if noun:
        rest = rest.cut(noun.end())
    if following := _next_text(rest):
        return read_type(part, rest.cut(0, following.start())) + read_type(part, rest.cut(following.end("joint")))
    target: Part | None = None
    if 0 in rest.quotes:
        text, tail = rest.text[1 : rest.quotes[0] - 1], rest.cut(rest.quotes[0]).sentence()
        if key := _THEN_KEY.fullmatch(tail.mask):
            typing = SubStep(text=part.text, gesture="type", value=need(part, text))
            return [typing, SubStep(text=part.text, gesture="key", value="tab" if key[1].lower() == "tab" else "enter")]
        if tail.mask not in ".!?" and not _HERE.fullmatch(tail.mask):
            into = _INTO.match(" " + tail.mask)
            if into is None:
                raise UsageError(f"{part.text!r}: expected 'into' and a field after the quoted text, got {tail.text!r}")
            target = tail.cut(into.end() - 1)
            words, advice = why_no_text(f"... {tail.mask}", "type")
            if words:
                raise refusal(part, words, advice)
    elif role := _ROLE.fullmatch(rest.sentence(".").mask):
        text = rest.cut(*role.span("text" if role["text"] else "value")).text
        target = rest.cut(*role.span("field" if role["text"] else "name"))
    else:
        matches = list(_LOOSE_INTO.finditer(rest.mask))
        if len(matches) > 1:
            raise UsageError(f"{part.text!r}: it is not clear where the text ends; put it in quotes")
        if matches:
            target = rest.cut(matches[0].end()).sentence()
            rest = rest.cut(0, matches[0].start())
        else:
            if role := _AS.search(rest.mask):
                raise UsageError(
                    f"{part.text!r}: it is not clear whether {role[0].strip()!r} belongs to the text; put the text in "
                    'quotes: enter "Ada" as the name'
                )
            # "how are you?" and "Hello!" are typed as they stand; a full stop ends the instruction.
            rest = rest.sentence(".")
        words, advice = why_no_text(rest.mask, verb)
        if not words and target is None:
            words, advice = why_no_end(rest.mask.rstrip("?!"), verb)
        if words:
            raise refusal(part, words, advice)
        text = rest.text
    typing = SubStep(text=part.text, gesture="type", value=need(part, text))
    if target is None or _HERE.fullmatch(target.mask):
        return [typing]
    return [*read_pointing(part, target, "click"), typing]


def _next_text(rest: Part) -> re.Match[str] | None:
    """Return what joins a text and its field with the next: both are quoted, or both name what is called a field."""
    is_quoted = 0 in rest.quotes
    for joint in _NEXT_TEXT.finditer(rest.mask):
        before = rest.mask[: joint.start()]
        ends = " " in before[rest.quotes[0] :] if is_quoted else _IN_FIELD.search(before)
        if ends and is_quoted == (rest.mask[joint.end("joint")] == "\0"):
            return joint
    return None


def read_fill(part: Part, rest: Part, link: str) -> list[SubStep]:
    """Read ``fill in Name with "Ada"`` and ``set Name to "Ada"``, also several of them joined by commas or "and"."""
    example = 'say for example: fill in Name with "Ada"'
    # Between two pairs there is a quoted text at the left and one more link at the right.
    pairs = _WORD_EACH.fullmatch(rest.sentence(".").mask) if link == "with" else None
    joint = _AND.search(rest.mask, pairs.start("text")) if pairs else None
    cuts = (
        [joint]
        if joint
        else [
            m for m in _NEXT_PAIR.finditer(rest.mask) if re.search(rf"\s{link}\s", rest.mask[m.end() :], re.IGNORECASE)
        ]
    )
    edges = [0, *(edge for match in cuts for edge in match.span()), len(rest.text)]
    steps: list[SubStep] = []
    for pair in (rest.cut(*span) for span in zip(edges[::2], edges[1::2], strict=True)):
        links = outside_names(list(re.finditer(rf"\s+{link}\s+", pair.mask, re.IGNORECASE)))
        if not links:
            raise UsageError(f"{part.text!r} does not say {link} what; {example}")
        if len(links) > 1:
            raise UsageError(f"{part.text!r}: it is not clear where the text begins; put it in quotes, {example}")
        target, text = pair.cut(0, links[0].start()), pair.cut(links[0].end())
        text = text.sentence() if text.quotes else text.sentence(".")
        value = text.quoted()
        if link == "to" and value is None and "\0" not in text.mask and not is_field(target.text):
            raise UsageError(
                f"{part.text!r}: only fields can be set; put the text in quotes: set {target.text} to "
                f'"{text.text}", or name the clicks one by one'
            )
        _refuse_partly_quoted(part, text)
        words, advice = why_no_text(text.mask, "fill") if value is None else ("", "")
        if words:
            raise refusal(part, words, advice)
        value = need(part, text.text) if value is None else value
        steps += read_pointing(part, target, "click")
        steps.append(SubStep(text=part.text, gesture="type", value=value, replace=True))
    return steps


_PUT = re.compile(r"\s+(?:into|in|to|inside|as|for)\s+(?=\S)", re.IGNORECASE)


def _refuse_partly_quoted(part: Part, text: Part) -> None:
    """Refuse a text of which only a part is in quotes.

    Raises:
        UsageError: it is one.
    """
    if text.quotes and text.quoted() is None:
        raise UsageError(f"{part.text!r}: it is not clear where the text ends; put all of it in one pair of quotes")


def read_put(part: Part, rest: Part) -> list[SubStep]:
    """Read ``42 in the quantity field``, which then holds just that.

    Raises:
        UsageError: it is not clear where the text ends.
    """
    links = list(_PUT.finditer(rest.mask))
    if len(links) != 1:
        raise UsageError(f"{part.text!r}: it is not clear where the text ends; put it in quotes")
    text, target = rest.cut(0, links[0].start()), rest.cut(links[0].end()).sentence()
    value = text.quoted()
    _refuse_partly_quoted(part, text)
    typing = SubStep(text=part.text, gesture="type", value=text.text if value is None else value, replace=True)
    return [*read_pointing(part, target, "click"), typing]


_BACK = re.compile(
    r"(?:(?:one|a)\s+(?:page|screen|step)|to\s+the\s+(?:previous|last)\s+(?:page|screen|view|site))?", re.I
)


def read_back(part: Part, rest: Part, gesture: Gesture) -> list[SubStep]:
    """Read ``twice`` and ``to the previous page`` of "go back"; "go home" has nothing behind it but a number.

    Raises:
        UsageError: it says where to.
    """
    place, times = read_times(rest)
    if not (_BACK.fullmatch(place.mask) if gesture == "back" else not place.text):
        raise UsageError(
            f"{part.text!r}: expected only 'go {gesture}', got {place.text!r} behind it; say for example: "
            f"go {gesture}, then click Inbox"
        )
    return [SubStep(text=part.text, gesture=gesture)] * times


def press_keys(part: Part, chords: list[tuple[str, ...]]) -> list[SubStep]:
    """Return one step per chord."""
    return [SubStep(text=part.text, gesture="key", value=" ".join(chord)) for chord in chords]


def hold_keys(part: Part, modifiers: tuple[str, ...], steps: list[SubStep]) -> list[SubStep]:
    """Hold modifiers during clicks, or add them to a chord: ``hold ctrl and press s``."""
    if len(steps) == 1 and steps[0].targets and re.match(PRESS, steps[0].text, re.IGNORECASE):
        steps = press_keys(part, [read_chord("+".join((*modifiers, *steps[0].targets)))[len(modifiers) :]])
    if all(step.gesture.endswith("click") for step in steps):
        return [replace(step, text=part.text, held=modifiers) for step in steps]
    if all(step.gesture == "key" for step in steps):
        return [replace(step, text=part.text, value=" ".join((*modifiers, step.value))) for step in steps]
    raise UsageError(f"{part.text!r}: keys can be held during clicks only")
