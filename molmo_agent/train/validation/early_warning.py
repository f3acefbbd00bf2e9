"""Warn early of a run that goes wrong: one line for each kind of trouble, once."""

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from molmo_agent.errors import DataError
from molmo_agent.parse import json_lines

# A spike: this many times the median of the last losses, and so many of their usual deviations above it.
_TIMES, _DEVIATIONS, _WINDOW, _LEAST = 1.5, 8.0, 100, 20
# So many examples of a data set without a usable one: it is dead.
_DEAD_AFTER = 32


class EarlyWarning:
    """Watches the records of a run's steps.

    Args:
        shares: the share of each data set in the examples, by name.
        num_examples: of the whole run.
    """

    def __init__(self, shares: Mapping[str, float], num_examples: int) -> None:
        self._losses: deque[float] = deque(maxlen=_WINDOW)
        self._told: set[str] = set()
        self._drawn: Counter[str] = Counter()
        self._used: Counter[str] = Counter()
        self._rare = {name: share * num_examples for name, share in shares.items() if 0 < share * num_examples < 1}

    def replay(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Take note of the steps before a restart: what was reported then is not reported again."""
        for record in records:
            self.observe(record, ())

    def observe(self, record: Mapping[str, Any], skip_reasons: Sequence[str]) -> list[str]:
        """Return what to report after a step.

        Args:
            record: with "step" and "loss", and with "drawn" and "used": numbers of examples by data set.
            skip_reasons: why examples of the step could not be used.
        """
        warnings = {
            f"rare {name}": (
                f"the data set {name!r} is unlikely to be sampled: {expected:.2g} examples are expected in the whole "
                "run; raise its rate or the number of steps"
            )
            for name, expected in self._rare.items()
        }
        self._drawn.update(record.get("drawn", {}))
        self._used.update(record.get("used", {}))
        for name, count in self._drawn.items():
            if count >= _DEAD_AFTER and not self._used[name]:
                reason = f", the last: {skip_reasons[-1]}" if skip_reasons else ""
                warnings[f"dead {name}"] = (
                    f"none of {count} examples of the data set {name!r} could be used{reason}; agent data check says "
                    "why of each"
                )
        loss = float(record["loss"])
        if self._is_spike(loss):
            usual = median(self._losses)
            warnings["spike"] = (
                f"the loss rose to {loss:.3f} at step {record['step']}, from a median of {usual:.3f} over the last "
                f"{len(self._losses)} steps; if it stays there, lower the learning rates or lengthen the warm-up"
            )
        self._losses.append(loss)
        new = [text for key, text in warnings.items() if key not in self._told]
        self._told |= warnings.keys()
        return new

    def _is_spike(self, loss: float) -> bool:
        if len(self._losses) < _LEAST:
            return False
        usual = median(self._losses)
        deviation = median(abs(one - usual) for one in self._losses)
        return loss > _TIMES * usual and loss > usual + _DEVIATIONS * deviation


def records_until(folder: Path, step: int) -> list[dict[str, Any]]:
    """Return the metrics of a run's steps until this one; none if the file is damaged, which resuming reports."""
    path = folder / "metrics.jsonl"
    if not step or not path.exists():
        return []
    try:
        rows = [row for _, row in json_lines(path, nan=True, on_cut_end=lambda _: None)]
        return [row for row in rows if row["step"] <= step]
    except (DataError, KeyError, TypeError):
        return []
