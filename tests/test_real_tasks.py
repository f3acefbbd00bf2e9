"""Tasks on real programs: the perfect pointer, the audit, the verdicts, and three tasks that are really done."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from molmo_agent.actions import Done
from molmo_agent.cli.app import app
from molmo_agent.episode import LabelledPoint, PointResult, Step, Task, Trajectory
from molmo_agent.errors import EnvError, RunStopped, UnknownNameError, UsageError
from molmo_agent.evaluation.real_tasks import run, tasks
from molmo_agent.evaluation.real_tasks import session as session_module
from molmo_agent.evaluation.real_tasks.pointers import AtspiPointer, PointAudit, find_element
from molmo_agent.evaluation.real_tasks.run import Outcome, run_in_process, run_tasks, runnable, summary_of
from molmo_agent.evaluation.real_tasks.session import Session, missing_tools
from molmo_agent.evaluation.real_tasks.tasks import TASKS, find_tasks
from molmo_agent.geometry import Point
from molmo_agent.policies.instructions.splitter import split_instruction

SIZE = (1000, 500)
MISSING = missing_tools() if sys.platform.startswith("linux") else ["Linux"]


def node(name: str, role: str, box: list[int], *states: str, label: str = "", text: str = "") -> dict:  # type: ignore[type-arg]
    return {"name": name, "role": role, "box": box, "states": ["sensitive", *states], "label": label, "text": text}


def find(nodes: list, instruction: str, **aliases: str) -> tuple[float, float] | None:  # type: ignore[type-arg]
    box = find_element(nodes, instruction, SIZE, aliases)
    return box and (box.center.x * SIZE[0], box.center.y * SIZE[1])


MAIN = [
    node("Letter", "frame", [0, 0, 900, 400], "active"),
    node("File", "menu", [0, 20, 50, 20]),
    node("Extract", "push button", [100, 20, 50, 20]),
    node("Name", "label", [0, 100, 50, 20]),
    node("", "text", [60, 100, 100, 20], label="Name:"),
    node("multiply", "push button", [300, 100, 20, 20]),
]


@pytest.mark.parametrize(
    ("instruction", "place"),
    [
        ("File", (25, 30)),
        ("the File menu", (25, 30)),
        ('"Extract"', (125, 30)),
        ("Where is Extract", (125, 30)),
        ("the Name field", (110, 110)),
        ("Name", (110, 110)),
        ("x", (310, 110)),
        ("Missing", None),
        ("the Extract checkbox", None),
    ],
)
def test_an_element_is_found_by_the_name_that_people_read(instruction: str, place: tuple[float, float] | None) -> None:
    assert find(MAIN, instruction, x="multiply") == (place and pytest.approx(place))


def test_an_open_menu_comes_before_the_window_and_a_dialog_before_what_it_covers() -> None:
    item = node("Extract", "menu item", [0, 60, 50, 20])
    assert find([MAIN[0], item, *MAIN[1:]], "Extract") == (25, 70)
    behind = [{**MAIN[0], "states": ["sensitive"]}, *MAIN[1:]]
    dialog = [
        node("Extract files", "dialog", [400, 200, 100, 100], "active"),
        node("Extract...", "push button", [410, 210, 20, 20]),
    ]
    assert find([*behind, *dialog], "Extract") == (420, 220)
    assert find([*dialog, *behind], "Extract") == (420, 220)


def test_what_is_disabled_or_off_the_screen_is_not_found() -> None:
    disabled = {**node("Save", "push button", [0, 0, 20, 20]), "states": []}
    assert find([disabled, node("Save", "push button", [-2147483648, 0, 20, 20])], "Save") is None
    assert find([node("Save", "push button", [995, 0, 20, 20])], "Save") is None


class Tree:
    """A session with a fixed tree."""

    size = SIZE

    def tree(self) -> list:  # type: ignore[type-arg]
        """Return the tree."""
        return MAIN


class Fixed:
    """Answers every question alike."""

    name = "fixed"

    def __init__(self, result: PointResult) -> None:
        self.result = result

    def point_batch(self, images, instructions) -> list[PointResult]:  # type: ignore[no-untyped-def]
        """Return the answer for each."""
        return [self.result for _ in instructions]


def test_the_audit_passes_answers_on_and_notes_misses() -> None:
    oracle = AtspiPointer(Tree())  # type: ignore[arg-type]
    image = np.zeros((500, 1000, 3), np.uint8)
    assert oracle.point(image, "Nothing").status == "none"
    right = oracle.point(image, "File")
    for result, misses in (
        (right, []),
        (
            PointResult(status="ok", reply="?", points=(LabelledPoint(Point(0.9, 0.9)),)),
            ["'File': pointed at (0.90, 0.90), and it is at (0.03, 0.06)"],
        ),
        (PointResult(status="none", reply="?"), ["'File': answered none, and it is there"]),
    ):
        audit = PointAudit(Fixed(result), oracle)  # type: ignore[arg-type]
        assert audit.point(image, "File") == result
        assert audit.point(image, "Nothing") == result
        assert audit.misses == misses


def test_verdicts_say_what_is_the_case_instead(tmp_path: Path) -> None:
    (tmp_path / "Notes").mkdir()
    (tmp_path / "Notes" / "a.txt").write_text("hello")
    session = SimpleNamespace(home=tmp_path, titles=lambda: ["a.txt - editor"], tree=lambda: [{"text": "468"}])
    for verdict, reason in (
        (tasks.file_has("Notes/a.txt", "hello"), ""),
        (tasks.file_has("Notes/a.txt", "bye"), "Notes/a.txt holds 'hello'"),
        (tasks.file_has("b.txt", "bye"), "there is no file b.txt"),
        (tasks.file_below(".", "a.txt", "hello"), ""),
        (tasks.file_below(".", "a.txt", "bye"), "a.txt holds 'hello'"),
        (tasks.file_below("Notes", "b.txt", "bye"), "there is no file b.txt in Notes"),
        (tasks.folder_exists("Notes"), ""),
        (tasks.folder_exists("Other"), "there is no folder Other"),
        (tasks.title_has("a.txt"), ""),
        (tasks.title_has("b.txt"), "the windows are ['a.txt - editor']"),
        (tasks.tree_shows("468"), ""),
        (tasks.tree_shows("78"), "no element shows '78'"),
    ):
        assert verdict(session) == reason  # type: ignore[arg-type]


def test_every_task_is_in_the_grammar_and_has_a_name_of_its_own() -> None:
    assert len({task.name for task in TASKS}) == len(TASKS) >= 12
    for task in TASKS:
        assert split_instruction(task.instruction), task.name


def test_tasks_are_chosen_by_name() -> None:
    assert [task.name for task in find_tasks("gedit-save, zim-new-page")] == ["gedit-save", "zim-new-page"]
    with pytest.raises(UnknownNameError, match="unknown task 'gedit-safe': did you mean gedit-save"):
        find_tasks("gedit-safe")


def outcome(name: str, *, achieved: bool, exit_code: int) -> Outcome:
    return Outcome(task=name, achieved=achieved, exit_code=exit_code, seconds=1.0, reason="why", first_miss="")


def test_a_claim_without_an_effect_is_counted_apart() -> None:
    outcomes = [
        outcome("a", achieved=True, exit_code=0),
        outcome("b", achieved=False, exit_code=0),
        outcome("c", achieved=False, exit_code=1),
    ]
    summary = summary_of("m", outcomes)
    assert (summary["tasks"], summary["achieved"], summary["failed_with_exit_0"]) == (3, 1, 1)


def test_only_an_explicit_claim_of_success_is_one() -> None:
    def trajectory(*steps: Step) -> Trajectory:
        return Trajectory(Task("x"), steps, None, "over")

    assert not run._claims_success(trajectory())
    for success in (True, False):
        step = SimpleNamespace(action=Done(success))
        assert run._claims_success(trajectory(step)) is success  # type: ignore[arg-type]
    assert run._reason("no file", trajectory(), claimed=False) == "over (no file)"
    assert run._reason("no file", trajectory(), claimed=True) == run._reason("no file", None, False) == "no file"


@pytest.mark.parametrize(
    ("stdout", "error", "message"),
    [
        ('{"usage": "unknown model"}', UsageError, "unknown model"),
        ('{"stopped": "stopped by the user"}', RunStopped, "stopped by the user"),
    ],
)
def test_errors_of_the_process_are_raised_here(
    stdout: str, error: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = subprocess.CompletedProcess([], 0, stdout=f"noise\n{stdout}\n", stderr="")
    monkeypatch.setattr(subprocess, "run", lambda *args, **more: done)
    with pytest.raises(error, match=message):
        run_in_process(TASKS[0], "nano", Path("x"))


def test_a_process_that_crashes_or_hangs_fails_its_task_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = subprocess.CompletedProcess([], -11, stdout="", stderr="segmentation fault")
    monkeypatch.setattr(subprocess, "run", lambda *args, **more: done)
    (one,) = run_tasks(TASKS[:1], "nano", tmp_path / "out")
    assert (one.exit_code, one.achieved, one.reason) == (3, False, "the process ended with -11: segmentation fault")
    assert json.loads((tmp_path / "out" / "results.json").read_text())["outcomes"][0]["task"] == TASKS[0].name

    def hang(*args: object, **more: object) -> None:
        raise subprocess.TimeoutExpired("x", 1)

    monkeypatch.setattr(subprocess, "run", hang)
    assert run_in_process(TASKS[0], "nano", tmp_path).reason == "it did not end within 1200 s"


def test_results_that_cannot_be_written_are_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run, "run_in_process", lambda *args, **more: outcome("a", achieved=True, exit_code=0))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write .*results\.json: .*; choose another --out"):
        run_tasks(TASKS[:1], "nano", tmp_path / "file")


def test_a_machine_without_the_tools_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "missing_tools", lambda: ["Xvfb"])
    with pytest.raises(EnvError, match="real tasks need Xvfb, which this machine lacks: apt-get install xvfb"):
        runnable(TASKS)


def run_eval(*arguments: str):  # type: ignore[no-untyped-def]
    return CliRunner().invoke(app, ["eval", "real-tasks", *arguments], env={"COLUMNS": "160", "NO_COLOR": "1"})


def test_missing_programs_are_named_with_the_line_that_installs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(run, "missing_tools", list)
    monkeypatch.setattr(run.shutil, "which", lambda name: None if name in ("gedit", "zim") else f"/usr/bin/{name}")
    outcomes = {
        "mousepad-save-as": outcome("mousepad-save-as", achieved=True, exit_code=0),
        "caja-new-folder": outcome("caja-new-folder", achieved=False, exit_code=0),
    }
    monkeypatch.setattr(run, "run_in_process", lambda task, *args, **more: outcomes[task.name])
    names = "mousepad-save-as,gedit-save,zim-new-page,caja-new-folder"
    done = run_eval("--only", names, "--out", str(tmp_path / "out"))
    assert json.loads((tmp_path / "out" / "results.json").read_text())["model"] == "auto"
    assert done.exit_code == 0, done.output
    assert "skipped: gedit-save, zim-new-page; to run them: apt-get install gedit zim" in done.output
    assert "1 of 2 achieved; failed with exit code 0: 1" in done.output
    none = run_eval("--only", "gedit-save", "--out", str(tmp_path / "other"))
    assert isinstance(none.exception, UsageError)
    assert str(none.exception) == "no program of these tasks is installed: apt-get install gedit"


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
@pytest.mark.parametrize("name", ["mousepad-save-as", "calculator-multiply", "chromium-form"])
def test_a_perfect_pointer_does_the_task(name: str, tmp_path: Path) -> None:
    (task,) = find_tasks(name)
    if not shutil.which(task.command.split()[0]):
        pytest.skip(f"{task.package} is not installed")
    result = run_in_process(task, "oracle", tmp_path / "record")
    assert (result.achieved, result.exit_code, result.reason) == (True, 0, "")
    assert (tmp_path / "record" / "trajectory.html").exists()


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING) or not shutil.which("mousepad"), reason="needs mousepad and AT-SPI")
def test_pointing_at_the_middle_does_not_do_the_task(tmp_path: Path) -> None:
    result = run_in_process(find_tasks("mousepad-save-as")[0], "centre", tmp_path / "record")
    assert not result.achieved
    assert result.first_miss.startswith("'File': pointed at (0.50, 0.50), and it is at")


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_a_session_reports_programs_that_do_not_start(monkeypatch: pytest.MonkeyPatch) -> None:
    with Session({}) as session:
        with pytest.raises(EnvError, match=r"could not start 'no-such-program': .*; is it installed"):
            session.start("no-such-program")
        session.start("false")
        with pytest.raises(EnvError, match="the program ended at once with exit code 1"):
            session.await_window()
        with pytest.raises(EnvError, match=r"sleep did not answer within 0\.1 s; is the machine overloaded"):
            session.run(["sleep", "3"], timeout_s=0.1)
        session.start("sleep 30")
        with pytest.raises(EnvError, match=r"no window appeared within 0\.1 s"):
            session.await_window(timeout_s=0.1)
        monkeypatch.setattr(session_module, "SYSTEM_PYTHON", "/bin/false")
        with pytest.raises(EnvError, match="the accessibility tree cannot be read"):
            session.tree()
        assert missing_tools() == ["AT-SPI for the system's Python"]
        home = session.home
    assert not home.exists()


@pytest.mark.slow
@pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
def test_a_session_without_a_bus_is_an_error_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "enable", lambda switch: ["false"])
    with pytest.raises(EnvError, match="the accessibility bus does not answer: ; apt-get install"), Session({}):
        pass
    monkeypatch.setattr(session_module, "_BUS", "exit 1")
    with pytest.raises(EnvError, match="the message bus did not start: apt-get install xvfb"), Session({}):
        pass
