"""Numbers and repetitions: "three", "twice", "5 times"."""

import re

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.quoting import Part

_NUMBER_WORDS = ["a", "an", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
COUNT = rf"\d{{1,4}}(?:\.\d{{1,3}})?|{'|'.join(_NUMBER_WORDS)}"
"""A pattern for a number that :func:`number` reads."""

_TIMES = re.compile(rf"(?:^(?=(?-i:[a-z\d]))|\s+)(?:(once|twice)|(?:({COUNT}|\d+)\s+times))$", re.IGNORECASE)

# "Many times", "-3 times", "thrice"; but "the New York Times".
_OTHER_TIMES = re.compile(r"(?:\stimes|\sthrice)$")


_TIMES_FIRST = re.compile(rf"(once|twice|(?:{COUNT}|\d+)\s+times)\s+(?:on|at)\s+", re.IGNORECASE)
_SIGNS = re.compile(r"\s*,\s*(?:and\s+)?|\s+and\s+|\s+")


def number(word: str) -> float:
    """Return the value of a number in digits or words."""
    word = {"once": "one", "twice": "two"}.get(word.lower(), word.lower())
    return float(max(1, _NUMBER_WORDS.index(word) - 1 + (word == "a"))) if word in _NUMBER_WORDS else float(word)


def read_times(rest: Part) -> tuple[Part, int]:
    """Take "twice" or "3 times" off the end.

    Raises:
        UsageError: it is not a whole number from 1 to 20.
    """
    if not (match := _TIMES.search(rest.mask)):
        if _OTHER_TIMES.search(rest.mask):
            raise UsageError(
                f"{rest.text!r}: expected 1 to 20 times, in digits or words; say for example: click Next 3 times"
            )
        return rest, 1
    times = ("once", "twice").index(match[1].lower()) + 1 if match[1] else number(match[2])
    if not (times == int(times) and 1 <= times <= 20):
        raise UsageError(f"{rest.text!r}: expected 1 to 20 times, got {match[2]}")
    return rest.cut(0, match.start()), int(times)


def times_last(rest: Part) -> Part:
    """Return ``on Next 3 times`` for ``3 times on Next``."""
    if match := _TIMES_FIRST.match(rest.mask):
        return rest.cut(match.end()).sentence().then(rest.cut(*match.span(1)))
    return rest


def read_signs(phrase: Part) -> list[str]:
    """Return the signs of ``7, 8 and =``; nothing unless the phrase is a list of at least two, each one sign."""
    signs = _SIGNS.split(phrase.mask)
    is_list = len(signs) > 1 and "," in phrase.mask and all(len(sign) == 1 and sign != "\0" for sign in signs)
    return signs if is_list else []
