"""Numbers and repetitions: "three", "twice", "5 times"."""

import itertools
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
# "Click the button again" is a click, "click Try again" names a label.
_AGAIN = re.compile(
    r"(?:(?<=^it)|(?<=^this)|(?<=^that)|(?<=\0)|(?<=\w)(?<!try)(?<!play)(?<!ask)(?<!start)(?<!show)(?<!watch))"
    r"\s+(?:once\s+(?:more|again)|one\s+more\s+time|again)$"
)
_NAMED = re.compile(r"(?:(?:on|at)\s+)?(?:(?:the|this|that|my)\s|(?:it|this|that)(?!\w)|\0)")
# "The boxes for Monday and Friday": names of one box each.
_THINGS = re.compile(
    r"(?P<the>the\s+)?(?P<noun>(?:check\s?|tick\s?)?boxe|(?:radio\s)?button|switche|toggle|tile)s\s+"
    r"(?:(?:for|named|called|labell?ed|next\s+to)\s+|:\s*)?(?P<names>\S.*)",
    re.IGNORECASE,
)
_COMMA = re.compile(r"\s*,\s*(?:and\s+)?|\s+(?:and|&)\s+")
_ONE_NAME = re.compile(
    r"(?!(?:the|an?|in|on|at|with|from|under|of|to|by|that|which|who|left|right|below|above|next|for|is|are)\s)"
    r"(?:\0+|[\w.'-]+(?:\s[\w.'-]+){0,2})"
)


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


def _read_quoted(phrase: Part) -> list[str]:
    """Return the names of ``"Milk" and "Eggs"``; nothing unless the phrase is two or more names in quotes."""
    if both := re.match(r"both\s+(?=\0)", phrase.mask, re.IGNORECASE):
        phrase = phrase.cut(both.end())
    names = list(phrase.quotes.items())
    between = [phrase.mask[end:start] for (_, end), (start, _) in itertools.pairwise(names)]
    is_list = len(names) > 1 and names[0][0] == 0 and names[-1][1] == len(phrase.mask)
    if not is_list or not all(_COMMA.fullmatch(joint) for joint in between):
        return []
    return [phrase.text[start:end] for start, end in names]


def read_several(phrase: Part, *, is_click: bool) -> list[str]:
    """Return the targets of a phrase that names several, one for each step; nothing where it names one.

    Signs may be pressed or tapped in a row; only a click is repeated for names, because the first effect of other
    gestures may hide the second target.
    """
    signs = _read_signs(phrase)
    return signs or (_read_things(phrase) or _read_quoted(phrase) if is_click else [])


def without_again(rest: Part) -> Part:
    """Return ``the button`` for ``the button again``; a label such as ``Try again`` stays whole."""
    again = _AGAIN.search(rest.mask)
    return rest.cut(0, again.start()) if again and _NAMED.match(rest.mask) else rest


def times_last(rest: Part) -> Part:
    """Return ``on Next 3 times`` for ``3 times on Next``."""
    if match := _TIMES_FIRST.match(rest.mask):
        return rest.cut(match.end()).sentence().then(rest.cut(*match.span(1)))
    return rest


def _read_signs(phrase: Part) -> list[str]:
    """Return the signs of ``7, 8 and =``; nothing unless the phrase is a list of at least two, each one sign."""
    signs = _SIGNS.split(phrase.mask)
    is_list = len(signs) > 1 and "," in phrase.mask and all(len(sign) == 1 and sign != "\0" for sign in signs)
    return signs if is_list else []


def _read_things(phrase: Part) -> list[str]:
    """Return one name for each of ``the boxes for Monday, Tuesday and Friday``; nothing for other phrases.

    The plural says that there are several, so that "and" joins two of them.
    """
    match = _THINGS.fullmatch(phrase.mask)
    if match is None:
        return []
    names, edges = phrase.cut(*match.span("names")), [0]
    joints = list(_COMMA.finditer(names.mask))
    for joint in joints:
        edges += joint.span()
    items = [names.cut(*span) for span in zip(edges[::2], [*edges[1::2], len(names.mask)], strict=True)]
    # "Terms and Conditions and Privacy" may be two.
    is_clear = all("," in joint[0] for joint in joints[:-1]) and all(_ONE_NAME.fullmatch(item.mask) for item in items)
    if len(items) < 2 or not is_clear:
        return []
    plural = match["noun"] + "s"
    noun = plural[:-2] if plural[-3:].lower() in ("xes", "hes") else plural[:-1]
    one = phrase.cut(0, match.start("names")).text.replace(plural, noun, 1)
    return [f"{one} {item.text}" for item in items]
