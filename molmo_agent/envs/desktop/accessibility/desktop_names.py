"""The names at a position of this desktop: of the X server's windows, of Windows, or of macOS."""

import contextlib
import functools
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from molmo_agent.envs.desktop.accessibility.names import Names, Place
from molmo_agent.episode import ScreenElement


class DesktopNames(Protocol):
    """What a desktop env asks."""

    def at(self, x: int, y: int) -> Sequence[ScreenElement]:
        """Return the named elements at a position in input units; none where nothing answers in time."""
        ...

    def close(self) -> None:
        """End what was started for it."""
        ...


class X11Names:
    """The names in the windows of an X screen.

    Args:
        display: a connection to the X server, of the thread that asks.
    """

    def __init__(self, display: Any) -> None:
        from molmo_agent.envs.desktop import x11

        self._display = display
        with x11.exchange(display):
            address = x11.read_property(display, display.screen().root, "AT_SPI_BUS")
        text = address.decode("utf-8", errors="replace") if isinstance(address, bytes) else str(address or "")
        self._names = Names(functools.partial(_atspi, text))

    def at(self, x: int, y: int) -> Sequence[ScreenElement]:
        """Return the named elements of the topmost window at a position in pixels of the X screen.

        Raises:
            EnvError: the display is gone.
        """
        place = self._place(x, y)
        return () if place is None else self._names.at(place)

    def close(self) -> None:
        """End the thread that asks."""
        self._names.close()

    def _place(self, x: int, y: int) -> Place | None:
        """Return what the X server knows of the window at a position; None where there is none."""
        import Xlib.error

        from molmo_agent.envs.desktop import x11
        from molmo_agent.envs.desktop.x11_windows import X11Windows

        windows = X11Windows(self._display)
        here = [window for window in windows.stacked() if window.contains(x, y)]
        # A window that closes meanwhile has no names.
        with contextlib.suppress(Xlib.error.BadWindow, Xlib.error.BadDrawable), x11.exchange(self._display):
            for top in here:
                window = windows.program_window(top.id)
                if self._is_tooltip(window):
                    continue
                process = x11.read_property(self._display, window, "_NET_WM_PID")
                area = window.get_geometry()
                corner = self._display.screen().root.translate_coords(window, 0, 0)
                return Place(
                    x,
                    y,
                    pid=int(process[0]) if process else 0,
                    title=x11.window_title(self._display, window),
                    inner=(corner.x, corner.y, area.width, area.height),
                    outer=(top.left, top.top, top.right - top.left, top.bottom - top.top),
                )
        return None

    def _is_tooltip(self, window: Any) -> bool:
        """Return whether a window is a tooltip, which shows what the pointer is over and takes no clicks."""
        from molmo_agent.envs.desktop import x11

        kinds = x11.read_property(self._display, window, "_NET_WM_WINDOW_TYPE")
        return bool(kinds) and kinds[0] == self._display.intern_atom("_NET_WM_WINDOW_TYPE_TOOLTIP")


class NativeNames:
    """The names on Windows and macOS, which look the window up themselves.

    Args:
        names: reads them.
    """

    def __init__(self, names: Names) -> None:
        self._names = names

    def at(self, x: int, y: int) -> Sequence[ScreenElement]:
        """Return the named elements at a position in input units."""
        return self._names.at(Place(x, y))

    def close(self) -> None:
        """End the thread that asks."""
        self._names.close()


def desktop_names(x11_display: Any = None, platform: str = sys.platform) -> DesktopNames | None:
    """Return what reads the names on this desktop; None where nothing does: on Wayland, windows have no known place.

    Args:
        x11_display: a connection to the X server; None on other systems.
        platform: as ``sys.platform``.
    """
    if platform == "win32":
        from molmo_agent.envs.desktop.accessibility.uia import UiaNames

        return NativeNames(Names(UiaNames)) if importlib.util.find_spec("comtypes") else None
    if platform == "darwin":
        from molmo_agent.envs.desktop.accessibility.ax import AxNames

        return NativeNames(Names(AxNames))
    return X11Names(x11_display) if x11_display and importlib.util.find_spec("jeepney") else None


def _atspi(address: str) -> Any:
    from molmo_agent.envs.desktop.accessibility.atspi import AtspiNames

    return AtspiNames(address)
