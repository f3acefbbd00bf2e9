"""Extract short answers from replies, and compare them as texts or numbers."""

import math
import re
from collections import Counter
from collections.abc import Sequence

from molmo_agent.evaluation.metrics.reference import ReferenceFailure

_WORDS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen twenty"
)
NUMBER_WORDS = _WORDS.split()
"""The English words for 0 to 20, in order."""

_MARKER = re.compile(r"answer\s*:", re.IGNORECASE)

# ASCII digits; commas only where they group thousands.
_NUMBER = r"[+-]?(?:[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_NUMBER_IN_TEXT = re.compile(rf"(?<![\w.,]){_NUMBER}(?!\w|[.,]?[0-9])")


def clean_answer(reply: str, *, reference_quirks: bool = False) -> str:
    """Return the short answer of a reply: the text after "Answer:", else its most frequent line, spaces collapsed.

    The reference knows only "Answer:" written so, takes the piece between the first and the second one as it stands,
    and lets blank lines vote. By default the last marker counts, in any case, and blank lines do not.
    """
    reply = reply.strip()
    if not reference_quirks:
        reply = _MARKER.split(reply)[-1]
    elif "Answer:" in reply:
        return reply.split("Answer:")[1].strip()
    lines = [" ".join(line.split()) for line in reply.split("\n")]
    if not reference_quirks:
        lines = [line for line in lines if line] or [""]
    # The first of equally frequent ones.
    return Counter(lines).most_common(1)[0][0]


def edit_distance(first: str, second: str) -> int:
    """Return the Levenshtein distance in characters."""
    row = list(range(len(second) + 1))
    for i, a in enumerate(first, 1):
        diagonal, row[0] = row[0], i
        for j, b in enumerate(second, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (a != b))
    return row[-1]


def stands_alone(name: str, text: str) -> bool:
    """Return whether a name occurs in a text as separate words; a number must not be part of a longer number."""
    return re.search(rf"(?<![\w-])(?<![0-9][.,]){re.escape(name)}(?!\w|[.,][0-9])", text) is not None


def number(text: str) -> float | None:
    """Parse a text as a number; return None if it is not a finite number."""
    text = text.strip()
    value = float(text.replace(",", "")) if re.fullmatch(_NUMBER, text) else math.inf
    return value if math.isfinite(value) else None


def numbers_in(text: str) -> list[float]:
    """Return the numbers that stand alone in a text."""
    return [float(match[0].replace(",", "")) for match in _NUMBER_IN_TEXT.finditer(text)]


def exact_match(reply: str, answers: Sequence[str]) -> bool:
    """Return whether the (cleaned) reply is one of the answers, ignoring case."""
    return reply.lower() in (answer.lower() for answer in answers)


def a_okvqa(reply: str, answers: Sequence[str]) -> float:
    """Return min(matches / 3, 1) over the annotators' answers, A-OKVQA's rule: only case and outer spaces vanish."""
    prediction = reply.lower().strip()
    return min(sum(answer.lower().strip() == prediction for answer in answers) / 3, 1.0)


def anls(reply: str, answers: Sequence[str], *, reference_quirks: bool = False) -> float:
    """Return the average normalized Levenshtein similarity of one reply: the best over the answers, 0 under one half.

    The rule of DocVQA (arXiv 1907.00490, equation 1): similarity is 1 - distance / longer length, in lower case, and
    counts only where the second term is less than 0.5.

    Raises:
        ReferenceFailure: with ``reference_quirks``, an answer and the reply are both empty (by default they match).
        ValueError: no answers.
    """
    return max(_similarity(reply, answer, reference_quirks) for answer in answers)


def _similarity(reply: str, answer: str, reference_quirks: bool) -> float:
    lowered = reply.lower(), answer.lower()
    # The reference measures before lower-casing, which can lengthen a text.
    length = max(map(len, (reply, answer) if reference_quirks else lowered))
    if length == 0:
        if reference_quirks:
            raise ReferenceFailure("ZeroDivisionError", "reply and answer are empty")
        return 1.0
    distance = edit_distance(*lowered) / length
    return 1 - distance if distance < 0.5 else 0.0


def relaxed(reply: str, answers: Sequence[str], *, reference_quirks: bool = False) -> bool:
    """Return whether the reply is within 5 % of an answer, or the same text if they are not numbers (any case).

    ChartQA's rule (arXiv 2203.10244, section 5.1); a percent sign divides by 100. Years are numbers like others, so
    1919 passes for 2019: the rule knows nothing of what a number means. The reference reads numbers as Python does
    (``1_0``, no thousands separators), drops any number of percent signs, and compares with zero as text.
    """
    return any(_near(reply, answer, reference_quirks) for answer in answers)


def _near(reply: str, answer: str, reference_quirks: bool) -> bool:
    read = _reference_value if reference_quirks else _value
    prediction, target = read(reply), read(answer)
    if prediction is None or target is None or (reference_quirks and target == 0):
        return reply.lower() == answer.lower()
    return prediction == target if target == 0 else abs(prediction - target) / abs(target) <= 0.05


def _value(text: str) -> float | None:
    whole, percent = text.strip(), 1
    if whole.endswith("%"):
        whole, percent = whole[:-1], 100
    value = number(whole)
    return None if value is None else value / percent


def _reference_value(text: str) -> float | None:
    try:
        return float(text.rstrip("%")) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
