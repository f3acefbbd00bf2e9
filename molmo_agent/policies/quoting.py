"""Quoted text inside of an instruction: where it is, so that nobody looks for words in it."""

from dataclasses import dataclass

_CLOSING = {"“": "”", "„": "“", "«": "»", "‹": "›", "「": "」", "『": "』", "`": "`", '"': '"', "'": "'", "‘": "’"}
# Stands for a character inside of quotes or of a placeholder, where no word of ours is to be found.
_MASK = "\0"


def mask_quotes(text: str) -> tuple[str, dict[int, int]]:
    """Return the text with quoted parts and placeholders blotted out, and where each quoted part begins and ends.

    Straight quotes and apostrophes look alike on both sides: one opens after a blank and closes before one, so the
    apostrophe in "Ada's" and the inch sign in ``5" nail`` are neither.
    """
    masked, quotes, i = list(text), {}, 0
    while i < len(text):
        end = _closing(text, i) if text[i] in _CLOSING else -1
        if end > 0:
            quotes[i] = end
        elif text.startswith("{{", i):
            end = text.find("}}", i) + 2
            end = end if end >= 4 else -1
        if end > 0:
            masked[i:end] = _MASK * (end - i)
        i = max(end, i + 1)
    return "".join(masked), quotes


def _closing(text: str, start: int) -> int:
    """Return the position after the closing quote of the one at ``start``, or -1."""
    quote = text[start]
    plain = quote in "\"'`‘"
    if plain and start and (text[start - 1].isalnum() or text[start - 1] in "\"'"):
        return -1
    end = start
    while (end := text.find(_CLOSING[quote], end + 1)) >= 0:
        inside_word = end + 1 < len(text) and text[end + 1].isalnum()
        if not (plain and inside_word):
            return end + 1
    return -1


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of an instruction: its words as written, and with quotes and placeholders blotted out."""

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

    def sentence(self) -> "Part":
        """Return the piece without one full stop, question or exclamation mark at its end."""
        stop = len(self.text) > 1 and self.mask[-1] in ".!?" and self.mask[-2] not in ".!?"
        return self.cut(0, len(self.text) - 1) if stop else self

    def quoted(self) -> str | None:
        """Return what stands in quotes, if that is all there is."""
        return self.text[1:-1] if self.quotes.get(0) == len(self.text) else None
