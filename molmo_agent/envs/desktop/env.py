"""The real desktop as an env: captures of the screen, and input through the user's pointer and keyboard.

Everything that depends on the operating system is behind two protocols, ``Capture`` and ``Input``; this file
handles areas of the desktop, the transform from an image to input positions, and the gestures of each action.
"""

import contextlib
import math
import re
import sys
import time
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Self, assert_never

import numpy as np
import PIL.Image

from molmo_agent.actions import (
    Action,
    Back,
    Button,
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
from molmo_agent.envs.desktop.capture import Area, Capture, Monitor, MssCapture, bounds
from molmo_agent.envs.desktop.input import Input, defer_interrupts, emergency_stop, load_pyautogui
from molmo_agent.episode import Image, Observation
from molmo_agent.errors import ActionRefused, EnvError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.interfaces import EnvTraits
from molmo_agent.transforms import ImageTransform


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast input is sent, in seconds. Programs need time to notice: a menu opens on hover, a drag on movement."""

    # Between arriving at a position and pressing there.
    hover_s: float = 0.03
    # Between pressing and releasing.
    press_s: float = 0.02
    # Between the clicks of a double click; systems give up at about 0.4 s.
    between_clicks_s: float = 0.06
    # Before and after the movement of a drag, with the button down.
    drag_hold_s: float = 0.06
    # Between two positions of a drag.
    drag_step_s: float = 0.008
    # The longest way between two positions of a drag, in input units.
    drag_step: int = 24


class Desktop:
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
        sources = [
            name for name, value in (("monitor", monitor != "primary"), ("region", region), ("window", window)) if value
        ]
        if len(sources) > 1:
            raise UsageError(f"choose one of monitor, region and window, got {' and '.join(sources)}")
        if max_side is not None and max_side < 32:
            raise UsageError(f"max_side must be at least 32 pixels, got {max_side}")
        self._monitor, self._region, self._window = monitor, region, window
        self._max_side, self._pace = max_side, pace or Pace()
        self._real = capture is None or input is None
        self._x11: Any = None
        self._window_id: int | None = None
        # What the last observation showed, and how its points lead back to the desktop.
        self._area: Area | None = None
        self._transform: ImageTransform | None = None
        if self._real and sys.platform.startswith("linux"):
            from molmo_agent.envs.desktop import x11

            self._x11 = x11.connect()
        # The order matters on Windows, see MssCapture.
        self._capture: Capture = capture or MssCapture()
        self._input: Input = input or open_input(self._x11)
        self._find_area()

    # --- The protocol ---------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Observe the screen in its present state: a desktop has no seed and cannot be reset.

        Raises:
            EnvError: the screen is locked, or the window or region is not there.
            UsageError: options were given; there are none.
        """
        if options:
            raise UsageError(f"the desktop has no reset options, got {', '.join(options)}")
        if self._real:
            from molmo_agent.envs.desktop.screen_lock import screen_locked

            if screen_locked():
                raise EnvError("the screen is locked: nothing can be seen or clicked. Unlock it and start again")
        return self.observe(), {}

    def observe(self) -> Observation:
        """Capture the screen.

        Raises:
            EnvError: the display is gone, or the window is no longer there.
        """
        area = self._find_area()
        image = self._capture.grab(area)
        height, width = image.shape[:2]
        transform = ImageTransform.identity(width, height)
        transform = transform.scale(_ratio(width, area.width), _ratio(height, area.height))
        transform = transform.offset(area.left, area.top)
        if self._max_side and max(width, height) > self._max_side:
            image = _shrink(image, self._max_side)
            transform = transform.resize(image.shape[1], image.shape[0])
        image.flags.writeable = False
        self._area, self._transform = area, transform
        return Observation(image, transform)

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute one action; its points refer to the last observation.

        All buttons and keys are released after an error.

        Raises:
            ActionRefused: the desktop cannot execute this; no input was sent.
            EnvError: the display is gone.
            RunStopped: the user moved the pointer into a corner of the screen.
        """
        try:
            self._check_emergency_stop()
            self._execute(action)
        except BaseException:
            self._input.release_all()
            raise
        return self.observe(), 0.0, isinstance(action, Done), False, {}

    def close(self) -> None:
        """Release every button and key and disconnect; safe to call twice."""
        self._input.close()
        self._capture.close()
        if self._x11:
            self._x11.close()
            self._x11 = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- Where ----------------------------------------------------------------------------------------------------

    def _find_area(self) -> Area:
        monitors = self._capture.monitors()
        desktop = bounds(monitors)
        if self._window is not None:
            return self._window_area(self._window, desktop)
        if self._region is None:
            return _monitor_area(self._monitor, monitors)
        area = Area(*self._region)
        if area.width < 1 or area.height < 1:
            raise UsageError(f"a region is (left, top, width, height) with a width and height, got {self._region}")
        if not desktop.contains(area):
            monitor_list = ", ".join(f"{n}: {m.area.describe()}" for n, m in enumerate(monitors, start=1))
            raise EnvError(
                f"the region {area.describe()} is not on the screen, which is {desktop.describe()} "
                f"(monitors: {monitor_list})"
            )
        return area

    def _window_area(self, part: str, desktop: Area) -> Area:
        if self._x11 is None:
            raise UsageError("a window can be chosen by its title on X11 only; use region=(left, top, width, height)")
        from molmo_agent.envs.desktop import x11

        with defer_interrupts():
            if self._window_id is None:
                self._window_id = x11.find_window(self._x11, part).id
            area = x11.window_area(self._x11, self._window_id, part)
        visible = area.intersection(desktop)
        if visible is None:
            raise EnvError(f"the window {part!r} is outside of the screen ({area.describe()}): move it back")
        return visible

    def _target(self, point: Point) -> tuple[int, int]:
        """Return the input position of a point; next to a failsafe corner if it is one."""
        if self._transform is None:
            raise UsageError("call reset() or observe() first: points belong to an observation, and there is none yet")
        x, y = self._transform.to_device(point)
        if (x, y) in self._input.corners:
            # Move it aside, onto the screen: a pointer in the corner would count as the user's emergency stop.
            x += 1 if x == min(corner_x for corner_x, _ in self._input.corners) else -1
        return x, y

    def _check_still_there(self) -> None:
        if self._window is not None and self._area is not None and self._find_area() != self._area:
            raise ActionRefused(f"the window {self._window!r} moved since the observation: observe it again, then act")

    # --- How ------------------------------------------------------------------------------------------------------

    def _execute(self, action: Action) -> None:
        match action:
            case Click(point=point, button=button, count=count, held=held):
                names = [self._input.key_name(key) for key in held]
                self._go(point)
                with self._holding(names):
                    for nth in range(1, count + 1):
                        self._press(button, self._pace.press_s, nth)
                        if nth < count:
                            self._pause(self._pace.between_clicks_s)
            case LongPress(point=point, duration_s=duration_s):
                self._go(point)
                self._press("left", duration_s)
            case Drag(start=start, end=end, button=button):
                self._drag(start, end, button)
            case Move(point=point):
                self._go(point)
            case Scroll(direction=direction, notches=notches, point=target):
                if target is not None:
                    self._go(target)
                right = {"left": -notches, "right": notches}.get(direction, 0)
                down = {"up": -notches, "down": notches}.get(direction, 0)
                self._input.scroll(right, down)
            case Type(text=text):
                self._type(text)
            case Key(keys=keys):
                self._chord(keys)
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

    def _go(self, point: Point) -> None:
        target = self._target(point)
        self._check_still_there()
        self._input.move(*target)
        self._pause(self._pace.hover_s)

    def _press(self, button: Button, hold_s: float, nth: int = 1) -> None:
        self._input.press(button, nth)
        self._pause(hold_s)
        self._input.release(button, nth)

    def _drag(self, start: Point, end: Point, button: Button) -> None:
        (x0, y0), (x1, y1) = self._target(start), self._target(end)
        self._go(start)
        self._input.press(button)
        self._pause(self._pace.drag_hold_s)
        # At least three positions: programs take a drag for one only after some movement.
        count = max(3, math.ceil(max(abs(x1 - x0), abs(y1 - y0)) / self._pace.drag_step))
        for i in range(1, count + 1):
            position = x0 + (x1 - x0) * i // count, y0 + (y1 - y0) * i // count
            if position not in self._input.corners:
                self._input.move(*position)
            self._pause(self._pace.drag_step_s)
        self._pause(self._pace.drag_hold_s)
        self._input.release(button)

    def _type(self, text: str) -> None:
        # Line ends and tabs are keys (they submit a form, move to the next field), wherever the text came from.
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        for char in text:
            if unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t":
                raise ActionRefused(f"text may hold line ends and tabs but no other control character, got {char!r}")
        for part in re.findall(r"[^\n\t]+|[\n\t]", text):
            if part in "\n\t":
                self._chord(("enter" if part == "\n" else "tab",))
            else:
                self._input.type_line(part)

    def _chord(self, keys: tuple[str, ...]) -> None:
        with self._holding([self._input.key_name(key) for key in keys]):
            self._pause(self._pace.press_s)

    @contextlib.contextmanager
    def _holding(self, names: Sequence[str]) -> Iterator[None]:
        """Hold keys, by the input's names for them. After an error, `step` releases everything."""
        for name in names:
            self._input.key_down(name)
        yield
        for name in reversed(names):
            self._input.key_up(name)

    def _pause(self, duration_s: float) -> None:
        """Wait, and raise RunStopped if the user stops the run meanwhile."""
        end = time.monotonic() + duration_s
        while (remaining_s := end - time.monotonic()) > 0:
            time.sleep(min(remaining_s, 0.05))
            self._check_emergency_stop()

    def _check_emergency_stop(self) -> None:
        position = self._input.position()
        if position in self._input.corners:
            raise emergency_stop(position)


def open_input(x11_display: Any = None) -> Input:
    """Connect to this system's pointer and keyboard; on X11 with the display to ask about the keyboard layout.

    Raises:
        EnvError: macOS does not permit it, or pyautogui cannot be used here.
    """
    from molmo_agent.envs.desktop.native_input import MacInput, WindowsInput, check_permissions

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


def _monitor_area(choice: int | str, monitors: list[Monitor]) -> Area:
    if choice == "all":
        return bounds(monitors)
    if choice == "primary":
        return next((monitor for monitor in monitors if monitor.primary), monitors[0]).area
    number = int(choice) if str(choice).isdecimal() else 0
    if not 1 <= number <= len(monitors):
        monitor_list = ", ".join(f"{n}: {m.area.describe()}" for n, m in enumerate(monitors, start=1))
        raise UsageError(
            f"monitor must be 'primary', 'all' or 1 to {len(monitors)}, got {choice!r}; there are {monitor_list}"
        )
    return monitors[number - 1].area


def _ratio(pixels: int, units: int) -> float:
    """Return pixels per unit, rounded up: a hair too little and one input unit past the edge would seem to fit."""
    ratio = pixels / units
    return ratio if pixels % units == 0 else math.nextafter(ratio, math.inf)


def _shrink(image: Image, max_side: int) -> Image:
    height, width = image.shape[:2]
    factor = max_side / max(width, height)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.array(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.HAMMING))
