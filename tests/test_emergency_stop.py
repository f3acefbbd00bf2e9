"""The emergency stop on paper: which corners there are, what counts as a push, and what does not."""

import threading

import pytest
from desktop_fakes import FakeInput, FakeScreen
from desktop_screen import FAST, wait_for

from molmo_agent.actions import Click, Drag, Move, Wait
from molmo_agent.envs.desktop.capture import Area, Monitor, bounds
from molmo_agent.envs.desktop.emergency_stop import EmergencyStop, beside_corner, corners
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.errors import EnvError, RunStopped
from molmo_agent.geometry import Point

# Areas of monitors: (left, top, width, height).
LAYOUTS = {
    "one": [(0, 0, 1920, 1080)],
    "different heights": [(0, 0, 1024, 768), (1024, 0, 800, 600)],
    "left of and above the main one": [(0, 0, 1920, 1080), (-1280, -200, 1280, 1024), (300, -720, 1280, 720)],
    "rotated": [(0, 0, 1080, 1920), (1080, 400, 1920, 1080)],
    "with a gap": [(0, 0, 800, 600), (1000, 900, 640, 480)],
    "mirrored in two sizes": [(0, 0, 1920, 1080), (0, 0, 1280, 720)],
}


def monitors(name):
    return [Monitor(Area(*area), index == 0) for index, area in enumerate(LAYOUTS[name])]


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_monitor_has_its_four_corners(name):
    expected = set()
    for left, top, width, height in LAYOUTS[name]:
        expected |= {
            (left, top),
            (left + width - 1, top),
            (left, top + height - 1),
            (left + width - 1, top + height - 1),
        }
    assert corners(monitors(name)) == expected


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_place_beside_a_corner_is_one_step_away_on_a_monitor_and_no_corner(name):
    layout = monitors(name)
    for x, y in corners(layout):
        near = beside_corner((x, y), layout)
        assert abs(near[0] - x) + abs(near[1] - y) == 1
        assert near not in corners(layout)
        assert any(monitor.area.contains(Area(*near, 1, 1)) for monitor in layout)
    middle = bounds(layout).left + 123, bounds(layout).top + 45
    assert beside_corner(middle, layout) == middle


def desktop(name):
    env = Desktop(monitor="all", capture=FakeScreen(*LAYOUTS[name]), input=FakeInput(), pace=FAST)
    env.reset()
    return env


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_pointer_in_any_corner_stops_a_step_and_an_observation(name):
    for corner in corners(monitors(name)):
        for act in (lambda env: env.step(Click(Point(0.5, 0.5))), lambda env: env.observe(), lambda env: env.reset()):
            env = desktop(name)
            env._input.at = corner
            with pytest.raises(RunStopped, match=r"in the corner .*move it out of the corner and start again"):
                act(env)
            assert env._input.sent == []


@pytest.mark.parametrize("name", LAYOUTS)
def test_our_own_clicks_and_drags_never_enter_a_corner(name):
    env, layout = desktop(name), monitors(name)
    box = bounds(layout)
    points = [
        Point((x - box.left + 0.5) / box.width, (y - box.top + 0.5) / box.height) for x, y in sorted(corners(layout))
    ]
    for start, end in zip(points, points[1:] + points[:1], strict=True):
        env.step(Click(start))
        env.step(Drag(start, end))
        env.step(Move(end))
    visited = {what[1:] for what in env._input.sent if what[0] == "move"}
    assert len(visited) > len(points)
    assert not visited & corners(layout)


def test_a_corner_that_appears_during_a_wait_stops_it():
    env = desktop("one")
    timer = threading.Timer(0.2, lambda: setattr(env._capture, "monitor_list", monitors("different heights")))
    env._input.at = (1823, 599)
    timer.start()
    with pytest.raises(RunStopped, match=r"\(1823, 599\)"):
        env.step(Wait(60))
    timer.join()


@pytest.mark.parametrize("corner", [(1023, 767), (1823, 0), (0, 767)])
def test_the_inputs_own_check_knows_the_corners_of_the_last_observation(corner):
    env = desktop("one")
    env._capture.monitor_list = monitors("different heights")
    env.observe()
    assert corner in env._input.corners


# --- The thread -------------------------------------------------------------------------------------------------------


class FakeWatcher:
    """A pointer that is moved by hand."""

    def __init__(self, layout="different heights"):
        self.at = (500, 500)
        self.layout = layout
        self.looks = 0
        self.closed = 0
        self.error = None

    def pointer(self):
        self.looks += 1
        if self.error:
            raise self.error
        return self.at

    def monitors(self):
        return monitors(self.layout)

    def close(self):
        self.closed += 1

    def look_twice(self):
        """Wait until it has been asked again, from the beginning."""
        seen = self.looks
        wait_for(lambda: self.looks >= seen + 2, what="a look at the pointer")


@pytest.fixture
def watched():
    stop, watcher = EmergencyStop(), FakeWatcher()
    stop.start(lambda: watcher)
    watcher.look_twice()
    yield stop, watcher
    stop.end()
    stop.end()
    assert watcher.closed == 1


AWAY = (300, 300)


@pytest.mark.parametrize("corner", [(0, 0), (1023, 767), (1024, 599)])
def test_a_push_between_two_checks_is_noticed_and_reported_once(watched, corner):
    stop, watcher = watched
    watcher.at = corner
    watcher.look_twice()
    watcher.at = AWAY
    watcher.look_twice()
    with pytest.raises(RunStopped) as stopped:
        stop.check(AWAY, watcher.monitors())
    assert str(corner) in str(stopped.value)
    stop.check(AWAY, watcher.monitors())


def test_a_pointer_that_stays_stops_every_check_and_nothing_after_it_has_left(watched):
    stop, watcher = watched
    watcher.at = (0, 0)
    for _ in range(3):
        with pytest.raises(RunStopped):
            stop.check(watcher.at, watcher.monitors())
        watcher.look_twice()
    watcher.at = AWAY
    watcher.look_twice()
    stop.check(AWAY, watcher.monitors())


def test_a_position_of_our_own_that_becomes_a_corner_is_no_push_until_the_pointer_has_left_it(watched):
    stop, watcher = watched
    watcher.at = (1279, 719)
    stop.moved(watcher.at)
    watcher.look_twice()
    watcher.layout = "mirrored in two sizes"
    watcher.look_twice()
    stop.check(watcher.at, watcher.monitors())
    for position in (AWAY, (1279, 719)):
        watcher.at = position
        watcher.look_twice()
    with pytest.raises(RunStopped, match=r"\(1279, 719\)"):
        stop.check(watcher.at, watcher.monitors())


def test_a_new_run_forgets_earlier_pushes(watched):
    stop, watcher = watched
    watcher.at = (0, 0)
    watcher.look_twice()
    watcher.at = AWAY
    watcher.look_twice()
    stop.start(lambda: watcher)
    stop.check(AWAY, watcher.monitors())


def test_the_thread_can_be_ended_from_itself():
    stop, ended = EmergencyStop(), threading.Event()

    class Ender(FakeWatcher):
        def pointer(self):
            stop.end()
            ended.set()
            return super().pointer()

    watcher = Ender()
    stop.start(lambda: watcher)
    assert ended.wait(60)
    wait_for(lambda: watcher.closed, what="the end of the thread")


def test_a_display_that_is_lost_ends_the_thread(watched):
    stop, watcher = watched
    watcher.error = EnvError("gone")
    thread = stop._thread
    wait_for(lambda: not thread.is_alive(), what="the end of the thread")
    stop.check(AWAY, watcher.monitors())
