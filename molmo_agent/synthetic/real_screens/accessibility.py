"""What any session needs to read programs through the accessibility bus: environment, switch, the system's Python."""

import subprocess

from molmo_agent.child_environment import child_environment

# The one of the system: gi.repository is not on the package index in a form that works everywhere.
SYSTEM_PYTHON = "/usr/bin/python3"
# Programs that are started with these join the accessibility bus.
ENVIRONMENT = {
    "NO_AT_BRIDGE": "0",
    "GTK_MODULES": "gail:atk-bridge",
    "QT_ACCESSIBILITY": "1",
    "QT_LINUX_ACCESSIBILITY_ALWAYS_ON": "1",
}
_ENABLE = (
    "dbus-send --session --print-reply --dest=org.a11y.Bus /org/a11y/bus org.freedesktop.DBus.Properties.Set "
    "string:org.a11y.Status string:{} variant:boolean:true"
)


def enable(switch: str) -> list[str]:
    """Return the command that turns on a switch of the bus: IsEnabled or ScreenReaderEnabled."""
    return _ENABLE.format(switch).split()


def has_atspi(python: str, timeout_s: float) -> bool:
    """Return whether a Python interpreter can read the accessibility bus, which takes its bindings of AT-SPI."""
    code = "import gi; gi.require_version('Atspi', '2.0'); from gi.repository import Atspi"
    try:
        done = subprocess.run(
            [python, "-c", code], capture_output=True, check=False, timeout=timeout_s, env=child_environment()
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
