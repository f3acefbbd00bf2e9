"""What a desktop env knows of its windows: their order, the one with the keyboard, and how to bring one back."""

from collections.abc import Sequence
from typing import Any, Protocol

from molmo_agent.episode import ScreenWindow


class Windows(Protocol):
    """The windows of one operating system."""

    def stacked(self) -> Sequence[ScreenWindow]:
        """Return the visible windows, topmost first, in input units."""
        ...

    def focused(self) -> int | None:
        """Return the window with the keyboard focus, if one has it for certain."""
        ...

    def name(self, window: int) -> str:
        """Return the title of a window for people."""
        ...

    def activate(self, window: int) -> bool:
        """Raise a window and give it the keyboard focus; return whether that was asked for."""
        ...


class KnowsWindows:
    """The part of an env that implements :class:`molmo_agent.interfaces.WindowSystem`."""

    # None where the system does not tell.
    _system: Windows | None = None

    def stacked_windows(self) -> Sequence[ScreenWindow]:
        """Return the visible windows, topmost first, in input units; none where they are not known."""
        return self._system.stacked() if self._system else ()

    def window_name(self, window: int) -> str:
        """Return the title of a window for people."""
        return self._system.name(window) if self._system else f"{window:#x}"

    def activate_window(self, window: int) -> bool:
        """Raise a window and give it the keyboard focus; return whether that was asked for."""
        return self._system is not None and self._system.activate(window)

    def _window_info(self) -> dict[str, Any]:
        """Return the part of an observation's ``info`` that names the window with the keyboard focus."""
        focused = self._system.focused() if self._system else None
        return {} if focused is None else {"window": focused}
