"""Start a program for ``--start`` and wait until its window is there; ``--start`` goes with the desktop only."""

import contextlib
import importlib
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from molmo_agent.child_environment import child_environment
from molmo_agent.errors import EnvError
from molmo_agent.interrupts import last_step

# How long to wait for the window of a program.
WINDOW_S = 30.0
# A program that ends without an error may have handed over to one that runs already, which opens no window.
HANDED_OVER_S = 5.0
# How long it may take to end; a program may ask whether to save.
END_S = 0.7
_POLL_S = 0.05


@contextlib.contextmanager
def started(command: str, *, window_s: float = WINDOW_S) -> Iterator[None]:
    """Run a program inside the ``with`` block, which begins when its window is there.

    On X11 the window is any new one: many programs are started by another one. Elsewhere a change of the screen counts.

    Args:
        command: the program with its arguments, as in a shell.
        window_s: how long to wait for the window.

    Raises:
        EnvError: the program cannot be started, ends with an error, or shows no window.
    """
    with contextlib.ExitStack() as stack:
        with _new_window() as is_there:
            try:
                program = subprocess.Popen(
                    shlex.split(command),
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=child_environment(),
                )
            except OSError as error:
                raise EnvError(f"could not start {command!r}: {error}; is it installed?") from error
            stack.callback(_end, program)
            stack.enter_context(last_step(lambda reason: program.kill()))
            _await(command, program, is_there, window_s)
        yield


def _end(program: subprocess.Popen[bytes]) -> None:
    """End a program, also one that does not heed the request."""
    program.terminate()
    try:
        program.wait(END_S)
    except subprocess.TimeoutExpired:
        program.kill()
        program.wait()


def _await(command: str, program: subprocess.Popen[bytes], is_there: Callable[[], bool], window_s: float) -> None:
    start, ended_s = time.monotonic(), None
    while not is_there():
        waited_s = time.monotonic() - start
        code = program.poll()
        if code not in (None, 0):
            raise EnvError(f"{command!r} ended at once with exit code {code}")
        if code == 0 and ended_s is None:
            ended_s = waited_s
        if ended_s is not None and waited_s - ended_s >= HANDED_OVER_S:
            return
        if waited_s >= window_s:
            raise EnvError(
                f"{command!r} opened no window within {window_s:g} s. If it takes longer or needs no window, start it "
                "before the run"
            )
        time.sleep(_POLL_S)


@contextlib.contextmanager
def _new_window() -> Iterator[Callable[[], bool]]:
    """Remember what is on the screen, and yield a function that returns whether a window has come."""
    if sys.platform.startswith("linux"):
        x11: Any = importlib.import_module("molmo_agent.envs.desktop.x11")
        if importlib.import_module("molmo_agent.envs.desktop.wayland").is_wayland():
            raise EnvError(
                "--start is not possible on Wayland, which does not tell whether a program has opened its window. "
                "Start the program yourself, or use --virtual-display 1280x800"
            )
        display = x11.connect()

        def windows() -> set[int]:
            return {window.id for window in x11.windows(display)}

        try:
            old = windows()
            yield lambda: not windows() <= old
        finally:
            x11.disconnect(display)
    else:
        module: Any = importlib.import_module("molmo_agent.envs.desktop.capture")
        capture = module.open_capture()
        try:
            area = module.bounds(capture.monitors())
            image = capture.grab(area)
            yield lambda: not np.array_equal(capture.grab(area), image)
        finally:
            capture.close()
