"""A mark on the screen: a small window without a frame that turns from dark to light, and sees the pointer over it.

Its position and the pointer's are those of the window system, which neither the capture nor the input has a part in.
"""

import contextlib
import importlib
import sys
import time
from collections.abc import Iterator
from typing import Any, Protocol

from molmo_agent.errors import EnvError
from molmo_agent.interrupts import defer_interrupts

# Odd: a middle pixel exists.
SIDE = 25
_RIM = 3
# How long a toolkit may take to pass on where the pointer is.
_NOTICE_S = 0.5


class Marks(Protocol):
    """Shows one mark at a time. Positions are (x, y) in input units, its middle."""

    def show(self, x: int, y: int) -> None:
        """Move the mark to a position, dark, above all other windows."""
        ...

    def light(self, on: bool) -> None:
        """Make the mark light or dark."""
        ...

    def pointer(self) -> tuple[tuple[int, int], bool]:
        """Return where the pointer is, and whether it is over the mark and nothing lies between."""
        ...

    def close(self) -> None:
        """Remove the mark; safe to call twice."""
        ...


class X11Marks:
    """A mark on an X screen.

    Raises:
        EnvError: there is no X server, or it cannot be used.
    """

    def __init__(self) -> None:
        from molmo_agent.envs.desktop import x11

        self._x11 = x11
        self._display: Any = x11.connect()
        self._window: Any = None

    def show(self, x: int, y: int) -> None:
        """Open the mark anew at a position: a window manager does not touch such windows."""
        from Xlib import X

        with self._talking():
            screen = self._display.screen()
            self._close_window()
            self._window = screen.root.create_window(
                x - SIDE // 2 - _RIM,
                y - SIDE // 2 - _RIM,
                SIDE,
                SIDE,
                _RIM,
                X.CopyFromParent,
                override_redirect=True,
                background_pixel=screen.black_pixel,
                border_pixel=screen.default_colormap.alloc_named_color("orange").pixel,
            )
            self._window.map()
            self._window.configure(stack_mode=X.Above)
            self._display.sync()

    def light(self, on: bool) -> None:
        """Make the mark light or dark, and raise it again."""
        from Xlib import X

        with self._talking():
            screen = self._display.screen()
            self._window.change_attributes(background_pixel=screen.white_pixel if on else screen.black_pixel)
            self._window.configure(stack_mode=X.Above)
            self._window.clear_area()
            self._display.sync()

    def pointer(self) -> tuple[tuple[int, int], bool]:
        """Return where the server has the pointer, and whether the topmost window there is the mark."""
        with self._talking():
            answer = self._display.screen().root.query_pointer()
        is_over = self._window is not None and getattr(answer.child, "id", 0) == self._window.id
        return (answer.root_x, answer.root_y), is_over

    def close(self) -> None:
        """Remove the mark and disconnect."""
        if self._display is None:
            return
        with contextlib.suppress(EnvError), self._talking():
            self._close_window()
            self._x11.disconnect(self._display)
        self._display = None

    def _close_window(self) -> None:
        if self._window is not None:
            self._window.destroy()
            self._window = None

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        try:
            with defer_interrupts():
                yield
        except Exception as error:
            if self._x11.is_lost(error):
                raise EnvError(f"the display is gone: the mark cannot be shown ({error}). Start again") from error
            raise


class TkMarks:
    """A mark of the toolkit that comes with Python, for Windows and macOS.

    Raises:
        EnvError: this Python has no tkinter, or it cannot open a window here.
    """

    def __init__(self) -> None:
        try:
            tkinter: Any = importlib.import_module("tkinter")
        except ImportError as error:
            raise EnvError(
                "the check draws its marks with tkinter, which this Python lacks: install Python with Tcl/Tk (it is an "
                "option of the installer; on macOS with Homebrew: brew install python-tk)"
            ) from error
        try:
            self._root: Any = tkinter.Tk()
        except tkinter.TclError as error:
            raise EnvError(f"no window can be opened here ({error}): start from a graphical session") from error
        self._root.overrideredirect(True)
        self._root.attributes("-topmost", True)
        self._inside = tkinter.Frame(self._root, width=SIDE, height=SIDE, background="black")
        self._inside.pack(padx=_RIM, pady=_RIM)
        self._root.configure(background="orange")
        self._is_over = False
        for event, over in (("<Enter>", True), ("<Motion>", True), ("<Leave>", False)):
            self._inside.bind(event, lambda _, over=over: setattr(self, "_is_over", over))

    def show(self, x: int, y: int) -> None:
        """Move the mark to a position."""
        self._is_over = False
        side = SIDE + 2 * _RIM
        self._root.geometry(f"{side}x{side}+{x - side // 2}+{y - side // 2}")
        self.light(False)

    def light(self, on: bool) -> None:
        """Make the mark light or dark."""
        self._inside.configure(background="white" if on else "black")
        self._root.lift()
        self._root.update()

    def pointer(self) -> tuple[tuple[int, int], bool]:
        """Return where the toolkit has the pointer, and whether the mark received it."""
        end = time.monotonic() + _NOTICE_S
        self._root.update()
        while not self._is_over and time.monotonic() < end:
            time.sleep(0.02)
            self._root.update()
        return (self._root.winfo_pointerx(), self._root.winfo_pointery()), self._is_over

    def close(self) -> None:
        """Close the window."""
        if self._root is not None:
            self._root.destroy()
            self._root = None


def open_marks() -> Marks:
    """Return the marks for this system.

    Raises:
        EnvError: none can be shown here.
    """
    return X11Marks() if sys.platform.startswith("linux") else TkMarks()
