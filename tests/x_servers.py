"""X servers of every kind for tests: any depth, several screens, VNC, Xorg with monitors that can be rearranged."""

import contextlib
import os
import shutil
import subprocess

import pytest

from molmo_agent.envs.desktop import x11

# Two monitors whose modes, places and rotations xrandr changes, as on a real machine.
DUMMY = """
Section "Device"
  Identifier "card"
  Driver "dummy"
  VideoRam 65536
EndSection
Section "Monitor"
  Identifier "any"
  HorizSync 5.0-1000.0
  VertRefresh 5.0-200.0
EndSection
Section "Screen"
  Identifier "screen"
  Device "card"
  Monitor "any"
  DefaultDepth {depth}
  SubSection "Display"
    Depth {depth}
    Modes "800x600" "640x480"
    Virtual 2048 2048
  EndSubSection
EndSection
"""
DUMMY_DRIVER = "/usr/lib/xorg/modules/drivers/dummy_drv.so"
needs_dummy = pytest.mark.skipif(
    not (shutil.which("Xorg") and shutil.which("xrandr") and os.path.exists(DUMMY_DRIVER) and os.geteuid() == 0),
    reason="needs Xorg with its dummy driver, and root (apt-get install xserver-xorg-core xserver-xorg-video-dummy)",
)


@contextlib.contextmanager
def server(*command, screen=0):
    """Run an X server and make ``:N.screen`` the DISPLAY; yield that name."""
    reader, writer = os.pipe()
    process = subprocess.Popen(
        [*command, "-displayfd", str(writer), "-nolisten", "tcp", "-noreset"],
        pass_fds=[writer],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(writer)
    old = {name: os.environ.get(name) for name in ("DISPLAY", "XAUTHORITY")}
    try:
        with open(reader) as report:
            number = report.readline().strip()
        if not number:
            pytest.skip(f"{command[0]} does not start here with {' '.join(command[1:])}")
        os.environ.update(DISPLAY=f":{number}.{screen}" if screen else f":{number}", XAUTHORITY=os.devnull)
        yield os.environ["DISPLAY"]
    finally:
        process.terminate()
        process.wait(timeout=60)
        for name, value in old.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def xorg(tmp_path, depth=24):
    """Run Xorg with two monitors of 800x600 and 640x480 side by side."""
    config = tmp_path / "xorg.conf"
    config.write_text(DUMMY.replace("{depth}", str(depth)))
    with server("Xorg", "-config", str(config), "-logfile", str(tmp_path / "log"), "-novtswitch", "-sharevts") as name:
        # For programs, a rotated monitor is one that is higher than wide; this driver itself rotates nothing.
        xrandr("--newmode", "portrait", "40", "480", "496", "560", "640", "640", "642", "648", "700")
        for output, mode in (("DUMMY0", "portrait"), ("DUMMY1", "portrait"), ("DUMMY1", "640x480")):
            xrandr("--addmode", output, mode)
        xrandr("--output", "DUMMY0", "--mode", "800x600", "--pos", "0x0", "--primary")
        xrandr("--output", "DUMMY1", "--mode", "640x480", "--pos", "800x0")
        yield name


def xrandr(*arguments):
    subprocess.run(["xrandr", *arguments], check=True, capture_output=True)


@contextlib.contextmanager
def connection():
    display = x11.connect()
    try:
        yield display
    finally:
        display.close()


def move_pointer(x, y):
    """Move the pointer as a hand does: only as far as the server lets it."""
    subprocess.run(["xdotool", "mousemove", str(x), str(y)], check=True)


def pointer(display):
    reply = display.screen().root.query_pointer()
    return reply.root_x, reply.root_y
