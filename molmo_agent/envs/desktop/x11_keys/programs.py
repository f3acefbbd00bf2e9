"""What is known of the program with the keyboard focus: how it takes text, and what it would do to typed text."""

import contextlib
import pathlib
import re
from dataclasses import dataclass
from typing import Any

import Xlib.error
import Xlib.X

from molmo_agent.envs.desktop import x11
from molmo_agent.envs.desktop.terminals import is_terminal
from molmo_agent.errors import ActionRefused

# Window classes of editors that paste with Shift+Insert, as terminals do. Ctrl+V quotes the next key there.
_EDITORS_WITH_SHIFT_INSERT = frozenset({"emacs", "gvim", "vim"})
# fmt: off
# Programs that correct words while they are typed, or propose others, which the next Enter would take; by the beginning
# of their class.
_CORRECTING = (
    "abiword", "anjuta", "atom", "bluefish", "calligra", "code", "cursor", "dbeaver", "desktopeditors", "dev.zed",
    "eclipse", "geany", "gedit", "gnome-builder", "gnumeric", "jetbrains", "kate", "kdevelop", "kwrite", "libreoffice",
    "netbeans", "notepadqq", "onlyoffice", "openoffice", "org.gnome.builder", "org.gnome.texteditor", "org.kde.kate",
    "org.kde.kwrite", "pluma", "qtcreator", "rstudio", "scite", "soffice", "spyder", "sublime", "thonny", "vscodium",
    "wps", "xed", "zed",
)
# Screens of other machines: a paste there pastes what that machine has on its clipboard.
_REMOTE_SCREENS = (
    "anydesk", "citrix", "freerdp", "gnome-boxes", "gnome-connections", "gvncviewer", "horizon-client", "krdc",
    "looking-glass", "moonlight", "nx", "org.gnome.boxes", "org.gnome.connections", "org.kde.krdc", "org.remmina",
    "parsec", "qemu", "rdesktop", "remmina", "remote-viewer", "rustdesk", "spicy", "teamviewer", "tigervnc",
    "vinagre", "virt-manager", "virt-viewer", "virtualbox", "vmplayer", "vmrc", "vmware", "vnc", "wfica", "x2go",
    "xephyr", "xfreerdp", "xnest",
)
# Editors in a terminal, by the beginning of the program's name. They indent, too, and know what was pasted.
_TERMINAL_EDITORS = (
    "emacs", "helix", "hx", "jed", "joe", "kak", "mcedit", "mg", "micro", "nano", "ne", "nvim", "pico", "vi", "vim",
    "zile",
)
# fmt: on

# Editors close these when they are typed. An apostrophe in a word is none.
_CLOSED_BY_EDITORS = re.compile(r"[(\[{<\"`$“‘«]|(?<!\w)'|'(?!\w)")


@dataclass(frozen=True, slots=True)
class FocusedProgram:
    """The program with the keyboard focus."""

    # It pastes with Shift+Insert, what is selected or the clipboard.
    is_terminal: bool
    # It takes several lines in one piece, and would add to them if they were typed.
    takes_lines: bool
    # It replaces words that are typed.
    is_correcting: bool
    # It shows the screen of another machine, which gets keys and no clipboard of ours.
    is_remote: bool = False

    def changes(self, text: str) -> bool:
        """Return whether the program could add to a text that is typed, or replace a part of it."""
        if not self.takes_lines:
            return False
        return self.is_correcting or "\n" in text or bool(_CLOSED_BY_EDITORS.search(text))


def focused_program(display: Any) -> FocusedProgram:
    """Return what is known of the program with the keyboard focus."""
    classes = x11.focused_classes(display)
    if any(name.startswith(_REMOTE_SCREENS) for name in classes):
        return FocusedProgram(is_terminal=False, takes_lines=False, is_correcting=False, is_remote=True)
    is_editor = bool(classes & _EDITORS_WITH_SHIFT_INSERT)
    is_terminal_window = is_editor or any(map(is_terminal, classes))
    return FocusedProgram(
        is_terminal=is_terminal_window,
        takes_lines=is_editor or not is_terminal_window or _runs_editor(_process_id(display)),
        is_correcting=any(name.startswith(_CORRECTING) for name in classes),
    )


def _process_id(display: Any) -> int | None:
    """Return the process that says it owns the window with the keyboard focus."""
    window, root = display.get_input_focus().focus, display.screen().root
    with contextlib.suppress(Xlib.error.BadWindow):
        while hasattr(window, "get_full_property") and window.id != root.id:
            value = window.get_full_property(display.intern_atom("_NET_WM_PID"), Xlib.X.AnyPropertyType)
            if value:
                return int(value.value[0])
            window = window.query_tree().parent
    return None


def _runs_editor(terminal: int | None, proc: pathlib.Path = pathlib.Path("/proc")) -> bool:
    """Return whether an editor is in the foreground of a terminal, given as a process of this machine.

    Raises:
        ActionRefused: the terminal has several tabs or windows, with and without an editor: which has the focus?
    """
    programs = _foreground_programs(terminal, proc) if terminal else set()
    answers = {program.split(".")[0] in _TERMINAL_EDITORS for program in programs}
    if len(answers) > 1:
        raise ActionRefused(
            f"a terminal runs an editor and other programs in several tabs ({', '.join(sorted(programs))}), and only "
            "one of them can be asked for lines of text: use a terminal of its own for the editor"
        )
    return answers == {True}


def _foreground_programs(terminal: int, proc: pathlib.Path) -> set[str]:
    """Return the programs in the foreground of the terminal's ttys."""
    parents, ttys, names = {}, {}, {}
    for folder in proc.glob("[0-9]*"):
        # Processes end while we look.
        with contextlib.suppress(OSError, ValueError):
            head, _, tail = (folder / "stat").read_text(errors="replace").rpartition(")")
            pid = int(folder.name)
            _, parent, _, _, tty, foreground, *_ = tail.split()
            parents[pid], ttys[pid], names[pid] = int(parent), (int(tty), int(foreground)), head.partition("(")[2]
    foregrounds = {
        foreground
        for pid, (tty, foreground) in ttys.items()
        if tty and tty != ttys.get(terminal, (0, 0))[0] and terminal in _ancestors(pid, parents)
    }
    return {names[pid] for pid in foregrounds if pid in names}


def _ancestors(pid: int, parents: dict[int, int]) -> set[int]:
    ancestors: set[int] = set()
    while pid in parents and pid not in ancestors:
        ancestors.add(pid)
        pid = parents[pid]
    return ancestors
