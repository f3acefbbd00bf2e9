"""Confidences made honest: a line on their log-odds, fitted on screens that are used for nothing else.

A model's own probability of the digits that it writes is no probability of a hit: the neighbouring whole percent would
have hit as well. Two numbers (Platt 1999), kept in the checkpoint's profile, make one of the other.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Self

# Log-odds are taken of nothing closer to 0 and 1.
EDGE = 1e-6


def log_odds(probability: float) -> float:
    """Return the log-odds of a probability, which is kept off 0 and 1."""
    inside = min(max(probability, EDGE), 1 - EDGE)
    return math.log(inside / (1 - inside))


def probability_of(odds: float) -> float:
    """Return the probability that has these log-odds."""
    # Written so that exp() cannot overflow.
    return 1 / (1 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1 + math.exp(odds))


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Log-odds of a hit = slope * log-odds of the model's own confidence + offset.

    Raises:
        ValueError: the slope is not above zero, or one of them is no finite number.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        numbers = all(isinstance(value, int | float) for value in (self.slope, self.offset))
        if not numbers or not (0 < self.slope < math.inf and math.isfinite(self.offset)):
            raise ValueError(f"expected a slope above 0 and an offset, got {self.slope!r} and {self.offset!r}")

    def apply(self, confidence: float) -> float:
        """Return the probability of a hit."""
        return probability_of(self.slope * log_odds(confidence) + self.offset)

    def undo(self, probability: float) -> float:
        """Return the model's own confidence that has this probability of a hit."""
        return probability_of((log_odds(probability) - self.offset) / self.slope)

    def to_dict(self) -> dict[str, float]:
        """Return what a profile holds."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Read what a profile holds.

        Raises:
            ValueError: it holds something else.
        """
        try:
            return cls(**data)
        except TypeError as error:
            raise ValueError(f'expected {{"slope": ..., "offset": ...}}, got {data!r}') from error
