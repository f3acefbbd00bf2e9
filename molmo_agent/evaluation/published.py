"""Compare our scores with published ones."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

from molmo_agent.evaluation.benchmarks import PublishedScore


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One published figure and ours, in percent."""

    # The name of our score, with its group unless it covers all questions.
    score: str
    model: str
    published: float
    # Source of the published figure.
    source: str
    # Scored as the authors' code does, with its 95 % interval.
    ours: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Return whether ours is above, below, or statistically indistinguishable."""
        return (
            "below" if self.published > self.high else "above" if self.published < self.low else "within the interval"
        )


@lru_cache(maxsize=1)
def published_scores() -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return model -> key -> "score" in percent and "source", from the package's JSON file."""
    text = (files("molmo_agent.evaluation") / "published_scores.json").read_text(encoding="utf-8")
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]] = json.loads(text)["scores"]
    return scores


def compare(
    entries: Sequence[PublishedScore], summary: Mapping[str, Any], options: Mapping[str, str | None]
) -> list[Comparison]:
    """Return the published figures comparable with a summary, highest first.

    Args:
        entries: of the benchmark.
        summary: see :func:`molmo_agent.evaluation.run.summarise`.
        options: of the benchmark's reader.
    """
    comparisons = []
    for entry in entries:
        if any(options.get(name) not in values for name, values in entry.when.items()):
            continue
        part = summary["groups"].get(entry.group) if entry.group else summary
        if entry.over_groups:
            part = summary.get("mean over groups")
            if part is None or part["missing"]:
                continue
        row = part and part["reference"].get(entry.score)
        if not row:
            continue
        mine = {name: 100 * row[key] for name, key in (("ours", "mean"), ("low", "low"), ("high", "high"))}
        name = f"{entry.score}, {entry.group}" if entry.group else entry.score
        rows = [
            Comparison(score=name, model=model, published=score["score"], source=score["source"], **mine)
            for model, scores in published_scores().items()
            if (score := scores.get(entry.key))
        ]
        comparisons += sorted(rows, key=lambda row: -row.published)
    return comparisons
