"""Something else that moves the pointer: nothing is pressed anywhere but at the point, and never in a denied region."""

import contextlib
import subprocess
import sys

import pytest
from consent_runs import scroll_where_allowed, try_again
from desktop_fakes import FakeInput, FakeScreen
from desktop_screen import FAST, needs

from molmo_agent.actions import Click, Drag, LongPress, Scroll
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.episode import ScreenWindow
from molmo_agent.errors import ActionRefused, EnvError, RunStopped
from molmo_agent.geometry import Box, Point

pytest_plugins = ["actor_fixtures"]
WIDTH, HEIGHT = 640, 480
# Moves the pointer to a place again and again, with so many seconds in between.
MOVER = """
import sys, time
import Xlib.display
display, (x, y, pause_s) = Xlib.display.Display(), sys.argv[1:]
print("moving", flush=True)
while True:
    display.screen().root.warp_pointer(int(x), int(y))
    display.sync()
    time.sleep(float(pause_s))
"""


@pytest.fixture(scope="module")
def screen():
    with VirtualDisplay(WIDTH, HEIGHT) as display:
        yield display


def at(x, y):
    return Point.from_pixel(x, y, WIDTH, HEIGHT)


@contextlib.contextmanager
def something_moves_the_pointer_to(x, y, pause_s):
    command = [sys.executable, "-c", MOVER, str(x), str(y), str(pause_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        while "moving" not in process.stdout.readline():
            pass
        try:
            yield
        finally:
            process.kill()


@needs("Xvfb")
@pytest.mark.parametrize("pause_s", [0, 0.004, 0.02, 0.05])
def test_nothing_is_pressed_where_another_program_moves_the_pointer_to(actor, window, pause_s):
    target, away = (100, 90), (500, 400)
    actions = [Click(at(*target)), Click(at(*target), count=2), LongPress(at(*target), 0.05)] * 4
    with something_moves_the_pointer_to(*away, pause_s):
        errors = actor.do(try_again, actions)
    events = window.events("press", "release")
    assert {(event["x"], event["y"]) for event in events} <= {target}
    presses = [event for event in events if event["type"] == "press"]
    assert len(events) == 2 * len(presses), "every button is up again"
    assert presses or pause_s < 0.05, errors
    assert all("the pointer was sent to (100, 90), but is at" in error for error in errors), errors


@needs("Xvfb")
@pytest.mark.parametrize("pause_s", [0, 0.01])
def test_the_wheel_turns_only_where_it_was_meant_and_a_drag_ends_on_its_way(actor, window, pause_s):
    start, end = (100, 90), (100, 190)
    with something_moves_the_pointer_to(500, 400, pause_s):
        actor.do(try_again, [Scroll("down", 3, at(*start)), Drag(at(*start), at(*end))] * 4)
    for event in window.events("press", "release"):
        assert event["x"] == 100
        assert 90 <= event["y"] <= 190


@needs("Xvfb", "xdotool")
def test_a_scroll_without_a_point_is_checked_where_the_pointer_is(actor, window):
    subprocess.run(["xdotool", "mousemove", "100", "90"], check=True)
    refused, _ = actor.do(scroll_where_allowed, (Box(0, 0, 0.3, 0.3),), None)
    assert refused == ("region", "(0.157, 0.189) is inside the denied region 0,0,0.3,0.3")
    assert window.events("press") == []
    assert actor.do(scroll_where_allowed, (Box(0.5, 0.5, 1, 1),), None) == [None, None]
    assert {(event["x"], event["y"]) for event in window.events("press")} == {(100, 90)}
    refused, _ = actor.do(scroll_where_allowed, (Box(0.5, 0.5, 1, 1),), (500, 400))
    assert refused == ("changed", "the pointer went from (100, 90) to (500, 400) before the scroll")
    assert window.events("press") == []


# --- On paper: what cannot be timed on a real screen ------------------------------------------------------------------


class Moved(FakeInput):
    """An input whose pointer something moves after the call of a number."""

    def __init__(self, after, to=(900, 700)):
        super().__init__()
        self.after, self.to = after, to

    def _note(self, *what):
        super()._note(*what)
        if len(self.sent) == self.after:
            self.at = self.to


def desktop(input):
    env = Desktop(capture=FakeScreen((0, 0, 1920, 1080)), input=input, pace=FAST)
    env.reset()
    return env


MIDDLE, LEFT = Point(0.5, 0.5), Point(0.25, 0.5)


def test_a_pointer_that_was_moved_before_the_press_is_refused_and_between_two_presses_told():
    for action in (Click(MIDDLE), LongPress(MIDDLE), Drag(MIDDLE, LEFT)):
        input = Moved(1)
        with pytest.raises(ActionRefused, match=r"sent to \(960, 540\), but is at \(900, 700\): nothing was clicked"):
            desktop(input).step(action)
        assert not [call for call in input.sent if call[0] == "press"]
    input = Moved(3)
    with pytest.raises(EnvError, match="only 1 of the presses of a multiple click were sent: the pointer was sent to"):
        desktop(input).step(Click(MIDDLE, count=2))
    assert len([call for call in input.sent if call[0] == "press"]) == 1


def test_a_pointer_that_was_moved_while_the_button_is_down_comes_back_before_the_release():
    input = Moved(2)
    desktop(input).step(Click(MIDDLE))
    assert input.sent == [("move", 960, 540), ("press", "left", 1), ("move", 960, 540), ("release", "left", 1)]


def test_a_drag_that_something_moves_away_ends_where_it_was_and_is_told():
    input = Moved(5)
    with pytest.raises(
        EnvError, match=r"moved the pointer to \(900, 700\) in the middle of a drag, which was ended at"
    ):
        desktop(input).step(Drag(MIDDLE, LEFT))
    kinds = [call[0] for call in input.sent]
    assert kinds[-2:] == ["move", "release"]
    assert input.sent[-2][2] == 540, "on the way"
    assert input.held == []


def windows_of(env, *stacks):
    """Let the windows be these, one stack after another."""
    left = list(stacks)
    env.stacked_windows = lambda: left.pop(0) if len(left) > 1 else left[0]
    env.window_name = {1: "Editor", 2: "Delete?", 3: "a tip"}.get
    env._system = env
    env.focused = lambda: 1


EDITOR, DIALOG = ScreenWindow(1, 0, 0, 1920, 1080), ScreenWindow(2, 800, 400, 1100, 700)
TIP = ScreenWindow(3, 900, 500, 1000, 600, popup=True)


def test_the_second_press_of_a_double_click_does_not_reach_what_the_first_one_opened_or_uncovered():
    for before, after, sent in (
        ([EDITOR], [DIALOG, EDITOR], 1),
        ([DIALOG, EDITOR], [EDITOR], 1),
        ([EDITOR], [TIP, EDITOR], 1),
        ([TIP, EDITOR], [EDITOR], 2),
        ([EDITOR], [EDITOR, DIALOG], 2),
        ([EDITOR], [EDITOR], 2),
    ):
        input = FakeInput()
        env = desktop(input)
        windows_of(env, before, after)
        if sent == 1:
            with pytest.raises(EnvError, match=r"only 1 of the presses .* was not before the first press"):
                env.step(Click(MIDDLE, count=2))
        else:
            env.step(Click(MIDDLE, count=2))
        assert len([call for call in input.sent if call[0] == "press"]) == sent, (before, after)


@pytest.mark.parametrize("action", [Click(MIDDLE, count=3), Drag(MIDDLE, LEFT), LongPress(MIDDLE, 0.2)])
def test_a_run_that_is_stopped_in_the_middle_of_a_gesture_releases_the_button(action):
    input = FakeInput()
    env = Desktop(capture=FakeScreen((0, 0, 1920, 1080)), input=input)
    env.reset()

    def stop(holding):
        if [call for call in input.sent if call[0] == "press"]:
            raise RunStopped("stopped by the kill switch")

    env.between_inputs = stop
    with pytest.raises(RunStopped):
        env.step(action)
    assert len([call for call in input.sent if call[0] == "press"]) == 1
    assert input.held == []
