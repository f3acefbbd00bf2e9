"""Words of English captions: sentences, the words that carry meaning, and whether one text supports another."""

import re

_FUNCTION_TEXT = (
    "a an and are as at be been being but by can could did do does for from had has have he her hers him his how i if "
    "in into is it its me my no not of on or our she so some such than that the their them then there these they this "
    "those to was we were what when where which while who whose why will with would you your yes image picture photo "
    "shows show shown see seen visible appears also"
)
_FUNCTION_WORDS = frozenset(_FUNCTION_TEXT.split())
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_DIGITS = {word: str(number) for number, word in enumerate(NUMBERS)}
_WORD = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)?")


def sentences(text: str) -> list[str]:
    """Return the sentences of a text."""
    parts = re.split(r"(?<=[.!?])[\"'\u201d]?\s+(?=[\"'\u201c]?[^\W\d_a-z])|\n+", text.strip())
    return [part.strip() for part in parts if part.strip()]


def _stem(word: str) -> str:
    word = _DIGITS.get(word, word)
    for ending, instead in (("ies", "y"), ("sses", "ss"), ("shes", "sh"), ("ches", "ch"), ("xes", "x"), ("s", "")):
        if word.endswith(ending) and len(word) > len(ending) + 2 and not word.endswith("ss"):
            return word[: -len(ending)] + instead
    return word


def content_words(text: str) -> set[str]:
    """Return the words that carry meaning, in lower case, plurals and numbers reduced to one form."""
    words = (re.sub(r"['\u2019]s$", "", word) for word in _WORD.findall(text.casefold()))
    return {_stem(word) for word in words if word not in _FUNCTION_WORDS}


def overlap(first: str, second: str) -> float:
    """Return the share of the smaller text's content words that both have; 0 where one has none."""
    one, two = content_words(first), content_words(second)
    return len(one & two) / min(len(one), len(two)) if one and two else 0.0
