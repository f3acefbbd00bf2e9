"""Texts that ask to act on a thing: they name it without being it.

A task that stands on the screen, in a terminal or above an exercise, contains the name that is looked for, and so does
an explanation: "Click Next to continue". A click on such words does nothing, or the wrong thing.
"""

import re

from molmo_agent.pointers.reading.expression import KIND_WORDS
from molmo_agent.pointers.reading.matching import Segment, TextMatch
from molmo_agent.pointers.reading.scene import Scene

# What stands between a verb and a name: "double-click on the button".
_OBJECT = r"(?:\s*\b(?:on|at|in|into))?(?:\s*\b(?:the|an?|any|this|that))?"
_QUOTE = r"\s*[\"'“‘«„`]?$"
_ASKS = re.compile(rf"(?<!\w)(?:click|tap|press)(?:p?ing)?{_OBJECT}(?:\s+(?:{KIND_WORDS}))?{_QUOTE}", re.IGNORECASE)
# Verbs that also begin labels, "Select all", ask only in a sentence.
_MAY_ASK = re.compile(rf"(?<!\w)(?:select|choose|pick|check|tick|hit|focus|find){_OBJECT}{_QUOTE}", re.IGNORECASE)
_SENTENCE_WORDS = 4
_SENTENCE_END = (".", "!", "?")
# Lines of one paragraph begin within so many heights of each other, and lie so close, in heights of the lower one.
_ALIGNED, _TOUCHING = 1.0, 0.6


def is_request(match: TextMatch, scene: Scene) -> bool:
    """Tell whether the words before a match ask to act on what it names.

    Args:
        match: a place where the name stands.
        scene: the screen that it was found on.
    """
    words, text = match.segment.words, match.segment.text
    first = next((n for n, word in enumerate(words) if match.box.contains(word.box.center)), 0)
    before = " ".join(word.text for word in words[:first])
    if _ASKS.search(before):
        return True
    ends = text.endswith(_SENTENCE_END)
    if (ends or len(words) >= _SENTENCE_WORDS) and _MAY_ASK.search(before):
        return True
    # The end of a sentence that began in the line above; entries of a list do not end like one.
    above = _line_above(match.segment, scene) if ends else None
    return above is not None and _ASKS.search(f"{above.text} {before}".strip()) is not None


def _line_above(segment: Segment, scene: Scene) -> Segment | None:
    """Return the line of the same paragraph above a text, if there is one."""
    aspect = scene.width / scene.height
    for other in scene.segments:
        aligned = abs(other.box.left - segment.box.left) * aspect < _ALIGNED * segment.height
        gap = segment.box.top - other.box.bottom
        higher = other.box.top < segment.box.top - 0.5 * segment.height
        if other is not segment and aligned and higher and gap < _TOUCHING * segment.height:
            return other
    return None
