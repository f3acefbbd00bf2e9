"""The real desktop as an env: captures of the screen, and input through the user's pointer and keyboard.

Everything that depends on the operating system is behind two protocols, ``Capture`` and ``Input``; ``View`` holds what
is observed and where its points are; this file handles the gestures of each action, and when none may be sent.
"""

import functools
import sys
import time
import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self, assert_never

from molmo_agent.actions import (
    Action,
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
from molmo_agent.envs.desktop.accessibility.desktop_names import DesktopNames, desktop_names
from molmo_agent.envs.desktop.capture import Capture, open_capture
from molmo_agent.envs.desktop.emergency_stop import EmergencyStop, corners
from molmo_agent.envs.desktop.gestures import Gestures, Pace
from molmo_agent.envs.desktop.input import Input, load_pyautogui
from molmo_agent.envs.desktop.native.windows import native_windows
from molmo_agent.envs.desktop.view import View
from molmo_agent.envs.desktop.windows import KnowsWindows
from molmo_agent.episode import Observation, ScreenElement, windows_under
from molmo_agent.errors import ActionRefused, EnvError, RunStopped, ScreenChanged, UsageError
from molmo_agent.geometry import Point, Stroke
from molmo_agent.interfaces import EnvTraits

# Positions that a pointer reports may be rounded the other way.
_OFF = 1


class Desktop(KnowsWindows):
    """A monitor, a region or a window of the desktop.

    Args:
        monitor: "primary", "all", or a number from 1. Not together with ``region`` or ``window``.
        region: (left, top, width, height) in the system's input units; negative left of or above the main monitor.
        window: a part of a window's title (X11). The env follows the window when it moves.
        max_side: the longer side of the observation in pixels; a larger capture is scaled down. None: as captured.
        pace: how fast input is sent.
        capture: takes the images; None: the screen itself.
        input: sends the input; None: the real pointer and keyboard.

    Raises:
        EnvError: there is no display that can be captured and controlled, or no such window or region on it.
        UsageError: the arguments contradict each other or name a monitor that does not exist.
    """

    name = "desktop"
    traits = EnvTraits(live=True)
    capabilities: frozenset[type] = frozenset({Click, LongPress, Drag, Move, Scroll, Type, Key, Wait, Done, PointAt})

    def __init__(
        self,
        *,
        monitor: int | str = "primary",
        region: tuple[int, int, int, int] | None = None,
        window: str | None = None,
        max_side: int | None = None,
        pace: Pace | None = None,
        capture: Capture | None = None,
        input: Input | None = None,
    ) -> None:
        self._view = View(monitor, region, window, max_side)
        self._pace = pace or Pace()
        self._real = capture is None or input is None
        self._x11: Any = None
        self._names: DesktopNames | None = None
        self._stop = EmergencyStop()
        # The thread ends with this env, also if nobody closes it.
        weakref.finalize(self, self._stop.end)
        self._is_clean = False
        if self._real and sys.platform.startswith("linux"):
            from molmo_agent.envs.desktop import wayland, x11, x11_windows

            if wayland.is_wayland():
                capture, input = wayland.connect(capture, input, window=window)
            else:
                self._x11 = x11.connect()
                self._system = x11_windows.X11Windows(self._x11)
        elif self._real:
            self._system = native_windows()
        # The order matters on Windows, see open_capture.
        self._capture: Capture = capture or open_capture()
        self._input: Input = input or open_input(self._x11)
        self._input.between_events = self._between_events
        self._gestures = Gestures(self._input, self._pace, self._pause, self._check_place)
        self.between_inputs: Callable[[bool], None] = lambda holding: None
        """Called between the parts of an action, with whether a button is down; what it raises ends the action."""
        # The window that the present text goes to, and the windows under the pointer when it arrived; None: not known.
        self._typing_into: int | None = None
        self._under: tuple[int, ...] | None = None
        # Where the pointer was when somebody asked where a scroll without a point goes.
        self._scroll_place: tuple[int, int] | None = None
        try:
            self._view.open(self._capture, self._x11)
            if self._real and (names := desktop_names(self._x11)):
                self._names = names
                weakref.finalize(self, names.close)
        except BaseException:
            self.close()
            raise

    # --- The protocol ---------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Observe the screen in its present state: a desktop has no seed and cannot be reset.

        Raises:
            EnvError: the screen is locked, or the window or region is not there.
            RunStopped: the pointer is in a corner of a monitor.
            UsageError: options were given; there are none.
        """
        self._is_clean = False
        if options:
            raise UsageError(f"the desktop has no reset options, got {', '.join(options)}")
        self._check_unlocked()
        if self._x11:
            from molmo_agent.envs.desktop import x11

            x11.wake(self._x11)
        self._watch_pointer()
        return self.observe(), {}

    def observe(self) -> Observation:
        """Capture the screen.

        Raises:
            EnvError: the display is gone, or the monitor, region or window is no longer there.
            RunStopped: the user moved the pointer into a corner of a monitor.
        """
        monitors = self._capture.monitors()
        self._input.corners = corners(monitors)
        self._stop.check(self._input.position(), monitors)
        return replace(self._view.observe(), info=self._window_info())

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute one action; its points refer to the last observation.

        All buttons and keys are released after an error.

        Raises:
            ActionRefused: the desktop cannot execute this, or the monitors changed since the observation; no input was
                sent.
            EnvError: the display is gone, or the screen is locked.
            RunStopped: the user moved the pointer into a corner of a monitor.
        """
        try:
            self._check_emergency_stop()
            if not isinstance(action, Wait | Done | PointAt):
                self._check_unlocked()
                self._view.check_monitors()
                self._release_leftovers()
            if self._x11 and isinstance(action, Type | Key):
                from molmo_agent.envs.desktop import x11

                x11.check_focus(self._x11)
            self._typing_into = self._system.focused() if self._system and isinstance(action, Type | Key) else None
            self._execute(action)
        except BaseException as error:
            self._input.release_all()
            self._gestures.is_holding = False
            if isinstance(error, RunStopped):
                self._stop.report()
            raise
        return self.observe(), 0.0, isinstance(action, Done), False, {}

    def strokes(self, action: Action) -> tuple[Stroke, ...] | None:
        """Return where a scroll without a point would go: to what the pointer is over; None for other actions.

        The next step scrolls there or not at all.
        """
        if not (isinstance(action, Scroll) and action.point is None and self._input.reads_position):
            return None
        self._scroll_place = self._input.position()
        point = self._view.point_at(self._scroll_place)
        return None if point is None else ((point,),)

    def elements_at(self, point: Point) -> Sequence[ScreenElement]:
        """Return what the program at a point calls what is there; none where that is not known within 0.4 s.

        Raises:
            EnvError: the display is gone.
            UsageError: there is no observation yet.
        """
        return self._names.at(*self._view.target(point)) if self._names else ()

    def close(self) -> None:
        """Release every button and key and disconnect; safe to call twice."""
        self._stop.end()
        if self._names:
            self._names.close()
        self._input.close()
        self._capture.close()
        if self._x11:
            from molmo_agent.envs.desktop import x11

            x11.disconnect(self._x11)
            self._x11 = self._system = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- Whether --------------------------------------------------------------------------------------------------

    def _watch_pointer(self) -> None:
        if self._x11:
            from molmo_agent.envs.desktop.x11_capture import X11Watcher

            self._stop.start(X11Watcher)
        elif self._real and sys.platform in ("win32", "darwin"):
            from molmo_agent.envs.desktop.native.capture import NativeWatcher

            self._stop.start(functools.partial(NativeWatcher, self._input.position))

    def _check_emergency_stop(self) -> None:
        self._stop.check(self._input.position(), self._capture.monitors())

    def _check_unlocked(self) -> None:
        if self._real:
            from molmo_agent.envs.desktop.screen_lock import check_unlocked

            check_unlocked(self._x11)

    def _check_place(self, target: tuple[int, int], again: bool) -> None:
        """Check that the pointer is where it was sent: something else may move it, or no monitor be there.

        Args:
            target: where it was sent.
            again: whether something was pressed there already. A window that came up or went since is not meant.

        Raises:
            ActionRefused: it is not, or another window is there.
        """
        if self._is_off(target):
            place = "" if self._view.is_on_monitor(target) else ", where no monitor is"
            raise ActionRefused(
                f"the pointer was sent to {target}{place}, but is at {self._input.position()}: nothing was clicked. "
                "Leave the mouse alone, observe again, then act"
            )
        if again and self._under is not None:
            under = windows_under(target, self.stacked_windows())
            # A tooltip may vanish; the program's window, which is the last, must stay.
            if under[-1:] != self._under[-1:] or not set(under) <= set(self._under):
                raise ActionRefused(f"{self._title(under)} is at {target} now, and was not before the first press")

    def _is_off(self, target: tuple[int, int]) -> bool:
        position = self._input.position()
        return max(abs(position[0] - target[0]), abs(position[1] - target[1])) > _OFF

    def _title(self, windows: Sequence[int]) -> str:
        return f"the window {self.window_name(windows[0])!r}" if windows else "no window"

    def _between_events(self) -> None:
        """Check between letters and notches that the run continues, and that the text still reaches its window."""
        self.between_inputs(self._gestures.is_holding)
        now = self._system.focused() if self._system and self._typing_into is not None else None
        if now is not None and self._typing_into is not None and now != self._typing_into:
            was = self.window_name(self._typing_into)
            raise EnvError(
                f"the keyboard focus went from {was!r} to {self.window_name(now)!r} in the middle of a text: "
                "the rest was not typed"
            )

    # --- How ------------------------------------------------------------------------------------------------------

    def _execute(self, action: Action) -> None:
        match action:
            case Click(point=point, button=button, count=count, held=held):
                names = self._input.key_names(held)
                place = self._go(point)
                self._under = windows_under(place, self.stacked_windows()) if count > 1 and self._system else None
                with self._gestures.holding(names):
                    self._gestures.click(place, button, count)
            case LongPress(point=point, duration_s=duration_s):
                self._gestures.press(self._go(point), "left", duration_s)
            case Drag(start=start, end=end, button=button):
                target = self._view.target(end)
                self._gestures.drag(self._go(start), target, button)
            case Move(point=point):
                self._go(point)
            case Scroll(direction=direction, notches=notches, point=target):
                self._go_to_scroll(target)
                right = {"left": -notches, "right": notches}.get(direction, 0)
                down = {"up": -notches, "down": notches}.get(direction, 0)
                self._input.scroll(right, down)
            case Type(text=text, replace=replace):
                self._gestures.type_text(text, self._keys_that_select if replace else None)
            case Key(keys=keys):
                self._gestures.chord(keys)
            case Wait(duration_s=duration_s):
                self._pause(duration_s)
            case Done() | PointAt():
                # An answer, not an input.
                pass
            case OpenApp() | Back() | Home():
                action_names = ", ".join(sorted(kind.__name__ for kind in self.capabilities))
                raise ActionRefused(f"a desktop has no {type(action).__name__}; it can do: {action_names}")
            case _:
                assert_never(action)

    def _release_leftovers(self) -> None:
        """Let nothing be down when a run sends its first input: a program that was killed may have left it."""
        if not self._is_clean:
            self._input.release_leftovers()
            self._is_clean = True

    def _go_to_scroll(self, point: Point | None) -> None:
        """Move the pointer to a point, or keep it where it is."""
        asked, self._scroll_place = self._scroll_place, None
        if point is not None:
            self._go(point)
        elif self._input.reads_position:
            place = asked or self._input.position()
            if self._is_off(place):
                raise ScreenChanged(f"the pointer went from {place} to {self._input.position()} before the scroll")
            self._input.move(*place)

    def _go(self, point: Point) -> tuple[int, int]:
        """Move the pointer to a point, wait for what that highlights, and return its position.

        Raises:
            ActionRefused: it is not there afterwards.
            EnvError: the window has been closed, or the display is gone.
        """
        target = self._view.target(point)
        self._view.check_window()
        if self._x11:
            from molmo_agent.envs.desktop import x11

            x11.bring_pointer(self._x11)
        self._input.move(*target)
        self._stop.moved(target)
        self._pause(self._pace.hover_s)
        self._check_place(target, False)
        return target

    def _keys_that_select(self) -> Sequence[tuple[str, ...]]:
        """Return the chords that select what the focused field holds."""
        from molmo_agent.envs.desktop.replacing import keys_that_select

        return keys_that_select(self._x11, is_real=self._real)

    def _pause(self, duration_s: float) -> None:
        """Wait, and raise what stops the run meanwhile."""
        end = time.monotonic() + duration_s
        while (remaining_s := end - time.monotonic()) > 0:
            time.sleep(min(remaining_s, 0.05))
            self._check_emergency_stop()
            self.between_inputs(self._gestures.is_holding)


def open_input(x11_display: Any = None) -> Input:
    """Connect to this system's pointer and keyboard; on X11 with the display to ask about the keyboard layout.

    Raises:
        EnvError: macOS does not permit it, or pyautogui cannot be used here.
    """
    from molmo_agent.envs.desktop.native.input import MacInput, WindowsInput, check_permissions

    check_permissions()
    if sys.platform == "darwin":
        return MacInput(load_pyautogui())
    if sys.platform == "win32":
        return WindowsInput(load_pyautogui())
    from molmo_agent.envs.desktop import x11
    from molmo_agent.envs.desktop.x11_input import X11Input

    # First, because its error messages about displays are better than pyautogui's.
    display = x11_display or x11.connect()
    with x11.quiet():
        gui = load_pyautogui()
    return X11Input(gui, display)
