"""Real programs that react late, or take the keyboard away: neither text nor Enter goes to the wrong place."""

import pathlib
import sys

import pytest
from desktop_screen import Actor, needs
from reading_policy import run_scripted

from molmo_agent.cli.start_program import started
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay

pytest.importorskip("tkinter", reason="the programs are drawn with Tk")
pytest.importorskip("rapidocr", reason="the text reader is not installed")
pytestmark = [needs("Xvfb", "openbox"), pytest.mark.slow]

SCRIPT = pathlib.Path(__file__).with_name("slow_window.py")
# Where the parts are on a screen of 640 x 480.
PLACES = {
    "Open notes": (0.16, 0.14),
    "Country": (0.13, 0.14),
    "Germany": (0.3, 0.42),
    "City": (0.4, 0.14),
    "the City field": (0.4, 0.14),
    "Remember": (0.09, 0.14),
}


@pytest.fixture(scope="module")
def actor():
    with VirtualDisplay(640, 480):
        actor = Actor()
        yield actor
        actor.close()


@pytest.fixture
def run(actor, tmp_path):
    def run(case, task, seconds=0.0):
        """Return how a run with fixed points and no reader of its own ends, its actions but waits, and the log."""
        log = tmp_path / "log"
        log.touch()
        with started(f"{sys.executable} {SCRIPT} {case} {log} {seconds}"):
            ended, actions = actor.do(run_scripted, task, PLACES)
        return ended.removeprefix("the policy says: "), actions, log.read_text(encoding="utf-8").splitlines()

    return run


@pytest.mark.parametrize("seconds", [0.4, 4.0])
def test_text_waits_for_the_window_that_it_is_for_and_enter_for_the_text(run, seconds):
    ended, _, log = run("late-window", 'click Open notes, type "dear diary", then press Enter', seconds)
    assert ended.startswith("Done: 3 of 3 steps"), log
    assert log[-2:] == ["Notes: dear diary", "Notes ENTER: dear diary"]
    assert not [line for line in log if line.startswith("Launcher")]


def test_text_for_a_window_that_does_not_open_within_the_patience_is_not_typed(run):
    ended, actions, log = run("late-window", 'click Open notes, type "dear diary", then press Enter', 60)
    assert ended == "Give up: could not 'type \"dear diary\"': nothing that takes text opened"
    assert (actions, log) == (["Click", "Done"], [])


@pytest.mark.parametrize("seconds", [1.5, 3.5])
def test_a_list_that_opens_late_is_waited_for_and_its_button_not_clicked_again(run, seconds):
    ended, _, log = run("late-list", "click Country, click Germany", seconds)
    assert (ended, log) == ("Done: 2 of 2 steps carried out", ["toggled", "chose Germany"])


@pytest.mark.parametrize(
    "task",
    [
        'type "Zanzibar" into City, then press Enter',
        'click the City field, type "Zanzibar", then press Enter',
        'click the City field, type "a b c"',
    ],
)
def test_a_dialog_that_takes_the_keyboard_after_the_click_gets_no_text(run, task):
    ended, actions, log = run("stolen-before-text", task)
    assert ended.endswith("the keyboard focus is in another window than the one that was clicked"), log
    assert (actions, log) == (["Click", "Done"], ["Warning shown"])


@pytest.mark.parametrize("seconds", [0.3, 1.2])
def test_a_dialog_that_takes_the_keyboard_after_the_text_gets_no_enter(run, seconds):
    ended, _, log = run("stolen-before-enter", 'type "Zanzibar" into City, then press Enter', seconds)
    # Where it comes only after Enter, it did no harm.
    assert "Give up: could not 'press Enter': another window" in ended or "City ENTER: Zanzibar" in log
    assert "DELETED" not in log
    assert not [line for line in log if line.startswith("Warning: ")]


@pytest.mark.parametrize(
    ("case", "text", "arrives"),
    [
        ("plain", "Zanzibar", True),
        ("plain", "Zanzibar, Pemba and all of the other islands over there", True),
        ("plain", "привет мир", True),
        ("capitals", "Zanzibar", True),
        ("password", "hunter2 hunter", True),
        ("password", "abcdefgh", True),
        ("limit", "Zanzibar", False),
        ("limit", "1234567", False),
        ("read-only", "Zanzibar", False),
    ],
)
def test_enter_follows_only_a_text_that_is_seen_to_have_arrived(run, case, text, arrives):
    ended, actions, log = run(case, f'type "{text}" into City, then press Enter')
    assert ended.startswith("Done: 3 of 3") is arrives, log
    assert any("ENTER" in line for line in log) is arrives
    assert actions == (["Click", "Type", "Key", "Done"] if arrives else ["Click", "Type", "Done"])


@pytest.mark.parametrize("seconds", [0.06, 0.9])
def test_a_tick_that_goes_away_is_no_success(run, seconds):
    ended, _, _ = run("loose-tick", "tick Remember", seconds)
    # Where the screen is looked at late, "no effect"; where it is looked at in between, another reason.
    assert ended.startswith("Give up: ")
    assert "tick Remember" in ended
