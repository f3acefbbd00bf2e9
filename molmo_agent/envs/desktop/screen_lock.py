"""Find out whether the screen is locked: captures show the lock screen then, and keys go to its password field."""

import contextlib
import ctypes
import functools
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from molmo_agent.child_environment import child_environment
from molmo_agent.errors import EnvError

# Services on the session's bus that know; each has the method GetActive on the path of its name.
_SERVICES = (
    "org.freedesktop.ScreenSaver",
    "org.gnome.ScreenSaver",
    "org.kde.screensaver",
    "org.cinnamon.ScreenSaver",
    "org.mate.ScreenSaver",
    "org.xfce.ScreenSaver",
)
# Longest wait for a program or a service, in seconds.
_ANSWER_S = 3.0
# The name of a virtual display of this program: the session's lock does not cover it.
VIRTUAL_DISPLAY = "MOLMO_AGENT_VIRTUAL_DISPLAY"


def screen_lock(x11_display: Any = None, platform: str = sys.platform) -> str:
    """Return what locks or blanks the screen; empty if nothing does or the system cannot report it.

    Args:
        x11_display: a connection to the X server that is captured.
        platform: as in ``sys.platform``.
    """
    if platform == "darwin":
        session = importlib.import_module("Quartz").CGSessionCopyCurrentDictionary() or {}
        return "macOS" if session.get("CGSSessionScreenIsLocked", False) else ""
    if platform == "win32":
        return "Windows" if _windows_locked(importlib.import_module("ctypes").windll.user32) else ""
    if x11_display is not None and (locker := _x11_lock(x11_display)):
        return locker
    display = os.environ.get("DISPLAY", "")
    if display and os.environ.get(VIRTUAL_DISPLAY) == display:
        return ""
    return _session_lock(display) or _service_lock()


def check_unlocked(x11_display: Any = None) -> None:
    """Check that the screen is neither locked nor blanked; the argument is that of :func:`screen_lock`.

    Raises:
        EnvError: it is.
    """
    locker = screen_lock(x11_display)
    if locker:
        raise EnvError(f"the screen is locked by {locker}: nothing can be seen or clicked. Unlock it and start again")


def _windows_locked(user32: Any) -> bool:
    # The desktop that receives input cannot be opened while it is the lock screen's. 0x0100: to switch to it.
    user32.OpenInputDesktop.restype = ctypes.c_void_p
    desktop = user32.OpenInputDesktop(0, False, 0x0100)
    if not desktop:
        return True
    user32.CloseDesktop(ctypes.c_void_p(desktop))
    return False


def _x11_lock(display: Any) -> str:
    x11_lock: Any = importlib.import_module("molmo_agent.envs.desktop.x11_lock")
    return str(x11_lock.x11_lock(display))


def _session_lock(display: str) -> str:
    """Ask logind about the session that we run in, and about those that show the display."""
    own = os.environ.get("XDG_SESSION_ID", "")
    if shutil.which("loginctl"):
        for session in _sessions_on(display, own):
            if _session_property(session, "LockedHint") == "yes":
                return "the login session"
    return ""


@functools.cache
def _sessions_on(display: str, own: str) -> tuple[str, ...]:
    """Return the sessions whose lock covers a display; this does not change during a run."""
    listed = _ask("loginctl", "list-sessions", "--no-legend") if display else ""
    sessions = []
    for session in dict.fromkeys([own, *(line.split()[0] for line in listed.splitlines() if line.strip())]):
        shown = _session_property(session, "Display") if session else ""
        if shown.startswith(":"):
            # A session on another display has another screen.
            if shown.partition(".")[0] == display.partition(".")[0]:
                sessions.append(session)
        elif session and session == own:
            sessions.append(session)
    return tuple(sessions)


def _session_property(session: str, name: str) -> str:
    return _ask("loginctl", "show-session", session, f"--property={name}", "--value").strip()


def _service_lock() -> str:
    """Ask the screen savers of the session's bus that are running; none is started by the question."""
    bus = os.environ.get("DBUS_SESSION_BUS_ADDRESS") or _default_bus()
    if not bus or not shutil.which("dbus-send"):
        return ""
    command = ["dbus-send", f"--bus={bus}", "--print-reply=literal", "--reply-timeout=2000"]
    names = ["--dest=org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus.ListNames"]
    running = set(_ask(*command, *names).split())
    for name in _SERVICES:
        if name in running:
            for path in _paths(name):
                if "boolean true" in _ask(*command, f"--dest={name}", path, f"{name}.GetActive"):
                    return name
    return ""


def _paths(name: str) -> Iterator[str]:
    yield "/" + name.replace(".", "/")
    # KDE's older one.
    yield "/ScreenSaver"


def _default_bus() -> str:
    path = f"/run/user/{os.getuid()}/bus"
    return f"unix:path={path}" if os.path.exists(path) else ""


def _ask(*command: str) -> str:
    """Return what a program prints; nothing if it fails or does not end."""
    with contextlib.suppress(subprocess.TimeoutExpired, OSError):
        result = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_ANSWER_S,
            check=False,
            env=child_environment(),
        )
        return result.stdout if result.returncode == 0 else ""
    return ""
