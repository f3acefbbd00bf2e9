"""A session bus for programs on a virtual display, apart from the person's own session."""

import os
from pathlib import Path

# Desktop portals mount a file system in the runtime folder, which then cannot be removed, and nobody could answer
# their dialogs.
_LEFT_OUT = "portal"
_CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <keep_umask/>
  <listen>unix:tmpdir=/tmp</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{services}</servicedir>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
"""


def write_bus_config(folder: Path) -> Path:
    """Write the configuration of a session bus that starts the services of this machine, but no portals.

    Args:
        folder: made if it does not exist; gets a folder "services".

    Returns:
        The file for ``dbus-run-session --config-file`` or ``dbus-daemon --config-file``.
    """
    services = folder / "services"
    services.mkdir(parents=True, exist_ok=True)
    for data in (os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share").split(":"):
        for file in Path(data, "dbus-1", "services").glob("*.service"):
            link = services / file.name
            # The first folder that has a service decides.
            if _LEFT_OUT not in file.name and not link.is_symlink():
                link.symlink_to(file)
    config = folder / "bus.conf"
    config.write_text(_CONFIG.format(services=services), encoding="utf-8")
    return config
