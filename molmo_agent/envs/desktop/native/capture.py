"""Capture the screens of Windows and macOS: where the monitors are, and in whose pixels.

Windows shows a program that does not declare otherwise a desktop on which every monitor has the scale of the main one:
captures are stretched, and positions on the other monitors are wrong. macOS counts in points everywhere, also on
monitors with several pixels per point, and so do captures by mss.
"""

import ctypes
import importlib
import sys
from collections.abc import Callable
from typing import Any

import mss
import mss.exception

from molmo_agent.envs.desktop.capture import Area, Monitor, bgra_to_rgb
from molmo_agent.episode import Image
from molmo_agent.errors import EnvError

# DPI_AWARENESS_CONTEXT_PER_MONITOR_AWARE_V2: each monitor has its own physical pixels, and windows follow its scale.
_PER_MONITOR_V2 = -4
# DPI_AWARENESS and PROCESS_DPI_AWARENESS: per monitor.
_PER_MONITOR = 2
_MAX_MONITORS = 32
_FAILURES = (mss.exception.ScreenShotError, OSError)


class MssCapture:
    """Captures by mss, on Windows and macOS.

    Raises:
        EnvError: the screen cannot be captured.
    """

    def __init__(self) -> None:
        self._mss: Any = None
        # The layout that mss was opened for: it asks for the device once.
        self._layout: list[Monitor] = []
        try:
            self.monitors()
        except _FAILURES as error:
            raise EnvError(f"the screen cannot be captured ({error}). Run `agent doctor`") from error

    def monitors(self) -> list[Monitor]:
        """Return the monitors as they are now.

        Raises:
            EnvError: no monitor is on.
        """
        layout = native_monitors()
        if layout != self._layout:
            self.close()
            self._mss, self._layout = mss.MSS(), layout
        return layout

    def grab(self, area: Area) -> Image:
        """Return what an area shows.

        Raises:
            EnvError: the capture failed: the session has ended or the monitors changed.
        """
        rectangle = {"left": area.left, "top": area.top, "width": area.width, "height": area.height}
        try:
            shot = self._mss.grab(rectangle)
        except _FAILURES as error:
            raise EnvError(
                f"the capture of {area.describe()} failed ({error}): the session has ended or the monitors changed. "
                "Start again"
            ) from error
        return bgra_to_rgb(shot.raw, shot.width, shot.height)

    def close(self) -> None:
        """Release everything; safe to call twice."""
        if self._mss is not None:
            self._mss.close()


class NativeWatcher:
    """What the emergency stop asks, in a thread of its own."""

    def __init__(self, position: Callable[[], tuple[int, int]]) -> None:
        if sys.platform == "win32":
            declare_dpi_awareness()
        self.pointer, self.monitors = position, native_monitors

    def close(self) -> None:
        """Do nothing: there is no connection."""


def native_monitors(platform: str = sys.platform) -> list[Monitor]:
    """Return the monitors of Windows (physical pixels) or macOS (points) as they are now.

    Raises:
        EnvError: no monitor is on, or Windows' scaling would falsify their positions.
    """
    if platform == "darwin":
        entries = mac_monitors(importlib.import_module("Quartz"))
    else:
        # Before mss, which declares something older.
        declare_dpi_awareness()
        # An open one keeps the list that it made first.
        with mss.MSS() as fresh:
            entries = [Monitor(_area(entry), bool(entry.get("is_primary"))) for entry in fresh.monitors[1:]]
    if not entries:
        raise EnvError("no monitor is on: switch one on and start again")
    return entries


def declare_dpi_awareness(user32: Any = None, shcore: Any = None) -> None:
    """Tell Windows that this process, or at least this thread, works with the physical pixels of each monitor.

    The first one to declare something wins for the whole process: a host program or another package may have been
    earlier. A thread can still declare it for itself, so call this in each thread that captures or sends input.

    Raises:
        EnvError: this process is bound to something else, in which positions would be wrong.
    """
    user32 = user32 or importlib.import_module("ctypes").windll.user32
    declared = False
    # For the process since Windows 10 1703, for the thread since 1607.
    for name in ("SetProcessDpiAwarenessContext", "SetThreadDpiAwarenessContext"):
        declare = getattr(user32, name, None)
        if declare is not None and not declared:
            # A handle: without the types its upper half would be lost.
            declare.argtypes, declare.restype = [ctypes.c_void_p], ctypes.c_void_p
            declared = bool(declare(ctypes.c_void_p(_PER_MONITOR_V2)))
    if _awareness(user32, shcore) != _PER_MONITOR:
        raise EnvError(
            "Windows scales this process as a whole, so that points on monitors with another scale would be wrong: "
            "something declared its DPI awareness before. Open the desktop before other packages that use the screen, "
            "or start it in a process of its own"
        )


def _awareness(user32: Any, shcore: Any) -> int:
    """Return what is declared; declare it by the interface of Windows 8.1 where there is no newer one."""
    if hasattr(user32, "GetThreadDpiAwarenessContext"):
        current, meaning = user32.GetThreadDpiAwarenessContext, user32.GetAwarenessFromDpiAwarenessContext
        current.restype, meaning.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
        return int(meaning(ctypes.c_void_p(current())))
    shcore = shcore or importlib.import_module("ctypes").windll.shcore
    shcore.SetProcessDpiAwareness(_PER_MONITOR)
    awareness = ctypes.c_int(-1)
    shcore.GetProcessDpiAwareness(None, ctypes.byref(awareness))
    return awareness.value


def mac_monitors(quartz: Any) -> list[Monitor]:
    """Return the monitors of macOS as they are now, in points, the unit of its input; rotated ones as they are seen."""
    _, displays, count = quartz.CGGetActiveDisplayList(_MAX_MONITORS, None, None)
    entries = []
    for display in displays[:count]:
        bounds = quartz.CGDisplayBounds(display)
        corner, size = bounds.origin, bounds.size
        area = Area(int(corner.x), int(corner.y), int(size.width), int(size.height))
        entries.append(Monitor(area, bool(quartz.CGDisplayIsMain(display))))
    return entries


def _area(entry: dict[str, Any]) -> Area:
    return Area(entry["left"], entry["top"], entry["width"], entry["height"])
