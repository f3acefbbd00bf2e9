"""A second look where a pointing model is unsure: what lies around its point, twice as large. Knows no env.

A small model sees a large screen shrunk. The part around a doubtful point is cut out, enlarged to the size of the whole
picture and asked about once more; of the two answers the surer one counts. Where a model gives no confidence nothing is
done at all.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
import PIL.Image

from molmo_agent.episode import Image, PointResult
from molmo_agent.geometry import Point
from molmo_agent.interfaces import ModelTraits, PointingModel, model_traits
from molmo_agent.pointers.wrapped import WrappedPointer
from molmo_agent.transforms import ImageTransform

MAGNIFICATION = 2


def unsure(result: PointResult, min_confidence: float) -> bool:
    """Tell whether an answer is one point whose confidence is below a threshold."""
    single = result.status == "ok" and len(result.points) == 1
    return single and result.confidence is not None and result.confidence < min_confidence


def closer(width: int, height: int, point: Point) -> ImageTransform:
    """Return the view around a point of a picture: as large as the picture, and all of it inside of the picture.

    Args:
        width: of the picture, in pixels.
        height: of the picture, in pixels.
        point: in the middle of the view, unless that would reach over the border.
    """
    edges = []
    for side, place in zip((width, height), point.to_pixels(width, height), strict=True):
        part = max(1, side // MAGNIFICATION)
        first = min(max(place - part // 2, 0), side - part)
        edges.append((first, first + part))
    (left, right), (top, bottom) = edges
    return ImageTransform.identity(width, height).crop(left, top, right, bottom).resize(width, height)


def look(image: Image, view: ImageTransform) -> Image:
    """Return the picture that a view of :func:`closer` shows."""
    crop, resize = view.steps
    left, top, right, bottom = map(int, crop.values)
    width, height = map(int, resize.values)
    part = PIL.Image.fromarray(image).crop((left, top, right, bottom))
    return np.asarray(part.resize((width, height), PIL.Image.Resampling.BICUBIC))


class ZoomPointer(WrappedPointer):
    """A pointing model that looks closer, once, where it is unsure.

    Args:
        model: asked as it is; then about the view around its point.
        min_confidence: answers that are at least so sure are left alone.
    """

    def __init__(self, model: PointingModel, min_confidence: float) -> None:
        if not 0 <= min_confidence <= 1:
            raise ValueError(f"expected a confidence in [0, 1], got {min_confidence}")
        super().__init__(model)
        self.min_confidence = min_confidence

    @property
    def traits(self) -> ModelTraits:
        """What the model inside says of itself, with this threshold."""
        return dataclasses.replace(model_traits(self.inner), min_confidence=self.min_confidence, zooms=True)

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer several questions; the doubtful ones are asked again together, and the replies then hold both."""
        results = self.inner.point_batch(images, instructions)
        doubtful = [i for i, result in enumerate(results) if unsure(result, self.min_confidence)]
        if not doubtful:
            return results
        views = [closer(images[i].shape[1], images[i].shape[0], results[i].points[0].point) for i in doubtful]
        seconds = self.inner.point_batch(
            [look(images[i], view) for i, view in zip(doubtful, views, strict=True)],
            [instructions[i] for i in doubtful],
        )
        for i, view, second in zip(doubtful, views, seconds, strict=True):
            results[i] = _better(results[i], second, view)
        return results


def _better(first: PointResult, second: PointResult, view: ImageTransform) -> PointResult:
    """Return the surer one of an answer and that about a view, with both replies and the time of both."""
    reply = f"{first.reply}\nlooked closer, {view.describe()}: {second.reply}"
    better = first
    if (
        second.status == "ok"
        and len(second.points) == 1
        and second.confidence is not None
        and first.confidence is not None
        and second.confidence > first.confidence
    ):
        closer_point = second.points[0]
        place = dataclasses.replace(closer_point, point=view.to_whole(closer_point.point))
        better = dataclasses.replace(second, points=(place,))
    return dataclasses.replace(better, reply=reply, latency_s=first.latency_s + second.latency_s, composed=True)
