"""The choice of how to see and control a Wayland session."""

import os
from collections.abc import Mapping

from molmo_agent.envs.desktop import x11
from molmo_agent.envs.desktop.capture import Capture, bounds
from molmo_agent.envs.desktop.input import Input
from molmo_agent.envs.desktop.wayland.wire import WaylandConnection
from molmo_agent.envs.desktop.wayland.wlroots import WlrootsCapture, has_protocols
from molmo_agent.envs.desktop.wayland.wlroots_input import WlrootsInput
from molmo_agent.errors import UsageError


def is_wayland(environ: Mapping[str, str] = os.environ) -> bool:
    """Return whether this is a Wayland session, and the display of X, if there is one, is a part of it."""
    if not environ.get("WAYLAND_DISPLAY") and environ.get("XDG_SESSION_TYPE") != "wayland":
        return False
    display = environ.get("DISPLAY")
    # Another X server, such as Xvfb, is chosen on purpose.
    return not display or x11.is_xwayland(display)


def connect(capture: Capture | None, input: Input | None, *, window: str | None = None) -> tuple[Capture, Input]:
    """Return what sees and controls the session; a given capture or input replaces ours.

    Args:
        capture: takes the images; None: ours.
        input: sends the input; None: ours.
        window: the part of a title that the caller asks for: Wayland does not tell programs where windows are.

    Raises:
        EnvError: this desktop offers no way, or the user declined.
        MissingExtraError: the desktop has portals, but the extra ``wayland`` is not installed.
        UsageError: a window was asked for.
    """
    if window is not None:
        raise UsageError(
            "a window can be chosen by its title on X11 only: Wayland does not tell where windows are. "
            "Use monitor=1 or region=(left, top, width, height)"
        )
    connection = WaylandConnection()
    try:
        if has_protocols(connection):
            screens = WlrootsCapture(connection)
            return capture or screens, input or WlrootsInput(connection, lambda: bounds(screens.monitors()))
        own_capture, own_input = _connect_portal(connection)
        return capture or own_capture, input or own_input
    except BaseException:
        connection.close()
        raise


def describe() -> str:
    """Return how the session would be seen and controlled, without asking the user for anything.

    Raises:
        EnvError: this desktop offers no way, or GStreamer is missing.
        MissingExtraError: the desktop has portals, but the extra ``wayland`` is not installed.
    """
    connection = WaylandConnection()
    try:
        if has_protocols(connection):
            return "this compositor lets programs see and control the screen (wlroots protocols)"
    finally:
        connection.close()
    from molmo_agent.envs.desktop.wayland.pipewire import check_program
    from molmo_agent.envs.desktop.wayland.portal import check_portal

    check_portal()
    check_program()
    return "the desktop's portals ask for the permission to see and control the screen when a run starts"


def _connect_portal(connection: WaylandConnection) -> tuple[Capture, Input]:
    # The wlroots protocols need no extra.
    from molmo_agent.envs.desktop.wayland.pipewire import PortalCapture
    from molmo_agent.envs.desktop.wayland.portal import PortalSession
    from molmo_agent.envs.desktop.wayland.portal_input import PortalInput

    session = PortalSession()
    capture = None
    try:
        capture = PortalCapture(session, connection)
        return capture, PortalInput(session, capture.areas, capture.frame_sizes)
    except BaseException:
        (capture or session).close()
        raise
