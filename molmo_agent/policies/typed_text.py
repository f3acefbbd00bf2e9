"""Whether typed text arrived: it is looked for among the words on the screen, before and after."""

import itertools
import re
import unicodedata
from collections.abc import Sequence

from molmo_agent.geometry import Point
from molmo_agent.screen_text import Line

# Share of the characters that must be right: readers confuse similar letters.
SIMILARITY = 0.8
# Shorter texts stand on many a screen anyway.
MIN_CHARACTERS = 3
# Of a long text only the end may be visible, where the caret is. A field with a limit keeps only the beginning.
MAX_CHARACTERS = 16
# A narrow field shows at least so many characters of a text that is twice as long. Less may be what arrived of it.
_MIN_END = 12
# A text may be wrapped to so many lines.
_WRAPPED = 3
# Scripts that the text reader knows, by the beginning of their characters' names.
_READABLE = ("LATIN ", "DIGIT ", "CJK UNIFIED", "FULLWIDTH LATIN", "FULLWIDTH DIGIT")
_SECRET = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_HIDDEN = re.compile(r"\b(?:pass\s?(?:word|code|phrase)|pin|cvv|cvc|secret|security code)s?\b", re.IGNORECASE)


def readable_part(text: str, instruction: str) -> str:
    """Return what should be visible of a typed text: letters and digits of its last line, in lower case.

    Empty where nothing certain can be said: text of few letters or digits or of a script that is not read, secrets and
    passwords, which fields show as bullets, and text that ends with a line end, which submits it.

    Args:
        text: as typed.
        instruction: the words of the step, which name the field.
    """
    if text.endswith(("\n", "\r")) or _SECRET.search(text) or _HIDDEN.search(instruction.replace(text, " ")):
        return ""
    # A tab moves on to the next field.
    last_line = re.split(r"[\n\r\t]+", text)[-1]
    part = letters(last_line)
    readable = all(unicodedata.name(character, "").startswith(_READABLE) for character in part)
    return part if readable and len(part) >= MIN_CHARACTERS else ""


def arrived(part: str, before: Sequence[Line], after: Sequence[Line]) -> bool:
    """Return whether a text is visible once more than before.

    Args:
        part: from :func:`readable_part`, not empty.
        before: the lines on the screen before typing.
        after: the lines on it afterwards.
    """
    old, new = ([letters(line.text) for line in lines] for lines in (before, after))
    end = part[-MAX_CHARACTERS:]
    if _count(end, new) > _count(end, old):
        return True
    if any(_MIN_END <= len(line) <= len(part) // 2 and part.endswith(line) and line not in old for line in new):
        return True
    return _count(end, joined_lines(after)) > _count(end, joined_lines(before))


def is_held(part: str, point: Point, lines: Sequence[Line]) -> bool:
    """Return whether the line of text at a point is a text and nothing else but a label before it.

    Args:
        part: from :func:`readable_part`, not empty.
        point: in the field.
        lines: the lines on the screen.
    """
    for line in lines:
        if line.box.top <= point.y <= line.box.bottom:
            words = [word.text for word in line.words]
            ends = ["".join(words[first:]) for first in range(len(words))]
            if any(resembles(part, end) for end in (line.text, *ends)):
                return True
    return False


def letters(text: str) -> str:
    """Return the letters and digits of a text in lower case and without accents, which readers often miss."""
    folded = unicodedata.normalize("NFKD", text.casefold())
    return "".join(filter(str.isalnum, folded))


def resembles(first: str, second: str) -> bool:
    """Return whether two texts are the same up to what a reader confuses."""
    shorter, longer = sorted((letters(first), letters(second)), key=len)
    return len(shorter) >= SIMILARITY * len(longer) and count_similar(shorter, longer) > 0


def joined_lines(lines: Sequence[Line]) -> list[str]:
    """Return the letters of each line with those of the lines right below it."""
    texts = []
    for number, line in enumerate(lines):
        chain = [line]
        for below in itertools.islice(lines, number + 1, None):
            above = chain[-1].box
            beside = below.box.left < above.right and above.left < below.box.right
            near = 0 <= below.box.top - above.top < 2.5 * (above.bottom - above.top)
            if beside and near and len(chain) < _WRAPPED:
                chain.append(below)
        texts.append("".join(letters(each.text) for each in chain))
    return texts


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
