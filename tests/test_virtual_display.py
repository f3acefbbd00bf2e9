"""Screens for machines without one: they come up ready, set DISPLAY back, and never outlive their process."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from desktop_screen import needs, wait_for

from molmo_agent.envs.desktop import virtual_display
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay, parse_size
from molmo_agent.errors import EnvError, UsageError


@needs("Xvfb")
def test_a_display_is_ready_and_of_the_size_asked(monkeypatch):
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-9")
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.delenv("XAUTHORITY", raising=False)
    with VirtualDisplay(1234, 567) as display:
        from molmo_agent.envs.desktop import x11

        assert os.environ["DISPLAY"] == display.name != ":987"
        assert "WAYLAND_DISPLAY" not in os.environ
        connection = x11.connect()
        screen = connection.screen()
        assert (screen.width_in_pixels, screen.height_in_pixels) == (1234, 567)
        connection.close()
    assert os.environ["DISPLAY"] == ":987"
    assert os.environ["WAYLAND_DISPLAY"] == "wayland-9"
    assert "XAUTHORITY" not in os.environ
    assert display.name == ""


@needs("Xvfb")
def test_displays_side_by_side_get_names_of_their_own():
    with VirtualDisplay(320, 240, window_manager=None) as one, VirtualDisplay(320, 240, window_manager=None) as two:
        assert one.name != two.name
        assert os.environ["DISPLAY"] == two.name


@needs("Xvfb", "openbox")
def test_a_window_opened_at_once_is_managed_and_shown():
    with VirtualDisplay(640, 480):
        from molmo_agent.envs.desktop import x11

        connection = x11.connect()
        screen = connection.screen()
        window = screen.root.create_window(0, 0, 100, 100, 0, screen.root_depth)
        window.set_wm_name("Early bird")
        window.map()
        connection.flush()
        wait_for(lambda: [w.title for w in x11.windows(connection)] == ["Early bird"], "the window")
        connection.close()


@needs("Xvfb", "openbox")
def test_a_window_manager_that_does_not_come_is_reported_and_nothing_is_left(monkeypatch):
    monkeypatch.setattr("molmo_agent.envs.desktop.x11.window_manager_answers", lambda display, timeout_s: False)
    display = VirtualDisplay(320, 240, window_manager="openbox")
    with pytest.raises(EnvError, match=r"window manager 'openbox' did not get ready on :.*window_manager=None"):
        display.start()
    assert display._server is None
    display.stop()


@needs("Xvfb")
def test_starting_twice_is_refused():
    with (
        VirtualDisplay(320, 240, window_manager=None) as display,
        pytest.raises(UsageError, match=r"already active as :.*stop it first"),
    ):
        display.start()


@needs("Xvfb")
@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM])
def test_a_display_does_not_outlive_the_process_that_started_it(kind):
    code = (
        "import time; from molmo_agent.envs.desktop.virtual_display import VirtualDisplay; "
        "d = VirtualDisplay(320, 240).start(); "
        "print(d._server.pid, d.name, flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    group, name = process.stdout.readline().split()
    socket = f"/tmp/.X11-unix/X{name[1:]}"
    assert os.path.exists(socket)
    process.send_signal(kind)
    process.wait()
    process.stdout.close()
    wait_for(lambda: not os.path.exists(socket), "the end of the server")
    wait_for(lambda: not _group_runs(int(group)), "the end of its supervisor")


def _group_runs(group):
    listed = subprocess.run(["ps", "-o", "stat=", "-g", str(group)], capture_output=True, text=True, check=False).stdout
    return any(not state.startswith("Z") for state in listed.split())


def test_without_xvfb_the_line_that_gets_it_is_reported(monkeypatch):
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(EnvError, match="not installed: apt-get install xvfb openbox"):
        VirtualDisplay().start()


def test_a_server_that_fails_to_start_is_quoted(monkeypatch, tmp_path):
    program = tmp_path / "Xvfb"
    program.write_text("#!/bin/sh\necho 'no room for a screen' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    begin = time.monotonic()
    with pytest.raises(EnvError, match="did not start a 1280x800x24 screen: no room for a screen"):
        VirtualDisplay().start()
    assert time.monotonic() - begin < 30


def test_a_server_that_says_nothing_is_given_up(monkeypatch, tmp_path):
    program = tmp_path / "Xvfb"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(EnvError, match=r"did not become ready within 0\.3 s"):
        VirtualDisplay().start(timeout_s=0.3)


@pytest.mark.parametrize(
    ("text", "size"), [("1280x800", (1280, 800)), (" 640 X 480 ", (640, 480)), ("64×64", (64, 64))]
)
def test_a_size_is_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "1280", "1280x", "-5x80", "axb", "1280x800x24"])
def test_what_is_no_size_is_reported(text):
    with pytest.raises(UsageError, match="expected a screen size such as 1280x800, got"):
        parse_size(text)


@pytest.mark.parametrize("size", [(0, 800), (1280, 99999)])
def test_a_size_that_no_screen_has_is_reported(size):
    with pytest.raises(UsageError, match="16 to 16384 pixels on a side"):
        VirtualDisplay(*size)
    with pytest.raises(UsageError, match="16 to 16384 pixels on a side"):
        parse_size(f"{size[0]}x{size[1]}")


def test_a_depth_that_cannot_be_captured_is_reported():
    with pytest.raises(UsageError, match="depth must be 24 or 30"):
        VirtualDisplay(depth=8)


def test_the_module_loads_without_xlib():
    assert not hasattr(virtual_display, "x11")


@pytest.mark.slow
@needs("Xvfb")
def test_a_small_model_says_what_it_is_good_for_before_it_acts_on_a_real_desktop(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "molmo_agent",
            "run",
            "--model",
            "nano",
            "--virtual-display",
            "640x480",
            "--task",
            'click "Save"',
            "--json",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=280,
    )
    assert "nano is the embedded model, good for trying things out" in " ".join(done.stderr.split())
    assert all(json.loads(line) for line in done.stdout.splitlines())


def test_one_process_acts_on_one_display_after_another():
    script = """
from molmo_agent.actions import Move
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.geometry import Point

for size in ((320, 240), (400, 300)):
    with VirtualDisplay(*size):
        env = Desktop()
        env.reset()
        env.step(Move(Point(0.5, 0.5)))
        print(env._input.position())
        env.close()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=280)
    assert done.stdout.split("\n")[:2] == ["(160, 120)", "(200, 150)"], done.stderr
