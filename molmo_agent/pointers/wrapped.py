"""What the models around other models share: the name, the traits, and the model inside."""

import abc
from collections.abc import Sequence

from molmo_agent.episode import Image, PointResult
from molmo_agent.interfaces import ModelTraits, PointingModel, model_traits


class WrappedPointer(abc.ABC):
    """A pointing model that asks another one, and has its name.

    Args:
        inner: the other one.
    """

    def __init__(self, inner: PointingModel) -> None:
        self.inner, self.name = inner, inner.name

    @property
    def traits(self) -> ModelTraits:
        """What the model inside says of itself."""
        return model_traits(self.inner)

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Ask one question."""
        return self.point_batch([image], [instruction])[0].at_most(max_points)

    @abc.abstractmethod
    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Ask several questions."""


def innermost(model: PointingModel) -> PointingModel:
    """Return the model that answers in the end, whatever is wrapped around it."""
    while isinstance(model, WrappedPointer):
        model = model.inner
    return model
