"""A run's folder: its config, metrics and sharded checkpoints. Checkpoints appear atomically.

config.yaml        the run's config, which a resumed run must have too
metrics.jsonl      one line per step
step-000500/       weights and optimizer (torch DCP, readable by any number of ranks) and meta.json
latest             the name of the last complete checkpoint
"""

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import yaml
from filelock import FileLock, Timeout
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_loader import load as load_shards
from torch.distributed.checkpoint.state_dict_saver import async_save

from molmo_agent.errors import UsageError
from molmo_agent.train.config import Run
from molmo_agent.train.muon import Muon
from molmo_agent.train.recipe import to_dict, to_yaml

# Keys that a resumed run may change: they do not affect the results of a step.
_FREE = {"checkpoint_every", "keep", "prefetch", "loggers", "export"}

# Each rank writes several files of about this size in parallel, and larger ones for large models. The files of nano's
# runs stay below 16 MB, a common limit for single files.
_FILE_BYTES, _MAX_FILES = 12_000_000, 8


def _is_first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()


def _reason(error: BaseException, folder: Path) -> str:
    """Return the reason of the first rank that failed."""
    if isinstance(error, CheckpointException):
        error = next(iter(error.failures.values()))[0]
    if "inline_container" in str(error):  # the message of torch's archive writer is a position in its source code
        return f"a file could not be written completely; {shutil.disk_usage(folder).free / 1e9:.1f} GB are free"
    return str(error)


def _write_atomically(path: Path, text: str) -> None:
    """Replace a file atomically: readers see the old or the new text, never a part."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


# The optimizers' state per weight, in addition to the number of steps.
_MOMENTS: dict[type, tuple[str, ...]] = {torch.optim.AdamW: ("exp_avg", "exp_avg_sq"), Muon: ("momentum",)}


def tensors(
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    ema: dict[str, Tensor] | None = None,
    *,
    frozen: bool = False,
) -> dict[str, Any]:
    """Return the tensors of a checkpoint by name; missing averages of the optimizers are created as zeros.

    Args:
        model: the weights.
        optimizers: AdamW or Muon.
        ema: moving averages of the weights, by name.
        frozen: include frozen weights; by default they are left out, since they equal the initial ones.
    """
    names = {parameter: name for name, parameter in model.named_parameters()}
    state: dict[str, Any] = {f"model.{name}": p.data for p, name in names.items() if frozen or p.requires_grad}
    for optimizer in optimizers:
        keys = _MOMENTS[type(optimizer)]
        for parameter in (parameter for group in optimizer.param_groups for parameter in group["params"]):
            moments = optimizer.state[parameter]
            if not moments:
                moments |= {key: torch.zeros_like(parameter) for key in keys}
                if isinstance(optimizer, torch.optim.AdamW):
                    moments["step"] = torch.zeros(())
            state |= {f"{key}.{names[parameter]}": moments[key] for key in keys}
    return state | {f"ema.{name}": average for name, average in (ema or {}).items()}


def set_step(optimizers: Sequence[torch.optim.Optimizer], step: int) -> None:
    """Set the number of steps in AdamW's state."""
    for optimizer in optimizers:
        for moments in optimizer.state.values():
            if "step" in moments:
                moments["step"] = torch.tensor(float(step))


class RunFolder:
    """A run's folder, locked by one process group at a time. Checkpoints are written in the background.

    Raises:
        UsageError: another run uses the folder, or the folder has the config of another run.
    """

    def __init__(self, folder: Path, config: Run) -> None:
        self.folder, self.config = folder, config
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".lock", timeout=0)
        # The step whose checkpoint is being written, and the future of the write.
        self._writing: tuple[int, Future[Any]] | None = None
        # The ranks coordinate a checkpoint while they train, so this needs another group than the gradients.
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() and dist.get_world_size() > 1 else None
        if _is_first():
            try:
                self._lock.acquire()
            except Timeout:
                raise UsageError(f"another run uses {folder}; wait for it, or choose another folder") from None
        self._agree()

    def _agree(self) -> None:
        path = self.folder / "config.yaml"
        if not path.exists():
            if _is_first():
                path.write_text(to_yaml(self.config), encoding="utf-8")
            return
        old, new = yaml.safe_load(path.read_text(encoding="utf-8")), to_dict(self.config)
        keys = [key for key in new if key not in _FREE and old.get(key) != new[key]]
        if keys:
            differences = ", ".join(f"{key} was {old.get(key)!r} and is {new[key]!r}" for key in keys[:3])
            raise UsageError(
                f"{self.folder} holds a run with another config ({differences}); choose another folder, or start from "
                f"its weights with model={self.folder / 'export'}"
            )

    def close(self) -> None:
        """Release the folder; after an error, wait at most a minute for a checkpoint that is being written."""
        if self._writing:
            wait([self._writing[1]], timeout=60)
            if self._writing[1].done() and not self.failed:
                self.finish()
        self._lock.release()

    @property
    def latest(self) -> Path | None:
        """The last complete checkpoint."""
        pointer = self.folder / "latest"
        return self.folder / pointer.read_text().strip() if pointer.exists() else None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Start writing a checkpoint: the tensors are copied now and written in the background.

        The next :meth:`check` after its completion makes it the latest one; earlier ones are kept until then.

        Raises:
            UsageError: the previous checkpoint could not be written.
        """
        self.finish()
        partial = self._partial(step)
        if _is_first():
            shutil.rmtree(partial, ignore_errors=True)
        _wait()
        alone = not dist.is_initialized()
        size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
        writer = FileSystemWriter(partial, thread_count=min(1 + size // _FILE_BYTES, _MAX_FILES))
        writing: Any = async_save(state, storage_writer=writer, process_group=self._group, no_dist=alone)
        self._writing = step, writing

    def check(self) -> Path | None:
        """Make a checkpoint that is complete by now the latest one and return it, on the first rank; never waits.

        Raises:
            UsageError: the checkpoint could not be written.
        """
        if self._writing and self._writing[1].done():
            return self.finish()
        return None

    @property
    def failed(self) -> bool:
        """Whether writing has failed; :meth:`finish` raises the reason."""
        return bool(self._writing and self._writing[1].done() and self._writing[1].exception())

    def finish(self) -> Path | None:
        """Wait for the checkpoint that is being written; return it on the first rank.

        Raises:
            UsageError: it could not be written, for instance to a full disk; the last complete one is kept.
        """
        if self._writing is None:
            return None
        (step, writing), self._writing = self._writing, None
        try:
            writing.result()
            return self._count(step) if _is_first() else None
        except (OSError, CheckpointException) as error:
            latest = self.latest
            raise UsageError(
                f"the checkpoint of step {step} could not be written to {self.folder} ({_reason(error, self.folder)}); "
                + (f"the same command resumes from {latest.name}" if latest else "there is no earlier checkpoint")
            ) from error

    def _partial(self, step: int) -> Path:
        return self.folder / f"step-{step:06d}.partial"

    def _count(self, step: int) -> Path:
        partial = self._partial(step)
        final = partial.with_suffix("")
        (partial / "meta.json").write_text(json.dumps({"step": step}))
        shutil.rmtree(final, ignore_errors=True)
        partial.replace(final)
        _write_atomically(self.folder / "latest", final.name)
        for old in self.checkpoints()[: -self.config.keep]:
            shutil.rmtree(old)
        return final

    def checkpoints(self) -> list[Path]:
        """Return the complete checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if path.suffix != ".partial")

    @property
    def step(self) -> int:
        """The step of the last complete checkpoint; 0 without one.

        Raises:
            UsageError: the checkpoint is damaged.
        """
        last = self.latest
        if last is None:
            return 0
        try:
            return int(json.loads((last / "meta.json").read_text())["step"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(last, error) from error

    def load(self, state: dict[str, Any]) -> int:
        """Load the last complete checkpoint into existing tensors; return its step, 0 if there is none.

        Raises:
            UsageError: the checkpoint is damaged.
        """
        step, last = self.step, self.latest
        if last is None:
            return 0
        try:
            load_shards(state, checkpoint_id=str(last), no_dist=not dist.is_initialized())
        except (OSError, ValueError, KeyError, RuntimeError, CheckpointException) as error:
            raise self._damaged(last, error) from error
        return step

    def _damaged(self, last: Path, error: BaseException) -> UsageError:
        others = [path.name for path in self.checkpoints() if path != last]
        return UsageError(
            f"the checkpoint {last} cannot be read ({_reason(error, self.folder)}); "
            + (f"write {others[-1]!r} into {self.folder / 'latest'} to resume from it" if others else "start again")
        )

    def log(self, record: dict[str, Any]) -> None:
        """Append a record to the metrics."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the metrics of later steps, which will be computed again."""
        path = self.folder / "metrics.jsonl"
        if _is_first() and path.exists():
            lines = [line for line in path.read_text().splitlines() if line and json.loads(line)["step"] <= step]
            # Replace the file, so that a process that follows it detects the change.
            _write_atomically(path, "".join(line + "\n" for line in lines))


def read_weights(run: Path, model: torch.nn.Module) -> None:
    """Load the weights of another run's last complete checkpoint into a model of the same shapes.

    Raises:
        UsageError: there is no checkpoint, or it holds other weights.
    """
    state = {f"model.{name}": parameter.data for name, parameter in model.named_parameters()}
    try:
        last = run / (run / "latest").read_text().strip()
        load_shards(state, checkpoint_id=str(last), no_dist=not dist.is_initialized())
    except (OSError, ValueError, KeyError, RuntimeError, CheckpointException) as error:
        raise UsageError(
            f"expected the folder of a run to start from, with a checkpoint of the same model, got {run} "
            f"({_reason(error, run.parent)})"
        ) from error
