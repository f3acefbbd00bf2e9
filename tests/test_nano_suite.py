"""The suite that measures nano: tables that are known because the models' hits are, and files that can be looked at."""

import json
import re
import zlib
from dataclasses import replace
from typing import ClassVar

import PIL.Image
import pytest
from desktop_screen import needs
from typer.testing import CliRunner

from molmo_agent.cli.app import app, main
from molmo_agent.episode import LabelledPoint, PointResult
from molmo_agent.errors import EnvError, UsageError
from molmo_agent.evaluation.metrics.interval import wilson
from molmo_agent.evaluation.nano_suite import miniwob as suite_miniwob
from molmo_agent.evaluation.nano_suite import run as nano_suite
from molmo_agent.evaluation.nano_suite.categories import ELSEWHERE, GROUPS, MADE_UP
from molmo_agent.evaluation.nano_suite.latency import measure
from molmo_agent.evaluation.nano_suite.report import worst, write_suite
from molmo_agent.evaluation.nano_suite.run import ALL, Answer, ask, calibration_of, hit_rows, refusal_rows, run_suite
from molmo_agent.evaluation.nano_suite.sets import Case, ScreenSet
from molmo_agent.evaluation.nano_suite.tables import sheets_of
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import ModelTraits
from molmo_agent.nano.card import write_card
from molmo_agent.pointers.baselines import CentrePointer
from molmo_agent.pointers.calibration import Calibration
from molmo_agent.testing import ToyEnv

SMALL = ScreenSet(name="desktop small", section="desktop small", screens=3, width=240, height=180, questions=4)
ABSENT = replace(SMALL, name="absent", section="absent", absent=True, screens=4)


class Told:
    """Knows the truth; hits every second question that has an answer, and says none where there is none."""

    name = "told"
    traits = ModelTraits(min_confidence=0.5, raw_confidence=Calibration(slope=2.0, offset=0.0).undo)

    def __init__(self):
        self.truth = {}
        self.questions = 0

    def point(self, image, instruction, *, max_points=None):
        boxes = self.truth.get(instruction, (Box(0.4, 0.4, 0.6, 0.6),))
        if not boxes:
            return PointResult(status="none", reply="There are none.", latency_s=0.5)
        self.questions += 1
        hit = self.questions % 2 == 1
        beside = Point(0.0 if boxes[0].left > 0 else 1.0, 0.5)
        points = tuple(LabelledPoint(box.center if hit else beside) for box in boxes)
        return PointResult(status="ok", reply="", points=points, confidence=0.75 if hit else 0.25, latency_s=0.5)

    def point_batch(self, images, instructions):
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]


@pytest.fixture
def told(monkeypatch):
    model, real = Told(), nano_suite.cases_of

    def telling(chosen, seeds=nano_suite.EVALUATION):
        for shown, cases in real(chosen, seeds):
            model.truth = {case.question: case.boxes for case in cases}
            yield shown, cases

    monkeypatch.setattr(nano_suite, "cases_of", telling)
    monkeypatch.setattr(nano_suite, "measure", lambda model, repeats: [])
    return model


PLACE = Box(0.4, 0.4, 0.6, 0.6)


def answer(
    category="by text: button",
    *,
    hit=True,
    boxes=(PLACE,),
    points=None,
    confidence=None,
    status="ok",
    screen=0,
    section="desktop",
):
    case = Case(screen=screen, question="x", category=category, boxes=boxes, chance=0.25)
    if points is None:
        points = (Point(0.5, 0.5) if hit else Point(0, 0),) if status == "ok" else ()
    return Answer(
        set="some",
        section=section,
        case=case,
        status=status,
        points=points,
        confidence=confidence,
        reply="",
        latency_s=0.0,
    )


# --- Figures ------------------------------------------------------------------------------------------------------


def test_the_oracle_hits_everything_that_is_asked():
    for chosen in (SMALL, ABSENT):
        (answers,) = ask([None], chosen)
        assert answers
        assert all(one.hit for one in answers)


def test_hits_are_counted_by_group_and_category_with_their_intervals():
    answers = [answer(hit=n < 3) for n in range(4)] + [
        answer("by size", hit=False),
        answer("by text: plain text", status="unparsed"),
        answer(MADE_UP, boxes=(), status="none"),
    ]
    rows = {row["category"]: row for row in hit_rows("m", answers)}
    categories = ("by size", "by text: button", "by text: plain text", MADE_UP)
    assert tuple(rows) == (ALL, *GROUPS, *categories)
    low, high = wilson(3, 4)
    button = rows["by text: button"]
    assert (button["n"], button["right"], button["share"]) == (4, 3, 0.75)
    assert (button["low"], button["high"]) == (low, high)
    assert button["random_same_kind"] == 0.25
    # What is not there is counted by itself.
    assert (rows[ALL]["n"], rows[ALL]["right"]) == (6, 3)
    assert (rows[MADE_UP]["n"], rows[MADE_UP]["right"]) == (1, 1)
    assert [(rows[group]["n"], rows[group]["right"]) for group in GROUPS] == [(1, 0), (4, 3), (1, 0)]
    assert rows[ALL]["statuses"] == {"ok": 5, "unparsed": 1}


def test_several_things_want_a_point_in_each_and_no_other():
    places = (Box(0.0, 0.0, 0.6, 1.0), Box(0.4, 0.0, 1.0, 1.0))
    left, both, right = Point(0.2, 0.5), Point(0.5, 0.5), Point(0.8, 0.5)
    for points, hit in (
        ((left, right), True),
        ((right, both), True),
        ((both, right), True),
        ((left, left), False),
        ((left,), False),
        ((left, right, both), False),
        ((), False),
    ):
        assert answer("several", boxes=places, points=points).hit is hit


def test_precision_recall_and_f1_of_refusing():
    answers = (
        [answer(boxes=(), status="none")] * 3
        + [answer(boxes=(), confidence=0.2)]
        + [answer(status="none")]
        + [answer(confidence=0.9)] * 4
    )
    said, both = refusal_rows("m", answers, 0.5)
    assert (said["precision"]["right"], said["precision"]["n"]) == (3, 4)
    assert (said["recall"]["right"], said["recall"]["n"]) == (3, 4)
    assert said["f1"] == 0.75
    assert (both["precision"]["right"], both["precision"]["n"]) == (4, 5)
    assert both["recall"]["share"] == 1.0
    assert both["f1"] == pytest.approx(8 / 9)
    (never,) = refusal_rows("m", [answer(boxes=())], None)
    assert (never["precision"]["share"], never["recall"]["share"], never["f1"]) == (None, 0.0, 0.0)


def test_confidences_are_looked_at_as_given_and_as_the_model_has_them():
    line = Calibration(slope=1.0, offset=1.0)
    answers = [answer(hit=True, confidence=line.apply(0.5))] * 3 + [answer(hit=False, confidence=line.apply(0.5))]
    # Where several things are asked for, the confidence is that of the first point alone.
    several = answer(boxes=(PLACE, PLACE), points=(Point(0.5, 0.5),) * 2, confidence=0.9)
    found = calibration_of([*answers, answer(status="none"), several], line.undo)
    assert found["n"] == 4
    assert found["own"]["ece"] == pytest.approx(0.25)
    assert found["given"]["ece"] == pytest.approx(abs(0.75 - line.apply(0.5)))
    at = {row["min_confidence"]: row for row in found["coverage"]}
    assert (at[0.7]["answered"], at[0.7]["share"]) == (1.0, 0.75)
    assert (at[0.8]["answered"], at[0.8]["share"]) == (0.0, None)
    assert calibration_of([answer()], None) is None


def test_the_worst_are_the_surest_wrong_ones_one_per_screen():
    answers = [
        answer(hit=False, confidence=0.2, screen=1),
        answer(hit=False, confidence=0.9, screen=2),
        answer(hit=False, confidence=0.8, screen=2),
        answer(hit=True, confidence=1.0, screen=3),
        answer(hit=False, screen=4, section="phone"),
    ]
    assert [(one.case.screen, one.confidence) for one in worst(answers)] == [(2, 0.9), (1, 0.2), (4, None)]
    assert len(worst(answers, 1)) == 2


# --- A whole run --------------------------------------------------------------------------------------------------


def test_a_run_of_a_model_with_known_hits_has_a_known_table(told, tmp_path):
    suite = run_suite(told, sets=[SMALL, ABSENT], episodes=0)
    rows = {(row["model"], row["set"], row["category"]): row for row in suite.figures["hits"]}
    mine, truth = (rows[name, "desktop small", ALL] for name in ("told", "oracle"))
    assert mine["n"] == truth["n"] == truth["right"] > 4
    assert mine["right"] == (mine["n"] + 1) // 2
    summed = rows["told", "desktop small, all of these", ALL]
    assert (summed["n"], summed["right"], summed["sum"]) == (mine["n"], mine["right"], True)
    refused = {(row["model"], row["refusing"]): row for row in suite.figures["refusals"]}
    assert refused["told", "reported absent"]["f1"] == 1.0
    assert refused["random", "reported absent"]["recall"]["share"] == 0.0
    confidence = suite.figures["calibration"]
    # 0.75 and 0.25 are right always and never; undone, at slope 2, the model itself was less sure.
    assert confidence["given"]["ece"] == pytest.approx(0.25)
    assert confidence["own"]["ece"] > 0.3
    assert suite.figures["skipped"] == {"MiniWoB++": "skipped by --episodes 0"}


def test_looking_closer_is_measured_on_the_same_questions(told):
    (before,) = ask([told], SMALL)
    told.questions = 0
    (row,) = nano_suite.zoom_rows(told, [SMALL], before, 0.5)
    assert row["without"]["n"] == row["with"]["n"] == len(before)
    assert row["without"]["right"] == (len(before) + 1) // 2
    # Several points are no place to look closer at.
    assert row["looked_closer"] == sum(one.confidence == 0.25 and len(one.points) == 1 for one in before)
    assert (row["won"], row["lost"]) == (row["with"]["right"] - row["without"]["right"], 0)
    assert row["extra_s"] == 0.5


def test_a_model_that_is_always_sure_looks_at_nothing_closer_and_that_takes_no_time(told):
    told.traits = replace(told.traits, min_confidence=0.1)
    figures = run_suite(told, sets=[SMALL], episodes=0).figures
    assert [(row["looked_closer"], row["extra_s"]) for row in figures["zoom"]] == [(0, None)]
    sheet = next(sheet for sheet in sheets_of(figures) if sheet.title.startswith("Zooming in"))
    assert sheet.rows[0][-4:] == ("0", "0", "0", "-")


def test_a_run_is_written_as_json_and_as_one_offline_page(told, tmp_path):
    suite = run_suite(told, sets=[SMALL, ABSENT], episodes=0)
    page = write_suite(tmp_path / "run", suite)
    text = page.read_text()
    assert json.loads((tmp_path / "run" / "suite.json").read_text()) == json.loads(json.dumps(suite.figures))
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "https://" not in text
    assert "<script" not in text
    wrong = sum(not one.hit for one in suite.answers)
    assert text.count("<article>") == len(worst(suite.answers)) <= wrong
    assert text.count("data:image/webp") == text.count("<article>") > 0
    assert text.count("data:image/png") == 1
    for sheet in sheets_of(suite.figures):
        assert sheet.title in text


def test_a_run_without_confidences_says_what_it_leaves_out(monkeypatch, tmp_path):
    monkeypatch.setattr(nano_suite, "measure", lambda model, repeats: [])
    suite = run_suite(CentrePointer(), sets=[SMALL], episodes=0)
    assert suite.figures["calibration"] is None
    assert suite.figures["skipped"]["calibration, zoom"] == "the model reports no confidence"
    write_suite(tmp_path, suite)
    assert not (tmp_path / "reliability.png").exists()


def test_a_model_without_a_threshold_is_not_measured_looking_closer(told):
    told.traits = ModelTraits()
    suite = run_suite(told, sets=[SMALL], episodes=0)
    assert "the checkpoint's profile names no min_confidence" in suite.figures["skipped"]["zoom"]


def test_a_quick_run_has_few_screens(told):
    suite = run_suite(told, sets=[replace(SMALL, screens=40)], episodes=0, quick=True)
    assert {one.case.screen for one in suite.answers} <= {0, 1, 2, 3}
    assert suite.figures["quick"] is True


def test_tables_show_groups_and_categories_with_the_baselines_beside_the_model(told):
    figures = run_suite(told, sets=[SMALL, ABSENT], episodes=0).figures
    sheets = {sheet.title: sheet for sheet in sheets_of(figures)}
    hits = sheets["Hits"]
    assert hits.columns[-3:] == ("random", "centre", "oracle")
    first = hits.rows[0]
    n, right = (figures["hits"][0][key] for key in ("n", "right"))
    assert first[:4] == ("desktop small", "all", str(n), f"{100 * right / n:.1f} %")
    assert first[-1] == "100.0 %"
    assert {row[1] for row in hits.rows} <= {ALL, *GROUPS}
    by_category = sheets["Hit rates by category"]
    assert {row[0] for row in by_category.rows} == {"desktop small, all of these", nano_suite.TOGETHER, "absent"}
    assert {row[1] for row in by_category.rows if row[0] == "absent"} == {MADE_UP, ELSEWHERE}
    counted = sum(int(row[2]) for row in by_category.rows if row[0] == nano_suite.TOGETHER)
    assert counted == n
    glance = sheets["At a glance"]
    assert glance.columns == ("screens", ALL, *GROUPS)
    assert [row[0] for row in glance.rows] == ["desktop small", nano_suite.TOGETHER]
    assert glance.rows[0][1].startswith(f"{100 * right / n:.1f} % (")
    assert glance.rows[0][1].endswith(f"; {n})")
    assert {row[0] for row in sheets["Absent targets"].rows} == {"absent"}


# --- The card -----------------------------------------------------------------------------------------------------


def test_the_card_has_the_runs_own_figures_and_no_others(told, tmp_path):
    figures = run_suite(told, sets=[SMALL, ABSENT], episodes=0).figures
    (tmp_path / "model.safetensors").write_bytes(b"0" * 2_500_000)
    sizes = {
        "vision_config": {"num_hidden_layers": 3, "hidden_size": 128},
        "text_config": {"num_hidden_layers": 5, "hidden_size": 192},
    }
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    path = write_card(tmp_path, figures, parameters=1234567, tokens=400, training="3 steps", note="A note.")
    text = path.read_text()
    assert "| data | practice sheets, small web pages" in text
    for expected in (
        "1,234,567 parameters",
        "3 steps",
        "A note.",
        "2.5 MB",
        "confidence of at least 50%",
        "decoder 5 x 192",
    ):
        assert expected in text
    assert "](reliability.png)" in text
    with PIL.Image.open(tmp_path / "reliability.png") as plot:
        assert plot.size[0] > 300
    for sheet in sheets_of(figures):
        for row in sheet.rows:
            assert f"| {' | '.join(row)} |" in text
    tables = re.findall(r"\d+\.\d %", text)
    printed = {cell for sheet in sheets_of(figures) for row in sheet.rows for cell in row}
    assert all(any(share in cell for cell in printed) for share in tables)
    with pytest.raises(UsageError, match="expected the figures of a full run"):
        write_card(tmp_path, {**figures, "quick": True}, parameters=1, tokens=1, training="")


# --- MiniWoB++ ----------------------------------------------------------------------------------------------------


def test_the_split_follows_its_rule():
    tasks = suite_miniwob.task_lists()
    trained, never = set(tasks["trained"]), set(tasks["never_trained"])
    assert not trained & never
    for task in trained | never:
        assert task.startswith(("click-", "focus-", "grid-"))
        family = re.sub(r"(-\d+|-sequence|-transfer)+$", "", task)
        assert (task in never) == (zlib.crc32(f"miniwob:{family}".encode()) % 2 == 0)


class Page(ToyEnv):
    """The toy env in MiniWoB++'s place."""

    opened: ClassVar[list] = []

    def reset(self, *, seed=None, options=None):
        Page.opened.append((options["task"], seed))
        return super().reset(seed=seed)


def test_tasks_take_turns_with_fixed_seeds_and_the_oracle_solves_them():
    Page.opened.clear()
    played = list(suite_miniwob.play(None, 7, Page))
    lists = suite_miniwob.task_lists()
    for name in suite_miniwob.LISTS:
        mine = [(one.task, one.seed) for one in played if one.list == name]
        assert mine == [(lists[name][n % len(lists[name])], suite_miniwob.SEED + n) for n in range(7)]
        assert set(mine) <= set(Page.opened)
    assert all(one.success for one in played)


def test_miniwob_figures_stand_beside_the_baselines(told):
    figures = run_suite(told, sets=[SMALL], episodes=4, make_env=Page).figures
    rows = {(row["model"], row["list"], row["task"]): row for row in figures["miniwob"]}
    assert rows["oracle", "trained", ALL]["share"] == 1.0
    assert rows["centre", "never_trained", ALL]["n"] == 4
    sheet = next(sheet for sheet in sheets_of(figures) if sheet.title.startswith("MiniWoB"))
    assert sheet.rows[0][:3] == ("trained", "all", "4")
    assert sheet.rows[0][-1] == "100.0 %"


def test_without_a_browser_the_reason_is_told(told):
    def none():
        raise EnvError("web pages need Chromium, which is not on PATH")

    figures = run_suite(told, sets=[SMALL], episodes=2, make_env=none).figures
    assert figures["miniwob"] == []
    assert "need Chromium, which is not on PATH" in figures["skipped"]["MiniWoB++"]
    left_out = next(sheet for sheet in sheets_of(figures) if sheet.title == "Skipped")
    assert any("need Chromium" in why for _, why in left_out.rows)


@needs("chromium", "chromedriver")
def test_pages_are_played_at_the_size_at_which_others_play_them():
    assert suite_miniwob.make_miniwob().screen_size == (160, 210)


@pytest.mark.slow
@needs("chromium", "chromedriver")
def test_real_pages_are_played_in_one_browser_per_list():
    played = list(suite_miniwob.play(None, 2))
    assert [one.task for one in played] == ["click-dialog", "click-dialog-2", "click-button", "click-button-sequence"]
    assert all(one.success for one in played)


# --- Latency and the command --------------------------------------------------------------------------------------


def test_latency_is_of_fresh_pictures_and_leaves_the_threads_as_they_were():
    import torch

    seen = []

    class Watching(CentrePointer):
        def point(self, image, instruction, *, max_points=None):
            seen.append((image.shape[:2], torch.get_num_threads(), zlib.crc32(image.tobytes())))
            return super().point(image, instruction)

    before = torch.get_num_threads()
    rows = measure(Watching(), repeats=2)
    assert torch.get_num_threads() == before
    assert [(row["size"], row["threads"], row["n"]) for row in rows] == [
        ("640x480", 1, 2),
        ("640x480", 2, 2),
        ("1920x1080", 1, 2),
        ("1920x1080", 2, 2),
    ]
    assert {(shape, threads) for shape, threads, _ in seen} == {
        (shape, threads) for shape in ((480, 640), (1080, 1920)) for threads in (1, 2)
    }
    assert len({print_ for *_, print_ in seen}) == len(seen)
    assert all(row["p50_s"] <= row["p95_s"] for row in rows)


def test_the_command_prints_the_tables_and_writes_the_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(nano_suite, "suite_sets", lambda: (SMALL,))
    monkeypatch.setattr(nano_suite, "measure", lambda model, repeats: [])
    out = tmp_path / "suite"
    command = ["eval", "nano-suite", "--model", "centre", "--out", str(out), "--quick", "--episodes", "0"]
    done = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    assert "desktop small" in done.output
    assert "skipped by --episodes 0" in done.output
    assert re.search(r"^ +\d+:\d\d  desktop small$", done.stderr, re.MULTILINE), "a log tells how far it is"
    assert sorted(path.name for path in out.iterdir()) == ["suite.html", "suite.json"]
    assert "nano-suite" in CliRunner().invoke(app, ["eval", "--list"]).output
    (out / "suite.html").unlink()
    (out / "suite.html").mkdir()
    done = CliRunner().invoke(app, command, env={"COLUMNS": "200"})
    assert done.exit_code == 0, "the figures are what was asked for"
    assert "agent: cannot write the page: Is a directory" in done.stderr


def test_figures_that_cannot_be_written_are_named(tmp_path):
    suite = run_suite(CentrePointer(), sets=[SMALL], episodes=0)
    (tmp_path / "suite.json").mkdir()
    with pytest.raises(UsageError, match=r"cannot write the figures .*suite\.json: Is a directory; choose another"):
        write_suite(tmp_path, suite)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ["nano-suite", "--limit", "3", "--data", "x"],
            "nano-suite does not accept --data, --limit; it draws its own screens",
        ),
        (["vqa2", "--quick"], "--quick and --episodes are only for nano-suite"),
        (["nano-suite", "--out", "FILE"], "expected --out to name a folder, got the file"),
    ],
)
def test_the_command_refuses_what_it_does_not_take(command, said, tmp_path, monkeypatch, capsys):
    (tmp_path / "FILE").write_text("x")
    monkeypatch.setattr("sys.argv", ["agent", "eval", *(str(tmp_path / "FILE") if c == "FILE" else c for c in command)])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert said in re.sub(r"\s+", " ", capsys.readouterr().err)
