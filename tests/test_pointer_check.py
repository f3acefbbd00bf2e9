"""`agent doctor --pointer` as people run it: on real X servers, one monitor and two, and input that goes wrong."""

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time

import pytest
from desktop_screen import needs, wait_for
from x_servers import needs_dummy, xorg

from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.envs.pointer_check.marks import SIDE, TkMarks, X11Marks
from molmo_agent.errors import EnvError

AGENT = [sys.executable, "-m", "molmo_agent"]
CHECK = [*AGENT, "doctor", "--pointer"]


def run(*arguments, display=None, wayland=None, **options):
    environ = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")}
    environ |= {"DISPLAY": display} if display else {}
    environ |= {"WAYLAND_DISPLAY": wayland} if wayland else {}
    return subprocess.run(
        [*CHECK, *arguments],
        env=environ,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
        **options,
    )


def pointer(display):
    place = subprocess.run(
        ["xdotool", "getmouselocation"], env={**os.environ, "DISPLAY": display}, capture_output=True, check=True
    ).stdout.decode()
    return tuple(map(int, re.findall(r"[xy]:(\d+)", place)))


def move_pointer(display, x, y):
    subprocess.run(["xdotool", "mousemove", str(x), str(y)], env={**os.environ, "DISPLAY": display}, check=True)


@pytest.fixture(scope="module")
def screen():
    with VirtualDisplay(900, 600) as display:
        yield display.name


@pytest.fixture
def two_monitors(tmp_path):
    """A real X server with monitors of different heights: 800x600, and right of it 640x480."""
    with xorg(tmp_path) as display:
        yield display


@needs("Xvfb", "xdotool")
def test_a_screen_is_proven_and_left_as_it_was(screen):
    move_pointer(screen, 321, 123)
    done = run("--yes", display=screen)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "moves the mouse pointer to nine marks on every monitor, clicks nothing" in " ".join(done.stdout.split())
    assert "ok  monitor 1: 900x600 at (0, 0): all 9 marks were seen in the capture and hit" in done.stdout
    assert pointer(screen) == (321, 123)


@needs("Xvfb", "xdotool")
def test_as_json_there_is_one_object_per_display_and_nothing_else(screen):
    done = run("--yes", "--json", display=screen)
    (line,) = map(json.loads, done.stdout.splitlines())
    assert line == {
        "name": "monitor 1",
        "ok": True,
        "detail": "900x600 at (0, 0): all 9 marks were seen in the capture and hit",
        "remedy": "",
    }


@needs("Xvfb", "xdotool")
def test_the_pointer_is_not_moved_unasked(screen):
    move_pointer(screen, 222, 111)
    done = run(display=screen)
    assert done.returncode == 2
    assert "asks at a terminal and there is none: say --yes" in done.stderr
    for answer in (b"\n", b"n\n", b"\x04"):
        assert at_terminal(screen, answer) == 1
    assert pointer(screen) == (222, 111)
    assert at_terminal(screen, b"y\n") == 0


def at_terminal(display, answer):
    """Run the check at a terminal, answer its question, and return the exit code."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        CHECK, env={**os.environ, "DISPLAY": display}, stdin=theirs, stdout=theirs, stderr=theirs, close_fds=True
    )
    os.close(theirs)
    said = b""
    try:
        while b"Go on?" not in said and select.select([ours], [], [], 60)[0]:
            said += os.read(ours, 1000)
        os.write(ours, answer)
        while process.poll() is None:
            if select.select([ours], [], [], 0.1)[0]:
                os.read(ours, 1000)
    except OSError:
        # The other end of a terminal is closed with its last program.
        process.wait(60)
    finally:
        os.close(ours)
        if process.poll() is None:
            process.kill()
        process.wait(60)
    return process.returncode


@needs("Xvfb", "xdotool")
def test_ctrl_c_puts_the_pointer_back_and_leaves_no_window(screen):
    move_pointer(screen, 333, 222)
    windows = top_windows()
    process = subprocess.Popen(
        [*CHECK, "--yes"],
        env={**os.environ, "DISPLAY": screen},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        # As at a terminal: a program started in the background by a shell ignores it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    end = time.monotonic() + 60
    while pointer(screen) == (333, 222) and process.poll() is None and time.monotonic() < end:
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1].decode()
    if process.returncode == 0:
        pytest.skip("the check had ended before")
    assert process.returncode == 130, said
    assert "agent: stopped" in said
    assert pointer(screen) == (333, 222)
    wait_for(lambda: top_windows() == windows, "the end of the mark")


def top_windows():
    """Return the ids of all windows of the display that DISPLAY names, without a frame or with one."""
    from molmo_agent.envs.desktop import x11

    display = x11.connect()
    try:
        return {window.id for window in display.screen().root.query_tree().children}
    finally:
        display.close()


@needs("Xvfb", "xdotool")
def test_a_pointer_in_a_corner_stops_it_before_it_moves(screen):
    move_pointer(screen, 0, 0)
    done = run("--yes", display=screen)
    move_pointer(screen, 100, 100)
    assert done.returncode == 130
    assert "which is the emergency stop" in done.stderr


@pytest.mark.parametrize("display", [None, ":987"])
def test_without_a_display_the_exit_code_is_3(display):
    done = run("--yes", display=display)
    assert done.returncode == 3
    assert re.search("DISPLAY is not set|':987' does not answer", done.stderr)


def test_on_wayland_it_says_that_nothing_can_be_proven():
    done = run("--yes", wayland="wayland-0")
    assert done.returncode == 3
    assert "on Wayland no program can read where the pointer is" in done.stderr


def test_its_options_go_together():
    for arguments, message in (
        (["doctor", "--yes"], "--env, --serial and --yes go with --pointer"),
        (["doctor", "--pointer", "--serial", "x"], "--serial goes with --env android, got --env desktop"),
        (["doctor", "--pointer", "--env", "web"], "--pointer checks --env desktop or android, got --env web"),
    ):
        done = subprocess.run([*AGENT, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert message in done.stderr


# --- Two monitors, and input that goes wrong --------------------------------------------------------------------------


@needs_dummy
@needs("xdotool")
def test_two_monitors_of_different_heights_are_proven(two_monitors):
    move_pointer(two_monitors, 400, 300)
    done = run("--yes", display=two_monitors)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "ok  monitor 1: 800x600 at (0, 0): all 9 marks" in done.stdout
    assert "ok  monitor 2: 640x480 at (800, 0): all 9 marks" in done.stdout


@needs_dummy
@needs("xdotool", "xinput")
@pytest.mark.parametrize(
    ("matrix", "words"),
    [
        ("1.25 0 0 0 1.25 0 0 0 1", "monitor 1: .*: input is 1.25 times the capture"),
        ("0.5 0 0 0 0.5 0 0 0 1", "monitor 2: .*: input is 0.5 times the capture"),
        ("1 0 30 0 1 -20 0 0 1", r"monitor 1: .*input arrives \(\+30, -20\) beside the mark"),
        ("0 1 0 1 0 0 0 0 1", "monitor 1: .*the axes of input are swapped"),
        ("-1 0 800 0 1 0 0 0 1", "monitor 1: .*input is mirrored left to right"),
    ],
    ids=["larger", "smaller", "shifted", "swapped", "mirrored"],
)
def test_input_that_the_server_itself_maps_elsewhere_is_described(two_monitors, matrix, words):
    """A matrix that belongs to a touch screen or tablet, set for all pointers."""
    move_pointer(two_monitors, 400, 300)
    set_matrix(two_monitors, matrix)
    try:
        done = run("--yes", display=two_monitors)
    finally:
        set_matrix(two_monitors, "1 0 0 0 1 0 0 0 1")
        move_pointer(two_monitors, 400, 300)
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(words, done.stdout), done.stdout
    assert "To do: " in done.stdout


def set_matrix(display, matrix):
    command = ["xinput", "set-prop", "Virtual core XTEST pointer", "Coordinate Transformation Matrix", *matrix.split()]
    subprocess.run(command, env={**os.environ, "DISPLAY": display}, check=True)


# --- The mark ---------------------------------------------------------------------------------------------------------


@needs("Xvfb", "xdotool")
@pytest.mark.parametrize("kind", ["X11Marks", "TkMarks"])
def test_a_mark_is_where_it_was_put_and_sees_the_pointer(screen, kind):
    """In a process of its own: a toolkit connects to one display for ever."""
    if kind == "TkMarks":
        pytest.importorskip("tkinter")
    script = f"""
import subprocess, time
from molmo_agent.envs.desktop.capture import open_capture
from molmo_agent.envs.pointer_check.desktop import _find
from molmo_agent.envs.pointer_check.marks import {kind}
capture, marks = open_capture(), {kind}()
area = capture.monitors()[0].area
for x, y in ((200, 150), (451, 320), (60, 559)):
    marks.show(x, y)
    assert _find(marks, lambda: capture.grab(area)) == (x, y)
    for dx, over in ((300, False), ({SIDE // 2}, True), (-{SIDE // 2}, True), (0, True)):
        subprocess.run(["xdotool", "mousemove", str(x + dx), str(y)], check=True)
        end = time.monotonic() + 60
        while marks.pointer() != ((x + dx, y), over):
            assert time.monotonic() < end, (marks.pointer(), x + dx, y, over)
marks.close()
marks.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "DISPLAY": screen},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_a_python_without_tkinter_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(
        EnvError, match="draws its marks with tkinter, which this Python lacks: install Python with Tcl"
    ):
        TkMarks()


def test_without_a_screen_tkinter_reports_it(monkeypatch):
    pytest.importorskip("tkinter")
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(EnvError, match=r"no window can be opened here .*start from a graphical session"):
        TkMarks()


@needs("Xvfb")
def test_a_server_that_ends_meanwhile_is_an_error(monkeypatch):
    with VirtualDisplay(300, 200, window_manager=None):
        marks = X11Marks()
        marks.show(100, 100)
    with pytest.raises(EnvError, match="the display is gone: the mark cannot be shown"):
        marks.light(True)
    marks.close()
