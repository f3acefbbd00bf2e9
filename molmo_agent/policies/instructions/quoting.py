"""Find quoted text in an instruction, so that the grammar reads no words in it."""

import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from molmo_agent.errors import UsageError

_CLOSING = {"“": "”", "„": "“", "«": "»", "‹": "›", "「": "」", "『": "』", "`": "`", '"': '"', "'": "'", "‘": "’"}
# Replaces a character in quotes or in a placeholder, where the grammar must not find words.
_MASK = "\0"
KEY = "\1"
"""Replaces a sign that names a key, so that it neither separates nor quotes: the comma in ``ctrl+,``."""

# Signs that people and keyboards use for an apostrophe, and signs that look like a blank but are none.
_APOSTROPHES = frozenset("'’‘‛＇`´ʼ′ʻˈʹ՚ꞌ‵")
_LIKE_A_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
_LINE_ENDS = frozenset("\v\f\x1c\x1d\x1e\x85\u2028\u2029")


def mask_quotes(text: str, keys: Collection[int] = ()) -> tuple[str, dict[int, int]]:
    """Return the text with quoted parts and placeholders masked, and the start and end of each quoted part.

    Straight quotes and apostrophes look alike on both sides: one opens after a blank and closes before one, so the
    apostrophe in "Ada's" and the inch sign in ``5" nail`` are neither. The signs at the positions ``keys`` are masked
    as keys, unless they are quoted.

    Outside of quotes the mask has one sign for all that look alike: every apostrophe is ``'``, every blank a blank, and
    full-width and styled letters are plain ones.

    Raises:
        UsageError: a quote begins inside a quote of the same sign, or an invisible character stands outside of quotes.
    """
    mask, quotes, i = list(text), {}, 0
    # Quotes that are not closed here are not closed further on either; looking again would take quadratic time.
    unclosed: set[str] = set()
    while i < len(text):
        end = -1
        if i in keys:
            mask[i] = KEY
        elif text[i] in _CLOSING and text[i] not in unclosed and _opens(text, i):
            end = _closing(text, i)
            if end > 0:
                _refuse_nested(text, i, end)
                quotes[i] = end
            else:
                unclosed.add(text[i])
        elif text.startswith("{{", i) and "{{" not in unclosed:
            end = text.find("}}", i) + 2
            if end < 2:
                unclosed.add("{{")
        if end > 0:
            mask[i:end] = _MASK * (end - i)
        elif i not in keys:
            mask[i] = _plain(text, i)
        i = max(end, i + 1)
    return "".join(mask), quotes


# The same sign on both sides, or one that is an apostrophe as well.
_PLAIN = "\"'`‘"


def _opens(text: str, start: int) -> bool:
    """Tell whether a quote may begin there: a plain one needs a blank or a sign before it."""
    return start == 0 or text[start] not in _PLAIN or not (text[start - 1].isalnum() or text[start - 1] in "\"'")


def _closing(text: str, start: int) -> int:
    """Return the position after the closing quote of the one at ``start``, or -1."""
    quote = text[start]
    end = start
    while (end := text.find(_CLOSING[quote], end + 1)) >= 0:
        inside_word = end + 1 < len(text) and text[end + 1].isalnum()
        if not (quote in _PLAIN and inside_word):
            return end + 1
    return -1


def _refuse_nested(text: str, start: int, end: int) -> None:
    """Refuse ``"say "hi" now"``: it is not clear which quote ends the text."""
    quote = text[start]
    inner = start
    while quote in _PLAIN and 0 < (inner := text.find(quote, inner + 1)) < end - 1:
        if text[inner - 1].isspace() and text[inner + 1].isalnum():
            other = "'" if quote == '"' else '"'
            raise UsageError(
                f"{text[start:end][:60]!r}: a quote begins inside a quote; use another sign outside, "
                f"such as {other}...{other}"
            )


def _plain(text: str, position: int) -> str:
    """Return the sign that stands in the mask for a character outside of quotes."""
    char = text[position]
    if char in _APOSTROPHES:
        return "'"
    if char in _LINE_ENDS:
        return "\n"
    if char in "\n\r\t" or " " <= char <= "~":
        return char
    if char.isspace() or char in _LIKE_A_BLANK:
        return " "
    category = unicodedata.category(char)
    # A joiner is a part of Persian words and of emoji; beside a Latin letter it only hides something.
    beside = text[max(0, position - 1) : position] + text[position + 1 : position + 2]
    if category == "Cc" or (category == "Cf" and (beside.isascii() or unicodedata.bidirectional(char) != "BN")):
        raise UsageError(
            f"expected visible text, got the invisible character U+{ord(char):04X} at position {position + 1}; "
            "delete it, or put the text around it in quotes"
        )
    plain = unicodedata.normalize("NFKC", char)
    return plain if len(plain) == 1 and (plain.isalnum() or plain in ",;?!.:") else char


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an instruction: its words as written, and with quotes and placeholders masked."""

    text: str
    mask: str
    # Ends of quoted parts by their starts, counted from the start of this piece.
    quotes: dict[int, int]

    def cut(self, start: int, end: int | None = None) -> "Part":
        """Return a piece of this piece without the blanks and commas around it."""
        end = len(self.text) if end is None else end
        while start < end and self.mask[start] in " \t\r\n,;:":
            start += 1
        while start < end and self.mask[end - 1] in " \t\r\n,;:":
            end -= 1
        quotes = {a - start: b - start for a, b in self.quotes.items() if start <= a and b <= end}
        return Part(self.text[start:end], self.mask[start:end], quotes)

    def sentence(self, marks: str = ".!?") -> "Part":
        """Return the piece without one of these marks at its end: a full stop, question or exclamation mark."""
        stop = len(self.text) > 1 and self.mask[-1] in marks and self.mask[-2] not in ".!?"
        return self.cut(0, len(self.text) - 1) if stop else self

    def then(self, other: "Part") -> "Part":
        """Return this piece with another one behind it, as if they had been written so."""
        behind = len(self.text) + 1
        quotes = self.quotes | {start + behind: end + behind for start, end in other.quotes.items()}
        return Part(f"{self.text} {other.text}", f"{self.mask} {other.mask}", quotes)

    def quoted(self) -> str | None:
        """Return what stands in quotes, if that is all there is."""
        return self.text[1:-1] if self.quotes.get(0) == len(self.text) else None

    def spoken(self) -> str:
        """Return the words without the quotes around some of them: ``the + key`` of ``the "+" key``."""
        marks = {mark for start, end in self.quotes.items() for mark in (start, end - 1)}
        return "".join(char for i, char in enumerate(self.text) if i not in marks)
