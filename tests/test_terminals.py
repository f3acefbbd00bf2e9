"""Which windows are terminals, where Ctrl+V and Ctrl+A do something else, and which show another machine."""

import pytest

from molmo_agent.envs.desktop import terminals

pytest.importorskip("Xlib", reason="Xlib comes with pyautogui on Linux only")

from molmo_agent.envs.desktop import x11
from molmo_agent.envs.desktop.x11_keys import programs

# fmt: off
TERMINALS = [
    "alacritty", "com.github.amezin.ddterm", "com.raggesilver.blackbox", "contour", "cool-retro-term",
    "deepin-terminal", "eterm", "foot", "gnome-terminal-server", "hyper", "io.elementary.terminal", "kgx", "kitty",
    "konsole", "lilyterm", "lxterminal", "mate-terminal", "mlterm", "org.gnome.ptyxis", "org.kde.konsole",
    "org.wezfurlong.wezterm", "pantheon-terminal", "pterm", "putty", "qterminal", "rio", "roxterm", "rxvt", "st",
    "st-256color", "stterm", "tabby", "terminator", "tilix", "urxvt", "uxterm", "x-terminal-emulator",
    "xfce4-terminal", "xiterm+thai", "xterm",
]
OTHERS = [
    "chromium", "code", "determinant", "firefox", "geany", "gedit", "libreoffice-writer", "midterms",
    "org.gnome.texteditor", "steam",
]
# fmt: on


def test_terminals_are_known_by_their_windows_and_other_programs_are_none():
    assert [name for name in TERMINALS if not terminals.is_terminal(name)] == []
    assert [name for name in OTHERS if terminals.is_terminal(name)] == []


def test_the_screen_of_another_machine_gets_no_paste(monkeypatch):
    names = ("anydesk", "org.remmina.remmina", "rustdesk", "teamviewer", "vncviewer", "wfica", "x2goagent", "xephyr")
    found = []
    for name in names:
        monkeypatch.setattr(x11, "focused_classes", lambda display, name=name: {name})
        program = programs.focused_program(None)
        found.append(program.is_remote and not program.is_terminal)
    assert found == [True] * len(names)


def test_editors_that_propose_words_get_them_pasted(monkeypatch):
    monkeypatch.setattr(programs, "_process_id", lambda display: None)
    names = ("geany", "code - oss", "jetbrains-idea", "kate", "org.gnome.texteditor", "scite", "sublime_text", "zed")
    found = {}
    for name in (*names, "mousepad", "xterm"):
        monkeypatch.setattr(x11, "focused_classes", lambda display, name=name: {name})
        found[name] = programs.focused_program(None).changes("hello")
    assert [name for name, changes in found.items() if changes] == list(names)
