"""The evaluation on real screens: what counts as a hit, a wrong click and a refusal, and what is reported of them."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from typer.testing import CliRunner

from molmo_agent.cli.app import app, main
from molmo_agent.data.question import Question
from molmo_agent.episode import LabelledPoint, PointResult
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.evaluation import real_screens
from molmo_agent.evaluation.real_screens import ask, figures, missed, read_real_screens
from molmo_agent.evaluation.real_screens_report import failures_of, sheets_of, write_figures, write_page
from molmo_agent.evaluation.scoring import Reply, score
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import ModelTraits
from molmo_agent.pointers.windowed import WindowedPointer

TARGET = [0.1, 0.1, 0.3, 0.2]


class Sayer:
    """Answers each question with prepared points and a confidence."""

    name = "sayer"

    def __init__(self, answers: dict[str, PointResult | ModelError], threshold: float | None = 0.5) -> None:
        self.answers, self.traits = answers, ModelTraits(min_confidence=threshold, zooms=True)

    def point(self, image: np.ndarray, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Return the prepared answer."""
        answer = self.answers[instruction]
        if isinstance(answer, ModelError):
            raise answer
        return answer

    def point_batch(self, images, instructions) -> list[PointResult]:  # type: ignore[no-untyped-def]
        """Answer one by one."""
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]


def at(*places: tuple[float, float], sure: float | None = 0.9) -> PointResult:
    """Return an answer that points there."""
    points = tuple(LabelledPoint(Point(x, y)) for x, y in places)
    return PointResult(status="ok", reply="there", points=points, confidence=sure)


NONE = PointResult(status="none", reply="There are none.")


def write_screens(folder: Path, targets: list[tuple[str, str]], absent: list[str]) -> Path:
    """Write a folder with one screen per two targets; targets are (question, group)."""
    (folder / "screens").mkdir(parents=True)
    rows = {"targets": [], "absent": []}
    for number, (question, group) in enumerate(targets):
        screen = f"screens/{number // 2}.png"
        PILImage.new("RGB", (200, 100), "white").save(folder / screen)
        extra = {"group": group, "size": [200, 100], "toolkit": "gtk3", "scale": 1, "theme": "dark", "app": "a"}
        row = {"id": f"t{number}", "image": screen, "question": question, "style": "pointing", "extra": extra}
        rows["targets"].append(row | {"points": [[0.2, 0.15]], "boxes": [TARGET]})
    for number, question in enumerate(absent):
        rows["absent"].append(
            {"id": f"n{number}", "image": "screens/0.png", "question": question, "style": "pointing", "points": []}
        )
    for name, lines in rows.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


ANSWERS = {
    "hit": at((0.2, 0.15)),
    "hit twice": at((0.2, 0.15), (0.2, 0.151)),
    "wrong": at((0.8, 0.8)),
    "unsure hit": at((0.2, 0.15), sure=0.3),
    "unsure miss": at((0.8, 0.8), sure=0.3),
    "two places": at((0.2, 0.15), (0.8, 0.8)),
    "nothing": NONE,
    "no idea": PointResult(status="unparsed", reply="?"),
    "gone": at((0.5, 0.5)),
    "gone too": NONE,
}
GROUPS = ("text", "menu", "link", "field", "field", "icon", "checkbox", "icon")
TARGETS = list(zip(list(ANSWERS)[:8], GROUPS, strict=True))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_screens(tmp_path / "data", TARGETS, ["gone", "gone too"])


def measure(folder: Path, model: Sayer) -> tuple[dict, list]:  # type: ignore[type-arg]
    screens = read_real_screens(folder)
    answers, skipped = ask(model, screens)
    return figures(model, answers, skipped, screens.problems), answers


def test_hits_wrong_clicks_and_refusals_are_counted_at_the_threshold_and_without_it(folder: Path) -> None:
    result, _ = measure(folder, Sayer(ANSWERS))
    row = result["targets"]["all"]["all"]
    assert row["n"] == 8
    assert row["hits"]["right"] == 2
    assert row["acted"]["right"] == 3
    assert (row["hits_of_acted"]["right"], row["hits_of_acted"]["n"]) == (2, 3)
    assert row["wrong_clicks"]["right"] == 1
    assert row["hits_without_threshold"]["right"] == 3
    assert row["outcomes"] == {
        **{"click": 3, "low confidence": 2, "several places": 1, "none": 1, "unparsed": 1},
    }
    assert result["absent"]["clicks"]["right"] == 1
    assert result["absent"]["outcomes"] == {"click": 1, "none": 1}
    assert result["latency"]["first"]["n"] == 4
    assert result["latency"]["later"]["n"] == 6


def test_words_are_text_menus_links_and_check_boxes(folder: Path) -> None:
    groups = measure(folder, Sayer(ANSWERS))[0]["targets"]["group"]
    assert groups["words"]["n"] == 4
    assert groups["words"]["hits"]["right"] == 2
    assert list(groups) == ["words", "checkbox", "field", "icon", "link", "menu", "text"]


@pytest.mark.parametrize(("dimension", "value"), [("size", "200x100"), ("toolkit", "gtk3"), ("theme", "dark")])
def test_results_are_grouped_by_what_the_lines_say(folder: Path, dimension: str, value: str) -> None:
    rows = measure(folder, Sayer(ANSWERS))[0]["targets"][dimension]
    assert {name: row["n"] for name, row in rows.items()} == {value: 8}


def test_a_model_without_a_threshold_acts_on_every_single_place(folder: Path) -> None:
    row = measure(folder, Sayer(ANSWERS, threshold=None))[0]["targets"]["all"]["all"]
    assert (row["hits"]["right"], row["wrong_clicks"]["right"]) == (3, 2)


def test_the_calibration_covers_answers_with_one_place(folder: Path) -> None:
    calibration = measure(folder, Sayer(ANSWERS))[0]["calibration"]
    assert calibration["n"] == 5
    # 2 of 3 at 0.9 and 1 of 2 at 0.3.
    assert calibration["ece"] == pytest.approx((3 * (0.9 - 2 / 3) + 2 * (0.5 - 0.3)) / 5)


def test_missed_goals_are_named_with_their_limits(folder: Path) -> None:
    assert missed(measure(folder, Sayer(ANSWERS))[0]) == [
        "hits, all: 25.0 %, expected at least 90.0 %",
        "hits, words: 50.0 %, expected at least 97.0 %",
        "hits, field: 0.0 %, expected at least 85.0 %",
        "hits, icon: 0.0 %, expected at least 50.0 %",
        "wrong clicks: 12.5 %, expected at most 4.0 %",
        "clicks on absent targets: 50.0 %, expected at most 3.0 %",
        "calibration error: 0.220, expected at most 0.050",
    ]


def test_a_perfect_model_meets_every_goal_and_what_is_not_measured_is_missed(folder: Path) -> None:
    right = dict.fromkeys(ANSWERS, at((0.2, 0.15), sure=1.0)) | {"gone": NONE, "gone too": NONE}
    assert missed(measure(folder, Sayer(right))[0]) == []
    (folder / "absent.jsonl").unlink()
    unknown = dict.fromkeys(ANSWERS, at((0.2, 0.15), sure=None))
    assert missed(measure(folder, Sayer(unknown))[0]) == [
        "clicks on absent targets: not measured, expected at most 3.0 %",
        "calibration error: not measured, expected at most 0.050",
    ]


def test_a_question_that_fails_is_skipped_and_named(folder: Path) -> None:
    result, answers = measure(folder, Sayer({**ANSWERS, "wrong": ModelError("out of memory")}))
    assert len(answers) == 9
    assert result["skipped"] == ["t2: out of memory"]
    with pytest.raises(ModelError, match="out of memory"):
        measure(folder, Sayer(dict.fromkeys(ANSWERS, ModelError("out of memory"))))


def test_lines_that_are_no_targets_are_named(folder: Path) -> None:
    (folder / "absent.jsonl").write_text((folder / "targets.jsonl").read_text().splitlines()[0])
    assert read_real_screens(folder).problems == ('absent.jsonl, t0: expected "points": [] and no boxes',)
    (folder / "screens" / "0.png").unlink()
    _, skipped = ask(Sayer(ANSWERS), read_real_screens(folder))
    assert len(skipped) == 2
    assert "0.png" in skipped[0]


def test_a_folder_without_targets_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"expected targets\.jsonl in .*, which does not have it"):
        read_real_screens(tmp_path)
    (tmp_path / "targets.jsonl").write_text("{}\n")
    with pytest.raises(UsageError, match=r"no line of .*targets\.jsonl is usable: .*expected a text as 'image'"):
        read_real_screens(tmp_path)


def test_a_limit_takes_targets_evenly_and_absent_ones_in_proportion(folder: Path) -> None:
    screens = read_real_screens(folder, 4)
    assert [question.id for question in screens.targets] == ["t0", "t2", "t4", "t6"]
    assert [question.id for question in screens.absent] == ["n0"]


def test_the_page_shows_wrong_clicks_first_and_replies_as_text(folder: Path, tmp_path: Path) -> None:
    loud = PointResult(
        status="ok", reply="<script>x</script>", points=(LabelledPoint(Point(0.9, 0.9)),), confidence=0.95
    )
    result, answers = measure(folder, Sayer({**ANSWERS, "hit": loud}))
    assert [kind for kind, _ in failures_of(answers)] == [
        *["wrong click"] * 2,
        "click on an absent target",
        *["not clicked"] * 5,
    ]
    assert failures_of(answers)[0][1].question.id == "t0"
    write_figures(tmp_path / "out", result, answers)
    page = write_page(tmp_path / "out", result, answers).read_text()
    assert "&lt;script&gt;x" in page
    assert "<script>x" not in page
    assert (tmp_path / "out" / "reliability.png").exists()
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert records[0] | {"latency_s": 0} == {
        **{"id": "t0", "question": "hit", "screen": "screens/0.png", "group": "text", "outcome": "click"},
        **{"hit": False, "confidence": 0.95, "points": [[0.9, 0.9]], "reply": "<script>x</script>", "latency_s": 0},
    }
    assert next(row[3] for sheet in sheets_of(result) for row in sheet.rows if row[0] == "all") == "37.5 %"


def test_results_that_cannot_be_written_are_one_error(folder: Path, tmp_path: Path) -> None:
    result, answers = measure(folder, Sayer(ANSWERS))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write the figures .*; choose another --out"):
        write_figures(tmp_path / "file" / "out", result, answers)


def run_eval(*arguments: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, ["eval", *arguments], env={"COLUMNS": "160", "NO_COLOR": "1"})


def test_the_command_prints_tables_and_fails_with_check(folder: Path, tmp_path: Path) -> None:
    arguments = ["real-screens", "--data", str(folder), "--model", "centre", "--out", str(tmp_path / "out")]
    done = run_eval(*arguments)
    assert done.exit_code == 0, done.output
    assert "Targets by group" in done.output
    assert "hits without threshold" in done.output
    figures_file = json.loads((tmp_path / "out" / "report.json").read_text())
    assert figures_file["targets"]["all"]["all"]["wrong_clicks"]["share"] == 1
    checked = run_eval(*arguments, "--check")
    assert checked.exit_code == 1
    assert "missed: hits, icon: 0.0 %, expected at least 50.0 %" in checked.output
    assert "missed: calibration error: not measured" in checked.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["real-screens"], "real-screens needs --data: a folder with targets.jsonl and absent.jsonl"),
        (["real-screens", "a", "--data", "b"], "expected the data once, got a and --data b"),
        (["vqa2", "--check"], "--check is only for real-screens"),
        (["vqa2", "--only", "a"], "--only is for real-tasks, --min-confidence also for real-screens"),
        (["real-screens", "a", "--out", __file__], "expected --out to name a folder, got the file"),
    ],
)
def test_what_cannot_be_measured_is_one_clear_error(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["agent", "eval", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def question_at(box: Box, **extra: object) -> Question:
    mask = np.zeros((480, 1280), bool)
    mask[int(box.top * 480) : int(box.bottom * 480), int(box.left * 1280) : int(box.right * 1280)] = True
    return Question(id="1", style="pointing", text="Save", points=(box.center,), extra={"masks": [mask], **extra})


def test_the_group_of_a_pointing_question_is_its_category() -> None:
    asked = question_at(Box(0.7, 0.5, 0.8, 0.6), group="icon")
    scored = score("pointing", asked, Reply(text="x", result=at((0.75, 0.55)), size=(1280, 480)))
    assert scored.groups == ("one", "icon")


class InWindow:
    """Writes the centre of what it is shown as Molmo does, most surely on the right half."""

    name = "in-window"

    def point_batch(self, images, instructions) -> list[PointResult]:  # type: ignore[no-untyped-def]
        """Point at the middle of each window."""
        reply = '<point x="50.0" y="50.0" alt="save">save</point>'
        point = (LabelledPoint(Point(0.5, 0.5)),)
        return [
            PointResult(status="ok", reply=reply, points=point, confidence=0.1 + 0.1 * number)
            for number, _ in enumerate(images)
        ]


def test_the_authors_code_reads_the_points_of_a_windowed_model() -> None:
    windowed = WindowedPointer(InWindow(), (640, 480))  # type: ignore[arg-type]
    result = windowed.point_batch([np.zeros((480, 1280, 3), np.uint8)], ["Save"])[0]
    assert result.reply.startswith("in the window")
    place = result.points[0].point
    assert place.x > 0.6
    asked = question_at(Box(place.x - 0.02, 0.45, place.x + 0.02, 0.55))
    scored = score("pointing", asked, Reply(text=result.reply, result=result, size=(1280, 480)))
    assert scored.scores["f1"] == scored.reference["f1"] == 1.0
    # The reply of a model that answers about the whole image is left as it is.
    plain = PointResult(status="ok", reply=f"Here: {result.reply}", points=result.points)
    assert score("pointing", asked, Reply(text=plain.reply, result=plain, size=(1280, 480))).reference["f1"] == 0.0


def test_goals_are_those_of_the_documentation() -> None:
    text = (Path(__file__).parents[1] / "docs" / "evaluate.md").read_text()
    for name, at_least, limit in real_screens.GOALS:
        number = f"{limit:g}" if name == "calibration error" else f"{100 * limit:g} %"
        assert f"{name} at {'least' if at_least else 'most'} {number}" in " ".join(text.split()), name
