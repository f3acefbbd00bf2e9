"""Input methods on X11: programs that turn typed letters into other text, for Chinese or Vietnamese for example.

Whether one changes what we type depends on the program with the focus and on a switch in the input method. An input
method that runs on the display therefore counts as active, unless it answers that it passes keys on as they are.
"""

import contextlib
import os
import pathlib
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

import Xlib.X

from molmo_agent.child_environment import child_environment

_PROGRAMS = frozenset(
    {"fcitx", "fcitx5", "ibus-daemon", "ibus-x11", "uim-xim", "scim", "scim-launcher", "gcin", "hime", "kime", "nimf"}
)
_ASK_S = 3.0
# How an input method is asked for its engine, and how the names of those that change nothing begin.
_QUESTIONS = {"fcitx5": ("fcitx5-remote", "-n"), "ibus-daemon": ("ibus", "engine"), "ibus-x11": ("ibus", "engine")}
_PLAIN = ("keyboard-", "xkb:")
# What a client needs to find the input method of another session.
_SESSION = (
    "DBUS_SESSION_BUS_ADDRESS",
    "DISPLAY",
    "HOME",
    "IBUS_ADDRESS",
    "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR",
)


def active_input_method(display: Any) -> str:
    """Return the name of an input method that may change what is typed on a display; "" if there is none."""
    name = display.display.get_display_name()
    running = _running(name)
    for program, environ in running:
        if not _is_plain(program, environ):
            return program
    if running:
        return ""
    return _xim_server(display)


def _xim_server(display: Any) -> str:
    """Return the name of a running input method that speaks XIM, wherever it runs."""
    root = display.screen().root
    servers = root.get_full_property(display.intern_atom("XIM_SERVERS"), Xlib.X.AnyPropertyType)
    for atom in servers.value if servers else ():
        # The property outlives the server; its selection does not.
        if display.get_selection_owner(atom) != Xlib.X.NONE:
            return str(display.get_atom_name(atom)).removeprefix("@server=")
    return ""


def _running(display_name: str, proc: pathlib.Path = pathlib.Path("/proc")) -> list[tuple[str, dict[str, str]]]:
    """Return the input methods of a local display with their environments."""
    matches = []
    for folder in proc.glob("[0-9]*"):
        # Processes end while we look, and those of other users do not show their environment.
        with contextlib.suppress(OSError):
            program = (folder / "comm").read_text(errors="replace").strip()
            if program in _PROGRAMS:
                environ = _parse_environ((folder / "environ").read_bytes())
                if _same_display(environ.get("DISPLAY", ""), display_name):
                    matches.append((program, environ))
    return matches


def _parse_environ(data: bytes) -> dict[str, str]:
    pairs = (entry.partition("=") for entry in os.fsdecode(data).split("\0"))
    return {name: value for name, is_set, value in pairs if is_set}


def _same_display(one: str, other: str) -> bool:
    """Return whether two names mean one server: ":0" and ":0.0" do."""
    return one.partition(".")[0] == other.partition(".")[0]


def _is_plain(program: str, environ: Mapping[str, str]) -> bool:
    """Return whether an input method says that it passes keys on as they are."""
    question = _QUESTIONS.get(program)
    if question is None or not shutil.which(question[0]):
        return False
    session = {name: environ[name] for name in _SESSION if name in environ}
    try:
        done = subprocess.run(
            question, env=child_environment(**session), capture_output=True, text=True, timeout=_ASK_S, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0 and done.stdout.strip().startswith(_PLAIN)
