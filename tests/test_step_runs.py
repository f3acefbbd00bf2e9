"""``agent eval`` on step benchmarks: with nano and over HTTP, interrupted and resumed, on Ray, and the page."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import steps_data
from chat_server import Server
from eval_runs import agent, summary_of
from made_data import write
from ray_cluster import RayCluster

from molmo_agent.errors import ModelError, UsageError
from molmo_agent.evaluation.benchmarks import find
from molmo_agent.evaluation.run import evaluate, open_questions
from molmo_agent.evaluation.steps.table import STEPS, markdown_table
from molmo_agent.train.on_ray import map_on_ray

ROOT = Path(__file__).parents[1]
ANDROID = ROOT / "tests" / "golden" / "android_control"
GOLD = {
    "aitw": steps_data.AITW_GOLD,
    "aitz": steps_data.AITZ_GOLD,
    "gui_odyssey": steps_data.ODYSSEY_GOLD,
    "mind2web": steps_data.PAGES_GOLD,
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


def rows_of(folder: Path) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in summary_of(folder)["protocols"]}


def records_of(folder: Path) -> dict[str, dict[str, Any]]:
    lines = (folder / "records.jsonl").read_text().splitlines()
    return {record["id"]: record for record in map(json.loads, lines)}


class Recorded:
    """Answers each prompt with the action that was recorded."""

    name = "recorded"

    def __init__(self, replies: dict[str, str]) -> None:
        self._replies = replies

    def answer_batch(self, images: Any, questions: Any, *, max_new_tokens: int) -> list[str]:
        return [self._replies[question] for question in questions]


@pytest.mark.parametrize("name", list(STEPS))
def test_the_recorded_actions_are_right_by_every_protocol_but_those_with_defects(tmp_path: Path, name: str) -> None:
    _, benchmark = find(name)
    asked = open_questions(name, benchmark, getattr(steps_data, name)(tmp_path / "data"), benchmark.options)
    texts = [question.text for question in asked.questions()]
    replies = dict(zip(texts, [*GOLD[name], "no screenshot, no question"], strict=False))
    records = evaluate(lambda: Recorded(replies), benchmark, asked, tmp_path / "run", {"model": "recorded"})
    wrong = {
        (record["id"], protocol)
        for record in records
        for protocol, score in record.get("scores", {}).items()
        if not score
    }
    # Compared with the corner of the screen.
    assert wrong == ({("general/7/0", "official")} if name == "aitz" else set())
    assert [record["id"] for record in records if "skipped" in record] == (["t1/u2"] if name == "mind2web" else [])


def test_nano_answers_and_its_run_leaves_a_page_with_every_protocol(here: Path) -> None:
    steps_data.gui_odyssey(here / "data")
    done = agent("gui-odyssey", "--data", "data", "--model", "nano", "--limit", "1", "--out", "run")
    assert done.exit_code == 0, done.output
    rows = rows_of(here / "run")
    assert set(rows) == {"default", "categories", "official", "official-categories", "dist_14"}
    assert all(row["n"] == 1 and row["wrong_format"] == summary_of(here / "run")["unparsed"] for row in rows.values())
    assert "goal progress" in done.output
    page = (here / "run" / "report.html").read_text()
    assert "<h2>Steps</h2>" in page
    assert "<h2>By category</h2>" in page
    assert "By action" in page
    # The box of the click's element, with a halo.
    assert page.count("<polygon") == 2


def test_a_run_over_http_is_resumed_where_it_stopped_and_scored_again_without_questions(
    here: Path, server: Server
) -> None:
    folder = steps_data.aitz(here / "data") / "test" / "general" / "GENERAL-7"
    long = [steps_data.aitz_step(number, 12, 5) for number in range(12)]
    for number in range(12):
        write(folder / f"GENERAL-7_{number}.png", steps_data.picture(number))
    write(folder / "GENERAL-7.json", long)
    server.reply = "Navigate Back"
    server.plan = ["ok"] * 8 + [400] * 100
    options = ("aitz", "--data", "data", "--model", f"{server.url}#Molmo-7B-D-0924", "--out", "run")
    done = agent(*options)
    assert isinstance(done.exception, ModelError)
    assert len(records_of(here / "run")) == 8
    server.plan, asked = [], len(server.seen)
    server.reply = "Navigate Home"
    done = agent(*options)
    assert done.exit_code == 0, done.output
    assert len(server.seen) - asked == 4
    assert "Previous actions:\n- Navigate Back\n- Navigate Back\n" in server.question()
    episodes = rows_of(here / "run")["default"]["episodes"]
    assert episodes["progress"] == pytest.approx(8 / 12)
    assert (episodes["success"], episodes["incomplete"]) == (0, 0)
    asked = len(server.seen)
    again = agent(*options, "--protocol", "subsets")
    assert again.exit_code == 0, again.output
    assert len(server.seen) == asked, "rescoring needs no new answers"
    assert "subsets *" in again.output


def test_a_model_sees_the_screen_of_the_step(here: Path, server: Server) -> None:
    steps_data.aitw(here / "data")
    server.reply = "Task Complete"
    done = agent("aitw", "data", "--model", f"{server.url}#Molmo-7B-D-0924", "--limit", "2", "--out", "run")
    assert done.exit_code == 0, done.output
    assert server.sent_image().size == steps_data.SIZE
    episodes = rows_of(here / "run")["default"]["episodes"]
    assert (episodes["n"], episodes["incomplete"]) == (1, 1), "the limit cut the episode off"
    assert "google_apps" in done.output, "sets that are missing are named"


def test_a_missing_screenshot_skips_its_step_and_leaves_the_end_of_its_episode_open(here: Path, server: Server) -> None:
    folder = steps_data.aitz(here / "data") / "test" / "general" / "GENERAL-7"
    (folder / "GENERAL-7_3.png").unlink()
    server.reply = "Press Enter"
    done = agent("aitz", "data", "--model", f"{server.url}#Molmo-7B-D-0924", "--out", "run")
    assert done.exit_code == 0, done.output
    row = rows_of(here / "run")["default"]
    assert (row["n"], row["episodes"]["incomplete"]) == (4, 1)
    assert "progress" not in row["episodes"]
    assert "GENERAL-7_3.png" in summary_of(here / "run")["skipped"][0]["reason"]


def test_replies_in_another_format_are_counted_beside_every_score(here: Path, server: Server) -> None:
    steps_data.mind2web(here / "data")
    server.reply = "I think the hat is red."
    done = agent("mind2web", "data", "--model", f"{server.url}#Molmo-7B-D-0924", "--out", "run")
    assert done.exit_code == 0, done.output
    rows = rows_of(here / "run")
    assert (rows["default"]["n"], rows["default"]["wrong_format"], rows["default"]["score"]) == (2, 2, 0)
    assert (rows["official"]["n"], rows["official"]["wrong_format"]) == (3, 2)
    assert "the column 'screenshot' is empty" in done.output


def test_every_sub_split_of_android_control_is_in_one_table_with_every_protocol(here: Path, server: Server) -> None:
    server.reply = "Scroll down"
    done = agent("android-control", str(ANDROID), "--model", f"{server.url}#Molmo-7B-D-0924", "--out", "run")
    assert done.exit_code == 0, done.output
    table = done.output[done.output.index("By subsplit") :]
    assert all(name in table for name in ("IDD", "app_unseen", "task_unseen", "category_unseen"))
    for protocol in find("android_control")[1].protocols:
        line = next(line for line in table.splitlines() if re.match(rf"\s*{re.escape(protocol.name)}\s", line))
        assert len(re.findall(r"\(\d+\)", line)) >= 3, line
    numbers = summary_of(here / "run")["groups"]
    assert sum(numbers[f"subsplit: {name}"]["questions"] for name in ("IDD", "app_unseen")) > 0
    assert "<h2>By subsplit</h2>" in (here / "run" / "report.html").read_text()


def test_a_list_of_steps_is_part_of_the_runs_settings_and_hash(here: Path, server: Server) -> None:
    first = json.loads((ANDROID / "splits.json").read_text())["test"][0]
    write(here / "mine.txt", f"episode_{first}_screenshot_0\n".encode())
    options = ("android-control", str(ANDROID), "--model", f"{server.url}#Molmo-7B-D-0924", "--limit", "1")
    assert agent(*options, "--out", "all").exit_code == 0
    done = agent(*options, "--steps", "mine.txt", "--out", "some")
    assert done.exit_code == 0, done.output
    hashes = [rows_of(here / out)["os-atlas"]["hash"] for out in ("all", "some")]
    assert hashes[0] != hashes[1]
    refused = agent(*options, "--out", "some")
    assert isinstance(refused.exception, UsageError)
    assert "holds a run with steps 'mine.txt'" in str(refused.exception)


def test_own_questions_have_their_action_as_the_answer(here: Path, server: Server) -> None:
    write(here / "0.png", steps_data.picture())
    lines = [
        {"image": "0.png", "question": "high_level: a", "answers": ["Navigate Back"]},
        {"image": "0.png", "question": "high_level: b", "answers": ["red"]},
    ]
    (here / "mine.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    server.reply = "Navigate Back"
    done = agent("android-control", "mine.jsonl", "--model", f"{server.url}#Molmo-7B-D-0924", "--out", "run")
    assert done.exit_code == 0, done.output
    summary = summary_of(here / "run")
    assert (summary["protocol"]["n"], summary["protocol"]["score"]) == (1, 1)
    assert "expected one action such as Click(50.0, 7.3) as the answer" in summary["skipped"][0]["reason"]


@pytest.mark.dependencies
@pytest.mark.slow
def test_workers_on_ray_give_the_same_records(tmp_path: Path, ray_cluster: RayCluster) -> None:
    # Sent as it is, for workers cannot import this file.
    class Sent:
        name = "sent"

        def answer_batch(self, images: Any, questions: Any, *, max_new_tokens: int) -> list[str]:
            return [
                f"Click({len(question) % 100}, {image[0, 0, 0] % 100})"
                for question, image in zip(questions, images, strict=True)
            ]

    _, benchmark = find("aitz")
    asked = open_questions("aitz", benchmark, steps_data.aitz(tmp_path / "data"), benchmark.options)
    evaluate(Sent, benchmark, asked, tmp_path / "here", {})
    evaluate(Sent, benchmark, asked, tmp_path / "there", {}, map=map_on_ray(2, None))
    for name in ("records.jsonl", "settings.json"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()


def test_the_documentation_has_the_table_of_the_code() -> None:
    text = (ROOT / "docs" / "evaluate.md").read_text()
    assert markdown_table() in text, "write it anew with python -m molmo_agent.evaluation.steps.table"
