"""`agent train`, as the documentation types it."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from android_control_parity import read_episodes
from command_line import agent_here
from PIL import Image
from tiny_training import write_model, write_points

from molmo_agent.cli.app import main
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.evaluation.metrics.android_control import RULES, score
from molmo_agent.train.recipe import from_dict, load
from molmo_agent.train.sweep.sweep import load_sweep, plan_sweep

# torch warns about itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
ROOT = Path(__file__).parents[1]


def agent(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "molmo_agent", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=280, check=False)


@pytest.fixture
def model(tmp_path: Path) -> str:
    return f"model={write_model(tmp_path / 'model')}"


@pytest.mark.dependencies
@pytest.mark.slow
def test_a_file_of_points_becomes_a_model_that_points(tmp_path: Path, model: str) -> None:
    write_points(tmp_path)
    done = agent("train", "pointing", "mixture.0.path=points.jsonl", "steps=3", "length=200", model, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "runs" / "pointing"
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3
    with Image.open(folder / "curves.png") as curves:
        assert len(curves.convert("RGB").getcolors(2**20) or ()) > 10
    asked = agent_here("point", "0.png", "bright square", "--model", "runs/pointing/export", "--json", cwd=tmp_path)
    assert asked.returncode in (0, 1), asked.stderr
    assert json.loads(asked.stdout.splitlines()[0])["reply"] is not None


def test_lines_that_cannot_be_used_are_told(tmp_path: Path, model: str) -> None:
    path = write_points(tmp_path)
    outside = {"image": "0.png", "label": "x", "points": [[1.5, 0.2]]}
    gone = {"image": "gone.png", "label": "x", "points": []}
    with path.open("a") as file:
        file.write("".join(json.dumps(line) + "\n" for line in (outside, gone)))
    done = agent_here("train", "pointing", f"mixture.0.path={path}", "steps=1", "length=200", model, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "2 could not be used" in done.stdout
    assert "record 8: the point [1.5, 0.2] lies outside the image" in re.sub(r"\s+", " ", done.stdout)


def test_android_control_is_trained_on_and_its_answers_are_scored(tmp_path: Path, model: str) -> None:
    data = ROOT / "tests" / "golden" / "android_control"
    done = agent_here(
        *("train", "android_control", f"mixture.0.path={data}", model, "steps=2", "batch=4", "length=400"),
        *("precision=fp32", "--json"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    assert [step["step"] for step in steps] == [1, 2]
    assert all(step["loss_tokens"] > 0 for step in steps)
    shard = next(iter(sorted(data.glob("android_control-*"))))
    episodes = [step for steps in read_episodes(shard, Problems(), set()) for step in steps]
    assert episodes
    for step in episodes:
        action = step.target_action()
        assert all(score(action, step.target_box(), action, rule) for rule in RULES)


@pytest.mark.slow
def test_a_model_is_scored_on_android_control_under_every_rule(tmp_path: Path) -> None:
    data = ROOT / "tests" / "golden" / "android_control"
    folder = write_model(tmp_path / "model")
    options = ("--model", str(folder), "--split", "validation", "--limit", "2", "--out", "answers.json")
    done = agent_here("eval", "android-control", str(data), *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "box_inside" in done.stdout
    found = json.loads((tmp_path / "answers.json").read_text())
    assert found["summary"]["questions"] == len(found["records"]) == 2
    assert set(found["summary"]["scores"]) >= set(RULES)
    right = [record["scores"]["box_inside"] for record in found["records"]]
    assert found["summary"]["scores"]["box_inside"]["mean"] == sum(right) / 2
    for wrong, message in (
        (("gui", str(data)), "did you mean|unknown benchmark"),
        (("android-control", "."), "found none"),
    ):
        done = agent_here("eval", *wrong, cwd=tmp_path)
        assert done.returncode == 2
        assert re.search(message, done.stderr), done.stderr


@pytest.mark.dependencies
@pytest.mark.slow
def test_nano_trains_with_two_workers_from_the_repository_alone(tmp_path: Path) -> None:
    small = {"steps": 1, "batch": 2, "sizes": "{200x150: 1}", "crops": 2, "max_questions": 3}
    stages = [f"stages.{number}.{key}={value}" for number in range(3) for key, value in small.items()]
    done = agent("train", "nano", *stages, "--workers", "2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "runs" / "nano" / "export" / "pointing_profile.json").is_file()


@pytest.mark.dependencies
@pytest.mark.slow
def test_torchrun_starts_the_ranks(tmp_path: Path, model: str) -> None:
    write_points(tmp_path)
    arguments = ["train", "pointing", "mixture.0.path=points.jsonl", "steps=2", "length=200", model, "--out", "run"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "molmo_agent", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pointng"], "did you mean pointing"),
        (["pointing", "stps=3"], "did you mean steps"),
        (["pointing"], "needs a path; set it in the recipe, or with mixture.0.path="),
        (["pointing", "mixture.0.path=none.jsonl"], "expected a JSONL file of points at none.jsonl"),
        (["pointing", "mixture.0.kind=point"], "unknown data set 'point': did you mean points"),
        (["screens", "--workers", "0"], "expected at least 1 worker, and in a range the smaller number first, got '0'"),
        (["screens", "--workers", "some"], "expected a number of workers, or a range such as 2:8, got 'some'"),
        (["screens", "--workers", "1:2"], "a range of workers (1:2) needs Ray: add --ray or --address"),
        (["screens", "model=no/where"], "expected a Molmo checkpoint at 'no/where' to train from"),
    ],
)
def test_what_cannot_be_trained_is_one_clear_error(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # In this process: starting another takes as long as loading torch.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["agent", "train", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert message in re.sub(r"\s+", " ", capsys.readouterr().err)


def test_the_documentation_names_keys_recipes_and_sweeps_that_exist(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "train.md").read_text()
    for line in re.findall(r"^agent train (.*?)(?:#.*)?$", text, re.MULTILINE):
        words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]
        recipe = next(word for word in words if not word.startswith("-"))
        changes = [word for word in words[1:] if "=" in word and not word.startswith("-")]
        if "--sweep" in words:
            plan_sweep(load_sweep(recipe), tmp_path, changes)
        elif not recipe.endswith(".yaml"):
            load(recipe, changes)
    for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)):
        if "runs:" in block:
            (tmp_path / f"{number}.yaml").write_text(block)
            assert plan_sweep(load_sweep(str(tmp_path / f"{number}.yaml")), tmp_path)
            continue
        from_dict({"mixture": [{"kind": "points", "path": "x", "hold_out": 5}]} | yaml.safe_load(block))
    for script in (ROOT / "deploy").glob("*.sh"):
        assert subprocess.run(["bash", "-n", script], check=False).returncode == 0


def submitted(tmp_path: Path, *arguments: str, **variables: str) -> list[str]:
    """Return the words of the command that deploy/ray_job.sh submits, as a stand-in for `ray` gets them."""
    (tmp_path / "ray").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "ray").chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"} | variables
    command = ["sh", str(ROOT / "deploy" / "ray_job.sh"), *arguments]
    words = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.splitlines()
    assert words[:5] == ["job", "submit", "--address", variables.get("RAY_ADDRESS", "http://127.0.0.1:8265"), "--"]
    return words[5:]


@pytest.mark.skipif(os.name == "nt", reason="a script for sh")
def test_the_job_on_kubernetes_runs_what_the_job_script_submits(tmp_path: Path) -> None:
    job = yaml.safe_load((ROOT / "deploy" / "kuberay.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    workers = spec["rayClusterSpec"]["workerGroupSpecs"]
    container = workers[0]["template"]["spec"]["containers"][0]
    gpus = sum(group["replicas"] for group in workers) * int(container["resources"]["limits"]["nvidia.com/gpu"])
    data = "mixture.0.path=/shared/android_control"
    words = submitted(tmp_path, "android_control", data, RAY_ADDRESS="http://head:8265", WORKERS=str(gpus))
    assert shlex.split(spec["entrypoint"]) == words
    # Names of fields in KubeRay's ray.io/v1.
    assert set(spec) <= {"entrypoint", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished", "rayClusterSpec"}
    assert set(spec["rayClusterSpec"]) == {"rayVersion", "headGroupSpec", "workerGroupSpecs"}
    assert set(spec["rayClusterSpec"]["headGroupSpec"]) == {"rayStartParams", "template"}
    assert set(workers[0]) == {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
    claims = [spec["rayClusterSpec"]["headGroupSpec"]["template"], workers[0]["template"]]
    assert all(one["spec"]["containers"][0]["volumeMounts"][0]["mountPath"] == "/shared" for one in claims)


@pytest.mark.skipif(os.name == "nt", reason="a script for sh")
@pytest.mark.parametrize(
    ("arguments", "variables", "words"),
    [
        (["my.yaml"], {}, "my.yaml --address auto --workers 8 --out /shared/runs/my.yaml"),
        (["sft", "steps=3"], {"OUT": "/x"}, "sft steps=3 --address auto --workers 8 --out /x"),
        (
            ["nano", "--accelerator", "gpu"],
            {"WORKERS": "2:4"},
            "nano --accelerator gpu --address auto --workers 2:4 --out /shared/runs/nano",
        ),
    ],
)
def test_the_job_script_passes_on_what_it_is_told(
    arguments: list[str], variables: dict[str, str], words: str, tmp_path: Path
) -> None:
    assert submitted(tmp_path, *arguments, **variables) == ["agent", "train", *words.split()]
