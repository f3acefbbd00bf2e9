"""Words, interface phrases and made-up strings, split into a training part and a held-out part.

The split is by a stable hash of single words: one in five is held out. A phrase with a held-out word in it is held
out as a whole, so no held-out word is ever part of a training text. Made-up strings follow the same rule.
"""

import random
import re
import zlib
from functools import cache
from typing import Literal

from molmo_agent.envs.drawing.word_lists import DICTIONARY, FOREIGN, PHRASES

WordSplit = Literal["train", "held_out", "all"]

_CONSONANTS = (
    *"bcdfghjklmnprstvwz",
    *("br", "ch", "cl", "cr", "dr", "fl", "gl", "gr", "pl", "pr", "sh", "sl", "sp", "st", "th"),
)
_VOWELS = (*"aeioaeio", "ai", "ea", "ee", "io", "oa", "ou", "u")
_ENDINGS = ("", "", "n", "r", "s", "t", "l", "m", "nd", "st", "rk", "x", "ng")
_SUFFIXES = ("txt", "pdf", "png", "jpg", "zip", "csv", "docx", "xlsx", "mp3", "mp4", "html", "json", "py", "log", "ini")
_DOMAINS = ("com", "org", "net", "io", "de", "fr", "co.uk", "eu")
_TOKEN = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
# With this salt, the words that every interface needs ("OK", "Save", "Password") are in the training part.
_SALT = "2222:"


def is_held_out(text: str) -> bool:
    """Return whether training never shows this text: one of its words has a hash that is set aside."""
    tokens = _TOKEN.findall(text.lower()) or [text]
    return any(zlib.crc32((_SALT + token).encode()) % 5 == 0 for token in tokens)


def _is_in_split(text: str, split: WordSplit) -> bool:
    return split == "all" or is_held_out(text) == (split == "held_out")


@cache
def dictionary(split: WordSplit) -> tuple[str, ...]:
    """Return the common words (English, some German, French, Spanish) of a split, in a fixed order."""
    return tuple(word for word in (*DICTIONARY, *FOREIGN) if _is_in_split(word, split))


@cache
def phrases(split: WordSplit) -> tuple[str, ...]:
    """Return the interface phrases ("Save as...", "Sign in") of a split, in a fixed order."""
    return tuple(phrase for phrase in PHRASES if _is_in_split(phrase, split))


def _syllables(rng: random.Random, count: int) -> str:
    word = "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(count))
    return word + rng.choice(_ENDINGS)


def _random_case(rng: random.Random, word: str) -> str:
    roll = rng.random()
    return word.capitalize() if roll < 0.45 else word.upper() if roll < 0.55 else word


def _invent(rng: random.Random) -> str:
    roll = rng.random()
    if roll < 0.42:
        return _random_case(rng, _syllables(rng, rng.choice((1, 2, 2, 2, 3))))
    if roll < 0.57:
        letters = "abcdefghijklmnopqrstuvwxyz"
        return _random_case(rng, "".join(rng.choice(letters) for _ in range(rng.randint(2, 8))))
    if roll < 0.67:
        return str(rng.randrange(10 ** rng.randint(1, 6)))
    if roll < 0.73:
        return f"{rng.choice('$€£')}{rng.randrange(1000)}.{rng.randrange(100):02d}"
    if roll < 0.80:
        return f"{_syllables(rng, 2)}.{rng.choice(_SUFFIXES)}"
    if roll < 0.84:
        return f"{_syllables(rng, rng.choice((1, 2)))}@{_syllables(rng, 1)}.{rng.choice(_DOMAINS)}"
    if roll < 0.87:
        mark = rng.choice("./-")
        return f"{rng.randint(1, 28):02d}{mark}{rng.randint(1, 12):02d}{mark}20{rng.randint(10, 39)}"
    if roll < 0.90:
        return f"{rng.randrange(24):02d}:{rng.randrange(60):02d}"
    if roll < 0.93:
        return f"{rng.randrange(101)}%"
    if roll < 0.97:
        return f"{_random_case(rng, _syllables(rng, 1))}{rng.choice('-_ ')}{rng.randrange(100)}"
    symbols = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789"
    return "".join(rng.choice(symbols) for _ in range(rng.randint(4, 9)))


def pseudo_word(rng: random.Random, split: WordSplit = "all") -> str:
    """Make up a string: pronounceable or random letters, numbers, prices, file names, e-mail addresses, codes."""
    while True:
        text = _invent(rng)
        if _is_in_split(text, split):
            return text


def word(rng: random.Random, split: WordSplit = "all") -> str:
    """Return a dictionary word in lower case, capitals or capitalised."""
    return _random_case(rng, rng.choice(dictionary(split)))


def short_text(rng: random.Random, split: WordSplit = "all", most_words: int = 3) -> str:
    """Return one to three words, half of the time invented, now and then an interface phrase."""
    roll = rng.random()
    if roll < 0.08 and most_words > 1:
        return rng.choice(phrases(split))
    count = min(rng.choice((1, 1, 1, 2, 2, 3)), most_words)
    parts = [pseudo_word(rng, split) if rng.random() < 0.5 else rng.choice(dictionary(split)) for _ in range(count)]
    if count > 1 or rng.random() < 0.5:
        parts[0] = parts[0][:1].upper() + parts[0][1:]
    elif rng.random() < 0.15:
        parts[0] = parts[0].upper()
    return " ".join(parts)


def label(rng: random.Random, split: WordSplit = "all") -> str:
    """Return a label for a control: an interface phrase, a word or two, rarely a made-up name."""
    roll = rng.random()
    if roll < 0.45:
        return rng.choice(phrases(split))
    if roll < 0.75:
        first = rng.choice(dictionary(split)).capitalize()
        return first if rng.random() < 0.55 else f"{first} {rng.choice(dictionary(split))}"
    return short_text(rng, split, 2)


def person(rng: random.Random, split: WordSplit = "all") -> str:
    """Return a made-up full name."""
    return f"{_name(rng, split)} {_name(rng, split)}"


def _name(rng: random.Random, split: WordSplit) -> str:
    while True:
        name = _syllables(rng, 2).capitalize()
        if _is_in_split(name, split):
            return name


def file_name(rng: random.Random, split: WordSplit = "all") -> str:
    """Return a file name with an ending."""
    while True:
        stem = rng.choice(dictionary(split)) if rng.random() < 0.6 else _syllables(rng, 2)
        if rng.random() < 0.3:
            stem += rng.choice(("_", "-", " ")) + str(rng.randrange(100))
        name = f"{stem}.{rng.choice(_SUFFIXES)}"
        if _is_in_split(name, split):
            return name


def sentence(rng: random.Random, split: WordSplit, num_words: int) -> str:
    """Return a line of running text: dictionary words, capitalised, with a full stop."""
    words = [rng.choice(dictionary(split)) for _ in range(num_words)]
    return " ".join(words).capitalize() + rng.choice((".", ".", "?", ":"))
