"""Documents: many kinds, drawn in a sandbox, measured; answers that follow from the data; any language model."""

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest
from chat_server import Server
from made_data import opened, turns
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.errors import DataError, ModelError, UnknownNameError, UsageError
from molmo_agent.pixmo.docs import make
from molmo_agent.pixmo.docs.document import Asked, Document, checked
from molmo_agent.pixmo.docs.make import Made, RuleWriter, make_docs, make_document
from molmo_agent.pixmo.docs.model_writer import ModelWriter
from molmo_agent.pixmo.docs.quality import problem_of
from molmo_agent.pixmo.docs.renderers import render
from molmo_agent.pixmo.docs.rendering import Rendering, Text
from molmo_agent.pixmo.docs.rules import kinds
from molmo_agent.pixmo.docs.table import Query, Table, answer
from molmo_agent.pixmo.language_model.client import Budget, LanguageModel
from molmo_agent.pixmo.shards import shards_of
from molmo_agent.pointers.served.answer import Answer
from molmo_agent.sandbox.bubblewrap import check_sandbox

try:
    check_sandbox()
    WHY_NOT = ""
except UsageError as error:
    WHY_NOT = str(error)
needs_sandbox = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "a sandbox can be made")
needs_dot = pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
needs_matplotlib = pytest.mark.skipif(find_spec("matplotlib") is None, reason="Matplotlib is not installed")
KINDS = [
    (type_, library, kind)
    for type_, library in (
        *(("charts", "matplotlib"), ("charts", "vega-lite"), ("tables", "html"), ("diagrams", "graphviz")),
        ("other", "html"),
    )
    for kind in kinds(type_, library)
]
SALES = Table("Sales", "store", ("Oak", "Mill", "Port"), {"2023": (4, 9.5, 2), "2024": (6, 3, 2)}, "units")


def test_there_are_at_least_25_kinds_of_charts_and_some_of_each_other_type() -> None:
    assert len(kinds("charts", "matplotlib")) >= 25
    assert {type_ for type_, _, _ in KINDS} == {"charts", "tables", "diagrams", "other"}


def test_every_kind_has_questions_whose_answers_follow_from_its_data() -> None:
    wrong = []
    for number, (type_, library, kind) in enumerate(KINDS * 6):
        document = RuleWriter().write(number, type_, library, kind)
        right, reasons = checked(document)
        if not right or reasons or document != RuleWriter().write(number, type_, library, kind):
            wrong.append(f"{kind}: {reasons}")
        elif library == "matplotlib":
            compile(document.code, kind, "exec")
    assert wrong == []


def test_answers_are_computed_from_the_table() -> None:
    expected = {
        Query("value", ("2023", "Mill")): "9.5",
        Query("largest", ("2024",)): "Oak",
        Query("smallest", ("2023",)): "Port",
        Query("series", ("Oak",)): "2024",
        Query("rows"): "3",
        Query("columns"): "2",
        Query("sum", ("2023",)): "15.5",
        Query("mean", ("2024",)): "3.67",
        Query("difference", ("2023", "Oak", "Mill")): "5.5",
        Query("more", ("2024", "Oak", "Mill")): "Yes",
        Query("above", ("2023", "3")): "2",
        Query("equal", ("2024", "2")): "1",
        Query("which", ("2024", "3")): "Mill",
    }
    assert {query: answer(SALES, query) for query in expected} == expected
    links = Table("Links", "city", ("A", "B", "C"), {"linked to": ("none", "A", "A")})
    assert [answer(links, Query("links", ("linked to", city))) for city in "ABC"] == ["2", "1", "1"]


def test_an_answer_that_the_data_do_not_give_is_an_error() -> None:
    wrong = {
        Query("value", ("2022", "Oak")): "expected a column of 2023, 2024, got '2022'",
        Query("value", ("2023", "Elm")): "expected a row of Oak, Mill, Port, got 'Elm'",
        Query("median", ("2023",)): "expected a known operation",
        Query("largest", ()): "expected a known operation with its arguments",
        Query("series", ("Port",)): "expected one row with 2.*, got 2",
        Query("more", ("2024", "Port", "Port")): "have the same 2024",
    }
    for query, message in wrong.items():
        with pytest.raises(ValueError, match=message):
            answer(SALES, query)
    with pytest.raises(ValueError, match="expected distinct row names"):
        Table("t", "k", ("a", "a"), {"c": (1, 2)})


def test_questions_with_a_wrong_answer_are_left_out_and_reported() -> None:
    asked = (
        Asked("How many stores?", Query("rows"), "3"),
        Asked("Total?", Query("sum", ("2023",)), "16"),
        Asked("Best in 2020?", Query("largest", ("2020",)), "Oak"),
    )
    right, wrong = checked(Document("charts", "bar", "matplotlib", "", "", "", SALES, asked))
    assert [item.question for item in right] == ["How many stores?"]
    assert wrong[0] == "'Total?': answered '16', but the data give '15.5'"
    assert "got '2020'" in wrong[1]


def page(*texts: Text, edge: bool = False, ink: bool = True) -> Rendering:
    image = PIL.Image.new("RGB", (400, 300), "white")
    draw = PIL.ImageDraw.Draw(image)
    if ink:
        draw.rectangle([50, 50, 350, 250], fill="black" if edge else "white", outline="black", width=4)
    if edge:
        draw.rectangle([300, 0, 399, 299], fill="navy")
    for text in texts:
        draw.line(text.box, fill="black")
    return Rendering(np.asarray(image), texts, "")


@pytest.mark.parametrize(
    ("rendering", "reason"),
    [
        (page(ink=False), "blank: 0.00% of the pixels"),
        (page(edge=True), "clipped: .* of the outermost pixels"),
        (page(Text("far", (380, 10, 420, 30), 14)), "clipped: 'far' is 20 pixels outside"),
        (page(Text("up", (60, -12, 90, 6), 14)), "clipped: 'up' is 12 pixels outside"),
        (page(Text("tiny", (60, 60, 90, 66), 5)), "unreadable: 'tiny' is 5.0 pixels high"),
        (
            page(Text("a", (60, 60, 120, 80), 14), Text("b", (100, 62, 160, 82), 14)),
            "overlapping: 'a' and 'b' share 30%",
        ),
        (Rendering(np.full((300, 400, 3), 250, np.uint8), (), ""), "blank"),
        (Rendering(np.zeros((20, 300, 3), np.uint8), (), ""), "size: 300x20 pixels"),
        (Rendering(None, None, "it did not end within 3 s"), "it did not end"),
    ],
)
def test_unreadable_renderings_are_rejected_with_the_measure(rendering: Rendering, reason: str) -> None:
    import re

    assert re.search(reason, problem_of(rendering))


def test_text_in_the_colour_of_its_ground_is_rejected() -> None:
    rendering = page()
    unseen = Rendering(rendering.image, (Text("ghost", (100, 100, 140, 120), 14),), "")
    assert problem_of(unseen) == "unreadable: 'ghost' has a contrast of 0, expected 60"
    assert problem_of(page(Text("clear", (100, 100, 140, 120), 14))) == ""


@needs_sandbox
@needs_dot
def test_diagrams_are_made_and_read_back(tmp_path: Path) -> None:
    shard = shards_of(tmp_path / "diagrams", "train", 0, 3, 3)[0]
    assert make_docs(shard, type_="diagrams").rows == 3
    data = opened("pixmo-docs", tmp_path, type="diagrams")
    assert data.problems.entries == []
    assert len(data) == 3
    assert all(len(turns(data, number)) >= 2 for number in range(3))


@needs_sandbox
@needs_matplotlib
def test_charts_are_drawn_and_texts_are_measured() -> None:
    code = "import matplotlib.pyplot as plt\nplt.bar(['a', 'b'], [1, 2])\nplt.title('Hello')\nprint('noise')\n"
    rendering = render("matplotlib", code)
    assert rendering.problem == ""
    assert "Hello" in {text.text for text in rendering.texts or ()}
    assert problem_of(rendering) == ""
    crowded = "plt.text(0.5, 0.5, 'one label')\nplt.text(0.52, 0.5, 'another')\n"
    assert "overlapping" in problem_of(render("matplotlib", "import matplotlib.pyplot as plt\n" + crowded))
    failed = render("matplotlib", "raise SystemExit(3)")
    assert failed.problem.startswith("it failed with code 3")


@needs_sandbox
@needs_dot
def test_code_that_draws_nothing_is_reported() -> None:
    assert "it failed with code" in render("graphviz", "digraph { a -> ").problem
    with pytest.raises(UnknownNameError, match="unknown library for documents 'graphvis': did you mean graphviz"):
        render("graphvis", "")


class Scripted:
    """A model on a server that gives prepared replies and counts questions."""

    url, model = "http://localhost:1/v1", "scripted"

    def __init__(self, *replies: Answer) -> None:
        self.replies, self.asked = list(replies), 0

    def complete(self, messages: list[Any], max_tokens: int) -> Answer:
        self.asked += 1
        return self.replies.pop(0)


def test_a_reply_is_paid_for_once(tmp_path: Path) -> None:
    endpoint, budget = Scripted(Answer(text="x" * 30)), Budget(1000, price=2.0)
    for _ in range(3):
        model = LanguageModel({"": endpoint}, tmp_path, budget, max_tokens=100)
        assert model.write("coder", "p" * 60) == "x" * 30
    assert (endpoint.asked, budget.used) == (1, 30)
    assert budget.cost == pytest.approx(30 * 2 / 1e6)
    with pytest.raises(UsageError, match="expected a model for the role 'merger'; there are models for coder"):
        LanguageModel({"coder": endpoint}, tmp_path, budget).write("merger", "new")


def test_the_budget_stops_before_it_is_passed(tmp_path: Path) -> None:
    endpoint = Scripted(*(Answer(text="word " * 30) for _ in range(9)))
    model = LanguageModel({"": endpoint}, tmp_path, Budget(300), max_tokens=100, concurrency=1)
    with pytest.raises(ModelError, match="the budget of 300 tokens is used up"):
        model.write_many("coder", [f"prompt {n}" for n in range(9)])
    assert endpoint.asked < 9
    assert model.budget.used <= 300
    with pytest.raises(UsageError, match="expected at least 1 token, and a price with a limit of costs"):
        Budget(5, max_cost=1.0)


def test_a_reply_that_was_cut_off_or_refused_is_an_error_and_is_not_kept(tmp_path: Path) -> None:
    for reply, reason in (
        (Answer(text="I", refused=True), "the model declined"),
        (Answer(text="{", doubt="cut off"), "cut off"),
    ):
        model = LanguageModel({"": Scripted(reply)}, tmp_path, Budget(10_000), max_tokens=10)
        with pytest.raises(ModelError, match=f"no usable reply as coder: {reason}"):
            model.write("coder", "prompt")
    assert list(tmp_path.iterdir()) == []


class Replies:
    """Replies by role."""

    def __init__(self, **replies: str) -> None:
        self.replies = replies

    def write(self, role: str, prompt: str) -> str:
        return self.replies[role.replace("-", "_")]


WRITTEN = {
    "title": "Links",
    "key": "node",
    "keys": ["a", "b"],
    "columns": {"size": [1, 2]},
    "code": "digraph { a -> b }",
}
QUESTIONS = [
    {"question": "Largest?", "operation": "largest", "arguments": ["size"], "answer": "b"},
    {"question": "Total?", "operation": "sum", "arguments": ["size"], "answer": "7"},
]


def test_a_language_model_writes_documents_and_its_wrong_answers_are_left_out() -> None:
    fenced = f"```json\n{json.dumps(WRITTEN)}\n```"
    writer = ModelWriter(Replies(coder=fenced, question_writer=json.dumps(QUESTIONS)))
    document = writer.write(3, "diagrams", "graphviz", "tree")
    right, wrong = checked(document)
    assert [asked.question for asked in right] == ["Largest?"]
    assert wrong == ("'Total?': answered '7', but the data give '3'",)


@pytest.mark.parametrize(
    ("coder", "questions", "message"),
    [
        ("Sure! Here is the code.", "[]", "expected the coder's reply to be JSON"),
        ("[1]", "[]", "expected the coder's reply to be an object with code"),
        (json.dumps({"code": "x"}), "[]", "expected title, key, keys and columns"),
        (json.dumps(WRITTEN | {"columns": {"a": [1]}}), "[]", "expected title, key, keys and columns"),
        (json.dumps(WRITTEN | {"columns": {"a": [1, None]}}), "[]", "expected numbers and texts"),
        (json.dumps(WRITTEN), '{"a": 1}', "expected questions with operation"),
        (json.dumps(WRITTEN), "[1]", "expected questions with operation"),
    ],
)
def test_a_reply_that_is_no_document_is_an_error(coder: str, questions: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ModelWriter(Replies(coder=coder, question_writer=questions)).write(0, "diagrams", "graphviz", "tree")


def test_a_rejected_document_is_written_anew_and_the_reasons_are_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make, "libraries", lambda: ("graphviz",))
    renderings = [Rendering(None, None, "it did not end within 60 s"), page(), page()]
    monkeypatch.setattr(make, "render", lambda library, code: renderings.pop(0))
    made = make_document(5, "diagrams")
    assert isinstance(made, Made)
    assert [reason.partition(": ")[2] for reason in made.rejected] == ["it did not end within 60 s"]
    monkeypatch.setattr(make, "render", lambda library, code: Rendering(None, None, "no"))
    reasons = make_document(5, "diagrams")
    assert isinstance(reasons, tuple)
    assert len(reasons) == 4
    with pytest.raises(ModelError, match="expected documents of type diagrams, but all were rejected"):
        make_docs(shards_of(Path("unused"), "train", 0, 1, 1)[0], type_="diagrams")
    monkeypatch.setattr(make, "libraries", lambda: ())
    with pytest.raises(UsageError, match=r"nothing here draws diagrams: install Graphviz \(dot\)"):
        make_document(5, "diagrams")


def test_clocks_are_made_from_the_command_line_with_a_gallery(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["pixmo", "clocks", "--to", str(tmp_path), "--count", "3"])
    assert result.exit_code == 0
    assert "3 new examples" in result.output
    gallery = (tmp_path / "gallery-train.html").read_text()
    assert gallery.count("<img") == 3
    assert gallery.count("The time shown is") == 3
    other = CliRunner().invoke(app, ["pixmo", "clocks", "--to", str(tmp_path), "--count", "900"])
    assert isinstance(other.exception, UsageError)
    assert "of a run with another --count" in str(other.exception)
    for arguments, message in ((["--split", "../x"], "expected a split"), (["--jobs", "0"], "expected --jobs")):
        wrong = CliRunner().invoke(app, ["pixmo", "clocks", "--to", str(tmp_path / "new"), *arguments])
        assert message in str(wrong.exception)


def test_a_server_writes_for_each_role_and_is_asked_once(tmp_path: Path) -> None:
    server = Server()
    try:
        server.decide = lambda body: json.dumps(WRITTEN if body["model"] == "one" else QUESTIONS)
        address = f"coder={server.url}#one,question-writer={server.url}#two"
        documents = [
            ModelWriter.at(address, cache=tmp_path, max_tokens=100_000).write(3, "diagrams", "graphviz", "tree")
            for _ in range(2)
        ]
        assert [body["model"] for _, _, body in server.seen] == ["one", "two"]
        assert documents[0] == documents[1]
        with pytest.raises(UsageError, match="expected an address and a model"):
            ModelWriter.at(server.url, cache=tmp_path, max_tokens=10)
    finally:
        server.close()
