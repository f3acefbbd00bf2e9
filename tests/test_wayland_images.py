"""Images of Wayland monitors: the newest frame of a stream, the parts of an area, and what is said if none come."""

import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("jeepney", reason="jeepney is not installed: pip install 'molmo-agent[wayland]'")

from wayland_session import Sway, eventually, needs_wayland

from molmo_agent.envs.desktop.capture import Area
from molmo_agent.envs.desktop.wayland import pipewire
from molmo_agent.envs.desktop.wayland.areas import arrange, compose, cut
from molmo_agent.envs.desktop.wayland.pipes import read_all, write_all
from molmo_agent.envs.desktop.wayland.pipewire import FrameReader, PortalCapture
from molmo_agent.envs.desktop.wayland.portal import Stream
from molmo_agent.envs.desktop.wayland.wire import WaylandConnection, decode
from molmo_agent.envs.desktop.wayland.wlroots import upright
from molmo_agent.errors import EnvError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Wayland")

# Takes the place of GStreamer: reports the size, then writes frames of one colour each, as told by the arguments.
FAKE_PROGRAM = """#!{python}
import os, sys, time
sink = int(sys.argv[-2].removeprefix("fd="))
def report(width, height):
    print("/GstPipeline:pipeline0/GstFdSink:fdsink0.GstPad:sink: caps = video/x-raw, format=(string)BGRx, "
          f"width=(int){{width}}, height=(int){{height}}, framerate=(fraction)0/1", flush=True)
def frame(width, height, blue, green, red):
    os.write(sink, bytes((blue, green, red, 0)) * (width * height))
{body}
"""


@pytest.fixture
def program(tmp_path, monkeypatch):
    """Return a function that puts a program with a body in the place of GStreamer."""

    def make(body):
        path = tmp_path / "gst-launch-1.0"
        path.write_text(FAKE_PROGRAM.format(python=sys.executable, body=body), encoding="utf-8")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    return make


@pytest.fixture
def reader():
    readers = []

    def make():
        descriptor = os.open(os.devnull, os.O_RDONLY)
        try:
            readers.append(FrameReader(descriptor, 1))
        finally:
            os.close(descriptor)
        return readers[-1]

    yield make
    for reader in readers:
        reader.close()


@pytest.mark.parametrize(("width", "height"), [(4, 3), (5, 7), (130, 20)])
def test_the_newest_frame_is_the_image(program, reader, width, height):
    program(
        f"report({width}, {height})\nframe({width}, {height}, 0, 0, 200)\nframe({width}, {height}, 0, 100, 0)\n"
        "time.sleep(600)"
    )
    frames = reader()
    assert frames.size == (width, height)
    image = eventually(lambda: (frames.image() == (0, 100, 0)).all() and frames.image(), "the second frame")
    assert image.shape == (height, width, 3)


def test_a_stream_that_changes_its_size_ends_before_a_mangled_image(program, reader):
    program("report(4, 3)\nframe(4, 3, 1, 2, 3)\ntime.sleep(1)\nreport(6, 5)\nframe(6, 5, 9, 9, 9)\ntime.sleep(600)")
    frames = reader()
    with pytest.raises(EnvError, match=r"images of the shared monitor stopped.*its size changed.*Start again"):
        eventually(lambda: (frames.image() != (3, 2, 1)).any(), "another image or an error")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "print('WARNING: erroneous pipeline: no element \"pipewiresrc\"')",
            r"no plugin for PipeWire.*apt-get install",
        ),
        ("print('ERROR: from element pipewiresrc0: stream error: no target node')", r"stopped \(.*no target node\)"),
        ("report(4, 3)", r"stopped \(it ended without a message\).*Start again"),
        ("sys.exit(1)", r"stopped \(it ended without a message\).*Start again"),
    ],
)
def test_a_stream_without_frames_is_reported_with_its_reason(program, reader, body, message):
    program(body)
    with pytest.raises(EnvError, match=message):
        reader()


def test_a_screen_that_sends_nothing_is_reported(program, reader, monkeypatch):
    monkeypatch.setattr(pipewire, "_FIRST_FRAME_S", 0.5)
    program("time.sleep(600)")
    with pytest.raises(EnvError, match=r"sent no image within 0.5 s: is the screen off or locked"):
        reader()


def test_a_missing_program_is_named_with_its_packages(monkeypatch, reader):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(EnvError, match=r"gst-launch-1.0.*is not installed.*gstreamer1.0-pipewire.*dnf install"):
        reader()


def test_the_program_ends_with_the_process_that_started_it(program, tmp_path):
    program(
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\nreport(4, 3)\nframe(4, 3, 1, 2, 3)\n"
        "time.sleep(600)"
    )
    code = (
        "import os, signal\nfrom molmo_agent.envs.desktop.wayland.pipewire import FrameReader\n"
        "FrameReader(os.open(os.devnull, os.O_RDONLY), 1)\nos.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code], check=False)
    pid = int((tmp_path / "pid").read_text(encoding="ascii"))

    def is_gone():
        try:
            with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
                return stat.read().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return True

    eventually(is_gone, "the end of the program")


# --- Several monitors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("places", "frame_sizes", "areas"),
    [
        ([((0, 0), (800, 600))], [(1600, 1200)], [Area(0, 0, 800, 600)]),
        (
            [((-1024, 5), (1024, 768)), ((0, 0), (800, 600))],
            [(1, 1)] * 2,
            [Area(-1024, 5, 1024, 768), Area(0, 0, 800, 600)],
        ),
        ([(None, None), (None, None)], [(800, 600), (640, 480)], [Area(0, 0, 800, 600), Area(800, 0, 640, 480)]),
        ([(None, (400, 300))], [(800, 600)], [Area(0, 0, 400, 300)]),
    ],
)
def test_monitors_are_where_the_desktop_says_or_side_by_side(places, frame_sizes, areas):
    assert arrange(places, frame_sizes) == areas


def painted(width, height):
    """Return an image whose pixels hold their column and row."""
    rows, columns = np.mgrid[:height, :width]
    return np.stack([columns, rows, np.full_like(rows, 7)], axis=2).astype(np.uint8)


@pytest.mark.parametrize(
    ("part", "pixels"),
    [
        (Area(10, 20, 5, 5), (0, 0, 10, 10)),
        (Area(14, 24, 1, 1), (8, 8, 10, 10)),
        (Area(10, 20, 100, 50), (0, 0, 200, 100)),
        (Area(109, 69, 1, 1), (198, 98, 200, 100)),
    ],
)
def test_a_part_of_a_scaled_monitor_has_all_its_pixels(part, pixels):
    left, top, right, bottom = pixels
    image = painted(200, 100)
    assert np.array_equal(cut(image, part, Area(10, 20, 100, 50)), image[top:bottom, left:right])


def test_an_area_over_two_monitors_has_the_larger_scale_and_black_gaps():
    left, right = Area(0, 0, 20, 10), Area(20, 5, 10, 10)
    image = compose(Area(0, 0, 30, 15), [(left, painted(20, 10)), (right, painted(20, 20))])
    assert image.shape == (30, 60, 3)
    assert np.array_equal(image[10:30, 40:60], painted(20, 20))
    assert (image[:10, 40:60] == 0).all()
    assert (image[20:, :40] == 0).all()
    assert image[19, 39].tolist() == painted(20, 10)[9, 19].tolist()


def test_an_area_on_no_shared_monitor_is_reported():
    with pytest.raises(EnvError, match=r"no shared monitor shows 5x5 at \(900, 0\): share that monitor too"):
        compose(Area(900, 0, 5, 5), [])


@pytest.mark.parametrize("transform", range(8))
def test_every_turn_of_a_monitor_is_undone(transform):
    """wl_output: turned counter-clockwise by quarters, mirrored before that from 4 on."""
    seen = painted(6, 4)
    turned = seen[:, ::-1] if transform >= 4 else seen
    assert np.array_equal(upright(np.rot90(turned, transform % 4), transform), seen)


# --- A changed desktop ------------------------------------------------------------------------------------------------


class StandingSession:
    """A session whose stream always shows the same."""

    streams = (Stream(1, (0, 0), (640, 480)),)

    def open_pipewire(self):
        return os.open(os.devnull, os.O_RDONLY)

    def check(self):
        pass

    def close(self):
        pass


@needs_wayland("sway", "swaymsg")
@pytest.mark.parametrize(
    "change",
    [
        "output HEADLESS-2 scale 2",
        "output HEADLESS-2 transform 90",
        "output HEADLESS-1 resolution 800x600",
        "create_output",
    ],
)
def test_a_change_of_the_monitors_ends_the_run_instead_of_showing_old_images(program, monkeypatch, change):
    program("report(640, 480)\nframe(640, 480, 1, 2, 3)\ntime.sleep(600)")
    sway = Sway((640, 480), (320, 240))
    try:
        sway.enter(monkeypatch)
        capture = PortalCapture(StandingSession(), WaylandConnection())
        assert (capture.grab(Area(0, 0, 640, 480)) == (3, 2, 1)).all()
        sway.message(*change.split())
        with pytest.raises(EnvError, match=r"monitors of the desktop have changed.*Start again"):
            eventually(lambda: capture.grab(Area(0, 0, 640, 480)) is None, "an error")
        capture.close()
        capture.close()
    finally:
        sway.close()


def test_wayland_messages_are_read_as_the_protocol_writes_them():
    body = b"\x05\x00\x00\x00" + b"\x06\x00\x00\x00" + b"seat0\x00\x00\x00" + b"\xfe\xff\xff\xff"
    assert decode("usi", body) == (5, "seat0", -2)


# --- Pipes to other programs ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"short", b"x" * 300_000])
def test_a_content_passes_a_pipe_whole(content):
    reader, writer = os.pipe()
    results = []
    thread = threading.Thread(target=lambda: results.append(read_all(reader, 30)))
    thread.start()
    assert write_all(writer, content, 30)
    thread.join()
    assert results == [content]


def test_a_program_that_hangs_does_not_hang_the_run():
    reader, writer = os.pipe()
    assert read_all(os.dup(reader), 0.1) is None
    assert not write_all(os.dup(writer), b"x" * 1_000_000, 0.1)
    os.close(reader)
    assert not write_all(writer, b"x" * 1_000_000, 30)
