"""The check of a desktop: on each monitor nine marks are looked for in the capture and gone to, as a click would.

The marks take the road of a click, apart from the click: an observation of the env, a point in it, the env's own move.
What is compared does not come from the env: where the window system shows the mark, and where it has the pointer then.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from molmo_agent.actions import Move
from molmo_agent.envs.desktop.capture import Area, Capture, Monitor, MssCapture
from molmo_agent.envs.desktop.env import Desktop, open_input
from molmo_agent.envs.desktop.input import Input
from molmo_agent.envs.doctor import Check
from molmo_agent.envs.pointer_check.estimate import Sample, grid, judge
from molmo_agent.envs.pointer_check.marks import SIDE, Marks, open_marks
from molmo_agent.episode import Image
from molmo_agent.errors import ActionRefused, EnvError, RunStopped
from molmo_agent.geometry import Point

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

    def close(self) -> None:
        """Remove the mark and release everything."""
        self.marks.close()
        self.input.close()
        self.capture.close()


def open_desktop() -> DesktopParts:
    """Connect to this machine's desktop.

    Raises:
        EnvError: there is no display that can be captured and controlled, or it is locked.
    """
    from molmo_agent.envs.desktop.screen_lock import screen_locked

    if sys.platform.startswith("linux"):
        from molmo_agent.envs.desktop import x11

        # First, because its error messages about displays are better than others'.
        x11.connect().close()
    # The order matters on Windows, see MssCapture.
    capture = MssCapture()
    if screen_locked():
        raise EnvError("the screen is locked: nothing can be seen. Unlock it and start again")
    return DesktopParts(capture, open_input(), open_marks())


def check_desktop(parts: DesktopParts) -> Iterator[Check]:
    """Check each monitor in turn; the pointer is where it was in the end.

    Raises:
        EnvError: the display is gone.
        RunStopped: the user moved the pointer into a corner of the screen.
    """
    before = parts.input.position()
    try:
        monitors = parts.capture.monitors()
        for number, monitor in enumerate(monitors, start=1):
            yield _check_monitor(parts, monitors, number, monitor)
        _put_back(parts, before)
    except KeyboardInterrupt:
        _put_back(parts, before)
        raise
    finally:
        parts.marks.close()


def _put_back(parts: DesktopParts, position: tuple[int, int]) -> None:
    # Out of a corner, where wrong input may have put it, only the user moves it.
    with contextlib.suppress(RunStopped):
        parts.input.move(*position)


def _check_monitor(parts: DesktopParts, monitors: list[Monitor], number: int, monitor: Monitor) -> Check:
    area = monitor.area
    env = Desktop(monitor=number, capture=parts.capture, input=parts.input)
    samples, image = [], env.observe().image
    ratios = image.shape[1] / area.width, image.shape[0] / area.height
    # Where a unit is no whole number of pixels, the middle of the mark falls between two units.
    tolerance = 0 if all(ratio.is_integer() for ratio in ratios) else 1
    stop = ""
    for x, y in grid((area.width, area.height)):
        parts.marks.show(area.left + x, area.top + y)
        found = _find(parts.marks, lambda: env.observe().image)
        if found is None:
            samples.append(Sample((x, y), None))
            continue
        try:
            # Where the env notices itself that the pointer is elsewhere, the marks tell how.
            with contextlib.suppress(ActionRefused):
                env.step(Move(Point.from_pixel(*found, image.shape[1], image.shape[0])))
        except RunStopped:
            # The user's pointer; or ours, where it did not arrive at the marks before either.
            if not samples or judge(samples, (area.width, area.height), tolerance).ok:
                raise
            stop = ", until it ended in a corner, the emergency stop"
        (at_x, at_y), noticed = parts.marks.pointer()
        held_up = _at_an_edge([other.area for other in monitors], at_x, at_y)
        samples.append(Sample((x, y), (at_x - area.left, at_y - area.top), held_up, noticed))
        if stop:
            break
    verdict = judge(samples, (area.width, area.height), tolerance)
    name, units = f"monitor {number}", area.describe()
    if not verdict.ok:
        other = "" if any(sample.arrived for sample in samples) else _shown_elsewhere(parts, monitors, number)
        return Check(name, False, f"{units}: {verdict.problem}{other}{stop}", verdict.remedy)
    scale = "" if ratios == (1, 1) else f" ({image.shape[1]}x{image.shape[0]} pixels)"
    return Check(name, True, f"{units}{scale}: all {len(samples)} marks were seen in the capture and hit")


def _at_an_edge(areas: list[Area], x: int, y: int) -> tuple[bool, bool]:
    """Return whether a position is in the first or last column, and row, of the monitor that it is on."""
    here = [area for area in areas if area.contains(Area(x, y, 1, 1))]
    return (
        any(x in (area.left, area.right - 1) for area in here),
        any(y in (area.top, area.bottom - 1) for area in here),
    )


def _shown_elsewhere(parts: DesktopParts, monitors: list[Monitor], number: int) -> str:
    """Return in the capture of which other monitor the mark is seen, as words; empty if in none."""
    for other, monitor in enumerate(monitors, start=1):
        if other != number and _find(parts.marks, _grabber(parts.capture, monitor.area)):
            return f", but in that of monitor {other}: the captures of the two are exchanged"
    return ""


def _grabber(capture: Capture, area: Area) -> Callable[[], Image]:
    return lambda: capture.grab(area)


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
