"""Lists of words in several languages, and how a text is matched with them."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from molmo_agent.risk.folding import fold, readings, words_of

_LONGEST_PHRASE = 4
# Letters that text engines take for each other.
_ALIKE = ("aeocsu", "il1tjfr", "hnbukr", "gq9yp", "vyuw", "s58z", "mnw", "dcla")
# Shorter words are too near to others.
_MISREAD_LETTERS = 6
# Scripts that are written without spaces, or whose words carry endings: matched anywhere in a text.
_UNSPACED = re.compile(r"[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


class Vocabulary:
    """Words of several languages, written in tables: language -> words, separated by spaces.

    In a word, ``_`` is a space, ``*`` at the end stands for any ending, and ``=`` at the start means that the whole
    text is this word: "Order" on its own, not in "Order history".

    Args:
        tables: one for each language.
    """

    def __init__(self, tables: Mapping[str, str]) -> None:
        self.languages = tuple(tables)
        self._exact: set[str] = set()
        self._stems: set[str] = set()
        self._whole: set[str] = set()
        self._parts: set[str] = set()
        for entry in " ".join(tables.values()).split():
            word = fold(entry.strip("=*").replace("_", " "))
            if entry.startswith("="):
                self._whole.add(word)
            elif _UNSPACED.search(word):
                self._parts.add(word)
            elif entry.endswith("*"):
                self._stems.add(word)
            else:
                self._exact.add(word)
                if " " in word:
                    # Text engines lose spaces.
                    self._stems.add(word.replace(" ", ""))
        self._by_length = sorted(self._parts, key=lambda part: (-len(part), part))

    def find(self, text: str, besides: "Vocabulary | None" = None) -> str:
        """Return the first listed word or phrase of a text, as it is written there, or an empty string.

        Args:
            text: as it is read; disguised spellings count, see :func:`molmo_agent.risk.folding.readings`.
            besides: phrases in which a listed word does not count.
        """
        original = text.split()
        for reading in readings(text):
            words = words_of(reading)
            if " ".join(words) in self._whole:
                return text.strip()
            if part := self._part_of(reading, besides):
                return part
            skipped = besides.places(words) if besides is not None else frozenset()
            for start, length in self._phrases(words):
                if not skipped.issuperset(range(start, start + length)):
                    source = original if len(original) == len(words) else words
                    return " ".join(source[start : start + length]).strip(".,:;!?…\"'()[]")
        return ""

    def places(self, words: Sequence[str]) -> frozenset[int]:
        """Return the numbers of the folded words that belong to listed words and phrases."""
        return frozenset(place for start, length in self._phrases(words) for place in range(start, start + length))

    def covers(self, text: str, besides: Iterable[str] = ()) -> bool:
        """Return whether a text consists of listed words and phrases, at least one, of numbers and the words besides.

        Only the plain reading counts: a disguised word is not one that is known to be harmless.
        """
        folded = fold(text)
        words, others = words_of(folded), set(besides)
        if " ".join(words) in self._whole:
            return True
        known = self.places(words)
        rest = [word for place, word in enumerate(words) if place not in known]
        unknown = [word for word in rest if word not in others and not word.isdigit() and not self._is_of_parts(word)]
        return not unknown and (bool(known) or any(map(self._is_of_parts, words)))

    def meant(self, word: str) -> str:
        """Return the listed word that a folded word is in the singular or plural, or misread by a letter, or ""."""
        forms = (f"{word}s", word.removesuffix("s"), word.removesuffix("es"))
        if form := next((form for form in forms if form != word and form in self._exact), ""):
            return form
        if len(word) + 1 < _MISREAD_LETTERS:
            return ""
        long = (one for one in self._exact if len(one) >= _MISREAD_LETTERS and " " not in one)
        return min((one for one in long if _is_misread(word, one)), default="")

    def has_near(self, word: str) -> bool:
        """Return whether a listed word, or the beginning of one, differs from a folded word by a letter at most."""
        stems = (stem for stem in self._stems if " " not in stem)
        return any(_differ_by_one(word, one) for one in self._exact) or any(
            _differ_by_one(word[:length], stem) for stem in stems for length in range(len(stem) - 1, len(stem) + 2)
        )

    def _phrases(self, words: Sequence[str]) -> Iterator[tuple[int, int]]:
        """Yield (start, length) of listed words and phrases, the longest at each place."""
        for start in range(len(words)):
            for length in range(min(_LONGEST_PHRASE, len(words) - start), 0, -1):
                if self._has(" ".join(words[start : start + length])):
                    yield start, length
                    break

    def _has(self, phrase: str) -> bool:
        # A stem of several words ends within the last one.
        least = phrase.rfind(" ") + 2
        return phrase in self._exact or any(phrase[:end] in self._stems for end in range(least, len(phrase) + 1))

    def _part_of(self, reading: str, besides: "Vocabulary | None") -> str:
        """Return the listed part of a text in a script without spaces, or an empty string."""
        for part in besides._parts if besides is not None else ():
            reading = reading.replace(part, " ")
        return next((part for part in self._by_length if part in reading), "")

    def _is_of_parts(self, word: str) -> bool:
        for part in self._by_length:
            word = word.replace(part, "")
        return not word


def _is_misread(read: str, word: str) -> bool:
    """Return whether a word was read with a letter left out, or with one taken for another that looks like it."""
    if len(read) + 1 == len(word):
        return _differ_by_one(read, word)
    pairs = [pair for pair in zip(read, word, strict=False) if pair[0] != pair[1]]
    return len(read) == len(word) and len(pairs) == 1 and any({*pairs[0]} <= {*letters} for letters in _ALIKE)


def _differ_by_one(first: str, second: str) -> bool:
    """Return whether two words are the same but for one letter, changed, left out or added."""
    if abs(len(first) - len(second)) > 1:
        return False
    start = next(
        (n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    if len(first) == len(second):
        return first[start + 1 :] == second[start + 1 :]
    shorter, longer = sorted((first, second), key=len)
    return shorter[start:] == longer[start + 1 :]
