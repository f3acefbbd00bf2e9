"""Whether training helped: clicks that were kept from it, asked of the model before and of the one after.

Both are asked as they are used, through their pointing profiles. Knows no tables and no training.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from molmo_agent.data.catalog import open_mixture
from molmo_agent.data.row import Rows, Target
from molmo_agent.episode import Image, PointResult
from molmo_agent.evaluation.metrics.interval import wilson
from molmo_agent.evaluation.metrics.pointing import all_hit
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import PointingModel
from molmo_agent.registry import load_model
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.starting_model import source_of

FILE = "held_out.json"
NEAR = 0.04
"""Where no box is given, a point hits within this share of the picture's diagonal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One click that was kept from training, and what the two models said."""

    picture: str
    target: Target
    before: PointResult
    after: PointResult
    hit_before: bool
    hit_after: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hits:
    """A share of clicks that hit, with its 95 % Wilson interval."""

    hits: int
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, hits: Sequence[bool]) -> "Hits":
        """Count."""
        low, high = wilson(sum(hits), len(hits))
        return cls(hits=sum(hits), n=len(hits), low=low, high=high)

    def __str__(self) -> str:
        """Say it for people: "31 of 50, 62 % (48 to 74)"."""
        if not self.n:
            return "none asked"
        share, low, high = (100 * part for part in (self.hits / self.n, self.low, self.high))
        return f"{self.hits} of {self.n}, {share:.0f} % ({low:.0f} to {high:.0f})"


def is_hit(result: PointResult, target: Target, size: tuple[int, int]) -> bool:
    """Tell whether an answer would have clicked right: as many points as there are targets, each on one of its own.

    Args:
        result: of a model.
        target: where it is; without points, right is to say that there is none.
        size: (height, width) of the picture in pixels, which decide what is near.
    """
    if not target.points:
        return result.status == "none"
    if result.status != "ok" or len(result.points) != len(target.points):
        return False
    boxes: Sequence[Box | None] = target.boxes or [None] * len(target.points)
    return all_hit(
        [
            [_is_on(found.point, point, box, size) for point, box in zip(target.points, boxes, strict=True)]
            for found in result.points
        ]
    )


def _is_on(found: Point, point: Point, box: Box | None, size: tuple[int, int]) -> bool:
    if box is not None:
        return box.contains(found)
    height, width = size
    return math.hypot((found.x - point.x) * width, (found.y - point.y) * height) <= NEAR * math.hypot(width, height)


def _clicks(sources: Sequence[Rows]) -> Iterator[tuple[str, Image, list[Target]]]:
    for source in sources:
        for number in range(len(source)):
            row = source.row(number, 0)
            targets = [one.target for one in row.conversations if one.target is not None]
            if targets and row.image is not None:
                yield row.name, row.image(), targets


def compare(before: PointingModel, after: PointingModel, config: TrainConfig) -> list[Asked]:
    """Ask two models for every click that a run keeps from training; rows that are no clicks are left out.

    Raises:
        UsageError: a data set cannot be opened, or has too few rows to hold some out.
    """
    kept = [source for source in config.mixture if source.hold_out]
    asked = []
    for name, image, targets in _clicks(open_mixture(kept, config.home, held_out=True)):
        pictures, words = [image] * len(targets), [target.instruction for target in targets]
        answers = before.point_batch(pictures, words), after.point_batch(pictures, words)
        for target, first, then in zip(targets, *answers, strict=True):
            hits = [is_hit(result, target, image.shape[:2]) for result in (first, then)]
            asked.append(
                Asked(
                    picture=name,
                    target=target,
                    before=first,
                    after=then,
                    hit_before=hits[0],
                    hit_after=hits[1],
                )
            )
    return asked


def report(asked: Sequence[Asked]) -> tuple[Hits, Hits]:
    """Return the hits before and after."""
    return Hits.of([one.hit_before for one in asked]), Hits.of([one.hit_after for one in asked])


def compare_run(config: TrainConfig, folder: Path) -> list[Asked]:
    """Compare the model that a run began with and the one that it exported.

    Raises:
        UsageError: a data set cannot be opened, or has too few rows to hold some out.
        ModelError: one of the models cannot be loaded.
    """
    # Of both in the same precision: half of it is slow on processors, and not what differs.
    before, after = (load_model(str(place), dtype=torch.float32) for place in (source_of(config), folder / "export"))
    return compare(before, after, config)


def write_comparison(config: TrainConfig, folder: Path, asked: Sequence[Asked]) -> None:
    """Write what both models said beside the run's metrics."""
    first, then = report(asked)
    records = [
        {
            "picture": one.picture,
            **asdict(one.target),
            **{
                when: {"hit": hit, "status": said.status, "points": [asdict(found.point) for found in said.points]}
                for when, hit, said in (("before", one.hit_before, one.before), ("after", one.hit_after, one.after))
            },
        }
        for one in asked
    ]
    summary = {"model": config.model, "before": asdict(first), "after": asdict(then), "clicks": records}
    text = json.dumps(summary, indent=1, ensure_ascii=False) + "\n"
    (folder / FILE).write_text(text, encoding="utf-8", errors="backslashreplace")
