"""``agent eval text``: from files to scores with nano and over HTTP, interrupted, resumed and compared."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import text_files
from chat_server import Server
from eval_runs import agent
from test_human_eval import needs_sandbox

from molmo_agent.errors import ModelError, UnknownNameError, UsageError
from molmo_agent.evaluation.texts.models import Ask, LocalText
from molmo_agent.evaluation.texts.tasks import TASKS
from molmo_agent.pointers.nano import load_nano


@pytest.fixture
def server() -> Iterator[Server]:
    pytest.importorskip("openai")
    made = Server()
    yield made
    made.close()


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    pytest.importorskip("pyarrow")
    monkeypatch.chdir(tmp_path)
    return text_files.home(tmp_path / "home")


def summary_of(folder: Path) -> dict[str, Any]:
    whole: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return whole


def scores_of(summary: dict[str, Any]) -> dict[str, float]:
    return {row["name"]: row["score"] for row in summary["protocols"]}


def knows(body: dict[str, Any]) -> str:
    """Answer the questions of text_files as a model that is right, but for one of each benchmark."""
    text = body["messages"][0]["content"]
    assert body["messages"] == [{"role": "user", "content": text}]
    if "Python function" in text:
        if "def add" in text:
            return "```python\ndef add(a, b):\n    return a + b\n```"
        return "I cannot write programs."
    if found := re.match(r"What is (\d) \+ \d", text):
        return {"2": "B", "1": "C"}[found[1]]
    if found := re.match(r"Which is (\d)", text):
        return f"It is {found[1]}. The answer is ({'ABCDEF'[int(found[1])]})." if found[1] != "2" else "C, I think"
    if found := re.match(r"Ann has (\d+)", text):
        return f"She has {2 * int(found[1])}." if found[1] == "501" else f"So #### {2 * int(found[1])}"
    if found := re.match(r"What is \$1\$ divided by \$(\d)", text):
        return rf"It is $\boxed{{1/{found[1]}}}$." if found[1] != "4" else r"It is $\boxed{4}$."
    assert "What can sing?" in text
    return "b" if "(2)" in text else "B"


@needs_sandbox
def test_a_served_model_is_scored_on_all_six_interrupted_and_resumed(data: Path, server: Server) -> None:
    server.decide = knows
    options = ("text", "--data", "home", "--model", f"{server.url}#m", "--out", "out", "--price", "1,2")
    # The first four questions are one batch, whose answers are kept.
    server.plan = ["ok"] * 4 + [400] * 50
    stopped = agent(*options)
    assert isinstance(stopped.exception, ModelError)
    assert len((data.parent / "out" / "mmlu" / "records.jsonl").read_text().splitlines()) == 4
    server.plan = []
    before = len(server.seen)
    done = agent(*options)
    assert done.exit_code == 0, done.output
    summary = summary_of(data.parent / "out")
    expected = {
        "mmlu": {"strict": 1 / 2, "lenient": 1 / 2, "subjects": 1 / 2},
        "mmlu-pro": {"strict": 2 / 3, "lenient": 1.0, "subjects": 2 / 3},
        "gsm8k": {"strict": 2 / 3, "lenient": 1.0},
        "math": {"strict": 2 / 3, "lenient": 2 / 3, "subjects": 2 / 3},
        "arc-c": {"strict": 2 / 3, "lenient": 2 / 3},
        "humaneval": {"pass@1": 1 / 2},
    }
    assert {name: scores_of(row) for name, row in summary["tasks"].items()} == {
        name: pytest.approx(row) for name, row in expected.items()
    }
    wrong = {name: [row["wrong_format"] for row in part["protocols"]] for name, part in summary["tasks"].items()}
    assert wrong["mmlu-pro"] == [1, 0, 1]
    assert wrong["gsm8k"] == [1, 0]
    assert wrong["arc-c"] == [1, 1]
    assert wrong["humaneval"] == [1]
    assert len(server.seen) - before == 3 + 3 + 3 + 3 + 2
    assert all(body["temperature"] == 0 for _, _, body in server.seen)
    # Once more: no question is asked, and all is reported.
    again = agent(*options)
    assert again.exit_code == 0, again.output
    assert len(server.seen) - before == 14
    rows = summary_of(data.parent / "out" / "gsm8k")
    assert rows["settings"]["form"] == "chat"
    assert "66.7%" in again.output
    page = (data.parent / "out" / "gsm8k" / "report.html").read_text()
    assert "1,002" in page
    assert "The image cannot be shown" not in page


@needs_sandbox
def test_nano_continues_compares_options_and_its_runs_compare(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = {name: replace(task, max_new_tokens=4, shots=min(task.shots, 1)) for name, task in TASKS.items()}
    monkeypatch.setattr("molmo_agent.evaluation.texts.tasks.TASKS", short)
    done = agent("text", "--data", "home", "--model", "nano", "--out", "before", "--limit", "2")
    assert done.exit_code == 0, done.output
    shutil.copytree("before", "after")
    summary = summary_of(data.parent / "before")
    assert summary["form"] == "continue"
    assert {name: part["questions"] for name, part in summary["tasks"].items()} == dict.fromkeys(TASKS, 2)
    record = json.loads((data.parent / "before" / "mmlu" / "records.jsonl").read_text().splitlines()[0])
    assert len(record["likelihoods"]) == 4
    assert record["reply"] == "ABCD"[record["likelihoods"].index(max(record["likelihoods"]))]
    same = agent("compare", "before/mmlu", "after/mmlu")
    assert same.exit_code == 0, same.output
    assert "likelihood" in same.output
    # Together, too.
    whole = agent("compare", "before", "after", "--out", "difference.json")
    assert whole.exit_code == 0, whole.output
    figures = json.loads((data.parent / "difference.json").read_text())
    assert set(figures["benchmarks"]) == set(TASKS)
    assert figures["benchmarks"]["arc-c"]["scores"]["per-character"]["difference"] == 0
    # Another form is another protocol.
    done = agent("text", "--data", "home", "--model", "nano", "--out", "chat", "--form", "chat", "--tasks", "mmlu")
    assert done.exit_code == 0, done.output
    assert "form is 'continue' in one and 'chat' in the other" in str(
        agent("compare", "before/mmlu", "chat/mmlu").exception
    )


@needs_sandbox
def test_several_programs_give_pass_at_k(data: Path, server: Server) -> None:
    replies = iter(["    return a - b\n", "    return a + b\n"] * 5)
    server.decide = lambda body: f"```python\ndef add(a, b):\n{next(replies)}```"
    text_files.write_lines(data / "HumanEval" / "HumanEval.jsonl.gz", text_files.human_eval_rows()[:1])
    options = (
        "--tasks",
        "humaneval",
        "--data",
        "home",
        "--model",
        f"{server.url}#m",
        "--samples",
        "10",
        "--out",
        "out",
    )
    done = agent("text", *options)
    assert done.exit_code == 0, done.output
    rows = scores_of(summary_of(data.parent / "out")["tasks"]["humaneval"])
    assert rows == {"pass@1": 0.5, "pass@5": pytest.approx(1 - 1 / 252), "pass@10": 1.0}
    assert {body["temperature"] for _, _, body in server.seen} == {0.8}
    record = json.loads((data.parent / "out" / "humaneval" / "records.jsonl").read_text())
    assert (len(record["replies"]), record["failures"].count("")) == (10, 5)


def test_nano_draws_the_same_samples_for_the_same_seed() -> None:
    model = LocalText(load_nano())
    asks = [Ask(max_new_tokens=6, temperature=2.0, seed=seed) for seed in (1, 1, 2, 3)]
    texts = model.write(["Point to the"] * 4, asks)
    assert texts[0] == texts[1]
    assert len(set(texts)) > 1
    (greedy,) = model.write(["Point to the"], [Ask(max_new_tokens=6)])
    (cold,) = model.write(["Point to the"], [Ask(max_new_tokens=6, temperature=1e-4)])
    assert greedy == cold


def test_a_prompt_that_does_not_fit_is_cut_and_counted(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = LocalText.__init__

    def small(self: LocalText, *arguments: Any) -> None:
        original(self, *arguments)
        self.context_length = 60

    monkeypatch.setattr(LocalText, "__init__", small)
    done = agent("text", "--tasks", "arc-c", "--data", "home", "--out", "out")
    assert done.exit_code == 0, done.output
    assert "the beginning of 3 prompts is cut off" in done.output
    assert summary_of(data.parent / "out")["tasks"]["arc-c"]["cut"] == 3


def test_missing_benchmarks_are_named_and_the_others_are_scored(data: Path, server: Server) -> None:
    server.decide = knows
    (data / "gsm8k" / "test.jsonl").unlink()
    for path in (data / "MATH").rglob("*.json"):
        path.unlink()
    (data / "arc_c").rename(data / "other")
    options = ("--data", "home", "--model", f"{server.url}#m", "--tasks", "arc-c,gsm8k,math,mmlu", "--out", "out")
    done = agent("text", *options)
    assert done.exit_code == 0, done.output
    missing = summary_of(data.parent / "out")["missing"]
    assert set(missing) == {"arc-c", "gsm8k", "math"}
    assert "no folder arc-c or ARC or ARC-Challenge in home" in missing["arc-c"]
    assert "expected the questions of gsm8k" in missing["gsm8k"]
    assert "no score for math: expected the questions of math" in done.output
    # A single benchmark may be the folder itself.
    done = agent("text", "--data", "home/mmlu", "--model", f"{server.url}#m", "--tasks", "mmlu", "--out", "one")
    assert done.exit_code == 0, done.output


def test_without_a_sandbox_the_other_benchmarks_are_scored(
    data: Path, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    from molmo_agent.sandbox import bubblewrap

    server.decide = knows
    bubblewrap.check_sandbox.cache_clear()
    monkeypatch.setattr(bubblewrap.shutil, "which", lambda name: None)
    options = ("--data", "home", "--model", f"{server.url}#m", "--out", "out")
    done = agent("text", *options, "--tasks", "humaneval,mmlu")
    assert done.exit_code == 0, done.output
    assert "expected bubblewrap on Linux" in summary_of(data.parent / "out")["missing"]["humaneval"]
    alone = agent("text", *options, "--tasks", "humaneval").exception
    assert isinstance(alone, UsageError)
    assert not any("def add" in str(body) for _, _, body in server.seen)
    bubblewrap.check_sandbox.cache_clear()


def test_what_cannot_be_used_is_refused_before_anything_is_asked(data: Path, server: Server) -> None:
    model = f"{server.url}#m"
    cases = [
        (("text", "--tasks", "gsm9k"), "unknown text benchmark 'gsm9k'"),
        (("text", "--tasks", ","), "expected --tasks NAME,..."),
        (("text", "--data", "home", "--form", "cot"), "expected --form continue or chat, got 'cot'"),
        (("text", "--data", "home", "--model", model, "--form", "continue"), "asked in a chat"),
        (("text", "--data", "home", "--split", "test"), "text does not accept --split"),
        (("text", "--data", "home", "--judge", model, "--max-crops", "4"), "text does not accept --judge, --max-crops"),
        (("text", "--data", "home", "--workers", "2"), "--workers 2 needs Ray"),
        (("text", "--data", "home", "--samples", "5", "--temperature", "0"), "are all the same; raise --temperature"),
        (("text", "--data", "no"), "expected a folder with a folder for each text benchmark at no"),
        (("text", "--data", "home", "--model", "centre"), "need a local Molmo checkpoint, nano, or a server's address"),
        (("text", "--model", model), "needs --data"),
        (("text", "--tasks", "humaneval"), "humaneval needs --data"),
        (("vqa2", "--data", "home", "--tasks", "mmlu"), "--tasks: only for text"),
        (("cap-f1", "--data", "home", "--samples", "3"), "--samples: only for text"),
    ]
    for arguments, words in cases:
        error = agent(*arguments, "--out", "out").exception
        assert isinstance(error, UsageError | UnknownNameError), (arguments, error)
        assert words in str(error), (arguments, str(error))
    (data / "MMLU").mkdir()
    assert "are both mmlu" in str(agent("text", "--data", "home", "--tasks", "mmlu", "--out", "out").exception)
    assert server.seen == []
