"""Input through KDE's own portal on a real KWin. Its virtual screen sends no images, so only input is tested."""

import shutil
import sys

import pytest

pytest.importorskip("jeepney", reason="jeepney is not installed: pip install 'molmo-agent[wayland]'")

from wayland_session import KDE_PORTAL, Kde, Window, eventually, needs_wayland

from molmo_agent.envs.desktop.capture import Area
from molmo_agent.envs.desktop.wayland.portal import PortalSession
from molmo_agent.envs.desktop.wayland.portal_input import PortalInput

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="Wayland"),
    needs_wayland("kwin_wayland", "pipewire", "wireplumber", "dbus-daemon", "dbus-send"),
    pytest.mark.skipif(not KDE_PORTAL.exists(), reason="not installed: xdg-desktop-portal-kde"),
]


@pytest.fixture(scope="module")
def kde():
    session = Kde(shutil.which("kwin_wayland"))
    yield session
    session.close()


def test_clicks_and_text_reach_a_real_program(kde, monkeypatch):
    kde.enter(monkeypatch)
    window = Window(kde)
    try:
        # With one monitor this portal grants without a question.
        session = PortalSession()
        (stream,) = session.streams
        assert (stream.position, stream.size) == (None, (1280, 720))
        hand = PortalInput(session, [Area(0, 0, 1280, 720)], [(1280, 720)])
        for x, y in ((0, 100), (641, 333), (1278, 719)):
            hand.move(x, y)
            hand.press("left")
            hand.release("left")
            event = window.await_event(lambda event: event.get("type") == "button-release")
            assert (int(event["x"]), int(event["y"]), event["button"]) == (x, y, 1)
        hand.scroll(0, 2)
        assert window.await_event(lambda event: event.get("type") == "scroll")["by"][1] > 0
        hand.move(300, window.field_height // 2)
        hand.press("left")
        hand.release("left")
        hand.type_line("Hello, World! ~/x_y {}")
        window.text("Hello, World! ~/x_y {}")
        # By its symbol, as where layouts differ.
        hand.key_down("sym:98")
        hand.key_up("sym:98")
        window.text("Hello, World! ~/x_y {}b")
        hand.press("left")
        hand.key_down(hand.key_name("ctrl"))
        hand.close()
        eventually(lambda: any("key_up" in event for event in window.drain()), "the release of the key")
    finally:
        window.close()
