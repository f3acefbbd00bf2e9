"""The effect of an action on the screen: wait until the screen is still, then compare. Works on images only.

Screens are compared in square cells of ``CELL_PX`` pixels. Some cells change without any action: a blinking caret, a
clock. These are *restless*; they are observed, never guessed from their looks, and do not count as an effect.
"""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from molmo_agent.episode import Effect, Image, Observation
from molmo_agent.geometry import Point

CELL_PX = 16
# A change within this distance of the action's point counts as being at the point: about one button's width.
NEAR_PX = 96
# Carets, clocks and counters: changes of at most so many cells (40 cells are 160 x 64 pixels) may be idle ones.
SMALL_CELLS = 40
# The pause between captures of a screen that does not react grows up to this: a capture costs more than waiting.
MAX_INTERVAL_S = 0.1

Cells = npt.NDArray[np.bool_]
"""(rows, columns) of cells, True where at least one pixel differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """How to wait for a screen after an action. All of these are limits on waiting for an event, in seconds."""

    # Pause between two captures. It grows, up to MAX_INTERVAL_S, as long as nothing happens.
    interval_s: float = 0.02
    # How long a screen that shows no change may take to react.
    reaction_s: float = 0.25
    # How long to wait for a screen that does not stop changing (a video, a spinner).
    limit_s: float = 3.0
    # How long to watch a small change far from the action, to learn whether it happens by itself.
    watch_s: float = 1.1

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a number of seconds >= 0, got {value!r}")


AT_ONCE = Settle(interval_s=0.0, reaction_s=0.0, limit_s=1.0, watch_s=0.0)
"""For envs whose screen changes only through actions: simulated ones."""


def changed_cells(before: Image, after: Image) -> Cells | None:
    """Return where two images differ, or None if they differ in size.

    About 3 ms for 1920x1080: a band of cells at a time stays in the processor's cache.
    """
    if before.shape != after.shape:
        return None
    height, width = before.shape[:2]
    left_edges = np.arange(0, width * 3, CELL_PX * 3)
    cells = np.zeros((math.ceil(height / CELL_PX), len(left_edges)), dtype=bool)
    if before is after:
        return cells
    old, new = before.reshape(height, -1), after.reshape(height, -1)
    for row in range(len(cells)):
        band = slice(row * CELL_PX, (row + 1) * CELL_PX)
        differs = old[band] != new[band]
        if differs.any():
            cells[row] = np.logical_or.reduceat(differs.any(axis=0), left_edges)
    return cells


def near_cells(points: Sequence[Point], image: Image) -> Cells:
    """Return the cells that lie within ``NEAR_PX`` of one of the points."""
    height, width = image.shape[:2]
    near = np.zeros((math.ceil(height / CELL_PX), math.ceil(width / CELL_PX)), dtype=bool)
    for point in points:
        x, y = point.to_pixels(width, height)
        rows = slice(max(0, (y - NEAR_PX) // CELL_PX), (y + NEAR_PX) // CELL_PX + 1)
        near[rows, max(0, (x - NEAR_PX) // CELL_PX) : (x + NEAR_PX) // CELL_PX + 1] = True
    return near


def effect_of(points: Sequence[Point], before: Image, after: Image, restless: Cells | None = None) -> Effect:
    """Return the effect of an action at ``points``; without points (keys, text) any change counts as near.

    Restless cells are ignored only far from the points. A field that receives text has a blinking caret, so a restless
    cell does not prove that the action had no effect there. A missed effect is worse than a false one, because three
    misses end a run.
    """
    cells = changed_cells(before, after)
    if cells is None:
        return "changed"
    if not cells.any():
        return "unchanged"
    if not points or (cells & near_cells(points, after)).any():
        return "changed"
    if restless is not None and not (cells & ~restless).any():
        return "unchanged"
    return "changed_elsewhere"


class ScreenWatch:
    """Waits for the screen and remembers which of its cells are restless; one per episode.

    Args:
        observe: captures the screen.
        settle: the limits on waiting.
        clock: seconds, monotonic.
        sleep: waits for so many seconds.
    """

    def __init__(
        self,
        observe: Callable[[], Observation],
        settle: Settle,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._observe, self._settle, self._clock, self._sleep = observe, settle, clock, sleep
        self._wait_s = 0.0
        self._restless: Cells | None = None
        # Cells of small changes that did not repeat: they react to actions and are not watched again.
        self._answering: Cells | None = None

    def take_wait_s(self) -> float:
        """Return the seconds spent waiting for the screen since the last call."""
        wait_s, self._wait_s = self._wait_s, 0.0
        return wait_s

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            start = self._clock()
            self._sleep(seconds)
            self._wait_s += self._clock() - start

    def idle(self, before: Image, after: Image) -> None:
        """Learn restless cells from two captures without an action in between.

        A large change is a late effect, such as a page that loads, and is not remembered: its cells would be ignored
        for the rest of the episode.
        """
        cells = changed_cells(before, after)
        if cells is None or (self._restless is not None and self._restless.shape != cells.shape):
            self._restless = None
        elif 0 < cells.sum() <= SMALL_CELLS:
            self._restless = cells if self._restless is None else self._restless | cells

    def settle(self, before: Image, first: Observation) -> Observation:
        """Capture until two captures in a row are equal, and return the last.

        Args:
            before: the screen just before the action.
            first: the screen as the env returned it just after.
        """
        start, last, pause = self._clock(), first, self._settle.interval_s
        while True:
            self._wait(pause)
            capture_start = self._clock()
            current = self._observe()
            elapsed = self._clock() - start
            still = self._same(last.image, current.image)
            has_reacted = elapsed >= self._settle.reaction_s or not self._same(before, current.image)
            last = current
            if (still and has_reacted) or elapsed >= self._settle.limit_s:
                return last
            self._wait_s += self._clock() - capture_start  # a capture that came too early counts as waiting
            pause = self._settle.interval_s
            if still:
                pause = max(pause, min(elapsed, MAX_INTERVAL_S, self._settle.reaction_s - elapsed))

    def effect(self, points: Sequence[Point], before: Image, after: Observation) -> tuple[Effect, Observation]:
        """Return the effect of an action, and the newest capture.

        A small change far from the points is watched for ``watch_s``: it is no effect if it repeats by itself.
        """
        effect = effect_of(points, before, after.image, self._restless)
        if effect != "changed_elsewhere" or self._settle.watch_s == 0:
            return effect, after
        cells = changed_cells(before, after.image)
        assert cells is not None, "a change of size is 'changed'"
        is_answer = (
            self._answering is not None and self._answering.shape == cells.shape and (cells & self._answering).any()
        )
        if is_answer or cells.sum() > SMALL_CELLS:
            return effect, after
        end, last = self._clock() + self._settle.watch_s, after
        while self._clock() < end:
            self._wait(MAX_INTERVAL_S)
            current = self._observe()
            again = changed_cells(last.image, current.image)
            if again is not None and again.any():
                self.idle(last.image, current.image)
                # All cells that changed with the caret or clock are restless.
                if (again & cells).any():
                    self.idle(before, after.image)
                effect = effect_of(points, before, current.image, self._restless)
            last = current
            if effect != "changed_elsewhere":
                return effect, last
        self._answering = (
            cells if self._answering is None or self._answering.shape != cells.shape else self._answering | cells
        )
        return effect, last

    def _same(self, before: Image, after: Image) -> bool:
        """Return whether two captures are equal apart from restless cells."""
        if before is after or np.array_equal(before, after):
            return True
        cells = changed_cells(before, after)
        return cells is not None and self._restless is not None and not (cells & ~self._restless).any()
