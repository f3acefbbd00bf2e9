"""When a model's points are right: each on its target, and no other."""

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from molmo_agent.data.row import Target
from molmo_agent.episode import PointResult
from molmo_agent.geometry import Box, Point

NEAR = 0.04
"""Without a box, a point hits within this fraction of the image's diagonal."""


def all_hit(fits: Sequence[Sequence[bool]]) -> bool:
    """Return whether points and targets can be matched one to one so that every point hits its target.

    Args:
        fits: for every point a row, that says of every target whether the point hits it; as many of both, at least one.
    """
    misses = ~np.array(fits, dtype=bool)
    return not misses[linear_sum_assignment(misses)].any()


def is_hit(result: PointResult, target: Target, image_size: tuple[int, int]) -> bool:
    """Return whether an answer is correct: exactly one point on each target.

    Args:
        result: of a model.
        target: the correct points; without points, the correct status is "none".
        image_size: (width, height) of the image in pixels.
    """
    if not target.points:
        return result.status == "none"
    if result.status != "ok" or len(result.points) != len(target.points):
        return False
    boxes: Sequence[Box | None] = target.boxes or [None] * len(target.points)
    return all_hit(
        [
            [_is_on(prediction.point, point, box, image_size) for point, box in zip(target.points, boxes, strict=True)]
            for prediction in result.points
        ]
    )


def _is_on(predicted: Point, point: Point, box: Box | None, image_size: tuple[int, int]) -> bool:
    if box is not None:
        return box.contains(predicted)
    width, height = image_size
    return math.hypot((predicted.x - point.x) * width, (predicted.y - point.y) * height) <= NEAR * math.hypot(
        width, height
    )
