"""The 11 benchmarks of the paper in one run: what is missing is named, and averages say what they cover."""

import json
from pathlib import Path
from typing import Any

import pytest
from made_data import png, write
from test_data_academic import MADE, diagram
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.cli.evaluation.suites import print_lines
from molmo_agent.console import make_console
from molmo_agent.data.question import Question
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.evaluation.benchmarks import BENCHMARKS
from molmo_agent.evaluation.judged.judge import Judge
from molmo_agent.evaluation.judged.math_answers import extract_answers
from molmo_agent.evaluation.run import open_questions
from molmo_agent.evaluation.suites.molmo_11 import (
    BESIDES,
    MEMBERS,
    Line,
    averages,
    failed_line,
    find_folders,
    line_of,
    options_for,
)
from molmo_agent.evaluation.suites.submissions import write_submission


def vqa2_validation(folder: Path) -> None:
    """Write VQA v2's validation files."""
    asked = [{"question_id": 30 + n, "image_id": 3, "question": f"What {n}?"} for n in (0, 1)]
    said = [
        {"question_id": q["question_id"], "answer_type": "other", "answers": [{"answer": "yes"}] * 10} for q in asked
    ]
    write(folder / "v2_OpenEnded_mscoco_val2014_questions.json", {"questions": asked})
    write(folder / "v2_mscoco_val2014_annotations.json", {"annotations": said})
    write(folder / "v2_OpenEnded_mscoco_test2015_questions.json", {"questions": asked})
    for part in ("val2014", "test2015"):
        write(folder / part / f"COCO_{part}_{3:012d}.jpg", png(3))


def doc_qa_files(folder: Path) -> None:
    """Write DocVQA's validation and test files."""
    rows = [{"questionId": 7 + n, "question": f"Total {n}?", "image": "documents/a.png"} for n in (0, 1)]
    write(folder / "val_v1.0_withQT.json", {"data": [row | {"answers": ["5", "five"]} for row in rows]})
    write(folder / "test_v1.0.json", {"data": rows})
    write(folder / "documents" / "a.png", png())


def home(folder: Path) -> Path:
    """Write the files of five benchmarks, one folder that cannot be read, and one that is none of them."""
    diagram(folder / "AI2D")
    vqa2_validation(folder / "VQA-v2")
    doc_qa_files(folder / "doc_qa")
    MADE["math_vista"](folder / "MathVista")
    MADE["real_world_qa"](folder / "real_world_qa")
    (folder / "TextVQA").mkdir()
    (folder / "notes").mkdir()
    return folder


class Says:
    """Answers every question in the same words, and fails after ``left`` questions."""

    name = "says"

    def __init__(self, words: str, left: int = 1000) -> None:
        self.words, self.left, self.asked = words, left, 0

    def answer_batch(self, images: Any, questions: Any, *, max_new_tokens: int) -> list[str]:
        self.asked += len(questions)
        if self.asked > self.left:
            raise ModelError("the model stopped")
        return [self.words] * len(questions)

    def point_batch(self, images: Any, instructions: Any) -> Any:
        raise AssertionError("nothing is pointed at")

    def point(self, image: Any, instruction: str, *, max_points: int | None = None) -> Any:
        raise AssertionError("nothing is pointed at")


def run(model: Says, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Any:
    """Run ``agent eval molmo-11`` with a model."""
    monkeypatch.setattr("molmo_agent.evaluation.run.load_model", lambda name: model)
    return CliRunner().invoke(app, ["eval", "molmo-11", *arguments])


def test_missing_and_unreadable_sets_are_named_and_the_average_covers_what_ran(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = home(tmp_path / "home"), tmp_path / "out"
    options = ("--data", str(data), "--model", "says", "--out", str(out))
    # Interrupted after the first benchmark, and resumed: no question is asked twice.
    stopped = Says("yes", left=4)
    assert isinstance(run(stopped, monkeypatch, *options).exception, ModelError)
    model = Says("yes")
    result = run(model, monkeypatch, *options)
    assert result.exit_code == 0, result.output
    summary = json.loads((out / "summary.json").read_text())
    lines = {line["name"]: line for line in summary["benchmarks"]}
    assert list(lines) == [member.name for member in MEMBERS]
    status = {name: line["status"] for name, line in lines.items()}
    assert status["text_vqa"] == "failed"
    assert "TextVQA_0.5.1_val.json" in lines["text_vqa"]["reason"]
    assert {name for name, one in status.items() if one == "missing"} == {
        "chart_qa",
        "info_qa",
        "mmmu",
        "countbench_qa",
        "pixmo_count",
    }
    scored = ["ai2d", "vqa2", "doc_qa", "real_world_qa", "mathvista"]
    assert summary["averages"]["benchmarks"] == scored
    # AI2D's opaque labels stand beside, with their own published scores, and in no average.
    (opaque,) = summary["besides"]
    assert (opaque["name"], opaque["form"], lines["ai2d"]["form"]) == ("ai2d", "opaque labels", "transparent labels")
    assert opaque["published"]["Molmo-72B"] == 86.4
    assert lines["ai2d"]["published"]["Molmo-72B"] == 96.3
    assert summary["averages"]["score"] == pytest.approx(sum(lines[name]["score"] for name in scored) / 5)
    assert lines["vqa2"]["score"] == 100
    assert not lines["vqa2"]["same_split"]
    assert summary["averages"]["same_split_benchmarks"] == ["ai2d", "real_world_qa", "mathvista"]
    assert summary["averages"]["published"]["Molmo-72B"] == pytest.approx((96.3 + 75.2 + 58.6) / 3)
    text = " ".join(result.output.split())
    assert "average of 5 of 11 benchmarks" in text
    assert "no score for mmmu: no folder mmmu or MMMU" in text
    page = (out / "report.html").read_text()
    for name in ("ai2d (transparent labels)", "ai2d (opaque labels)"):
        assert f'href="ai2d/report.html">{name}' in page
    assert 'href="vqa2/report.html"' in page
    assert "missing" in page
    again = Says("no", left=0)
    assert run(again, monkeypatch, *options).exit_code == 0
    assert again.asked == 0
    total = sum(line["questions"] for line in lines.values())
    assert model.asked < total + 4


def test_the_table_can_be_read_at_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    # The largest set of all, and an interval as wide as any.
    figures = {"mean": 1.0, "low": 1.0, "high": 1.0}
    lines = []
    for member in (*MEMBERS, *BESIDES):
        part = {"reference": {member.score: figures}, "scores": {}, "questions": 214_354}
        summary = {**part, "groups": {member.group: part}, "skipped": [], "unparsed": 0}
        lines.append(line_of(member, summary, options_for(member, None)))
    lines[4] = failed_line(MEMBERS[4], "missing", "no folder info_qa or InfoVQA in home")
    print_lines(make_console(), lines[:-1], lines[-1:])
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= 80
    assert "\N{HORIZONTAL ELLIPSIS}" not in text
    rows = {" ".join(line.split()) for line in text.splitlines()}
    assert "ai2d test 214354 100.0 100.0-100.0 86.4 90.7 93.2 96.3" in rows
    assert "ai2d, opaque test 214354 100.0 100.0-100.0 75.7 79.8 82.4 86.4" in rows
    assert "vqa2 validation* 214354 100.0 100.0-100.0 83.9 85.3 85.6 86.5" in rows
    assert "info_qa -" in rows
    assert "* published for another split: vqa2 test-dev, doc_qa test" in rows


def test_the_test_splits_give_files_for_their_servers_and_no_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = home(tmp_path / "home"), tmp_path / "out"
    result = run(Says("A: 5"), monkeypatch, "--data", str(data), "--model", "s", "--out", str(out), "--split", "test")
    assert result.exit_code == 0, result.output
    lines = {line["name"]: line for line in json.loads((out / "summary.json").read_text())["benchmarks"]}
    assert lines["vqa2"]["status"] == lines["doc_qa"]["status"] == "no score"
    assert "unpublished" in lines["doc_qa"]["reason"]
    assert lines["ai2d"]["score"] is not None
    vqa = json.loads((out / "vqa2" / "submission.json").read_text())
    assert vqa == [{"question_id": 30, "answer": "A: 5"}, {"question_id": 31, "answer": "A: 5"}]
    assert [row["questionId"] for row in json.loads((out / "doc_qa" / "submission.json").read_text())] == [7, 8]
    # Alone, the benchmark keeps the replies as well.
    monkeypatch.setattr("molmo_agent.evaluation.run.load_model", lambda name: Says("five"))
    alone = ["eval", "doc_qa", "--data", str(data / "doc_qa"), "--split", "test", "--out", str(tmp_path / "alone")]
    result = CliRunner().invoke(app, alone)
    assert result.exit_code == 0, result.output
    assert "questions without reply: 0" in " ".join(result.output.split())
    assert [row["answer"] for row in json.loads((tmp_path / "alone" / "submission.json").read_text())] == ["five"] * 2


def test_a_okvqa_is_submitted_as_the_text_of_an_option(tmp_path: Path) -> None:
    replies = {"A": "a cat", "b": "a dog", "a dog": "a dog", "C": "an ox", "??": "a cat"}
    questions = [
        Question(id=f"a-okvqa-mc/q{n}", style="a_okvqa_mc", text="?", options=("a cat", "a dog", "an ox"))
        for n in range(len(replies))
    ]
    records = [{"id": q.id, "reply": reply, "skipped": "no"} for q, reply in zip(questions, replies, strict=True)]
    path, unanswered = write_submission("a_okvqa_mc", records, lambda: [*questions, questions[0]], tmp_path) or (
        tmp_path,
        -1,
    )
    rows = json.loads(path.read_text())
    assert [rows[f"q{n}"]["multiple_choice"] for n in range(len(replies))] == list(replies.values())
    assert unanswered == 0
    assert (
        write_submission("a_okvqa_mc", [{"id": "x", "reply": "A", "scores": {"right": True}}], list, tmp_path) is None
    )


def test_folders_are_found_by_any_usual_name_and_never_by_two(tmp_path: Path) -> None:
    for name in ("ChartQA", "vqa_v2", "infographicVQA", "pixmo-count"):
        (tmp_path / name).mkdir()
    assert set(find_folders(tmp_path)) == {"chart_qa", "vqa2", "info_qa", "pixmo_count"}
    (tmp_path / "chart_qa").mkdir()
    with pytest.raises(UsageError, match="both chart_qa"):
        find_folders(tmp_path)
    for wrong in (tmp_path / "no", tmp_path / "chart_qa"):
        with pytest.raises(UsageError, match="a folder for each benchmark"):
            find_folders(wrong)


def test_an_average_of_other_splits_is_not_set_beside_the_paper() -> None:
    def line(name: str, score: float | None, same: bool, **published: float) -> Line:
        return Line(name=name, status="scored", score=score, same_split=same, published=published)

    means = averages([line("a", 40.0, True, M=50.0, N=10.0), line("b", 80.0, False, M=90.0), line("c", None, True)])
    assert means["score"] == 60.0
    assert means["same_split"] == 40.0
    assert means["published"] == {"M": 50.0, "N": 10.0}
    assert averages([line("b", 80.0, False, M=90.0)])["same_split"] is None
    assert averages([])["score"] is None


def test_options_that_do_not_apply_are_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = home(tmp_path / "home")
    cases = [
        ((), "needs --data"),
        (("--data", str(data), "--max-crops", "4"), "published number of crops"),
        (("--data", str(data), "--form", "hl"), "--form"),
        (("--data", str(data), "--split", "train"), "only --split test"),
        (("--data", str(data), "--hints", "3"), "--hints"),
        (("--data", str(data / "notes")), "a folder for each benchmark"),
    ]
    for arguments, words in cases:
        error = run(Says("x"), monkeypatch, *arguments, "--out", str(tmp_path / "out")).exception
        assert isinstance(error, UsageError), arguments
        assert words in str(error), arguments


def test_every_member_is_a_benchmark_with_the_published_crops() -> None:
    assert len(MEMBERS) == 11
    crops = {member.name: BENCHMARKS[member.name].crops for member in MEMBERS}
    assert {name for name, number in crops.items() if number == 12} == {"countbench_qa", "pixmo_count"}
    assert {number for name, number in crops.items() if number != 12} == {36}
    for member in (*MEMBERS, *BESIDES):
        keys = {(row.key, row.score, row.group) for row in BENCHMARKS[member.name].published}
        assert (member.key, member.score, member.group) in keys, member.name


def math_questions() -> list[Question]:
    """Return questions with an integer, a float and a choice."""
    extra = {"precision": None, "unit": None}
    return [
        Question(
            id="i", style="eval_short_answer", text="?", answers=("7",), extra={**extra, "answer_type": "integer"}
        ),
        Question(
            id="f",
            style="eval_short_answer",
            text="?",
            answers=("1.5",),
            extra={"precision": 1.0, "answer_type": "float"},
        ),
        Question(
            id="c",
            style="eval_multiple_choice",
            text="?",
            options=("red", "blue"),
            answers=("B",),
            extra={"correct": 1, "answer_type": "text"},
        ),
    ]


def test_a_judge_extracts_only_what_is_no_answer_itself(tmp_path: Path) -> None:
    asked: list[str] = []

    def ask(prompt: str, _: int) -> str:
        asked.append(prompt)
        return json.dumps({"answer": "7" if "seven" in prompt else "1.46" if "1.46 m" in prompt else "B"})

    judge = Judge("scripted", ask, tmp_path)
    plain = {"i": "7", "f": "1.5", "c": "blue"}
    sentences = {"i": "There are seven.", "f": "It is about 1.46 m.", "c": "I think that it is blue."}
    for replies, requests in ((plain, 0), (sentences, 3), (sentences, 3)):
        records = [
            {"id": name, "reply": reply, "scores": {"right": False}, "reference": {"right": False}, "unparsed": True}
            for name, reply in replies.items()
        ]
        rows = extract_answers(records, math_questions(), judge)
        assert [row["scores"]["right"] for row in rows] == [True, True, True], rows
        assert len(asked) == requests


def test_a_reply_without_an_answer_is_wrong_and_an_unreadable_judge_gives_no_score(tmp_path: Path) -> None:
    record = {"id": "i", "reply": "I cannot say.", "scores": {"right": False}, "reference": {}, "unparsed": True}
    none = Judge("none", lambda *_: '{"answer": null}', tmp_path / "none")
    (row,) = extract_answers([record], math_questions(), none)
    assert row["scores"] == {"right": False}
    assert row["unparsed"]
    for number, reply in enumerate(('"7"', '{"answer": 7}', "7 is the answer", '{"Answer": "7"}')):
        judge = Judge("bad", lambda *_, reply=reply: reply, tmp_path / str(number))
        (row,) = extract_answers([record], math_questions(), judge)
        assert "not answer in the form" in row["skipped"], reply
    skipped = {"id": "f", "skipped": "no image"}
    assert extract_answers([skipped], math_questions(), none) == [skipped]


def test_mathvista_alone_takes_a_judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    MADE["math_vista"](tmp_path / "data")
    questions = list(open_questions("mathvista", BENCHMARKS["mathvista"], tmp_path / "data", {}).questions())

    def ask(prompt: str, _: int) -> str:
        return json.dumps({"answer": "A"})

    opened = [Judge("scripted", ask, tmp_path / "cache")]
    monkeypatch.setattr("molmo_agent.cli.evaluation.judged.judges_of", lambda *_: opened)
    monkeypatch.setattr("molmo_agent.evaluation.run.load_model", lambda name: Says("hard to say"))
    arguments = ["--data", str(tmp_path / "data"), "--judge", "http://127.0.0.1:9/v1#m", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(app, ["eval", "mathvista", *arguments])
    assert result.exit_code == 0, result.output
    assert opened[0].budget.sent == len(questions)
