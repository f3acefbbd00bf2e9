"""The loop of every training run on this rank: the same in one process, under torchrun and under Ray.

It resumes, prefetches batches, logs, calls back, stops where asked, saves and exports. What is learned, and from what,
is its train module's.
"""

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from molmo_agent.registry import load_attribute
from molmo_agent.train.checkpoint import RunFolder
from molmo_agent.train.config import Run
from molmo_agent.train.distributed import all_reduce_max, own_rank
from molmo_agent.train.loggers import Logger, open_loggers
from molmo_agent.train.recipe import kind_of, to_dict
from molmo_agent.train.train_module import StepTime, TrainModule

PROBLEMS_FILE = "problems.txt"
"""Beside the metrics: what of the data sets could not be used."""
EXPORT_FOLDER = "export"
"""In the run's folder: the trained model."""

OnStep = Callable[[dict[str, Any]], None]
"""Called on every rank after every step, with its record: a line of metrics.jsonl."""
OnCheckpoint = Callable[[Path | None], None]
"""Called on every rank after every step and at the end, with the checkpoint that was completed since the last call;
None where there is none, and on ranks other than the first."""

# What the ranks agree on after a step; the largest wins.
_CONTINUE, _STOP, _FAIL = 0, 1, 2


def make_train_module(config: Run) -> TrainModule:
    """Return the train module of a config, with the weights that the run starts from.

    Raises:
        UsageError: its model or data cannot be read.
    """
    module: TrainModule = load_attribute(kind_of(config).train_module)(config)
    return module


def prefetch(module: TrainModule, start: int, steps: int) -> Generator[tuple[int, Any, float], None, None]:
    """Yield (step, batch, seconds waited for it) from ``start`` to ``steps``, prepared some steps ahead."""
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
    """Runs a config from where its folder stands to the end; every rank has one.

    Args:
        config: the run.
        folder: its checkpoints and metrics; the same folder resumes.
        on_step: see :data:`OnStep`.
        on_checkpoint: see :data:`OnCheckpoint`.
        stop: asked after every step; True on any rank saves and returns.
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
        """Train until the last step, or until asked to stop.

        Returns:
            The steps done; the model is exported if these are all.

        Raises:
            UsageError: the folder is another run's, the model or the data cannot be read, or a checkpoint cannot be
                read or written.
            ModelError: the loss is not a number.
        """
        run = RunFolder(self.folder, self.config)
        try:
            module = make_train_module(self.config)
            problems = module.problems()
            if problems and own_rank() == 0:
                path = self.folder / PROBLEMS_FILE
                path.write_text(problems + "\n", encoding="utf-8", errors="backslashreplace")
            start = module.restore(run)
            run.forget_after(start)
            loggers = open_loggers(self.config.loggers if own_rank() == 0 else (), self.folder, to_dict(self.config))
            done = self._train(run, module, start, loggers)
            self.on_checkpoint(run.finish())
            for logger in loggers:
                logger.close()
            if done == self.config.steps:
                module.export(self.folder / EXPORT_FOLDER)
            return done
        finally:
            run.close()

    def _train(self, run: RunFolder, module: TrainModule, start: int, loggers: Sequence[Logger]) -> int:
        """Take the steps after ``start``; return how many are done."""
        done, ended = start, time.perf_counter()
        with closing(prefetch(module, start, self.config.steps)) as batches:
            for step, batch, waited in batches:
                began = time.perf_counter()
                metrics = module.train_step(step, batch)
                done = step + 1
                # What is neither waiting nor learning came after the last step.
                other, seconds, ended = began - waited - ended, time.perf_counter() - began, time.perf_counter()
                times = StepTime(seconds=seconds, waited=waited, other=max(other, 0.0))
                record = {"step": done, **metrics, **module.throughput(batch, times)}
                if own_rank() == 0:
                    run.log(record)
                    for logger in loggers:
                        logger.log(record)
                if self.on_step:
                    self.on_step(record)
                # The ranks agree, or the others would wait for the one that stops.
                verdict = all_reduce_max(_FAIL if run.failed else _STOP if self.stop() else _CONTINUE)
                if verdict == _FAIL:
                    break
                self.on_checkpoint(run.check())
                if self._is_due(module, done) or verdict == _STOP:
                    run.save(done, module.state())
                if verdict == _STOP:
                    break
        return done

    def _is_due(self, module: TrainModule, done: int) -> bool:
        """Return whether a checkpoint is due."""
        return done % self.config.checkpoint_every == 0 or done == self.config.steps or module.ends_stage(done)
