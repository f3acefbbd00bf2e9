"""The desktop env's arithmetic and gestures, on fake screens: any monitors, any scale factor."""

import json
import math
import random
from fractions import Fraction

import numpy as np
import pytest
from desktop_fakes import FakeInput, FakeScreen
from desktop_screen import FAST, needs

from molmo_agent.actions import (
    Back,
    Click,
    Done,
    Drag,
    Home,
    Key,
    LongPress,
    Move,
    OpenApp,
    PointAt,
    Scroll,
    Type,
    Wait,
)
from molmo_agent.envs.desktop.capture import Area, bgra_to_rgb
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.errors import ActionRefused, EnvError, RunStopped, UsageError
from molmo_agent.geometry import Point
from molmo_agent.interfaces import Env
from molmo_agent.testing import check_env
from molmo_agent.transforms import ImageTransform

# A main monitor, one to its left that starts higher, one above.
MAIN, LEFT, ABOVE = (0, 0, 1920, 1080), (-1280, -200, 1280, 1024), (300, -720, 1280, 720)
# The same in small, for many pictures.
SMALL = (0, 0, 192, 108), (-128, -20, 128, 102), (30, -72, 128, 72)


def desktop(*areas, scale=1.0, **options):
    return Desktop(
        capture=FakeScreen(*(areas or (MAIN, LEFT, ABOVE)), scale=scale),
        input=options.pop("input", None) or FakeInput(),
        pace=FAST,
        **options,
    )


def sent_by(*actions, **options):
    env = desktop(**options)
    env.reset()
    for action in actions:
        env.step(action)
    return env._input.sent


def test_it_is_an_env():
    assert isinstance(desktop(), Env)
    check_env(desktop())


@pytest.mark.parametrize("monitor", [1, 2, 3, "all"])
@pytest.mark.parametrize("scale", [1.0, 1.25, 1.5, 2.0, 3.0])
@pytest.mark.parametrize("max_side", [None, 64])
def test_every_random_point_hits_the_pixel_under_it(monitor, scale, max_side):
    env = desktop(*SMALL, monitor=monitor, scale=scale, max_side=max_side)
    env.reset()
    area = env._view._area
    width, height = round(area.width * scale), round(area.height * scale)
    rng = random.Random(f"{monitor} {scale}")
    # The corners themselves are no targets, see test_emergency_stop.py.
    for point in [Point(rng.random(), rng.random()) for _ in range(50)] + [Point(0, 0.5), Point(1, 0.5), Point(0.5, 1)]:
        env.step(Move(point))
        x, y = env._input.at
        for unit, start, size, fraction, pixels in (
            (x, area.left, area.width, point.x, width),
            (y, area.top, area.height, point.y, height),
        ):
            assert 0 <= unit - start < size
            pixel = min(math.floor(fraction * pixels), pixels - 1)
            # The unit's span of pixels holds the pixel, in exact arithmetic.
            ratio = Fraction(pixels, size)
            assert (unit - start) * ratio < pixel + 1
            assert (unit - start + 1) * ratio > pixel


@pytest.mark.parametrize("size", [(1707, 960, 2560), (1463, 823, 2560), (1366, 768, 2732)])
def test_an_odd_scale_factor_never_leads_past_the_edge(size):
    width, height, pixels = size
    env = desktop((0, 0, width, height), scale=pixels / width)
    observation, _ = env.reset()
    assert observation.image.shape[1] == pixels
    assert observation.transform.device_region == (0, 0, width, height)
    assert observation.transform.to_device(Point(1, 1)) == (width - 1, height - 1)


def test_the_transform_survives_being_written_down():
    observation, _ = desktop(monitor=2, scale=1.5, max_side=500).reset()
    written = json.loads(json.dumps(observation.transform.to_dict()))
    assert ImageTransform.from_dict(written) == observation.transform


def test_the_primary_monitor_is_the_default_wherever_it_is_in_the_list():
    env = Desktop(capture=FakeScreen(LEFT, MAIN, primary=1), input=FakeInput())
    assert env.observe().transform.device_region == (0, 0, 1920, 1080)


def test_all_monitors_make_one_image_with_the_outermost_corner_as_origin():
    observation = desktop(monitor="all").observe()
    assert observation.transform.device_region == (-1280, -720, 1920, 1080)
    assert observation.size == (3200, 1800)


def test_a_region_may_lie_on_a_monitor_with_negative_coordinates():
    observation = desktop(region=(-100, -50, 60, 40)).observe()
    assert observation.transform.device_region == (-100, -50, -40, -10)


def test_the_observation_is_read_only_and_scaled_down_to_max_side():
    observation = desktop(max_side=480).observe()
    assert observation.image.shape == (270, 480, 3)
    assert observation.image.dtype == np.uint8
    assert observation.image.flags.c_contiguous
    assert not observation.image.flags.writeable


def test_bytes_of_a_screen_become_rgb():
    image = bgra_to_rgb(bytes([1, 2, 3, 0, 4, 5, 6, 0]), 2, 1)
    assert image.tolist() == [[[3, 2, 1], [6, 5, 4]]]


# --- Arguments that cannot be -----------------------------------------------------------------------------------------


def test_a_monitor_that_does_not_exist_is_reported_with_those_that_do():
    with pytest.raises(UsageError, match=r"1 to 3, got 4; there are 1: 1920x1080 at \(0, 0\), 2: 1280x1024"):
        desktop(monitor=4)
    with pytest.raises(UsageError, match="got 'second'"):
        desktop(monitor="second")
    assert desktop(monitor="2").observe().size == (1280, 1024)


def test_a_region_outside_of_the_screen_is_reported_with_the_screen():
    with pytest.raises(EnvError, match=r"region 500x500 at \(1800, 0\) is not on the screen, which is 3200x1800"):
        desktop(region=(1800, 0, 500, 500))
    with pytest.raises(UsageError, match="with a width and height"):
        desktop(region=(0, 0, 0, 10))


def test_one_place_at_a_time():
    with pytest.raises(UsageError, match="choose one of monitor, region and window, got monitor and region"):
        desktop(monitor=2, region=(0, 0, 10, 10))


def test_a_window_by_its_title_needs_x11():
    with pytest.raises(UsageError, match="on X11 only; use region"):
        desktop(window="Calculator")


@needs("Xvfb")
def test_a_window_is_cut_at_the_edge_of_the_screen_and_reported_when_it_is_outside(monkeypatch):
    x11 = pytest.importorskip("molmo_agent.envs.desktop.x11")
    place = Area(1900, -10, 50, 50)
    monkeypatch.setattr(x11, "find_window", lambda display, part: x11.Window(7, "Calculator", place))
    monkeypatch.setattr(x11, "window_area", lambda display, window_id, part: place)
    env = desktop(MAIN)
    env._view._window, env._view._x11 = "calc", object()
    assert env.observe().transform.device_region == (1900, 0, 1920, 40)
    place = Area(5000, 0, 50, 50)
    with pytest.raises(EnvError, match=r"'calc' is outside of the screen \(50x50 at \(5000, 0\)\): move it back"):
        env.observe()


def test_an_image_too_small_to_see_anything_is_refused():
    with pytest.raises(UsageError, match="max_side must be at least 32 pixels, got 8"):
        desktop(max_side=8)


def test_reset_options_are_refused():
    with pytest.raises(UsageError, match="no reset options, got difficulty"):
        desktop().reset(options={"difficulty": 3})


def test_a_locked_screen_is_reported(monkeypatch):
    env = desktop()
    monkeypatch.setattr(env, "_real", True)
    monkeypatch.setattr("molmo_agent.envs.desktop.screen_lock.screen_lock", lambda display: "i3lock")
    with pytest.raises(EnvError, match=r"screen is locked by i3lock.*Unlock it and start again"):
        env.reset()


def test_points_need_an_observation_first():
    with pytest.raises(UsageError, match="call reset"):
        desktop().step(Click(Point(0.5, 0.5)))


def test_areas_that_do_not_meet_have_no_part_in_common():
    assert Area(0, 0, 10, 10).intersection(Area(10, 0, 5, 5)) is None
    assert Area(0, 0, 10, 10).intersection(Area(-5, 8, 10, 10)) == Area(0, 8, 5, 2)


# --- Gestures ---------------------------------------------------------------------------------------------------------


MIDDLE = Point(0.5, 0.5)


def test_a_double_click_is_two_presses_that_say_which_they_are():
    assert sent_by(Click(MIDDLE, "right", count=2)) == [
        ("move", 960, 540),
        ("press", "right", 1),
        ("release", "right", 1),
        ("press", "right", 2),
        ("release", "right", 2),
    ]


def test_keys_are_held_from_before_a_click_until_after_it():
    assert sent_by(Click(MIDDLE, count=2, held=("ctrl", "shift"))) == [
        ("move", 960, 540),
        ("down", "ctrl"),
        ("down", "shift"),
        ("press", "left", 1),
        ("release", "left", 1),
        ("press", "left", 2),
        ("release", "left", 2),
        ("up", "shift"),
        ("up", "ctrl"),
    ]


def test_a_click_with_a_key_that_is_not_there_sends_nothing():
    env = desktop()
    env.reset()
    with pytest.raises(ActionRefused, match="no key 'hyper'"):
        env.step(Click(MIDDLE, held=("ctrl", "hyper")))
    assert env._input.sent == []


def test_a_long_press_holds_the_main_button():
    assert sent_by(LongPress(MIDDLE, 0.01))[1:] == [("press", "left", 1), ("release", "left", 1)]


@pytest.mark.parametrize(
    ("direction", "amount"), [("up", (0, -2)), ("down", (0, 2)), ("left", (-2, 0)), ("right", (2, 0))]
)
def test_scrolling_moves_the_view_in_the_direction_asked(direction, amount):
    assert sent_by(Scroll(direction, 2, MIDDLE)) == [("move", 960, 540), ("scroll", *amount)]
    assert sent_by(Scroll(direction, 2)) == [("move", 500, 500), ("scroll", *amount)], "the pointer stays"


def test_a_short_drag_still_has_three_movements():
    sent = sent_by(Drag(Point(0.5, 0.5), Point(0.502, 0.5), "middle"))
    assert [what[0] for what in sent] == ["move", "press", "move", "move", "move", "release"]
    assert sent[-2] == ("move", 963, 540)


def test_line_ends_and_tabs_are_keys_and_the_rest_is_text():
    assert sent_by(Type("Ada\tLovelace\r\n")) == [
        ("type", "Ada"),
        ("down", "tab"),
        ("up", "tab"),
        ("type", "Lovelace"),
        ("down", "enter"),
        ("up", "enter"),
    ]


@pytest.mark.parametrize("text", ["bell\x07", "half an emoji \ud83d"])
def test_control_characters_are_refused_before_anything_is_typed(text):
    env = desktop()
    env.reset()
    with pytest.raises(ActionRefused, match="no other control character"):
        env.step(Type(text))
    assert env._input.sent == []


def test_a_chord_is_checked_before_its_first_key_goes_down():
    env = desktop()
    env.reset()
    with pytest.raises(ActionRefused, match="no key 'hyper'"):
        env.step(Key(("ctrl", "hyper")))
    assert env._input.sent == []


@pytest.mark.parametrize("action", [Done(), Done(False), PointAt(()), PointAt((MIDDLE,)), Wait(0)])
def test_answers_and_waits_send_nothing(action):
    env = desktop()
    env.reset()
    _, reward, terminated, truncated, info = env.step(action)
    assert env._input.sent == []
    assert (reward, terminated, truncated, info) == (0.0, isinstance(action, Done), False, {})


@pytest.mark.parametrize("action", [OpenApp("Mail"), Back(), Home()])
def test_what_a_desktop_does_not_have_is_refused_and_never_approximated(action):
    env = desktop()
    env.reset()
    assert type(action) not in env.capabilities
    with pytest.raises(ActionRefused, match=f"a desktop has no {type(action).__name__}; it can do: Click, Done, Drag"):
        env.step(action)
    assert env._input.sent == []


# --- Letting go and stopping ------------------------------------------------------------------------------------------


ACTIONS = [
    Click(MIDDLE, count=2, held=("ctrl",)),
    LongPress(MIDDLE, 0),
    Drag(MIDDLE, Point(0.6, 0.6)),
    Key(("ctrl", "shift", "s")),
]


@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: type(action).__name__)
@pytest.mark.parametrize("error", [KeyboardInterrupt, EnvError("gone"), SystemExit])
def test_nothing_stays_pressed_wherever_an_action_is_interrupted(action, error):
    for call in range(1, len(sent_by(action)) + 1):
        env = desktop(input=FakeInput(fail_at=call, error=error))
        env.reset()
        with pytest.raises(error if isinstance(error, type) else type(error)):
            env.step(action)
        assert env._input.held == [], f"interrupted at call {call}"


def test_closing_twice_is_fine_and_lets_go():
    env = desktop()
    env._input.held.append("left")
    with env:
        env.reset()
    env.close()
    assert env._input.held == []


CORNERS = [(0, 0), (1919, 0), (0, 1079), (1919, 1079)]


def test_a_target_in_the_corner_is_moved_one_pixel_beside_it():
    points = [Point(0, 0), Point(1, 0), Point(0, 1), Point(1, 1)]
    sent = sent_by(*map(Move, points), input=FakeInput(CORNERS))
    assert [what[1:] for what in sent] == [(1, 0), (1918, 0), (1, 1079), (1918, 1079)]


def test_a_drag_along_the_edge_does_not_touch_the_corner():
    env = desktop(input=FakeInput(CORNERS))
    env.reset()
    env.step(Drag(Point(0.2, 0), Point(0, 0)))
    assert not set(CORNERS) & {what[1:] for what in env._input.sent}


@pytest.mark.parametrize("action", [Click(MIDDLE), Type("x"), Wait(30), Done()], ids=lambda a: type(a).__name__)
def test_a_pointer_in_the_corner_stops_any_action(action):
    env = desktop(input=FakeInput(CORNERS))
    env.reset()
    env._input.at = (1919, 1079)
    with pytest.raises(RunStopped, match=r"in the corner \(1919, 1079\).*move it out of the corner and start again"):
        env.step(action)
    assert env._input.sent == []
