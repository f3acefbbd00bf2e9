"""Decide whether a step is an order that can be carried out, and if not, say why.

"click Buy if the price is below 10" must not become a click on Buy, and "the Save button was pressed" is no order. So a
step is refused if it holds, anywhere outside of quotes,

- words that make something else of an order: ``refused_words.py``,
- words of another language: ``languages.py``,
- a sentence where the name of one thing is expected: ``plain_names.py``.

There is one exception: a label may begin with such a word in a capital letter. ``click Don't save``, ``tick Never show
again`` and ``choose If needed`` name things on the screen, because nothing else follows the verb. All other labels go
in quotes.
"""

import re

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.doubts import CALLED
from molmo_agent.policies.instructions.keys import MODIFIERS
from molmo_agent.policies.instructions.languages import begins_foreign, foreign_negation, foreign_words, looks_foreign
from molmo_agent.policies.instructions.plain_names import is_aim, why_no_name, why_no_target
from molmo_agent.policies.instructions.quoting import Part
from molmo_agent.policies.instructions.refused_words import SEVERAL, refused_words

# What may stand between a verb and a label: "click on the Don't save button", "tick I don't agree".
_BEFORE_LABEL = re.compile(r"[\s,:]*(?:(?:[Oo]n|at|onto|over|to|in|into|[Tt]he|an?|this|that|my)\s+)*(?:I\s+)?")
# The second label of a step: "drag the slider to Never".
_SECOND_LABEL = re.compile(r"(?<!\w)(?:to|into|onto|on|in|with|from|as)\s+(?:the\s+)?$", re.IGNORECASE)
_GESTURE_IN_LABEL = re.compile(r"(?<!\w)(?:click|tap|press|type|touch|hit|push|drag|scroll)(?:ed|ing|s)?(?!\w)", re.I)
_QUESTION = re.compile(r"(?:[\w\0)'\"!]|(?<!the)(?<!press)(?<!hit)(?<!push)\s)[?؟]+(?=[\s!?.,;]|$)")
# Names of links that are questions. All others go in quotes.
_QUESTION_LABEL = re.compile(
    r"\s*(?:on\s+)?(?:the\s+)?(?:(?:link|button|text)\s+(?:that\s+(?:says|reads)|called|named|labell?ed|saying)\s+)?"
    r"(?:Forgot(?:ten)?|Lost|Need|Having|Trouble|New|Already)\s[^.!;]{1,40}\?$"
)
_FORGOTTEN = re.compile(r"(?:Forgot(?:ten)?|Lost)\s(?:your\s)?(?:password|username|pin)\s?\?", re.IGNORECASE)
_HOLD = re.compile(rf"hold(?:ing)?\s+(?:down\s+)?(?:the\s+)?{MODIFIERS}(?!\w)", re.IGNORECASE)
_ASIDE = re.compile(
    r"(?:yes|yeah|yep|no|nope|ok|okay|sure|fine|right|well|so|thanks|thank you|hi|hey|hello"
    r"|(?:on|upon|in|at|during|for|with|by|given|from|following|because of|due to|thanks to)\s.*)",
    re.IGNORECASE | re.DOTALL,
)
_ADDRESS = re.compile(r"(?!(?:the|an?|my)\s)[^\W\d_]+(?:\s+[^\W\d_]+){0,2}", re.IGNORECASE)
# "Write a poem" asks for a text, and does not name it.
_VAGUE_TEXT = re.compile(
    r"\s*(?:(?:a|an|my|your|his|her|their|me|us|some|any)\s+(?!into?(?!\w))[a-z]{2,}|(?:some|any|every)thing|whatever)"
)
_NO_TARGET = re.compile(r"(?:(?:and|or|then|the|an|on|at|to|of|in|with|around|about)(?!\w)\s*)+$")
# "Click Pay next week", but not "click the arrow for next week".
_TIME_AFTER_LABEL = re.compile(
    r"^[A-Z\d\0]\S*(?:\s[A-Z]\S*){0,3}\s+(next\s+(?:week|month|year|time)|at\s\d{1,2}[:.]\d\d|(?:around|by)\s\d{1,2}"
    r"|on\sthe\s\d{1,2}(?:st|nd|rd|th)|hourly|daily|weekly|monthly|(?:once|twice|\d+\stimes)\s(?:an?|per)\s\w+"
    r"|(?:in|on|by)\s(?:January|February|March|April|May|June|July|August|September|October|November|December).*)$"
)
_LASTING = re.compile(r"(?<!\w)for\s(?:\S+\s)?(?:\d+|\w*seconds?|\w*minutes?|sec|moment|while)(?!\w)")
# "Click the field after Name" is a place, "click Save after lunch" is a time.
_AFTER = re.compile(r"(?<![\w-])(?:after|before|(?<!the )following|(?<!the )preceding)(?![\w-])(?=\s+\S)")
_PLACE_AFTER = re.compile(
    r"\s+(?:\0|[A-Z0-9]|(?:the|an?)\s+(?:\0|[A-Z]|(?:last|first|next|second|third)\s|[^,;]{0,40}?(?:row|line|word|letter|text"
    r"|field|box|button|icon|item|heading|paragraph|image|column|cell|entry|tab|link|number|comma|dot|slash)s?(?!\w)))"
)
_DESCRIBED = re.compile(r"(?<!\w)(?:the|an?|my|first|second|third|last|next)\s", re.IGNORECASE)
# Longer texts are hardly labels.
_SHOWN_CHARACTERS = 40
# What to write for an order whose steps are not guessed.
_STEPS = {
    "zoom": "press ctrl+plus",
    "pinch": "press ctrl+minus",
    "spread": "press ctrl+plus",
    "undo": "press ctrl+z",
    "redo": "press ctrl+y",
    "copy": "press ctrl+c",
    "cut": "press ctrl+x",
    "insert": 'type "Ada" into the Name field',
    "save": "press ctrl+s",
    "print": "press ctrl+p",
    "rename": 'right-click the file, click Rename, then type "Letter"',
    "change": 'fill in the Name field with "Ada"',
    "replace": 'fill in the Name field with "Ada"',
    "slide": "drag the slider to the right end",
    "pull": "swipe down",
}
# For a verb that no button has as its name.
_ANY_STEPS = 'click Tools, then click "Sort by date"'
_VAGUE_VERB = re.compile("make|get|give|help|do|act|go|keep|leave|try|turn|fix|solve|put|take|bring|tidy|organize|let")
_LANGUAGE = "instructions are read in English, and name only what is to be done"


def refuse_aside(part: Part, *, before_comma: bool) -> None:
    """Refuse ``OK, click Save``, ``Bob, click Save`` and ``on error, click Save``: it may be a button or a remark.

    Args:
        part: the first of several steps.
        before_comma: whether only a comma stands between it and the next.

    Raises:
        UsageError: the part is an aside.
    """
    words = part.mask.strip(" .,!")
    if _ASIDE.fullmatch(words) or (before_comma and _ADDRESS.fullmatch(words)):
        raise UsageError(
            f"cannot follow {part.text!r} before another step: it may be a button or a remark; leave it out, or say: "
            f'click "{part.text}"'
        )


def refuse_no_order(part: Part, verb_end: int | None, does: str = "") -> None:
    """Refuse a step that holds more, or something else, than one thing to do.

    Args:
        part: the step.
        verb_end: the position after its verb; None if it has none, so that all of it must name one thing to click.
        does: what the verb does, as in the table of verbs.

    Raises:
        UsageError: it holds a prohibition, a condition, a repetition, an alternative, a question or another sentence;
            the message says what to write instead.
    """
    mask = part.mask
    if not any(char.islower() for char in mask) and len(mask.split()) > 1:
        # In capitals, case says nothing.
        mask = mask.lower()
    is_typed = does in ("type", "fill", "set", "put", "search")
    label = _BEFORE_LABEL.match(mask, verb_end) if verb_end is not None else None
    searched = mask if label else mask[:1].lower() + mask[1:]
    if foreign := foreign_negation(mask) if label else foreign_words(mask):
        raise refusal(part, foreign, _LANGUAGE)
    for kind, match in refused_words(searched, is_typed=is_typed):
        if not (label and _begins_a_label(match, mask, label.end(), is_typed=is_typed)):
            raise refusal(part, match[0], kind.advice)
    if label is None:
        _refuse_no_name(part, mask)
    elif not is_typed:
        _refuse_no_target(part, mask, label.end(), does)
    else:
        # "Fill in everything with x" names no field, "write a poem" no text.
        pattern, start = (_VAGUE_TEXT, label.start()) if does == "type" else (SEVERAL, label.end())
        vague = pattern.match(mask, start)
        if vague and not (does == "type" and CALLED.match(mask[label.start() :].strip())):
            raise refusal(part, vague[0].strip(), "name the field, and the text to type")


def _refuse_no_name(part: Part, mask: str) -> None:
    """Refuse a step without a verb that does not name one thing to click."""
    text = mask[:1].lower() + mask[1:] if mask[1:2].islower() else mask
    if ("?" in mask or "؟" in mask) and not _FORGOTTEN.fullmatch(mask):
        problem = "?"
    elif match := _HOLD.match(mask) or SEVERAL.match(text):
        problem = match[0]
    elif re.match(r"(?:after|before|following)\s", text):
        problem = text.split()[0]
    else:
        problem = why_no_name(mask) or looks_foreign(mask)
    if problem:
        first = problem.split()[0].lower()
        steps = _STEPS.get(first, _ANY_STEPS if _VAGUE_VERB.fullmatch(first) else f'click "{first.capitalize()}"')
        aim = f", an aim; say its steps, for example: {steps}" if is_aim(first) else ""
        label = part.text if len(part.text) <= _SHOWN_CHARACTERS and "\0" not in part.mask else "Save as"
        raise UsageError(
            f"cannot follow {part.text[:60]!r}: expected a verb and what it is done to, or the name of one thing to "
            f'click, got {problem!r}{aim}. If all of it is a label, put it in quotes; say for example: click "{label}"'
        )


def _refuse_no_target(part: Part, mask: str, start: int, does: str) -> None:
    """Refuse a step whose verb is followed by more than the things that it is done to."""
    target = mask[start:]
    if foreign := begins_foreign(target):
        raise refusal(part, foreign, _LANGUAGE)
    if does != "point":
        if _QUESTION.search(mask) and not _QUESTION_LABEL.match(mask, start):
            raise refusal(part, "?", "questions are not answered: say what is to be done")
        if (several := SEVERAL.match(target)) and does not in ("key", "scroll"):
            raise refusal(part, several[0], "name the one thing that is meant, one step for each")
        if re.match(r"(?:what|why|how|who|whom|that|where)\s", target) or (
            does == "click" and target.startswith("for ")
        ):
            raise refusal(part, target.split()[0], "name one thing on the screen")
        if _NO_TARGET.match(target):
            raise refusal(part, target.strip(), "name one thing on the screen")
        if does in ("long_press", "click", "press", "whole") and (time := _LASTING.search(target)):
            raise refusal(part, time[0], "how long a press lasts cannot be chosen: say only what is held")
        if time := _TIME_AFTER_LABEL.search(target):
            raise refusal(part, time[1], "an order is carried out at once")
    for match in _AFTER.finditer(mask, start):
        if not (_DESCRIBED.search(mask, 0, match.start()) and _PLACE_AFTER.match(mask, match.end())):
            raise refusal(part, match[0], "steps are done in the order in which they are named: say A, then B")
    if does == "drag":
        # The second half of one gesture.
        target = re.sub(r"\s+and\s+drop\s+it(?!\w)", " ", target)
    if problem := why_no_target(target):
        raise refusal(part, problem, "expected only the name of what the verb is done to")


def _begins_a_label(match: re.Match[str], mask: str, start: int, *, is_typed: bool) -> bool:
    word = mask[match.start() : match.end()]
    is_capital = word[0].isupper() and (len(word) == 1 or not word.isupper())
    if match.start() == start:
        # "tick I don't agree": the label begins before the word.
        is_capital = is_capital or mask[:start].endswith("I ")
        return is_capital and (is_typed or not _GESTURE_IN_LABEL.search(mask, match.end()))
    return is_capital and _SECOND_LABEL.search(mask, max(0, match.start() - 20), match.start()) is not None


def refusal(part: Part, word: str, advice: str) -> UsageError:
    """Return the error for a word of a step that makes it no order, with what to do instead."""
    return UsageError(
        f"cannot follow {part.text[:60]!r}: {advice}. If {word!r} belongs to a label or a text, put that in quotes: "
        f'click "Don\'t save"'
    )
