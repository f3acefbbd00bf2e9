"""How step benchmarks compare typed texts."""

from collections.abc import Sequence
from string import punctuation


def same(gold: str, said: str) -> bool:
    """Return whether two texts are equal; case and blanks around them do not count."""
    return gold.strip().casefold() == said.strip().casefold()


def contained(gold: str, said: str) -> bool:
    """Return whether one text contains the other; an empty text is contained only in an empty one."""
    return (gold in said or said in gold) if gold and said else gold == said


def token_f1(said: Sequence[str], gold: Sequence[str]) -> float:
    """Return the F1 of two sets of tokens; 1 if both are empty."""
    ours, theirs = set(said), set(gold)
    if not ours or not theirs:
        return float(ours == theirs)
    common = len(ours & theirs)
    return 2 * common / (len(ours) + len(theirs))


def without_punctuation(tokens: Sequence[str]) -> list[str]:
    """Return the tokens that are no punctuation, as UGround's script removes it: parts of string.punctuation."""
    return [token for token in tokens if token not in punctuation]


def edit_similarity(gold: str, said: str) -> float:
    """Return one minus the edit distance over the length of the longer text; 1 for two empty texts."""
    longest = max(len(gold), len(said))
    return 1 - _distance(gold, said, replace=1) / longest if longest else 1.0


def edit_ratio(gold: str, said: str) -> float:
    """Return the share of characters that remain if only insertions and deletions count; 1 for two empty texts."""
    both = len(gold) + len(said)
    return 1 - _distance(gold, said, replace=2) / both if both else 1.0


def _distance(first: str, second: str, *, replace: int) -> int:
    above = list(range(len(second) + 1))
    for i, letter in enumerate(first, 1):
        row = [i]
        for j, other in enumerate(second, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (letter != other) * replace))
        above = row
    return above[-1]
