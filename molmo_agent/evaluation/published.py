"""The scores that were published, beside ours."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from molmo_agent.evaluation.benchmarks import Published


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One published figure and ours, in percent."""

    # Which of our scores, with its group where it is not of all questions.
    score: str
    model: str
    published: float
    # Where the figure was read.
    source: str
    # As the authors' code scores, with its 95 % interval.
    ours: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Say whether ours is above, below, or not to be told apart."""
        return "below" if self.published > self.high else "above" if self.published < self.low else "not told apart"


@lru_cache(maxsize=1)
def published_scores() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return model -> key -> "score" in percent and "source", as the package has them."""
    text = (files("molmo_agent.evaluation") / "published_scores.json").read_text(encoding="utf-8")
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]] = json.loads(text)["scores"]
    return scores


def compare(
    entries: Sequence[Published], summary: Mapping[str, Any], options: Mapping[str, str | None]
) -> list[Comparison]:
    """Return the published figures that a summary compares with, the highest first.

    Args:
        entries: of the benchmark.
        summary: see :func:`molmo_agent.evaluation.run.summarise`.
        options: what the benchmark's reader was given.
    """
    found = []
    for entry in entries:
        if any(options.get(name) not in values for name, values in entry.when.items()):
            continue
        part = summary["groups"].get(entry.group) if entry.group else summary
        row = part and part["reference"].get(entry.score)
        if not row:
            continue
        mine = {name: 100 * row[key] for name, key in (("ours", "mean"), ("low", "low"), ("high", "high"))}
        name = f"{entry.score}, {entry.group}" if entry.group else entry.score
        rows = [
            Comparison(score=name, model=model, published=known["score"], source=known["source"], **mine)
            for model, scores in published_scores().items()
            if (known := scores.get(entry.key))
        ]
        found += sorted(rows, key=lambda row: -row.published)
    return found
