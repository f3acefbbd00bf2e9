"""Captures of unusual X screens: any depth, colour tables, byte orders, VNC, several screens; right, or refused."""

import numpy as np
import pytest
from desktop_screen import FAST, Actor, needs, wait_for

pytest.importorskip("Xlib", reason="Xlib comes with pyautogui on Linux only")

import Xlib.X
from x_servers import connection, server

from molmo_agent.actions import Click, Key, Move, Type
from molmo_agent.envs.desktop import x11, x11_capture
from molmo_agent.envs.desktop.capture import Area
from molmo_agent.envs.desktop.emergency_stop import EmergencyStop
from molmo_agent.envs.desktop.x11_capture import PixelFormat, X11Capture, X11Watcher, pixel_format
from molmo_agent.errors import ActionRefused, EnvError
from molmo_agent.geometry import Point

pytestmark = needs("Xvfb")

SIDE = 8
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0), (200, 120, 40), (17, 99, 180)]


def paint(display):
    """Fill squares of SIDE pixels with COLOURS from (3, 5) on; return the colours that the screen can show."""
    screen = display.screen()
    window = screen.root.create_window(
        3, 5, SIDE * len(COLOURS), SIDE, 0, Xlib.X.CopyFromParent, override_redirect=1, background_pixel=0,
        event_mask=Xlib.X.ExposureMask,
    )  # fmt: skip
    window.map()
    while display.next_event().type != Xlib.X.Expose:
        pass
    shown = []
    for index, colour in enumerate(COLOURS):
        reply = screen.default_colormap.alloc_color(*(257 * value for value in colour))
        gc = window.create_gc(foreground=reply.pixel)
        window.fill_rectangle(gc, index * SIDE, 0, SIDE, SIDE)
        shown.append((reply.red / 257, reply.green / 257, reply.blue / 257))
    display.sync()
    return shown


def check_colours():
    with connection() as display:
        capture = X11Capture()
        capture.grab(capture.monitors()[0].area)
        shown = paint(display)
        image = capture.grab(Area(3, 5, SIDE * len(COLOURS), SIDE))
        whole = capture.grab(capture.monitors()[0].area)
        capture.close()
    assert np.array_equal(whole[5 : 5 + SIDE, 3 : 3 + SIDE * len(COLOURS)], image)
    for index, colour in enumerate(shown):
        square = image[:, index * SIDE : (index + 1) * SIDE].reshape(-1, 3).astype(float)
        assert np.abs(square - colour).max() <= 1, (COLOURS[index], colour, square[0])
    return shown


@pytest.mark.parametrize("depth", [24, 30, 16, 15])
def test_a_screen_of_any_depth_is_captured_in_its_colours(depth):
    with server("Xvfb", "-screen", "0", f"321x243x{depth}"):
        shown = check_colours()
    step = {24: 1, 30: 1, 16: 8, 15: 8}[depth]
    assert np.abs(np.array(shown) - COLOURS).max() <= step


@pytest.mark.parametrize("visual_class", range(6))
def test_a_screen_of_eight_bits_is_captured_in_the_colours_of_its_table(visual_class):
    with server("Xvfb", "-screen", "0", "320x240x8", "-cc", str(visual_class)):
        check_colours()


@needs("Xtigervnc")
@pytest.mark.parametrize("depth", [24, 16])
def test_a_vnc_screen_is_captured(depth):
    with server("Xtigervnc", "-geometry", "320x240", "-depth", str(depth), "-SecurityTypes", "None", "-rfbport", "0"):
        check_colours()


def test_without_mss_the_image_is_the_same(monkeypatch):
    with server("Xvfb", "-screen", "0", "1000x700x24"), connection() as display:
        paint(display)
        fast = X11Capture()
        monkeypatch.setattr(x11_capture.mss, "MSS", lambda **_: (_ for _ in ()).throw(OSError("no shared memory")))
        slow = X11Capture()
        area = Area(0, 0, 1000, 700)
        assert fast._mss is not None
        assert slow._mss is None
        assert np.array_equal(fast.grab(area), slow.grab(area))
        with pytest.raises(EnvError, match=r"capture of 50x50 at \(980, 0\) failed.*its size changed"):
            slow.grab(Area(980, 0, 50, 50))
        fast.close()
        slow.close()


def test_a_server_that_ends_is_an_error_for_the_capture_and_the_end_of_the_watch():
    stop = EmergencyStop()
    with server("Xvfb", "-screen", "0", "320x240x16"):
        stop.start(X11Watcher)
        capture = X11Capture()
        area = capture.monitors()[0].area
        thread = stop._thread
    # An error in the thread would fail this test.
    wait_for(lambda: not thread.is_alive(), what="the end of the thread")
    for use in (capture.monitors, lambda: capture.grab(area)):
        with pytest.raises(EnvError, match="the display is gone"):
            use()
    capture.close()
    capture.close()
    stop.end()


def test_a_server_that_ends_while_it_is_connected_to_does_not_answer(monkeypatch):
    def end(name):
        try:
            raise BrokenPipeError(32, "Broken pipe")
        except OSError as error:
            # As python-xlib 0.15 does.
            raise TypeError(f"{type(error).__name__!r} object is not subscriptable") from None

    with server("Xvfb", "-screen", "0", "320x240x24") as name:
        monkeypatch.setattr("Xlib.display.Display", end)
        with pytest.raises(EnvError, match="does not answer"):
            x11.connect(name)
        assert x11.is_xwayland(name)


def formats():
    usual = (0xFF0000, 0xFF00, 0xFF)
    yield PixelFormat(24, 32, 32, False, usual), 0x00112233, (0x11, 0x22, 0x33)
    yield PixelFormat(24, 32, 32, True, usual), 0x00112233, (0x11, 0x22, 0x33)
    yield PixelFormat(24, 32, 32, False, (0xFF, 0xFF00, 0xFF0000)), 0x00112233, (0x33, 0x22, 0x11)
    yield PixelFormat(24, 24, 32, False, usual), 0x112233, (0x11, 0x22, 0x33)
    yield PixelFormat(24, 24, 32, True, usual), 0x112233, (0x11, 0x22, 0x33)
    yield PixelFormat(30, 32, 32, False, (0x3FF00000, 0xFFC00, 0x3FF)), 0x3FF00200, (255, 0, 128)
    yield PixelFormat(16, 16, 32, True, (0xF800, 0x07E0, 0x1F)), 0xFFE0, (255, 255, 0)
    yield PixelFormat(15, 16, 32, False, (0x7C00, 0x03E0, 0x1F)), 0x7C10, (255, 0, 132)
    yield PixelFormat(8, 8, 32, False, (0xE0, 0x1C, 0x03)), 0xE3, (255, 0, 255)


@pytest.mark.parametrize(("layout", "pixel", "colour"), list(formats()))
def test_bytes_are_decoded_by_what_the_server_declares(layout, pixel, colour):
    order = "big" if layout.big_endian else "little"
    width, height = 5, 3
    row = pixel.to_bytes(layout.bits // 8, order) * width
    row += bytes(layout.row_bytes(width) - len(row))
    assert len(row) % 4 == 0
    image = layout.decode(row * height, width, height)
    assert image.shape == (height, width, 3)
    assert {tuple(found) for found in image.reshape(-1, 3).tolist()} == {colour}
    with pytest.raises(EnvError, match=rf"sent {len(row)} bytes for 5x3 pixels, which take {len(row) * height}"):
        layout.decode(row, width, height)


@pytest.mark.parametrize("kind", ["not listed", "visual missing", "four bits", "a table of all colours"])
def test_a_screen_whose_pixels_are_not_declared_is_refused(kind):
    with server("Xvfb", "-screen", "0", "320x240x24"), connection() as display:
        info = display.display.info
        if kind == "not listed":
            info.pixmap_formats = []
        elif kind == "visual missing":
            display.screen().allowed_depths = []
        elif kind == "a table of all colours":
            for depth in display.screen().allowed_depths:
                for visual in depth.visuals:
                    visual._data["visual_class"] = Xlib.X.PseudoColor
        else:
            next(f for f in info.pixmap_formats if f.depth == 24)._data["bits_per_pixel"] = 4
        with pytest.raises(
            EnvError, match=r"24-bit pixels in a way that cannot be read. Start the X server with a depth of 24"
        ):
            pixel_format(display)


# --- Several screens of one server ------------------------------------------------------------------------------------

TWO = ["Xvfb", "-screen", "0", "400x300x24", "-screen", "1", "320x240x24"]


def test_the_screen_that_the_display_names_is_captured():
    with server(*TWO, screen=1):
        capture = X11Capture()
        assert [monitor.area for monitor in capture.monitors()] == [Area(0, 0, 320, 240)]
        check_colours()
        capture.close()


@needs("xdotool")
def test_clicks_arrive_on_the_screen_that_the_display_names_and_keys_for_the_other_one_are_refused():
    with server(*TWO, screen=1), connection() as display:
        other = display.screen(0).root
        assert not display.screen().root.query_pointer().same_screen, "a pointer begins on screen 0"
        actor = Actor()
        try:
            actor.act({"pace": FAST}, Move(Point.from_pixel(40, 30, 320, 240)))
            reply = display.screen().root.query_pointer()
            assert reply.same_screen
            assert (reply.root_x, reply.root_y) == (40, 30)
            window = focused_window(display, other)
            for action in (Type("a"), Key(("enter",))):
                with pytest.raises(ActionRefused, match=r"another screen than ':\d+\.1', which is observed: click"):
                    actor.act({"pace": FAST}, action)
            assert window.get_geometry().root == other
            own = focused_window(display, display.screen().root)
            actor.act({"pace": FAST}, Click(Point(0.2, 0.2)), Key(("enter",)))
            assert own.get_geometry().root == display.screen().root
        finally:
            actor.close()


def focused_window(display, root):
    window = root.create_window(
        0, 0, 50, 50, 0, Xlib.X.CopyFromParent, override_redirect=1, event_mask=Xlib.X.ExposureMask
    )
    window.map()
    while display.next_event().type != Xlib.X.Expose:
        pass
    window.set_input_focus(Xlib.X.RevertToParent, Xlib.X.CurrentTime)
    display.sync()
    return window


def test_joined_screens_are_the_monitors():
    with server(*TWO, "+xinerama"):
        capture = X11Capture()
        areas = [monitor.area for monitor in capture.monitors()]
        assert {(area.width, area.height) for area in areas} == {(400, 300), (320, 240)}
        for area in areas:
            assert capture.grab(area).shape == (area.height, area.width, 3)
        capture.close()


def test_a_screen_of_a_server_without_monitors_is_one_monitor():
    with server("Xvfb", "-screen", "0", "320x240x24", "-extension", "RANDR", "-extension", "XINERAMA"):
        capture = X11Capture()
        assert [(m.area, m.primary) for m in capture.monitors()] == [(Area(0, 0, 320, 240), True)]
        capture.close()


def test_a_blanked_screen_is_woken_and_shows_the_desktop():
    from molmo_agent.envs.desktop import x11

    with server("Xvfb", "-screen", "0", "320x240x24"), connection() as display:
        # Without blanking the saver is a window over everything.
        display.set_screen_saver(60, 60, Xlib.X.DontPreferBlanking, Xlib.X.AllowExposures)
        window = display.screen().root.create_window(
            0, 0, 320, 240, 0, Xlib.X.CopyFromParent, background_pixel=0x204060, event_mask=Xlib.X.ExposureMask
        )
        window.map()
        while display.next_event().type != Xlib.X.Expose:
            pass
        capture, area = X11Capture(), Area(0, 0, 320, 240)
        assert {tuple(pixel) for pixel in capture.grab(area).reshape(-1, 3).tolist()} == {(0x20, 0x40, 0x60)}
        display.force_screen_saver(Xlib.X.ScreenSaverActive)
        display.sync()
        assert not (capture.grab(area) == (0x20, 0x40, 0x60)).all()
        x11.wake(display)
        assert (capture.grab(area) == (0x20, 0x40, 0x60)).all()
        capture.close()
