"""Compare the models before and after training on the hold-out clicks.

Both models run as in use, through their pointing profiles.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from molmo_agent.data.catalog import open_mixture
from molmo_agent.data.hits import is_hit
from molmo_agent.data.row import Rows, Target
from molmo_agent.data.unusable_rows import ROW_ERRORS, Problem, reason_of
from molmo_agent.episode import Image, PointResult
from molmo_agent.evaluation.metrics.interval import wilson
from molmo_agent.files import write_whole
from molmo_agent.interfaces import PointingModel
from molmo_agent.registry import load_model
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.starting_model import source_of

FILE = "held_out.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickComparison:
    """One hold-out click, with the answers of both models."""

    image: str
    target: Target
    before: PointResult
    after: PointResult
    hit_before: bool
    hit_after: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """A hit rate with its 95 % Wilson interval."""

    hits: int
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, hits: Sequence[bool]) -> "Hits":
        """Count the hits."""
        low, high = wilson(sum(hits), len(hits))
        return cls(hits=sum(hits), n=len(hits), low=low, high=high)

    def __str__(self) -> str:
        """Return a readable form: "31 of 50, 62 % (48 to 74)"."""
        if not self.n:
            return "none asked"
        share, low, high = (100 * part for part in (self.hits / self.n, self.low, self.high))
        return f"{self.hits} of {self.n}, {share:.0f} % ({low:.0f} to {high:.0f})"


def _clicks(sources: Sequence[Rows]) -> Iterator[tuple[str, Image, list[Target]]]:
    for source in sources:
        for number in range(len(source)):
            try:
                row = source.row(number, 0)
                targets = [one.target for one in row.conversations if one.target is not None]
                image = row.image() if targets and row.image is not None else None
            except ROW_ERRORS as error:
                source.problems.add(Problem(file="hold-out set", reason=reason_of(error), record=number))
                continue
            if image is not None:
                yield row.name, image, targets


def compare(before: PointingModel, after: PointingModel, config: TrainConfig) -> list[ClickComparison]:
    """Ask two models for every hold-out click of a run; rows without a click are skipped.

    Raises:
        UsageError: a data set cannot be opened, or has too few rows for a hold-out set.
    """
    sources = [source for source in config.mixture if source.hold_out]
    comparisons = []
    for name, image, targets in _clicks(open_mixture(sources, config.home, held_out=True)):
        size = image.shape[1], image.shape[0]
        images, words = [image] * len(targets), [target.instruction for target in targets]
        answers = before.point_batch(images, words), after.point_batch(images, words)
        for target, first, then in zip(targets, *answers, strict=True):
            hits = [is_hit(result, target, size) for result in (first, then)]
            comparisons.append(
                ClickComparison(
                    image=name,
                    target=target,
                    before=first,
                    after=then,
                    hit_before=hits[0],
                    hit_after=hits[1],
                )
            )
    return comparisons


def report(comparisons: Sequence[ClickComparison]) -> tuple[Hits, Hits]:
    """Return the hits before and after."""
    return Hits.of([one.hit_before for one in comparisons]), Hits.of([one.hit_after for one in comparisons])


def compare_run(config: TrainConfig, folder: Path) -> list[ClickComparison]:
    """Compare the model that a run started from with the one it exported.

    Raises:
        UsageError: a data set cannot be opened, or has too few rows for a hold-out set.
        ModelError: one of the models cannot be loaded.
    """
    sources = [source for source in config.mixture if source.hold_out]
    if next(_clicks(open_mixture(sources, config.home, held_out=True)), None) is None:
        # Words alone: loading the models would be for nothing.
        return []
    # Load both in float32: half precision is slow on CPUs, and the comparison must not depend on it.
    before, after = (load_model(str(place), dtype=torch.float32) for place in (source_of(config), folder / "export"))
    return compare(before, after, config)


def write_comparison(config: TrainConfig, folder: Path, comparisons: Sequence[ClickComparison]) -> None:
    """Write the answers of both models beside the run's metrics."""
    first, then = report(comparisons)
    records = [
        {
            "picture": one.image,
            **asdict(one.target),
            **{
                when: {
                    "hit": hit,
                    "status": result.status,
                    "points": [asdict(prediction.point) for prediction in result.points],
                }
                for when, hit, result in (("before", one.hit_before, one.before), ("after", one.hit_after, one.after))
            },
        }
        for one in comparisons
    ]
    summary = {"model": config.model, "before": asdict(first), "after": asdict(then), "clicks": records}
    text = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
    write_whole(folder / FILE, text)
