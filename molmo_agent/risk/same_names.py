"""Whether a text holds a name, or is one that was read wrongly, or a key among the digits of a keypad."""

from collections.abc import Sequence
from difflib import SequenceMatcher

from molmo_agent.risk.folding import fold, words_of

# Keys of a calculator have so many letters, and so many of the ten digits beside them.
_KEY_LETTERS, _KEYPAD_DIGITS, _DIGITS = 4, 7, frozenset("0123456789")
# Names of so many letters are the same if this share of them is.
_LONG_NAME, _ALIKE = 8, 0.9


def is_key(text: str, around: Sequence[str]) -> bool:
    """Return whether a short name stands among digits, as the keys of a calculator do."""
    return len(text) <= _KEY_LETTERS and len({one for one in around if one in _DIGITS}) >= _KEYPAD_DIGITS


def has_words(text: str, name: str) -> bool:
    """Return whether a text holds the words of a name, at least one, in their order."""
    inner, outer = (" ".join(words_of(fold(one))) for one in (name, text))
    return bool(inner) and f" {inner} " in f" {outer} "


def is_nearly(text: str, name: str) -> bool:
    """Return whether two texts are the same but for a letter or two that were read wrongly."""
    first, second = (" ".join(words_of(fold(one))) for one in (text, name))
    return min(len(first), len(second)) >= _LONG_NAME and SequenceMatcher(None, first, second).ratio() >= _ALIKE
