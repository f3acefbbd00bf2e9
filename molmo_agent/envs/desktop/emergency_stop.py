"""The emergency stop: the user pushes the pointer into a corner of a monitor, and the run ends.

A thread watches the pointer, because a run spends most of its time with captures and models: a push that is over before
the next action must count too.
"""

import contextlib
import threading
from collections.abc import Callable, Iterable
from typing import Protocol

from molmo_agent.envs.desktop.capture import Area, Monitor
from molmo_agent.errors import EnvError, RunStopped

# A hand that pushes the pointer into a corner leaves it there for longer.
_LOOK_S = 0.05
_END_S = 0.3

Position = tuple[int, int]


def corners(monitors: Iterable[Monitor]) -> frozenset[Position]:
    """Return the corner positions of all monitors, in input units.

    The corners of the box around several monitors are not enough: where these have different heights, no pointer gets
    to some of them.
    """
    areas = [monitor.area for monitor in monitors]
    return frozenset((x, y) for a in areas for x in (a.left, a.right - 1) for y in (a.top, a.bottom - 1))


def beside_corner(position: Position, monitors: Iterable[Monitor]) -> Position:
    """Return the position itself, or the one next to it if it is a corner: a pointer there would stop the run."""
    monitors = list(monitors)
    stops = corners(monitors)
    if position not in stops:
        return position
    x, y = position
    for near in ((x + 1, y), (x - 1, y), (x, y + 1), (x, y - 1)):
        if near not in stops and any(monitor.area.contains(Area(*near, 1, 1)) for monitor in monitors):
            return near
    return position


def emergency_stop(corner: Position) -> RunStopped:
    """Return the error for a pointer in a corner."""
    return RunStopped(
        f"stopped: the mouse pointer is in the corner {corner} of the screen, which is the emergency stop. "
        "To continue, move it out of the corner and start again"
    )


class Watcher(Protocol):
    """What a watching thread uses; made and closed in that thread."""

    def pointer(self) -> Position:
        """Return where the pointer is, in input units."""
        ...

    def monitors(self) -> list[Monitor]:
        """Return the monitors as they are now."""
        ...

    def close(self) -> None:
        """Disconnect."""
        ...


class EmergencyStop:
    """Remembers whether the user pushed the pointer into a corner since the last check.

    ``check`` looks for itself; the thread that ``start`` begins also notices a push that is over by then.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # The corner that the pointer was pushed into and that was not reported yet.
        self._pushed: Position | None = None
        # Whether the pointer was in a corner at the last look: it is reported once, however long it stays.
        self._inside = False
        self._own_position: Position | None = None
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def moved(self, position: Position) -> None:
        """Note where our own input has just put the pointer: no push, even if the monitors change around it."""
        with self._lock:
            self._own_position = position

    def check(self, position: Position, monitors: Iterable[Monitor]) -> None:
        """Look at the pointer.

        Raises:
            RunStopped: it is in a corner, or was since the last check.
        """
        self._look(position, monitors)
        with self._lock:
            pushed = position if self._inside else self._pushed
        if pushed is not None:
            self.report()
            raise emergency_stop(pushed)

    def report(self) -> None:
        """Note that the user has been told: the same push does not stop whatever comes next."""
        with self._lock:
            self._pushed, self._inside = None, True

    def start(self, connect: Callable[[], Watcher]) -> None:
        """Watch the pointer in a thread from now on, and forget earlier pushes; ``connect`` is called there."""
        with self._lock:
            self._pushed, self._inside = None, False
        if self._thread is None or not self._thread.is_alive():
            self._ending.clear()
            self._thread = threading.Thread(target=self._watch, args=(connect,), name="emergency stop", daemon=True)
            self._thread.start()

    def end(self) -> None:
        """End the thread; safe to call twice."""
        self._ending.set()
        # An env that nobody closed may be collected in the thread itself.
        if self._thread not in (None, threading.current_thread()):
            # Not longer: it may wait for a display that does not answer.
            self._thread.join(_END_S)
        self._thread = None

    def _look(self, position: Position, monitors: Iterable[Monitor]) -> None:
        is_corner = position in corners(monitors)
        with self._lock:
            if position != self._own_position:
                self._own_position = None
            inside = is_corner and self._own_position is None
            if inside and not self._inside:
                self._pushed = position
            self._inside = inside

    def _watch(self, connect: Callable[[], Watcher]) -> None:
        # A lost display is reported by the next capture or input.
        with contextlib.suppress(EnvError), contextlib.closing(connect()) as watcher:
            while not self._ending.wait(_LOOK_S):
                self._look(watcher.pointer(), watcher.monitors())
