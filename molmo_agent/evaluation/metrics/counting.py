"""Read and score the count in a reply."""

import re
from dataclasses import dataclass

from molmo_agent.evaluation.metrics.pointing import read_points
from molmo_agent.evaluation.metrics.reference import Generation
from molmo_agent.evaluation.metrics.text import NUMBER_WORDS

_TAG = re.compile(r"<[^>]*>")
_NUMBER = re.compile(rf"(?<![\w.,-])(?:[0-9]+|{'|'.join(NUMBER_WORDS)})(?![\w-]|[.,][0-9])")


@dataclass(frozen=True, slots=True)
class CountScore:
    """The score of a count."""

    # None if the reply has no count.
    count: int | None
    target: int

    @property
    def correct(self) -> bool:
        """Whether the count is right."""
        return self.count == self.target

    @property
    def close(self) -> bool:
        """Whether the count is right or off by one."""
        return self.count is not None and abs(self.count - self.target) <= 1

    @property
    def valid(self) -> bool:
        """Whether the reply has a count."""
        return self.count is not None


def counting(reply: str, count: int, *, reference_quirks: bool = False, generation: Generation = "molmo") -> CountScore:
    """Score a reply against the true count.

    By default the count of a reply is, in this order: its last word as a number, "a total of N", "none", the only
    number in its text, the number of its points. The first code ("molmo") reads only the first two, and the second of
    them in the first line only. Its test for "none" never matches, so the correct answer zero is scored as wrong. Its
    successor ("molmo2") counts points only: a correct number without points is wrong, and any text without points is
    correct for zero.
    """
    text = reply.strip().lower().rstrip(".").strip()
    if not reference_quirks:
        return CountScore(_read_count(_TAG.sub(" ", text), text), count)
    if generation == "molmo2":
        return CountScore(len(read_points(text, (100, 100), "molmo2")), count)
    count_in_text = _last_word(text)
    if count_in_text is None and (total := re.match(r".*a total of ([0-9]+)", text)):
        count_in_text = int(total[1])
    return CountScore(count_in_text, count)


def _read_count(prose: str, text: str) -> int | None:
    count_in_text = _last_word(prose)
    if count_in_text is not None:
        return count_in_text
    if totals := re.findall(r"a total of ([0-9]+)", prose):
        return int(totals[-1])
    if re.search(r"\bnone\b", prose):
        return 0
    numbers = _NUMBER.findall(prose)
    if len(numbers) == 1:
        return _last_word(numbers[0])
    return len(read_points(text, (100, 100), "molmo2")) or None


def _last_word(text: str) -> int | None:
    word = (text.split() or [""])[-1]
    if word in NUMBER_WORDS:
        return NUMBER_WORDS.index(word)
    try:
        return int(word)
    except ValueError:
        return None
