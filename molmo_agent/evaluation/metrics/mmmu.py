"""MMMU's metric for multiple-choice and open questions: the official parser's rules, and corrected ones."""

import math
import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase

from molmo_agent.evaluation.metrics.text import number, numbers_in, stands_alone

_SIGNS = ",.!?;:'"
# The answer is expected behind the last of these.
_KEYS = ("could be ", "so ", "is ", "thus ", "therefore ", "final ", "answer ", "result ")

# The official patterns find parts of numbers too: "1,000" also holds 0, "1e-3" also -3.
_OFFICIAL_NUMBERS = (
    re.compile(r"-?\b\d{1,3}(?:,\d{3})+\b"),
    re.compile(r"-?\d+(?:\.\d+)?[eE][+-]?\d+"),
    re.compile(r"-?(?:\d*\.\d+|\d+\b)(?![eE][+-]?\d|[,\d])"),
)


def mmmu_choice(reply: str, options: Sequence[str], *, reference_quirks: bool = False) -> str | None:
    """Return the letter that a reply chooses; None if nothing matches.

    The last letter or option text that is mentioned counts, as in the official parser, even "not C". The reference
    draws a random letter where nothing matches; nobody can reproduce that, and here it earns nothing in either mode.

    Args:
        reply: the (cleaned) reply.
        options: their letters are A, B, ... after empty ones are dropped.
        reference_quirks: bracketed letters beat later bare ones, a letter that touches punctuation is not seen, small
            letters are not letters, and option texts are looked for in replies of more than five words only.
    """
    letters = dict(zip(ascii_uppercase, filter(None, options), strict=False))
    if reference_quirks:
        return _official_letter(reply, letters)
    bare = reply.strip(f"{_SIGNS}() \n")
    for letter, option in letters.items():
        if bare.lower() in (option.lower(), letter.lower()):
            return letter
    mentioned = re.findall(r"(?<!\w)([A-Z])(?!\w|'\w)", reply)
    candidates = [letter for letter in mentioned if letter in letters]
    return candidates[-1] if candidates else _last_mentioned(reply.lower(), _lowered(letters))


def _official_letter(reply: str, letters: Mapping[str, str]) -> str | None:
    for sign in _SIGNS:
        reply = reply.strip(sign)
    reply = f" {reply} "
    for form in ("({})", " {} "):
        if letter_of := _last_mentioned(reply, {letter: form.format(letter) for letter in letters}):
            return letter_of
    return _last_mentioned(reply.lower(), _lowered(letters)) if len(reply.split()) > 5 else None


def _lowered(letters: Mapping[str, str]) -> dict[str, str]:
    return {letter: option.lower() for letter, option in letters.items()}


def _last_mentioned(text: str, forms: Mapping[str, str]) -> str | None:
    """Return the key of the form that starts last in the text."""
    places = {key: text.rfind(form) for key, form in forms.items()}
    last = max(places, key=places.__getitem__, default=None)
    return last if last is not None and places[last] >= 0 else None


def parse_mmmu_open(reply: str, *, reference_quirks: bool = False) -> tuple[float | str, ...]:
    """Return the possible answers in a reply to an open question: numbers, ascending, then texts.

    Texts are what follows a key word ("is", "so", "=", ...) in each line, the whole reply if there is none; numbers
    are in these texts. The reference rounds numbers to two decimals and misreads those with a leading point, with
    commas or with an exponent.
    """
    # Both ends would cost ".5" its point.
    reply = reply.strip().strip(".") if reference_quirks else reply.strip().rstrip(".")
    phrases = _key_phrases(reply.lower())
    values: set[float | str] = set()
    for phrase in phrases:
        if reference_quirks:
            numerals = [match[0] for pattern in _OFFICIAL_NUMBERS for match in pattern.finditer(phrase)]
            values.update(*map(_official_values, [phrase, *numerals]))
        else:
            values.update([phrase, *numbers_in(phrase)])
    numbers = sorted(value for value in values if isinstance(value, float))
    texts = sorted(value for value in values if isinstance(value, str))
    return (*numbers, *texts)


def _key_phrases(reply: str) -> list[str]:
    phrases = []
    *lines, last = reply.split("\n")
    for line, keys in [*((line, _KEYS) for line in lines), (last, (*_KEYS, "="))]:
        shortest = ""
        for tail in (line.rpartition(key)[2].strip() for key in keys if key in line):
            if not shortest or len(tail) < len(shortest):
                shortest = tail
        if shortest and (len(shortest) > 1 or shortest not in _SIGNS):
            phrases.append(shortest)
    return phrases or [reply]


def _official_values(text: str) -> list[float | str]:
    text = text.strip()
    try:
        return [round(float(text.replace(",", "")), 2)]
    except ValueError:
        # A lone character must not match inside of words.
        return [f" {text.lower()}", f"{text.lower()} "] if len(text) == 1 else [text.lower()]


def mmmu_open(reply: str, answers: Sequence[str] | str, *, reference_quirks: bool = False) -> bool:
    """Return whether a (cleaned) reply to an open question contains one of the answers.

    By default a text must hold the answer as words of its own, and numbers may differ by 0.005 and by 1 %. The
    reference finds "blue" in "bluebird" too, and compares numbers rounded to two decimals, so 0.001 passes for 0.
    """
    answers = [answers] if isinstance(answers, str) else answers
    predictions = parse_mmmu_open(reply, reference_quirks=reference_quirks)
    if reference_quirks:
        targets = [value for answer in answers for value in _official_values(answer)]
        return any(
            value in targets if isinstance(value, float) else any(isinstance(w, str) and w in value for w in targets)
            for value in predictions
        )
    return any(_holds(value, answer.strip().lower()) for value in predictions for answer in answers)


def _holds(value: float | str, answer: str) -> bool:
    if isinstance(value, str):
        return value == answer or (bool(answer) and stands_alone(answer, value))
    target = number(answer)
    return target is not None and abs(value - target) <= 0.005 and math.isclose(value, target, rel_tol=0.01)
