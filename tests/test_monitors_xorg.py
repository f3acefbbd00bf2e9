"""Monitors that are rearranged, rotated and unplugged while the desktop env uses them, on a real Xorg."""

import random
import time

import numpy as np
import pytest
from desktop_screen import FAST, Actor, needs

pytest.importorskip("Xlib", reason="Xlib comes with pyautogui on Linux only")

import Xlib.X
from x_servers import connection, move_pointer, needs_dummy, pointer, xorg, xrandr

from molmo_agent.actions import Click, Move, Type, Wait
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.errors import ActionRefused, EnvError, RunStopped
from molmo_agent.geometry import Point

pytestmark = [needs_dummy, needs("xdotool")]

FIRST, SECOND = (0, 0, 800, 600), (800, 0, 640, 480)


@pytest.fixture
def screen(tmp_path):
    with xorg(tmp_path) as name:
        move_pointer(400, 300)
        yield name


@pytest.fixture
def actor(screen):
    actor = Actor()
    yield actor
    actor.close()


_envs = {}


def env_for(options):
    key = repr(options)
    if key not in _envs:
        _envs[key] = Desktop(pace=FAST, **options)
    return _envs[key]


def reset(options):
    return env_for(options).reset()[0].transform.device_region


def observe(options):
    return env_for(options).observe().transform.device_region


def step(options, action):
    """Return how a step ends: its new observation's region, or its error."""
    try:
        return env_for(options).step(action)[0].transform.device_region
    except (ActionRefused, EnvError, RunStopped) as error:
        return type(error).__name__, str(error)


def corners_of(*areas):
    return [(x, y) for left, top, w, h in areas for x in (left, left + w - 1) for y in (top, top + h - 1)]


def check_stops(actor, options, corner):
    """Push the pointer into a corner while the env waits; it must stop long before its wait is over."""
    with connection() as display:
        actor.do(reset, options)
        waiting = actor.start(step, options, Wait(60))
        time.sleep(0.2)
        begin = time.monotonic()
        move_pointer(*corner)
        assert pointer(display) == corner, "the server does not let it get there"
        kind, text = waiting.get(timeout=90)
        assert (kind, str(corner) in text) == ("RunStopped", True), text
        assert time.monotonic() - begin < 30
        move_pointer(400, 300)


# --- The emergency stop -----------------------------------------------------------------------------------------------


ALL = {"monitor": "all"}


def test_every_corner_of_every_monitor_stops_the_run(actor):
    for corner in corners_of(FIRST, SECOND):
        check_stops(actor, ALL, corner)


def test_a_hand_that_pushes_as_far_as_it_goes_ends_in_a_corner_that_stops(actor):
    for far in ((5000, 5000), (5000, -5000)):
        actor.do(reset, {"monitor": 2})
        move_pointer(1000, 200)
        waiting = actor.start(step, {"monitor": 2}, Wait(60))
        time.sleep(0.2)
        move_pointer(*far)
        assert waiting.get(timeout=90)[0] == "RunStopped"
        move_pointer(400, 300)


CHANGES = {
    "smaller": (["--output", "DUMMY0", "--mode", "640x480"], [(0, 0, 640, 480), SECOND]),
    "rotated": (["--output", "DUMMY0", "--mode", "portrait"], [(0, 0, 480, 640), SECOND]),
    "unplugged": (["--output", "DUMMY1", "--off"], [FIRST]),
    "main on the right": (
        ["--output", "DUMMY0", "--pos", "640x200", "--output", "DUMMY1", "--pos", "0x0"],
        [(640, 200, 800, 600), (0, 0, 640, 480)],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_corners_are_those_of_the_monitors_as_they_are_now(actor, change):
    arguments, areas = CHANGES[change]
    options = {"monitor": 1}
    actor.do(reset, options)
    waiting = actor.start(step, options, Wait(60))
    time.sleep(0.2)
    xrandr(*arguments)
    move_pointer(*corners_of(*areas)[-1])
    assert waiting.get(timeout=90)[0] == "RunStopped"
    move_pointer(300, 300)
    for corner in corners_of(*areas)[:-1]:
        check_stops(actor, options, corner)


def test_a_push_that_is_over_before_the_next_action_stops_it(actor, screen):
    for corner in ((799, 599), (800, 0), (1439, 479)):
        actor.do(reset, ALL)
        move_pointer(*corner)
        time.sleep(0.5)
        move_pointer(300, 200)
        kind, text = actor.do(step, ALL, Click(Point(0.5, 0.3)))
        assert kind == "RunStopped"
        assert str(corner) in text
        assert not isinstance(actor.do(step, ALL, Move(Point(0.4, 0.3)))[0], str), "reported once"


def test_a_push_from_before_the_run_does_not_stop_it(actor, screen):
    actor.do(reset, ALL)
    move_pointer(799, 599)
    time.sleep(0.3)
    move_pointer(300, 200)
    actor.do(reset, ALL)
    assert actor.do(step, ALL, Move(Point(0.4, 0.3))) == (0, 0, 1440, 600)


def test_targets_in_the_corners_are_clicked_beside_them_and_do_not_stop_the_run(actor, screen):
    with connection() as display:
        assert actor.do(reset, ALL) == (0, 0, 1440, 600)
        for x, y in corners_of(FIRST, SECOND):
            result = actor.do(step, ALL, Click(Point.from_pixel(x, y, 1440, 600)))
            assert result == (0, 0, 1440, 600), result
            arrived = pointer(display)
            assert abs(arrived[0] - x) + abs(arrived[1] - y) == 1


# --- A screen that changes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("action", [Click(Point(0.3, 0.3)), Type("x")], ids=["click", "type"])
def test_input_for_the_old_layout_is_refused_and_the_next_observation_shows_the_new_one(actor, change, action):
    arguments, areas = CHANGES[change]
    options = {"monitor": 1}
    with connection() as display:
        actor.do(reset, options)
        xrandr(*arguments)
        before = pointer(display)
        kind, text = actor.do(step, options, action)
        assert kind == "ScreenChanged"
        assert "the monitors changed since the observation, now they are 1: " in text
        assert text.endswith("observe again, then act")
        assert pointer(display) == before
        left, top, width, height = areas[0]
        assert actor.do(observe, options) == (left, top, left + width, top + height)
        target = actor.do(step, options, Move(Point(0.5, 0.5)))
        assert target == (left, top, left + width, top + height)
        assert pointer(display) == (left + width // 2, top + height // 2)


def test_a_monitor_that_is_gone_is_reported_with_those_that_are_left(actor, screen):
    actor.do(reset, {"monitor": 2})
    xrandr("--output", "DUMMY1", "--off")
    assert actor.do(step, {"monitor": 2}, Click(Point(0.5, 0.5)))[0] == "ScreenChanged"
    kind, text = actor.do(step, {"monitor": 2}, Wait(0))
    assert (kind, text) == (
        "EnvError",
        "monitor 2 is gone; there are 1: 800x600 at (0, 0). Switch it on again, or start again with another one",
    )
    xrandr("--output", "DUMMY1", "--mode", "640x480", "--pos", "800x0")
    assert actor.do(observe, {"monitor": 2}) == (800, 0, 1440, 480)


def test_a_point_where_no_monitor_is_clicks_nothing(actor, screen):
    actor.do(reset, ALL)
    # Below the smaller monitor the image of both shows nothing, and the server keeps the pointer out.
    kind, text = actor.do(step, ALL, Click(Point.from_pixel(1200, 560, 1440, 600)))
    assert kind == "ActionRefused"
    assert "sent to (1200, 560), where no monitor is, but is at" in text
    assert text.endswith("nothing was clicked. Leave the mouse alone, observe again, then act")


# --- Exact pixels -----------------------------------------------------------------------------------------------------


def paint_positions(display, width, height):
    """Cover the screen with pixels whose colours are their own positions."""
    root = display.screen().root
    window = root.create_window(
        0, 0, width, height, 0, Xlib.X.CopyFromParent, override_redirect=1, event_mask=Xlib.X.ExposureMask
    )
    window.map()
    while display.next_event().type != Xlib.X.Expose:
        pass
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    gc = window.create_gc()
    pixels = (x & 0xFF) << 16 | (y & 0xFF) << 8 | x >> 8 << 4 | y >> 8
    for top in range(0, height, 16):
        rows = pixels[top : top + 16].astype("<u4")
        window.put_image(gc, 0, top, width, len(rows), Xlib.X.ZPixmap, 24, 0, rows.tobytes())
    display.sync()
    return window


def position_of(colour):
    red, green, blue = (int(value) for value in colour)
    return red | (blue >> 4) << 8, green | (blue & 15) << 8


def sampled(options, count, seed):
    """Move to the centres of random pixels of the image, and return (colour, where the pointer is) for each."""
    env, rng, result = env_for(options), random.Random(seed), []
    observation = env.reset()[0]
    height, width = observation.image.shape[:2]
    for _ in range(count):
        i, j = rng.randrange(width), rng.randrange(height)
        env.step(Move(Point.from_pixel(i, j, width, height)))
        result.append((observation.image[j, i].tolist(), env._input.position()))
    return result


# Nothing on an X screen has negative coordinates: see test_desktop.py for those.
LAYOUTS = {
    "side by side": [],
    "second above and left": ["--output", "DUMMY0", "--pos", "500x480", "--output", "DUMMY1", "--pos", "0x0"],
    "first rotated": ["--output", "DUMMY0", "--mode", "portrait", "--output", "DUMMY1", "--pos", "480x100"],
    "second rotated": ["--output", "DUMMY1", "--mode", "portrait"],
    "first smaller": ["--output", "DUMMY0", "--mode", "640x480"],
}


def test_every_sampled_pixel_is_where_the_pointer_goes_in_every_layout(actor, screen):
    for name, arguments in LAYOUTS.items():
        xrandr("--output", "DUMMY0", "--mode", "800x600", "--pos", "0x0")
        xrandr("--output", "DUMMY1", "--mode", "640x480", "--pos", "800x0")
        if arguments:
            xrandr(*arguments)
        with connection() as display:
            size = display.screen().root.get_geometry()
            paint_positions(display, size.width, size.height)
            for monitor in (1, 2):
                pairs = actor.do(sampled, {"monitor": monitor}, 60, f"{name} {monitor}")
                wrong = [(position_of(colour), at) for colour, at in pairs if position_of(colour) != at]
                corners = sum(abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1 for a, b in wrong)
                assert len(wrong) == corners <= 1, (name, monitor, wrong)


def test_monitors_of_thirty_bits_are_exact_too(tmp_path):
    with xorg(tmp_path, depth=30) as name, connection() as display:
        assert display.screen().root_depth == 30, name
        actor = Actor()
        try:
            assert actor.do(reset, {"monitor": 2}) == (800, 0, 1440, 480)
            assert actor.do(step, {"monitor": 2}, Move(Point.from_pixel(99, 77, 640, 480))) == (800, 0, 1440, 480)
            assert pointer(display) == (899, 77)
        finally:
            actor.close()
