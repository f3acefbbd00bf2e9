"""The paper's suite by its commands, on made data: nano and a served model; interrupted, resumed, and on Ray."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import text_files
from chat_server import Server
from eval_runs import agent
from test_cap_f1 import described, judgement
from test_clock_benchmark import SETS, tables
from test_molmo_11 import home
from test_text_runs import knows

from molmo_agent.errors import ModelError
from molmo_agent.evaluation.human.study import read_study
from molmo_agent.evaluation.judged import captions
from molmo_agent.evaluation.run import BATCH


@pytest.fixture
def server() -> Iterator[Server]:
    """Serve a model that answers questions about images alike, captions, texts, and judges."""
    pytest.importorskip("openai")
    made = Server()

    def decide(body: dict[str, Any]) -> str:
        content = body["messages"][0]["content"]
        if isinstance(content, list):
            return "A dog sits. A cat sleeps." if "caption" in content[1]["text"] else "12:00"
        return judgement(content) if body["model"].startswith("judge") else knows(body)

    made.decide = decide
    yield made
    made.close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    # A short caption is as good a sign that it was asked for.
    monkeypatch.setattr(captions, "BENCHMARK", replace(captions.BENCHMARK, max_new_tokens=6))
    home(tmp_path / "home")
    tables(tmp_path / "clocks", {**SETS, "coco": [(f"{number}.png", 12, 1) for number in range(9)]})
    described(tmp_path)
    return tmp_path


@pytest.fixture
def workers() -> Iterator[None]:
    """Start Ray on this machine, once for all commands of a test."""
    ray = pytest.importorskip("ray", reason="needs the extra 'train'")
    ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def results(folder: Path) -> dict[str, bytes]:
    """Return the files of a run that depend on the questions and the model alone."""
    names = ("records.jsonl", "settings.json", "judgements.jsonl", "submission.json")
    return {
        f"{path.relative_to(folder)}": path.read_bytes() for path in sorted(folder.rglob("*")) if path.name in names
    }


def commands(server: Server, model: str) -> dict[str, tuple[str, ...]]:
    judge = f"{server.url}#judge"
    return {
        "molmo-11": ("molmo-11", "--data", "home", "--model", model),
        "cap-f1": ("cap-f1", "--data", "images.jsonl", "--model", model, "--judge", judge, "--hints", "20,none"),
        "clocks": ("clocks", "--data", "clocks", "--model", model),
    }


def test_nano_runs_the_whole_suite(here: Path, server: Server) -> None:
    for name, command in commands(server, "nano").items():
        done = agent(*command, "--limit", "1", "--out", f"out/{name}")
        assert done.exit_code == 0, (name, done.output, done.exception)
    lines = json.loads((here / "out" / "molmo-11" / "summary.json").read_text())["benchmarks"]
    scored = {line["name"] for line in lines if line["status"] == "scored" and line["questions"] == 1}
    assert scored >= {"vqa2", "doc_qa", "real_world_qa", "mathvista"}
    hints = json.loads((here / "out" / "cap-f1" / "summary.json").read_text())["hints"]
    assert [hints[hint]["scores"]["cap F1"]["n"] for hint in ("20", "none")] == [1, 1]
    clocks = json.loads((here / "out" / "clocks" / "summary.json").read_text())["summary"]
    assert clocks["questions"] == 1


def test_a_served_model_is_interrupted_and_resumed(here: Path, server: Server) -> None:
    for name, command in commands(server, f"{server.url}#Molmo-7B-D-0924").items():
        server.plan = []
        before = len(server.seen)
        done = agent(*command, "--out", f"whole/{name}")
        assert done.exit_code == 0, (name, done.output, done.exception)
        asked = len(server.seen) - before
        # The judge's replies lie beside the run: both runs pay for their own.
        server.plan = ["ok"] * max(asked // 2, BATCH) + [400] * 200
        stopped = agent(*command, "--out", f"parts/of/{name}")
        assert isinstance(stopped.exception, ModelError), name
        server.plan, before = [], len(server.seen)
        resumed = agent(*command, "--out", f"parts/of/{name}")
        assert resumed.exit_code == 0, (name, resumed.output, resumed.exception)
        # A batch that failed is asked again as a whole.
        assert len(server.seen) - before < asked, name
        assert results(here / "whole" / name) == results(here / "parts" / "of" / name), name
        before = len(server.seen)
        assert agent(*command, "--out", f"parts/of/{name}").exit_code == 0
        assert len(server.seen) == before, "a finished run asks nothing"
    # The replies of two models become a study for people.
    other = agent(*commands(server, f"{server.url}#Molmo-7B-O-0924")["clocks"], "--out", "other/clocks")
    assert other.exit_code == 0, other.output
    study = read_study([here / "whole" / "clocks", here / "other" / "clocks"])
    assert (len(study.models), len(study.questions)) == (2, 13)


@pytest.mark.dependencies
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_workers_on_ray_give_the_same_files(here: Path, server: Server, workers: None) -> None:
    model = f"{server.url}#Molmo-7B-D-0924"
    all_commands = commands(server, model)
    # Each benchmark and each hint starts its own workers, which takes a while.
    for name in ("AI2D", "MathVista", "real_world_qa", "doc_qa"):
        shutil.rmtree(here / "home" / name)
    all_commands["cap-f1"] = (*all_commands["cap-f1"], "--hints", "20")
    text_files.write_lines(here / "texts" / "gsm8k" / "test.jsonl", text_files.gsm8k_rows(9))
    all_commands["text"] = ("text", "--data", "texts", "--model", model, "--tasks", "gsm8k")
    counts = {"molmo-11": "1", "cap-f1": "1", "text": "2"}
    for name in counts:
        command = all_commands[name]
        for out, more in (("here", ()), ("there", ("--ray", "--workers", counts[name]))):
            done = agent(*command, "--out", f"{out}/{name}", *more)
            assert done.exit_code == 0, (name, done.output, done.exception)
        found = results(here / "here" / name)
        assert found
        assert found == results(here / "there" / name), name
    # Nothing is left to ask: no worker is started, and no cluster sought.
    done = agent(*all_commands["text"], "--out", "there/text", "--address", "ray://127.0.0.1:9")
    assert done.exit_code == 0, done.output


def test_several_workers_need_ray(here: Path, server: Server) -> None:
    for command in commands(server, f"{server.url}#Molmo-7B-D-0924").values():
        assert "--workers 2 needs Ray" in str(agent(*command, "--workers", "2", "--out", "out").exception)
    assert server.seen == []
