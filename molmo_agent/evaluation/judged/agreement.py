"""How far two judges agree."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The agreement of two judges on the same items."""

    n: int
    # Share of items with the same verdict, in [0, 1].
    share: float
    # Cohen's kappa; None if both give one and the same verdict everywhere, where it is undefined.
    kappa: float | None


def agreement(first: Sequence[Hashable], second: Sequence[Hashable]) -> Agreement:
    """Return the share of equal verdicts and Cohen's kappa (Cohen 1960).

    Raises:
        ValueError: no verdicts, or not the same number of them.
    """
    n = len(first)
    if n == 0 or n != len(second):
        raise ValueError(f"expected verdicts of two judges on the same items, got {n} and {len(second)}")
    share = sum(a == b for a, b in zip(first, second, strict=True)) / n
    chance = sum((first.count(label) / n) * (second.count(label) / n) for label in {*first, *second})
    return Agreement(n=n, share=share, kappa=None if chance == 1 else (share - chance) / (1 - chance))
