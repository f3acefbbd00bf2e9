"""The check of a desktop: on each monitor nine marks are looked for in the capture and gone to, as a click would.

The marks take the road of a click, apart from the click: an observation of the env, a point in it, the env's own move.
What is compared does not come from the env: where the window system shows the mark, and where it has the pointer then.
"""

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from molmo_agent.actions import Move
from molmo_agent.envs.desktop.capture import Area, Capture, Monitor, open_capture
from molmo_agent.envs.desktop.env import Desktop, open_input
from molmo_agent.envs.desktop.input import Input
from molmo_agent.envs.desktop.screen_lock import check_unlocked
from molmo_agent.envs.doctor import Check
from molmo_agent.envs.pointer_check.estimate import Sample, Verdict, grid, judge
from molmo_agent.envs.pointer_check.marks import SIDE, Marks, open_marks
from molmo_agent.episode import Image
from molmo_agent.errors import ActionRefused, EnvError, RunStopped
from molmo_agent.geometry import Point

# Marks that say how the pointer misses, if it does.
_ENOUGH = 6
_Mask = npt.NDArray[np.bool_]

# How long a compositor may take to show what was drawn.
_APPEAR_S = 1.0
# How much lighter the mark gets, of 255, how much of its rectangle does, and what it has and a video has not.
_LIGHTER, _FILLED, _CORE = 96, 0.8, 5


@dataclass(frozen=True)
class DesktopParts:
    """What the check acts on."""

    capture: Capture
    input: Input
    marks: Marks


@contextlib.contextmanager
def open_desktop() -> Iterator[DesktopParts]:
    """Connect to this machine's desktop, and disconnect in the end.

    Raises:
        EnvError: there is no display that can be captured and controlled, or it is locked.
    """
    with contextlib.ExitStack() as stack:
        display = None
        if sys.platform.startswith("linux"):
            from molmo_agent.envs.desktop import wayland, x11

            if wayland.is_wayland():
                raise EnvError(
                    "on Wayland no program can read where the pointer is, so this check can prove nothing. "
                    "Check in an Xorg session, or compare a click with what it hits"
                )
            # First, because its error messages about displays are better than others'.
            display = x11.connect()
            stack.callback(x11.disconnect, display)
        # The order matters on Windows, see open_capture.
        capture = stack.enter_context(contextlib.closing(open_capture()))
        check_unlocked(display)
        pointer = stack.enter_context(contextlib.closing(open_input(display)))
        yield DesktopParts(capture, pointer, stack.enter_context(contextlib.closing(open_marks())))


def check_desktop(parts: DesktopParts) -> Iterator[Check]:
    """Check each monitor in turn; the pointer is where it was in the end.

    Raises:
        EnvError: the display is gone.
        RunStopped: the user moved the pointer into a corner of the screen.
    """
    before = parts.input.position()
    try:
        monitors = parts.capture.monitors()
        for number in range(1, len(monitors) + 1):
            visit = _Visit(parts, monitors, number)
            visit.go()
            yield visit.result()
            if visit.ended_in_corner:
                # From there only the user moves it.
                return
        parts.input.move(*before)
    except KeyboardInterrupt:
        with contextlib.suppress(RunStopped):
            parts.input.move(*before)
        raise
    finally:
        parts.marks.close()


class _Visit:
    """The marks of one monitor."""

    def __init__(self, parts: DesktopParts, monitors: list[Monitor], number: int) -> None:
        self._parts, self._monitors, self._number = parts, monitors, number
        self._area = monitors[number - 1].area
        self._env = Desktop(monitor=number, capture=parts.capture, input=parts.input)
        height, width = self._env.observe().image.shape[:2]
        # Of the capture, in pixels.
        self._size = width, height
        self._samples: list[Sample] = []
        self.ended_in_corner = False

    def go(self) -> None:
        """Go to one mark after the other, until it is clear that the pointer does not arrive."""
        for x, y in grid((self._area.width, self._area.height)):
            self._parts.marks.show(self._area.left + x, self._area.top + y)
            point = _find(self._parts.marks, lambda: self._env.observe().image)
            if point is not None:
                self._move(point)
            self._samples.append(self._sample((x, y)) if point is not None else Sample((x, y), None))
            # More marks would only bring the pointer to the edges and corners of the screen.
            if self.ended_in_corner or (len(self._samples) >= _ENOUGH and not self._verdict().ok):
                return

    def result(self) -> Check:
        """Return what the marks say."""
        name, units, verdict = f"monitor {self._number}", self._area.describe(), self._verdict()
        if verdict.ok:
            scale = f" ({self._size[0]}x{self._size[1]} pixels)" if self._ratios() != (1, 1) else ""
            count = len(self._samples)
            return Check(name, True, f"{units}{scale}: all {count} marks were seen in the capture and hit")
        remark = ""
        if self.ended_in_corner:
            remark = ", and the pointer ended in a corner, the emergency stop: no other monitor was checked"
        elif not any(sample.arrived for sample in self._samples):
            remark = self._shown_elsewhere()
        return Check(name, False, f"{units}: {verdict.problem}{remark}", verdict.remedy)

    def _move(self, pixel: tuple[int, int]) -> None:
        try:
            # Where the env notices itself that the pointer is elsewhere, the marks tell how.
            with contextlib.suppress(ActionRefused):
                self._env.step(Move(Point.from_pixel(*pixel, *self._size)))
        except RunStopped:
            # The user's pointer; or ours, if it did not arrive at the marks before either.
            if not self._samples or self._verdict().ok:
                raise
            self.ended_in_corner = True

    def _sample(self, mark: tuple[int, int]) -> Sample:
        (x, y), noticed = self._parts.marks.pointer()
        held_up = _at_an_edge([monitor.area for monitor in self._monitors], x, y)
        return Sample(mark, (x - self._area.left, y - self._area.top), held_up, noticed)

    def _ratios(self) -> tuple[float, float]:
        return self._size[0] / self._area.width, self._size[1] / self._area.height

    def _verdict(self) -> Verdict:
        # Where a unit is no whole number of pixels, the middle of the mark falls between two units.
        tolerance = 0 if all(ratio.is_integer() for ratio in self._ratios()) else 1
        return judge(self._samples, (self._area.width, self._area.height), tolerance)

    def _shown_elsewhere(self) -> str:
        """Return in the capture of which other monitor the mark is seen, as words; empty if in none."""
        for number, monitor in enumerate(self._monitors, start=1):
            grab = functools.partial(self._parts.capture.grab, monitor.area)
            if number != self._number and _find(self._parts.marks, grab):
                return f", but in that of monitor {number}: the captures of the two are exchanged"
        return ""


def _at_an_edge(areas: list[Area], x: int, y: int) -> tuple[bool, bool]:
    """Return whether a position is in the first or last column, and row, of the monitor that it is on."""
    here = [area for area in areas if area.contains(Area(x, y, 1, 1))]
    return (
        any(x in (area.left, area.right - 1) for area in here),
        any(y in (area.top, area.bottom - 1) for area in here),
    )


def _find(marks: Marks, grab: Callable[[], Image]) -> tuple[int, int] | None:
    """Return the pixel of a capture in which the middle of the mark is seen; None if it is not."""
    lit: list[_Mask] = []
    # Twice: what else moves on the screen does not do it in step with the mark.
    while len(lit) < 2:
        marks.light(False)
        # The first one may still show what was there before.
        grab()
        dark = grab()
        marks.light(True)
        end = time.monotonic() + _APPEAR_S
        while _middle(changed := _lighter(dark, grab())) is None:
            if time.monotonic() > end:
                return None
            time.sleep(0.01)
        lit.append(changed)
    return _middle(lit[0] & lit[1])


def _lighter(dark: Image, light: Image) -> _Mask:
    """Return where an image is lighter than another one, (height, width)."""
    if dark.shape != light.shape:
        raise EnvError("the screen changed its size during the check: leave it alone and run the check again")
    mask: _Mask = np.logical_and.reduce(light.astype(np.int16) - dark > _LIGHTER, axis=2)
    return mask


def _middle(mask: _Mask) -> tuple[int, int] | None:
    """Return the middle (x, y) of the filled rectangle in a mask; None if there is no such rectangle, or several."""
    cores = _cores(mask)
    columns, rows = np.flatnonzero(cores.any(axis=0)), np.flatnonzero(cores.any(axis=1))
    if not len(columns):
        return None
    left, right, top, bottom = int(columns[0]), int(columns[-1]) + _CORE, int(rows[0]), int(rows[-1]) + _CORE
    width, height = right - left, bottom - top
    if min(width, height) < SIDE // 4 or max(width, height) > 2 * min(width, height):
        return None
    if mask[top:bottom, left:right].mean() < _FILLED:
        return None
    return (left + right - 1) // 2, (top + bottom - 1) // 2


def _cores(mask: _Mask) -> _Mask:
    """Return where squares of ``_CORE`` pixels begin that are filled: dots, as of a video, are none."""
    sums = np.pad(mask, ((1, 0), (1, 0))).cumsum(axis=0, dtype=np.int32).cumsum(axis=1)
    counts = sums[_CORE:, _CORE:] - sums[:-_CORE, _CORE:] - sums[_CORE:, :-_CORE] + sums[:-_CORE, :-_CORE]
    cores: _Mask = counts == _CORE * _CORE
    return cores
