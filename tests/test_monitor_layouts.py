"""The desktop env's view of monitors that change: on fake screens, also where no test machine has such monitors."""

import math
import random

import pytest
from desktop_fakes import FakeInput, FakeScreen
from desktop_screen import FAST

from molmo_agent.actions import Click, Done, Drag, Key, Move, PointAt, Scroll, Type, Wait
from molmo_agent.envs.desktop.capture import Area, Monitor
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.errors import ActionRefused, EnvError
from molmo_agent.geometry import Point

MAIN, LEFT, RIGHT = (0, 0, 192, 108), (-128, -20, 128, 102), (192, 30, 60, 100)
MIDDLE = Point(0.5, 0.5)

# Name -> the monitors after the change.
CHANGES = {
    "another resolution": [(0, 0, 160, 90), LEFT],
    "rotated": [(0, 0, 108, 192), LEFT],
    "unplugged": [MAIN],
    "plugged in": [MAIN, LEFT, RIGHT],
    "moved": [MAIN, (-128, 40, 128, 102)],
    "the main one is another": [(128, 20, 192, 108), (0, 0, 128, 102)],
}


def areas(*monitors):
    return [Monitor(Area(*area), index == 0) for index, area in enumerate(monitors)]


def desktop(*monitors, scale=1.0, **options):
    options = {"monitor": 1, **options}
    return Desktop(capture=FakeScreen(*monitors, scale=scale), input=FakeInput(), pace=FAST, **options)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "action",
    [Click(MIDDLE), Move(MIDDLE), Drag(MIDDLE, Point(0.6, 0.6)), Scroll("up", 1), Type("x"), Key(("enter",))],
    ids=lambda action: type(action).__name__,
)
def test_no_input_is_sent_for_monitors_that_are_no_longer_so(change, action):
    env = desktop(MAIN, LEFT)
    env.reset()
    env._capture.monitor_list = areas(*CHANGES[change])
    with pytest.raises(
        ActionRefused, match=r"the monitors changed since .*, now they are 1: .*observe again, then act"
    ):
        env.step(action)
    assert env._input.sent == []
    env.observe()
    env.step(action)
    assert env._input.sent


@pytest.mark.parametrize("action", [Wait(0), Done(), PointAt((MIDDLE,))], ids=lambda action: type(action).__name__)
def test_what_sends_nothing_is_not_refused(action):
    env = desktop(MAIN, LEFT)
    env.reset()
    env._capture.monitor_list = areas(MAIN)
    observation = env.step(action)[0]
    assert observation.transform.device_region == (0, 0, 192, 108)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("scale", [1.0, 1.5, 2.0])
@pytest.mark.parametrize("monitor", ["1", "2", "all"])
def test_after_a_change_every_sampled_pixel_leads_to_its_own_position(change, scale, monitor):
    if monitor == "2" and len(CHANGES[change]) == 1:
        monitor = "1"
    env = desktop(MAIN, LEFT, scale=scale, monitor=monitor)
    env.reset()
    env._capture.monitor_list = areas(*CHANGES[change])
    observation = env.observe()
    left, top, right, bottom = observation.transform.device_region
    height, width = observation.image.shape[:2]
    assert (width, height) == (round((right - left) * scale), round((bottom - top) * scale))
    rng = random.Random(f"{change} {scale} {monitor}")
    for _ in range(60):
        i, j = rng.randrange(2, width - 2), rng.randrange(2, height - 2)
        env.step(Move(Point.from_pixel(i, j, width, height)))
        x, y = env._input.at
        # Where several pixels share an input position, it is one whose pixels include this one.
        for unit, start, pixel in ((x, left, i), (y, top, j)):
            assert math.floor((unit - start) * scale) <= pixel < math.ceil((unit - start + 1) * scale)


@pytest.mark.parametrize("monitor", [2, "2", 3])
def test_a_monitor_that_is_gone_is_an_error_with_those_that_are_left(monitor):
    env = desktop(MAIN, LEFT, RIGHT, monitor=monitor)
    env.reset()
    env._capture.monitor_list = areas(MAIN)
    with pytest.raises(EnvError, match=rf"monitor {monitor} is gone; there are 1: 192x108 at \(0, 0\)\. Switch it on"):
        env.observe()


def test_a_region_that_is_no_longer_on_the_screen_is_an_error():
    env = desktop(MAIN, LEFT, monitor="primary", region=(-100, 0, 50, 50))
    env.reset()
    env._capture.monitor_list = areas(MAIN)
    with pytest.raises(EnvError, match=r"region 50x50 at \(-100, 0\) is not on the screen, which is 192x108"):
        env.observe()


class Rearranged(FakeScreen):
    """Monitors that change while an image is taken, ``times`` times."""

    def __init__(self, times, fails=False):
        super().__init__(MAIN, LEFT)
        self.times, self.fails = times, fails

    def grab(self, area):
        image = super().grab(area)
        if self.times:
            self.times -= 1
            self.monitor_list = areas((0, 0, 150 + self.times, 90), LEFT)
            if self.fails:
                raise EnvError("the capture failed: its size changed")
        return image


@pytest.mark.parametrize("fails", [False, True])
def test_an_image_and_its_positions_are_of_the_same_monitors(fails):
    env = Desktop(monitor=1, capture=Rearranged(2, fails), input=FakeInput(), pace=FAST)
    observation = env.observe()
    assert observation.size == (150, 90)
    assert observation.transform.device_region == (0, 0, 150, 90)


def test_monitors_that_never_rest_are_an_error():
    env = Desktop(monitor=1, capture=Rearranged(99), input=FakeInput(), pace=FAST)
    with pytest.raises(EnvError, match="the monitors keep changing: wait until"):
        env.observe()


def test_a_capture_that_fails_without_a_change_is_reported_at_once():
    screen = Rearranged(0)
    screen.grab = lambda area: (_ for _ in ()).throw(EnvError("the display is gone"))
    with pytest.raises(EnvError, match="the display is gone"):
        Desktop(monitor=1, capture=screen, input=FakeInput(), pace=FAST).observe()


class HeldBack(FakeInput):
    """A pointer that something keeps ``by`` units back."""

    def __init__(self, by):
        super().__init__()
        self.by = by

    def position(self):
        return self.at[0] - self.by[0], self.at[1] - self.by[1]


@pytest.mark.parametrize("by", [(40, 0), (0, -7), (2, 2)])
@pytest.mark.parametrize(
    "action", [Click(MIDDLE), Drag(MIDDLE, Point(0.6, 0.6)), Scroll("up", 1, MIDDLE)], ids=["click", "drag", "scroll"]
)
def test_a_pointer_that_does_not_arrive_presses_nothing(by, action):
    env = Desktop(monitor=1, capture=FakeScreen(MAIN), input=HeldBack(by), pace=FAST)
    env.reset()
    with pytest.raises(ActionRefused, match=r"sent to \(96, 54\), but is at .*nothing was clicked\. Leave the mouse"):
        env.step(action)
    assert [what[0] for what in env._input.sent] == ["move"]


def test_a_pointer_whose_position_is_rounded_has_arrived():
    env = Desktop(monitor=1, capture=FakeScreen(MAIN), input=HeldBack((0, 1)), pace=FAST)
    env.reset()
    env.step(Click(MIDDLE))
    assert [what[0] for what in env._input.sent] == ["move", "press", "release"]


def test_a_place_between_the_monitors_is_named_as_one():
    env = Desktop(monitor="all", capture=FakeScreen(MAIN, RIGHT), input=HeldBack((0, 30)), pace=FAST)
    env.reset()
    with pytest.raises(ActionRefused, match=r"sent to \(226, 6\), where no monitor is, but is at \(226, -24\)"):
        env.step(Click(Point(0.9, 0.05)))
