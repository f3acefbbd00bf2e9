"""Loggers in addition to metrics.jsonl: TensorBoard and Weights & Biases, if they are installed."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from molmo_agent.errors import UsageError


class Logger(Protocol):
    """Logs the records of steps."""

    def log(self, record: Mapping[str, Any]) -> None:
        """Log a record at its "step"."""
        ...

    def close(self) -> None:
        """Flush and close."""
        ...


def scalars(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """Yield the numbers of a record by name; those of nested mappings are named "outer/inner"."""
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from scalars(value, f"{prefix}{name}/")
        elif isinstance(value, int | float) and name != "step":
            yield prefix + name, value


class TensorBoard:
    """Writes event files to the folder ``tensorboard`` of the run."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError("loggers: tensorboard is not installed; pip install tensorboard") from error
        self._writer = SummaryWriter(folder / "tensorboard")

    def log(self, record: Mapping[str, Any]) -> None:
        """Write a record."""
        for name, value in scalars(record):
            self._writer.add_scalar(name, value, record["step"])

    def close(self) -> None:
        """Write what is not written yet."""
        self._writer.close()


class WeightsAndBiases:
    """Logs to a run named like its folder, and resumes it."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UsageError("loggers: wandb is not installed; pip install wandb") from error
        self._run = wandb.init(id=folder.name, name=folder.name, config=dict(config), dir=str(folder), resume="allow")

    def log(self, record: Mapping[str, Any]) -> None:
        """Write a record."""
        self._run.log(dict(scalars(record)), step=record["step"])

    def close(self) -> None:
        """Write what is not written yet."""
        self._run.finish()


def open_loggers(names: Sequence[str], folder: Path, config: Mapping[str, Any]) -> list[Logger]:
    """Return the loggers of a run.

    Raises:
        UsageError: a logger is not installed.
    """
    kinds: dict[str, Any] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}
    return [kinds[name](folder, config) for name in names]
