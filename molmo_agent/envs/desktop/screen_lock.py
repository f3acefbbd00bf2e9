"""Ask the system whether the screen is locked."""

import contextlib
import ctypes
import importlib
import os
import shutil
import subprocess
import sys
from typing import Any


def screen_locked(platform: str = sys.platform) -> bool:
    """Return True if the system reports a locked screen; False if it does not or cannot report it."""
    if platform == "darwin":
        session = importlib.import_module("Quartz").CGSessionCopyCurrentDictionary() or {}
        return bool(session.get("CGSSessionScreenIsLocked", False))
    if platform == "win32":
        return _windows_locked(importlib.import_module("ctypes").windll.user32)
    return _login_session_locked(os.environ.get("XDG_SESSION_ID", ""))


def _windows_locked(user32: Any) -> bool:
    # The desktop that receives input cannot be opened while it is the lock screen's. 0x0100: to switch to it.
    user32.OpenInputDesktop.restype = ctypes.c_void_p
    desktop = user32.OpenInputDesktop(0, False, 0x0100)
    if not desktop:
        return True
    user32.CloseDesktop(ctypes.c_void_p(desktop))
    return False


def _login_session_locked(session_id: str) -> bool:
    if not session_id or not shutil.which("loginctl"):
        return False
    command = ["loginctl", "show-session", session_id, "--property=LockedHint", "--value"]
    with contextlib.suppress(subprocess.TimeoutExpired):
        result = subprocess.run(command, capture_output=True, text=True, timeout=2, check=False)
        return result.stdout.strip() == "yes"
    return False
