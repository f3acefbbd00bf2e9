"""How sure a share is."""

import math


def wilson(successes: float, n: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson score interval of a share, 95 % by default (Wilson 1927); (0, 1) when nothing was tried.

    Args:
        successes: how many of ``n``. A sum of scores in [0, 1] may stand in: they vary less than hits and misses with
            the same mean, so the interval is then rather too wide than too narrow.
        n: how many were tried.
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
