"""Train the jobs of a sweep, here one after another or several at a time, and remember which are done.

What is done is in the folders alone: the same sweep resumes where it was interrupted.
"""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path

from molmo_agent.child_environment import child_environment
from molmo_agent.errors import DataError, MolmoAgentError, RunStopped, UsageError
from molmo_agent.files import write_whole
from molmo_agent.parse import json_lines, read_yaml
from molmo_agent.train.launch import stop_signals
from molmo_agent.train.recipe import to_dict, to_yaml, with_defaults
from molmo_agent.train.starting_model import start_place
from molmo_agent.train.sweep.sweep import Job

RECIPE_FILE = "recipe.yaml"
"""File in a job's folder with its whole config, for ``agent train``."""
_LOG_FILE = "log.txt"
# The exit code of a program that was stopped and can be resumed.
_STOPPED = 130

Train = Callable[[Job], None]
"""Trains one job to its end; raises a MolmoAgentError."""


def records_of(job: Job) -> list[dict[str, object]]:
    """Return the records of a job's steps; none if it has not begun."""
    path = job.folder / "metrics.jsonl"
    try:
        # The last line of a killed run may be cut; its step is trained again.
        return [record for _, record in json_lines(path, on_cut_end=lambda _: None)] if path.exists() else []
    except DataError as error:
        raise UsageError(f"{path} cannot be read ({error}); remove {job.folder} to train this part again") from error


def is_done(job: Job) -> bool:
    """Return whether a job has been trained to its end, with this config."""
    if not (job.folder / "export" / "config.json").exists():
        return False
    try:
        old = read_yaml(job.folder / "config.yaml")
    except (DataError, OSError):
        return False
    wanted = to_dict(start_place(job.config, job.folder))
    steps = [record.get("step") for record in records_of(job)]
    return isinstance(old, dict) and with_defaults(old) == wanted and steps[-1:] == [job.config.steps]


def run_jobs(
    jobs: Sequence[Job], train: Train, *, parallel: int = 1, abandon: Callable[[], None] = lambda: None
) -> dict[Path, str]:
    """Train the jobs that are not done, each after the one that it starts from.

    A job that fails does not end the others.

    Args:
        jobs: each after the one that it starts from.
        train: is called for each job that is not done; from other threads if several are trained at a time.
        parallel: number of jobs at a time.
        abandon: called if an error of another kind ends this, so that nothing is waited for until its end.

    Returns:
        What went wrong by folder; empty if all jobs are done.

    Raises:
        RunStopped: a job was stopped; the others are waited for.
    """
    failures: dict[Path, str] = {}
    stopped: list[RunStopped] = []

    def settle(job: Job, work: Callable[[], None]) -> None:
        try:
            work()
        except RunStopped as error:
            stopped.append(error)
        except MolmoAgentError as error:
            failures[job.folder] = str(error)

    waiting = [job for job in jobs if not is_done(job)]
    if parallel == 1:
        # In this thread, where signals can be handled. The jobs are in order.
        for job in waiting:
            if job.after in failures:
                failures[job.folder] = _unreached(job)
            elif not stopped:
                settle(job, lambda job=job: train(job))  # type: ignore[misc]
    else:
        with ThreadPoolExecutor(parallel) as pool:
            busy: dict[Future[None], Job] = {}
            try:
                while busy or (waiting and not stopped):
                    left = {job.folder for job in [*waiting, *busy.values()]}
                    for job in [job for job in waiting if job.after in failures]:
                        failures[job.folder] = _unreached(job)
                        waiting.remove(job)
                    ready = [job for job in waiting if job.after not in left and not stopped]
                    for job in ready[: parallel - len(busy)]:
                        waiting.remove(job)
                        busy[pool.submit(train, job)] = job
                    for future in wait(busy, return_when=FIRST_COMPLETED).done:
                        settle(busy.pop(future), future.result)
            except BaseException:
                abandon()
                raise
    if stopped:
        raise stopped[0]
    return failures


def _unreached(job: Job) -> str:
    return f"not trained, because {job.after} failed"


class Programs:
    """Trains jobs in programs of their own, ``agent train``, so that several can run at a time.

    Args:
        options: of ``agent train`` for each, such as ``("--workers", "2")``.
        threads: of the CPU, for each.
    """

    def __init__(self, options: Sequence[str], threads: int) -> None:
        self._options, self._threads = list(options), threads
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock, self._stopped = threading.Lock(), False

    def stop(self) -> None:
        """Ask all programs to stop after their step, and start no others."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.send_signal(signal.SIGTERM)

    def train(self, job: Job) -> None:
        """Run the program of a job to its end; what it prints is in the job's folder.

        Raises:
            RunStopped: it was asked to stop.
            UsageError: it failed; the message has the last line that it printed.
        """
        job.folder.mkdir(parents=True, exist_ok=True)
        recipe, log = job.folder / RECIPE_FILE, job.folder / _LOG_FILE
        write_whole(recipe, to_yaml(job.config))
        command = [sys.executable, "-m", "molmo_agent", "train", str(recipe), "--out", str(job.folder), *self._options]
        with log.open("wb") as output:
            with self._lock:
                if self._stopped:
                    raise RunStopped("stopped; the same command resumes the sweep")
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=child_environment(OMP_NUM_THREADS=str(self._threads), NO_COLOR="1"),
                )
                self._running.add(process)
            code = process.wait()
            with self._lock:
                self._running.discard(process)
        if code == _STOPPED or (code and self._stopped):
            raise RunStopped("stopped; the same command resumes the sweep")
        if code:
            last = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
            raise UsageError(f"{last or f'it ended with code {code}'} ({log})")


def run_programs(jobs: Sequence[Job], options: Sequence[str], parallel: int) -> dict[Path, str]:
    """Train jobs in ``parallel`` programs at a time; see :func:`run_jobs` and :class:`Programs`."""
    programs = Programs(options, max((os.cpu_count() or 1) // parallel, 1))
    with stop_signals(programs.stop):
        return run_jobs(jobs, programs.train, parallel=parallel, abandon=programs.stop)
