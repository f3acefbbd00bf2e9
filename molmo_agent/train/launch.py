"""Start a run's ranks on this machine: in this process, in several, or under torchrun. For Ray see :mod:`.on_ray`.

All of them run a :class:`.Trainer` on every rank, with the same result.
"""

import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from types import FrameType
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from molmo_agent.errors import MolmoAgentError, RunStopped, UnknownNameError, UsageError
from molmo_agent.interrupts import kept_handlers
from molmo_agent.train.config import Run
from molmo_agent.train.distributed import backends
from molmo_agent.train.recipe import from_dict, to_dict
from molmo_agent.train.trainer import OnStep, Trainer

AUTO, GPU, CPU = "auto", "gpu", "cpu"
"""Accelerators of a run: a GPU for each rank if there are GPUs, in any case, or not at all."""


def device_here(accelerator: str, count: int) -> str:
    """Return "cuda" or "cpu", for ``count`` ranks on this machine.

    Args:
        accelerator: "auto" (a GPU if there is one), "gpu" or "cpu".
        count: number of ranks on this machine.

    Raises:
        UsageError: there are fewer GPUs than ranks, or none where one is asked for.
        UnknownNameError: ``accelerator`` is something else.
    """
    if accelerator not in (AUTO, GPU, CPU):
        raise UnknownNameError("accelerator (types of GPUs need Ray)", accelerator, (AUTO, GPU, CPU))
    num_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if accelerator == CPU or (accelerator == AUTO and num_gpus == 0):
        return "cpu"
    if num_gpus < count:
        raise UsageError(
            f"expected a GPU for each of {count} workers, found {num_gpus} on this machine (torch "
            f"{torch.__version__}); use --workers {max(num_gpus, 1)}, or --accelerator cpu"
        )
    return "cuda"


@contextmanager
def process_group(rank: int, count: int, meeting: str | None, accelerator: str = AUTO) -> Iterator[None]:
    """Initialize the process group; ``meeting`` is a shared file, None for torchrun's variables or a single rank.

    Raises:
        UsageError: this machine has too few GPUs for its ranks.
    """
    local_rank, local_count = (
        int(os.environ.get(f"LOCAL_{name}", n)) for name, n in (("RANK", rank), ("WORLD_SIZE", count))
    )
    kind = device_here(accelerator, local_count)
    if kind == "cuda":
        torch.cuda.set_device(local_rank)
    if meeting is not None:
        dist.init_process_group(backends(kind), init_method=f"file://{meeting}", rank=rank, world_size=count)
    elif "RANK" in os.environ:
        dist.init_process_group(backends(kind))
    else:
        dist.init_process_group(backends(kind), store=HashStore(), rank=0, world_size=1)
    try:
        yield
    finally:
        dist.destroy_process_group()


@contextmanager
def stop_signals(also: Callable[[], None] = lambda: None) -> Iterator[Callable[[], bool]]:
    """Handle Ctrl-C, SIGTERM and a closed terminal as a request to stop after the current step.

    A second Ctrl-C stops at once. A signal that is ignored, as by nohup, stays ignored, and outside of the main thread
    all signals stay as they are.

    Args:
        also: called at every such signal.

    Yields:
        A function that returns whether a stop was requested.
    """
    stop_event, num_interrupts = threading.Event(), 0

    def handle(number: int, frame: FrameType | None) -> None:
        nonlocal num_interrupts
        num_interrupts += number == signal.SIGINT
        if num_interrupts > 1:
            raise KeyboardInterrupt
        stop_event.set()
        also()

    with kept_handlers() as handlers:
        for number, handler in handlers.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, handle)
        yield stop_event.is_set


def finished(config: Run, step: int) -> int:
    """Return the last step.

    Raises:
        RunStopped: it is not that of the run.
    """
    if step < config.steps:
        raise RunStopped(f"stopped after step {step}; the same command resumes")
    return step


def run_here(config: Run, folder: Path, on_step: OnStep | None = None, *, accelerator: str = AUTO) -> int:
    """Train in this process, as the only rank or as a rank of torchrun; return the last step.

    Raises:
        RunStopped: Ctrl-C, SIGTERM or a closed terminal; a checkpoint was written.
        UsageError: this machine has too few GPUs for its ranks.
    """
    with stop_signals() as stop, process_group(0, 1, None, accelerator):
        return finished(config, Trainer(config, folder, on_step=on_step, stop=stop).fit())


def _worker(rank: int, settings: dict[str, Any], line: Connection) -> None:
    torch.set_num_threads(settings["threads"])
    try:
        with (
            stop_signals() as stop,
            process_group(rank, settings["count"], settings["meeting"], settings["accelerator"]),
        ):
            on_step: OnStep | None = (lambda record: line.send(("step", record))) if rank == 0 else None
            step = Trainer(from_dict(settings["config"]), Path(settings["folder"]), on_step=on_step, stop=stop).fit()
        line.send(("done", step))
    except MolmoAgentError as error:
        line.send(("error", str(error)))
    except BaseException as error:
        line.send(("failed", f"{type(error).__name__}: {error}"))
        raise


def run_workers(
    config: Run,
    folder: Path,
    count: int,
    on_step: OnStep | None = None,
    *,
    threads: int | None = None,
    accelerator: str = AUTO,
) -> int:
    """Train with several processes on this machine; return the last step.

    Args:
        config: the run.
        folder: of the run.
        count: number of processes.
        on_step: called with every record.
        threads: of each process; by default the machine's cores are divided equally.
        accelerator: "auto" (a GPU each, if there are GPUs), "gpu" or "cpu".

    Raises:
        UsageError: a rank rejects config, folder or data, a rank died, or there are too few GPUs.
        RunStopped: Ctrl-C, SIGTERM or a closed terminal; a checkpoint was written.
    """
    device_here(accelerator, count)
    context = multiprocessing.get_context("spawn")
    lines: list[Connection] = []
    processes: list[SpawnProcess] = []

    def stop_all() -> None:
        # Each finishes its step, and the first one saves. A terminal signals them too, others only this process.
        for process in processes:
            if process.is_alive() and process.pid:
                os.kill(process.pid, signal.SIGTERM)

    with tempfile.TemporaryDirectory() as meeting, stop_signals(stop_all) as stop:
        settings = {
            "count": count,
            "meeting": f"{meeting}/store",
            "config": to_dict(config),
            "folder": str(folder),
            "threads": threads or max((os.cpu_count() or 1) // count, 1),
            "accelerator": accelerator,
        }
        try:
            for rank in range(count):
                receiver, sender = context.Pipe(duplex=False)
                process = context.Process(target=_worker, args=(rank, settings, sender))
                process.start()
                sender.close()
                lines.append(receiver)
                processes.append(process)
            step = _listen(lines, on_step, stop)
        finally:
            deadline = time.monotonic() + 10
            for process in processes:
                process.join(max(deadline - time.monotonic(), 0))
                if process.is_alive():
                    process.kill()
                    process.join()
    return finished(config, step)


def _listen(lines: list[Connection], on_step: OnStep | None, stop: Callable[[], bool]) -> int:
    """Forward the workers' records until all have finished; return the last step.

    Raises:
        UsageError: a worker failed or died.
        RunStopped: a worker was told to stop before it could save.
    """
    open_lines, step = list(lines), 0
    while open_lines:
        for line in wait(open_lines):
            assert isinstance(line, Connection)
            try:
                kind, what = line.recv()
            except EOFError:
                if stop():
                    raise RunStopped("stopped before it could save; the same command resumes") from None
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
