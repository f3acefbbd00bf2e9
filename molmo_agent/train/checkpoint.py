"""A run's folder: sharded checkpoints that appear whole or not at all, and what a resumed run must agree with.

    config.yaml        what the run computes
    metrics.jsonl      a line per step
    step-000500/       weights and optimizer (torch DCP, any number of ranks can read it) and meta.json
    latest             the name of the last whole checkpoint
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import yaml
from filelock import FileLock, Timeout
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load as load_shards
from torch.distributed.checkpoint.state_dict_saver import save as save_shards

from molmo_agent.errors import UsageError
from molmo_agent.train.config import TrainConfig, to_dict, to_yaml

# May change between a run and its continuation: they do not decide what a step computes.
_FREE = {"checkpoint_every", "keep"}


def _is_first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()


def _reason(error: BaseException) -> BaseException:
    """Return what went wrong on the first rank where something did."""
    if isinstance(error, CheckpointException):
        return next(iter(error.failures.values()))[0]
    return error


def tensors(learner: torch.nn.Module, optimizer: torch.optim.Optimizer, ema: dict[str, Tensor] | None) -> dict[str, Any]:
    """Return everything that a checkpoint holds, by name; the optimizer's averages are made where they are missing."""
    state: dict[str, Any] = {}
    for name, parameter in learner.named_parameters():
        state[f"model.{name}"] = parameter.data
        if parameter.requires_grad:
            moments = optimizer.state[parameter]
            if not moments:
                moments |= {
                    "step": torch.zeros(()),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
            state |= {f"{key}.{name}": moments[key] for key in ("exp_avg", "exp_avg_sq")}
    return state | {f"ema.{name}": average for name, average in (ema or {}).items()}


class RunFolder:
    """One run's folder, held by one run at a time.

    Raises:
        UsageError: another run holds it; or what lies there is another run's.
    """

    def __init__(self, folder: Path, config: TrainConfig) -> None:
        self.folder, self.config = folder, config
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".lock", timeout=0)
        if _is_first():
            try:
                self._lock.acquire()
            except Timeout:
                raise UsageError(f"another run works in {folder}; wait for it, or name another folder") from None
        self._agree()

    def _agree(self) -> None:
        path = self.folder / "config.yaml"
        if not path.exists():
            if _is_first():
                path.write_text(to_yaml(self.config), encoding="utf-8")
            return
        before, now = yaml.safe_load(path.read_text(encoding="utf-8")), to_dict(self.config)
        changed = [key for key in now if key not in _FREE and before.get(key) != now[key]]
        if changed:
            told = ", ".join(f"{key} was {before.get(key)!r} and is {now[key]!r}" for key in changed[:3])
            raise UsageError(
                f"{self.folder} holds a run of another config ({told}); name another folder, or start from its weights "
                f"with model={self.folder / 'export'}"
            )

    def close(self) -> None:
        """Let others work here."""
        self._lock.release()

    @property
    def latest(self) -> Path | None:
        """The last whole checkpoint."""
        pointer = self.folder / "latest"
        return self.folder / pointer.read_text().strip() if pointer.exists() else None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint after a step; the ones before stay until this one is whole.

        Raises:
            UsageError: it could not be written, for instance on a full disk; the last whole one is still there.
        """
        name = f"step-{step:06d}"
        partial, final = self.folder / f"{name}.partial", self.folder / name
        if _is_first():
            shutil.rmtree(partial, ignore_errors=True)
            shutil.rmtree(final, ignore_errors=True)
        _wait()
        try:
            save_shards(state, checkpoint_id=str(partial), no_dist=not dist.is_initialized())
            if _is_first():
                (partial / "meta.json").write_text(json.dumps({"step": step}))
                partial.replace(final)
                pointer = self.folder / "latest.partial"
                pointer.write_text(name)
                pointer.replace(self.folder / "latest")
        except (OSError, CheckpointException) as error:
            kept = self.latest
            raise UsageError(
                f"the checkpoint of step {step} could not be written to {self.folder} ({_reason(error)}); "
                + (f"{kept.name} is whole: the same command resumes from it" if kept else "there is none before it")
            ) from error
        _wait()
        if _is_first():
            for old in self.checkpoints()[: -self.config.keep]:
                shutil.rmtree(old)

    def checkpoints(self) -> list[Path]:
        """Return the whole checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if path.suffix != ".partial")

    def load(self, state: dict[str, Any]) -> int:
        """Read the last whole checkpoint into tensors that are there already; return its step, 0 if there is none.

        Raises:
            UsageError: it is damaged.
        """
        last = self.latest
        if last is None:
            return 0
        try:
            step = int(json.loads((last / "meta.json").read_text())["step"])
            load_shards(state, checkpoint_id=str(last), no_dist=not dist.is_initialized())
        except (OSError, ValueError, KeyError, RuntimeError, CheckpointException) as error:
            others = [path.name for path in self.checkpoints() if path != last]
            raise UsageError(
                f"the checkpoint {last} cannot be read ({_reason(error)}); "
                + (f"write {others[-1]!r} into {self.folder / 'latest'} to go on from there" if others else "start anew")
            ) from error
        return step

    def log(self, record: dict[str, Any]) -> None:
        """Append a line to the metrics."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps that will be computed again."""
        path = self.folder / "metrics.jsonl"
        if _is_first() and path.exists():
            kept = [line for line in path.read_text().splitlines() if line and json.loads(line)["step"] <= step]
            path.write_text("".join(line + "\n" for line in kept))
