"""Calibration of confidences: of all answers with a confidence of 70 %, 70 % should be right."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from molmo_agent.pointers.calibration import Calibration, log_odds

BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """A bin of answers with similar confidence."""

    # Edges of the bin: low < confidence <= high; the first bin includes 0.
    low: float
    high: float
    n: int
    hits: int
    # Mean confidence in the bin.
    confidence: float


def reliability(confidences: Sequence[float], hits: Sequence[bool], bins: int = BINS) -> list[Bin]:
    """Sort answers into bins of equal width by their confidence; empty bins are skipped.

    Args:
        confidences: in [0, 1].
        hits: whether each answer was right.
        bins: number of bins.

    Raises:
        ValueError: the two differ in length.
    """
    if len(confidences) != len(hits):
        raise ValueError(f"expected a verdict per confidence, got {len(confidences)} and {len(hits)}")
    values, right = np.asarray(confidences, dtype=np.float64), np.asarray(hits, dtype=bool)
    number = np.clip(np.ceil(values * bins) - 1, 0, bins - 1).astype(int)
    return [
        Bin(
            low=i / bins,
            high=(i + 1) / bins,
            n=int((number == i).sum()),
            hits=int(right[number == i].sum()),
            confidence=float(values[number == i].mean()),
        )
        for i in range(bins)
        if (number == i).any()
    ]


def calibration_error(confidences: Sequence[float], hits: Sequence[bool], bins: int = BINS) -> float:
    """Return the expected calibration error: the mean difference of confidence and hit rate over bins (Guo 2017).

    Args:
        confidences: in [0, 1], at least one.
        hits: whether each answer was right.
        bins: number of bins of equal width.

    Raises:
        ValueError: there is none, or the two differ in length.
    """
    if not confidences:
        raise ValueError("expected at least one confidence, got none")
    bins_of = reliability(confidences, hits, bins)
    return sum(one.n * abs(one.confidence - one.hits / one.n) for one in bins_of) / len(confidences)


def fit(confidences: Sequence[float], hits: Sequence[bool]) -> Calibration:
    """Fit slope and offset by maximum likelihood, with Platt's targets, which keep both finite.

    Args:
        confidences: uncalibrated, in [0, 1].
        hits: whether each answer was right.

    Raises:
        ValueError: there are no hits, or nothing but hits: nothing can be learned from them.
    """
    right = np.asarray(hits, dtype=bool)
    count, total = int(right.sum()), len(right)
    if len(confidences) != total or not 0 < count < total:
        raise ValueError(
            f"expected hits and misses, one per confidence, got {count} hits of {total} and "
            f"{len(confidences)} confidences; ask about more screens"
        )
    odds = np.array([log_odds(confidence) for confidence in confidences])
    target = np.where(right, (count + 1) / (count + 2), 1 / (total - count + 2))

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        score = line[0] * odds + line[1]
        # log(1 + e^s) - t s is minus the log-likelihood of a target t.
        slip = 1 / (1 + np.exp(-score)) - target
        return float((np.logaddexp(0, score) - target * score).mean()), np.array([(slip * odds).mean(), slip.mean()])

    # With a slope of zero or less, higher confidence would mean fewer hits.
    optimum = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=[(1e-3, 50.0), (-50.0, 50.0)])
    return Calibration(slope=float(optimum.x[0]), offset=float(optimum.x[1]))
