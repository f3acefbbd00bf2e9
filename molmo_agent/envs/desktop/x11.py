"""Query an X server: whether it can be used, its windows, its keyboard layout.

Only for X11: the Xlib that it imports comes with pyautogui on Linux and nowhere else.
"""

import contextlib
import difflib
import functools
import io
import os
import socket
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any

import Xlib.display
import Xlib.error
import Xlib.protocol.event
import Xlib.X

from molmo_agent.envs.desktop.capture import Area
from molmo_agent.errors import ActionRefused, EnvError
from molmo_agent.interrupts import defer_interrupts

_VIRTUAL = "on a machine without a screen run with --virtual-display 1280x800"


def check_session(environ: Mapping[str, str]) -> None:
    """Reject a session without an X display.

    Raises:
        EnvError: DISPLAY is not set; the message differs for a Wayland session.
    """
    if environ.get("DISPLAY"):
        return
    if environ.get("WAYLAND_DISPLAY") or environ.get("XDG_SESSION_TYPE") == "wayland":
        raise EnvError(
            "this is a Wayland session: it does not allow programs to read the screen or to send input to others. "
            f"Log in to an Xorg session, or {_VIRTUAL}"
        )
    raise EnvError(
        f"no display: the variable DISPLAY is not set. Start from a graphical session, set DISPLAY, or {_VIRTUAL}"
    )


def allow_missing_xauthority(environ: MutableMapping[str, str]) -> None:
    """Point XAUTHORITY at an empty file where there is none: python-xlib fails without one, the server may not."""
    path = environ.get("XAUTHORITY") or os.path.expanduser("~/.Xauthority")
    if not os.access(path, os.R_OK):
        environ["XAUTHORITY"] = os.devnull


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress python-xlib's messages on stdout, where ``--json`` writes, and its warnings about unclosed files."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        try:
            yield
        except Exception as error:
            # A connection that failed leaves its socket in these frames.
            traceback.clear_frames(error.__traceback__)
            raise


def is_lost(error: BaseException) -> bool:
    """Return whether an error means that the server is gone."""
    if isinstance(error, TypeError):
        # python-xlib 0.15 trips over its own report of a broken connection.
        return isinstance(error.__context__, OSError)
    return isinstance(error, Xlib.error.ConnectionClosedError | Xlib.error.DisplayError | OSError)


def _has_no_answer(error: BaseException) -> bool:
    """Return whether a connection failed because there is no server, it refuses us, or it ended meanwhile."""
    return is_lost(error) or isinstance(error, Xlib.error.XauthError)


@contextlib.contextmanager
def exchange(display: Any) -> Iterator[None]:
    """Talk to the server: signals wait until the end; the loss of the display is an EnvError, now and later.

    Every request goes through here, or through ``defer_interrupts`` in the classes for input.
    """
    if is_broken(display):
        raise EnvError("the display is gone: an earlier exchange with it broke off. Start again")
    try:
        with defer_interrupts(functools.partial(break_off, display)):
            yield
    except Exception as error:
        if is_lost(error):
            # Of python-xlib's own slip the cause is what matters.
            raise EnvError(f"the display is gone ({error.__context__ or error}). Start again") from error
        raise


def break_off(display: Any) -> None:
    """Let an exchange with a server that does not answer end in another thread, as if the server were gone.

    A connection that waits for nothing stays: what is sent by it is processed when the server continues.
    """
    if is_broken(display):
        display.display.socket.shutdown(socket.SHUT_RDWR)


def is_broken(display: Any) -> bool:
    """Return whether an exchange is not over: after an exception, python-xlib would wait for its end forever."""
    connection = display.display
    return bool(connection.socket_error or connection.send_active or connection.recv_active)


def disconnect(display: Any) -> None:
    """Close a connection, also to a server that is gone."""
    if is_broken(display):
        display.display.socket.close()
        return
    with contextlib.suppress(EnvError), exchange(display):
        display.close()


def connect(name: str | None = None) -> Any:
    """Open a connection to an X server (None: the one named by DISPLAY) and check that it shows the real screen.

    Raises:
        EnvError: there is no server, it refuses us, or it is Xwayland, which sees only a part of the screen.
    """
    check_session({"DISPLAY": name} if name else os.environ)
    allow_missing_xauthority(os.environ)
    name = name or os.environ["DISPLAY"]
    try:
        with quiet():
            display = Xlib.display.Display(name)
    except Exception as error:
        if not _has_no_answer(error):
            raise
        raise EnvError(
            f"the display {name!r} does not answer ({_reason(error)}). "
            f"Check DISPLAY and XAUTHORITY (`xdpyinfo` must work), or {_VIRTUAL}"
        ) from error
    if _has_xwayland(display):
        disconnect(display)
        raise EnvError(
            f"the display {name!r} is Xwayland: captures of it are empty and input reaches only old programs. "
            f"Log in to an Xorg session, or {_VIRTUAL}"
        )
    return display


def is_xwayland(name: str) -> bool:
    """Return whether a display shows only the X programs of a Wayland session; True if it does not answer."""
    allow_missing_xauthority(os.environ)
    try:
        with quiet():
            display = Xlib.display.Display(name)
    except Exception as error:
        if not _has_no_answer(error):
            raise
        return True
    try:
        return _has_xwayland(display)
    except EnvError:
        return True
    finally:
        disconnect(display)


def _has_xwayland(display: Any) -> bool:
    with exchange(display):
        return "XWAYLAND" in display.list_extensions()


def _reason(error: BaseException) -> str:
    message = getattr(error, "msg", error)
    return message.decode(errors="replace").strip() if isinstance(message, bytes) else str(message).strip()


@dataclass(frozen=True, slots=True)
class Window:
    """A visible top-level window. ``area`` is where its content is on the screen, without the frame."""

    id: int
    title: str
    area: Area


def windows(display: Any) -> list[Window]:
    """Return the visible windows that have a title, topmost first.

    Raises:
        EnvError: the display is gone.
    """
    with exchange(display):
        return _windows(display)


def _windows(display: Any) -> list[Window]:
    root = display.screen().root
    # Without a window manager the windows are the root's children, in the same order: bottom to top.
    candidates = root.query_tree().children
    if has_window_manager(display):
        stacked = read_property(display, root, "_NET_CLIENT_LIST_STACKING")
        ids = stacked or read_property(display, root, "_NET_CLIENT_LIST")
        candidates = [display.create_resource_object("window", i) for i in ids or ()]
    matches = []
    for window in reversed(candidates):
        # A window may close while we look at it.
        with contextlib.suppress(Xlib.error.BadWindow, Xlib.error.BadDrawable):
            name = window_title(display, window)
            if name and window.get_attributes().map_state == Xlib.X.IsViewable:
                geometry, corner = window.get_geometry(), root.translate_coords(window, 0, 0)
                matches.append(Window(window.id, name, Area(corner.x, corner.y, geometry.width, geometry.height)))
    return matches


def find_window(display: Any, part: str) -> Window:
    """Return the topmost visible window with ``part`` in its title, whatever the case.

    Raises:
        EnvError: there is none; the nearest titles are offered.
    """
    candidates = windows(display)
    for window in candidates:
        if part.casefold() in window.title.casefold():
            return window
    titles = {window.title.casefold(): window.title for window in candidates}
    near = difflib.get_close_matches(part.casefold(), titles, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(repr(titles[key]) for key in near)}? " if near else ""
    title_list = ", ".join(repr(title) for title in titles.values()) or "none"
    raise EnvError(f"no visible window has {part!r} in its title: {hint}open windows: {title_list}")


def window_area(display: Any, window_id: int, part: str) -> Area:
    """Return where a window found earlier is now.

    Raises:
        EnvError: it has been closed or hidden.
    """
    for window in windows(display):
        if window.id == window_id:
            return window.area
    raise EnvError(f"the window {part!r} is no longer on the screen: bring it back, or start again with another one")


def has_window_manager(display: Any) -> bool:
    """Return whether a window manager has announced itself."""
    return bool(read_property(display, display.screen().root, "_NET_SUPPORTING_WM_CHECK"))


def window_manager_answers(display: Any, timeout_s: float) -> bool:
    """Wait until a window manager processes requests; return False on a timeout.

    It announces itself some time before that, and openbox for one never shows a window that is opened in between.
    So ask for something that only its main loop can answer: the width of the frame around a window.
    """
    deadline = time.monotonic() + timeout_s
    root = display.screen().root
    with exchange(display):
        question = display.intern_atom("_NET_REQUEST_FRAME_EXTENTS")
        # It goes with the connection.
        probe = root.create_window(0, 0, 1, 1, 0, display.screen().root_depth)
    while time.monotonic() < deadline:
        with exchange(display):
            supported = read_property(display, root, "_NET_SUPPORTED") if has_window_manager(display) else None
            if supported is not None and question not in supported:
                return True
            if supported is not None:
                message = Xlib.protocol.event.ClientMessage(window=probe, client_type=question, data=(32, [0] * 5))
                root.send_event(message, Xlib.X.SubstructureRedirectMask | Xlib.X.SubstructureNotifyMask)
            if read_property(display, probe, "_NET_FRAME_EXTENTS") is not None:
                return True
        time.sleep(0.01)
    return False


def bring_pointer(display: Any) -> None:
    """Bring the pointer to the screen of a connection if the server has several and it is on another one.

    Moves that name no screen, as pyautogui's, stay on the one where the pointer is.

    Raises:
        EnvError: the display is gone.
    """
    if display.screen_count() == 1:
        return
    with exchange(display):
        screen = display.screen()
        if not screen.root.query_pointer().same_screen:
            # Not by XTEST, which stays on its screen too.
            screen.root.warp_pointer(screen.width_in_pixels // 2, screen.height_in_pixels // 2)
            display.sync()


def check_focus(display: Any) -> None:
    """Check that keys go to a window on the screen of a connection, where the server has several.

    Raises:
        ActionRefused: they would go to another screen.
        EnvError: the display is gone.
    """
    if display.screen_count() == 1:
        return
    with exchange(display), contextlib.suppress(Xlib.error.BadWindow, Xlib.error.BadDrawable):
        focus = display.get_input_focus().focus
        if hasattr(focus, "get_geometry") and focus.get_geometry().root.id != display.screen().root.id:
            raise ActionRefused(
                f"keys would go to a window on another screen than {display.get_display_name()!r}, which is observed: "
                "click into a window on this one first"
            )


def wake(display: Any) -> None:
    """End the server's own screen saver, whose window captures would show, and the power saving of the monitors.

    Raises:
        EnvError: the display is gone.
    """
    with exchange(display):
        display.force_screen_saver(Xlib.X.ScreenSaverReset)
        display.sync()


# More than any property that is read here, in units of four bytes.
_WHOLE = 1 << 20


def read_property(display: Any, window: Any, name: str) -> Any:
    """Return the value of a window's property; None without one.

    Read in one piece: python-xlib's own method fails on a long text of which only one half is ASCII.
    """
    value = window.get_property(display.intern_atom(name), Xlib.X.AnyPropertyType, 0, _WHOLE)
    return value.value if value else None


def window_title(display: Any, window: Any) -> str:
    """Return the title of a window; empty if it has none."""
    value = read_property(display, window, "_NET_WM_NAME") or read_property(display, window, "WM_NAME") or b""
    return value.decode("utf-8", errors="replace") if isinstance(value, bytes) else str(value)


def focused_classes(display: Any) -> set[str]:
    """Return the class names (lower case) of the window with the keyboard focus and of those around it."""
    window = display.get_input_focus().focus
    names: set[str] = set()
    with contextlib.suppress(Xlib.error.BadWindow):
        while hasattr(window, "get_wm_class") and window.id != display.screen().root.id:
            names.update(name.lower() for name in window.get_wm_class() or ())
            window = window.query_tree().parent
    return names
