"""``agent eval rescore``: the stored replies of a run under other protocols and metrics, without asking the model."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grounding_data
import pytest
from chat_server import Server
from eval_runs import agent, summary_of
from made_data import write
from PIL import Image

from molmo_agent.episode import PointResult
from molmo_agent.errors import UsageError
from molmo_agent.evaluation.benchmarks import find
from molmo_agent.evaluation.predict import predict
from molmo_agent.evaluation.results.folder import ResultFolder
from molmo_agent.evaluation.results.rescore import rescore
from molmo_agent.evaluation.run import open_questions
from molmo_agent.point_text.parse import parse_points


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def records_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


def rewrite(folder: Path, change: Any) -> None:
    """Change every record of a run, as an earlier version would have written it."""
    lines = "".join(json.dumps(change(record)) + "\n" for record in records_of(folder))
    (folder / "records.jsonl").write_text(lines)


def run_over_http(server: Server, name: str, replies: list[str], *more: str, model: str = "Molmo-7B-D-0924") -> Any:
    left = list(replies)
    server.decide = lambda _: left.pop(0) if len(left) > 1 else left[0]
    done = agent(name, "--model", f"{server.url}#{model}", "--out", "run", *more)
    assert done.exit_code == 0, (done.output, done.exception)
    return done


POINTED = ' <point x="25.0" y="50.0" alt="a">a</point>'
REPLIES = {
    "a point": POINTED,
    "several points": '<points x1="25.0" y1="50.0" x2="1.0" y2="1.0" alt="a">a</points>',
    "a point in prose": f"Sure, here it is:{POINTED} I hope that helps.",
    "there is none": "There are none.",
    "words": "It is at the top.",
    "out of the image": '<point x="250.0" y="50.0" alt="a">a</point>',
    "declined": "I'm sorry, I can't help with that.",
}


class Says:
    """Gives one reply to every question, read as Molmo's replies are."""

    name = "says"

    def __init__(self, reply: str) -> None:
        self.reply = reply

    def point(self, image: Any, instruction: str, *, max_points: int | None = None) -> PointResult:
        return parse_points("molmo", self.reply, image_size=(80, 60)).to_result(latency_s=0.0, confidence=None)

    def point_batch(self, images: Any, instructions: Any) -> list[PointResult]:
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]


def test_replies_scored_again_have_their_own_scores_whatever_they_say_and_whatever_wrote_them(tmp_path: Path) -> None:
    wrong = []
    for name in ("osworld_g", "ref_spatial", "point_bench", "screenspot_pro", "where2place"):
        _, benchmark = find(name)
        data = getattr(grounding_data, name)(tmp_path / name)
        questions = list(open_questions(name, benchmark, data, benchmark.options).questions())
        for what, reply in REPLIES.items():
            before = {record["id"]: record for record in predict(Says(reply), benchmark, questions)}
            # With the fields of today, and as versions without them wrote it.
            for forgotten in ((), ("status", "composed")):
                kept = {id_: {k: v for k, v in r.items() if k not in forgotten} for id_, r in before.items()}
                again = rescore(ResultFolder(tmp_path, {}, kept), benchmark, questions)
                # Whether a reply without points was put together makes no difference, and is not known.
                same = [record | {"composed": before[record["id"]]["composed"]} for record in again]
                if same != list(before.values()):
                    wrong.append((name, what, forgotten, again, before))
    assert wrong == []


def test_a_named_protocol_becomes_the_main_score_and_the_run_keeps_its_own(here: Path, server: Server) -> None:
    grounding_data.screenspot(here / "data", "_v2", "screenspotv2_image")
    run_over_http(server, "screenspot_v2", [POINTED], "--data", "data")
    kept = {path.name: path.read_bytes() for path in (here / "run").iterdir()}
    done = agent("rescore", "run", "--protocol", "platforms")
    assert done.exit_code == 0, (done.output, done.exception)
    assert "platforms *" in done.output
    assert "scored again, without asking: run-rescored" in done.output
    assert {path.name: path.read_bytes() for path in (here / "run").iterdir()} == kept
    summary = summary_of(here / "run-rescored")
    assert summary["protocol"]["name"] == next(iter(summary["scores"])) == "platforms"
    assert summary["costs"]["questions"] == 5
    assert (here / "run-rescored" / "report.html").is_file()
    # The result compares with other runs, and can be made again.
    assert agent("compare", "run", "run-rescored").exit_code == 0
    assert agent("rescore", "run").exit_code == 0
    assert summary_of(here / "run-rescored")["protocol"]["name"] == "default"
    assert "Unknown" not in agent("rescore", "run").output
    error = agent("rescore", "run", "--protocol", "best").exception
    assert "protocol of screenspot_v2" in str(error)


def test_scores_of_records_from_before_protocols_appear(here: Path, server: Server) -> None:
    grounding_data.screenspot(here / "data", "_v2", "screenspotv2_image")
    run_over_http(server, "screenspot_v2", [POINTED], "--data", "data")
    now = summary_of(here / "run")["protocols"]
    names = ("id", "question", "reply", "unparsed", "groups", "points")
    rewrite(here / "run", lambda r: {k: r[k] for k in names} | {"scores": {"hit": True}, "reference": {}})
    (here / "run" / "summary.json").unlink()
    assert agent("rescore", "run").exit_code == 0
    assert summary_of(here / "run-rescored")["protocols"] == now


def test_academic_replies_get_the_scores_of_the_metric_as_it_is_now(here: Path, server: Server) -> None:
    Image.new("RGB", (64, 48), (200, 30, 30)).save(here / "0.png")
    kinds: dict[str, tuple[list[dict[str, Any]], list[str]]] = {
        "vqa2": ([{"question": f"Colour {n}?", "answers": ["red"] * 10} for n in range(3)], ["red", "blue", "Red."]),
        "doc_qa": ([{"question": f"Date {n}?", "answers": ["12 May"]} for n in range(2)], ["12 may", "13 June"]),
        "chart_qa": ([{"question": f"How much {n}?", "answers": ["100"]} for n in range(2)], ["104", "120"]),
        "ai2d": ([{"question": f"Which {n}?", "options": ["a leaf", "a root"], "answers": ["B"]} for n in range(2)],
                 ["B", "A"]),
        "pixmo_count": ([{"question": f"cups {n}", "answers": ["2"]} for n in range(2)], ["2", "three"]),
    }  # fmt: skip
    wrong = []
    for name, (lines, replies) in kinds.items():
        (here / f"{name}.jsonl").write_text("".join(json.dumps({"image": "0.png"} | line) + "\n" for line in lines))
        run_over_http(server, name, replies, "--data", f"{name}.jsonl", "--out", name)
        before, asked = records_of(here / name), len(server.seen)
        # What an older metric made of them does not matter.
        rewrite(here / name, lambda record: record | {"scores": {"old": 0.5}, "reference": {}, "unparsed": True})
        done = agent("rescore", name)
        assert done.exit_code == 0, (name, done.output, done.exception)
        after = records_of(here / f"{name}-rescored")
        wrong += [name] if after != before or len(server.seen) != asked else []
    assert wrong == []


def test_a_reply_is_not_scored_against_another_question_or_a_missing_one(here: Path, server: Server) -> None:
    Image.new("RGB", (64, 48)).save(here / "0.png")
    rows = [{"image": "0.png", "id": str(n), "question": f"What is {n}?", "answers": ["5"] * 10} for n in range(3)]
    (here / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run_over_http(server, "vqa2", ["5"], "--data", "q.jsonl")
    rows[1]["question"] = "What is it?"
    (here / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:2]))
    done = agent("rescore", "run")
    assert done.exit_code == 0, (done.output, done.exception)
    whole, other, missing = records_of(here / "run-rescored")
    assert whole["scores"] == {"vqa": 1.0}
    assert "asks another question" in other["skipped"]
    assert "no question with this id" in missing["skipped"]
    assert other["reply"] == missing["reply"] == "5"
    assert "2 questions could not be asked or scored" in done.output
    (here / "q.jsonl").write_text(json.dumps(rows[0] | {"id": "other"}) + "\n")
    error = agent("rescore", "run").exception
    assert isinstance(error, UsageError)
    assert "name the data that the run asked about with --data" in str(error)


def test_data_that_moved_is_named_and_answers_published_later_give_scores(here: Path, server: Server) -> None:
    Image.new("RGB", (64, 48)).save(here / "0.png")
    (here / "q.jsonl").write_text(json.dumps({"image": "0.png", "question": "How many?", "answers": ["4"] * 10}) + "\n")
    run_over_http(server, "vqa2", ["4"], "--data", "q.jsonl")
    # As a test split leaves it.
    rewrite(here / "run", lambda r: {k: r[k] for k in ("id", "question", "reply")} | {"skipped": "unpublished"})
    (here / "elsewhere").mkdir()
    for name in ("q.jsonl", "0.png"):
        (here / name).rename(here / "elsewhere" / name)
    error = agent("rescore", "run").exception
    assert "but it does not exist" in str(error)
    done = agent("rescore", "run", "--data", "elsewhere/q.jsonl")
    assert done.exit_code == 0, (done.output, done.exception)
    assert records_of(here / "run-rescored")[0]["scores"] == {"vqa": 1.0}


def test_a_folder_with_other_replies_is_never_written_over(here: Path, server: Server) -> None:
    grounding_data.where2place(here / "data")
    for name in ("run", "second"):
        run_over_http(server, "where2place", [POINTED], "--data", "data", "--out", name)
    kept = records_of(here / "second")
    for out, says in (("second", "no other run in second"), ("run", "another folder than run"), ("./run", "another")):
        error = agent("rescore", "run", "--out", out).exception
        assert isinstance(error, UsageError), out
        assert says in str(error)
    write(here / "half" / "records.jsonl", b"{}\n")
    assert "no other run in half" in str(agent("rescore", "run", "--out", "half").exception)
    assert records_of(here / "second") == kept
    assert "result folder of agent eval" in str(agent("rescore", "data").exception)
    assert "does not accept --images" in str(agent("rescore", "run", "--images", "x").exception)


def test_numbers_of_one_name_and_different_hashes_are_not_compared(here: Path, server: Server) -> None:
    grounding_data.screenspot(here / "data", "_v2", "screenspotv2_image")
    run_over_http(server, "screenspot_v2", [POINTED], "--data", "data")
    assert agent("rescore", "run").exit_code == 0
    path = here / "run-rescored" / "summary.json"
    for change in ({"rule": "inside, half open", "hash": "0" * 16}, {"hash": "f" * 16}, {"hash": ""}):
        whole = json.loads(path.read_text())
        whole["summary"]["protocols"][0] |= change
        path.write_text(json.dumps(whole))
        error = agent("compare", "run", "run-rescored").exception
        assert isinstance(error, UsageError), change
        assert "do not compare" in str(error) or "names no protocol" in str(error)
    path.write_text(json.dumps({"summary": {"protocols": [1]}}))
    assert "protocols with names" in str(agent("compare", "run", "run-rescored").exception)
