"""Read a sweep: its stages, its runs, and what each run changes.

A sweep is a YAML file. ``stages`` are recipes that are trained one after another, each from the model of the one
before. Every entry of ``runs`` changes some keys of them, or leaves a stage out::

    title: Dropout
    source: arXiv 2409.17146 v2, table 2 (c)
    stages:
      pretrain: {like: pixmo_cap}
      sft: {like: sft}
    runs:
      - {name: "on, on", paper: {11-avg: 77.0}, change: {pretrain: {residual_dropout: 0.1, answer_dropout: 0}}}

``like`` names another sweep whose keys these override. Two runs with the same config of a stage share it: it is trained
once. This module trains nothing; :mod:`.run` does.
"""

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.parse import read_yaml
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.presets import merge_configs
from molmo_agent.train.recipe import RECIPES, assign, build, from_dict, resolve, set_value, to_dict

ABLATIONS = RECIPES / "ablations"


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepRun:
    """One row of a sweep's table, as its file has it."""

    name: str
    # Published results by metric; empty if there are none.
    paper: dict[str, float] = field(default_factory=dict)
    # Keys of each stage that differ; None leaves the stage out.
    change: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    # What the table says of this row.
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A sweep's file."""

    title: str
    # Where the published results are from; empty if there are none.
    source: str = ""
    # Recipes by the name of their stage, in their order.
    stages: dict[str, dict[str, Any]]
    runs: tuple[SweepRun, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One stage of one or several runs."""

    stage: str
    config: TrainConfig
    folder: Path
    # The folder of the job that this one starts from.
    after: Path | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRun:
    """A run with the config and the folder of each stage."""

    run: SweepRun
    jobs: tuple[Job, ...]


def sweep_names() -> list[str]:
    """Return the names of the built-in sweeps."""
    return sorted(path.stem for path in ABLATIONS.glob("*.yaml"))


def load_sweep(name: str) -> Sweep:
    """Read a built-in sweep by name, or a YAML file by path.

    Raises:
        UsageError: there is no such sweep, or a key or a value of it is wrong.
    """
    sweep: Sweep = build(Sweep, _data(name), "")
    names = [run.name for run in sweep.runs]
    if not names or len(set(names)) < len(names):
        raise UsageError(f"expected runs with names of their own in the sweep {name!r}, got {names}")
    for run in sweep.runs:
        for stage in run.change:
            if stage not in sweep.stages:
                raise UnknownNameError(f"stage of the run {run.name!r}", stage, sweep.stages)
    return sweep


def _data(name: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    if name in above:
        raise UsageError(f"the sweep {name!r} is based on itself ({' like '.join((*above, name))})")
    path = Path(name)
    if not (path.suffix in (".yaml", ".yml") and path.is_file()):
        path = ABLATIONS / f"{name}.yaml"
        if name not in sweep_names():
            raise UnknownNameError("sweep", name, sweep_names())
    data = read_yaml(path)
    if not isinstance(data, dict):
        raise UsageError(f"expected {path} to hold a mapping, got {type(data).__name__}")
    if "like" not in data:
        return data
    base = _data(str(data.pop("like")), (*above, name))
    # Stages that the file has itself take the place of all the others.
    if "stages" in data:
        base["stages"] = {stage: base["stages"].get(stage, {}) for stage in data["stages"]}
    return merge_configs(base, data)


def plan_sweep(sweep: Sweep, folder: Path, assignments: Sequence[str] = ()) -> list[PlannedRun]:
    """Return every run with its configs.

    A folder is named by its config, so that what is trained stays valid when other runs of the file change.

    Args:
        sweep: from :func:`load_sweep`.
        folder: of the sweep.
        assignments: ``key=value`` for all stages, ``stage.key=value`` for one. They come before what a run changes.

    Raises:
        UsageError: a key or a value of a stage is wrong; the message names the run.
    """
    recipes = {}
    for stage, recipe in sweep.stages.items():
        own = [text.removeprefix(f"{stage}.") for text in assignments if _stage_of(text, sweep) in (stage, None)]
        recipes[stage] = assign(resolve(recipe), own)
    planned = []
    for run in sweep.runs:
        jobs: list[Job] = []
        for stage, recipe in recipes.items():
            changes = run.change.get(stage, {})
            if changes is None:
                continue
            try:
                jobs.append(_job(stage, copy.deepcopy(recipe), changes, jobs, folder))
            except UsageError as error:
                raise UsageError(f"the stage {stage!r} of the run {run.name!r}: {error}") from error
        if not jobs:
            raise UsageError(f"expected a stage in the run {run.name!r}, but it leaves out all of them")
        planned.append(PlannedRun(run=run, jobs=tuple(jobs)))
    return planned


def _stage_of(assignment: str, sweep: Sweep) -> str | None:
    first = assignment.partition("=")[0].partition(".")[0]
    return first if first in sweep.stages else None


def _job(stage: str, data: dict[str, Any], changes: dict[str, Any], before: Sequence[Job], folder: Path) -> Job:
    for path, value in changes.items():
        set_value(data, path, copy.deepcopy(value), where=path)
    after = before[-1].folder if before else None
    if after is not None:
        data |= {"model": str(after / "export"), "start": None}
    config = from_dict(data)
    if not isinstance(config, TrainConfig):
        raise UsageError("expected a recipe of fine-tuning, got a curriculum: a sweep compares models that are alike")
    digest = hashlib.sha256(json.dumps(to_dict(config), sort_keys=True).encode()).hexdigest()[:10]
    return Job(stage=stage, config=config, folder=folder / f"{stage}-{digest}", after=after)


def jobs_of(planned: Sequence[PlannedRun]) -> list[Job]:
    """Return the jobs of all runs, each once, before those that start from it."""
    return list({job.folder: job for run in planned for job in run.jobs}.values())
