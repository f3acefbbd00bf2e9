"""What goes wrong with X servers, and the messages for it; with stand-ins where no server does it on demand."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
from desktop_screen import EventWindow, needs

from molmo_agent.envs.desktop.capture import Area, open_capture
from molmo_agent.envs.desktop.env import open_input
from molmo_agent.envs.desktop.input import load_pyautogui
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.errors import EnvError

pytest.importorskip("Xlib", reason="Xlib comes with pyautogui on Linux only")

from molmo_agent.envs.desktop import x11

needs_x = needs("Xvfb")


class FakeServer:
    def __init__(self, *extensions):
        self.extensions = extensions
        self.closed = False
        # The connection below it waits for nothing.
        self.display = SimpleNamespace(socket_error=None, send_active=0, recv_active=0)

    def list_extensions(self):
        return self.extensions

    def close(self):
        self.closed = True


def test_xwayland_is_refused_because_it_shows_only_a_part_of_the_screen(monkeypatch):
    server = FakeServer("XTEST", "XWAYLAND")
    monkeypatch.setattr("Xlib.display.Display", lambda name: server)
    with pytest.raises(EnvError, match=r"':1' is Xwayland: captures of it are empty.*Xorg session"):
        x11.connect(":1")
    assert server.closed


def test_a_missing_authority_file_is_replaced_by_an_empty_one(tmp_path):
    environ = {"XAUTHORITY": str(tmp_path / "none")}
    x11.allow_missing_xauthority(environ)
    assert environ == {"XAUTHORITY": os.devnull}
    (tmp_path / "some").touch()
    environ = {"XAUTHORITY": str(tmp_path / "some")}
    x11.allow_missing_xauthority(environ)
    assert environ == {"XAUTHORITY": str(tmp_path / "some")}


@needs_x
def test_connecting_prints_nothing(capfd):
    with VirtualDisplay(64, 64, window_manager=None):
        x11.connect().close()
    assert capfd.readouterr() == ("", "")


@needs_x
def test_windows_of_a_display_that_is_gone_are_an_env_error():
    with VirtualDisplay(64, 64, window_manager=None):
        display = x11.connect()
    with pytest.raises(EnvError, match="the display is gone"):
        x11.windows(display)
    display.display.socket.close()


@needs_x
def test_a_capture_outside_of_the_screen_is_an_env_error(monkeypatch):
    with VirtualDisplay(64, 64, window_manager=None):
        capture = open_capture()
        with pytest.raises(EnvError, match=r"capture of 50x50 at \(60, 60\) failed"):
            capture.grab(Area(60, 60, 50, 50))
        capture.close()
        capture.close()


def test_a_screen_that_cannot_be_captured_is_an_env_error(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(EnvError, match=r"':987' does not answer.*--virtual-display"):
        open_capture()


def test_input_without_a_display_is_an_env_error(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(EnvError, match="DISPLAY is not set; a virtual one is enough"):
        load_pyautogui()


def test_a_pyautogui_that_cannot_be_imported_is_an_env_error(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":987")
    monkeypatch.setitem(sys.modules, "pyautogui", None)
    with pytest.raises(EnvError, match=r"pyautogui cannot be used here \(ModuleNotFoundError.*agent doctor"):
        load_pyautogui()


@needs_x
def test_input_works_where_tkinter_is_not_installed():
    # mouseinfo, which pyautogui imports, would end the process.
    code = (
        "import sys; sys.modules['tkinter'] = None; from molmo_agent.envs.desktop.env import open_input; "
        "device = open_input(); device.move(7, 9); print(device.position())"
    )
    with VirtualDisplay(64, 64, window_manager=None):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("(7, 9)\n", "")


@needs_x
def test_a_clipboard_that_cannot_be_kept_is_left_alone(monkeypatch):
    from molmo_agent.envs.desktop.x11_keys.clipboard import Pasteboard

    with VirtualDisplay(64, 64, window_manager=None):
        display = x11.connect()
        assert Pasteboard(display).save(), "an empty one is no loss"
        owner = display.screen().root.create_window(0, 0, 1, 1, 0, display.screen().root_depth)
        owner.set_selection_owner(display.intern_atom("CLIPBOARD"), 0)
        display.sync()
        monkeypatch.setenv("PATH", "/nonexistent")
        assert not Pasteboard(display).save()
        assert display.get_selection_owner(display.intern_atom("CLIPBOARD")) == owner
        display.close()


@needs_x
def test_the_focused_program_is_known_by_its_class():
    with VirtualDisplay(640, 480, window_manager=None), EventWindow("XTerm"):
        display = x11.connect()
        assert "xterm" in x11.focused_classes(display)
        display.close()


def test_input_on_a_dead_display_is_an_env_error(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(EnvError, match="':987' does not answer"):
        open_input()
