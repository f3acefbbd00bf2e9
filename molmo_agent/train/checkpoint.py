"""A run's folder: sharded checkpoints that appear whole or not at all, and what a resumed run must agree with.

config.yaml        what the run computes
metrics.jsonl      a line per step
step-000500/       weights and optimizer (torch DCP, any number of ranks can read it) and meta.json
latest             the name of the last whole checkpoint
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

# May change between a run and its continuation: they do not decide what a step computes.
_FREE = {"checkpoint_every", "keep", "prefetch", "loggers", "export"}

# A rank writes files of about this size at the same time; of large models more into each of as many as there may be.
# Those of nano's runs can be sent through what takes no file of 16 MB.
_FILE_BYTES, _MAX_FILES = 12_000_000, 8


def _is_first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()


def _reason(error: BaseException, folder: Path) -> str:
    """Return what went wrong on the first rank where something did."""
    if isinstance(error, CheckpointException):
        error = next(iter(error.failures.values()))[0]
    if "inline_container" in str(error):  # torch's archive writer names the place in its own code
        return f"a file could not be written whole; {shutil.disk_usage(folder).free / 1e9:.1f} GB of the disk are free"
    return str(error)


def _write_atomically(path: Path, text: str) -> None:
    """Put a new file there at once: whoever reads it has the old or the new one, never a part."""
    partial = path.with_suffix(".partial")
    partial.write_text(text)
    partial.replace(path)


# What optimizers keep for every weight, beside how many steps they have seen.
_MOMENTS: dict[type, tuple[str, ...]] = {torch.optim.AdamW: ("exp_avg", "exp_avg_sq"), Muon: ("momentum",)}


def tensors(
    model: torch.nn.Module,
    optimizers: Sequence[torch.optim.Optimizer],
    ema: dict[str, Tensor] | None = None,
    *,
    frozen: bool = False,
) -> dict[str, Any]:
    """Return everything that a checkpoint holds, by name; the optimizers' averages are made where they are missing.

    Args:
        model: the weights.
        optimizers: AdamW or Muon.
        ema: average of the weights, by name.
        frozen: also weights that do not learn; else they are those that the run started from, and stay there.
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
    """Tell AdamW how many steps its averages have seen."""
    for optimizer in optimizers:
        for moments in optimizer.state.values():
            if "step" in moments:
                moments["step"] = torch.tensor(float(step))


class RunFolder:
    """One run's folder, held by one run at a time. Checkpoints are written while training goes on.

    Raises:
        UsageError: another run holds it; or what lies there is another run's.
    """

    def __init__(self, folder: Path, config: Run) -> None:
        self.folder, self.config = folder, config
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / ".lock", timeout=0)
        # The step whose checkpoint is being written, and when it will be.
        self._writing: tuple[int, Future[Any]] | None = None
        # The ranks agree about a checkpoint while they train: not in the group in which gradients travel.
        self._group = dist.new_group(backend="gloo") if dist.is_initialized() and dist.get_world_size() > 1 else None
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
        old, new = yaml.safe_load(path.read_text(encoding="utf-8")), to_dict(self.config)
        changed = [key for key in new if key not in _FREE and old.get(key) != new[key]]
        if changed:
            differences = ", ".join(f"{key} was {old.get(key)!r} and is {new[key]!r}" for key in changed[:3])
            raise UsageError(
                f"{self.folder} holds a run of another config ({differences}); name another folder, or start from its "
                f"weights with model={self.folder / 'export'}"
            )

    def close(self) -> None:
        """Let others work here; what is still being written after an error gets a minute."""
        if self._writing:
            wait([self._writing[1]], timeout=60)
            if self._writing[1].done() and not self.failed:
                self.finish()
        self._lock.release()

    @property
    def latest(self) -> Path | None:
        """The last whole checkpoint."""
        pointer = self.folder / "latest"
        return self.folder / pointer.read_text().strip() if pointer.exists() else None

    def save(self, step: int, state: dict[str, Any]) -> None:
        """Begin to write a checkpoint: the tensors are copied now and written while training goes on.

        It counts from the next :meth:`check` after it is whole; the ones before stay until then.

        Raises:
            UsageError: the one before could not be written.
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
        """Make what is whole by now the latest checkpoint and return it, on the first rank; never waits.

        Raises:
            UsageError: it could not be written.
        """
        if self._writing and self._writing[1].done():
            return self.finish()
        return None

    @property
    def failed(self) -> bool:
        """Whether writing has failed; :meth:`finish` tells why."""
        return bool(self._writing and self._writing[1].done() and self._writing[1].exception())

    def finish(self) -> Path | None:
        """Wait until the checkpoint that is being written is whole; return it on the first rank.

        Raises:
            UsageError: it could not be written, for instance on a full disk; the last whole one is still there.
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
                + (f"{latest.name} is whole: the same command resumes from it" if latest else "there is none before it")
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
        """Return the whole checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if path.suffix != ".partial")

    @property
    def step(self) -> int:
        """Steps of the last whole checkpoint; 0 without one.

        Raises:
            UsageError: it is damaged.
        """
        last = self.latest
        if last is None:
            return 0
        try:
            return int(json.loads((last / "meta.json").read_text())["step"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(last, error) from error

    def load(self, state: dict[str, Any]) -> int:
        """Read the last whole checkpoint into tensors that are there already; return its step, 0 if there is none.

        Raises:
            UsageError: it is damaged.
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
            + (f"write {others[-1]!r} into {self.folder / 'latest'} to go on from there" if others else "start anew")
        )

    def log(self, record: dict[str, Any]) -> None:
        """Append a line to the metrics."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def forget_after(self, step: int) -> None:
        """Drop the metrics of steps that will be computed again."""
        path = self.folder / "metrics.jsonl"
        if _is_first() and path.exists():
            lines = [line for line in path.read_text().splitlines() if line and json.loads(line)["step"] <= step]
            # Another file, whole at once: who follows the old one sees that it is another.
            _write_atomically(path, "".join(line + "\n" for line in lines))


def read_weights(run: Path, model: torch.nn.Module) -> None:
    """Read the weights of another run's last whole checkpoint into a model of the same shapes.

    Raises:
        UsageError: there is none, or it holds other weights.
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
