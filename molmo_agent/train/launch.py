"""Start a run's ranks: in this process, in several on this machine, under torchrun, or on a Ray cluster.

All of them run a :class:`.Trainer` on every rank, with the same result.
"""

import json
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from molmo_agent.errors import MissingExtraError, ModelError, MolmoAgentError, RunStopped, UsageError
from molmo_agent.interrupts import ENDING_SIGNALS
from molmo_agent.parse import load_json
from molmo_agent.train.config import Run
from molmo_agent.train.recipe import from_dict, to_dict
from molmo_agent.train.trainer import OnStep, Trainer

POINTER_FILE = "checkpoint.json"
"""The only file in a checkpoint that is reported to Ray: it holds the path of the real checkpoint."""


@contextmanager
def process_group(rank: int, count: int, meeting: str | None) -> Any:
    """Initialize the process group; ``meeting`` is a shared file, None for torchrun's variables or a single rank."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", rank)) % torch.cuda.device_count())
    if meeting is not None:
        dist.init_process_group(backend, init_method=f"file://{meeting}", rank=rank, world_size=count)
    elif "RANK" in os.environ:
        dist.init_process_group(backend)
    else:
        dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Handle every signal to end as a request to stop after the current step; yield a function that reports it."""
    stop_event = threading.Event()
    numbers = [number for number in ENDING_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, lambda *_: stop_event.set()) for number in numbers}
    try:
        yield stop_event.is_set
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def run_here(config: Run, folder: Path, on_step: OnStep | None = None) -> int:
    """Train in this process, as the only rank or as a rank of torchrun; return the last step.

    Raises:
        RunStopped: Ctrl-C; a checkpoint was written.
    """
    with stop_signals() as stop, process_group(0, 1, None):
        step = Trainer(config, folder, on_step=on_step, stop=stop).fit()
    if step < config.steps:
        raise RunStopped(f"stopped after step {step}; the same command resumes")
    return step


def _worker(
    rank: int, count: int, meeting: str, data: dict[str, Any], folder: str, line: Connection, threads: int
) -> None:
    torch.set_num_threads(threads)
    try:
        with stop_signals() as stop, process_group(rank, count, meeting):
            on_step: OnStep | None = (lambda record: line.send(("step", record))) if rank == 0 else None
            step = Trainer(from_dict(data), Path(folder), on_step=on_step, stop=stop).fit()
        line.send(("done", step))
    except MolmoAgentError as error:
        line.send(("error", str(error)))
    except BaseException as error:
        line.send(("failed", f"{type(error).__name__}: {error}"))
        raise


def run_workers(
    config: Run, folder: Path, count: int, on_step: OnStep | None = None, *, threads: int | None = None
) -> int:
    """Train with several processes on this machine; return the last step.

    Args:
        config: the run.
        folder: of the run.
        count: number of processes.
        on_step: called with every record.
        threads: of each process; by default the machine's cores are divided equally.

    Raises:
        UsageError: a rank rejects config, folder or data, or a rank died.
        RunStopped: Ctrl-C; a checkpoint was written.
    """
    context = multiprocessing.get_context("spawn")
    threads = threads or max((os.cpu_count() or 1) // count, 1)
    with tempfile.TemporaryDirectory() as meeting:
        lines, processes = [], []
        for rank in range(count):
            receiver, sender = context.Pipe(duplex=False)
            arguments = (rank, count, f"{meeting}/store", to_dict(config), str(folder), sender, threads)
            process = context.Process(target=_worker, args=arguments)
            process.start()
            sender.close()
            lines.append(receiver)
            processes.append(process)
        try:
            step = _listen(lines, on_step)
        except KeyboardInterrupt:
            # Make sure that all workers get the signal; each finishes its step, and the first one saves.
            for process in processes:
                if process.is_alive() and process.pid:
                    os.kill(process.pid, signal.SIGTERM)
            step = _listen(lines, on_step)
        finally:
            deadline = time.monotonic() + 10
            for process in processes:
                process.join(max(deadline - time.monotonic(), 0))
                if process.is_alive():
                    process.kill()
                    process.join()
    if step < config.steps:
        raise RunStopped(f"stopped after step {step}; the same command resumes")
    return step


def _listen(lines: list[Connection], on_step: OnStep | None) -> int:
    """Forward the workers' records until all have finished; return the last step.

    Raises:
        UsageError: a worker failed or died.
    """
    open_lines, step = list(lines), 0
    while open_lines:
        for line in wait(open_lines):
            assert isinstance(line, Connection)
            try:
                kind, what = line.recv()
            except EOFError:
                raise UsageError(
                    f"worker {lines.index(line)} died without a message (out of memory?); the same command resumes "
                    "from the last checkpoint"
                ) from None
            if kind == "step" and on_step:
                on_step(what)
            elif kind == "error":
                raise UsageError(what)
            elif kind == "failed":
                raise UsageError(f"worker {lines.index(line)} failed: {what}; the same command resumes")
            elif kind == "done":
                step = what
                open_lines.remove(line)
    return step


def _ray_loop(settings: dict[str, Any]) -> None:
    """Train on a Ray worker; Ray has initialized the process group."""
    import ray.train
    from ray.train import Checkpoint

    # Ray's workers run in folders of their own; relative paths of models and data are those of the caller.
    if Path(settings["start"]).is_dir():
        os.chdir(settings["start"])

    torch.set_num_threads(settings["threads"])
    latest: dict[str, Any] = {}

    def on_step(record: dict[str, Any]) -> None:
        latest.update({name: value for name, value in record.items() if isinstance(value, int | float)})

    def on_checkpoint(checkpoint: Path | None) -> None:
        # All workers must report equally often, since Ray waits for each of them. Ray accepts only checkpoints in its
        # own folder, so it gets the path of ours, which all machines can read.
        with tempfile.TemporaryDirectory() as pointer:
            if checkpoint:
                (Path(pointer) / POINTER_FILE).write_text(json.dumps({"checkpoint": str(checkpoint)}))
            ray.train.report(dict(latest), checkpoint=Checkpoint.from_directory(pointer) if checkpoint else None)

    config, folder = from_dict(settings["config"]), Path(settings["folder"])
    Trainer(config, folder, on_step=on_step, on_checkpoint=on_checkpoint).fit()


def run_on_ray(
    config: Run,
    folder: Path,
    count: int | tuple[int, int],
    address: str | None,
    on_step: OnStep | None = None,
    *,
    failures: int = 3,
    threads: int = 1,
) -> Any:
    """Train on Ray: failed workers are restarted and resume from the last checkpoint.

    Args:
        config: the run.
        folder: on storage shared by all workers.
        count: number of workers, with one GPU each if there are GPUs; (min, max) follows the size of the cluster. The
            number does not change the result.
        address: of a cluster; None starts one on this machine.
        on_step: called in this process with every record of the metrics.
        failures: maximum number of restarts.
        threads: of each worker.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: the run failed after all restarts.
    """
    try:
        import ray
        from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise MissingExtraError("training on Ray", "train") from error
    if not ray.is_initialized():
        ray.init(address or "local", log_to_driver=False)
    folder = folder.resolve()
    settings = {"config": to_dict(config), "folder": str(folder), "threads": threads, "start": os.getcwd()}
    trainer = TorchTrainer(
        _ray_loop,
        train_loop_config=settings,
        scaling_config=ScalingConfig(num_workers=count, use_gpu=torch.cuda.is_available()),
        # Use a new name for every start: Ray would silently resume a known name, but the trainer resumes by itself.
        run_config=RunConfig(
            name=f"{folder.name}-{time.time_ns()}",
            storage_path=str(folder / "ray"),
            failure_config=FailureConfig(max_failures=failures),
            checkpoint_config=CheckpointConfig(num_to_keep=config.keep),
        ),
    )
    try:
        with follow(folder / "metrics.jsonl", on_step):
            return trainer.fit()
    except Exception as error:
        raise UsageError(
            f"the run on Ray failed: {error}; the same command resumes from the last checkpoint"
        ) from error


@contextmanager
def follow(path: Path, on_step: OnStep | None, *, every_s: float = 0.5) -> Iterator[None]:
    """Forward the records that another process appends to a run's metrics, each step once."""
    stop_event = threading.Event()
    stat = path.stat() if path.exists() else None

    def read() -> None:
        offset, inode = (stat.st_size, stat.st_ino) if stat else (0, 0)
        tail, step = "", 0
        while True:
            last = stop_event.wait(every_s)
            if path.exists() and on_step:
                with path.open(encoding="utf-8") as file:
                    # A resumed run replaces the file by one without the steps that it computes again.
                    if os.fstat(file.fileno()).st_ino != inode:
                        offset, inode, tail = 0, os.fstat(file.fileno()).st_ino, ""
                    file.seek(offset)
                    *lines, tail = (tail + file.read()).split("\n")
                    offset = file.tell()
                for line in lines:
                    record = load_json(line, where=path, nan=True)
                    if record["step"] > step:
                        step = record["step"]
                        on_step(record)
            if last:
                return

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    try:
        yield
    finally:
        stop_event.set()
        reader.join()


class Worker:
    """A worker of an evaluation. It loads its model on demand and returns errors of this package as values."""

    def __init__(self, make: Callable[[], Callable[[Any], Any]]) -> None:
        self._make = make
        self._work: Callable[[Any], Any] | None = None

    def work(self, batch: Any) -> Any:
        """Return the result of a batch, or the error."""
        try:
            self._work = self._work or self._make()
            return self._work(batch)
        except MolmoAgentError as error:
            # Not all error classes can be serialized.
            return (ModelError if isinstance(error, ModelError) else UsageError)(str(error))


def map_on_ray(count: int, address: str | None) -> Callable[..., Iterator[Any]]:
    """Return a mapper for evaluations with workers on Ray, with one GPU each if there are GPUs.

    Args:
        count: number of workers; each loads the model once.
        address: of a cluster; None starts one on this machine.

    Raises:
        MissingExtraError: Ray is not installed.
    """
    try:
        import ray
        from ray.util import ActorPool
    except ImportError as error:
        raise MissingExtraError("evaluating on Ray", "train") from error

    def run_batches(make: Callable[[], Callable[[Any], Any]], batches: Iterable[Any]) -> Iterator[Any]:
        if not ray.is_initialized():
            ray.init(address or "local", log_to_driver=False)
        remote = ray.remote(num_cpus=1, num_gpus=1 if torch.cuda.is_available() else 0)(Worker)
        workers, rest = [remote.remote(make) for _ in range(count)], iter(batches)
        pool = ActorPool(workers)
        try:
            # Submit only as many batches as keep all workers busy, since batches hold images.
            for batch in islice(rest, 2 * count):
                pool.submit(lambda worker, one: worker.work.remote(one), batch)
            while pool.has_next():
                try:
                    result = pool.get_next()
                except ray.exceptions.RayActorError as error:
                    raise UsageError(f"a worker on Ray died: {error}; the same command resumes") from error
                if isinstance(result, MolmoAgentError):
                    raise result
                yield result
                for batch in islice(rest, 1):
                    pool.submit(lambda worker, one: worker.work.remote(one), batch)
        finally:
            for worker in workers:
                ray.kill(worker)

    return run_batches
