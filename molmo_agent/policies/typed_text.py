"""Whether typed text arrived: it is looked for among the words on the screen, before and after."""

import re
from collections.abc import Sequence

from molmo_agent.screen_text import Line

# Share of the characters that must be right: readers confuse similar letters.
SIMILARITY = 0.8
# Shorter texts stand on many a screen anyway.
MIN_CHARACTERS = 3
# Of a long text only the beginning or the end may be visible, in a narrow field or on one line of several.
MAX_CHARACTERS = 16
_SECRET = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_HIDDEN = re.compile(r"\b(?:pass\s?(?:word|code|phrase)|pin|cvv|cvc|secret|security code)s?\b", re.IGNORECASE)


def readable_part(text: str, instruction: str) -> str:
    """Return what should be visible of a typed text: letters and digits of its last line, in lower case.

    Empty where nothing certain can be said: text of few letters or digits, secrets and passwords, which fields show as
    bullets, and text that ends with a line end, which submits it.

    Args:
        text: as typed.
        instruction: the words of the step, which name the field.
    """
    if text.endswith(("\n", "\r")) or _SECRET.search(text) or _HIDDEN.search(instruction.replace(text, " ")):
        return ""
    # A tab moves on to the next field.
    last_line = re.split(r"[\n\r\t]+", text)[-1]
    part = _letters(last_line)
    return part if len(part) >= MIN_CHARACTERS else ""


def arrived(part: str, before: Sequence[Line], after: Sequence[Line]) -> bool:
    """Return whether a text is visible once more than before.

    Args:
        part: from :func:`readable_part`, not empty.
        before: the lines on the screen before typing.
        after: the lines on it afterwards.
    """
    pieces = {part[:MAX_CHARACTERS], part[-MAX_CHARACTERS:]}
    old, new = ([_letters(line.text) for line in lines] for lines in (before, after))
    return any(_count(piece, new) > _count(piece, old) for piece in pieces)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def _count(piece: str, lines: Sequence[str]) -> int:
    return sum(count_similar(piece, line) for line in lines)


def count_similar(piece: str, text: str) -> int:
    """Return how often a piece occurs in a text, without overlaps; a fifth of its characters may differ."""
    tolerance = int(len(piece) * (1 - SIMILARITY) + 1e-9)
    # costs[i]: the fewest changes that turn the first i characters of the piece into an end of the text so far.
    start = list(range(len(piece) + 1))
    costs, count = start, 0
    for character in text:
        above, costs = costs, [0]
        for i, expected in enumerate(piece, start=1):
            costs.append(min(above[i] + 1, costs[i - 1] + 1, above[i - 1] + (character != expected)))
        if costs[-1] <= tolerance:
            count, costs = count + 1, start
    return count
