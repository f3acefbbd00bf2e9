"""The desktop env on a real mutter: through GNOME's own portals and dialog, and through a portal of the tests."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

pytest.importorskip("jeepney", reason="jeepney is not installed: pip install 'molmo-agent[wayland]'")

from jeepney import DBusAddress
from jeepney import new_method_call as new_call
from jeepney.io.blocking import open_dbus_connection
from jeepney.wrappers import unwrap_msg
from portal_service import MutterPortal
from wayland_session import PORTALS, Gnome, Window, eventually, needs_wayland

from molmo_agent.actions import Click, Drag, Key, Scroll, Type
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.envs.desktop.wayland.pipewire import FrameReader
from molmo_agent.errors import ActionRefused, EnvError, RunStopped
from molmo_agent.geometry import Point

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="Wayland"),
    needs_wayland("mutter", "pipewire", "wireplumber", "gst-launch-1.0", "dbus-daemon", "dbus-send"),
]
needs_portals = pytest.mark.skipif(
    not all(path.exists() for path in PORTALS), reason="not installed: xdg-desktop-portal-gnome (make system)"
)
# Of the button that a dialog of GNOME suggests.
BLUE = (53, 132, 228)


def at(x, y, width=1280, height=720):
    """Return the point in the middle of a pixel."""
    return Point((x + 0.5) / width, (y + 0.5) / height)


class Person:
    """Somebody in front of the screen: sees it and clicks, by mutter's own interface."""

    def __init__(self, session):
        self._portal = MutterPortal(session.variables["DBUS_SESSION_BUS_ADDRESS"], ["Meta-0"], serve=False)
        ((self._node, _),) = self._portal.start_results()["streams"][1]
        with socket.socket(socket.AF_UNIX) as pipewire:
            pipewire.connect(str(session.folder / "pipewire-0"))
            self._screen = FrameReader(pipewire.fileno(), self._node)

    def image(self):
        return self._screen.image().astype(int)

    def click(self, x, y):
        self._portal.answer("NotifyPointerMotionAbsolute", "", "", {}, self._node, float(x), float(y))
        time.sleep(0.3)
        for state in (1, 0):
            self._portal.answer("NotifyPointerButton", "", "", {}, 0x110, state)
            time.sleep(0.1)
        time.sleep(0.3)

    def answer_dialog(self, *, allow):
        """Wait for the dialog of GNOME and allow to see and control the screen, or cancel."""

        def share_button():
            rows, columns = np.nonzero((np.abs(self.image() - BLUE) < 6).all(axis=2))
            return (int(columns.mean()), int(rows.mean())) if len(rows) > 1000 else None

        x, y = eventually(share_button, "the dialog")
        # It fades in.
        time.sleep(1)
        if allow:
            # The switch that allows remote interaction.
            self.click(x - 26, y + 201)
            self.click(x, y)
        else:
            self.click(x - 409, y)

    def close(self):
        self._screen.close()
        self._portal.close_mutter()


@contextlib.contextmanager
def consent(session, *, allow=True):
    """Answer the dialog that comes up meanwhile."""
    person = Person(session)
    thread = threading.Thread(target=person.answer_dialog, kwargs={"allow": allow})
    thread.start()
    try:
        yield
    finally:
        thread.join()
        person.close()


def scale_monitors(scale):
    """Set the scale of all monitors, side by side."""
    name = "org.gnome.Mutter.DisplayConfig"
    address = DBusAddress("/org/gnome/Mutter/DisplayConfig", bus_name=name, interface=name)
    with open_dbus_connection() as bus:
        serial, monitors, *_ = unwrap_msg(bus.send_and_get_reply(new_call(address, "GetCurrentState")))
        places, left = [], 0
        for spec, modes, _ in monitors:
            mode = next(mode for mode in modes if "is-current" in mode[6])
            nearest = min(mode[5], key=lambda offered: abs(offered - scale))
            places.append((left, 0, nearest, 0, left == 0, [(spec[0], mode[0], {})]))
            left += round(mode[1] / nearest)
        body = (serial, 1, places, {})
        unwrap_msg(bus.send_and_get_reply(new_call(address, "ApplyMonitorsConfig", "uua(iiduba(ssa{sv}))a{sv}", body)))


# --- GNOME's own portals ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gnome():
    session = Gnome((1280, 720), portals=True)
    yield session
    session.close()


@needs_portals
def test_after_the_dialog_a_real_program_is_seen_clicked_and_typed_into(gnome, monkeypatch):
    gnome.enter(monkeypatch)
    window = Window(gnome)
    try:
        with consent(gnome):
            desktop = Desktop()
        with desktop:
            image = desktop.reset()[0].image
            assert image.shape == (720, 1280, 3)
            for x, y in ((0, 100), (641, 333), (1278, 719)):
                desktop.step(Click(point=at(x, y)))
                event = window.await_event(lambda event: event.get("type") == "button-release")
                assert (int(event["x"]), int(event["y"]), event["button"]) == (x, y, 1)
            desktop.step(Scroll(direction="down", notches=2, point=at(400, 400)))
            assert window.await_event(lambda event: event.get("type") == "scroll")["by"][1] > 0
            before = desktop.step(Click(point=at(300, window.field_height // 2)))[0].image
            desktop.step(Type(text="Hello, World! ~/x_y {}"))
            window.text("Hello, World! ~/x_y {}")
            typed = eventually(lambda: np.argwhere((desktop.observe().image != before).any(axis=2)), "the text is seen")
            assert typed[:, 0].max() <= window.field_height
            desktop.step(Key(keys=("ctrl", "a")))
            desktop.step(Type(text="second\n"))
            assert window.await_event(lambda event: "entered" in event)["entered"] == "second"
            # This GNOME has no Clipboard portal.
            with pytest.raises(ActionRefused, match=r"no Clipboard portal.*nothing was typed"):
                desktop.step(Type(text="é"))
    finally:
        window.close()


@needs_portals
def test_a_dialog_that_is_cancelled_is_a_refusal(gnome, monkeypatch):
    gnome.enter(monkeypatch)
    with consent(gnome, allow=False), pytest.raises(EnvError, match=r"the permission was declined in the dialog"):
        Desktop()


@needs_portals
@pytest.mark.parametrize("part", ["frontend", "backend"])
def test_a_portal_that_crashes_stops_the_run_with_nothing_left_down(monkeypatch, part):
    session = Gnome((1280, 720), portals=True)
    try:
        session.enter(monkeypatch)
        window = Window(session)
        with consent(session):
            desktop = Desktop()
        with desktop:
            desktop.reset()
            desktop._input.move(400, 300)
            desktop._input.press("left")
            window.await_event(lambda event: event.get("type") == "button-press")
            getattr(session, part).kill()
            with pytest.raises(RunStopped, match=r"portal\S+ crashed or was restarted.*releases what was held down"):
                eventually(lambda: desktop._input.position() is None, "the end of the session")
            window.await_event(lambda event: event.get("type") == "button-release")
            with pytest.raises(RunStopped):
                desktop.step(Click(point=at(5, 500)))
            with pytest.raises(RunStopped):
                desktop.observe()
        window.close()
    finally:
        session.close()


KILLED = """
import os, signal
from molmo_agent.envs.desktop.wayland import connect
screens, device = connect(None, None)
device.move(300, 400)
device.press("left")
device.key_down(device.key_name("ctrl"))
os.kill(os.getpid(), signal.SIGKILL)
"""


@needs_portals
def test_a_killed_run_leaves_nothing_down(gnome, monkeypatch):
    gnome.enter(monkeypatch)
    window = Window(gnome)
    try:
        with consent(gnome):
            result = subprocess.run([sys.executable, "-c", KILLED], env=os.environ, check=False)
        assert result.returncode == -9
        window.await_event(lambda event: event.get("type") == "button-press")
        came = window.await_event(lambda event: event.get("type") == "button-release" or "key_up" in event)
        window.await_event(lambda event: event != came and (event.get("type") == "button-release" or "key_up" in event))
    finally:
        window.close()


# --- Mutter behind a portal of the tests ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mutter():
    session = Gnome((1280, 720), (2560, 1440), scaled=True)
    yield session
    session.close()


@contextlib.contextmanager
def shared(session, monitor=0, *, clipboard=False, connectors=("Meta-0", "Meta-1")):
    """Show the window on a monitor; yield it and the portal, without a desktop yet."""
    window = Window(session, monitor)
    try:
        with MutterPortal(session.variables["DBUS_SESSION_BUS_ADDRESS"], connectors, clipboard=clipboard) as portal:
            yield window, portal
    finally:
        window.close()


@pytest.mark.parametrize("scale", [1, 1.25, 2])
def test_on_a_scaled_monitor_points_hit_and_images_keep_every_pixel(mutter, monkeypatch, scale):
    mutter.enter(monkeypatch)
    scale_monitors(scale)
    with shared(mutter, monitor=1) as (window, _), Desktop(monitor=2) as desktop:
        assert desktop.reset()[0].image.shape == (1440, 2560, 3)
        desktop.step(Click(point=at(1000, 600, 2560, 1440)))
        event = window.await_event(lambda event: event.get("type") == "button-release")
        assert abs(event["x"] - 1000.5 / scale) <= 1
        assert abs(event["y"] - 600.5 / scale) <= 1


def test_all_monitors_are_one_image_whose_points_hit(mutter, monkeypatch):
    mutter.enter(monkeypatch)
    scale_monitors(1)
    with shared(mutter, monitor=1) as (window, _), Desktop(monitor="all") as desktop:
        assert desktop.reset()[0].image.shape == (1440, 3840, 3)
        desktop.step(Drag(start=at(1280 + 300, 1000, 3840, 1440), end=at(1280 + 700, 1200, 3840, 1440)))
        event = window.await_event(lambda event: event.get("type") == "button-release")
        assert (int(event["x"]), int(event["y"])) == (700, 1200)


@pytest.mark.parametrize("text", ["Grüße, señor: 5 €", "你好 мир 😀", "x" * 5000 + "é"])
def test_text_without_keys_is_pasted_through_the_clipboard(mutter, monkeypatch, text):
    mutter.enter(monkeypatch)
    scale_monitors(1)
    with shared(mutter, clipboard=True) as (window, _), Desktop() as desktop:
        desktop.reset()
        desktop.step(Click(point=at(300, window.field_height // 2)))
        desktop.step(Type(text=text))
        window.text(text)


def test_text_that_no_program_takes_is_refused(mutter, monkeypatch):
    mutter.enter(monkeypatch)
    scale_monitors(1)
    with shared(mutter, clipboard=True) as (window, _), Desktop() as desktop:
        desktop.reset()
        desktop.step(Click(point=at(300, 600)))
        with pytest.raises(ActionRefused, match=r"did not take it from the clipboard.*Nothing was typed"):
            desktop.step(Type(text="né"))
        assert all("text" not in event for event in window.drain())


def test_a_session_that_the_compositor_ends_stops_the_run_with_nothing_left_down(mutter, monkeypatch):
    mutter.enter(monkeypatch)
    scale_monitors(1)
    with shared(mutter) as (window, portal), Desktop() as desktop:
        desktop.reset()
        desktop._input.move(400, 300)
        desktop._input.press("left")
        desktop._input.key_down(desktop._input.key_name("ctrl"))
        window.await_event(lambda event: event.get("type") == "button-press")
        portal.do(portal.stop_mutter)
        window.await_event(lambda event: event.get("type") == "button-release")
        with pytest.raises(RunStopped, match=r"the desktop ended the permission.*releases what was held down"):
            eventually(lambda: desktop._input.position() is None, "the end of the session")
        with pytest.raises(RunStopped, match="start again and allow it"):
            desktop.step(Click(point=at(5, 500)))


def test_monitors_that_change_end_the_run_instead_of_showing_old_images(mutter, monkeypatch):
    mutter.enter(monkeypatch)
    scale_monitors(1)
    with shared(mutter), Desktop(monitor=2) as desktop:
        desktop.reset()
        scale_monitors(2)
        with pytest.raises((EnvError, RunStopped), match=r"monitors.*[Ss]tart again"):
            desktop.observe()


def test_a_compositor_that_ends_is_reported(monkeypatch):
    session = Gnome((640, 480))
    try:
        session.enter(monkeypatch)
        with MutterPortal(session.variables["DBUS_SESSION_BUS_ADDRESS"], ["Meta-0"]), Desktop() as desktop:
            desktop.reset()
            session.compositor.kill()
            with pytest.raises(EnvError, match=r"compositor (is gone|closed the connection).*start again"):
                eventually(lambda: desktop.observe() is None, "an error")
    finally:
        session.close()
