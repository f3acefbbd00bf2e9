"""``agent eval`` on grounding benchmarks: with nano and over HTTP, interrupted and resumed, and the page of a run."""

import json
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import grounding_data
import pytest
from chat_server import Server
from eval_runs import agent, summary_of
from made_data import write

from molmo_agent.errors import ModelError, UnknownNameError
from molmo_agent.evaluation.benchmarks import find
from molmo_agent.evaluation.grounding.protocols import check_comparable
from molmo_agent.evaluation.grounding.table import GROUNDING, markdown_table
from molmo_agent.evaluation.predict import predict
from molmo_agent.evaluation.run import open_questions
from molmo_agent.pointers.baselines import CentrePointer

ROOT = Path(__file__).parents[1]
BUILDERS = {
    "screenspot": grounding_data.screenspot,
    "screenspot_v2": lambda folder: grounding_data.screenspot(folder, "_v2", "screenspotv2_image"),
    **{name: getattr(grounding_data, name) for name in GROUNDING if name not in ("screenspot", "screenspot_v2")},
}


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_benchmark_runs_from_its_files_to_its_scores(tmp_path: Path) -> None:
    for name in GROUNDING:
        _, benchmark = find(name)
        asked = open_questions(name, benchmark, BUILDERS[name](tmp_path / name), benchmark.options)
        # As they are sent to workers.
        questions = pickle.loads(pickle.dumps(list(asked.questions())))  # noqa: S301
        records = predict(CentrePointer(), benchmark, questions)
        assert [record.get("skipped") for record in records] == [None] * len(questions), name
        assert all(set(record["scores"]) <= {one.name for one in benchmark.protocols} for record in records)
        assert all(record["facets"] for record in records), name
        json.dumps(records)


def test_nano_points_and_its_run_leaves_a_page(here: Path) -> None:
    grounding_data.osworld_g(here / "data")
    done = agent("osworld-g", "--data", "data", "--model", "nano", "--out", "run")
    assert done.exit_code == 0, done.output
    for name in ("default *", "refusals-wrong", "without-refusals", "mai-ui", "molmo2"):
        assert name in done.output
    page = (here / "run" / "report.html").read_text()
    assert "Scores by protocol" in page
    assert "<summary>By category</summary>" in page
    # The box and the polygon, each with a halo.
    assert page.count("<polygon") == 4
    rows = {row["name"]: row for row in summary_of(here / "run")["protocols"]}
    assert (rows["default"]["n"], rows["without-refusals"]["n"]) == (3, 2)


def test_a_run_over_http_is_resumed_where_it_stopped_and_scored_again_without_questions(
    here: Path, server: Server
) -> None:
    grounding_data.screenspot(here / "data", "_v2", "screenspotv2_image")
    # The server answers (20, 30) in pixels: inside of the first eight boxes, outside of the other four.
    boxes = [[15, 25, 10, 10]] * 8 + [[40, 40, 5, 5]] * 4
    write(here / "data" / "screenspot_web_v2.json", [grounding_data.spot("w.png", box, source="shop") for box in boxes])
    server.plan = ["ok"] * 8 + [400] * 100
    options = ("screenspot_v2", "--data", "data", "--model", f"{server.url}#Molmo-7B-D-0924", "--out", "run")
    done = agent(*options)
    assert isinstance(done.exception, ModelError)
    assert len((here / "run" / "records.jsonl").read_text().splitlines()) == 8
    server.plan, asked = [], len(server.seen)
    done = agent(*options)
    assert done.exit_code == 0, done.output
    assert len(server.seen) - asked == 8
    assert summary_of(here / "run")["protocol"]["n"] == 16
    asked = len(server.seen)
    again = agent(*options, "--protocol", "platforms")
    assert again.exit_code == 0, again.output
    assert len(server.seen) == asked, "rescoring needs no new answers"
    assert "platforms *" in again.output
    summary = summary_of(here / "run")
    platforms = summary["protocol"]
    assert platforms["values"] == {"desktop": 0, "mobile": 0, "web": pytest.approx(8 / 12)}
    assert platforms["score"] == pytest.approx(8 / 36)
    assert platforms["items"] == pytest.approx(8 / 16)
    assert f"{platforms['score']:.1%}".rstrip("%") in (here / "run" / "report.html").read_text()
    assert next(iter(summary["scores"])) == "platforms"
    # Four boxes are 20 and 10 pixels away, the others of the four files as they are drawn.
    assert summary["near_misses"]["misses"] == 8
    assert "first points outside of the target, misses: 8; within 10 px: " in again.output
    assert "First points outside of the target: misses 8, within 10 px" in (here / "run" / "report.html").read_text()
    with pytest.raises(Exception, match="do not compare"):
        check_comparable(summary["protocols"][0], summary["protocols"][1])


def test_replies_in_another_format_are_counted_beside_every_score(here: Path, server: Server) -> None:
    grounding_data.ref_spatial(here / "data")
    server.reply = "It is on the table, I think."
    model = f"{server.url}#Molmo-7B-D-0924"
    done = agent("ref_spatial", "--data", "data", "--model", model, "--out", "run")
    assert done.exit_code == 0, done.output
    rows = {row["name"]: row for row in summary_of(here / "run")["protocols"]}
    assert (rows["default"]["score"], rows["default"]["n"], rows["default"]["wrong_format"]) == (0, 3, 3)
    # The official script leaves them out, which here are all.
    assert "official" not in rows


def test_what_cannot_be_shown_or_read_is_named_and_the_rest_is_scored(here: Path) -> None:
    (grounding_data.screenspot(here / "data") / "screenspot_imgs" / "d.png").unlink()
    done = agent("screenspot", "data", "--model", "centre", "--out", "run")
    assert done.exit_code == 0, done.output
    summary = summary_of(here / "run")
    assert summary["protocol"]["n"] == 2
    assert len(summary["skipped"]) == 3
    assert "d.png" in summary["skipped"][0]["reason"]


def test_a_damaged_mask_skips_its_question(here: Path) -> None:
    write(grounding_data.ref_spatial(here / "data") / "Location" / "mask" / "0.png", b"no mask")
    done = agent("ref_spatial", "data", "--model", "centre", "--out", "run")
    assert done.exit_code == 0, done.output
    assert summary_of(here / "run")["protocol"]["n"] == 2
    assert "page:" in done.output


def test_questions_of_the_page_are_text_whatever_they_hold(here: Path) -> None:
    grounding_data.osworld_g(here / "data")
    row = grounding_data.osworld_row("<b>x</b>", "bbox", [1, 1, 2, 2], ["<script>alert(1)</script>"], "<i>evil</i>")
    write(here / "data" / "OSWorld-G.json", [row])
    assert agent("osworld_g", "data", "--model", "centre", "--out", "run").exit_code == 0
    page = (here / "run" / "report.html").read_text()
    assert "<i>evil" not in page
    assert "<b>x</b>" not in page
    assert "<script>alert" not in page


def test_an_unknown_protocol_is_refused_before_anything_is_asked(here: Path) -> None:
    grounding_data.screenspot(here / "data")
    done = agent("screenspot", "data", "--model", "centre", "--protocol", "offical", "--out", "run")
    assert isinstance(done.exception, UnknownNameError)
    assert "official" in str(done.exception)
    assert not (here / "run").exists()


def test_own_questions_are_scored_under_the_protocols_too(here: Path) -> None:
    write(here / "0.png", grounding_data.picture())
    lines = [
        {"image": "0.png", "question": "a", "points": [[0.5, 0.5]], "boxes": [[0.4, 0.4, 0.6, 0.6]]},
        {"image": "0.png", "question": "b", "points": []},
    ]
    (here / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = agent("screenspot", "mine.jsonl", "--model", "centre", "--out", "run")
    assert done.exit_code == 0, done.output
    assert summary_of(here / "run")["protocol"]["score"] == 0.5


def test_the_documentation_has_the_table_of_the_code() -> None:
    text = (ROOT / "docs" / "evaluate.md").read_text()
    assert markdown_table() in text, "write it anew with python -m molmo_agent.evaluation.grounding.table"
    listed = set(re.findall(r"^\| `([a-z_0-9]+)` \|", text, re.MULTILINE))
    assert set(GROUNDING) <= listed
