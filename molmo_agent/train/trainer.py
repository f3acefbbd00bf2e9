"""The loop of a training run on this rank, in one process, under torchrun or under Ray.

It resumes, prefetches batches, logs, calls back, stops on request, saves and exports. The train module defines the
model, the data and the steps.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from molmo_agent.files import write_whole
from molmo_agent.registry import load_attribute
from molmo_agent.train.checkpoint import RunFolder
from molmo_agent.train.config import Run
from molmo_agent.train.distributed import all_reduce_max, own_device, own_rank
from molmo_agent.train.loggers import Logger, open_loggers
from molmo_agent.train.recipe import kind_of, to_dict
from molmo_agent.train.train_module import StepTime, TrainModule

PROBLEMS_FILE = "problems.txt"
"""File in the run's folder that lists the unusable data."""
EXPORT_FOLDER = "export"
"""Folder of the trained model in the run's folder."""

OnStep = Callable[[dict[str, Any]], None]
"""Called on every rank after every step with its record, a line of metrics.jsonl."""
OnCheckpoint = Callable[[Path | None], None]
"""Called on every rank after every step and at the end, with the checkpoint that was completed since the last call;
None if there is none, and on ranks other than the first."""

# The decisions after a step; all ranks follow the largest value of any rank.
_CONTINUE, _STOP, _FAIL = 0, 1, 2


def make_train_module(config: Run) -> TrainModule:
    """Return the train module of a config, with the initial weights.

    Raises:
        UsageError: the model or the data cannot be read.
    """
    module: TrainModule = load_attribute(kind_of(config).train_module)(config)
    return module


def prefetch(module: TrainModule, start: int, steps: int) -> Generator[tuple[int, Any, float], None, None]:
    """Yield (step, batch, waiting time in s) from ``start`` to ``steps``, prepared some steps in advance."""
    load = module.batch_loader()
    with module.open_pool() as pool:
        futures = deque(pool.submit(load, step) for step in range(start, min(start + module.prefetch, steps)))
        try:
            for step in range(start, steps):
                began = time.perf_counter()
                batch = futures.popleft().result()
                waited = time.perf_counter() - began
                if step + module.prefetch < steps:
                    futures.append(pool.submit(load, step + module.prefetch))
                yield step, batch, waited
        finally:
            for future in futures:
                future.cancel()


class Trainer:
    """Runs a config to its end, from the last checkpoint if there is one; every rank has one.

    Args:
        config: the run.
        folder: of checkpoints and metrics; the same folder resumes the run.
        on_step: see :data:`OnStep`.
        on_checkpoint: see :data:`OnCheckpoint`.
        stop: called after every step; True on any rank saves a checkpoint and ends the loop.
    """

    def __init__(
        self,
        config: Run,
        folder: Path,
        *,
        on_step: OnStep | None = None,
        on_checkpoint: OnCheckpoint = lambda _: None,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.config, self.folder = config, folder
        self.on_step, self.on_checkpoint, self.stop = on_step, on_checkpoint, stop

    def fit(self) -> int:
        """Train until the last step, or until a request to stop.

        Returns:
            The number of finished steps; the model is exported after the last one.

        Raises:
            UsageError: the folder belongs to another run, the model or the data cannot be read, or a checkpoint cannot
                be read or written.
            ModelError: the loss is not a number.
        """
        run = RunFolder(self.folder, self.config)
        try:
            module = make_train_module(self.config)
            problems = module.problems()
            if problems and own_rank() == 0:
                path = self.folder / PROBLEMS_FILE
                write_whole(path, problems + "\n")
            start = module.restore(run)
            run.forget_after(start)
            loggers = open_loggers(self.config.loggers if own_rank() == 0 else (), self.folder, to_dict(self.config))
            num_steps = self._train(run, module, start, loggers)
            self.on_checkpoint(run.finish())
            for logger in loggers:
                logger.close()
            if num_steps == self.config.steps:
                module.export(self.folder / EXPORT_FOLDER)
            return num_steps
        finally:
            run.close()

    def _train(self, run: RunFolder, module: TrainModule, start: int, loggers: Sequence[Logger]) -> int:
        """Run the steps after ``start``; return the number of finished steps."""
        num_steps, end = start, time.perf_counter()
        with closing(prefetch(module, start, self.config.steps)) as batches:
            for step, batch, waited in batches:
                began = time.perf_counter()
                metrics = module.train_step(step, batch)
                num_steps = step + 1
                # The remaining time since the last step is neither waiting nor training.
                other, seconds, end = began - waited - end, time.perf_counter() - began, time.perf_counter()
                times = StepTime(seconds=seconds, waited=waited, other=max(other, 0.0))
                rates = module.throughput(batch, times)
                record = {"step": num_steps, **metrics, **rates, "device": own_device().type}
                if own_rank() == 0:
                    run.log(record)
                    for logger in loggers:
                        logger.log(record)
                if self.on_step:
                    self.on_step(record)
                # All ranks must stop together, or the others would wait forever.
                verdict = all_reduce_max(_FAIL if run.failed else _STOP if self.stop() else _CONTINUE)
                if verdict == _FAIL:
                    break
                self.on_checkpoint(run.check())
                if self._is_due(module, num_steps) or verdict == _STOP:
                    run.save(num_steps, module.state())
                if verdict == _STOP:
                    break
        return num_steps

    def _is_due(self, module: TrainModule, step: int) -> bool:
        """Return whether a checkpoint is due."""
        return step % self.config.checkpoint_every == 0 or step == self.config.steps or module.ends_stage(step)
