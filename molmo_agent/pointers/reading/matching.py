"""Names on the screen: pieces of lines, and how well a name fits each of them."""

import difflib
import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from molmo_agent.episode import Image
from molmo_agent.geometry import Box
from molmo_agent.screen_text import Line, Word, box_around

# Words further apart than this, in heights of their letters, are labels of their own: entries of a menu bar, columns.
_GAP = 0.68
# In running text, a gap must also be so much wider than the narrowest one: in some fonts all spaces are wide.
_PROSE_GAP = 1.6
# Pixels that differ from the background by more, in any channel, are ink.
_INK = 40
# Letters that engines take for each other, and signs that people write in several ways.
_LOOKALIKES = str.maketrans(
    {
        **dict.fromkeys("lI1|!íìï", "i"),
        **dict.fromkeys("O0oöóò", "o"),
        **dict.fromkeys("“”„«»″", '"'),
        **dict.fromkeys("‘’`´′", "'"),
        **dict.fromkeys("–—−‐", "-"),
        **dict.fromkeys("×", "x"),
        "5": "s",
    }
)
# Signs around a label that are no part of its name: "Name:", "Save…", "• Home", "☐ Wrap lines", "Title ▼".
_DECORATION = re.compile(r"^[\W_]+|[\W_]+$")
# Stands between labels: "Home » Library", "modules | index", "WELCOME / LOG OUT".
_SEPARATOR = re.compile(r"[|/\\»›>·•]+")
_TELLING = frozenset("/\\@#$%=")
_ICON_LETTER = re.compile(r"[A-Z](?=[A-Z][a-z])")
# Below this likeness two names are different ones.
MIN_LIKENESS = 0.8


@dataclass(frozen=True, slots=True)
class Segment:
    """Words that belong together: a label, an entry of a menu bar, a cell."""

    words: tuple[Word, ...]
    box: Box
    # Height of the line in fractions of the image.
    height: float

    @property
    def text(self) -> str:
        """The words, separated by single spaces."""
        return " ".join(word.text for word in self.words)


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A place where a name stands."""

    segment: Segment
    # Of the matching words; of the whole segment where all of it matches.
    box: Box
    # 1: exactly this; below: another case, more words around it, other letters.
    quality: float
    # All of the segment is the name.
    whole: bool
    # Position of the name among the readings of the expression.
    reading: int = 0


def segments_of(lines: Sequence[Line], image: Image) -> list[Segment]:
    """Cut lines where more than a space lies between words, and after colons: "Name: Ada" is a label and a value.

    Args:
        lines: as a text reader returned them.
        image: (height, width, 3) uint8, RGB, that they were read on: engines place words within a line only roughly.
    """
    segments = []
    for line in lines:
        height = line.box.bottom - line.box.top
        gaps = _gaps(line, image)
        prose = sum(word.text[:1].islower() for word in line.words) > len(line.words) / 2
        wide = max(_GAP, _PROSE_GAP * min(gaps[1:])) if prose and len(gaps) > 1 else _GAP
        part: list[Word] = []
        for word, gap in zip(line.words, gaps, strict=True):
            separator = _SEPARATOR.fullmatch(word.text) is not None
            if part and (separator or gap > wide or part[-1].text.endswith(":")):
                segments.append(_segment(part, height))
                part = []
            if not separator or len(line.words) == 1:
                part.append(word)
        if part:
            segments.append(_segment(part, height))
    return segments


def _gaps(line: Line, image: Image) -> list[float]:
    """Return the empty space before each word, in heights of the line's letters; 0 before the first."""
    height, width = image.shape[:2]
    left, right = math.floor(line.box.left * width), math.ceil(line.box.right * width)
    top, bottom = math.floor(line.box.top * height), math.ceil(line.box.bottom * height)
    pixels = image[top:bottom, left:right].astype(np.int16)
    # By rows: a border or a gradient above the letters is no ink.
    background = np.median(pixels, axis=1, keepdims=True)
    ink = np.abs(pixels - background).max(axis=2) > _INK
    # Engines return boxes about twice as high as the small letters in them.
    letters = max((bottom - top) / 2, 1.0)
    columns = ink.any(axis=0)
    gaps = [0.0] if line.words else []
    for before, after in pairwise(line.words):
        # Between the middle of the word before, or its last letters, and those of the word after.
        first = max((before.box.left + before.box.right) / 2 * width, before.box.right * width - letters) - left
        last = min((after.box.left + after.box.right) / 2 * width, after.box.left * width + letters) - left
        between = columns[max(round(first), 0) : max(round(last), 0)]
        gaps.append(_longest_gap(between) / letters)
    return gaps


def _longest_gap(ink: NDArray[np.bool_]) -> int:
    """Return the length of the longest run of columns without ink."""
    edges = np.flatnonzero(np.concatenate(([True], ink, [True])))
    return int(np.diff(edges).max()) - 1 if len(edges) > 1 else 0


def _segment(words: Sequence[Word], height: float) -> Segment:
    return Segment(tuple(words), box_around([word.box for word in words]), height)


def undecorated(text: str) -> str:
    """Return a text without signs around it; the text itself where there is nothing else."""
    return _DECORATION.sub("", text) or text.strip()


def simplify(text: str) -> str:
    """Return a text for comparison: no case, no spaces, no signs around it."""
    plain = undecorated(unicodedata.normalize("NFKC", text).casefold())
    return re.sub(r"\s+", "", plain)


def fold(text: str) -> str:
    """Return a text in which letters that look alike are the same."""
    plain = undecorated(text).translate(_LOOKALIKES).casefold().translate(_LOOKALIKES)
    return "".join(
        sign for sign in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(sign) and not sign.isspace()
    )


def find_name(name: str, segments: Sequence[Segment], reading: int = 0) -> list[TextMatch]:
    """Return where a name stands, the best matches first; at most one per segment.

    Args:
        name: what to look for.
        segments: where.
        reading: handed on to the matches.
    """
    matches = [match for segment in segments if (match := _match(name, segment, reading)) is not None]
    matches += _wrapped(name, segments, reading) + _in_row(name, segments, reading)
    return sorted(matches, key=lambda match: -match.quality)


def _match(name: str, segment: Segment, reading: int) -> TextMatch | None:
    quality = _fit(name, segment.text)
    if _ICON_LETTER.match(segment.text):
        # An icon glued to the label, read as a letter: "QSearch".
        quality = max(quality, _fit(name, segment.text[1:]) - 0.01)
    if len(segment.words) > 1 and len(segment.words[0].text) == 1:
        # An icon before the label, read as a letter: "Q Search".
        quality = max(quality, _fit(name, " ".join(word.text for word in segment.words[1:])) - 0.01)
    whole = TextMatch(segment, segment.box, quality, True, reading) if quality > 0 else None
    part = _inside(name, segment, reading) if quality < 0.97 else None
    return max((match for match in (whole, part) if match), key=lambda match: match.quality, default=None)


def _fit(name: str, text: str) -> float:
    """Return how well a name fits a whole label, in [0, 1]; 0: not at all."""
    plain, target = fold(text), fold(name)
    if text == name:
        return 1.0
    if undecorated(text) == undecorated(name):
        # A sign that changes what it is: "/books" is a path.
        return 0.95 if {*text} & _TELLING - {*name} else 0.995
    if simplify(text) == simplify(name):
        return 0.985
    if plain == target:
        return 0.97
    if re.search(r"(?:…|\.\.)\s*$", text) and len(plain) >= 5 and target.startswith(plain):
        # A name that the screen cuts off: "Shopping li…".
        return 0.9
    if len(target) >= 2 and len(plain) == len(target) + 1 and target in (plain[1:], plain[:-1]):
        # An icon or an arrow beside the label, read as a letter: "XCancel", "MSv".
        return 0.9
    return 0.95 * _likeness(plain, target)


def _likeness(first: str, second: str) -> float:
    """Return how alike two texts are, in [0, 1]; 0 for short ones that are not the same, whose letters matter more."""
    longest = max(len(first), len(second))
    if longest < 4 or min(len(first), len(second)) < MIN_LIKENESS * 0.9 * longest:
        return 0.0
    # Words of five letters or fewer allow one wrong letter, which is as much as an engine gets wrong.
    ratio = difflib.SequenceMatcher(None, first, second, autojunk=False).ratio()
    return ratio if ratio >= MIN_LIKENESS or (longest <= 5 and ratio >= 0.75) else 0.0


def _inside(name: str, segment: Segment, reading: int) -> TextMatch | None:
    """Match whole words inside of a segment, and after that letters inside of a word that the engine glued together."""
    words, count = segment.words, len(segment.words)
    target = fold(name)
    folded = [fold(word.text) for word in words]
    best: TextMatch | None = None
    for first in range(count):
        joined = ""
        for last in range(first, count):
            joined += folded[last]
            if len(joined) > len(target) + 3:
                break
            if not joined or last - first + 1 == count:
                continue
            likeness = 1.0 if joined == target else _likeness(joined, target) * 0.9
            if likeness:
                exact = simplify(" ".join(word.text for word in words[first : last + 1])) == simplify(name)
                share = len(target) / max(len("".join(folded)), 1)
                # The start of a label says more than its middle: "Search Mail" for "Search".
                quality = likeness * (0.7 + 0.15 * share + (0.04 if first == 0 else 0.0) + (0.02 if exact else 0.0))
                box = box_around([word.box for word in words[first : last + 1]])
                if best is None or quality > best.quality:
                    best = TextMatch(segment, box, quality, False, reading)
    if best is not None:
        return best
    glued = "".join(folded)
    start = glued.find(target) if len(target) >= 4 else -1
    if start < 0:
        return None
    written = "".join(undecorated(word.text) for word in words)
    end = start + len(target)
    # "5NotificationsSettings": capitals show where words were glued together.
    capitals = len(written) == len(glued) and written[start].isupper() and (end == len(glued) or written[end].isupper())
    return TextMatch(segment, _part_of(segment, folded, start, end), 0.8 if capitals else 0.7, False, reading)


def _part_of(segment: Segment, folded: Sequence[str], start: int, end: int) -> Box:
    """Return the box of letters [start, end) of the folded words, which are taken to be equally wide within a word."""
    boxes, position = [], 0
    for word, letters in zip(segment.words, folded, strict=True):
        first, last = max(start - position, 0), min(end - position, len(letters))
        if letters and first < last:
            across = (word.box.right - word.box.left) / len(letters)
            left = word.box.left + first * across
            boxes.append(Box(left, word.box.top, max(left, min(word.box.left + last * across, 1.0)), word.box.bottom))
        position += len(letters)
    return box_around(boxes)


def _in_row(name: str, segments: Sequence[Segment], reading: int) -> list[TextMatch]:
    """Match a name whose words lie in several segments of one row: a label with a badge, or with wide spaces."""
    target = _letters(name)
    if len(target) < 4 or len(name.split()) < 2:
        return []
    matches = []
    for start in segments:
        for skipped in range(len(start.words)):
            words, boundary = list(start.words[skipped:]), start
            while target.startswith(joined := "".join(map(_letters, (word.text for word in words)))):
                following = _right_neighbour(boundary, segments) if len(joined) < len(target) else None
                if following is None:
                    break
                boundary = following
                words += following.words
            # The last segment may hold more than the name.
            dropped = 0
            while len(joined) > len(target) and boundary is not start and words:
                dropped += 1
                words.pop()
                joined = "".join(map(_letters, (word.text for word in words)))
            if boundary is not start and joined == target:
                box = box_around([word.box for word in words])
                # Pointing into the gap between far apart words may miss both.
                wide = max(b.box.left - a.box.right for a, b in pairwise(words)) > 3 * start.height
                quality = 0.9 if skipped or dropped else 0.96
                place = words[0].box if wide else box
                matches.append(TextMatch(Segment(tuple(words), box, start.height), place, quality, True, reading))
                break
    return matches


def _letters(text: str) -> str:
    """Return a text for comparison without any sign that is no letter or digit."""
    return "".join(sign for sign in fold(text) if sign.isalnum())


def _right_neighbour(segment: Segment, segments: Sequence[Segment]) -> Segment | None:
    """Return the next segment in the same row, where there is one not too far away."""
    middle = (segment.box.top + segment.box.bottom) / 2
    right = [
        other
        for other in segments
        if other.box.left >= segment.box.right - 0.2 * segment.height
        and other is not segment
        and abs((other.box.top + other.box.bottom) / 2 - middle) < 0.4 * segment.height
        and other.box.left - segment.box.right < 12 * segment.height
    ]
    return min(right, key=lambda other: other.box.left, default=None)


def _wrapped(name: str, segments: Sequence[Segment], reading: int) -> list[TextMatch]:
    """Match a name that continues in the line below."""
    target = fold(name)
    if len(target) < 8 or " " not in name.strip():
        return []
    matches = []
    for upper in segments:
        start = fold(upper.text)
        if not 3 <= len(start) < len(target) or not target.startswith(start):
            continue
        for lower in segments:
            gap = lower.box.top - upper.box.bottom
            below = -0.4 * upper.height <= gap <= 0.9 * upper.height and lower is not upper
            beside = lower.box.left < upper.box.right and upper.box.left < lower.box.right
            if below and beside and target.startswith(start + fold(lower.text)):
                rest = target[len(start) + len(fold(lower.text)) :]
                if len(rest) <= len(target) // 3:
                    quality = 0.93 if not rest else 0.85
                    matches.append(TextMatch(upper, upper.box, quality, not rest, reading))
    return matches
