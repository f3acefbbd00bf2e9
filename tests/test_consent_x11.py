"""What a person agreed to on a real screen, while its windows, the keyboard or the limits change."""

import pathlib
import sys

import pytest
from consent_runs import click_in_window, command, run
from desktop_screen import Actor, needs, wait_for

from molmo_agent.actions import Click, Done, Key, Type
from molmo_agent.cli.start_program import started
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.geometry import Point

pytest.importorskip("tkinter", reason="the window is drawn with Tk")
pytestmark = needs("Xvfb", "openbox")

SCRIPT = pathlib.Path(__file__).with_name("changing_window.py")
WIDTH, HEIGHT = 640, 480


def at(x, y):
    return Point.from_pixel(x, y, WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def actor():
    with VirtualDisplay(WIDTH, HEIGHT):
        actor = Actor()
        yield actor
        actor.close()


@pytest.fixture
def form(actor, tmp_path):
    """A form, and how runs in it end."""
    (tmp_path / "control").touch()
    (tmp_path / "log").touch()

    class Form:
        def run(self, actions, commands, **options):
            return actor.do(run_with, str(tmp_path), actions, commands, options)

        def log(self):
            lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
            return [line for line in lines if not line.startswith(("did ", "ready"))]

        def do(self, line):
            command(tmp_path, line)

    with started(f"{sys.executable} {SCRIPT} {tmp_path / 'control'} {tmp_path / 'log'}"):
        wait_for(lambda: "ready" in (tmp_path / "log").read_text(), what="the form")
        yield Form()


def run_with(folder, actions, commands, options):
    return run(folder, actions, commands, **options)


# The title bar of openbox is about 20 pixels high.
BUTTON, NAME, AMOUNT = at(140, 90), at(320, 215), at(320, 305)


def test_consent_to_a_button_is_not_consent_to_what_it_says_later(form):
    wrong = []
    for line in ("label Drop", "colour red Keen", "label Keep 9", "move 60 90"):
        form.do("label Keep")
        before = len(form.log())
        ended, refusals, questions = form.run([Click(BUTTON), Done()], {0: [line]})
        if not refusals[0] or refusals[0][0] != "changed" or form.log()[before:] or len(questions) != 1:
            wrong.append((line, ended, refusals, form.log()[before:]))
    assert not wrong


def test_a_dialog_over_the_button_does_not_get_its_click(form):
    form.run([Click(BUTTON), Done()], {0: ["dialog"]})
    assert "clicked Delete all" not in form.log()


@pytest.mark.parametrize(("action", "line"), [(Type("42"), "field Amount"), (Key(("enter",)), "field Amount")])
def test_keys_do_not_follow_the_keyboard_to_another_field_while_a_person_is_asked(form, action, line):
    _, refusals, _ = form.run([Click(NAME), action, Done()], {1: [line]})
    assert refusals[1] == ("changed", "the field at (0.501, 0.449) looks as if it lost the keyboard focus")
    assert form.log() == []


def test_text_goes_to_the_window_that_was_shown_though_another_took_the_keyboard(form):
    ended, _, _ = form.run([Click(NAME), Type("42"), Done()], {1: ["window Other"]})
    assert (ended, form.log()) == ("the policy says: Done", ["Name: 4", "Name: 2"])


def test_a_window_that_takes_the_keyboard_while_the_model_thinks_gets_nothing(form):
    _, refusals, _ = form.run([Click(NAME), Key(("ctrl", "a")), Done()], {1: ["window Other"]}, asks=False)
    assert refusals[1][0] == "changed"
    assert "the keyboard focus went from 'Form' to 'Other'" in refusals[1][1]
    assert form.log() == []


def test_neither_an_answer_nor_a_model_outlasts_the_time_or_the_stop_file(form):
    wrong = []
    ended, refusals, _ = form.run([Click(BUTTON), Done()], {0: ["late"]}, max_seconds=3)
    assert (ended, refusals[0][0]) == ("the limit of 3 seconds is reached", "deadline")
    for action, asks in ((Click(BUTTON), True), (Type("42"), False), (Key(("enter",)), True)):
        ended, _, _ = form.run([action, Done()], {0: ["STOP"]}, asks=asks)
        if ended != "RunStopped: stopped by the kill switch":
            wrong.append((action, asks, "STOP", ended))
    assert (wrong, form.log()) == ([], [])


def test_a_window_that_takes_the_keyboard_in_the_middle_of_a_text_gets_at_most_a_letter_or_two(form):
    text = "a long text that nobody else should read " * 8
    ended, _, _ = form.run([Click(NAME), Type(text), Done()], {1: ["steal"]}, asks=False)
    assert ended.startswith("EnvError: the keyboard focus went from 'Form' to 'Thief' in the middle of a text")
    assert len([line for line in form.log() if line.startswith("Thief")]) < 20


@pytest.mark.parametrize(("left", "top"), [(-150, -30), (440, 200), (-60, 330)])
def test_clicks_in_a_window_that_the_screen_cuts_off_hit_what_is_shown(actor, form, left, top):
    form.do("colour blue Keep")
    form.do(f"move {left} {top}")
    (width, height), pixel = actor.do(click_in_window, "Form", left + 190, top + 70)
    assert (width, height) != (640, 420), "a part of it is not on the screen"
    assert pixel == [0, 0, 255]
    wait_for(form.log, what="the click")
    assert form.log() == ["clicked Keep"]


def test_a_window_that_moved_since_its_capture_is_looked_at_again(form):
    _, refusals, _ = form.run([Click(Point(0.2, 0.2)), Done()], {0: ["move 30 40"]}, window="Form", asks=False)
    assert refusals[0][0] == "changed"
    assert form.log() == []
