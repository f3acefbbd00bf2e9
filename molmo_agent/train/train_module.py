"""What the trainer needs to know of a kind of training run: its weights, its batches and one step of learning."""

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from molmo_agent.train.checkpoint import RunFolder


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Where the time of a step went, in seconds."""

    # Learning from the batch.
    seconds: float
    # Waiting for the batch.
    waited: float
    # Between the step before and this one: logging, callbacks, copying a checkpoint.
    other: float


class TrainModule(Protocol):
    """One kind of training run on this rank: fine-tuning (:mod:`.fine_tuning`), or one that the registry names.

    Made from a config, with the weights that the run starts from. Every rank calls every method in the same order.
    """

    # Batches that are prepared ahead.
    prefetch: int

    def problems(self) -> str:
        """Return what of the data cannot be used, one problem a line; empty if all of it can."""
        ...

    def restore(self, run: RunFolder) -> int:
        """Continue from the last complete checkpoint of a run's folder.

        Returns:
            The steps it has done, 0 without a checkpoint.

        Raises:
            UsageError: it is damaged.
        """
        ...

    def open_pool(self) -> Executor:
        """Return threads or processes in which batches are prepared."""
        ...

    def batch_loader(self) -> Callable[[int], Any]:
        """Return a function of a step (counted from 0) that prepares this rank's batch; it can be sent to the pool."""
        ...

    def train_step(self, step: int, batch: Any) -> dict[str, Any]:
        """Learn from a batch.

        Args:
            step: counted from 0.
            batch: this rank's part of it.

        Returns:
            What metrics.jsonl says of the step, over all ranks: at least "loss" and "accuracy".

        Raises:
            ModelError: the loss is not a number.
        """
        ...

    def throughput(self, batch: Any, time: StepTime) -> dict[str, Any]:
        """Return what metrics.jsonl says of the speed of the last step: times in s, rates per second."""
        ...

    def ends_stage(self, step: int) -> bool:
        """Return whether a checkpoint is due because a stage ends with so many steps done."""
        ...

    def state(self) -> dict[str, Tensor]:
        """Return everything that a checkpoint holds, by name."""
        ...

    def export(self, folder: Path) -> None:
        """Write the trained model as people load it."""
        ...
