"""What a sweep measured, run by run, beside what was published."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_agent.train.sweep.run import is_done, records_of
from molmo_agent.train.sweep.sweep import Job, PlannedRun, Sweep


@dataclass(frozen=True, slots=True, kw_only=True)
class StageResult:
    """One stage of a run, as far as it is trained."""

    stage: str
    folder: str
    # "done", "failed", "step 3" if it was interrupted, or "" if it has not begun.
    state: str
    steps: int
    # Examples of a step.
    batch: int
    # Mean training loss of the last tenth of the steps; None before the first step.
    loss: float | None
    # The last measurement on held-out examples: loss, share of right tokens, share of exact answers; empty without one.
    held_out: dict[str, float]
    # Why it failed.
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One run of the table."""

    name: str
    note: str
    paper: dict[str, float]
    stages: tuple[StageResult, ...]


def rows(planned: Sequence[PlannedRun], failures: Mapping[Path, str] | None = None) -> list[Row]:
    """Return what is there of each run.

    Args:
        planned: the runs.
        failures: what went wrong by folder, from :func:`~molmo_agent.train.sweep.run.run_jobs`.
    """
    return [
        Row(
            name=entry.run.name,
            note=entry.run.note,
            paper=entry.run.paper,
            stages=tuple(_result(job, (failures or {}).get(job.folder, "")) for job in entry.jobs),
        )
        for entry in planned
    ]


def _result(job: Job, problem: str) -> StageResult:
    records: list[dict[str, Any]] = records_of(job)
    last = records[-max(job.config.steps // 10, 1) :]
    measured: dict[str, Any] = next(
        (record["validation"] for record in reversed(records) if record.get("validation")), {}
    )
    state = "done" if is_done(job) else "failed" if problem else f"step {records[-1]['step']}" if records else ""
    return StageResult(
        stage=job.stage,
        folder=str(job.folder),
        state=state,
        steps=job.config.steps,
        batch=job.config.batch,
        loss=sum(record["loss"] for record in last) / len(last) if last else None,
        held_out={name: measured[name] for name in ("loss", "accuracy", "exact") if name in measured},
        problem=problem,
    )


def columns(sweep: Sweep, results: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Return the heads and the cells of the table: results of each stage, then the published ones."""
    metrics = list(dict.fromkeys(metric for row in results for metric in row.paper))
    several = len(sweep.stages) > 1
    heads = ["run", ""]
    for stage in sweep.stages:
        heads += [f"{stage} {head}" if several else head for head in ("loss", "held out", "exact")]
    heads += [f"paper: {metric}" for metric in metrics]
    lines = []
    for row in results:
        found = {result.stage: result for result in row.stages}
        cells = [f"{row.name} ({row.note})" if row.note else row.name, _state(sweep, found)]
        for stage in sweep.stages:
            cells += _cells(found[stage]) if stage in found else ["", "", ""]
        lines.append(cells + [f"{row.paper[metric]:.1f}" if metric in row.paper else "-" for metric in metrics])
    return heads, lines


def _state(sweep: Sweep, found: Mapping[str, StageResult]) -> str:
    states = {stage: (found[stage].state or "-") if stage in found else "left out" for stage in sweep.stages}
    if len(set(states.values())) == 1:
        return next(iter(states.values()))
    return ", ".join(f"{stage} {state}" for stage, state in states.items())


def _cells(result: StageResult) -> list[str]:
    held_out = result.held_out
    return [
        "-" if result.loss is None else f"{result.loss:.3f}",
        f"{held_out['loss']:.3f}" if "loss" in held_out else "-",
        f"{held_out['exact']:.0%}" if "exact" in held_out else "-",
    ]


def explanations(sweep: Sweep, results: Sequence[Row]) -> list[str]:
    """Return what has to be said below the table: what was trained here, and what the published results are."""
    sizes: dict[str, set[str]] = {}
    for row in results:
        for result in row.stages:
            sizes.setdefault(result.stage, set()).add(f"{result.steps:,} steps of {result.batch} examples")
    here = "; ".join(f"{stage}: {' or '.join(sorted(sizes[stage]))}" for stage in sweep.stages if stage in sizes)
    lines = [
        f"trained here: {here}. Loss: training loss of the last tenth of the steps; held out and exact: loss and share "
        "of exact answers on examples that were not trained on."
    ]
    if sweep.source:
        lines.append(
            f"paper: {sweep.source}, from training at full size, in metrics that are not measured here: its numbers "
            "stand beside the others for the direction alone, and are not comparable with them."
        )
    return lines
