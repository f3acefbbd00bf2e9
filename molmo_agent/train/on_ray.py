"""Run on a Ray cluster: training with workers that are replaced when they die, and evaluation.

What the workers are given is decided from what the machines of the cluster have: the caller, often a head without a
GPU, says nothing about them.
"""

import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch

from molmo_agent.errors import MissingExtraError, ModelError, MolmoAgentError, UnknownNameError, UsageError
from molmo_agent.parse import load_json
from molmo_agent.rollout.ray_map import ray_session
from molmo_agent.train.config import Run
from molmo_agent.train.distributed import backends, own_device
from molmo_agent.train.launch import AUTO, CPU, GPU, finished, stop_signals
from molmo_agent.train.recipe import from_dict, to_dict
from molmo_agent.train.trainer import OnStep, Trainer

POINTER_FILE = "checkpoint.json"
"""The only file in a checkpoint that is reported to Ray: it holds the path of the real checkpoint."""
STOP_FILE = "stop"
"""File in the run's folder by which the process that started a run on Ray asks its workers to save and stop."""
# Ray names a resource of a machine after the type of its GPUs.
_TYPE = "accelerator_type:"


@dataclass(frozen=True, slots=True)
class RayWorkers:
    """What a run asks of a Ray cluster."""

    # Number of workers; (min, max) follows the size of the cluster.
    count: int | tuple[int, int]
    # Whether each worker has a GPU of its own; otherwise it has a CPU.
    use_gpu: bool
    # Ray's name of the GPU, such as "H100"; None for any.
    accelerator_type: str | None
    # One line for people: who trains on what.
    summary: str


def choose_workers(
    accelerator: str, count: int | tuple[int, int], machines: Sequence[Mapping[str, float]]
) -> RayWorkers:
    """Decide what the workers of a run are given.

    Args:
        accelerator: "auto": a GPU each if the cluster has GPUs. "gpu", "cpu", or a type of GPU such as "H100": that; if
            there is not enough of it now, the run waits until machines join.
        count: number of workers, or (min, max).
        machines: resources of each machine of the cluster, under Ray's names.

    Raises:
        UsageError: "auto", and the cluster has too few GPUs (or, without any, CPUs) for the workers.
        UnknownNameError: no machine has this type of GPU.
    """
    low, high = count if isinstance(count, tuple) else (count, count)
    types = sorted({name.removeprefix(_TYPE) for machine in machines for name in machine if name.startswith(_TYPE)})
    kind = None
    if accelerator not in (AUTO, GPU, CPU):
        kind = next((name for name in types if name.casefold() == accelerator.casefold()), None)
        if kind is None:
            raise UnknownNameError("accelerator of the cluster", accelerator, (AUTO, GPU, CPU, *types))
        machines = [machine for machine in machines if _TYPE + kind in machine]
    # A worker is on one machine.
    gpus, cpus = (sum(int(machine.get(name, 0)) for machine in machines) for name in ("GPU", "CPU"))
    use_gpu = accelerator != CPU and (accelerator != AUTO or gpus > 0)
    have, unit = (gpus, kind or "GPU") if use_gpu else (cpus, "CPU")
    number = f"{low}" if low == high else f"{low} to {high}"
    found = f"the cluster has {have} {unit}{'' if have == 1 else 's'}"
    if have < low and accelerator == AUTO:
        fewer = f"--workers {have}, " if have else ""
        wait = "--accelerator cpu, or --accelerator gpu" if use_gpu else "--accelerator cpu or gpu"
        raise UsageError(
            f"expected a {unit} for each of {number} workers, but {found}; use {fewer}{wait} to wait for more machines"
        )
    waits = f"; waiting for {low - have} more" if have < low else ""
    return RayWorkers(
        count, use_gpu, kind, f"{number} worker{'' if count == 1 else 's'} on Ray, one {unit} each: {found}{waits}"
    )


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

    if settings["needs_gpu"] and own_device().type == "cpu":
        raise UsageError(
            f"a worker was given a GPU that torch {torch.__version__} cannot use there; install its CUDA build"
        )
    config, folder = from_dict(settings["config"]), Path(settings["folder"])
    stop = (folder / STOP_FILE).exists
    Trainer(config, folder, on_step=on_step, on_checkpoint=on_checkpoint, stop=stop).fit()


def _workers_of(accelerator: str, count: int | tuple[int, int]) -> RayWorkers:
    import ray

    return choose_workers(accelerator, count, [node["Resources"] for node in ray.nodes() if node["Alive"]])


def backends_of(worker_group: Any) -> str:
    """Return the backends for workers of Ray: GPUs have one if workers were given some and can all use them."""
    given = worker_group.get_resources_per_worker().get("GPU", 0)
    return backends("cuda" if given and all(worker_group.execute(torch.cuda.is_available)) else "cpu")


def group_config() -> Any:
    """Return Ray's settings of a process group with backends for the devices that its workers have.

    By itself, Ray starts one for GPUs alone where workers have GPUs, and counts are reduced on the CPU.
    """
    from ray.train.torch import TorchConfig

    class GroupOfBoth(TorchConfig().backend_cls):  # type: ignore[misc]
        def on_start(self, worker_group: Any, backend_config: Any) -> None:
            super().on_start(worker_group, replace(backend_config, backend=backends_of(worker_group)))

    class GroupConfig(TorchConfig):
        @property
        def backend_cls(self) -> Any:
            return GroupOfBoth

    return GroupConfig()


def run_on_ray(
    config: Run,
    folder: Path,
    count: int | tuple[int, int],
    address: str | None,
    on_step: OnStep | None = None,
    *,
    accelerator: str = AUTO,
    failures: int = 3,
    on_start: Callable[[RayWorkers], None] = lambda _: None,
) -> Any:
    """Train on Ray: failed workers are restarted and resume from the last checkpoint.

    Args:
        config: the run.
        folder: on storage shared by all workers.
        count: number of workers; (min, max) follows the size of the cluster. The number does not change the result.
        address: of a cluster; None starts one on this machine.
        on_step: called in this process with every record of the metrics.
        accelerator: of each worker, see :func:`.choose_workers`.
        failures: maximum number of restarts.
        on_start: called with what the workers are given.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: the cluster has too little for the workers, or the run failed after all restarts.
        RunStopped: Ctrl-C, SIGTERM or a closed terminal; a checkpoint was written.
    """
    try:
        from ray.train import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchTrainer
    except ImportError as error:
        raise MissingExtraError("training on Ray", "train") from error
    folder = folder.resolve()
    with ray_session(address):
        workers = _workers_of(accelerator, count)
        on_start(workers)
        settings = {
            "config": to_dict(config),
            "folder": str(folder),
            "threads": 1,
            "start": os.getcwd(),
            "needs_gpu": workers.use_gpu and accelerator != AUTO,
        }
        trainer = TorchTrainer(
            _ray_loop,
            train_loop_config=settings,
            torch_config=group_config(),
            scaling_config=ScalingConfig(
                num_workers=count, use_gpu=workers.use_gpu, accelerator_type=workers.accelerator_type
            ),
            # Use a new name for every start: Ray would silently resume a known name, but the trainer resumes by itself.
            run_config=RunConfig(
                name=f"{folder.name}-{time.time_ns()}",
                storage_path=str(folder / "ray"),
                failure_config=FailureConfig(max_failures=failures),
                checkpoint_config=CheckpointConfig(num_to_keep=config.keep),
            ),
        )
        return _fit_on_ray(trainer, config, folder, on_step)


def _in_a_thread(function: Callable[[], Any]) -> Any:
    """Call a function in another thread and return its result: in the main thread, Ray answers Ctrl-C, and aborts."""
    future: Future[Any] = Future()

    def call() -> None:
        try:
            future.set_result(function())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=call, daemon=True).start()
    return future.result()


def _fit_on_ray(trainer: Any, config: Run, folder: Path, on_step: OnStep | None) -> Any:
    """Run a trainer of Ray; return its result.

    Raises:
        UsageError: the run failed after all restarts.
        RunStopped: it was told to stop, and saved a checkpoint.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / STOP_FILE).unlink(missing_ok=True)
    last = 0

    def on_record(record: dict[str, Any]) -> None:
        nonlocal last
        last = record["step"]
        if on_step:
            on_step(record)

    with stop_signals((folder / STOP_FILE).touch) as stop:
        try:
            with follow(folder / "metrics.jsonl", on_record):
                result = _in_a_thread(trainer.fit)
        except Exception as error:
            raise UsageError(
                f"the run on Ray failed: {error}; the same command resumes from the last checkpoint"
            ) from error
        finally:
            (folder / STOP_FILE).unlink(missing_ok=True)
    if stop():
        finished(config, last)
    return result


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
    """Return a mapper for evaluations with workers on Ray, with one GPU each if the cluster has GPUs.

    Args:
        count: number of workers; each loads the model once.
        address: of a cluster; None starts one on this machine.

    Raises:
        MissingExtraError: Ray is not installed.
        UsageError: at the first batch: the cluster has too few GPUs, or CPUs, for the workers.
    """
    try:
        import ray
        from ray.util import ActorPool
    except ImportError as error:
        raise MissingExtraError("evaluating on Ray", "train") from error

    def run_batches(make: Callable[[], Callable[[Any], Any]], batches: Iterable[Any]) -> Iterator[Any]:
        rest = iter(batches)
        first = [*islice(rest, 1)]
        if not first:
            # Nothing is left to do: no worker loads a model for it.
            return
        with ray_session(address):
            use_gpu = _workers_of(AUTO, count).use_gpu
            remote = ray.remote(num_cpus=int(not use_gpu), num_gpus=int(use_gpu))(Worker)
            workers = [remote.remote(make) for _ in range(count)]
            pool = ActorPool(workers)
            try:
                # Submit only as many batches as keep all workers busy, since batches hold images.
                for batch in chain(first, islice(rest, 2 * count - 1)):
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
