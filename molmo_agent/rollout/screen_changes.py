"""The effect of an action on the screen: wait until the screen is still, then compare. Works on images only.

Screens are compared in square cells of ``CELL_PX`` pixels. Some cells change without any action: a blinking caret, a
clock. These are *restless*; they are observed, never guessed from their looks, and do not count as an effect.
"""

import math
import time
from collections import defaultdict
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
# A change of a larger share of the cells is a new window or page, which draws for longer.
LARGE_SHARE = 0.04
# The pause between captures of a screen that does not react grows up to this: a capture costs more than waiting.
MAX_INTERVAL_S = 0.1
# A highlight under the pointer has been drawn when nothing has changed for so long.
HOVER_QUIET_S = 0.05

# A caret shows two things, with and without a letter under it four; a clock ever new ones.
MAX_BLINK_STATES = 3

Cells = npt.NDArray[np.bool_]
"""(rows, columns) of cells, True where at least one pixel differs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settle:
    """How to wait for a screen after an action, in seconds."""

    # Pause between two captures. It grows, up to MAX_INTERVAL_S, as long as nothing happens.
    interval_s: float = 0.02
    # How long a screen that shows no change may take to react.
    reaction_s: float = 0.8
    # How long nothing must have changed since the last change: programs draw in several pieces.
    quiet_s: float = 0.35
    # The same after a large change, such as a new window.
    large_quiet_s: float = 0.5
    # How long to wait for a screen that does not stop changing (a video, a spinner).
    limit_s: float = 3.0
    # How long to watch a small change far from the action, to learn whether it happens by itself.
    watch_s: float = 1.1
    # How long to wait for the highlight of what the pointer was moved over, before it is clicked.
    hover_s: float = 0.15

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} must be a number of seconds >= 0, got {value!r}")


AT_ONCE = Settle(interval_s=0.0, reaction_s=0.0, quiet_s=0.0, large_quiet_s=0.0, limit_s=1.0, watch_s=0.0, hover_s=0.0)
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


def contents(image: Image, cells: Cells) -> bytes:
    """Return the pixels of the smallest rectangle of cells that holds the given ones, at least one."""
    rows, columns = np.flatnonzero(cells.any(axis=1)), np.flatnonzero(cells.any(axis=0))
    top, left = rows[0] * CELL_PX, columns[0] * CELL_PX
    return image[top : (rows[-1] + 1) * CELL_PX, left : (columns[-1] + 1) * CELL_PX].tobytes()


def cell_state(image: Image, row: int, column: int) -> int:
    """Return a hash of the pixels of a cell."""
    part = image[row * CELL_PX : (row + 1) * CELL_PX, column * CELL_PX : (column + 1) * CELL_PX]
    return hash(part.tobytes())


def cells_shape(image: Image) -> tuple[int, int]:
    """Return (rows, columns) of the cells of an image."""
    height, width = image.shape[:2]
    return math.ceil(height / CELL_PX), math.ceil(width / CELL_PX)


def near_cells(points: Sequence[Point], image: Image) -> Cells:
    """Return the cells that lie within ``NEAR_PX`` of one of the points."""
    height, width = image.shape[:2]
    near = np.zeros(cells_shape(image), dtype=bool)
    for point in points:
        x, y = point.to_pixels(width, height)
        rows = slice(max(0, (y - NEAR_PX) // CELL_PX), (y + NEAR_PX) // CELL_PX + 1)
        near[rows, max(0, (x - NEAR_PX) // CELL_PX) : (x + NEAR_PX) // CELL_PX + 1] = True
    return near


def row_cells(points: Sequence[Point], image: Image) -> Cells:
    """Return the cells of all rows within ``NEAR_PX`` of one of the points: fields are wide, and text starts left."""
    return np.repeat(near_cells(points, image).any(axis=1, keepdims=True), math.ceil(image.shape[1] / CELL_PX), axis=1)


def grown(cells: Cells) -> Cells:
    """Return the cells with those within ``NEAR_PX`` of them."""
    reach = NEAR_PX // CELL_PX
    rows, columns = cells.shape
    for axis, length in ((0, rows), (1, columns)):
        wide = np.zeros_like(cells)
        for shift in range(-min(reach, length - 1), min(reach, length - 1) + 1):
            start, end = max(0, shift), min(length, length + shift)
            target = [slice(None), slice(None)]
            source = [slice(None), slice(None)]
            target[axis], source[axis] = slice(start, end), slice(start - shift, end - shift)
            wide[tuple(target)] |= cells[tuple(source)]
        cells = wide
    return cells


def effect_of(
    points: Sequence[Point],
    before: Image,
    after: Image,
    restless: Cells | None = None,
    near: Cells | None = None,
) -> Effect:
    """Return the effect of an action at ``points``; without points (keys, text) any change counts as near.

    Restless cells are ignored only far from the points. A field that receives text has a blinking caret, so a restless
    cell does not prove that the action had no effect there. A missed effect is worse than a false one, because it ends
    a run.

    Args:
        points: where the action was executed.
        before: the screen before the action.
        after: the screen after it, settled.
        restless: cells that change by themselves.
        near: the cells that count as near; None: those around the points.
    """
    cells = changed_cells(before, after)
    if cells is None:
        return "changed"
    if not cells.any():
        return "unchanged"
    if near is None and points:
        near = near_cells(points, after)
    if near is None or (cells & near).any():
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
        # What each restless cell has shown, by (row, column): hashes of its pixels.
        self._states: dict[tuple[int, int], set[int]] = defaultdict(set)
        # Cells of small changes that did not repeat: they react to actions and are not watched again.
        self._answering: Cells | None = None
        # What the last action changed: a click shows a caret or a frame where text will appear.
        self._last_changes: Cells | None = None

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
            self._states.clear()
        elif 0 < cells.sum() <= SMALL_CELLS:
            self._restless = cells if self._restless is None else self._restless | cells
            for row, column in np.argwhere(cells).tolist():
                self._states[row, column] |= {cell_state(before, row, column), cell_state(after, row, column)}

    def _is_known(self, image: Image, cells: Cells) -> bool:
        """Return whether restless cells show nothing new: what they have shown before, or a clock its next number."""
        return all(self._shows_known(image, row, column) for row, column in np.argwhere(cells).tolist())

    def _shows_known(self, image: Image, row: int, column: int) -> bool:
        states = self._states[row, column]
        return len(states) > MAX_BLINK_STATES or cell_state(image, row, column) in states

    def known_cells(self, image: Image) -> Cells | None:
        """Return the restless cells that show nothing new in a capture; None while there are none."""
        if self._restless is None or self._restless.shape != cells_shape(image):
            return None
        known = np.zeros_like(self._restless)
        for row, column in np.argwhere(self._restless).tolist():
            known[row, column] = self._shows_known(image, row, column)
        return known

    def captures(self, first: Observation) -> list[Observation]:
        """Return a capture and those of the next ``watch_s`` seconds."""
        captures, end_s = [first], self._clock() + self._settle.watch_s
        while self._clock() < end_s:
            self._wait(MAX_INTERVAL_S)
            captures.append(self._observe())
        return captures

    def wait_for(self, condition: Callable[[Observation], bool], limit_s: float) -> Observation:
        """Capture until a condition holds, at most for so many seconds; return the last capture."""
        end_s = self._clock() + limit_s
        while not condition(current := self._observe()) and self._clock() < end_s:
            self._wait(MAX_INTERVAL_S)
        return current

    def hover(self, before: Image, first: Observation) -> Observation:
        """Wait until the highlight of what the pointer was moved over is drawn, at most ``hover_s``.

        Args:
            before: the screen before the pointer moved.
            first: the screen as the env returned it just after.

        Returns:
            The last capture; an effect of the click is a change from there.
        """
        start, last = self._clock(), first
        changed_s = None if self._same(before, first.image) else start
        while True:
            now = self._clock()
            if now - start >= self._settle.hover_s or (changed_s is not None and now - changed_s >= HOVER_QUIET_S):
                return last
            self._wait(self._settle.interval_s)
            current = self._observe()
            if not self._same(last.image, current.image):
                changed_s = self._clock()
            last = current

    def settle(self, before: Image, first: Observation, *, reacts: bool = True) -> Observation:
        """Capture until nothing has changed for a while, and return the last capture.

        Args:
            before: the screen just before the action.
            first: the screen as the env returned it just after.
            reacts: whether the action may change the screen; waiting does not.
        """
        limits, start = self._settle, self._clock()
        last, pause = first, limits.interval_s
        # Seconds from the start at which the screen counts as still.
        due_s = max(limits.reaction_s, limits.quiet_s) if reacts else limits.quiet_s
        if not self._same(before, first.image):
            due_s = self._quiet_s(before, first.image)
        while True:
            self._wait(pause)
            capture_start = self._clock()
            current = self._observe()
            elapsed = self._clock() - start
            still = self._same(last.image, current.image)
            if not still:
                due_s = elapsed + self._quiet_s(last.image, current.image)
            last = current
            if elapsed >= limits.limit_s or (still and elapsed >= due_s):
                return last
            self._wait_s += self._clock() - capture_start  # a capture that came too early counts as waiting
            pause = limits.interval_s
            if still:
                pause = max(pause, min(elapsed, MAX_INTERVAL_S, due_s - elapsed))

    def _quiet_s(self, before: Image, after: Image) -> float:
        """Return how long nothing may change after this change, until the screen counts as still."""
        cells = changed_cells(before, after)
        is_large = cells is None or cells.mean() > LARGE_SHARE
        return self._settle.large_quiet_s if is_large else self._settle.quiet_s

    def effect(
        self, points: Sequence[Point], before: Image, after: Observation, *, is_text: bool = False
    ) -> tuple[Effect, Observation]:
        """Return the effect of an action, and the newest capture.

        A small change far from the points is watched for ``watch_s``: it is no effect if it repeats by itself.

        Args:
            points: where the action was executed; for text, where its field was clicked.
            before: the screen before the action.
            after: the screen after it, settled.
            is_text: whether text was typed: it may appear anywhere in the rows of the points, and where the last
                action, the click into the field, changed something.
        """
        near: Cells | None = None
        if is_text and points:
            near = row_cells(points, after.image)
            if self._last_changes is not None and self._last_changes.shape == near.shape:
                near |= grown(self._last_changes)
        effect, newest = self._watched_effect(points, before, after, near)
        if not is_text:
            self._last_changes = changed_cells(before, newest.image)
        return effect, newest

    def _watched_effect(
        self, points: Sequence[Point], before: Image, after: Observation, near: Cells | None
    ) -> tuple[Effect, Observation]:
        effect = effect_of(points, before, after.image, self._restless, near)
        cells = changed_cells(before, after.image)
        if effect == "changed" or cells is None or not cells.any() or self._settle.watch_s == 0:
            return effect, after
        if effect == "unchanged" and self._is_known(after.image, cells):
            return effect, after
        # Restless cells too may show something new, such as a digit where a caret blinks.
        effect = "changed_elsewhere"
        is_answer = (
            self._answering is not None and self._answering.shape == cells.shape and (cells & self._answering).any()
        )
        if is_answer or cells.sum() > SMALL_CELLS:
            return effect, after
        # What the changed cells show: before, after, and while watching, as far as it changes.
        second = after.image
        first, states = contents(before, cells), [contents(after.image, cells)]
        start, watch_s, last = self._clock(), self._settle.watch_s, after
        while self._clock() < start + watch_s:
            self._wait(MAX_INTERVAL_S)
            current = self._observe()
            again = changed_cells(last.image, current.image)
            if again is None:
                return "changed", current
            last = current
            if not again.any():
                continue
            state = contents(current.image, cells)
            if state == first:
                # Back by itself, as a caret.
                self.idle(before, after.image)
                return "unchanged", current
            if state in states[:-1]:
                # Something blinks over what is new: text that appeared at a caret.
                break
            if state != states[-1]:
                states.append(state)
                second = current.image if len(states) == 2 else second
                if len(states) > 2:
                    # Never the same: a clock, or a counter.
                    for earlier in (before, second):
                        self.idle(earlier, after.image)
                        self.idle(earlier, current.image)
                    return effect_of(points, before, current.image, self._restless, near), current
                # One more change distinguishes a caret from a clock.
                watch_s = 2 * self._settle.watch_s
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
