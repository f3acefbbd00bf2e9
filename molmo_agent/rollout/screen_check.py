"""The last look before an input: is the screen still the one that the model looked at, and that a person was shown?

Models take seconds and people who are asked take minutes. Meanwhile a window may come up, a page may scroll, another
program may get the keyboard. Compared are what is around the points of the action, the windows under them, the window
with the keyboard focus, the page, and for keys and text the field that was clicked for them, as far as the env can name
them. Only envs whose screen changes by itself are checked.
"""

from collections.abc import Sequence

import numpy as np

from molmo_agent.actions import Action, Key, PointAt, Type, Wait, points_of
from molmo_agent.episode import Image, Observation, ScreenWindow, windows_under
from molmo_agent.errors import ScreenChanged
from molmo_agent.geometry import Point
from molmo_agent.interfaces import Env, WindowSystem, env_traits
from molmo_agent.rollout.patches import differs, differs_largely, focus_moved, is_undone, moving_cells, without_target
from molmo_agent.rollout.screen_changes import CELL_PX, Cells, ScreenWatch, cells_shape

# How long to wait for the window that is brought back after a person was asked, in seconds.
BRING_BACK_S = 2.0
# What an observation's `info` may name, and what it is called.
_IN_FRONT = {"window": "the keyboard focus", "page": "the page"}
# The same for keys and text only.
_FOCUSED = {"field": "the focused field"}


class ScreenCheck:
    """Compares the screen of a decision with the screen that its action would meet; one per episode.

    Args:
        env: the env that is acted in.
        watch: captures its screen, and knows which of its cells are restless.
    """

    def __init__(self, env: Env, watch: ScreenWatch) -> None:
        self._watch, self._live = watch, env_traits(env).live
        self._system = env if self._live and isinstance(env, WindowSystem) else None
        self._windows: Sequence[ScreenWindow] = ()

    def look(self) -> None:
        """Remember the windows as they are while the model looks."""
        if self._system is not None:
            self._windows = self._system.stacked_windows()

    def confirm(
        self, action: Action, seen: Observation, now: Observation, *, asked: bool, field: Point | None = None
    ) -> Observation:
        """Return the newest capture if the action still meets what the model looked at.

        Args:
            action: what is to be sent.
            seen: the observation that the model saw, and a person was shown.
            now: the screen now.
            asked: whether a person was asked meanwhile. The answer may have given the keyboard to a terminal, so the
                window that had it before is brought back.
            field: where the field was clicked that keys and text go to, if that is known.

        Raises:
            ScreenChanged: it does not.
        """
        points: Sequence[Point] = points_of(action)
        if points and now.size != seen.size:
            raise ScreenChanged("the screen has another size than in the observation: observe again, then act")
        if not self._live or isinstance(action, PointAt | Wait):
            return now
        if asked:
            now = self._bring_back(seen, now)
        typed = isinstance(action, Key | Type)
        for key, title in (_IN_FRONT | (_FOCUSED if typed else {})).items():
            if (had := seen.info.get(key)) != (has := now.info.get(key)):
                raise ScreenChanged(f"{title} went from {self._name(had)} to {self._name(has)} meanwhile")
        self.confirm_windows(points, seen)
        if typed and field is not None:
            now = self._confirm_focus(field, seen, now)
            points = (field,)
        for point in points:
            now = self._confirm_image(point, seen, now, asked=asked)
        # Where windows are known, the terminal of this program may show anything; a window that was clicked is another.
        if not points_of(action) and (field is not None or self._system is None):
            now = self._confirm_image(None, seen, now, asked=asked)
        return now

    def confirm_typed(self, action: Action, before: Image | None, seen: Observation, now: Observation) -> None:
        """Check that a text that was typed did not vanish since the model looked, as where a program takes it out.

        Args:
            action: what is to be sent; another point for a person, or a wait, builds on no text.
            before: the screen on which the text was typed; None if the last input was no text.
            seen: the observation that the model saw.
            now: the screen now.

        Raises:
            ScreenChanged: it did.
        """
        if not self._live or before is None or isinstance(action, PointAt | Wait):
            return
        if is_undone(before, seen.image, now.image):
            raise ScreenChanged("the text that was typed is gone again: the program took it out")

    def confirm_windows(self, points: Sequence[Point], seen: Observation) -> None:
        """Check that the windows under the points are still those that were there when the model looked.

        Raises:
            ScreenChanged: they are not.
        """
        if self._system is None or not self._windows or not points:
            return
        windows = self._system.stacked_windows()
        for point in points:
            place = seen.transform.to_device(point)
            before, after = (windows_under(place, stack) for stack in (self._windows, windows))
            if before != after:
                was, now = (self._name(ids[0] if ids else None) for ids in (before, after))
                raise ScreenChanged(
                    f"the window at ({point.x:.3f}, {point.y:.3f}) is {now} and was {was} when the model looked"
                )

    def window_at(self, action: Action, seen: Observation) -> int | str | None:
        """Return the identity of the window that an action goes to: under its first point, else with the focus.

        None where that is not known, and for menus, whose keys go to another window.
        """
        points = points_of(action)
        if not points:
            return seen.info.get("window")
        if self._system is None:
            return None
        place = seen.transform.to_device(points[0])
        top = next((window for window in self._windows if window.contains(*place)), None)
        return None if top is None or top.popup else top.id

    def _confirm_focus(self, field: Point, seen: Observation, now: Observation) -> Observation:
        """Check that a field still shows that it has the focus; return the newest capture.

        Raises:
            ScreenChanged: it does not.
        """
        if now.size == seen.size and focus_moved(seen.image, [now.image], field):
            captures = self._watch.captures(now)
            now = captures[-1]
            images = [capture.image for capture in captures if capture.size == seen.size]
            if focus_moved(seen.image, images, field):
                raise ScreenChanged(
                    f"the field at ({field.x:.3f}, {field.y:.3f}) looks as if it lost the keyboard focus"
                )
        return now

    def _confirm_image(self, point: Point | None, seen: Observation, now: Observation, *, asked: bool) -> Observation:
        """Compare what is around a point, or for None the window with the keyboard; return the newest capture.

        Raises:
            ScreenChanged: it changed, and not by itself as a caret or a video does.
        """
        window = self._other_cells(seen) if point is None else None

        def is_news(known: Cells | None) -> bool:
            if now.size != seen.size:
                return True
            if point is None:
                known = window if known is None or window is None else known | window
                return differs_largely(seen.image, now.image, known)
            if known is not None and asked:
                # A person agreed to what was shown: nothing else may be there, also not for a moment.
                known = without_target(known, now.image, point)
            return differs(seen.image, now.image, point, known, strict=asked)

        if not is_news(self._watch.known_cells(now.image)):
            return now
        # Blinking things and videos nearby change at any time; what stays changed is news.
        captures = self._watch.captures(now)
        now = captures[-1]
        if is_news(moving_cells(seen.image, [capture.image for capture in captures], point) if captures[1:] else None):
            place = "on the screen" if point is None else f"around ({point.x:.3f}, {point.y:.3f})"
            raise ScreenChanged(f"what is {place} changed since the model looked")
        return now

    def _other_cells(self, seen: Observation) -> Cells | None:
        """Return the cells of all but the window with the keyboard, as far as nothing covers it; None: not known."""
        number = seen.info.get("window")
        if self._system is None or number not in [window.id for window in self._windows]:
            return None
        others = np.ones(cells_shape(seen.image), dtype=bool)
        top_down = [window.id for window in self._windows].index(number)
        for window in reversed(self._windows[: top_down + 1]):
            # What lies over the window is not looked at.
            others[_cells_under(window, seen)] = window.id != number
        return others

    def _bring_back(self, seen: Observation, now: Observation) -> Observation:
        window = seen.info.get("window")
        if self._system is None or window in (None, now.info.get("window")):
            return now
        if self._system.activate_window(window):
            now = self._watch.wait_for(lambda capture: capture.info.get("window") == window, BRING_BACK_S)
            now = self._watch.settle(now.image, now, reacts=False)
        return now

    def _name(self, window: object) -> str:
        if window is None:
            return "no window"
        name = self._system.window_name(window) if self._system is not None and isinstance(window, int) else str(window)
        return repr(name)


def _cells_under(window: ScreenWindow, seen: Observation) -> tuple[slice, slice]:
    """Return the (rows, columns) of cells that a window covers in an observation, up to a cell."""
    left, top, right, bottom = seen.transform.device_region

    def cells(first: int, last: int, low: int, high: int, size_px: int) -> slice:
        start, end = (min(max(edge - low, 0), high - low) * size_px // (high - low) for edge in (first, last))
        return slice(start // CELL_PX, -(-end // CELL_PX))

    width, height = seen.size
    return cells(window.top, window.bottom, top, bottom, height), cells(window.left, window.right, left, right, width)
