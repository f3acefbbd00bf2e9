"""A desktop session for one program on a virtual display: message bus, accessibility, home folder, keys and clicks."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from molmo_agent.envs.desktop.capture import Area, open_capture
from molmo_agent.envs.desktop.private_bus import write_bus_config
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.episode import Image
from molmo_agent.errors import EnvError, UsageError
from molmo_agent.synthetic.real_screens import home
from molmo_agent.synthetic.real_screens.accessibility import ENVIRONMENT, SYSTEM_PYTHON, enable, has_atspi
from molmo_agent.synthetic.real_screens.looks import Look, environment, write_settings

NEEDED = {
    "Xvfb": "xvfb",
    "openbox": "openbox",
    "dbus-daemon": "dbus-x11",
    "dbus-send": "dbus-x11",
}
REMEDY = "apt-get install xvfb openbox dbus-x11 at-spi2-core gir1.2-atspi-2.0 python3-gi libatk-adaptor qt5ct"
READER = Path(__file__).with_name("atspi_reader.py")
_MARK = "MOLMO_AGENT_RECORDING"


def check_tools() -> None:
    """Look for everything that recording programs needs.

    Raises:
        EnvError: something is not installed.
    """
    missing = [f"{name} ({package})" for name, package in NEEDED.items() if not shutil.which(name)]
    if not missing and not has_atspi(SYSTEM_PYTHON, timeout_s=30):
        missing.append("AT-SPI for the system's Python (gir1.2-atspi-2.0 python3-gi)")
    if missing:
        raise EnvError(f"recording programs needs {', '.join(missing)}: {REMEDY}")


class Session:
    """A display with one look and its own message bus; programs started in it end with it.

    Args:
        look: size and theme.
        user: account that programs run as; None: this one. Needs root.

    Raises:
        UsageError: there is no such account, or this process may not become it.
    """

    def __init__(self, look: Look, user: str | None = None) -> None:
        self.look = look
        self._account: dict[str, Any] = {}
        if user:
            try:
                entry = pwd.getpwnam(user)
            except KeyError:
                raise UsageError(
                    f"there is no account {user!r} on this machine; create it, or leave --user out"
                ) from None
            if os.geteuid() != 0:
                raise UsageError(f"only root can run programs as {user!r}; leave --user out")
            self._account = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        self._display = VirtualDisplay(*look.size)
        self._mark = uuid.uuid4().hex
        self._resources = contextlib.ExitStack()
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Start display and bus.

        Raises:
            EnvError: one of them does not start.
        """
        with contextlib.ExitStack() as resources:
            self.home = Path(resources.enter_context(_temporary_home()))
            resources.enter_context(self._display)
            resources.callback(self._end_programs)
            home.fill(self.home)
            write_settings(self.look, self.home)
            if self._account:
                for path in (self.home, *self.home.rglob("*")):
                    os.chown(path, self._account["user"], self._account["group"])
            self._start_bus()
            self._connect(resources)
            # Starts the registry: Qt programs that open while it is still starting never join it.
            self.read()
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def _connect(self, resources: contextlib.ExitStack) -> None:
        from molmo_agent.envs.desktop import x11

        self.x_display: Any = x11.connect(self._display.name)
        resources.callback(self.x_display.close)
        self._capture = open_capture()
        resources.callback(self._capture.close)

    def _start_bus(self) -> None:
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ},
            **environment(self.look),
            "DISPLAY": self._display.name,
            "HOME": str(self.home),
            "USER": pwd.getpwuid(self._account.get("user", os.geteuid())).pw_name,
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.home / ".run"),
            "XDG_CURRENT_DESKTOP": "XFCE",
            "XDG_SESSION_TYPE": "x11",
            **ENVIRONMENT,
            "GTK_OVERLAY_SCROLLING": "0",
            "LIBGL_ALWAYS_SOFTWARE": "1",
            _MARK: self._mark,
        }
        config = write_bus_config(self.home / ".run")
        command = ["dbus-daemon", f"--config-file={config}", "--print-address=1", "--nofork"]
        process = self._popen(command, stdout=subprocess.PIPE)
        assert process.stdout
        address = process.stdout.readline().decode().strip()
        process.stdout.close()
        if not address:
            raise EnvError(f"dbus-daemon did not start: {REMEDY}")
        self._environment["DBUS_SESSION_BUS_ADDRESS"] = address
        for switch in ("IsEnabled", "ScreenReaderEnabled"):
            done = self._run(enable(switch), timeout_s=20)
            if done.returncode:
                reason = done.stderr.decode(errors="replace").strip()[-300:]
                raise EnvError(f"the accessibility bus does not answer: {reason}; {REMEDY}")

    def _popen(self, command: Sequence[str], stdout: int = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            cwd=self.home,
            start_new_session=True,
            **self._account,
        )
        self._processes.append(process)
        return process

    def _run(self, command: Sequence[str], timeout_s: float) -> "subprocess.CompletedProcess[bytes]":
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=self._environment,
                cwd=self.home,
                timeout=timeout_s,
                check=False,
                **self._account,
            )
        except subprocess.TimeoutExpired as error:
            raise EnvError(f"{command[0]} did not answer within {timeout_s:g} s; is the machine overloaded?") from error

    def start(self, command: Sequence[str]) -> None:
        """Start a program.

        Raises:
            EnvError: it is not installed.
        """
        if not shutil.which(command[0]):
            raise EnvError(f"the program {command[0]!r} is not installed")
        self._popen(command)

    def read(self, timeout_s: float = 60.0) -> list[dict[str, Any]]:
        """Return the accessibility nodes that are showing; see ``atspi_reader.py``.

        Raises:
            EnvError: the reader failed or took too long.
        """
        done = self._run([SYSTEM_PYTHON, str(READER)], timeout_s)
        if done.returncode:
            raise EnvError(f"the accessibility tree cannot be read: {done.stderr.decode(errors='replace')[-300:]}")
        return json.loads(done.stdout)

    def grab(self) -> Image:
        """Return the screen, (height, width, 3) uint8 RGB."""
        return self._capture.grab(Area(0, 0, *self.look.size))

    def await_still(self, still_s: float = 0.6, timeout_s: float = 15.0) -> Image:
        """Return the screen once it has not changed for ``still_s``, or at the end of the time."""
        deadline = time.monotonic() + timeout_s
        before, since = self.grab(), time.monotonic()
        while time.monotonic() < deadline and time.monotonic() - since < still_s:
            time.sleep(0.15)
            after = self.grab()
            if changed_pixels(before, after) > CARET:
                since = time.monotonic()
            before = after
        return before

    def paint(self, color: int) -> None:
        """Fill the background of the screen with 0xRRGGBB."""
        root = self.x_display.screen().root
        root.change_attributes(background_pixel=color)
        root.clear_area()
        self.x_display.sync()

    def maximize(self) -> None:
        """Make the active window as large as the screen."""
        import Xlib.protocol.event
        import Xlib.X

        display, root = self.x_display, self.x_display.screen().root
        active = root.get_full_property(display.intern_atom("_NET_ACTIVE_WINDOW"), Xlib.X.AnyPropertyType)
        if active and active.value[0]:
            window = display.create_resource_object("window", active.value[0])
            atoms = [display.intern_atom(f"_NET_WM_STATE_MAXIMIZED_{way}") for way in ("VERT", "HORZ")]
            message = Xlib.protocol.event.ClientMessage(
                window=window, client_type=display.intern_atom("_NET_WM_STATE"), data=(32, [1, *atoms, 1, 0])
            )
            root.send_event(message, Xlib.X.SubstructureRedirectMask | Xlib.X.SubstructureNotifyMask)
            display.sync()

    def press(self, *names: str) -> None:
        """Press keys together and release them; names as X calls them, such as Escape or Alt_L."""
        import Xlib.X
        import Xlib.XK

        codes = [self.x_display.keysym_to_keycode(Xlib.XK.string_to_keysym(name)) for name in names]
        for code in codes:
            self.x_display.xtest_fake_input(Xlib.X.KeyPress, code)
        for code in reversed(codes):
            self.x_display.xtest_fake_input(Xlib.X.KeyRelease, code)
        self.x_display.sync()

    def move(self, x: int, y: int) -> None:
        """Move the pointer."""
        import Xlib.X

        self.x_display.xtest_fake_input(Xlib.X.MotionNotify, x=x, y=y)
        self.x_display.sync()

    def click(self, x: int, y: int) -> None:
        """Click with the left button."""
        import Xlib.X

        self.move(x, y)
        time.sleep(0.1)
        self.x_display.xtest_fake_input(Xlib.X.ButtonPress, 1)
        self.x_display.sync()
        time.sleep(0.05)
        self.x_display.xtest_fake_input(Xlib.X.ButtonRelease, 1)
        self.x_display.sync()

    def _end_programs(self) -> None:
        """End everything that was started here, whatever it calls itself now."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            remaining = _marked(f"{_MARK}={self._mark}".encode())
            for pid in remaining:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, number)
            if remaining:
                time.sleep(0.5)
        for process in self._processes:
            process.wait()


# A blinking caret changes no more pixels than that.
CARET = 120


def changed_pixels(before: Image, after: Image) -> int:
    """Return how many pixels differ."""
    # Equal images are the usual case, and much faster to compare.
    return 0 if np.array_equal(before, after) else int(np.any(before != after, axis=2).sum())


def _marked(entry: bytes) -> list[int]:
    pids = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if entry in path.read_bytes().split(b"\0"):
                pids.append(int(path.parent.name))
    return pids


@contextlib.contextmanager
def _temporary_home() -> Any:
    # Its name is on the screen: in titles and paths.
    folder = tempfile.mkdtemp(prefix="home-")
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
