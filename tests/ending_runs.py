"""Runs of ``agent run`` that tests end from outside: by signals, at prompts, by the loss of their display."""

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from desktop_screen import heed_signals

from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.rollout.trajectory import read_folder

# Each is one part of a task that takes long.
TASKS = {
    "drag": ", ".join(["drag a to b"] * 30),
    "type": f'type "{"Hello World " * 80}"',
    "paste": f'type "{"äöü 日本 🙂 " * 40}"',
    "chord": ", ".join(["press alt+shift+f"] * 60),
    "wait": "wait 1000 seconds",
}
# A shell line, and the exit code of a run that would succeed: it ends where nobody can read what it prints.
STREAMS = {
    "stdin closed": ("{} <&-", 0),
    "stdout closed": ("{} >&-", 0),
    "everything closed": ("{} <&- >&- 2>&-", 0),
    "latin-1": ("PYTHONIOENCODING=latin-1 {}", 0),
    "ascii": ("LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 {}", 0),
    "a full disk": ("{} >/dev/full", 130),
    "stderr on a full disk": ("{} 2>/dev/full", 0),
    "a reader that leaves": ("set -o pipefail; {} | head -n 1 >/dev/null", 130),
}


@dataclass
class End:
    """How a run ended: its exit code and what it left."""

    code: int
    output: str
    errors: str
    folder: Path

    @property
    def reason(self):
        result = read_folder(self.folder).result
        return result and result["ended"]

    @property
    def event(self):
        """The last line of ``--json``."""
        return json.loads(self.output.splitlines()[-1])


def command(folder, *options):
    return [sys.executable, "-m", "molmo_agent", "run", "--out", str(folder), *options]


def desktop_options(folder, what):
    """Return the options of a run on a real desktop that does one thing for long, after a first short step."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    points = folder.with_suffix(".json")
    points.write_text('{"a": [0.2, 0.3], "b": [0.8, 0.7]}')
    task = f"wait 0.01 seconds, {TASKS[what]}"
    return ["--env", "desktop", "--confirm", "never", "--model", f"scripted:{points}", "--task", task, "--json"]


def await_handler(process):
    """Wait until the command handles signals: before that Python itself starts, which a signal ends in its own way."""
    status, deadline = Path(f"/proc/{process.pid}/status"), time.monotonic() + 60
    if not status.exists():
        pytest.skip("only Linux tells which signals a process handles")
    while time.monotonic() < deadline:
        words = status.read_text().split()
        if int(words[words.index("SigCgt:") + 1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.01)
    raise AssertionError("the command did not start")


class PipedRun:
    """A run whose output is read by the test."""

    def __init__(self, folder, *options, env=None):
        self.folder = folder
        self._process = subprocess.Popen(
            command(folder, *options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **(env or {})},
            preexec_fn=heed_signals,
        )

    def await_start(self):
        await_handler(self._process)

    def await_line(self):
        """Wait for a line of output: the first step is done."""
        return self._process.stdout.readline()

    def await_record(self):
        """Wait until the run has begun: it asks the model for the first step."""
        deadline = time.monotonic() + 60
        while not (self.folder / "steps.jsonl").exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(self._process.communicate(timeout=60))
            time.sleep(0.02)

    def signal(self, number):
        self._process.send_signal(number)

    def end(self):
        """Wait for the end, which none of these runs finds by itself."""
        try:
            output, errors = self._process.communicate(timeout=60)
        finally:
            self._process.kill()
            self._process.communicate()
        return End(self._process.returncode, output, errors, self.folder)


class TerminalRun:
    """A run at a terminal of its own; used as a context manager."""

    def __init__(self, folder, *options, env=None):
        self.folder = folder
        self._terminal, self._inside = pty.openpty()
        self._settings = termios.tcgetattr(self._inside)
        self.text = b""
        self._process = subprocess.Popen(
            command(folder, *options),
            stdin=self._inside,
            stdout=self._inside,
            stderr=self._inside,
            env={**os.environ, **(env or {})},
            start_new_session=True,
            preexec_fn=self._take_terminal,
        )

    @staticmethod
    def _take_terminal():
        heed_signals()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    def _read(self):
        while self._terminal is not None and select.select([self._terminal], [], [], 0.02)[0]:
            self.text += os.read(self._terminal, 65536)

    def await_start(self):
        await_handler(self._process)

    def await_text(self, text):
        deadline = time.monotonic() + 60
        while text not in self.text:
            self._read()
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(self.text[-2000:])

    def press(self, keys):
        os.write(self._terminal, keys)

    def signal(self, number):
        self._process.send_signal(number)

    def hang_up(self):
        """Close the terminal, as by its window's button."""
        os.close(self._inside)
        os.close(self._terminal)
        self._inside = self._terminal = None

    @property
    def is_as_before(self):
        """Whether the terminal has the settings that it had before the run."""
        return termios.tcgetattr(self._inside) == self._settings

    def end(self):
        deadline = time.monotonic() + 60
        while self._process.poll() is None and time.monotonic() < deadline:
            self._read()
            time.sleep(0.02)
        self._read()
        return End(self._process.wait(timeout=1), self.text.decode(errors="replace"), "", self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        for number in (self._inside, self._terminal):
            if number is not None:
                os.close(number)


class Screen(VirtualDisplay):
    """A virtual display that can be killed or stopped; it does not change this process's DISPLAY."""

    def __init__(self):
        super().__init__(320, 240, window_manager=None)

    def _set_environment(self):
        self.environment = {"DISPLAY": self.name, "XAUTHORITY": os.devnull}

    @property
    def _server_pid(self):
        listed = subprocess.run(
            ["ps", "--ppid", str(self._server.pid), "-o", "pid=,comm="], capture_output=True, text=True
        )
        return next(int(line.split()[0]) for line in listed.stdout.splitlines() if "Xvfb" in line)

    def kill(self):
        os.kill(self._server_pid, signal.SIGKILL)

    def hang(self):
        os.kill(self._server_pid, signal.SIGSTOP)

    def stop(self):
        with contextlib.suppress(StopIteration, AttributeError):
            os.kill(self._server_pid, signal.SIGCONT)
        super().stop()


def check_lost_displays(folder, kinds, *, hangs):
    """Take the display from runs that do something on it; all at once."""
    screens = {kind: Screen() for kind in kinds}
    runs = {}
    try:
        for kind, screen in screens.items():
            screen.start()
            runs[kind] = PipedRun(folder / kind, *desktop_options(folder / kind, kind), env=screen.environment)
        for run in runs.values():
            run.await_line()
        for kind, screen in screens.items():
            if hangs:
                screen.hang()
                runs[kind].signal(signal.SIGTERM)
            else:
                screen.kill()
        ends = {kind: run.end() for kind, run in runs.items()}
    finally:
        for screen in screens.values():
            screen.stop()
    for kind, end in ends.items():
        if hangs:
            assert (end.code, end.reason) == (130, "stopped by the user (SIGTERM)"), kind
        else:
            assert end.code == 3, (kind, end)
            assert "display" in end.reason, kind
        assert end.event["event"] == "end", kind
        assert "Traceback" not in end.errors, kind
        assert "agent view" in end.errors, kind


def check_streams(folder, names, *options):
    """Run with standard streams that are closed, narrow or full."""
    problems = []
    for name in names:
        line, code = STREAMS[name]
        own = folder / name.replace(" ", "-")
        words = command(own, "--env", "sim-desktop", "--model", "oracle", "--family", "fill-form-and-submit", *options)
        shell = ["bash", "-c", line.format(" ".join(words))]
        done = subprocess.run(shell, capture_output=True, timeout=280, stdin=subprocess.DEVNULL, check=False)
        ended = read_folder(own).result["ended"]
        is_right = done.returncode == code and ("its output is closed" in ended) == (code == 130)
        if not is_right or b"Traceback" in done.stderr + done.stdout:
            problems.append((name, done.returncode, ended, done.stderr))
    assert problems == []
