"""Runs on a real screen with programs that react late or not at all: success is claimed only where it was seen."""

import pathlib
import sys

import pytest
from desktop_screen import Actor, needs
from reading_policy import run_on_screen

from molmo_agent.cli.start_program import started
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay

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


@pytest.mark.parametrize("verifies", [True, False], ids=["with_a_reader", "without"])
def test_text_that_a_field_swallows_is_no_success(actor, verifies):
    ended, steps = run(actor, "deaf-field", 'type "Zanzibar" into City', beside=True, verifies=verifies)
    assert ended.startswith("the policy says: Give up: 'type \"Zanzibar\" into City' had no effect: "), steps
    assert [action for action, _ in steps if action != "Wait"] == ["Click", "Type", "Done"]


def test_text_that_arrives_is_a_success(actor):
    ended, steps = run(actor, "good-field", 'type "Zanzibar" into City', beside=True, verifies=True)
    assert ended == "the policy says: Done: 2 of 2 steps carried out", steps


def test_a_tick_that_does_not_stay_is_no_success(actor):
    ended, steps = run(actor, "loose-tick", "tick Remember")
    assert ended == "the policy says: Give up: 'tick Remember' had no effect: nothing on the screen changed", steps
