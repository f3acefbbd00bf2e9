"""A screen for machines that have none: Xvfb with a window manager, as a context manager."""

import contextlib
import os
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time
from types import TracebackType
from typing import IO, Any, Self

from molmo_agent.child_environment import child_environment
from molmo_agent.envs.desktop.screen_lock import VIRTUAL_DISPLAY
from molmo_agent.errors import EnvError, UsageError

# Xvfb picks a free number itself and reports it on stdout; stdin is a leash: when this process ends, however it
# ends, the pipe closes, `read` returns and the server is stopped. (PR_SET_PDEATHSIG would also fire when merely the
# thread that started it ends.) `exec` drops the shell's own hold on the report, so that a server that fails to start
# is seen as an end of file.
_SUPERVISOR = 'Xvfb -displayfd 1 "$@" & exec >/dev/null; read -r _; kill $!; wait'

# The environment while the display is active: python-xlib wants an authority file, even an empty one, and programs
# started here must not go to the user's Wayland session.
_ENVIRONMENT: dict[str, str | None] = {
    "XAUTHORITY": os.devnull,
    "WAYLAND_DISPLAY": None,
    # Toolkits look for a Wayland session by themselves, also without the variable.
    "GDK_BACKEND": "x11",
    "QT_QPA_PLATFORM": "xcb",
    "XDG_SESSION_TYPE": "x11",
    "XDG_SESSION_ID": None,
}

_SIDE_PX = range(16, 16385)


def parse_size(text: str) -> tuple[int, int]:
    """Read ``1280x800`` as (width, height) in pixels.

    Raises:
        UsageError: the text has another form, or a screen cannot have this size.
    """
    match = re.fullmatch(r"\s*(\d{1,6})\s*[xX×]\s*(\d{1,6})\s*", text)
    if not match:
        raise UsageError(f"expected a screen size such as 1280x800, got {text!r}")
    width, height = int(match[1]), int(match[2])
    _check_size(width, height)
    return width, height


def _check_size(width: int, height: int) -> None:
    if width not in _SIDE_PX or height not in _SIDE_PX:
        raise UsageError(
            f"a virtual display is {_SIDE_PX[0]} to {_SIDE_PX[-1]} pixels on a side, got {width}x{height}; "
            "1280x800 is a good choice"
        )


class VirtualDisplay:
    """An invisible X screen of ``width`` x ``height`` pixels; DISPLAY names it while it is active.

        with VirtualDisplay(1280, 800):
            ...

    A window manager runs on it if one is installed. The server stops when this process ends, even if it is killed.
    """

    def __init__(
        self, width: int = 1280, height: int = 800, depth: int = 24, *, window_manager: str | None = "openbox"
    ) -> None:
        _check_size(width, height)
        if depth not in (24, 30):
            raise UsageError(f"depth must be 24 or 30 bits per pixel, got {depth}")
        self.width, self.height, self.depth = width, height, depth
        self.window_manager = window_manager
        # ":57" while the display is active, otherwise empty.
        self.name = ""
        self._server: subprocess.Popen[bytes] | None = None
        self._manager: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] | None = None
        self._old_environment: dict[str, str | None] = {}

    def start(self, timeout_s: float = 60.0) -> Self:
        """Start the server and the window manager, wait until both answer, and set DISPLAY.

        Raises:
            EnvError: Xvfb is not installed or does not start.
            UsageError: this display is already active.
        """
        if self._server:
            raise UsageError(f"this virtual display is already active as {self.name}; stop it first")
        if not shutil.which("Xvfb"):
            raise EnvError(
                "a virtual display needs Xvfb, which is not installed: "
                "apt-get install xvfb openbox (Fedora: dnf install xorg-x11-server-Xvfb openbox)"
            )
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        screen = f"{self.width}x{self.height}x{self.depth}"
        self._server = subprocess.Popen(
            # -noreset: do not forget everything when the last window closes.
            ["sh", "-c", _SUPERVISOR, "xvfb", "-screen", "0", screen, "-nolisten", "tcp", "-noreset"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            # Ctrl-C must reach us first: keys and buttons are released before the screen goes.
            start_new_session=True,
            env=child_environment(),
        )
        try:
            self.name = f":{self._await_number(timeout_s)}"
            self._set_environment()
            self._start_manager(timeout_s)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stop everything and set DISPLAY back; safe to call twice."""
        for key, value in self._old_environment.items():
            _set_variable(key, value)
        self._old_environment = {}
        if self._manager:
            # Before the server: it would report a lost connection.
            self._manager.terminate()
            _wait_or_kill(self._manager)
        if self._server and self._server.stdin and self._server.stdout:
            with contextlib.suppress(BrokenPipeError):
                self._server.stdin.close()
            _wait_or_kill(self._server)
            self._server.stdout.close()
        if self._log:
            self._log.close()
        self._server, self._manager, self._log, self.name = None, None, None, ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _await_number(self, timeout_s: float) -> int:
        assert self._server
        assert self._server.stdout
        assert self._log
        deadline, report = time.monotonic() + timeout_s, b""
        while not report.endswith(b"\n"):
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0 or not select.select([self._server.stdout], [], [], remaining_s)[0]:
                raise EnvError(f"Xvfb did not become ready within {timeout_s:g} s; is the machine overloaded?")
            part = os.read(self._server.stdout.fileno(), 64)
            if not part:
                self._log.seek(0)
                log_tail = self._log.read().decode(errors="replace").strip()[-400:]
                raise EnvError(f"Xvfb did not start a {self.width}x{self.height}x{self.depth} screen: {log_tail}")
            report += part
        return int(report)

    def _set_environment(self) -> None:
        # The lock of the user's session does not cover it.
        for key, value in {**_ENVIRONMENT, "DISPLAY": self.name, VIRTUAL_DISPLAY: self.name}.items():
            self._old_environment[key] = os.environ.get(key)
            _set_variable(key, value)

    def _start_manager(self, timeout_s: float) -> None:
        if not (self.window_manager and shutil.which(self.window_manager)):
            return
        from molmo_agent.envs.desktop import x11

        self._manager = subprocess.Popen(
            [self.window_manager],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=child_environment(),
        )
        display: Any = x11.connect(self.name)
        try:
            if not x11.window_manager_answers(display, timeout_s):
                raise EnvError(
                    f"the window manager {self.window_manager!r} did not get ready on {self.name} within "
                    f"{timeout_s:g} s; choose another one, or none with window_manager=None"
                )
        finally:
            x11.disconnect(display)


def _set_variable(key: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(key, None)
    else:
        os.environ[key] = value


def _wait_or_kill(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=3)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
