"""Helpers of the tests that use a real X screen: a process that acts on it, a window that reports, real programs."""

import contextlib
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
from multiprocessing.pool import AsyncResult

import pytest
from waiting import PATIENCE_S, wait_for

from molmo_agent.envs.desktop.env import Desktop, Pace

# No waiting where nothing reacts to time.
FAST = Pace(hover_s=0, press_s=0, between_clicks_s=0, drag_hold_s=0, drag_step_s=0)

_desktops: dict[str, Desktop] = {}


def needs(*programs):
    missing = [program for program in programs if not shutil.which(program)]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)} (make system)")


def act(options, *actions):
    """Act on a desktop with these options, in this process, and return the last observation."""
    key = repr(options)
    if key not in _desktops:
        _desktops[key] = Desktop(**options)
    # A run of its own: where the pointer was before does not stop it.
    observation = _desktops[key].reset()[0]
    for action in actions:
        observation = _desktops[key].step(action)[0]
    return observation


class Actor:
    """A process of its own that acts: pyautogui serves one display per process."""

    def __init__(self):
        # Ctrl-C works there even if these tests were started where it is ignored, as a shell does in the background.
        handle_ctrl_c = (signal.SIGINT, signal.default_int_handler)
        self._pool = multiprocessing.get_context("spawn").Pool(1, signal.signal, handle_ctrl_c)
        self._pid = self.do(os.getpid)

    def start(self, function, *args) -> AsyncResult:
        return self._pool.apply_async(function, args)

    def do(self, function, *args):
        # Whole runs are done there.
        return self.start(function, *args).get(timeout=4 * PATIENCE_S)

    def act(self, options, *actions):
        return self.do(act, options, *actions)

    def interrupt(self):
        """Press Ctrl-C in that process, as it were."""
        os.kill(self._pid, signal.SIGINT)

    def close(self):
        self._pool.terminate()
        self._pool.join()


class EventWindow:
    """The event window as a context manager."""

    def __init__(self, class_name="events", seed=0):
        script = pathlib.Path(__file__).with_name("desktop_event_window.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script), class_name, str(seed)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.marks = next(event for event in self._lines() if event["type"] == "ready")["marks"]

    def _lines(self):
        for line in self._process.stdout:
            # python-xlib may put a remark on authority files before ours.
            if line.startswith("{"):
                yield json.loads(line)

    def events(self, *kinds):
        """Return the events since the last call, of these kinds only if any are named."""
        self._process.stdin.write("sync\n")
        self._process.stdin.flush()
        found = []
        for event in self._lines():
            if event["type"] == "sync":
                break
            found.append(event)
        return [event for event in found if not kinds or event["type"] in kinds]

    def stop(self):
        """Let it hang: it sees no event until it resumes."""
        self._process.send_signal(signal.SIGSTOP)

    def resume(self):
        self._process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # Not asked: it may be stuck with events that nobody has read.
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@contextlib.contextmanager
def program(*command):
    """Run a program with everything that it starts, and end all of it."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for_focus(title):
    """Wait until a window with this in its title takes keys."""
    active = ["xdotool", "getactivewindow", "getwindowname"]
    wait_for(
        lambda: title in subprocess.run(active, capture_output=True, text=True, check=False).stdout,
        f"the focus of {title}",
    )


def clipboard():
    return _clipboard_bytes().decode()


def _clipboard_bytes(kind=None):
    command = ["xclip", "-selection", "clipboard", "-o", *(["-t", kind] if kind else [])]
    return subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=False).stdout


def set_clipboard(content, kind="UTF8_STRING"):
    subprocess.run(
        ["xclip", "-selection", "clipboard", "-t", kind],
        input=content,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=PATIENCE_S,
    )
    # xclip returns before the X server knows the new owner.
    wait_for(lambda: _clipboard_bytes(kind) == content, "the new content of the clipboard")


def heed_signals():
    """Let a child end on SIGINT and SIGHUP, for ``preexec_fn``.

    Tests that run in the background of a shell or under nohup hand on that these are ignored.
    """
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
