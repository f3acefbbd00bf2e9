"""The last look before an input: is the screen still the one that the model looked at?

Models take seconds and people who are asked take minutes. Meanwhile a window may come up, a page may scroll, another
program may get the keyboard. Compared are what is around the points of the action, the windows under them, and the
window with the keyboard focus, as far as the env can name them. Only envs whose screen changes by itself are checked.
"""

from collections.abc import Sequence

from molmo_agent.actions import Action, Key, PointAt, Type, Wait, points_of
from molmo_agent.episode import Observation, ScreenWindow
from molmo_agent.errors import ActionRefused
from molmo_agent.geometry import Point
from molmo_agent.interfaces import Env, WindowSystem, env_traits
from molmo_agent.rollout.patches import differs, differs_largely, moving_cells
from molmo_agent.rollout.screen_changes import Cells, ScreenWatch

# How long to wait for the window that is brought back after a person was asked, in seconds.
BRING_BACK_S = 2.0


class ScreenChanged(ActionRefused):
    """The screen is no longer the one that the model looked at; no input was sent."""


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

    def confirm(self, action: Action, seen: Observation, now: Observation, *, asked: bool) -> Observation:
        """Return the newest capture if the action still meets what the model looked at.

        Args:
            action: what is to be sent.
            seen: the observation that the model saw.
            now: the screen now.
            asked: whether a person was asked meanwhile. The answer may have given the keyboard to a terminal, so the
                window that had it before is brought back.

        Raises:
            ScreenChanged: it does not.
        """
        points = points_of(action)
        if points and now.size != seen.size:
            raise ScreenChanged("the screen has another size than in the observation: observe again, then act")
        if not self._live or isinstance(action, PointAt | Wait):
            return now
        if asked:
            now = self._bring_back(seen, now)
        if (had := seen.info.get("window")) != (has := now.info.get("window")):
            raise ScreenChanged(f"the keyboard focus went from {self._name(had)} to {self._name(has)} meanwhile")
        self.confirm_windows(points, seen)
        # Where windows are known, keys depend on the focus alone: the terminal of this program may show anything.
        by_image = isinstance(action, Key | Type) and self._system is None
        for point in points or ((None,) if by_image else ()):
            now = self._confirm_image(point, seen, now)
        return now

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
            before, after = (_under(place, stack) for stack in (self._windows, windows))
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

    def _confirm_image(self, point: Point | None, seen: Observation, now: Observation) -> Observation:
        """Compare what is around a point, or for the keyboard the screen as a whole; return the newest capture.

        Raises:
            ScreenChanged: it changed, and not by itself as a caret or a video does.
        """

        def is_news(known: Cells | None) -> bool:
            if now.size != seen.size:
                return True
            if point is None:
                return differs_largely(seen.image, now.image, known)
            return differs(seen.image, now.image, point, known)

        if not is_news(self._watch.known_cells(now.image)):
            return now
        # Blinking things and videos nearby change at any time; what stays changed is news.
        captures = self._watch.captures(now)
        now = captures[-1]
        if is_news(moving_cells(seen.image, [capture.image for capture in captures], point) if captures[1:] else None):
            place = "on the screen" if point is None else f"around ({point.x:.3f}, {point.y:.3f})"
            raise ScreenChanged(f"what is {place} changed since the model looked")
        return now

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


def _under(place: tuple[int, int], windows: Sequence[ScreenWindow]) -> tuple[int, ...]:
    """Return the identities of the windows at a place in input units, from the topmost to the first of a program."""
    here = [window for window in windows if window.contains(*place)]
    first = next((number for number, window in enumerate(here, start=1) if not window.popup), len(here))
    return tuple(window.id for window in here[:first])
