"""What the pointer check says about screens and input that exist on paper only: any scale, shift and rotation."""

import re

import numpy as np
import pytest

from molmo_agent.envs.desktop.capture import Area, Monitor
from molmo_agent.envs.pointer_check.desktop import DesktopParts, check_desktop
from molmo_agent.envs.pointer_check.estimate import Sample, grid, judge
from molmo_agent.envs.pointer_check.marks import SIDE
from molmo_agent.errors import EnvError, RunStopped

SIZE = (1600, 900)


def samples(arrive, size=SIZE, **options):
    """Return the nine marks of a display, the pointer arriving where ``arrive`` puts it."""
    return [Sample(mark, arrive(*mark), **options) for mark in grid(size)]


@pytest.mark.parametrize("size", [(1280, 800), (1080, 2400), (5120, 1440)])
def test_marks_stand_on_the_display_and_apart(size):
    marks = grid(size)
    assert len(set(marks)) == 9
    for x, y in marks:
        assert SIDE < x < size[0] - SIDE
        assert SIDE < y < size[1] - SIDE


def test_every_mark_hit_is_proof():
    assert judge(samples(lambda x, y: (x, y)), SIZE, 0).ok
    assert judge(samples(lambda x, y: (x + 1, y - 1)), SIZE, 1).ok


@pytest.mark.parametrize(
    ("arrive", "words"),
    [
        (lambda x, y: (x * 1.25, y * 1.25), "9 of 9 marks were missed: input is 1.25 times the capture"),
        (lambda x, y: (int(x * 1.5), int(y * 1.5)), "input is 1.5 times the capture"),
        (lambda x, y: (x * 2, y * 2), "input is 2 times the capture"),
        (lambda x, y: (x // 2, y // 2), "input is 0.5 times the capture"),
        (lambda x, y: (x * 1.5, y), "input is 1.5 times the capture across and 1 times down"),
        (lambda x, y: (x + 12, y - 30), r"input arrives \(\+12, -30\) beside the mark, everywhere by the same"),
        (lambda x, y: (x, y + 1), r"input arrives \(\+0, \+1\) beside the mark"),
        (lambda x, y: (899 - y, x), "input is rotated by 90 degrees against the capture"),
        (lambda x, y: (1599 - x, 899 - y), "input is rotated by 180 degrees"),
        (lambda x, y: (y, 1599 - x), "input is rotated by 270 degrees"),
        (lambda x, y: (y, x), "the axes of input are swapped against the capture"),
        (lambda x, y: (899 - y, 1599 - x), "the axes of input are swapped against the capture, and both are mirrored"),
        (lambda x, y: (1599 - x, y), "input is mirrored left to right"),
        (lambda x, y: (x, 899 - y), "input is mirrored top to bottom"),
        (lambda x, y: (2 * (899 - y), 2 * x), "rotated by 90 degrees against the capture, and input is 2 times"),
        (lambda x, y: (0.7 * x - 0.7 * y, 0.7 * x + 0.7 * y), "goes at an angle to the capture"),
    ],
)
def test_a_difference_is_named(arrive, words):
    verdict = judge(samples(arrive), SIZE, 0)
    assert re.search(words, verdict.problem), verdict.problem
    assert verdict.remedy


def test_a_pointer_that_somebody_moves_is_no_scale():
    rng = np.random.default_rng(2)
    verdict = judge(samples(lambda x, y: (x + rng.integers(-300, 300), y + rng.integers(-300, 300))), SIZE, 0)
    assert re.search(r"9 of 9 marks were missed, each in another way", verdict.problem)
    assert "was the mouse moved meanwhile" in verdict.remedy


def test_marks_that_are_not_seen_are_no_proof():
    hidden = [Sample(mark, None) for mark in grid(SIZE)]
    verdict = judge(hidden, SIZE, 0)
    assert verdict.problem == "none of the 9 marks was seen in the capture"
    assert "another window, workspace or lock screen covers the marks" in verdict.remedy
    seen = samples(lambda x, y: (x, y))
    assert (
        "2 of 9 marks were not seen in the capture; the others were hit"
        in judge([*seen[:7], *hidden[7:]], SIZE, 0).problem
    )
    # One that is seen and missed says more.
    missed = samples(lambda x, y: (x + 9, y))
    assert "input arrives (+9, +0)" in judge([*missed[:7], *hidden[7:]], SIZE, 0).problem


def test_a_window_that_takes_the_pointer_away_is_no_proof():
    verdict = judge(samples(lambda x, y: (x, y), noticed=False), SIZE, 0)
    assert verdict.problem == "the pointer arrived at every mark, but 9 of 9 did not notice it"
    assert "an invisible window lies over the screen" in verdict.remedy


# --- Whole desktops ---------------------------------------------------------------------------------------------------


class World:
    """Monitors, a pointer and a mark. ``fault`` says where input arrives, ``shows`` which monitor a capture is of."""

    def __init__(self, *areas, ratio=1.0, fault=lambda x, y: (x, y), shows=None, hidden=False):
        self.areas = [Area(*area) for area in areas]
        self.ratio, self.fault, self.shows, self.hidden = ratio, fault, shows or {}, hidden
        self.at, self.mark, self.lit, self.open = (40, 40), None, False, 0
        self.moves = []
        self.corners = frozenset({(0, 0), (self.areas[-1].right - 1, self.areas[-1].bottom - 1)})
        self.stop_after = None
        self.rng = np.random.default_rng(0)

    # The capture.
    def monitors(self):
        return [Monitor(area, index == 0) for index, area in enumerate(self.areas)]

    def grab(self, area):
        number = self.areas.index(area)
        area = self.areas[self.shows.get(number, number)]
        image = np.full((round(area.height * self.ratio), round(area.width * self.ratio), 3), 200, np.uint8)
        # A video plays in a corner.
        image[-70:, -40:] = self.rng.integers(0, 256, (70, 40, 3), np.uint8)
        if self.mark is not None and not self.hidden:
            left, top = (
                round((at - SIDE // 2 - origin) * self.ratio)
                for at, origin in zip(self.mark, (area.left, area.top), strict=True)
            )
            side = round(SIDE * self.ratio)
            if left > 0 and top > 0:
                image[top : top + side, left : left + side] = 255 if self.lit else 0
        return image

    # The input.
    def position(self):
        return self.at

    def move(self, x, y):
        self.moves.append((x, y))
        x, y = (int(value) for value in self.fault(x, y))
        inside = [area for area in self.areas if area.contains(Area(x, y, 1, 1))]
        area = inside[0] if inside else self.areas[-1]
        self.at = min(max(x, area.left), area.right - 1), min(max(y, area.top), area.bottom - 1)
        if self.stop_after == len(self.moves):
            self.at = (0, 0)

    def release_leftovers(self):
        pass

    def release_all(self):
        pass

    # The mark.
    def show(self, x, y):
        self.mark, self.lit, self.open = (x, y), False, self.open + 1

    def light(self, on):
        self.lit = on

    def pointer(self):
        over = self.mark is not None and all(
            abs(at - middle) <= SIDE // 2 for at, middle in zip(self.at, self.mark, strict=True)
        )
        return self.at, over

    def close(self):
        self.mark = None


def check(world):
    return list(check_desktop(DesktopParts(world, world, world)))


ONE = (0, 0, 600, 420)
# Different heights, and one left of the main one.
TWO = ((0, 0, 600, 420), (-480, 60, 480, 300))


@pytest.mark.parametrize("ratio", [1.0, 1.25, 1.5, 2.0])
@pytest.mark.parametrize("areas", [(ONE,), TWO], ids=["one", "two"])
def test_monitors_of_any_density_are_proven(areas, ratio):
    world = World(*areas, ratio=ratio)
    for number, (result, area) in enumerate(zip(check(world), areas, strict=True), start=1):
        assert result.ok, result
        assert result.name == f"monitor {number}"
        assert result.detail.startswith(f"{area[2]}x{area[3]} at ({area[0]}, {area[1]})")
        assert ("pixels)" in result.detail) == (ratio != 1)
    # The pointer is back, the mark is gone, nothing was clicked.
    assert world.at == (40, 40)
    assert world.mark is None


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda x, y: (x * 1.25, y * 1.25), "input is 1.25 times the capture"),
        (lambda x, y: (x * 1.5, y * 1.5), "input is 1.5 times the capture"),
        (lambda x, y: (x * 2, y * 2), "input is 2 times the capture"),
        (lambda x, y: (x + 7, y), r"input arrives \(\+7, \+0\)"),
        (lambda x, y: (x, y - 1), r"input arrives \(\+0, -1\)"),
        (lambda x, y: (419 - y, x), "input is rotated"),
        (lambda x, y: (599 - x, 419 - y), "input is rotated by 180 degrees"),
        (lambda x, y: (599 - x, y), "input is mirrored left to right"),
        (lambda x, y: (5000, y), "6 of 6 marks were missed: the pointer was held up at the edge of the screen"),
        (lambda x, y: (1.1 * x, 5000), "input is 1.1 times the capture, and the pointer was held up"),
    ],
)
def test_input_that_goes_elsewhere_is_described(fault, words):
    (result,) = check(World(ONE, fault=fault))
    assert not result.ok
    assert re.search(words, result.detail), result.detail
    assert result.remedy


def test_one_monitor_of_two_that_is_wrong_is_named():
    """Windows with two scales, where a program declares none: right on the main monitor, wrong on the other one."""
    world = World(*TWO, fault=lambda x, y: (x * 1.25, y * 1.25) if x < 0 else (x, y))
    right, wrong = check(world)
    assert right.ok
    assert not wrong.ok
    assert "monitor 2" in wrong.name
    assert "input is 1.25 times the capture" in wrong.detail


def test_captures_that_are_exchanged_are_told_from_marks_that_are_covered(monkeypatch):
    monkeypatch.setattr("molmo_agent.envs.pointer_check.desktop._APPEAR_S", 0.0)
    first, second = check(World((0, 0, 800, 500), (800, 0, 800, 500), shows={0: 1, 1: 0}))
    assert first.detail.endswith("but in that of monitor 2: the captures of the two are exchanged")
    assert second.detail.endswith("but in that of monitor 1: the captures of the two are exchanged")
    (covered,) = check(World(ONE, hidden=True))
    assert covered.detail.endswith("none of the 6 marks was seen in the capture")


def test_a_corner_stops_the_check_and_the_pointer_stays_the_users(monkeypatch):
    world = World(ONE)
    world.stop_after = 4
    with pytest.raises(RunStopped, match="emergency stop"):
        check(world)
    assert world.at == (0, 0)
    assert world.mark is None


def test_input_that_ends_in_a_corner_is_a_result_and_no_stop():
    """Nobody pushed the pointer: the marks before were missed already."""
    (result,) = check(World(ONE, fault=lambda x, y: (0, 0) if x > 200 and y > 100 else (x * 2, y * 2)))
    assert not result.ok
    assert result.detail.endswith("ended in a corner, the emergency stop: no other monitor was checked")


def test_ctrl_c_puts_the_pointer_back_and_closes_the_mark():
    world = World(ONE)
    show = world.show

    def interrupted(x, y):
        if world.open == 3:
            raise KeyboardInterrupt
        show(x, y)

    world.show = interrupted
    with pytest.raises(KeyboardInterrupt):
        check(world)
    assert world.at == (40, 40)
    assert world.mark is None


def test_a_screen_that_changes_its_size_meanwhile_is_an_error():
    world = World(ONE)
    grab, sizes = world.grab, iter(range(99))
    world.grab = lambda area: grab(area)[: 420 - 10 * (next(sizes) > 2)]
    with pytest.raises(EnvError, match="the screen changed its size during the check"):
        check(world)
