"""A place named before the verb: ``in the File menu, click Print`` is ``click Print in the File menu``.

Only places on a screen are read this way. "On error, click Retry", "at noon, click Save" and "on the next page, click
Close" are conditions and times, and stay refused.
"""

import re

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.quoting import Part
from molmo_agent.policies.instructions.substep import is_field

_NOUN = (
    r"side\s?bar|tool\s?bar|menu\s?bar|task\s?bar|navigation(?:\s(?:bar|menu|pane))?|bar|menu|page|site|website|window"
    r"|dialog(?:ue)?|pop-?up|box|list|drop-?down|panel|pane|section|header|footer|ribbon|dock|tray|form|table|grid|row"
    r"|column|tab|(?:home\s|start\s|lock\s)?screen|desktop|canvas|field|area|app|application|program|browser|tree|view"
    r"|card|banner|gallery|calendar|chat|keyboard"
)
_SIDE = r"top|bottom|left|right|middle|cent(?:er|re)|corner|side|edge"
# "In the Settings dialog that appears", but not "on the next page" and not "at the end of the list".
_WORDS = r"(?:(?!(?:next|following|end|start|beginning|first|last|second|third)(?!\w))[\w\0&'-]+\s+){0,4}?"
_AT_SIDE = rf"(?:\s+(?:at|on|in)\s+the\s+(?:{_SIDE})(?:\s+(?:{_SIDE}))?)?"
_APPEARS = r"(?:\s+(?:that|which)\s+(?:just\s+)?(?:appear|open|show)(?:s|ed)(?:\s+up)?|\s+that\s+pops\s+up)?"
_OF = rf"(?:\s+of\s+(?:the|this|my)\s+{_WORDS}(?:{_NOUN}))?"
_DATES = (
    r"January|February|March|April|May|June|July|August|September|October|November|December|\w+day|Spring|Summer|Autumn"
    r"|Winter|Fall|Christmas|Easter|Case|Doubt|General|Time|Future|Order|Addition"
)
PLACE = re.compile(
    rf"(?:(?i:in|on|at|inside|within|under|from|into|using)\s+(?i:the|this|my)\s+"
    rf"{_WORDS}(?:(?i:{_SIDE})(?:\s+(?i:{_SIDE}))?(?!\s+(?i:hand|{_NOUN}|{_SIDE})(?!\w)){_OF}|(?i:{_NOUN})(?!\w|\s+(?i:{_NOUN})(?!\w)){_AT_SIDE}{_APPEARS})"
    rf"|(?i:in|under|from)\s+(?:\0+|(?!(?:{_DATES})(?!\w))[A-Z][\w-]*(?:\s+[A-Z][\w-]*){{0,2}})(?:\s+(?i:{_NOUN}))?)"
    r"(?![\w'-])(?=\s*,\s*\w|\s*:?\s+\w)"
    # "For Country, choose Norway", but not "for now, choose Norway".
    rf"|(?i:for)\s+(?:(?i:the)\s+(?!(?:time|moment|sake|rest|first|last|next)(?!\w))[\w-]+|(?!(?:{_DATES})(?!\w))[A-Z][\w-]*|\0+)"
    r"(?=,\s*(?:choose|select|pick)\s)"
)
"""A pattern for a place at the beginning of a step, without the comma behind it."""


def behind_its_verb(step: Part, place: Part, does: str) -> Part:
    """Return a step with its place at the end, where the rest of the grammar reads it.

    Args:
        step: from its verb on.
        place: what stood before it.
        does: what the verb does.

    Raises:
        UsageError: the place would be read as a part of a text.
    """
    is_text = does in ("type", "fill", "set")
    name = re.sub(rf"{_AT_SIDE}$", "", place.text)
    if is_text and not (does == "type" and is_field(name) and place.mask[:2].lower() == "in"):
        raise UsageError(
            f"cannot follow {step.text[:60]!r} {place.text!r}: expected the field that is typed into; say for example: "
            'type "Ada" into the Name field'
        )
    # "In" began the sentence.
    place = Part(place.text[0].lower() + place.text[1:], place.mask, place.quotes)
    return step.sentence("." if is_text else ".!?").then(place)
