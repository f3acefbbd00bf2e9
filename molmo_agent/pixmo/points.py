"""Points that people set: whether two of them set the same ones, and the rows of PixMo-Points.

Here points are fractions of the upright image; in the file they are percent with one decimal.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from molmo_agent.geometry import Point

# People hit different parts of one target: half the way to the next target, but at most this share of the longer side.
_MAX_TOLERANCE, _MIN_TOLERANCE = 0.15, 0.01
METHODS = ("pointing", "counting")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What several annotators say together about one name in one image."""

    # None: they disagree, and somebody has to settle it.
    points: tuple[Point, ...] | None
    num_annotators: int


def to_percent(point: Point) -> tuple[float, float]:
    """Return a point as the file holds it: 0 to 100 with one decimal."""
    return round(100 * point.x, 1), round(100 * point.y, 1)


def label_key(label: str) -> str:
    """Return what makes two labels the same name: case and spaces do not matter."""
    return " ".join(label.casefold().split())


def _scaled(points: Sequence[Point], size: tuple[int, int]) -> Any:
    longer = max(size)
    return np.array([(p.x * size[0] / longer, p.y * size[1] / longer) for p in points], dtype=float).reshape(-1, 2)


def _distances(first: Any, second: Any) -> Any:
    return np.linalg.norm(first[:, None] - second[None], axis=-1)


def _tolerance(points: Any) -> float:
    if len(points) < 2:
        return _MAX_TOLERANCE
    between = _distances(points, points) + np.diag(np.full(len(points), np.inf))
    return float(np.clip(between.min() / 2, _MIN_TOLERANCE, _MAX_TOLERANCE))


def match(first: Sequence[Point], second: Sequence[Point], size: tuple[int, int]) -> list[int] | None:
    """Pair the points of two annotators.

    Args:
        first: fractions of the image.
        second: the same.
        size: (width, height) of the image, any unit.

    Returns:
        For each point of ``first`` the index of its partner in ``second``; None where they differ in number, or a pair
        is farther apart than half the way to the next target.
    """
    if len(first) != len(second):
        return None
    here, there = _scaled(first, size), _scaled(second, size)
    distances = _distances(here, there)
    _, partners = linear_sum_assignment(distances)
    reach = min(_tolerance(here), _tolerance(there))
    if any(distances[i, partner] > reach for i, partner in enumerate(partners)):
        return None
    return [int(partner) for partner in partners]


def agree(answers: Mapping[str, Sequence[Point]], size: tuple[int, int]) -> Verdict:
    """Return the points that most of the annotators set, each in the middle of theirs.

    Args:
        answers: the points of each annotator, at least one; no points: it is not there.
        size: (width, height) of the image.
    """
    everyone = list(answers.values())
    if len(everyone) == 1:
        return Verdict(tuple(everyone[0]), 1)
    best: list[list[Point]] = []
    for first in everyone:
        groups = []
        for other in everyone:
            partners = match(first, other, size)
            if partners is not None:
                groups.append([other[partner] for partner in partners])
        if len(groups) > len(best):
            best = groups
    if 2 * len(best) <= len(everyone):
        return Verdict(None, len(everyone))
    middles = (
        Point(sum(p.x for p in same) / len(same), sum(p.y for p in same) / len(same))
        for same in zip(*best, strict=True)
    )
    return Verdict(tuple(middles), len(best))


def points_row(url: str, sha256: str, label: str, points: Sequence[Point], method: str) -> dict[str, Any]:
    """Return a row of PixMo-Points; no points: the target is not in the image."""
    percents = [to_percent(point) for point in points]
    return {
        "image_url": url,
        "image_sha256": sha256,
        "label": label,
        "points": [{"x": x, "y": y} for x, y in percents],
        "count": len(percents),
        "collection_method": method,
    }
