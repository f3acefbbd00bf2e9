"""A desktop of its own for one task: virtual display, message bus, accessibility, home folder, one program."""

import contextlib
import json
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from molmo_agent.envs.desktop.private_bus import write_bus_config
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.errors import EnvError
from molmo_agent.synthetic.real_screens.accessibility import ENVIRONMENT, SYSTEM_PYTHON, enable, has_atspi

SIZE = (1280, 800)
REMEDY = "apt-get install xvfb openbox dbus-x11 dbus at-spi2-core gir1.2-atspi-2.0 python3-gi libatk-adaptor"
_READER = Path(__file__).with_name("tree_reader.py")
# The bus lives as long as its shell, and the shell as long as the pipe from this process.
_BUS = 'echo "$DBUS_SESSION_BUS_ADDRESS"; exec >/dev/null; read -r _'
_ACCESSIBLE = {
    **ENVIRONMENT,
    # Settings go to a file of the home folder; without a daemon they would be lost.
    "GSETTINGS_BACKEND": "keyfile",
    "LIBGL_ALWAYS_SOFTWARE": "1",
    "LANG": "C.UTF-8",
    "GTK_THEME": "Adwaita",
}


def missing_tools() -> list[str]:
    """Return what a session needs and this machine lacks."""
    missing = [name for name in ("Xvfb", "openbox", "dbus-run-session", "dbus-send") if not shutil.which(name)]
    if not has_atspi(SYSTEM_PYTHON, timeout_s=60):
        missing.append("AT-SPI for the system's Python")
    return missing


class Session:
    """A display with its own bus and home folder; DISPLAY names it while it is active.

    Args:
        files: content of files in the home folder, by relative path.
        size: (width, height) of the screen in pixels.
    """

    def __init__(self, files: Mapping[str, bytes], size: tuple[int, int] = SIZE) -> None:
        self._files, self.size = files, size
        self._resources = contextlib.ExitStack()
        self._programs: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Start display and bus, and write the files.

        Raises:
            EnvError: one of them does not start.
        """
        with contextlib.ExitStack() as resources:
            folder = tempfile.mkdtemp(prefix="home-")
            resources.callback(shutil.rmtree, folder, ignore_errors=True)
            self.home = Path(folder)
            self._write_files()
            display = resources.enter_context(VirtualDisplay(*self.size))
            self._environment = {
                **{name: os.environ[name] for name in ("PATH", "USER", "XAUTHORITY") if name in os.environ},
                **_ACCESSIBLE,
                "DISPLAY": display.name,
                "HOME": folder,
                "XDG_RUNTIME_DIR": f"{folder}/.run",
            }
            self._start_bus(resources)
            self._resources = resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def _write_files(self) -> None:
        (self.home / ".run").mkdir(mode=0o700)
        for name in (".config", ".cache", "Documents", "Downloads", "Pictures"):
            (self.home / name).mkdir()
        for name, content in self._files.items():
            path = self.home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            # Settings name the home folder, which has another name every time.
            path.write_bytes(content.replace(b"@HOME@", str(self.home).encode()))

    def _start_bus(self, resources: contextlib.ExitStack) -> None:
        bus = subprocess.Popen(
            ["dbus-run-session", f"--config-file={write_bus_config(self.home / '.run')}", "--", "sh", "-c", _BUS],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
            cwd=self.home,
            start_new_session=True,
        )
        resources.callback(_end, bus)
        assert bus.stdin
        assert bus.stdout
        resources.callback(bus.stdout.close)
        resources.callback(bus.stdin.close)
        # Last in, first out: programs end before their bus.
        resources.callback(self._end_programs)
        address = bus.stdout.readline().decode().strip()
        if not address:
            raise EnvError(f"the message bus did not start: {REMEDY}")
        self._environment["DBUS_SESSION_BUS_ADDRESS"] = address
        done = self.run(enable("IsEnabled"))
        if done.returncode:
            reason = done.stderr.decode(errors="replace").strip()[-300:]
            raise EnvError(f"the accessibility bus does not answer: {reason}; {REMEDY}")

    @property
    def display(self) -> str:
        """The name of the X display."""
        return self._environment["DISPLAY"]

    def start(self, command: str) -> None:
        """Start a program; ``@HOME@`` in the command stands for the home folder.

        Raises:
            EnvError: it is not installed, or ends at once.
        """
        words = shlex.split(command.replace("@HOME@", str(self.home)))
        try:
            program = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._environment,
                cwd=self.home,
                start_new_session=True,
            )
        except OSError as error:
            raise EnvError(f"could not start {command!r}: {error}; is it installed?") from error
        self._programs.append(program)

    def run(self, command: Sequence[str], timeout_s: float = 60.0) -> "subprocess.CompletedProcess[bytes]":
        """Run a command in the session and return its result.

        Raises:
            EnvError: it takes longer than ``timeout_s`` seconds.
        """
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=self._environment,
                cwd=self.home,
                timeout=timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise EnvError(f"{command[0]} did not answer within {timeout_s:g} s; is the machine overloaded?") from error

    def tree(self) -> list[dict[str, Any]]:
        """Return the accessibility nodes that are showing, see ``tree_reader.py``.

        Raises:
            EnvError: the bus cannot be read.
        """
        done = self.run([SYSTEM_PYTHON, str(_READER)])
        if done.returncode:
            raise EnvError(f"the accessibility tree cannot be read: {done.stderr.decode(errors='replace')[-300:]}")
        nodes: list[dict[str, Any]] = json.loads(done.stdout)
        return nodes

    def titles(self) -> list[str]:
        """Return the titles of the windows that the window manager manages."""
        from Xlib.error import BadWindow

        from molmo_agent.envs.desktop import x11

        display: Any = x11.connect(self.display)
        try:
            titles = []
            for number in x11.read_property(display, display.screen().root, "_NET_CLIENT_LIST") or ():
                # A window may close between the list and the question for its title.
                with contextlib.suppress(BadWindow):
                    titles.append(x11.window_title(display, display.create_resource_object("window", number)))
            return titles
        finally:
            display.close()

    def await_window(self, timeout_s: float = 60.0) -> None:
        """Wait until a window is there whose program answers on the accessibility bus.

        Raises:
            EnvError: none comes.
        """
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.titles() and any("box" in node for node in self.tree()):
                return
            if self._programs and self._programs[-1].poll() not in (None, 0):
                raise EnvError(f"the program ended at once with exit code {self._programs[-1].returncode}")
            time.sleep(0.3)
        raise EnvError(f"no window appeared within {timeout_s:g} s")

    def close_windows(self, timeout_s: float = 5.0) -> None:
        """Ask the program to end, as programs that write their settings at the end need; wait for it."""
        for program in self._programs:
            if program.poll() is None:
                program.terminate()
        deadline = time.monotonic() + timeout_s
        for program in self._programs:
            with contextlib.suppress(subprocess.TimeoutExpired):
                program.wait(max(0.0, deadline - time.monotonic()))

    def _end_programs(self) -> None:
        for program in self._programs:
            _end(program)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and what it started: it leads a process group of its own."""
    import signal

    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            continue
        if number == signal.SIGTERM:
            time.sleep(0.1)
