"""Whether a program changed a text while it was typed: other capitals, lost or added letters, other numbers in a date.

A text that was to replace what a field held is changed, too, where that is still beside it. Such a text looks nearly
right, and the next Enter would send something else. Only what is certain counts: readers of screens confuse similar
letters, and miss some.
"""

import itertools
import re
import unicodedata
from collections.abc import Sequence

from molmo_agent.policies.typed_text import MAX_CHARACTERS, MIN_CHARACTERS, SIMILARITY, joined_lines, letters
from molmo_agent.screen_text import Line

ALTERED = "the text did not arrive as written: "
"""How the doubts of this module begin."""

_CAPITALS = f"{ALTERED}it shows other capitals"
_COMPLETED = f"{ALTERED}the program added to its last word"
_LOST = f"{ALTERED}some of its characters are missing; the field may not take them"
_KEPT = f"{ALTERED}what the field held before is still beside it"
_OTHER_NUMBERS = f"{ALTERED}its digits make other numbers"
# Their capitals have another form, not only another height.
_CLEAR_CASE = frozenset("abdefghmnqrt")
# A reader sees a caret as one of these, or misses them beside a caret.
_LIKE_CARETS = frozenset("1ijlt")
# A caret is read as one letter at most.
_LEAST_ADDED = 2
_RUNS = re.compile(r"[^\W_]+")
_DIGITS = re.compile(r"[0-9]+")


def alteration(text: str, before: Sequence[Line], after: Sequence[Line], *, replace: bool = False) -> str:
    """Return how a text that is visible differs from what was typed; an empty string if it does not, as far as is seen.

    Args:
        text: as typed; see :func:`molmo_agent.policies.typed_text.readable_part` for what can be read.
        before: the lines on the screen before typing.
        after: the lines on it afterwards.
        replace: whether it was to replace what its field held.
    """
    old = [letters(line.text) for line in before]
    last_line = re.split(r"[\n\r\t]+", text)[-1]
    whole = _spell(last_line)
    typed = whole[-MAX_CHARACTERS:]
    # A reader may miss a word of one sign, or a sign of another script.
    may_lose = typed.isascii() and not re.search(r"(?<![^\W_])[^\W_](?![^\W_])", last_line)
    doubts = []
    for line in after:
        if letters(line.text) in old:
            continue
        doubt = _doubt_about_line(typed, line, old)
        if replace and _is_glued(last_line, line, old):
            doubt = _KEPT
        elif doubt == "" and _makes_other_numbers(last_line, line):
            doubt = _OTHER_NUMBERS
        if doubt == "":
            return ""
        # The edge of a narrow field cuts letters off, where the beginning is out of sight.
        has_room = len(whole) == len(typed) or letters(whole[:MAX_CHARACTERS]) in letters(line.text)
        if doubt and (doubt != _LOST or (may_lose and has_room)):
            doubts.append(doubt)
    if set(doubts) == {_LOST} and any(typed.casefold() in lines for lines in joined_lines(after)):
        # It is wrapped, and the rest stands on the next line.
        return ""
    return next((doubt for doubt in doubts if doubt != _LOST), doubts[0] if doubts else "")


def _doubt_about_line(typed: str, line: Line, old: Sequence[str]) -> str | None:
    """Return what is wrong with a text on a line; an empty string if nothing is, None if it is not there."""
    words = [_spell(word.text) for word in line.words]
    ends = list(itertools.accumulate(map(len, words)))
    seen = "".join(words)
    plain, end = seen.casefold(), typed.casefold()
    start = plain.rfind(end)
    if start < 0:
        return _LOST if _has_lost(end, plain, ends) else None
    stop = start + len(end)
    added = plain[stop : next(place for place in ends if place >= stop)]
    if len(added) >= _LEAST_ADDED and not any(added in line for line in old):
        return _COMPLETED
    if seen[start:stop].isupper():
        # Many fields only show everything in capitals.
        return ""
    pairs = [pair for pair in zip(typed, seen[start:stop], strict=True) if pair[0].casefold() in _CLEAR_CASE]
    return _CAPITALS if sum(wanted != got for wanted, got in pairs) >= max(2, len(pairs) / 2) else ""


def _has_lost(end: str, plain: str, ends: Sequence[int]) -> bool:
    """Return whether a text stands at the end of a word, from its first letter on, with some of its letters missing."""
    most = int(len(end) * (1 - SIMILARITY) + 1e-9)
    for place, missing in itertools.product(ends, range(1, most + 1)):
        start = place - len(end) + missing
        if start >= 0 and plain[start] == end[0] and any(map(_is_certain, *_lost(end, plain[start:place]))):
            return True
    return False


def _lost(end: str, kept: str) -> tuple[list[str], list[str]]:
    """Return the letters that are missing, each with its neighbours; nothing if others are different, too."""
    lost, around, position = [], [], 0
    for i, letter in enumerate(end):
        if position < len(kept) and kept[position] == letter:
            position += 1
        else:
            lost.append(letter)
            around.append(end[max(0, i - 1) : i] + end[i + 1 : i + 2])
    return (lost, around) if position == len(kept) >= MIN_CHARACTERS else ([], [])


def _is_certain(letter: str, around: str) -> bool:
    """Return whether a reader would not miss a letter: of two equal ones it may see one."""
    return letter not in _LIKE_CARETS and letter not in around


def _is_glued(text: str, line: Line, old: Sequence[str]) -> bool:
    """Return whether a word on a line is the first or the last one of a text, joined to what was there before."""
    runs = list(map(letters, _RUNS.findall(text)))
    for run in map(letters, _RUNS.findall(line.text)):
        for rest in (run.removesuffix(runs[0]), run.removeprefix(runs[-1])):
            if _LEAST_ADDED <= len(rest) <= len(run) - MIN_CHARACTERS and any(rest in line for line in old):
                return True
    return False


def _makes_other_numbers(text: str, line: Line) -> bool:
    """Return whether a date or the like became others by its digits: 2024-05-17 in a field for months first.

    A program may leave all separators out, write others, or set digits off by thousands.
    """
    typed = _DIGITS.findall(text)
    seen = _DIGITS.findall(line.text)
    if len(typed) < 2 or not re.fullmatch(r"[0-9\W_]+", text):
        return False
    start = "".join(seen).find("".join(typed))
    if start < 0 or "".join(typed) in seen:
        return False
    ends = [start + end for end in itertools.accumulate(map(len, typed))]
    wanted = {start, *ends}
    thousands = {edge for end, run in zip(ends, typed, strict=True) for edge in range(end - 3, end - len(run), -3)}
    edges = {edge for edge in (0, *itertools.accumulate(map(len, seen))) if start <= edge <= ends[-1]}
    return not wanted <= edges <= wanted | thousands


def _spell(text: str) -> str:
    """Return the letters and digits of a text without accents, each as one character in its case."""
    plain = unicodedata.normalize("NFKD", text)
    return "".join(character for character in plain if character.isalnum() and len(character.casefold()) == 1)
