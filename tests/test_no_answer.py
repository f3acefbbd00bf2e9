"""A served model that answers nothing has not answered: nothing of its reply is scored, shown or kept as an answer."""

import json
from pathlib import Path

import numpy as np
import pytest
from chat_server import Server, completion
from made_data import png, write
from typer.testing import CliRunner

from molmo_agent import load_model
from molmo_agent.cli.app import app
from molmo_agent.data.question import Question
from molmo_agent.evaluation.benchmarks import BENCHMARKS
from molmo_agent.evaluation.predict import predict, record_of
from molmo_agent.evaluation.results.folder import ResultFolder
from molmo_agent.evaluation.results.rescore import rescore
from molmo_agent.evaluation.scoring import METRICS, Reply, score
from molmo_agent.pixmo.collect.helpers import load_helpers
from molmo_agent.point_text.cut_off import is_cut, mark_no_answer, why_no_answer, without_mark

PICTURE = np.zeros((40, 80, 3), dtype=np.uint8)
NO_ANSWERS = {
    "empty": (completion({"content": ""}), "empty answer"),
    "missing": (completion({"content": None}), "empty answer"),
    "blank": (completion({"content": " \n"}), "empty answer"),
    "only thoughts": (completion({"content": "", "reasoning_content": "It is A"}), "only thoughts"),
    "broken off": (completion({"content": "A"}, "abort"), "abort"),
    "declined": (completion({"content": "A", "refusal": "A [sorry]"}), "declined"),
    "filtered": (completion({"content": ""}, "content_filter"), "declined"),
}


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


def connect(server):
    return load_model(f"{server.url}#Molmo-7B-D-0924", retries=0, timeout_s=60.0)


def test_an_empty_reply_of_a_server_is_no_answer_in_words(server):
    model, wrong = connect(server), []
    for name, (plan, reason) in NO_ANSWERS.items():
        server.plan = [plan]
        (reply,) = model.answer_batch([PICTURE], ["What is this?"], max_new_tokens=12)
        server.plan = [plan]
        parts = model.answer_parts(["What is this?"], max_new_tokens=12)
        for text in (reply, parts):
            if reason not in why_no_answer(text) or without_mark(text) or is_cut(text):
                wrong.append((name, text))
    assert not wrong


def test_no_answer_is_unparsed_right_about_nothing_and_keeps_its_reason(server):
    questions = {
        "vqa2": Question(id="a", image=lambda: PICTURE, text="Is a server there?", style="vqa2", answers=("yes",) * 10),
        "doc_qa": Question(id="b", image=lambda: PICTURE, text="Total?", style="doc_qa", answers=("an empty answer",)),
        "mmmu": Question(
            id="c", image=lambda: PICTURE, text="Which?", style="vqa2", options=("one", "two"), extra={"correct": 0}
        ),
    }
    model, wrong = connect(server), []
    for name, (plan, reason) in NO_ANSWERS.items():
        for benchmark, question in questions.items():
            server.plan = [plan]
            (record,) = predict(model, BENCHMARKS[benchmark], [question])
            if not record["unparsed"] or any(record["scores"].values()) or record["reply"]:
                wrong.append((name, record))
            run = ResultFolder(Path("run"), {}, {question.id: record})
            if reason not in record["problem"] or rescore(run, BENCHMARKS[benchmark], [question]) != [record]:
                wrong.append((name, record, "is kept otherwise"))
    assert not wrong


def test_an_empty_reply_is_unparsed_under_every_metric_for_words():
    asked = {
        "clock": Question(id="a", image=None, text="Time?", style="clocks", answers=("no time is shown",)),
        "counting": Question(id="a", image=None, text="How many?", style="only_count", answers=("0",)),
        "choice": Question(id="a", image=None, text="Which?", style="vqa2", options=("x", ""), extra={"correct": 1}),
        "exact": Question(id="a", image=None, text="Which?", style="vqa2", answers=("",)),
    }
    other = Question(id="a", image=None, text="Which?", style="vqa2", answers=("1",))
    wrong = []
    for metric in set(METRICS) - {"pointing"}:
        question = asked.get(metric, other)
        if metric == "real_world_qa":
            question = Question(id="a", image=None, text="?", style="eval_multiple_choice", answers=("A",))
        for text in ("", " ", "\n\t"):
            result = score(metric, question, Reply(text=text, size=(1, 1)))
            if not result.unparsed or any(result.scores.values()):
                wrong.append((metric, text, result))
    assert not wrong
    # An answer is scored as before.
    words = score("clock", asked["clock"], Reply(text="no clock here", size=(1, 1)))
    assert not words.unparsed
    assert words.scores["right within a minute"]


def test_a_reply_with_an_answer_has_no_problem():
    question = Question(id="a", image=None, text="Which?", style="vqa2", answers=("1",) * 10)
    assert "problem" not in record_of(BENCHMARKS["vqa2"], question, "Which?", Reply(text="1", size=(1, 1)))
    for text in ("1", "[1]", "no answer: none", "[no answers: 2]", ""):
        assert (why_no_answer(text), without_mark(text)) == ("", text)
    assert why_no_answer(mark_no_answer("it [broke] off", "x [y]")) == "it broke off"


@pytest.mark.parametrize("kind", ["empty", "only thoughts", "declined"])
def test_ask_says_why_there_is_no_answer_and_fails(server, kind, tmp_path):
    plan, reason = NO_ANSWERS[kind]
    image = write(tmp_path / "a.png", png())
    server.plan = [plan]
    command = ["ask", str(image), "What is this?", "--model", f"{server.url}#Molmo-7B-D-0924", "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 1
    answer = json.loads(result.stdout)
    assert (answer["answer"], answer["text"], answer["points"]) == ("", "", [])
    assert "the model gave no answer: " in result.stderr
    assert reason in " ".join(result.stderr.split())


def test_no_answer_does_not_become_a_caption(server):
    helpers = load_helpers(None, "none", f"{server.url}#Molmo-7B-D-0924", 0.0)
    assert helpers.describe is not None
    captions = []
    for plan, _ in NO_ANSWERS.values():
        server.plan = [plan]
        captions.append(helpers.describe(PICTURE))
    assert captions == [""] * len(NO_ANSWERS)
