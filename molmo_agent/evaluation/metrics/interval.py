"""Confidence intervals of shares and means."""

import math
from collections.abc import Sequence

import numpy as np


def wilson(successes: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a share, 95 % by default (Wilson 1927); (0, 1) if ``n`` is 0.

    Args:
        successes: how many of ``n``. A sum of scores in [0, 1] may stand in: they vary less than hits and misses with
            the same mean, so the interval is then rather too wide than too narrow.
        n: number of trials.
        z: normal quantile of the confidence.

    Raises:
        ValueError: not 0 <= successes <= n.
    """
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n, got {successes} of {n}")
    if n == 0:
        return 0.0, 1.0
    share, square = successes / n, z * z / n
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / n + square / (4 * n)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(values: Sequence[float], *, resamples: int = 2000, seed: int = 0) -> tuple[float, float]:
    """Return the percentile bootstrap interval of a mean, 95 % (Efron 1979); the same values give the same interval.

    Args:
        values: scores; at least one.
        resamples: number of resampled means.
        seed: of the draws.

    Raises:
        ValueError: no values.
    """
    if not values:
        raise ValueError("expected at least one value, got none")
    distinct, counts = np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    # A mean needs only the count of each distinct value, which is a thousand times less work than drawing the values.
    samples = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=resamples)
    low, high = np.quantile(samples @ distinct / len(values), (0.025, 0.975))
    return float(low), float(high)
