"""Two clicks at one place are two clicks, and a double click stays one; on paper and in a real program."""

import itertools
import struct
import sys
import time

import pytest
from desktop_fakes import FakeInput, FakeScreen
from desktop_screen import FAST, Actor, needs, program, wait_for

from molmo_agent.actions import Click, Drag, Key, LongPress, Move
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.geometry import Point

HERE, BESIDE, FAR = Point(0.5, 0.5), Point(0.505, 0.5), Point(0.8, 0.5)


class TimedInput(FakeInput):
    """Notes when each press comes, on a system whose double click takes ``double_click`` seconds at most."""

    def __init__(self, double_click):
        super().__init__()
        self.double_click, self.press_times = double_click, []

    def double_click_s(self):
        return self.double_click

    def press(self, button, nth=1):
        self.press_times.append((time.monotonic(), nth))
        super().press(button, nth)


def gaps(*actions, double_click=0.2):
    """Return the seconds between the presses of actions."""
    input = TimedInput(double_click)
    env = Desktop(capture=FakeScreen((0, 0, 800, 600)), input=input, pace=FAST)
    env.reset()
    for action in actions:
        env.step(action)
    times = [when for when, _ in input.press_times]
    return [later - earlier for earlier, later in itertools.pairwise(times)]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Click(HERE), Click(HERE)),
        (Click(HERE), Click(BESIDE)),
        (Click(HERE, count=2), Click(HERE)),
        (Click(HERE), LongPress(HERE, 0.01)),
        (Click(HERE), Drag(HERE, FAR)),
        (Click(HERE, "right"), Click(HERE, "right")),
    ],
)
def test_the_next_press_at_the_same_place_comes_after_the_double_click_time(first, second):
    assert gaps(first, second)[-1] > 0.2


@pytest.mark.parametrize(
    "actions",
    [
        (Click(HERE), Click(FAR)),
        (Click(HERE), Click(HERE, "right")),
        (Click(HERE, count=2),),
        (Click(HERE, count=3),),
        (Click(HERE), Move(FAR), Click(FAR)),
    ],
)
def test_nothing_waits_where_no_double_click_could_come_of_it(actions):
    # Far longer than a loaded machine needs for two presses.
    assert max(gaps(*actions, double_click=30.0)) < 20


def test_what_comes_between_two_clicks_counts_as_waiting():
    input = TimedInput(0.3)
    env = Desktop(capture=FakeScreen((0, 0, 800, 600)), input=input, pace=FAST)
    env.reset()
    env.step(Click(HERE))
    time.sleep(0.5)
    begin = time.monotonic()
    env.step(Key(("enter",)))
    env.step(Click(HERE))
    assert input.press_times[-1][0] - begin < 0.3


# --- A real program ---------------------------------------------------------------------------------------------------

# Reports single and double clicks as the toolkit counts them.
WINDOW = """
import sys, tkinter
root = tkinter.Tk()
root.geometry("640x480+0+0")
def say(what): print(what, flush=True)
root.bind("<Button-1>", lambda event: say("single"))
root.bind("<Double-Button-1>", lambda event: say("double"))
root.after(300, lambda: say("ready"))
root.mainloop()
"""


@needs("Xvfb", "openbox", "xclip")
@pytest.mark.parametrize(
    ("actions", "expected"),
    [
        ([Click(HERE), Click(HERE), Click(HERE)], ["single"] * 3),
        ([Click(HERE, count=2), Click(HERE)], ["single", "double", "single"]),
        ([Click(HERE), Click(HERE, count=2)], ["single", "single", "double"]),
    ],
)
def test_a_toolkit_counts_the_clicks_as_they_were_asked_for(tmp_path, actions, expected):
    pytest.importorskip("tkinter", reason="the program is drawn with Tk")
    log = tmp_path / "log"
    script = tmp_path / "window.py"
    script.write_text(WINDOW)
    with VirtualDisplay(640, 480):
        actor = Actor()
        try:
            with program("sh", "-c", f"exec {sys.executable} {script} > {log}"):
                wait_for(lambda: log.exists() and "ready" in log.read_text(), "the window")
                actor.act({}, *actions)
                wait_for(lambda: log.read_text().count("\n") > len(expected), "the clicks")
        finally:
            actor.close()
    assert log.read_text().split()[1:] == expected


# --- The setting ------------------------------------------------------------------------------------------------------


def settings_data(order, *settings):
    """Return settings as an XSETTINGS manager writes them."""
    data = struct.pack(f"{order}BxxxII", order == ">", 1, len(settings))
    for name, value in settings:
        kind = 0 if isinstance(value, int) else 1 if isinstance(value, bytes) else 2
        padded = name.encode() + b"\0" * (-len(name) % 4)
        data += struct.pack(f"{order}BxH", kind, len(name)) + padded + struct.pack(f"{order}I", 7)
        if kind == 0:
            data += struct.pack(f"{order}i", value)
        elif kind == 1:
            data += struct.pack(f"{order}I", len(value)) + value + b"\0" * (-len(value) % 4)
        else:
            data += struct.pack(f"{order}4H", *value)
    return data


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_settings_of_the_desktop_are_read_in_either_byte_order(order):
    pytest.importorskip("Xlib")
    from molmo_agent.envs.desktop.x11_pointer import parse_xsettings

    written = [("Net/ThemeName", b"Adwaita"), ("Some/Color", (1, 2, 3, 4)), ("Net/DoubleClickTime", 900)]
    data = settings_data(order, *written)
    assert parse_xsettings(data) == {"Net/ThemeName": b"Adwaita", "Net/DoubleClickTime": 900}
    assert parse_xsettings(data[:-2]) == {"Net/ThemeName": b"Adwaita"}
    assert parse_xsettings(b"") == {}


@needs("Xvfb")
@pytest.mark.parametrize(("milliseconds", "seconds"), [(None, 0.5), (250, 0.5), (1200, 1.2)])
def test_a_slower_setting_is_respected_and_a_faster_one_is_not_trusted(milliseconds, seconds):
    pytest.importorskip("Xlib")
    with VirtualDisplay(64, 64, window_manager=None):
        actor = Actor()
        try:
            assert actor.do(_double_click_s, milliseconds) == seconds
        finally:
            actor.close()


def _double_click_s(milliseconds):
    from molmo_agent.envs.desktop import x11
    from molmo_agent.envs.desktop.env import open_input

    display = x11.connect()
    if milliseconds is not None:
        owner = display.screen().root.create_window(0, 0, 1, 1, 0, display.screen().root_depth)
        kind = display.intern_atom("_XSETTINGS_SETTINGS")
        owner.change_property(kind, kind, 8, settings_data("<", ("Net/DoubleClickTime", milliseconds)))
        owner.set_selection_owner(display.intern_atom("_XSETTINGS_S0"), 0)
        display.sync()
    return open_input(display).double_click_s()
