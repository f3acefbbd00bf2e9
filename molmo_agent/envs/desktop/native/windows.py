"""The windows of Windows and macOS: their order, and the one with the keyboard.

Written to the systems' documentation and tested with stand-ins for their interfaces; not run on either system.
"""

import ctypes
import importlib
import sys
from typing import Any

from molmo_agent.envs.desktop.windows import Windows
from molmo_agent.episode import ScreenWindow

# Windows' GetWindow: the next one below. Windows may be raised meanwhile, so the walk has an end.
_BELOW, _MAX_WINDOWS = 2, 2000
# Windows' GetWindowLong: the style; a window without a caption that pops up is a menu or a tooltip.
_STYLE, _POPUP, _CAPTION = -16, 0x80000000, 0x00C00000


class Rectangle(ctypes.Structure):
    """Windows' RECT."""

    _fields_ = tuple((name, ctypes.c_long) for name in ("left", "top", "right", "bottom"))


class WindowsWindows:
    """The windows of Windows, by user32.

    Args:
        user32: the system's library; None: the real one.
    """

    def __init__(self, user32: Any = None) -> None:
        self._user32 = user32 or importlib.import_module("ctypes").WinDLL("user32")
        for call in ("GetTopWindow", "GetWindow", "GetForegroundWindow"):
            # A handle has 64 bits.
            getattr(self._user32, call).restype = ctypes.c_void_p

    def stacked(self) -> tuple[ScreenWindow, ...]:
        """Return the visible windows, topmost first."""
        user32, windows = self._user32, []
        handle = user32.GetTopWindow(None)
        for _ in range(_MAX_WINDOWS):
            if not handle:
                break
            window, rectangle = ctypes.c_void_p(handle), Rectangle()
            shown = user32.IsWindowVisible(window) and not user32.IsIconic(window)
            if shown and user32.GetWindowRect(window, ctypes.byref(rectangle)):
                style = user32.GetWindowLongW(window, _STYLE)
                popup = bool(style & _POPUP) and style & _CAPTION != _CAPTION
                edges = rectangle.left, rectangle.top, rectangle.right, rectangle.bottom
                windows.append(ScreenWindow(handle, *edges, popup))
            handle = user32.GetWindow(window, _BELOW)
        return tuple(windows)

    def focused(self) -> int | None:
        """Return the window in front, which has the keyboard; None while windows change."""
        return self._user32.GetForegroundWindow() or None

    def name(self, window: int) -> str:
        """Return the title of a window."""
        text = ctypes.create_unicode_buffer(512)
        self._user32.GetWindowTextW(ctypes.c_void_p(window), text, len(text))
        return text.value or f"a window without a title ({window:#x})"

    def activate(self, window: int) -> bool:
        """Bring a window to the front; Windows may refuse that."""
        return bool(self._user32.SetForegroundWindow(ctypes.c_void_p(window)))


class MacWindows:
    """The windows of macOS, by Quartz and AppKit, which pyautogui needs there.

    Args:
        quartz: the module Quartz; None: the real one.
        appkit: the module AppKit; None: the real one.
    """

    def __init__(self, quartz: Any = None, appkit: Any = None) -> None:
        self._quartz = quartz or importlib.import_module("Quartz")
        self._appkit = appkit or importlib.import_module("AppKit")

    def _entries(self) -> list[Any]:
        quartz = self._quartz
        return list(quartz.CGWindowListCopyWindowInfo(quartz.kCGWindowListOptionOnScreenOnly, quartz.kCGNullWindowID))

    def stacked(self) -> tuple[ScreenWindow, ...]:
        """Return the visible windows, topmost first."""
        windows = []
        for entry in self._entries():
            bounds = entry["kCGWindowBounds"]
            left, top = int(bounds["X"]), int(bounds["Y"])
            right, bottom = left + int(bounds["Width"]), top + int(bounds["Height"])
            # Menus, the Dock and notifications lie in layers above the one of the programs' windows.
            popup = entry["kCGWindowLayer"] != 0
            windows.append(ScreenWindow(int(entry["kCGWindowNumber"]), left, top, right, bottom, popup))
        return tuple(windows)

    def focused(self) -> int | None:
        """Return the topmost window of the program in front."""
        program = self._appkit.NSWorkspace.sharedWorkspace().frontmostApplication()
        for entry in self._entries():
            if program and entry["kCGWindowOwnerPID"] == program.processIdentifier() and entry["kCGWindowLayer"] == 0:
                return int(entry["kCGWindowNumber"])
        return None

    def name(self, window: int) -> str:
        """Return the title of a window, or its program's name."""
        for entry in self._entries():
            if entry["kCGWindowNumber"] == window:
                return str(entry.get("kCGWindowName") or entry.get("kCGWindowOwnerName") or window)
        return f"a window without a title ({window:#x})"

    def activate(self, window: int) -> bool:
        """Bring the program of a window to the front."""
        for entry in self._entries():
            if entry["kCGWindowNumber"] == window:
                running = self._appkit.NSRunningApplication
                program = running.runningApplicationWithProcessIdentifier_(entry["kCGWindowOwnerPID"])
                return bool(
                    program and program.activateWithOptions_(self._appkit.NSApplicationActivateIgnoringOtherApps)
                )
        return False


def native_windows(platform: str = sys.platform) -> Windows | None:
    """Return the windows of this system; None where they are not known."""
    if platform == "win32":
        return WindowsWindows()
    return MacWindows() if platform == "darwin" else None
