"""``agent eval rescore`` of MathVista: what its judge extracted counts again, and what is missing is named."""

import json
from pathlib import Path
from typing import Any

import pytest
from eval_runs import agent, summary_of
from made_data import parquet, png

from molmo_agent.errors import UsageError
from molmo_agent.evaluation.judged.judge import Judge

REPLIES = {
    "How many dots?": "There are seven dots.",
    "How many lines?": "4",
    "Which is longer?": "The one below, I think.",
    "How long is it?": "Between one and two: 1.5 metres.",
}
JUDGED = {"seven dots": "7", "one below": "B", "1.5 metres": "1.5"}


class Says:
    """Answers each question in its own words."""

    name = "says"

    def answer_batch(self, images: Any, questions: Any, *, max_new_tokens: int) -> list[str]:
        return [next(reply for text, reply in REPLIES.items() if text in question) for question in questions]

    def point_batch(self, images: Any, instructions: Any) -> Any:
        raise AssertionError("nothing is pointed at")

    def point(self, image: Any, instruction: str, *, max_points: int | None = None) -> Any:
        raise AssertionError("nothing is pointed at")


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Make four questions, a model, and a judge; return what the judge is asked."""
    rows = [
        {"pid": str(number), "question": f"Hint: please.\nQuestion: {text}", "choices": options, "unit": None,
         "precision": 1.0, "answer": answer, "question_type": "multi_choice" if options else "free_form",
         "answer_type": kind, "query": "q", "decoded_image": {"bytes": png()}}
        for number, (text, options, answer, kind) in enumerate(
            [
                ("How many dots?", None, "7", "integer"),
                ("How many lines?", None, "4", "integer"),
                ("Which is longer?", ["above", "below"], "below", "text"),
                ("How long is it?", None, "1.5", "float"),
            ]
        )
    ]  # fmt: skip
    parquet(tmp_path / "MathVista" / "data" / "testmini-0.parquet", rows)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("molmo_agent.evaluation.run.load_model", lambda name: Says())
    prompts: list[str] = []

    def ask(prompt: str, max_tokens: int) -> str:
        prompts.append(prompt)
        return json.dumps({"answer": next(answer for words, answer in JUDGED.items() if words in prompt)})

    monkeypatch.setattr(
        "molmo_agent.evaluation.judged.judge.open_judge",
        lambda address, cache, budget=None: Judge(address, ask, cache, budget),
    )
    return prompts


def run(*more: str) -> Any:
    done = agent("mathvista", "--data", "MathVista", "--model", "says", "--out", "run", *more)
    assert done.exit_code == 0, (done.output, done.exception)
    return done


def rescored() -> Any:
    done = agent("rescore", "run")
    assert done.exit_code == 0, (done.output, done.exception)
    return done


def test_without_a_judge_the_replies_that_need_one_are_counted_and_the_scores_stay(asked: list[str]) -> None:
    run()
    done = rescored()
    assert "no judge in run: rules read 3 of 4 replies" in done.output
    assert "agent eval mathvista with --judge" in done.output
    assert summary_of(Path("run-rescored"))["scores"] == summary_of(Path("run"))["scores"]
    assert asked == []


def test_what_the_judge_extracted_counts_again_without_asking_it(asked: list[str]) -> None:
    run("--judge", "http://localhost:1/v1#judge")
    assert len(asked) == 3
    before = summary_of(Path("run"))
    assert before["scores"]["right"]["mean"] == 1.0
    for folder in ("run", "run-rescored"):
        done = agent("rescore", folder)
        assert done.exit_code == 0, (done.output, done.exception)
        again = summary_of(Path(f"{folder}-rescored"))
        assert (again["scores"], again["reference"], again["unparsed"]) == (
            before["scores"],
            before["reference"],
            before["unparsed"],
        )
        assert "no judge" not in done.output
    assert len(asked) == 3


def test_an_answer_that_the_judge_no_longer_has_is_named_and_the_others_keep_their_scores(asked: list[str]) -> None:
    run("--judge", "http://localhost:1/v1#judge")
    for kept in Path("judge-cache").rglob("*"):
        if kept.is_file() and "seven dots" in kept.read_text():
            kept.unlink()
    done = rescored()
    again = summary_of(Path("run-rescored"))
    assert (again["questions"], again["scores"]["right"]["mean"]) == (3, 1.0)
    (missing,) = again["skipped"]
    assert missing["reason"].startswith("the reply of the judge http://localhost:1/v1#judge about it is not in ")
    assert "agent eval mathvista with --judge and --out of the run asks it again" in " ".join(done.output.split())
    # As it says, so it is: the judge alone is asked.
    run("--judge", "http://localhost:1/v1#judge")
    assert len(asked) == 4
    rescored()
    assert summary_of(Path("run-rescored"))["questions"] == 4


def test_a_damaged_file_about_the_judge_is_named(asked: list[str]) -> None:
    run("--judge", "http://localhost:1/v1#judge")
    for text in ("[]", '{"judge": 3, "cache": "x"}', '{"judge": "http://x/v1#y"}'):
        Path("run/judge.json").write_text(text)
        error = agent("rescore", "run").exception
        assert isinstance(error, UsageError)
        assert 'judge.json to be like {"judge": "URL#MODEL", "cache": "FOLDER"}' in str(error)
