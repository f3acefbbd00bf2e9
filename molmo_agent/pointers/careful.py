"""The one place where a model gets what its traits ask for: windows on large images, a second look in doubt."""

from molmo_agent.errors import UsageError
from molmo_agent.interfaces import PointingModel, model_traits
from molmo_agent.pointers.windowed import WindowedPointer
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
    if isinstance(model, ZoomPointer):
        model = model.inner
    return ZoomPointer(in_windows(model), threshold)
