"""Text arrives as it was written, or is refused: terminals, editors that add to it, input methods that replace it."""

import contextlib
import os
import pathlib
import shutil
import subprocess
import sys
import time

import pytest
from desktop_screen import (
    FAST,
    PATIENCE_S,
    Actor,
    EventWindow,
    clipboard,
    needs,
    program,
    set_clipboard,
    wait_for,
    wait_for_focus,
)
from x11_keyboards import terminal

from molmo_agent.actions import Click, Key, Type, Wait
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.errors import ActionRefused
from molmo_agent.geometry import Point

pytest.importorskip("Xlib", reason="Xlib comes with pyautogui on Linux only")

from molmo_agent.envs.desktop import x11
from molmo_agent.envs.desktop.x11_keys import clipboard as x11_clipboard
from molmo_agent.envs.desktop.x11_keys import input_method as x11_input_method
from molmo_agent.envs.desktop.x11_keys import programs as x11_programs
from molmo_agent.envs.desktop.x11_keys.clipboard import Pasteboard, Taken
from molmo_agent.envs.desktop.x11_keys.programs import FocusedProgram

pytestmark = needs("Xvfb", "openbox", "xdotool", "xclip")

EVERYTHING = {"pace": FAST}
MIDDLE = Click(Point(0.5, 0.5))
CODE = {
    "indented": "class A:\n    def f(self):\n        return [1, (2)]\n\n    x = {'a': \"b\"}\n",
    "tabs": 'if (ready) {\n\tgo("è");\n\tstop();\n}\nelse {\n\t\twait();\n}\n',
    "a_line_after_an_indented_one": "    four blanks\nnone\n    four again",
}


pytest_plugins = ("actor_fixtures",)


@pytest.fixture(scope="module")
def screen():
    with VirtualDisplay(800, 600) as display:
        yield display


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home folder: programs remember nothing, and no setting of the user changes what they do."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    return tmp_path


@contextlib.contextmanager
def focused(title, *command):
    """Run a program and wait until a window with this in its title has the focus."""
    with program(*command):
        wait_for_focus(title)
        time.sleep(0.5)
        yield


# --- Terminals --------------------------------------------------------------------------------------------------------


TERMINALS = {
    "xterm": ("xterm", "-u8", "-e"),
    "uxterm": ("uxterm", "-e"),
    "urxvt": ("urxvt", "-e"),
    "st": ("st", "-e"),
    "lxterminal": ("dbus-run-session", "lxterminal", "--no-remote", "-e"),
    "xfce4-terminal": ("dbus-run-session", "xfce4-terminal", "--disable-server", "-x"),
}
LINES = [
    "ÀÉÎÕÜ ÅÆØ ÇÑ ŠŽ ẞ Þ",
    "Straße, 5 €, naïve, œuvre",
    "日本語 한국어 中文 Ελληνικά кириллица",
    "🙂 🇨🇭 “quoted” – dashed…",
    "plain (text) with 'quotes' and \"more\" $HOME `x`",
]


@pytest.mark.parametrize("name", TERMINALS)
def test_every_character_reaches_a_terminal_and_the_clipboard_comes_back(actor, screen, tmp_path, name):
    missing = [command for command in (TERMINALS[name][0], name) if not shutil.which(command)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    set_clipboard(b"kept")
    file = tmp_path / "typed"
    with terminal(file, *TERMINALS[name]):
        actor.act({}, *(Type(f"{line}\n") for line in LINES))
        wait_for(lambda: file.read_text().count("\n") == len(LINES), "the lines")
    assert file.read_text().splitlines() == LINES
    assert clipboard() == "kept"


@needs("xterm")
def test_nothing_is_lost_in_a_terminal_on_a_busy_machine(actor, screen, tmp_path):
    file = tmp_path / "typed"
    text = "ÄÖÜ ÉÈÊ abc XYZ ñ 漢字 12345"
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        with terminal(file):
            actor.act({}, *[Type(f"{text}\n")] * 8)
            wait_for(lambda: file.read_text().count("\n") == 8, "the lines")
    finally:
        for process in busy:
            process.kill()
            process.wait()
    assert file.read_text() == f"{text}\n" * 8


@needs("xterm")
def test_a_line_end_in_a_terminal_is_the_enter_key(actor, screen, tmp_path):
    file = tmp_path / "typed"
    with terminal(file):
        actor.act({}, Type("one\ntwo é\n  three\n"))
        wait_for(lambda: file.read_text().endswith("three\n"), "the lines")
    assert file.read_text() == "one\ntwo é\n  three\n"


@needs("xterm", "nano")
@pytest.mark.parametrize("code", CODE.values(), ids=CODE)
def test_an_editor_in_a_terminal_gets_lines_in_one_piece(actor, screen, home, code):
    file = home / "code.txt"
    file.touch()
    with focused("nano", "xterm", "-u8", "-T", "nano", "-e", "nano", "-i", str(file)):
        wait_for(lambda: "nano" in foreground_of_focus(), "the editor")
        actor.act({}, MIDDLE, Type(code), Wait(0.3), Key(("ctrl", "o")), Key(("enter",)))
        wait_for(file.read_text, "the saved text")
    assert file.read_text().rstrip("\n") == code.rstrip("\n")


def foreground_of_focus():
    display = x11.connect()
    try:
        return x11_programs._foreground_programs(x11_programs._process_id(display), pathlib.Path("/proc"))
    finally:
        display.close()


# --- Editors ----------------------------------------------------------------------------------------------------------


@needs("geany", "dbus-run-session")
@pytest.mark.parametrize("code", CODE.values(), ids=CODE)
def test_an_editor_that_indents_by_itself_adds_nothing(actor, screen, home, code):
    file = home / "code.py"
    file.touch()
    with focused("code.py", "dbus-run-session", "geany", "-i", "-s", str(file)):
        actor.act({}, MIDDLE, Type(code), Wait(0.3), Key(("ctrl", "s")))
        wait_for(file.read_text, "the saved text")
    assert file.read_text().rstrip("\n") == code.rstrip("\n")


@needs("geany", "dbus-run-session")
def test_an_editor_that_proposes_words_does_not_put_one_in_with_enter(actor, screen, home):
    file = home / "code.py"
    file.write_text("hello_world_function = 1\nhello_world_other = 2\n")
    with focused("code.py", "dbus-run-session", "geany", "-i", "-s", str(file)):
        words = Type("hello"), Wait(1.0), Key(("enter",)), Type("end")
        actor.act({}, Key(("ctrl", "end")), *words, Wait(0.3), Key(("ctrl", "s")))
        wait_for(lambda: "end" in file.read_text(), "the saved text")
    assert file.read_text().rstrip("\n").endswith("= 2\nhello\nend")


# A field and a text area that indent, close brackets and correct words as helpful programs do.
HELPFUL = """
import sys, tkinter
root = tkinter.Tk(); root.title("Helpful"); root.geometry("600x400")
text = tkinter.Text(root, height=24); text.pack(expand=True, fill="both"); text.focus_force()
def close(event):
    pairs = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'"}
    if event.char in pairs:
        text.insert("insert", pairs[event.char]); text.mark_set("insert", "insert-1c")
def indent(event):
    line = text.get("insert linestart", "insert"); blanks = line[: len(line) - len(line.lstrip())]
    text.insert("insert", "\\n" + blanks + ("    " if line.endswith(":") else "")); return "break"
text.bind("<KeyPress>", close); text.bind("<Return>", indent)
def save():
    open(sys.argv[1], "w", encoding="utf-8").write(text.get("1.0", "end-1c")); root.after(100, save)
root.after(500, save); root.mainloop()
"""


@pytest.mark.parametrize(
    "text", [*CODE.values(), "f(x[1]", "say \"hello\" and 'bye'", "don't (ever)", "a {b} `c`"], ids=str.split
)
def test_brackets_and_blanks_arrive_once(actor, screen, tmp_path, text):
    pytest.importorskip("tkinter", reason="the program is drawn with Tk")
    script, file = tmp_path / "helpful.py", tmp_path / "typed"
    script.write_text(HELPFUL)
    with focused("Helpful", sys.executable, str(script), str(file)):
        wait_for(file.exists, "the window")
        actor.act({}, MIDDLE, Type(text))
        wait_for(lambda: file.read_text() == text, "the text")


@pytest.fixture
def window(screen):
    with EventWindow() as window:
        yield window


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("one line", ["one line"]),
        ("submit\n", ["submit", "\n"]),
        ("a\tb\n", ["a", "\t", "b", "\n"]),
        ("two\nlines\n", ["two\nlines", "\n"]),
        ("\n\ntwo\nlines", ["\n", "\n", "two\nlines"]),
        ("x:\n\ty\n", ["x:\n\ty\n"]),
        ("    blanks\n", ["    blanks\n"]),
    ],
)
def test_lines_stay_together_and_the_last_line_end_is_a_key_unless_the_text_is_indented(actor, window, text, pieces):
    assert actor.do(_split, text) == pieces


def _split(text):
    from molmo_agent.envs.desktop.env import open_input

    return open_input().split_text(text)


@pytest.mark.parametrize("class_name", ["Xephyr", "Vncviewer", "org.remmina.Remmina", "VirtualBox Machine"])
def test_the_screen_of_another_machine_gets_keys_and_never_a_paste(actor, screen, class_name):
    with EventWindow(class_name) as window:
        actor.act(EVERYTHING, Type("(a\nb)"))
        keys = [event["key"] for event in window.events("key_press")]
        assert keys == ["Shift_L", "9", "a", "Return", "b", "Shift_L", "0"]
        with pytest.raises(ActionRefused, match="could not be pasted: the focused program shows the screen of another"):
            actor.act(EVERYTHING, Type("é"))
        assert window.events("key_press") == []


@pytest.mark.parametrize(
    ("program", "text", "changes"),
    [
        (FocusedProgram(is_terminal=False, takes_lines=True, is_correcting=False), "plain words, don't", False),
        (FocusedProgram(is_terminal=False, takes_lines=True, is_correcting=False), "f(x)", True),
        (FocusedProgram(is_terminal=False, takes_lines=True, is_correcting=False), "'x", True),
        (FocusedProgram(is_terminal=False, takes_lines=True, is_correcting=True), "teh words", True),
        (FocusedProgram(is_terminal=True, takes_lines=False, is_correcting=False), "f(x)", False),
        (FocusedProgram(is_terminal=True, takes_lines=True, is_correcting=False), "a\nb", True),
        (FocusedProgram(is_terminal=False, takes_lines=False, is_correcting=False, is_remote=True), "f(x)", False),
    ],
)
def test_text_is_pasted_where_the_program_would_change_typed_text(program, text, changes):
    assert program.changes(text) is changes


# --- A terminal's programs --------------------------------------------------------------------------------------------


def make_proc(folder, *processes):
    """Write (pid, parent, tty, foreground pid, name) as Linux shows processes."""
    folder.mkdir()
    for pid, parent, tty, foreground, name in processes:
        (folder / str(pid)).mkdir()
        (folder / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} {pid} {pid} {tty} {foreground} 0 0")
    return folder


def test_an_editor_in_the_foreground_is_found_and_one_in_the_background_is_not(tmp_path):
    shell = [(10, 1, 0, -1, "xterm"), (11, 10, 500, 12, "bash")]
    with_editor = make_proc(tmp_path / "a", *shell, (12, 11, 500, 12, "vim.basic"))
    stopped = make_proc(tmp_path / "b", *shell[:1], (11, 10, 500, 11, "bash"), (12, 11, 500, 11, "vim"))
    named_oddly = make_proc(tmp_path / "c", *shell, (12, 11, 500, 12, "a) S 1 (nano"))
    assert x11_programs._runs_editor(10, with_editor)
    assert not x11_programs._runs_editor(10, stopped)
    assert not x11_programs._runs_editor(10, named_oddly)
    assert not x11_programs._runs_editor(None)


def test_a_terminal_with_an_editor_in_one_of_several_tabs_is_refused(tmp_path):
    proc = make_proc(
        tmp_path / "proc",
        (10, 1, 0, -1, "gnome-terminal-"),
        (11, 10, 500, 11, "bash"),
        (12, 10, 501, 13, "bash"),
        (13, 12, 501, 13, "nvim"),
    )
    with pytest.raises(ActionRefused, match=r"in several tabs \(bash, nvim\), .*use a terminal of its own"):
        x11_programs._runs_editor(10, proc)


# --- Input methods ----------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def xim_server(name):
    """Announce an input method on the screen, as one does that runs on another machine."""
    display = x11.connect()
    root, atom = display.screen().root, display.intern_atom(f"@server={name}")
    owner = root.create_window(0, 0, 1, 1, 0, display.screen().root_depth)
    owner.set_selection_owner(atom, 0)
    root.change_property(display.intern_atom("XIM_SERVERS"), display.intern_atom("ATOM"), 32, [atom])
    display.sync()
    try:
        yield
    finally:
        # The property stays, as after a crash.
        display.close()


@pytest.mark.parametrize("name", ["somewhere", "kinput2", "ibus"])
def test_with_an_input_method_text_is_pasted_and_keys_are_refused(actor, window, name):
    set_clipboard(b"kept")
    with xim_server(name):
        with pytest.raises(ActionRefused, match=rf"the input method '{name}' may change what is typed, .*Switch"):
            actor.do(_type_impatiently, "plain")
        assert [event["key"] for event in window.events("key_press")] == ["Control_L", "v"]
        with pytest.raises(ActionRefused, match=rf"the input method '{name}' may change the key 'n': switch it off"):
            actor.act(EVERYTHING, Key(("n",)))
        actor.act(EVERYTHING, Key(("ctrl", "n")), Key(("enter",)))
        assert [event["key"] for event in window.events("key_press")] == ["Control_L", "n", "Return"]
    assert clipboard() == "kept"
    actor.act(EVERYTHING, Type("plain"))
    assert [event["key"] for event in window.events("key_press")] == list("plain"), "the input method is gone"


@pytest.mark.parametrize(
    ("program", "answer", "name"),
    [
        ("fcitx5", "pinyin", "fcitx5"),
        ("fcitx5", "keyboard-de", ""),
        ("ibus-daemon", "Unikey", "ibus-daemon"),
        ("ibus-daemon", "xkb:us::eng", ""),
        ("hime", "", "hime"),
    ],
)
def test_an_input_method_that_passes_keys_on_does_not_count(tmp_path, monkeypatch, program, answer, name):
    tools = tmp_path / "bin"
    tools.mkdir()
    for tool in ("fcitx5-remote", "ibus"):
        # It is asked in its own session.
        (tools / tool).write_text(f"#!/bin/sh\n[ \"$DBUS_SESSION_BUS_ADDRESS\" = unix:there ] && echo '{answer}'\n")
        (tools / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=os.pathsep)
    environ = {"DISPLAY": ":5.0", "DBUS_SESSION_BUS_ADDRESS": "unix:there"}
    assert x11_input_method._is_plain(program, environ) is (name == "")
    assert not x11_input_method._is_plain(program, {}), "no answer from another session"


def test_an_input_method_is_found_by_its_process_and_display(tmp_path):
    for pid, name, display in (("7", "fcitx5", ":5.0"), ("8", "ibus-daemon", ":6"), ("9", "bash", ":5")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "comm").write_text(f"{name}\n")
        (tmp_path / pid / "environ").write_bytes(f"HOME=/x\0DISPLAY={display}\0".encode())
    (tmp_path / "10").mkdir()
    assert [name for name, _ in x11_input_method._running(":5", tmp_path)] == ["fcitx5"]
    assert x11_input_method._running(":55", tmp_path) == []


FCITX_PROFILE = """[Groups/0]
Name=Default
Default Layout=us
DefaultIM={engine}

[Groups/0/Items/0]
Name={engine}
Layout=

[GroupOrder]
0=Default
"""


@needs("fcitx5", "mousepad", "dbus-run-session")
@pytest.mark.parametrize(
    ("engine", "text"),
    [("pinyin", "nihao, hello."), ("unikey", "as dd tieesng vieejt"), ("hangul", "dkssud hello"), ("pinyin", "wo 1")],
)
def test_an_input_method_does_not_change_the_text(actor, screen, home, engine, text):
    if not list(pathlib.Path("/usr/share/fcitx5/inputmethod").glob(f"{engine}.conf")):
        pytest.skip(f"not installed: fcitx5's {engine}")
    (home / ".config").mkdir()
    (home / "fcitx5").mkdir()
    for folder in (home, home / ".config"):
        (folder / "fcitx5").mkdir(exist_ok=True)
        (folder / "fcitx5" / "profile").write_text(FCITX_PROFILE.format(engine=engine))
    file = home / "note.txt"
    file.touch()
    session = home / "session.sh"
    session.write_text(
        "export GTK_IM_MODULE=fcitx XMODIFIERS=@im=fcitx\n"
        "fcitx5 --disable=wayland,waylandim &\n"
        "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 1; fcitx5-remote -o && break; done\n"
        f"exec mousepad --disable-server {file}\n"
    )
    with focused("note.txt", "dbus-run-session", "sh", str(session)):
        actor.act({}, MIDDLE, Wait(0.5))
        text_is_there = False
        # A refusal is allowed while the input method still starts, on a busy machine; a changed text never is.
        with contextlib.suppress(ActionRefused):
            actor.act({}, Type(text))
            text_is_there = True
        if not text_is_there:
            actor.act({}, Type(text))
        actor.act({}, Wait(0.3), Key(("ctrl", "s")))
        wait_for(file.read_text, "the saved text")
    assert file.read_text().rstrip("\n") == text


# --- Programs that are slow to paste ----------------------------------------------------------------------------------


SLOW = """
import sys, time, tkinter
root = tkinter.Tk(); root.title("Slow"); root.geometry("400x200")
field = tkinter.Entry(root); field.pack(expand=True, fill="both"); field.focus_force()
field.bind("<Control-Key>", lambda event: time.sleep(float(sys.argv[2])))
def save():
    open(sys.argv[1], "w", encoding="utf-8").write(field.get()); root.after(100, save)
root.after(500, save); root.mainloop()
"""


def test_a_program_that_is_busy_when_the_keys_come_is_waited_for(actor, screen, tmp_path):
    pytest.importorskip("tkinter", reason="the program is drawn with Tk")
    script, file = tmp_path / "slow.py", tmp_path / "typed"
    script.write_text(SLOW)
    set_clipboard(b"old content")
    with focused("Slow", sys.executable, str(script), str(file), "4"):
        wait_for(file.exists, "the window")
        actor.act({}, Type("naïve (x)"))
        wait_for(lambda: file.read_text() == "naïve (x)", "the text, once")
    assert clipboard() == "old content"


def test_a_program_that_does_not_respond_is_not_typed_into(screen, window):
    # A process of its own: after a paste that was not taken, the next one begins otherwise.
    actor = Actor()
    window.stop()
    try:
        with pytest.raises(ActionRefused, match="the focused program does not respond: wait until it does"):
            actor.do(_type_impatiently, "(x)")
        with pytest.raises(ActionRefused, match="the focused program does not respond: nothing was sent"):
            actor.do(_type_impatiently, "(x)")
    finally:
        window.resume()
        actor.close()
    assert [event["key"] for event in window.events("key_press")] == ["Control_L", "v"]


def _type_impatiently(text):
    from unittest import mock

    from desktop_screen import act

    with mock.patch.multiple(x11_clipboard, BUSY_S=1.0, _UNKNOWN_S=1.0):
        act(EVERYTHING, Type(text))


MANAGER = """
import time, Xlib.display
display = Xlib.display.Display()
window = display.screen().root.create_window(0, 0, 1, 1, 0, display.screen().root_depth)
clipboard, text = display.intern_atom("CLIPBOARD"), display.intern_atom("UTF8_STRING")
while True:
    window.convert_selection(clipboard, text, text, 0); display.flush(); time.sleep(0.005)
"""


def test_a_clipboard_manager_that_reads_everything_is_not_the_focused_program(screen):
    display = x11.connect()
    with EventWindow(), program(sys.executable, "-c", MANAGER):
        board = Pasteboard(display)
        deadline = time.monotonic() + PATIENCE_S
        while not board._watchers:
            assert time.monotonic() < deadline, "the manager reads nothing"
            board.offer("secret")
        board.start_wait()
        while (taken := board.poll()) is None:
            assert board._readers <= board._watchers
        board.close()
    display.close()
    assert taken is Taken.NO
