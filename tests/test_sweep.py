"""`agent train --sweep`: several runs that differ in one choice, interrupted and resumed, in one table."""

import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_training import write_model, write_points
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.cli.training.run import TrainingProgress
from molmo_agent.errors import ModelError, RunStopped, UsageError
from molmo_agent.train.recipe import from_dict, to_dict
from molmo_agent.train.sweep.run import Programs, is_done, run_jobs, run_programs
from molmo_agent.train.sweep.sweep import Job, PlannedRun, jobs_of, load_sweep, plan_sweep, sweep_names

# torch warns of processes that are not there.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def flat(data: Any, above: str = "") -> dict[str, Any]:
    """Return the leaves of a config by their paths; lists of mappings by number."""
    pairs = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else None
    if not pairs:
        return {above: data}
    return {
        path: leaf
        for key, value in pairs
        for path, leaf in flat(value, f"{above}.{key}" if above else str(key)).items()
    }


def planned(name: str | Path, *changes: str) -> list[PlannedRun]:
    return plan_sweep(load_sweep(str(name)), Path("runs"), changes)


def written(folder: Path, **content: Any) -> Path:
    path = folder / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A sweep of three runs over two stages, of a step or two each."""
    rate = {"peak": 1e-3, "warmup_steps": 1}
    learn: dict[str, Any] = {
        "model": str(write_model(tmp_path / "model")),
        "mixture": [{"kind": "points", "path": str(write_points(tmp_path)), "hold_out": 3}],
        "steps": 3,
        "batch": 2,
        "length": 160,
        "checkpoint_every": 1,
        "optimizer": {name: rate for name in ("vit", "connector", "llm")},
    }
    return written(
        tmp_path,
        title="Tiny",
        source="a paper, table 9",
        stages={"first": learn, "second": {**learn, "steps": 2, "validate": {"every": 2, "generate": 0}}},
        runs=[
            {"name": "off, on", "paper": {"F1": 50.5, "avg": 70.0}, "change": {"second": {"residual_dropout": 0.1}}},
            {"name": "off, off", "paper": {"F1": 51.0}},
            {"name": "second alone", "change": {"first": None, "second": {"optimizer.clip_by": "global"}}},
        ],
    )


def agent(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["train", "--sweep", *arguments], env={"COLUMNS": "250", "NO_COLOR": "1"})


# --- The built-in ones ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sweep_names())
def test_each_run_of_an_ablation_changes_what_it_says_and_nothing_else(name: str) -> None:
    sweep = load_sweep(name)
    plain = plan_sweep(
        type(sweep)(title="", stages=sweep.stages, runs=(type(sweep.runs[0])(name="default"),)), Path("runs"), ()
    )[0]
    default = {job.stage: flat(to_dict(job.config)) for job in plain.jobs}
    for entry in plan_sweep(sweep, Path("runs")):
        assert entry.run.paper or entry.run.note or name == "numerics", "a row has a published result, or says why not"
        assert {job.stage for job in entry.jobs} == {s for s in sweep.stages if entry.run.change.get(s, {}) is not None}
        for number, job in enumerate(entry.jobs):
            changes = entry.run.change.get(job.stage) or {}
            lists = any(key.partition(".")[0] in ("mixture", "groups") for key in changes)
            ours = flat(to_dict(job.config))
            different = {k for k in ours.keys() | default[job.stage].keys() if ours.get(k) != default[job.stage].get(k)}
            # The model is that of the stage before; a first stage makes its own.
            different -= {
                k for k in different if k == "model" or k == "start" or (number == 0 and k.startswith("start."))
            }
            if lists:
                different = {k for k in different if k.partition(".")[0] not in ("mixture", "groups")}
            named = {key for key in changes if key.partition(".")[0] not in ("mixture", "groups", "start")}
            assert {k for k in different if not any(k == key or k.startswith(f"{key}.") for key in named)} == set()
            assert all(any(k == key or k.startswith(f"{key}.") for k in different) for key in named)


def test_a_changed_data_set_is_changed_alone() -> None:
    for name in ("pixmo-cap-share", "counting-strategy", "caption-data"):
        runs = {entry.run.name: entry.jobs for entry in planned(name)}
        assert len({json.dumps(to_dict(jobs[-1].config), default=str) for jobs in runs.values()}) == len(runs), name
    shares = [planned("pixmo-cap-share")[n].jobs[-1].config.mixture for n in range(5)]
    assert [[s.share for s in mixture if s.kind == "pixmo-cap"] for mixture in shares] == [
        [],
        [0.125],
        [0.25],
        [0.5],
        [None],
    ]
    assert all(s.share is None for mixture in shares for s in mixture if s.kind != "pixmo-cap")
    styles = [{s.options["style"] for s in entry.jobs[-1].config.mixture} for entry in planned("counting-strategy")]
    assert styles == [{"only_count"}, {"point_count"}, {"count_then_point"}, {"pointing"}]
    left = {entry.run.name: {s.kind for s in entry.jobs[-1].config.mixture} for entry in planned("fine-tuning-data")}
    everything = left["PixMo plus academic"]
    assert everything - left["remove PixMo-Docs"] == {"pixmo-docs"}
    assert everything - left["remove pointing task"] == {"pixmo-points", "pixmo-count"}
    assert not any(kind.startswith("pixmo") for kind in left["academic only"])
    assert {kind for kind in left["plus PixMo-Docs"] if kind.startswith("pixmo")} == {"pixmo-docs"}


def test_published_rows_that_two_tables_share_have_the_same_numbers() -> None:
    defaults = {"molmo-7b-d": "default", "dropout": "on (text only), on", "length-hint": "on", "crops": "12, 36"}
    defaults |= {"warmup": "2000 / 200 / 2000", "vit-layers": "3rd-to-last and 10th-to-last", "pooling": "attention"}
    for name, row in defaults.items():
        (run,) = [run for run in load_sweep(name).runs if run.name == row]
        assert run.paper == {"cap F1": 54.1, "11-avg": 76.9}
        assert not {k for k in run.change if k == "pretrain"}, "the default is what the stages say"


# --- One sweep, from its list to its table ----------------------------------------------------------------------------


def test_a_sweep_goes_on_where_it_was_interrupted(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    steps: list[int] = []
    told = TrainingProgress.on_step

    def on_step(self: TrainingProgress, record: dict[str, Any]) -> None:
        told(self, record)
        steps.append(record["step"])
        if len(steps) == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TrainingProgress, "on_step", on_step)
    listed = agent(str(tiny), "--out", str(out), "--list")
    assert listed.exit_code == 0, listed.output
    assert "off, on: second.residual_dropout=0.1" in listed.output
    assert "second alone: without first, second.optimizer.clip_by=global" in listed.output
    assert not out.exists(), "nothing was trained"
    stopped = agent(str(tiny), "--out", str(out))
    assert isinstance(stopped.exception, RunStopped), stopped.output
    assert str(stopped.exception) == "stopped; the same command resumes the sweep"
    assert re.search(r"off, on +first done, second step 1 ", stopped.stdout)
    done = agent(str(tiny), "--out", str(out))
    assert done.exit_code == 0, done.output
    # Three steps of the stage that two runs share, and two of each run; none was repeated.
    assert steps == [1, 2, 3, 1, 2, 1, 2, 1, 2]
    line = re.search(r"off, on +done +(\d\.\d{3}) +- +- +(\d\.\d{3}) +(\d\.\d{3}) +\d+% +50\.5 +70\.0", done.stdout)
    assert line, done.stdout
    assert re.search(r"second alone +first left out, second done .* - +-\s", done.stdout)
    assert "trained here: first: 3 steps of 2 examples; second: 2 steps of 2 examples" in done.stdout
    assert "paper: a paper, table 9, from training at full size" in done.stdout
    assert "are not comparable with them" in done.stdout
    again = agent(str(tiny), "--out", str(out), "--json")
    assert len(steps) == 9, "what is done is not trained again"
    table = json.loads(again.stdout)
    assert [run["paper"] for run in table["runs"]] == [{"F1": 50.5, "avg": 70.0}, {"F1": 51.0}, {}]
    first, second = table["runs"][0]["stages"]
    assert f"{second['held_out']['loss']:.3f}" == line[3]
    assert first["folder"] == table["runs"][1]["stages"][0]["folder"]
    saved = yaml.safe_load((Path(second["folder"]) / "config.yaml").read_text())
    assert saved["model"] == f"{first['folder']}/export", "a stage starts from the model of the one before"
    # Another number of steps is another run, in another folder.
    assert "done" not in agent(str(tiny), "first.steps=4", "--out", str(out), "--list").stdout.split("second alone")[0]


def test_a_run_that_fails_does_not_end_the_others(tiny: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(tiny.read_text())
    content["runs"] = [
        {"name": "gone", "change": {"first": {"model": str(tmp_path / "gone")}}},
        {"name": "short", "change": {"first": None, "second": {"steps": 1}}},
    ]
    done = agent(str(written(tmp_path, **content)), "--out", str(tmp_path / "out"))
    assert done.exit_code == 1, done.output
    assert re.search(r"gone +failed +- ", done.stdout)
    assert re.search(r"short +first left out, second done", done.stdout)
    assert "gone, first: expected a Molmo checkpoint at" in done.stdout
    assert re.search(r"gone, second: not trained, because \S*first-\w+ failed", done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_runs_are_trained_in_programs_of_their_own_at_the_same_time(tiny: Path, tmp_path: Path) -> None:
    content = yaml.safe_load(tiny.read_text())
    del content["stages"]["first"]
    content["runs"] = [
        {"name": "good", "change": {"second": {"steps": 1, "validate": None}}},
        {"name": "gone", "change": {"second": {"model": str(tmp_path / "gone")}}},
    ]
    out = tmp_path / "out"
    done = agent(str(written(tmp_path, **content)), "--out", str(out), "--parallel", "2", "--json")
    assert done.exit_code == 1, done.output
    (good,), (gone,) = (run["stages"] for run in json.loads(done.stdout)["runs"])
    assert (good["state"], gone["state"]) == ("done", "failed")
    assert re.search(r"expected a Molmo checkpoint at .*\(.*second-\w+/log\.txt\)", gone["problem"])


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
def test_programs_under_way_are_asked_to_stop_and_waited_for(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\ntrap "echo saved; exit 130" TERM\necho begun\nwhile :; do sleep 0.05; done\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    two = [job for job in jobs(tiny, tmp_path) if job.after is None]
    logs = [job.folder / "log.txt" for job in two]

    def interrupt() -> None:
        while not all(log.exists() and log.read_text() for log in logs):
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt, daemon=True)
    thread.start()
    with pytest.raises(RunStopped, match="the same command resumes the sweep"):
        run_programs(two, ("--workers", "1"), 2)
    thread.join(60)
    assert [log.read_text() for log in logs] == ["begun\nsaved\n"] * 2


# --- The order of the jobs --------------------------------------------------------------------------------------------


def jobs(tiny: Path, tmp_path: Path) -> list[Job]:
    return jobs_of(plan_sweep(load_sweep(str(tiny)), tmp_path / "out"))


@pytest.mark.parametrize("parallel", [1, 2, 3])
def test_a_job_begins_when_the_one_before_it_is_done(parallel: int, tiny: Path, tmp_path: Path) -> None:
    ended: set[Path] = set()
    busy, most, lock = [0], [0], threading.Lock()
    together = threading.Barrier(2)

    def train(job: Job) -> None:
        with lock:
            assert job.after is None or job.after in ended
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        if parallel > 1 and job.stage == "second" and job.after is not None:
            together.wait(60)  # both runs that start from the shared stage are under way
        with lock:
            busy[0] -= 1
            ended.add(job.folder)

    wanted = jobs(tiny, tmp_path)
    assert len(wanted) == 4, "two runs share their first stage"
    assert run_jobs(wanted, train, parallel=parallel) == {}
    assert ended == {job.folder for job in wanted}
    assert most[0] <= parallel


@pytest.mark.parametrize("parallel", [1, 2])
@pytest.mark.parametrize("error", [UsageError, ModelError])
def test_what_starts_from_a_failed_job_is_not_trained(
    parallel: int, error: type[Exception], tiny: Path, tmp_path: Path
) -> None:
    begun: list[str] = []

    def train(job: Job) -> None:
        begun.append(job.stage)
        if job.stage == "first":
            raise error("no data")

    wanted = jobs(tiny, tmp_path)
    failures = run_jobs(wanted, train, parallel=parallel)
    assert sorted(begun) == ["first", "second"], "only the run without a first stage goes on"
    assert failures[wanted[0].folder] == "no data"
    assert failures[wanted[1].folder] == f"not trained, because {wanted[0].folder} failed"


@pytest.mark.parametrize("parallel", [1, 2])
def test_a_stopped_job_ends_the_sweep(parallel: int, tiny: Path, tmp_path: Path) -> None:
    begun: list[Path] = []

    def train(job: Job) -> None:
        begun.append(job.folder)
        raise RunStopped("stopped")

    with pytest.raises(RunStopped):
        run_jobs(jobs(tiny, tmp_path), train, parallel=parallel)
    assert len(begun) <= parallel


def test_an_error_of_the_program_leaves_no_job_behind(tiny: Path, tmp_path: Path) -> None:
    abandoned: list[bool] = []

    def train(job: Job) -> None:
        raise AssertionError("a fault")

    with pytest.raises(AssertionError, match="a fault"):
        run_jobs(jobs(tiny, tmp_path), train, parallel=2, abandon=lambda: abandoned.append(True))
    assert abandoned == [True]


def test_programs_that_were_stopped_start_no_others(tiny: Path, tmp_path: Path) -> None:
    programs = Programs((), 1)
    programs.stop()
    with pytest.raises(RunStopped, match="the same command resumes the sweep"):
        programs.train(jobs(tiny, tmp_path)[0])


def test_a_damaged_folder_is_not_taken_for_a_trained_one(tiny: Path, tmp_path: Path) -> None:
    job = jobs(tiny, tmp_path)[0]
    (job.folder / "export").mkdir(parents=True)
    (job.folder / "export" / "config.json").write_text("{}")
    steps = [{"step": n + 1, "loss": 1.0} for n in range(job.config.steps)]

    def write(config: str, records: str) -> None:
        (job.folder / "config.yaml").write_text(config)
        (job.folder / "metrics.jsonl").write_text(records)

    good = yaml.safe_dump(to_dict(job.config)), "".join(json.dumps(record) + "\n" for record in steps)
    write(*good)
    assert is_done(job)
    spoilers: list[Callable[[], None]] = [
        lambda: write("", good[1]),
        lambda: write("a: [", good[1]),
        lambda: write(good[0].replace("steps: 3", "steps: 4"), good[1]),
        lambda: write(good[0], good[1][:-4]),
        lambda: write(good[0], ""),
        lambda: (job.folder / "export" / "config.json").unlink(),
    ]
    for spoil in spoilers:
        write(*good)
        spoil()
        assert not is_done(job)
    (job.folder / "export" / "config.json").write_text("{}")
    write(good[0], "no json\n" + good[1])
    with pytest.raises(UsageError, match=r"metrics\.jsonl cannot be read .* to train this part again"):
        is_done(job)


# --- What is refused --------------------------------------------------------------------------------------------------

STAGE: dict[str, Any] = {"mixture": [{"kind": "points", "path": "x"}]}
RUN = {"name": "a"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"title": "t", "stages": {"one": STAGE}, "runs": []}, r"expected runs with names of their own .* got \[\]"),
        ({"title": "t", "stages": {"one": STAGE}, "runs": [RUN, RUN]}, r"names of their own .* got \['a', 'a'\]"),
        ({"stages": {"one": STAGE}, "runs": [RUN]}, "expected the config to have title"),
        ({"title": "t", "stages": {"one": STAGE}, "runs": [{"name": "a", "changes": {}}]}, "did you mean change"),
        ({"like": "sweep-that-is-not", "runs": [RUN]}, "sweep-that-is-not"),
        (
            {"title": "t", "stages": {"one": STAGE}, "runs": [{"name": "a", "change": {"on": {}}}]},
            "stage of the run 'a'.*did you mean one",
        ),
        (
            {"title": "t", "stages": {"one": STAGE}, "runs": [{"name": "a", "change": {"one": None}}]},
            "expected a stage in the run 'a', but it leaves out all of them",
        ),
        (
            {"title": "t", "stages": {"one": STAGE}, "runs": [{"name": "a", "change": {"one": {"stepz": 1}}}]},
            "the stage 'one' of the run 'a':.*did you mean steps",
        ),
        (
            {"title": "t", "stages": {"one": STAGE}, "runs": [{"name": "a", "change": {"one": {"mixture.b.rate": 1}}}]},
            "the stage 'one' of the run 'a':.*expected a number below 1 for 'b', or the name of an entry",
        ),
        (
            {"title": "t", "stages": {"one": {"like": "nano"}}, "runs": [RUN]},
            "expected a recipe of fine-tuning, got a curriculum",
        ),
        (["a list"], "to hold a mapping, got list"),
    ],
)
def test_a_sweep_that_makes_no_sense_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(UsageError) as caught:
        planned(path)
    assert re.search(message, str(caught.value), re.DOTALL), str(caught.value)


def test_sweeps_that_are_like_each_other_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, like=str(tmp_path / "sweep.yaml"))
    with pytest.raises(UsageError, match=r"is based on itself \(.* like .*\)"):
        load_sweep(str(path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["dropout", "--list"], "are for sweeps: add --sweep"),
        (["pointing", "--parallel", "2"], "are for sweeps: add --sweep"),
        (["dropout", "--sweep", "--list", "--plan"], "are for sweeps"),
        (["dropout", "--sweep", "--parallel", "0"], "expected --parallel of at least 1"),
        (["dropout", "--sweep", "--ray", "--parallel", "2"], "the cluster that all runs share"),
        (["dropout", "--sweep", "--workers", "2:4"], r"a range of workers \(2:4\) needs Ray"),
        (["dropot", "--sweep"], "did you mean dropout"),
        (["dropout", "--sweep", "--from", "x"], r"makes its own \(start\): add start=null"),
        (["dropout", "--sweep", "pretrain.model=x"], r"makes its own \(start\): add start=null"),
    ],
)
def test_options_that_do_not_fit_a_sweep_are_told(options: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["train", *options])
    assert isinstance(result.exception, UsageError)
    assert re.search(message, str(result.exception)), str(result.exception)


def test_changes_reach_the_stage_that_they_name_and_yield_to_the_runs() -> None:
    everywhere = planned("dropout", "steps=7", "sft.batch=3", "residual_dropout=0.5")
    by_name = {entry.run.name: {job.stage: job.config for job in entry.jobs} for entry in everywhere}
    assert {config.steps for stages in by_name.values() for config in stages.values()} == {7}
    assert {stages["sft"].batch for stages in by_name.values()} == {3}
    assert {stages["pretrain"].batch for stages in by_name.values()} == {128}
    assert by_name["off, off"]["sft"].residual_dropout == 0, "what a run is about is not overridden"
    assert by_name["off, on"]["sft"].residual_dropout == 0.5
    (other,) = [entry for entry in planned("dropout", "preset=molmo-72b/sft") if entry.run.name == "off, on"]
    assert other.jobs[0].config.steps == from_dict({**STAGE, "steps": 20_000}).steps
