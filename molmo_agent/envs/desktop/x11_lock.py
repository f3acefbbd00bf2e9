"""Recognize a locked X screen by what every locker does: it covers the screen and holds the keyboard."""

import contextlib
from typing import Any

import Xlib.error
import Xlib.X

from molmo_agent.envs.desktop import x11
from molmo_agent.envs.desktop.capture import Area
from molmo_agent.envs.desktop.x11_capture import monitors

# How deep a program's own window may be inside of the frames that a window manager puts around it.
_FRAMES = 3
# A lock screen may leave a line of pixels at the edge: xsecurelock does.
_MARGIN = 4


def x11_lock(display: Any) -> str:
    """Return what locks or blanks the screen that a connection is to; empty if nothing does.

    Raises:
        EnvError: the display is gone.
    """
    with x11.exchange(display):
        state = _saver_state(display)
        if state:
            return f"xscreensaver ({state})"
        # The rest costs more and is needed only then; menus hold the keyboard too.
        return _covering_window(display) if _keyboard_is_held(display) else ""


def _saver_state(display: Any) -> str:
    """Return "LOCK" or "BLANK" if xscreensaver reports it."""
    root = display.screen().root
    value = root.get_full_property(display.intern_atom("_SCREENSAVER_STATUS"), Xlib.X.AnyPropertyType)
    atom = int(value.value[0]) if value and len(value.value) else 0
    with contextlib.suppress(Xlib.error.BadAtom):
        return str(display.get_atom_name(atom)) if atom else ""
    return ""


def _keyboard_is_held(display: Any) -> bool:
    """Return whether another program has grabbed the keyboard; nobody notices the question.

    A grab for a window that is not shown never succeeds, but the server reports first whether another one exists.
    """
    probe = display.screen().root.create_window(0, 0, 1, 1, 0, Xlib.X.CopyFromParent, Xlib.X.InputOnly)
    try:
        status = probe.grab_keyboard(False, Xlib.X.GrabModeAsync, Xlib.X.GrabModeAsync, Xlib.X.CurrentTime)
    finally:
        probe.destroy()
    return bool(status == Xlib.X.AlreadyGrabbed)


def _covering_window(display: Any) -> str:
    """Return the name of the windows that cover every monitor and that no window manager manages; empty if none do."""
    uncovered = [monitor.area for monitor in monitors(display)]
    for window in reversed(display.screen().root.query_tree().children):
        # A window may close while we look at it.
        with contextlib.suppress(Xlib.error.BadWindow, Xlib.error.BadDrawable):
            attributes = window.get_attributes()
            if attributes.map_state != Xlib.X.IsViewable:
                continue
            if not attributes.override_redirect or _is_managed(display, window):
                # Lockers stay above all programs; a wallpaper below them does not count.
                return ""
            shape = window.get_geometry()
            cover = Area(shape.x - _MARGIN, shape.y - _MARGIN, shape.width + 2 * _MARGIN, shape.height + 2 * _MARGIN)
            uncovered = [area for area in uncovered if not cover.contains(area)]
            if not uncovered:
                return _name(display, window)
    return ""


def _is_managed(display: Any, window: Any, depth: int = _FRAMES) -> bool:
    if window.get_full_property(display.intern_atom("WM_STATE"), Xlib.X.AnyPropertyType):
        return True
    return depth > 0 and any(_is_managed(display, child, depth - 1) for child in window.query_tree().children)


def _name(display: Any, window: Any) -> str:
    names = [x11.window_title(display, window), *(window.get_wm_class() or ())]
    return next((name for name in names if name), "a window") + " (it covers the screen and holds the keyboard)"
