"""What becomes of results: runs are compared on the same questions, costs stand beside scores, the Hub gets files."""

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from chat_server import Raw, Server, completion
from PIL import Image
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.errors import DataError, UsageError
from molmo_agent.evaluation.results.compare import compare_runs, paired_bootstrap
from molmo_agent.evaluation.results.costs import Price, costs_of, lines_of, read_costs, summarise_costs
from molmo_agent.evaluation.results.folder import read_result_folder
from molmo_agent.evaluation.results.hub import HubTask, write_hub_results
from molmo_agent.interfaces import Usage, collect_usage, report_usage
from molmo_agent.pointers.remote import how_asked

SETTINGS = {"benchmark": "chart_qa", "model": "one", "data": "/data", "max_crops": None, "split": "val"}


def write_run(
    folder: Path, scores: dict[str, float], *, prefix: str = "", groups: dict[str, str] | None = None, **settings: Any
) -> Path:
    """Write a result folder by hand."""
    folder.mkdir()
    (folder / "settings.json").write_text(json.dumps(SETTINGS | settings))
    records = [
        {
            "id": id_,
            "question": f"{prefix}What is {id_}?",
            "reply": "5",
            "scores": {"accuracy": score},
            "groups": [(groups or {}).get(id_, "human")],
        }
        for id_, score in scores.items()
    ]
    (folder / "records.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def compared(*folders: Path, **options: Any) -> dict[str, Any]:
    first, second = map(read_result_folder, folders)
    return compare_runs(first, second, **options)


# --- Comparing -------------------------------------------------------------------------------------------------------


def test_only_questions_that_both_answered_are_compared_and_the_others_counted(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", {"q1": 1, "q2": 0, "q3": 1, "q9": 0})
    second = write_run(tmp_path / "b", {"q1": 1, "q2": 1, "q3": 1, "q4": 1, "q5": 0}, model="two")
    figures = compared(first, second)
    assert figures["left_out"] == [1, 2]
    row = figures["scores"]["accuracy"]
    assert (row["n"], row["first"], row["second"]) == (3, pytest.approx(2 / 3), 1)
    assert row["difference"] == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"benchmark": "doc_qa"}, "benchmark is 'chart_qa' in one and 'doc_qa' in the other"),
        ({"split": "test"}, "split is 'val' in one and 'test' in the other"),
        ({"protocol": "official"}, "protocol is None in one and 'official' in the other"),
        ({"protocol_hash": "ab12"}, "protocol_hash is None in one and 'ab12'"),
    ],
)
def test_runs_under_other_protocols_are_not_compared(tmp_path: Path, settings: dict[str, Any], says: str) -> None:
    first = write_run(tmp_path / "a", {"q1": 1})
    second = write_run(tmp_path / "b", {"q1": 1}, **settings)
    with pytest.raises(UsageError, match=says):
        compared(first, second)
    result = CliRunner().invoke(app, ["eval", "compare", str(first), str(second)])
    assert result.exit_code != 0
    assert says in str(result.exception)


def test_the_model_its_crops_its_tags_and_the_place_of_the_data_may_differ(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", {"q1": 1, "q2": 0})
    second = write_run(
        tmp_path / "b", {"q1": 1, "q2": 0}, prefix="chart_qa: ", model="two", max_crops=36, data="/other", asked={}
    )
    assert compared(first, second)["scores"]["accuracy"]["difference"] == 0


def test_other_questions_under_the_same_ids_are_not_compared(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a", {"q1": 1, "q2": 0})
    for number, change in enumerate(({"prefix": "Not "}, {"groups": {"q1": "augmented"}})):
        second = write_run(tmp_path / f"b{number}", {"q1": 1, "q2": 0}, model="two", **change)  # type: ignore[arg-type]
        if number == 0:
            text = (second / "records.jsonl").read_text().replace("Not What is", "How much is")
            (second / "records.jsonl").write_text(text)
        with pytest.raises(UsageError, match=r"\d of 2 questions differ, such as 'q1'; run both on the same data"):
            compared(first, second)


def test_runs_without_a_common_question_are_not_compared(tmp_path: Path) -> None:
    first, second = write_run(tmp_path / "a", {"q1": 1}), write_run(tmp_path / "b", {"q2": 1})
    with pytest.raises(UsageError, match="to share scored questions, got none"):
        compared(first, second)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_interval_covers_a_known_difference_and_p_is_small_only_if_there_is_one(seed: int) -> None:
    draw = np.random.default_rng(seed)
    first = (draw.random(600) < 0.6).astype(float)
    same = np.where(draw.random(600) < 0.2, (draw.random(600) < 0.6).astype(float), first)
    better = np.where(draw.random(600) < 0.3, 1.0, first)
    none, gain = paired_bootstrap(first, same, seed=seed), paired_bootstrap(first, better, seed=seed)
    assert none["low"] <= 0 <= none["high"]
    assert none["p"] > 0.05
    assert gain["low"] <= 0.12 <= gain["high"]
    assert gain["p"] < 0.001
    assert paired_bootstrap(first, first)["p"] == 1


def test_pairing_is_sharper_than_two_separate_intervals() -> None:
    first = np.tile([1.0, 0.0], 200)
    second = first.copy()
    second[1:41:2] = 1.0
    assert paired_bootstrap(first, second)["low"] > 0


def test_groups_are_compared_too_and_the_command_prints_and_writes_them(tmp_path: Path) -> None:
    ids = {f"q{number}": number % 2 for number in range(20)}
    groups = {id_: ("human", "augmented")[number > 9] for number, id_ in enumerate(ids)}
    first = write_run(tmp_path / "a", ids, groups=groups)
    second = write_run(tmp_path / "b", dict.fromkeys(ids, 1), groups=groups, model="two")
    result = CliRunner().invoke(app, ["eval", "compare", str(first), str(second), "--out", str(tmp_path / "c.json")])
    assert result.exit_code == 0, result.output
    assert "+50.0" in result.output
    figures = json.loads((tmp_path / "c.json").read_text())
    assert {name: rows["accuracy"]["n"] for name, rows in figures["groups"].items()} == {"augmented": 10, "human": 10}


@pytest.mark.parametrize(
    ("file", "text", "says"),
    [
        ("settings.json", "[]", "to hold the settings of a run"),
        ("settings.json", '{"model": "x"}', "to hold the settings of a run"),
        ("settings.json", "{", "to be JSON"),
        ("records.jsonl", '{"no": "id"}\n', "line 1 of .* to be a record with an id"),
        ("records.jsonl", "5\n", "line 1 of .* to be a record with an id"),
    ],
)
def test_a_damaged_result_folder_is_named(tmp_path: Path, file: str, text: str, says: str) -> None:
    folder = write_run(tmp_path / "a", {"q1": 1})
    (folder / file).write_text(text)
    with pytest.raises(DataError, match=says):
        read_result_folder(folder)


def test_a_folder_that_is_none_of_ours_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"to be a result folder of agent eval .*, got no settings\.json"):
        read_result_folder(tmp_path)


# --- Costs -----------------------------------------------------------------------------------------------------------


def test_usage_is_collected_from_all_threads_and_only_while_somebody_collects() -> None:
    report_usage(Usage(question="before", seconds=1))
    with collect_usage() as outer, collect_usage() as inner:
        threads = [threading.Thread(target=report_usage, args=(Usage(question=f"{n}", seconds=1),)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    report_usage(Usage(question="after", seconds=1))
    assert sorted(usage.question for usage in outer) == sorted(usage.question for usage in inner) == list("01234567")


def test_each_question_gets_its_own_usage_and_an_equal_share_where_the_model_reports_none() -> None:
    records = [{"id": "1", "question": "a"}, {"id": "2", "question": "b"}, {"id": "3", "skipped": "no image"}]
    usages = [
        Usage(question="b", seconds=2, tokens_in=10, tokens_out=1, passes=3),
        Usage(question="b", seconds=1, tokens_in=20, tokens_out=2, passes=4),
        Usage(question="of somebody else", seconds=100),
    ]
    first, second = costs_of(records, usages, seconds=8)
    assert (first["seconds"], first["tokens_in"]) == (4, None)
    assert [second[name] for name in ("seconds", "tokens_in", "tokens_out", "passes")] == [3, 30, 3, 7]


def test_one_question_on_two_images_is_counted_for_both() -> None:
    records = [{"id": "1", "question": "a"}, {"id": "2", "question": "a"}]
    costs = costs_of(records, [Usage(question="a", seconds=1), Usage(question="a", seconds=5)], seconds=8)
    assert [cost["seconds"] for cost in costs] == [1, 5]


def test_the_figures_of_costs_have_percentiles_totals_and_money() -> None:
    costs = [
        {"id": f"{n}", "seconds": n / 10, "tokens_in": 1000 if n < 10 else None, "tokens_out": 10, "memory": n}
        for n in range(1, 21)
    ]
    figures = summarise_costs(costs, Price("2,10"))
    assert figures is not None
    assert figures["seconds"]["p50"] == pytest.approx(1.05)
    assert figures["seconds"]["p95"] == pytest.approx(1.905)
    assert figures["tokens_in"] == {"n": 9, "total": 9000, "mean": 1000}
    assert (figures["passes"], figures["memory"], figures["gpu_memory"]) == (None, 20, None)
    assert figures["usd"]["n"] == 9
    assert figures["usd"]["total"] == pytest.approx(9 * (1000 * 2 + 10 * 10) / 1e6)
    lines = lines_of(figures)
    assert lines[0] == "time per question: 1.05 s (p50), 1.91 s (p95)" or "1.90 s (p95)" in lines[0]
    assert "11 questions have no count of tokens" in lines[-1]
    assert summarise_costs([]) is None
    assert lines_of(None) == []


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "a,b", "-1,2", "nan,1", "1,inf"])
def test_a_price_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected --price IN,OUT in US dollars per million tokens"):
        Price(text)


def test_a_damaged_end_of_the_costs_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "costs.jsonl").write_text('{"id": "1", "seconds": 1}\n{"id": "2", "sec')
    assert [cost["id"] for cost in read_costs(tmp_path / "costs.jsonl")] == ["1"]


# --- A served model --------------------------------------------------------------------------------------------------


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 48), (200, 30, 30)).save(tmp_path / "0.png")
    rows = [{"image": "0.png", "question": f"What is {number}?", "answers": ["5"] * 10} for number in range(4)]
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def answer_with_usage() -> Raw:
    body = completion({"content": "5"}) | {"usage": {"prompt_tokens": 700, "completion_tokens": 3}}
    return Raw(json.dumps(body))


def agent_eval(questions: Path, model: str, *more: str) -> Any:
    arguments = ["eval", "vqa2", "--data", str(questions), "--model", model, "--out", str(questions.parent / "run")]
    return CliRunner().invoke(app, [*arguments, *more])


def test_a_served_model_has_its_costs_beside_its_scores_and_files_for_the_hub(
    questions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server()
    try:
        server.plan = [answer_with_usage() for _ in range(4)]
        model = f"{server.url}#Molmo-7B-D-0924"
        more = ("--price", "1,2", "--hub-results", "lmms-lab/VQAv2:val")
        result = agent_eval(questions, model, *more)
        assert result.exit_code == 0, (result.output, result.exception)
        assert "time per question" in result.output
        assert "per question: 700 tokens in, 3 tokens out" in result.output
        assert "cost: 0.0028 USD for 4 questions" in result.output
        run = questions.parent / "run"
        costs = json.loads((run / "summary.json").read_text())["summary"]["costs"]
        assert costs["usd"]["total"] == pytest.approx(4 * 706 / 1e6)
        assert "700 tokens in" in (run / "report.html").read_text()
        (entry,) = yaml.safe_load((run / ".eval_results" / "vqa2.yaml").read_text())
        assert entry["dataset"] == {"id": "lmms-lab/VQAv2", "task_id": "val"}
        assert entry["value"] == 100
        assert "on 4 questions" in entry["notes"]
        assert str(questions.parent) not in json.dumps(entry)
        assert (run / "hub_row.md").read_text().splitlines()[2].startswith(f"| {model} | vqa2 |")
        # What the settings say is what the server got.
        asked = json.loads((run / "settings.json").read_text())["asked"]
        _, _, body = server.seen[-1]
        assert [message["role"] for message in body["messages"]] == ["user"]
        assert asked["system_prompt"] is None
        assert body["temperature"] == asked["temperature"]
        assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url", "text"]
        assert asked["order"] == "image, then text"
        # The same command resumes, asks nothing, and keeps the costs.
        again = agent_eval(questions, model, *more)
        assert "cost: 0.0028 USD for 4 questions" in again.output
        # A profile that changed is another run.
        changed = how_asked(model) | {"temperature": 0.7}
        monkeypatch.setattr("molmo_agent.pointers.remote.how_asked", lambda _: changed)
        refused = agent_eval(questions, model)
        assert "holds a run with asked" in str(refused.exception)
    finally:
        server.close()


@pytest.mark.parametrize(
    ("address", "key", "value"),
    [
        ("qwen2.5-vl-7b", "coordinates", "pixels of the sent image"),
        ("qwen3-vl-8b", "coordinates", "0 to 1000"),
        ("Molmo-7B-D-0924", "coordinates", "0 to 100"),
        ("Molmo-7B-D-0924", "pixels", "as they are"),
        ("x?dialect=gui&scale=1&max_pixels=90000", "pixels", {"multiple": 1, "min_pixels": 1, "max_pixels": 90000}),
        ("x?dialect=gui&scale=1&max_tokens=99", "max_tokens", 99),
    ],
)
def test_what_decides_reproduction_is_known_before_a_question_is_asked(address: str, key: str, value: object) -> None:
    assert how_asked(f"http://localhost:1/v1#{address}")[key] == value


# --- The Hub ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["ScreenSpot", "a/b", "a/b:", ":x", "a/b:c d", "../x/y:z", "a/b:c\n"])
def test_a_task_of_the_hub_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected --hub-results OWNER/DATASET:TASK"):
        HubTask.parse(text)


def test_what_makes_a_score_doubtful_stands_in_its_notes(tmp_path: Path) -> None:
    summary = {
        "questions": 90,
        "unparsed": 7,
        "skipped": [{"id": "1"}] * 10,
        "scores": {"accuracy": {"mean": 0.51234, "low": 0.4, "high": 0.6, "n": 90}},
    }
    path, row = write_hub_results(tmp_path, HubTask("a/b", "c"), SETTINGS | {"model": "a|b"}, summary)
    (entry,) = yaml.safe_load(path.read_text())
    assert entry["value"] == 51.23
    assert "10 not asked or scored" in entry["notes"]
    assert "7 replies without an answer, which count as wrong" in entry["notes"]
    assert "split val" in entry["notes"]
    assert row.startswith(r"| a\|b | chart_qa | accuracy | 51.2 | 40.0 - 60.0 | 90 |")
