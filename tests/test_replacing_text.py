"""Text that replaces what a field holds, in real programs; the verdict is what the program says that it holds."""

import pathlib
import re
import subprocess
import sys

import pytest
from desktop_screen import FAST, Actor, needs, program, wait_for
from x11_keyboards import layout

from molmo_agent.actions import Click, Type
from molmo_agent.envs.desktop.replacing import keys_that_select, program_in_front
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.errors import ActionRefused
from molmo_agent.geometry import Point

pytestmark = needs("Xvfb", "openbox", "xdotool", "xclip")

WINDOWS = pathlib.Path(__file__).with_name("replacing_windows.py")
SYSTEM_PYTHON = "/usr/bin/python3"
MIDDLE = Point(0.5, 0.5)
OPTIONS = {"pace": FAST}
PAGE = """<!doctype html><meta charset="utf-8"><title>-</title><body style="margin: 0">{}<script>
const field = document.body.firstElementChild;
field.style = "position: fixed; left: 0; top: 0; width: 100vw; height: 100vh; font-size: 30px; box-sizing: border-box";
const held = () => field.value === undefined ? field.textContent : field.value;
setInterval(() => document.title = "[" + held().replace(/\\n/g, "|") + "]", 50);
</script>"""


def missing_module(name: str) -> bool:
    if not pathlib.Path(SYSTEM_PYTHON).exists():
        return True
    return subprocess.run([SYSTEM_PYTHON, "-c", f"import {name}"], capture_output=True, check=False).returncode != 0


@pytest.fixture(scope="module")
def actor():
    with VirtualDisplay(800, 600):
        actor = Actor()
        yield actor
        actor.close()


def titles():
    found = subprocess.run(
        ["xdotool", "search", "--onlyvisible", "--name", "", "getwindowname", "%@"], capture_output=True, check=False
    )
    # Chromium marks the direction of its titles.
    return re.sub("[\u200e\u200f\u202a-\u202e\u2066-\u2069]", "", found.stdout.decode(errors="replace")).splitlines()


def holds(text):
    """Return whether the program with the field says that it holds exactly this text."""
    title = "[" + text.replace("\n", "|") + "]"
    return lambda: title in (other.removesuffix(" - Chromium") for other in titles())


def replaced(actor, command, before, text):
    """Start a program whose title is what its field holds, replace that, and wait until the title says so."""
    with program(*command):
        wait_for(holds(before), f"the window that holds {before!r}; the titles are {titles()}")
        actor.act(OPTIONS, Click(MIDDLE), Type(text, replace=True))
        wait_for(holds(text), f"{text!r} in place of {before!r}; the titles are {titles()}")


def window_of(toolkit, kind, before):
    if toolkit == "tk":
        pytest.importorskip("tkinter", reason="the windows are drawn with Tk")
        return [sys.executable, str(WINDOWS), toolkit, kind, before]
    if missing_module({"gtk": "gi.repository.Gtk", "qt": "PyQt5.QtWidgets"}[toolkit]):
        pytest.skip(f"{toolkit} is not installed for {SYSTEM_PYTHON}")
    return [SYSTEM_PYTHON, str(WINDOWS), toolkit, kind, before]


@pytest.mark.parametrize("toolkit", ["gtk", "qt", "tk"])
@pytest.mark.parametrize(
    ("kind", "before", "text"),
    [
        ("entry", "Lovelace, Countess", "Ada"),
        ("entry", "a text that is far longer than the field is wide, and then some more of it " * 3, "Ida 2"),
        ("entry", "", "Ada"),
        ("entry", "Augusta", ""),
        ("entry", "Ada", "Ada"),
        ("entry", "عبد الله", "سلمى"),
        ("entry", "plain", "Zoë 日本 <b>"),
        ("password", "hunter2", "Tr0ub4dor"),
        ("spin", "1815", "1852"),
        ("area", "three\nlines of\ntext", "one"),
        ("area", "one", "two\nlines"),
    ],
)
def test_a_field_holds_exactly_the_new_text(actor, toolkit, kind, before, text):
    replaced(actor, window_of(toolkit, kind, before), before, text)


@pytest.mark.parametrize(("toolkit", "kind"), [("gtk", "combo"), ("qt", "combo"), ("gtk", "selected")])
def test_a_selection_or_a_list_of_proposals_does_not_matter(actor, toolkit, kind):
    replaced(actor, window_of(toolkit, kind, "Grace Hopper"), "Grace Hopper", "Ada")


@needs("setxkbmap")
@pytest.mark.parametrize(
    ("arguments", "toolkit", "kind", "before", "text"),
    [
        (["ru"], "qt", "entry", "Grace Hopper", "Ада"),
        (["gr"], "gtk", "area", "three\nlines of\ntext", "Ada"),
        (["ru"], "tk", "entry", "Grace", "Ada"),
        (["us,ru"], "qt", "area", "one\ntwo", "Ада"),
    ],
)
def test_a_layout_without_the_letter_of_the_shortcut_does_not_matter(actor, arguments, toolkit, kind, before, text):
    with layout(*arguments, group=1 if "," in arguments[0] else 0):
        replaced(actor, window_of(toolkit, kind, before), before, text)


@needs("chromium")
@pytest.mark.parametrize(
    ("field", "before", "text"),
    [
        ('<input value="Grace Hopper">', "Grace Hopper", "Ada"),
        ('<input type="password" value="hunter2">', "hunter2", "x y"),
        ('<input type="number" value="1906">', "1906", "1992"),
        ('<input dir="rtl" value="עדה">', "עדה", "גרייס"),
        ("<textarea>first\nsecond</textarea>", "first\nsecond", "third"),
        ('<div contenteditable="true">some <b>bold</b> text</div>', "some bold text", "plain"),
        ('<input value="Grace">', "Grace", ""),
    ],
)
def test_a_field_of_a_page_holds_exactly_the_new_text(actor, tmp_path, field, before, text):
    page = tmp_path / "page.html"
    page.write_text(PAGE.format(field), encoding="utf-8")
    command = ["chromium", "--no-sandbox", "--disable-gpu", "--no-first-run", f"--user-data-dir={tmp_path}"]
    replaced(actor, [*command, "--window-size=600,400", f"--app=file://{page}"], before, text)


@needs("mousepad", "dbus-run-session")
def test_a_document_is_replaced_in_an_editor(actor, tmp_path):
    file = tmp_path / "notes.txt"
    file.write_text("to do\n\nbuy bread\n", encoding="utf-8")
    with program("dbus-run-session", "mousepad", str(file)):
        wait_for(lambda: any("notes.txt" in title for title in titles()), "the editor")
        actor.act(OPTIONS, Click(MIDDLE), Type("all done", replace=True))
        subprocess.run(["xdotool", "key", "ctrl+s"], check=True)
        wait_for(lambda: file.read_text(encoding="utf-8").strip() == "all done", "the new text in the file")


@needs("xterm")
def test_a_terminal_gets_no_key_and_the_reason_is_told(actor, tmp_path):
    output = tmp_path / "keys"
    with program("xterm", "-geometry", "80x24+0+0", "-e", "sh", "-c", f"cat > {output}"):
        wait_for(output.exists, "the terminal")
        with pytest.raises(ActionRefused, match="'xterm' has no fields whose text could be replaced"):
            actor.act(OPTIONS, Click(MIDDLE), Type("rm -r /", replace=True))
        actor.act(OPTIONS, Type("ok\n"))
        wait_for(lambda: output.read_text(encoding="utf-8") == "ok\n", "what was typed afterwards")


# --- Systems that are not here ----------------------------------------------------------------------------------------


def test_macos_selects_with_command_and_others_with_ctrl():
    assert keys_that_select(None, is_real=False, platform="darwin") == (("cmd", "a"),)
    assert keys_that_select(None, is_real=False, platform="win32") == (("ctrl", "a"),)


class Mac:
    """AppKit, with one program in front."""

    def __init__(self, identifier):
        self.NSWorkspace, self._identifier = self, identifier

    def sharedWorkspace(self):
        return self

    def frontmostApplication(self):
        return self if self._identifier is not None else None

    def bundleIdentifier(self):
        return self._identifier


class Windows:
    """user32, with one window in front."""

    class GetForegroundWindow:
        restype = None

        def __call__(self):
            return 7

    def __init__(self, name):
        self.GetForegroundWindow, self._name = Windows.GetForegroundWindow(), name

    def GetClassNameW(self, handle, buffer, size):
        buffer.value = self._name[: size - 1]


def test_the_program_in_front_is_named_as_the_system_does():
    assert program_in_front("darwin", system=Mac("com.apple.Terminal")) == "com.apple.Terminal"
    assert program_in_front("darwin", system=Mac(None)) == ""
    assert program_in_front("win32", system=Windows("Notepad")) == "Notepad"
    assert program_in_front("linux") == ""


@pytest.mark.parametrize(
    ("platform", "name"),
    [("darwin", "com.apple.Terminal"), ("darwin", "org.gnu.Emacs"), ("win32", "ConsoleWindowClass")],
)
def test_terminals_of_other_systems_are_refused_too(monkeypatch, platform, name):
    monkeypatch.setattr("molmo_agent.envs.desktop.replacing.program_in_front", lambda platform: name)
    with pytest.raises(ActionRefused, match=f"'{name.lower()}' has no fields whose text could be replaced"):
        keys_that_select(None, is_real=True, platform=platform)
