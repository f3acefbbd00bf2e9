"""Which windows of an X screen lie over each other, and which one has the keyboard.

Windows are named by the children of the root: a window manager puts the window of a program into a frame, menus and
tooltips have none. Requests are sent together and answered together, as a session may have a hundred windows.
"""

import contextlib
from typing import Any

import Xlib.error
import Xlib.protocol.event
import Xlib.protocol.request
import Xlib.X

from molmo_agent.envs.desktop import x11
from molmo_agent.episode import ScreenWindow

# A window may close while it is asked about.
_GONE = (Xlib.error.BadWindow, Xlib.error.BadDrawable)
# Frames are this deep at most; a deeper window is no frame's.
_MAX_DEPTH = 32


class X11Windows:
    """The windows of an X screen.

    Args:
        display: a connection to the X server.
    """

    def __init__(self, display: Any) -> None:
        self._display = display
        self._root = display.screen().root

    def stacked(self) -> tuple[ScreenWindow, ...]:
        """Return the visible windows, topmost first, with their borders; in pixels of the X screen.

        Raises:
            EnvError: the display is gone.
        """
        protocol = self._display.display
        with x11.exchange(self._display):
            ids = [window.id for window in reversed(self._root.query_tree().children)]
            requests = [
                (
                    window,
                    Xlib.protocol.request.GetWindowAttributes(display=protocol, defer=1, window=window),
                    Xlib.protocol.request.GetGeometry(display=protocol, defer=1, drawable=window),
                )
                for window in ids
            ]
            frames = self._frames()
            windows = []
            for window, attributes, geometry in requests:
                with contextlib.suppress(*_GONE):
                    attributes.reply()
                    geometry.reply()
                    if attributes.map_state == Xlib.X.IsViewable:
                        width, height = (side + 2 * geometry.border_width for side in (geometry.width, geometry.height))
                        left, top = geometry.x, geometry.y
                        popup = bool(attributes.override_redirect) if frames is None else window not in frames
                        windows.append(ScreenWindow(window, left, top, left + width, top + height, popup))
        return tuple(windows)

    def focused(self) -> int | None:
        """Return the window with the keyboard focus; None where there is none, or it follows the pointer.

        Raises:
            EnvError: the display is gone.
        """
        with x11.exchange(self._display):
            focus = self._display.get_input_focus().focus
            return self._frame(focus) if hasattr(focus, "query_tree") and focus.id != self._root.id else None

    def name(self, window: int) -> str:
        """Return the title of a window, or its number where it has none.

        Raises:
            EnvError: the display is gone.
        """
        with x11.exchange(self._display):
            level = [self._display.create_resource_object("window", window)]
            # A frame has no title of its own; that of the program is one or two levels below.
            for _ in range(3):
                below = []
                for each in level:
                    with contextlib.suppress(*_GONE):
                        if title := x11.window_title(self._display, each):
                            return title
                        below += each.query_tree().children
                level = below
        return f"a window without a title ({window:#x})"

    def program_window(self, window: int) -> Any:
        """Return the program's own window in a window of :meth:`stacked`; this itself where it has no frame."""
        own = (self._frames() or {}).get(window)
        return self._display.create_resource_object("window", window) if own is None else own

    def activate(self, window: int) -> bool:
        """Raise a window and give it the keyboard, as a task bar does; return whether it still exists.

        Raises:
            EnvError: the display is gone.
        """
        with x11.exchange(self._display):
            try:
                frames = self._frames()
                if frames is None:
                    own = self._display.create_resource_object("window", window)
                    # The requests after it have no answer that would report a window that is gone.
                    own.get_geometry()
                    own.configure(stack_mode=Xlib.X.Above)
                    own.set_input_focus(Xlib.X.RevertToParent, Xlib.X.CurrentTime)
                    self._display.sync()
                    return True
                if window not in frames:
                    return False
                # 2: on behalf of the user, as a pager sends it.
                message = Xlib.protocol.event.ClientMessage(
                    window=frames[window],
                    client_type=self._display.intern_atom("_NET_ACTIVE_WINDOW"),
                    data=(32, [2, Xlib.X.CurrentTime, 0, 0, 0]),
                )
                self._root.send_event(message, Xlib.X.SubstructureRedirectMask | Xlib.X.SubstructureNotifyMask)
                self._display.sync()
            except _GONE:
                return False
        return True

    def _frames(self) -> dict[int, Any] | None:
        """Return the managed windows of programs by the frames that they are in; None without a window manager."""
        if not x11.has_window_manager(self._display):
            return None
        clients = self._root.get_full_property(self._display.intern_atom("_NET_CLIENT_LIST"), Xlib.X.AnyPropertyType)
        windows = [
            self._display.create_resource_object("window", number) for number in (clients.value if clients else ())
        ]
        return {frame: window for window in windows if (frame := self._frame(window)) is not None}

    def _frame(self, window: Any) -> int | None:
        """Return the child of the root that a window lies in; None if it is gone."""
        try:
            for _ in range(_MAX_DEPTH):
                parent = window.query_tree().parent
                if parent == 0 or parent.id == self._root.id:
                    return int(window.id)
                window = parent
        except _GONE:
            pass
        return None
