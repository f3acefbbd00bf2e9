"""The desktop env on a real wlroots compositor, a headless sway: what a real program receives and what is seen."""

import os
import subprocess
import sys

import numpy as np
import pytest
from wayland_session import Sway, Window, eventually, needs_wayland

from molmo_agent.actions import Click, Drag, Key, Move, Scroll, Type
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.errors import ActionRefused, EnvError, UsageError
from molmo_agent.geometry import Point

pytestmark = [pytest.mark.skipif(sys.platform != "linux", reason="Wayland"), needs_wayland("sway", "swaymsg")]


@pytest.fixture(scope="module")
def sway():
    session = Sway((1280, 720), (800, 600))
    yield session
    session.close()


@pytest.fixture
def window(sway, monkeypatch):
    sway.enter(monkeypatch)
    window = Window(sway)
    yield window
    window.close()


@pytest.fixture
def desktop(window):
    with Desktop() as desktop:
        desktop.reset()
        yield desktop


def at(x, y, width=1280, height=720):
    """Return the point in the middle of a pixel."""
    return Point((x + 0.5) / width, (y + 0.5) / height)


def test_a_click_arrives_at_the_pixel_that_was_pointed_at(desktop, window):
    for x, y in ((0, 100), (641, 333), (1278, 719)):
        desktop.step(Click(point=at(x, y)))
        event = window.await_event(lambda event: event.get("type") == "button-release")
        assert (int(event["x"]), int(event["y"]), event["button"]) == (x, y, 1)


@pytest.mark.parametrize("text", ["Hello, World! ~/x_y {}", "Grüße, señor: 5 € – ½", "你好 мир 😀", "ÀÉÎ ßœ Ω"])
def test_any_text_arrives_as_written(desktop, window, text):
    desktop.step(Click(point=at(300, window.field_height // 2)))
    desktop.step(Type(text=text))
    window.text(text)


def test_a_text_with_more_characters_than_keys_arrives(desktop, window):
    text = "".join(chr(0x4E00 + 7 * i) for i in range(300))
    desktop.step(Click(point=at(300, window.field_height // 2)))
    desktop.step(Type(text=text))
    window.text(text)


def test_shortcuts_and_keys_reach_the_program(desktop, window):
    desktop.step(Click(point=at(300, window.field_height // 2)))
    desktop.step(Type(text="first"))
    desktop.step(Key(keys=("ctrl", "a")))
    desktop.step(Type(text="second\n"))
    assert window.await_event(lambda event: "entered" in event)["entered"] == "second"


def test_a_wheel_turns_and_a_drag_moves_with_the_button_down(desktop, window):
    desktop.step(Scroll(direction="down", notches=2, point=at(400, 400)))
    assert window.await_event(lambda event: event.get("type") == "scroll")["by"][1] > 0
    desktop.step(Drag(start=at(200, 300), end=at(500, 450)))
    released = window.await_event(lambda event: event.get("type") == "button-release")
    kinds = [event.get("type") for event in window.events]
    assert (int(released["x"]), int(released["y"])) == (500, 450)
    assert "motion" in kinds[kinds.index("button-press") : kinds.index("button-release")]


def test_the_observation_shows_what_was_typed(desktop, window):
    before = desktop.step(Click(point=at(300, window.field_height // 2)))[0].image
    assert before.shape == (720, 1280, 3)
    desktop.step(Type(text="MMMM"))

    def dark_pixels():
        return np.argwhere((desktop.observe().image.max(axis=2) < 90) & (before.max(axis=2) >= 90))

    typed = eventually(lambda: len(dark_pixels()) > 20 and dark_pixels(), "the text in the observation")
    assert typed[:, 0].max() <= window.field_height
    assert typed[:, 1].max() < 200


def test_a_monitor_beside_the_first_one_is_seen_and_clicked(sway, monkeypatch):
    sway.enter(monkeypatch)
    window = Window(sway, monitor=1)
    try:
        with Desktop(monitor=2) as desktop:
            assert desktop.reset()[0].image.shape == (600, 800, 3)
            desktop.step(Click(point=at(70, 555, 800, 600)))
            event = window.await_event(lambda event: event.get("type") == "button-release")
            assert (int(event["x"]), int(event["y"])) == (70, 555)
        with Desktop(monitor="all") as desktop:
            assert desktop.reset()[0].image.shape == (720, 2080, 3)
            desktop.step(Click(point=at(1280 + 70, 500, 2080, 720)))
            event = window.await_event(lambda event: event.get("type") == "button-release")
            assert (int(event["x"]), int(event["y"])) == (70, 500)
    finally:
        window.close()


@pytest.mark.parametrize("transform", ["90", "180", "flipped-270"])
def test_a_turned_monitor_is_seen_upright(sway, monkeypatch, transform):
    sway.enter(monkeypatch)
    sway.message("output", "HEADLESS-2", "transform", transform)
    window = Window(sway, monitor=1, text="WWWWWWWW")
    try:
        with Desktop(monitor=1) as desktop:
            desktop.reset()
            # This sway draws the pointer into the image.
            desktop.step(Move(point=at(640, 360)))
        with Desktop(monitor=2) as desktop:
            desktop.reset()

            def dark_pixels():
                return np.argwhere(desktop.observe().image.max(axis=2) < 90)

            dark = eventually(lambda: len(dark_pixels()) > 20 and dark_pixels(), "the text in the observation")
            # The text is at the left of the top.
            assert dark[:, 0].max() < window.field_height
            assert dark[:, 1].max() < 300
    finally:
        window.close()
        sway.message("output", "HEADLESS-2", "transform", "normal")


@pytest.mark.parametrize("scale", ["2", "1.5", "1.25"])
def test_on_a_scaled_monitor_points_hit_and_images_keep_every_pixel(sway, monkeypatch, scale):
    sway.enter(monkeypatch)
    sway.message("output", "HEADLESS-1", "scale", scale)
    window = Window(sway)
    try:
        with Desktop() as desktop:
            assert desktop.reset()[0].image.shape == (720, 1280, 3)
            desktop.step(Click(point=at(1000, 600)))
            event = window.await_event(lambda event: event.get("type") == "button-release")
            expected = (1000.5 / float(scale), 600.5 / float(scale))
            assert abs(event["x"] - expected[0]) <= 1
            assert abs(event["y"] - expected[1]) <= 1
    finally:
        window.close()
        sway.message("output", "HEADLESS-1", "scale", "1")


KILLED = """
import os, signal
from molmo_agent.envs.desktop.wayland import connect
screens, device = connect(None, None)
device.move(300, 400)
device.press("left")
device.key_down(device.key_name("ctrl"))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_nothing_down_for_the_next_one(sway, window):
    result = subprocess.run([sys.executable, "-c", KILLED], env=os.environ, check=False)
    assert result.returncode == -9
    window.await_event(lambda event: event.get("key_up") == "Control_L")
    assert all(event.get("type") != "button-release" for event in window.drain())
    with Desktop() as desktop:
        desktop.reset()
        window.await_event(lambda event: event.get("type") == "button-release")
        desktop.step(Click(point=at(300, window.field_height // 2)))
        desktop.step(Type(text="unharmed"))
        window.text("unharmed")


def test_unknown_keys_windows_and_regions_are_refused(desktop, window):
    with pytest.raises(ActionRefused, match=r"no key 'pageupp'; did you mean 'pageup'"):
        desktop.step(Key(keys=("pageupp",)))
    with pytest.raises(UsageError, match=r"on X11 only: Wayland does not tell where windows are.*region="):
        Desktop(window="Target")
    with pytest.raises(EnvError, match=r"the region 100x100 at \(5000, 0\) is not on the screen"):
        Desktop(region=(5000, 0, 100, 100))


def test_a_compositor_that_ends_is_reported(monkeypatch):
    session = Sway((640, 480))
    try:
        session.enter(monkeypatch)
        with Desktop() as desktop:
            desktop.reset()
            session.close()
            with pytest.raises(EnvError, match=r"compositor (is gone|closed the connection).*log in again"):
                desktop.observe()
    finally:
        session.close()


def test_without_a_compositor_the_next_step_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-7")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    with pytest.raises(EnvError, match=r"does not answer on '.*wayland-7'.*terminal inside of the graphical session"):
        Desktop()


def test_a_field_is_filled_in_over_what_it_held(desktop, window):
    desktop.step(Click(point=at(300, window.field_height // 2)))
    desktop.step(Type(text="before"))
    desktop.step(Type(text="after", replace=True))
    window.text("after")
