"""A run's folder: its config, metrics and sharded checkpoints. Checkpoints appear atomically.

config.yaml        the run's config, which a resumed run must have too
metrics.jsonl      one line per step
step-000500/       weights and optimizer (torch DCP, readable by any number of ranks) and meta.json
latest             the name of the last complete checkpoint
"""

import errno
import json
import os
import re
import shutil
import warnings
from concurrent.futures import Future, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from filelock import FileLock, Timeout
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import async_save

from molmo_agent.errors import DataError, UsageError
from molmo_agent.files import append_line, write_whole
from molmo_agent.parse import json_lines, read_bounded, read_json, read_yaml
from molmo_agent.train.config import Run
from molmo_agent.train.recipe import to_dict, to_yaml, with_defaults
from molmo_agent.train.shards import load_tensors

# Keys that a resumed run may change: they do not affect the results of a step.
_FREE = {"checkpoint_every", "keep", "prefetch", "loggers", "export", "validate"}

# Each rank writes several files of about this size in parallel, and larger ones for large models. The files of nano's
# runs stay below 16 MB, a common limit for single files.
_FILE_BYTES, _MAX_FILES = 12_000_000, 8

BEST_FILE = "best.json"
"""Step and held-out loss of the best checkpoint, in the run's folder."""

_NAME = re.compile(r"step-\d{6,}")


def _name(step: int) -> str:
    return f"step-{step:06d}"


def _is_first() -> bool:
    return not dist.is_initialized() or dist.get_rank() == 0


def _wait() -> None:
    if dist.is_initialized():
        dist.barrier()


def _reason(error: BaseException, folder: Path) -> str:
    """Return the reason of the first rank that failed."""
    if isinstance(error, CheckpointException):
        error = next(iter(error.failures.values()))[0]
    if (
        "inline_container" in str(error) or getattr(error, "errno", None) == errno.ENOSPC
    ):  # the message of torch's archive writer is a position in its source code
        return f"a file could not be written completely; {shutil.disk_usage(folder).free / 1e9:.1f} GB are free"
    return str(error)


class RunFolder:
    """A run's folder, locked by one process group at a time. Checkpoints are written in the background.

    Raises:
        UsageError: another run uses the folder, it has the config of another run, or symbolic links.
    """

    def __init__(self, folder: Path, config: Run) -> None:
        self.folder, self.config = folder, config
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_links(folder)
        self._lock = FileLock(folder / ".lock", timeout=0)
        # The step whose checkpoint is being written, and the future of the write.
        self._writing: tuple[int, Future[Any]] | None = None
        # The held-out loss of that checkpoint, if it is the best.
        self._loss: float | None = None
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
        # A full disk may have left an empty file; without a checkpoint there is nothing to agree with.
        if not path.exists() or not (path.stat().st_size or self.checkpoints()):
            if _is_first():
                write_whole(path, to_yaml(self.config))
            return
        try:
            old = read_yaml(path)
            if not isinstance(old, dict):
                raise DataError(f"expected {path} to hold a mapping, got {type(old).__name__}")
            old = with_defaults(old)
        except DataError as error:
            raise UsageError(
                f"the config of the run cannot be read ({error}); remove {path} to resume with that of this command"
            ) from error
        new = to_dict(self.config)
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
        return latest_checkpoint(self.folder)

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and held-out loss of the best checkpoint that is there; None without one."""
        path = self.folder / BEST_FILE
        if not path.exists():
            return None
        try:
            content = read_json(path)
            step, loss = int(content["step"]), float(content["loss"])
        except (DataError, OverflowError, ValueError, KeyError, TypeError) as error:
            raise UsageError(f"{path} is damaged ({error}); remove it to resume without a best checkpoint") from error
        return (step, loss) if (self.folder / _name(step)).is_dir() else None

    def save(self, step: int, state: dict[str, Any], best: float | None = None) -> None:
        """Start writing a checkpoint: the tensors are copied now and written in the background.

        With ``best``, its held-out loss, it is kept until a better one is complete.

        The next :meth:`check` after its completion makes it the latest one; earlier ones are kept until then.

        Raises:
            UsageError: the previous checkpoint could not be written.
        """
        self.finish()
        self._loss = best
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
        return self.folder / f"{_name(step)}.partial"

    def _count(self, step: int) -> Path:
        partial = self._partial(step)
        final = partial.with_suffix("")
        write_whole(partial / "meta.json", json.dumps({"step": step}))
        shutil.rmtree(final, ignore_errors=True)
        partial.replace(final)
        write_whole(self.folder / "latest", final.name)
        if self._loss is not None:
            write_whole(self.folder / BEST_FILE, json.dumps({"step": step, "loss": self._loss}))
        best = self.best
        for old in self.checkpoints()[: -self.config.keep]:
            if best is None or old.name != _name(best[0]):
                shutil.rmtree(old)
        return final

    def checkpoints(self) -> list[Path]:
        """Return the complete checkpoints, oldest first."""
        return complete_checkpoints(self.folder)

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
            return int(read_json(last / "meta.json")["step"])
        except (DataError, OverflowError, ValueError, KeyError, TypeError) as error:
            raise self._damaged(last, error) from error

    def load_best(self, state: dict[str, Any]) -> int:
        """Load the best checkpoint into existing tensors; return its step, 0 if there is none.

        Raises:
            UsageError: the checkpoint is damaged.
        """
        if self.best is None:
            return 0
        step, _ = self.best
        try:
            load_tensors(state, self.folder / _name(step))
        except _UNREADABLE as error:
            raise self._damaged(self.folder / _name(step), error) from error
        return step

    def load(self, state: dict[str, Any]) -> int:
        """Load the last complete checkpoint into existing tensors; return its step, 0 if there is none.

        Raises:
            UsageError: the checkpoint is damaged.
        """
        step, last = self.step, self.latest
        if last is None:
            return 0
        try:
            load_tensors(state, last)
        except _UNREADABLE as error:
            raise self._damaged(last, error) from error
        return step

    def _damaged(self, last: Path, error: BaseException) -> UsageError:
        others = [path.name for path in self.checkpoints() if path != last]
        return UsageError(
            f"the checkpoint {last} cannot be read ({_reason(error, self.folder)}); "
            + (f"write {others[-1]!r} into {self.folder / 'latest'} to resume from it" if others else "start again")
        )

    def log(self, record: dict[str, Any]) -> None:
        """Append a record to the metrics.

        Raises:
            UsageError: it cannot be written, for instance to a full disk; the run can be resumed.
        """
        path = self.folder / "metrics.jsonl"
        try:
            append_line(path, json.dumps(record))
        except OSError as error:
            raise UsageError(
                f"{path} cannot be written to ({_reason(error, self.folder)}); the same command resumes from the last "
                "checkpoint"
            ) from error

    def forget_after(self, step: int) -> None:
        """Drop the metrics of later steps, which will be computed again, and a last line that is cut off.

        Raises:
            UsageError: a line is damaged, or the file cannot be written.
        """
        path = self.folder / "metrics.jsonl"
        if not _is_first() or not path.exists():
            return
        try:
            rows = list(json_lines(path, nan=True, on_cut_end=warnings.warn))
            kept = [row for _, row in rows if row["step"] <= step]
        except (DataError, KeyError, TypeError) as error:
            raise UsageError(
                f"the metrics of the run are damaged ({error}); rename {path} to resume without its earlier lines"
            ) from error
        try:
            # Replace the file, so that a process that follows it detects the change.
            write_whole(path, "".join(json.dumps(row) + "\n" for row in kept))
        except OSError as error:
            raise UsageError(f"{path} cannot be written ({_reason(error, self.folder)})") from error


# What torch raises for a damaged checkpoint: of its files, and of the tensors in them.
_UNREADABLE = (OSError, ValueError, KeyError, RuntimeError, AssertionError, CheckpointException, DataError)


def _refuse_links(folder: Path) -> None:
    """Reject a folder with symbolic links, through which a run would write elsewhere.

    Raises:
        UsageError: there is one.
    """
    for path, folders, files in os.walk(folder):
        # These make links of their own.
        folders[:] = [name for name in folders if name not in ("ray", "wandb") or (Path(path) / name).is_symlink()]
        for name in (*folders, *files):
            if (Path(path) / name).is_symlink():
                raise UsageError(
                    f"expected no links in the folder of a run, since it would write through them, got "
                    f"{Path(path) / name}; replace it with what it leads to"
                )


def complete_checkpoints(run: Path) -> list[Path]:
    """Return the complete checkpoints of a run, oldest first."""
    complete = (path for path in run.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir())
    return sorted(complete, key=lambda path: int(path.name.removeprefix("step-")))


def latest_checkpoint(run: Path) -> Path | None:
    """Return the last complete checkpoint of a run: the one that ``latest`` names, or the newest; None without any.

    A checkpoint gets its name when it is complete, so a lost or damaged ``latest`` loses nothing.

    Raises:
        UsageError: ``latest`` names something else than a checkpoint of the run.
    """
    pointer, complete = run / "latest", complete_checkpoints(run)
    name = read_bounded(pointer, 1000).decode("utf-8", "replace").strip() if pointer.exists() else ""
    if not name:
        return complete[-1] if complete else None
    if not _NAME.fullmatch(name):
        raise UsageError(
            f"expected {pointer} to name a checkpoint, such as step-000500, got {name!r:.80}; remove the file"
        )
    return run / name


def read_weights(run: Path, model: torch.nn.Module) -> None:
    """Load the weights of another run's last complete checkpoint into a model of the same shapes.

    Raises:
        UsageError: there is no checkpoint, or it holds other weights.
    """
    state = {f"model.{name}": parameter.data for name, parameter in model.named_parameters()}
    try:
        last = latest_checkpoint(run)
        if last is None:
            raise FileNotFoundError("it has no complete checkpoint")
        load_tensors(state, last)
    except (*_UNREADABLE, UsageError) as error:
        raise UsageError(
            f"expected the folder of a run to start from, with a checkpoint of the same model, got {run} "
            f"({_reason(error, run.parent)})"
        ) from error
