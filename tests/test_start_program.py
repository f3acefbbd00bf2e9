"""``--start``: a program is waited for until its window is there."""

import sys

import numpy as np
import pytest
from desktop_screen import needs

from molmo_agent.cli import start_program
from molmo_agent.cli.start_program import started
from molmo_agent.envs.desktop.capture import Area
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.errors import EnvError

SLEEP = f"{sys.executable} -c 'import time; time.sleep(30)'"


@pytest.fixture
def capture(monkeypatch):
    """A system other than Linux whose screen changes at a certain capture."""

    class Capture:
        grabs, changes_at, closed = 0, 3, False

        def monitors(self):
            return []

        def grab(self, area):
            self.grabs += 1
            return np.full((8, 8, 3), self.grabs >= self.changes_at, np.uint8)

        def close(self):
            self.closed = True

    screen = Capture()
    monkeypatch.setattr(start_program.sys, "platform", "win32")
    monkeypatch.setattr("molmo_agent.envs.desktop.capture.open_capture", lambda: screen)
    monkeypatch.setattr("molmo_agent.envs.desktop.capture.bounds", lambda monitors: Area(0, 0, 8, 8))
    return screen


def test_without_x11_a_change_of_the_screen_is_the_window(capture):
    with started(SLEEP, window_s=5):
        assert (capture.grabs, capture.closed) == (3, True)


def test_without_a_change_the_program_has_no_window(capture):
    capture.changes_at = 10**6
    with pytest.raises(EnvError, match=r"opened no window within 0\.3 s"), started(SLEEP, window_s=0.3):
        pytest.fail("it has no window")


@needs("Xvfb")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("sleep 30", "'sleep 30' opened no window within 1 s. If it takes longer or needs no window, start it before"),
        ("false", "'false' ended at once with exit code 1"),
        ("no-such-program", "could not start 'no-such-program'.*is it installed?"),
    ],
)
def test_a_program_without_a_window_is_an_env_error(command, message):
    with (
        VirtualDisplay(64, 64, window_manager=None),
        pytest.raises(EnvError, match=message),
        started(command, window_s=1),
    ):
        pytest.fail("it has no window")


@needs("Xvfb")
def test_a_program_that_hands_over_to_a_running_one_needs_no_window(monkeypatch):
    monkeypatch.setattr(start_program, "HANDED_OVER_S", 0.2)
    with VirtualDisplay(64, 64, window_manager=None), started("true"):
        pass


@needs("Xvfb", "openbox", "xcalc")
def test_the_window_of_a_program_is_there_when_the_run_begins():
    from molmo_agent.envs.desktop import x11

    with VirtualDisplay(320, 240), started("xcalc"):
        display = x11.connect()
        titles = [window.title for window in x11.windows(display)]
        display.close()
    assert titles == ["Calculator"]
