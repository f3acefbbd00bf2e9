"""The interface between the trainer and a kind of training run: weights, batches and steps."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from molmo_agent.train.checkpoint import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """The time of a step in seconds."""

    # Training on the batch.
    seconds: float
    # Waiting for the batch.
    waited: float
    # Time since the end of the previous step: logging, callbacks, copying a checkpoint.
    other: float


class TrainModule(Protocol):
    """A kind of training run on this rank: fine-tuning (:mod:`.fine_tuning`), or one from the registry.

    It is created from a config, with the initial weights. All ranks call its methods in the same order.
    """

    # Number of batches that are prepared in advance.
    prefetch: int

    def problems(self) -> str:
        """Return the unusable parts of the data, one problem per line; empty if there are none."""
        ...

    def restore(self, run: RunFolder) -> int:
        """Resume from the last complete checkpoint of a run's folder.

        Returns:
            The number of finished steps, 0 without a checkpoint.

        Raises:
            UsageError: the checkpoint is damaged.
        """
        ...

    def open_pool(self) -> Executor:
        """Return a pool of threads or processes for preparing batches."""
        ...

    def batch_loader(self) -> Callable[[int], Any]:
        """Return a function that prepares this rank's batch of a step (counted from 0); the pool must accept it."""
        ...

    def train_step(self, step: int, batch: Any) -> dict[str, Any]:
        """Run one optimizer step.

        Args:
            step: counted from 0.
            batch: this rank's batch.

        Returns:
            The step's metrics over all ranks, at least "loss" and "accuracy".

        Raises:
            ModelError: the loss is not a number.
        """
        ...

    def throughput(self, batch: Any, time: StepTime) -> dict[str, Any]:
        """Return the throughput metrics of the last step: times in s, rates per second."""
        ...

    def validate(self, step: int, folder: Path) -> dict[str, Any] | None:
        """Measure the model on held-out data after this number of steps, if that is due.

        Args:
            step: number of finished steps.
            folder: the run's, where rank 0 may write a page.

        Returns:
            The measurements, equal on all ranks, with "loss"; None if none is due.
        """
        ...

    def ends_stage(self, step: int) -> bool:
        """Return whether a stage ends after this number of steps, which makes a checkpoint due."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return the tensors of a checkpoint by name."""
        ...

    def export(self, folder: Path) -> None:
        """Write the trained model as a checkpoint for use."""
        ...
