"""Runs on a real screen with programs that react late or not at all: success is claimed only where it was seen."""

import pathlib
import subprocess
import sys

import pytest
from desktop_screen import Actor, needs
from reading_policy import run_on_screen

from molmo_agent.cli.start_program import started
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.errors import EnvError

pytest.importorskip("tkinter", reason="the programs are drawn with Tk")
pytest.importorskip("rapidocr", reason="the text reader is not installed")
pytestmark = [needs("Xvfb", "openbox"), pytest.mark.slow]

SCRIPT = pathlib.Path(__file__).with_name("unreliable_window.py")


@pytest.fixture(scope="module")
def actor():
    with VirtualDisplay(640, 480):
        actor = Actor()
        yield actor
        actor.close()


def run(actor, case, task, **options):
    with started(f"{sys.executable} {SCRIPT} {case}"):
        return actor.do(run_on_screen, task, *options.values())


def test_a_dialog_that_opens_late_is_waited_for(actor):
    ended, steps = run(actor, "late-dialog", "click Settings, click Apply")
    assert ended == "the policy says: Done: 2 of 2 steps carried out", steps
    assert ("Wait", "changed") in steps or ("Wait", "changed_elsewhere") in steps
    assert [action for action, _ in steps if action != "Wait"] == ["Click", "Click", "Done"]


def test_a_window_that_opens_late_is_waited_for(actor):
    ended, steps = run(actor, "slow-start", "click Settings, click Apply")
    assert ended == "the policy says: Done: 2 of 2 steps carried out", steps


def test_a_highlight_under_the_pointer_is_not_the_effect_of_a_click(actor):
    ended, steps = run(actor, "dead-button", "click Archive")
    assert ended.endswith(
        "Give up: 'click Archive' had no effect: nothing on the screen changed, even after a second click"
    ), steps
    assert [effect for action, effect in steps if action == "Click"] == ["unchanged"] * 2


def test_text_that_a_field_swallows_is_no_success(actor):
    ended, steps = run(actor, "deaf-field", 'type "Zanzibar" into City', beside=True)
    assert ended.startswith("the policy says: Give up: 'type \"Zanzibar\" into City' had no effect: "), steps
    assert [action for action, _ in steps] == ["Click", "Type", "Wait", "Done"]


def test_a_tick_that_does_not_stay_is_no_success(actor):
    ended, steps = run(actor, "loose-tick", "tick Remember")
    assert ended == "the policy says: Give up: 'tick Remember' had no effect: nothing on the screen changed", steps


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sleep 30", "'sleep 30' opened no window within 1 s. If it takes longer or needs no window, start it before"),
        ("false", "'false' ended at once with exit code 1"),
        ("no-such-program", "could not start 'no-such-program'.*is it installed?"),
    ],
)
def test_a_program_without_a_window_is_an_env_error(actor, command, message):
    with pytest.raises(EnvError, match=message), started(command, window_s=1):
        pytest.fail("it has no window")


def test_a_program_that_hands_over_to_a_running_one_needs_no_window(actor, monkeypatch):
    monkeypatch.setattr("molmo_agent.cli.start_program.HANDED_OVER_S", 0.2)
    with started("true"):
        assert subprocess.run(["true"], check=True).returncode == 0
