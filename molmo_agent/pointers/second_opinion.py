"""A second opinion on a model's points: where another model is sure of another place, the point is doubtful."""

import dataclasses
from collections.abc import Sequence

from molmo_agent.episode import Image, PointResult
from molmo_agent.interfaces import ModelTraits, PointingModel, model_traits
from molmo_agent.pointers.wrapped import WrappedPointer

# Of a model that reports no confidence: its points are held to this once a second opinion exists.
MIN_CONFIDENCE = 0.5
# The second model counts where it is at least so sure of one place.
_SURE = 0.8
# Two points nearer than this, in fractions of the image, are the same place: about half a button.
_NEAR = 0.03
# What remains of a confidence that a sure second opinion contradicts.
_CONTRADICTED = 0.25


class SecondOpinion(WrappedPointer):
    """A pointing model whose confidence depends on another one: higher where they agree, low where they differ.

    Points are always those of the first model. Questions that the second cannot answer keep the first one's confidence.

    Args:
        model: answers.
        other: is asked the same; ``reader`` is quick, and sure of exact words.
    """

    def __init__(self, model: PointingModel, other: PointingModel) -> None:
        super().__init__(model)
        self.other = other

    @property
    def traits(self) -> ModelTraits:
        """The traits of the model inside, with a threshold if it has none."""
        traits = model_traits(self.inner)
        reader = traits.reader or model_traits(self.other).reader
        threshold = MIN_CONFIDENCE if traits.min_confidence is None else traits.min_confidence
        return dataclasses.replace(traits, min_confidence=threshold, reader=reader)

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Ask the model, and the other one about its answers."""
        results = self.inner.point_batch(images, instructions)
        asked = [i for i, result in enumerate(results) if result.status == "ok" and len(result.points) == 1]
        others = self.other.point_batch([images[i] for i in asked], [instructions[i] for i in asked])
        for i, other in zip(asked, others, strict=True):
            results[i] = compare(results[i], other)
        return results


def compare(result: PointResult, other: PointResult) -> PointResult:
    """Return a model's one point with a confidence that takes another model's answer into account."""
    sure = other.status == "ok" and len(other.points) == 1 and (other.confidence or 0.0) >= _SURE
    seconds = result.latency_s + other.latency_s
    if not sure:
        return dataclasses.replace(result, latency_s=seconds)
    agree = result.points[0].point.distance(other.points[0].point) < _NEAR
    own = 1.0 if result.confidence is None else result.confidence
    confidence = max(own if result.confidence is not None else 0.0, other.confidence or 0.0)
    reply = f"{result.reply}\nsecond opinion, {'the same place' if agree else 'another place'}: {other.reply}"
    if not agree:
        confidence = min(own, _CONTRADICTED)
    return dataclasses.replace(result, reply=reply, confidence=confidence, latency_s=seconds)
