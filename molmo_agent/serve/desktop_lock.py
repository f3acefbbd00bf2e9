"""One program at a time drives a desktop or a phone: a lock of the system, which ends with its process."""

import contextlib
import hashlib
import importlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

# Not more of the file is read: it holds a process id.
_MAX_BYTES = 32


class DesktopLock:
    """A lock with a name that other processes of this user see.

    Args:
        name: of the device, such as ``desktop :0``.
        folder: where lock files are; None: the temporary folder of the system.
    """

    def __init__(self, name: str, folder: Path | None = None) -> None:
        user = str(getattr(os, "getuid", lambda: os.environ.get("USERNAME", ""))())
        digest = hashlib.sha256(f"{user} {name}".encode()).hexdigest()[:16]
        self.name = name
        self.path = (folder or Path(tempfile.gettempdir())) / f"molmo-agent-{digest}.lock"
        self._descriptor: int | None = None

    def acquire(self) -> str:
        """Take the lock, if it is not held already; return an empty string, or who has it."""
        if self._descriptor is not None:
            return ""
        try:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
            descriptor = os.open(self.path, flags, 0o600)
        except OSError as error:
            return f"a lock file that cannot be opened: {error}"
        if not _try_lock(descriptor):
            with contextlib.suppress(OSError):
                holder = os.pread(descriptor, _MAX_BYTES, 0) if hasattr(os, "pread") else b""
                os.close(descriptor)
                number = holder.decode("ascii", "ignore").strip()
                return f"process {number}" if number.isdecimal() else "another process"
            return "another process"
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor
        return ""

    def release(self) -> None:
        """Give the lock back; safe to call twice."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _try_lock(descriptor: int) -> bool:
    """Lock an open file without waiting; return whether it is locked by this process now."""
    if sys.platform == "win32":
        msvcrt: Any = importlib.import_module("msvcrt")
        try:
            # A byte far behind the process id, which others may read.
            os.lseek(descriptor, 1024, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        except OSError:
            return False
        return True
    fcntl = importlib.import_module("fcntl")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def device_of(env: str, options: dict[str, Any]) -> str:
    """Return the name of the device that an env acts on; empty for simulated ones, of which everybody has their own.

    Args:
        env: name of the env.
        options: its options.
    """
    if env == "desktop":
        display = os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or ""
        return f"desktop {display}"
    return f"phone {options.get('serial') or ''}" if env == "android" else ""
