"""``agent train --sweep``: trains the runs of a sweep, and prints their table beside the published one."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from molmo_agent.cli.training.run import Launch, TrainingProgress, check_start
from molmo_agent.console import make_console, plain_text, say_json
from molmo_agent.errors import RunStopped, UsageError


def sweep(
    name: str,
    changes: list[str],
    out: Path | None,
    launch: Launch,
    *,
    parallel: int = 1,
    only_list: bool = False,
    as_json: bool = False,
) -> bool:
    """Train all runs that are not done, and print the table; return whether all are done.

    Args:
        name: of a built-in sweep, or path of a YAML file.
        changes: ``key=value`` for all stages, ``stage.key=value`` for one.
        out: the sweep's folder; by default ``runs/<name>``.
        launch: where the processes of each run are.
        parallel: number of runs at a time, each a program of its own.
        only_list: train nothing; print what would be trained, and what is there.
        as_json: print the table as one JSON object.

    Raises:
        UsageError: the sweep, a change or the options are not valid.
        RunStopped: stopped; the table of what is there was printed.
    """
    from molmo_agent.train.sweep.run import run_jobs, run_programs
    from molmo_agent.train.sweep.sweep import Job, jobs_of, load_sweep, plan_sweep

    launch.check()
    if parallel < 1 or (parallel > 1 and launch.ray and launch.address is None):
        raise UsageError(
            f"expected --parallel of at least 1, and with Ray the cluster that all runs share (--address auto after "
            f"ray start --head); got --parallel {parallel}"
        )
    loaded = load_sweep(name)
    planned = plan_sweep(loaded, out or Path("runs") / Path(name).stem, changes)
    jobs = jobs_of(planned)
    for job in jobs:
        check_start(job.config, changes)
    if only_list:
        _print(loaded, planned, {}, as_json=as_json, listing=True)
        return True
    console = make_console(stderr=True)

    def train(job: Job) -> None:
        console.print(plain_text(f"{job.stage}: {job.folder}"))
        progress = TrainingProgress(console, job.config.steps, as_json=False)
        with progress.bar:
            launch.run(job.config, job.folder, progress)

    failures: dict[Path, str] = {}
    try:
        failures = run_programs(jobs, launch.options(), parallel) if parallel > 1 else run_jobs(jobs, train)
    except RunStopped as error:
        _print(loaded, planned, {}, as_json=as_json)
        raise RunStopped("stopped; the same command resumes the sweep") from error
    _print(loaded, planned, failures, as_json=as_json)
    return not failures


def _print(
    loaded: Any, planned: Sequence[Any], failures: dict[Path, str], *, as_json: bool, listing: bool = False
) -> None:
    """Print the table, and under it what failed; for a listing also what each run changes."""
    from molmo_agent.train.sweep.table import columns, explanations, rows

    results = rows(planned, failures)
    notes = explanations(loaded, results)
    if as_json:
        changes = {entry.run.name: entry.run.change for entry in planned}
        runs = [{**asdict(row), "change": changes[row.name]} for row in results]
        say_json({"title": loaded.title, "source": loaded.source, "notes": notes, "runs": runs})
        return
    console = make_console()
    heads, lines = columns(loaded, results)
    table = Table(title=plain_text(loaded.title), box=None)
    for head in heads:
        table.add_column(plain_text(head))
    for line in lines:
        table.add_row(*map(plain_text, line))
    console.print(table)
    for note in notes:
        console.print(plain_text(note), soft_wrap=True)
    if listing:
        for entry in planned:
            console.print(plain_text(f"{entry.run.name}: {_told(entry.run.change)}"), soft_wrap=True)
            for job in entry.jobs:
                console.print(plain_text(f"  {job.stage}: {job.folder}, {job.config.steps:,} steps"), soft_wrap=True)
    for row in results:
        for result in row.stages:
            if result.problem:
                console.print(plain_text(f"{row.name}, {result.stage}: {result.problem}"), soft_wrap=True)


def _told(change: dict[str, dict[str, Any] | None]) -> str:
    """Return what a run changes, as a person would set it."""
    texts = []
    for stage, keys in change.items():
        if keys is None:
            texts.append(f"without {stage}")
        else:
            texts += [f"{stage}.{key}={'null' if value is None else value}" for key, value in keys.items()]
    return ", ".join(texts) or "as the stages say"
