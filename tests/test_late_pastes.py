"""A program that gets to a paste late, when the run has given up on it, never gets what the person had copied."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time
from unittest import mock

import pytest
from desktop_screen import FAST, PATIENCE_S, act, clipboard, needs, program, set_clipboard, wait_for, wait_for_focus

from molmo_agent.actions import Type
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.errors import ActionRefused

pytest.importorskip("Xlib", reason="Xlib comes with pyautogui on Linux only")

from molmo_agent.envs.desktop import x11
from molmo_agent.envs.desktop.x11_keys import clipboard as x11_clipboard
from molmo_agent.envs.desktop.x11_keys.clipboard import Pasteboard, Taken
from molmo_agent.envs.desktop.x11_keys.clipboard_keeper import contents_of

pytestmark = needs("Xvfb", "openbox", "xdotool", "xclip")
pytest_plugins = ("actor_fixtures",)

OLD = "copied elsewhere – 4711"
EVERYTHING = {"pace": FAST}
# A field that can be told to be busy; busy programs answer no ping and carry out their keys afterwards.
FIELD = """
import os, sys, time, tkinter
log, busy, deaf = sys.argv[1], sys.argv[2], sys.argv[3] == "deaf"
root = tkinter.Tk(); root.title("Late"); root.geometry("400x200")
field = tkinter.Entry(root); field.pack(expand=True, fill="both"); field.focus_force()
def paste(event):
    # The window goes on to respond while what pastes is busy, as in a browser.
    root.after(100, wait); return "break"
def wait():
    if os.path.exists(busy):
        root.after(50, wait)
    else:
        field.event_generate("<<Late>>")
def insert(event):
    try:
        field.insert("insert", root.clipboard_get(type="UTF8_STRING"))
    except tkinter.TclError:
        field.insert("insert", "<nothing>")
if deaf:
    field.bind("<Control-v>", paste)
    field.bind("<<Late>>", insert)
def save():
    open(log, "w", encoding="utf-8").write(field.get()); root.after(50, save)
root.after(300, save); root.mainloop()
"""


@pytest.fixture(scope="module")
def screen():
    with VirtualDisplay(640, 480) as display:
        yield display


class Field:
    """A real program with one field."""

    def __init__(self, folder: pathlib.Path, *, deaf: bool) -> None:
        pytest.importorskip("tkinter", reason="the program is drawn with Tk")
        self.log, self.busy = folder / "typed", folder / "busy"
        script = folder / "field.py"
        script.write_text(FIELD)
        self.command = [sys.executable, str(script), str(self.log), str(self.busy), "deaf" if deaf else "quick"]

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8") if self.log.exists() else ""

    def pid(self) -> int:
        found = subprocess.run(["pgrep", "-f", str(self.log)], capture_output=True, text=True, check=True)
        return int(found.stdout.split()[0])


@contextlib.contextmanager
def field(folder, *, deaf):
    window = Field(folder, deaf=deaf)
    with program(*window.command):
        wait_for(lambda: window.log.exists(), "the window")
        wait_for_focus("Late")
        yield window


def type_impatiently(*texts):
    with mock.patch.multiple(x11_clipboard, BUSY_S=1.5, _UNKNOWN_S=1.0, _TAKE_S=0.5):
        act(EVERYTHING, *map(Type, texts))


@pytest.mark.parametrize("text", ["naïve (é)", "日本語", "tr0ub4dor – ü"])
def test_a_program_that_was_stopped_pastes_nothing_when_it_goes_on_and_the_next_text_once(
    actor, screen, tmp_path, text
):
    set_clipboard(OLD.encode())
    with field(tmp_path, deaf=False) as window:
        number = window.pid()
        os.kill(number, signal.SIGSTOP)
        try:
            with pytest.raises(ActionRefused, match="could not be pasted: the focused program did not read the text"):
                actor.do(type_impatiently, text)
            assert clipboard() == OLD, "other programs get it"
        finally:
            os.kill(number, signal.SIGCONT)
        time.sleep(1.0)
        assert window.text() == ""
        actor.do(type_impatiently, "ñ日")
        wait_for(lambda: window.text() == "ñ日", "the next text alone")
    wait_for(lambda: clipboard() == OLD, "what was copied")


def test_a_program_that_pastes_late_gets_nothing_while_others_get_what_was_copied(actor, screen, tmp_path):
    set_clipboard(OLD.encode())
    with field(tmp_path, deaf=True) as window:
        window.busy.touch()
        with pytest.raises(ActionRefused, match="could not be pasted: the focused program did not read"):
            actor.do(type_impatiently, "日本語")
        assert clipboard() == OLD, "another program gets it"
        window.busy.unlink()
        wait_for(lambda: window.text() != "", "the late paste")
        assert window.text() == "<nothing>"
    wait_for(lambda: clipboard() == OLD, "what was copied")


def test_what_is_copied_after_a_failed_paste_replaces_what_was_kept(actor, screen, tmp_path):
    set_clipboard(OLD.encode())
    with field(tmp_path, deaf=True) as window:
        window.busy.touch()
        with pytest.raises(ActionRefused):
            actor.do(type_impatiently, "日本語")
        keepers = ["pgrep", "-f", "clipboard_keeper"]
        mine = subprocess.run(keepers, capture_output=True, text=True, check=False).stdout.split()
        set_clipboard(b"copied later")
        assert clipboard() == "copied later"
        wait_for(
            lambda: (
                not (
                    set(mine) & set(subprocess.run(keepers, capture_output=True, text=True, check=False).stdout.split())
                )
                or len(mine) > 1
            ),
            "the end of the process that kept the old content",
        )


def test_a_picture_and_an_empty_clipboard_are_kept_as_well(actor, screen, tmp_path):
    picture = bytes(range(256)) * 20
    set_clipboard(picture, "image/png")
    command = ["xclip", "-selection", "clipboard", "-o", "-t", "image/png"]
    with field(tmp_path, deaf=True) as window:
        window.busy.touch()
        with pytest.raises(ActionRefused):
            actor.do(type_impatiently, "日本語")
        assert subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE_S).stdout == picture


OTHER_READER = """
import time, Xlib.display
display = Xlib.display.Display()
window = display.screen().root.create_window(0, 0, 1, 1, 0, display.screen().root_depth)
clipboard, text = display.intern_atom("CLIPBOARD"), display.intern_atom("UTF8_STRING")
time.sleep(float(__import__("sys").argv[1]))
for _ in range(200):
    window.convert_selection(clipboard, text, text, 0); display.flush(); time.sleep(0.05)
"""


def test_a_clipboard_manager_that_reads_in_place_of_the_program_is_no_success(screen, tmp_path):
    display = x11.connect()
    with (
        field(tmp_path, deaf=True) as window,
        mock.patch.multiple(x11_clipboard, _TAKE_S=2.0, _UNKNOWN_S=3.0, BUSY_S=3.0),
    ):
        window.busy.touch()
        board = Pasteboard(display)
        assert board.save()
        board.offer("secret")
        assert not board._watchers
        with program(sys.executable, "-c", OTHER_READER, "0"):
            deadline = time.monotonic() + PATIENCE_S
            while not board._readers:
                assert time.monotonic() < deadline, "the manager reads nothing"
                board._serve(0.05)
            board.start_wait()
            while (taken := board.poll()) is None:
                pass
            board.close(board.suspects())
    display.close()
    assert taken is Taken.OTHER


def test_the_text_is_marked_as_a_password_and_is_gone_afterwards(screen):
    display = x11.connect()
    set_clipboard(b"")
    board = Pasteboard(display)
    board.save()
    board.offer("tr0ub4dor")
    command = ["xclip", "-selection", "clipboard", "-o", "-t"]
    hint = subprocess.Popen([*command, "x-kde-passwordManagerHint"], stdout=subprocess.PIPE)
    while hint.poll() is None:
        board._serve(0.05)
    assert hint.stdout.read() == b"secret"
    hint.stdout.close()
    board.close()
    text = subprocess.run([*command, "UTF8_STRING"], capture_output=True, check=False, timeout=PATIENCE_S)
    assert b"tr0ub4dor" not in text.stdout
    display.close()


@pytest.mark.parametrize(
    ("kind", "data", "formats"),
    [
        ("UTF8_STRING", "ä".encode(), {"UTF8_STRING": "ä".encode(), "STRING": b"\xe4"}),
        ("STRING", b"\xe4", {"text/plain;charset=utf-8": "ä".encode(), "STRING": b"\xe4"}),
        ("UTF8_STRING", "日".encode(), {"TEXT": "日".encode()}),
        ("image/png", b"\x89PNG", {"image/png": b"\x89PNG"}),
    ],
)
def test_text_is_kept_in_every_format_of_text_and_other_content_in_its_own(kind, data, formats):
    contents = contents_of(kind, data)
    assert {name: contents[name][1] for name in formats} == formats
    assert ("STRING" in contents) is (kind != "image/png" and data != "日".encode())
