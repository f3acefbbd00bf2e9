"""The one place where a model gets what its traits ask for: windows on large images, a second look in doubt."""

import dataclasses
from collections.abc import Sequence

from molmo_agent.episode import Image, PointResult
from molmo_agent.errors import UsageError
from molmo_agent.interfaces import ModelTraits, PointingModel, model_traits
from molmo_agent.pointers.windowed import WindowedPointer
from molmo_agent.pointers.wrapped import WrappedPointer
from molmo_agent.pointers.zoom import ZoomPointer


def in_windows(model: PointingModel) -> PointingModel:
    """Return a model that reads images of any size; the same one if it does already."""
    traits = model_traits(model)
    return WindowedPointer(model, traits.window, traits.canvases) if traits.window else model


def careful(model: PointingModel, min_confidence: float | None = None) -> PointingModel:
    """Return a model to act on: it reads images of any size, and looks closer below its confidence threshold.

    The threshold is one of its traits from then on, which policies hand on to the guards.

    Args:
        model: any model; one that is careful already stays as it is.
        min_confidence: the threshold; None: the model's own, if it has one; 0: never look closer, trust every point.

    Raises:
        UsageError: a threshold that no confidence can be compared with.
    """
    if min_confidence is not None and not 0 <= min_confidence <= 1:
        raise UsageError(f"min_confidence must be in [0, 1], got {min_confidence}")
    traits = model_traits(model)
    threshold = traits.min_confidence if min_confidence is None else min_confidence
    if threshold is None or (traits.zooms and traits.min_confidence == threshold):
        return in_windows(model)
    if isinstance(model, ZoomPointer | _WithThreshold):
        model = model.inner
    if model_traits(model).zooms:
        return _WithThreshold(model, threshold)
    return ZoomPointer(in_windows(model), threshold)


class _WithThreshold(WrappedPointer):
    """A model that looks closely by itself, with another threshold than its own."""

    def __init__(self, model: PointingModel, min_confidence: float) -> None:
        super().__init__(model)
        self.min_confidence = min_confidence

    @property
    def traits(self) -> ModelTraits:
        """The traits of the model inside, with this threshold."""
        return dataclasses.replace(model_traits(self.inner), min_confidence=self.min_confidence)

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Ask the model inside."""
        return self.inner.point_batch(images, instructions)
