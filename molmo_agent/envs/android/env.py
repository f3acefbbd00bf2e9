"""A real phone over adb as an env: captures of its screen, and touches, keys and text.

Positions are pixels of one display in its present rotation, so rotation and density need no arithmetic; all of that is
read with every capture. Every change to the user's phone is undone.
"""

import time
from collections.abc import Callable
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
from molmo_agent.envs.android.apps import open_app
from molmo_agent.envs.android.device import Device
from molmo_agent.envs.android.displays import Display
from molmo_agent.envs.android.gestures import Swipe, scroll_swipes
from molmo_agent.envs.android.input import PhoneInput
from molmo_agent.envs.android.keys import keycode
from molmo_agent.envs.android.screen import Status, capture, read_status, require_usable
from molmo_agent.envs.android.text import PhoneText
from molmo_agent.episode import Image, Observation
from molmo_agent.errors import ActionRefused, EnvError, ScreenChanged, UsageError
from molmo_agent.geometry import Point, Stroke
from molmo_agent.interfaces import EnvTraits
from molmo_agent.transforms import ImageTransform

# Slow enough for lists to follow the finger instead of being thrown.
_DRAG_MS, _SCROLL_MS = 600, 500
# Characters at either side of the caret that are deleted where nothing can be selected.
_MAX_DELETED = 250


class Android:
    """A phone or tablet that `adb devices` lists.

    Args:
        serial: selects one of several phones.
        display: selects one of the phone's displays by its id. None: the main one, or on a folded phone the built-in
            one that is on.

    Raises:
        MissingExtraError: adbutils is not installed.
        UsageError: there are several phones and no serial, or no phone with the serial.
        EnvError: there is no phone, or it cannot be used in its present state; the message gives the reason.
    """

    name = "android"
    traits = EnvTraits(waits_outside=True, live=True)
    capabilities: frozenset[type] = frozenset(
        {Click, LongPress, Drag, Scroll, Type, Key, OpenApp, Back, Home, Wait, Done, PointAt}
    )

    def __init__(self, serial: str | None = None, display: int | None = None) -> None:
        self.device, self._display = Device(serial), display
        self._input = PhoneInput(self.device)
        self._text = PhoneText(self.device, self._input)
        self._last_capture: tuple[Status, ImageTransform] | None = None
        self.between_inputs: Callable[[bool], None] = lambda holding: None
        """Called between the parts of an action; what it raises ends the action."""

    # --- The protocol ---------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Observe the phone in its present state: it has no seed and cannot be reset.

        Raises:
            EnvError: the screen is off, locked or cannot be captured.
            UsageError: options were given; there are none. Or the phone has no such display.
        """
        if options:
            raise UsageError(f"a phone has no reset options, got {', '.join(options)}")
        self._text.restore()
        return self.observe(), {}

    def observe(self) -> Observation:
        """Capture the screen.

        Raises:
            EnvError: the phone is gone, or its screen is off, locked or cannot be captured.
        """
        image, status = capture(self.device, self._display)
        height, width = image.shape[:2]
        transform = ImageTransform.identity(width, height)
        if status.size is not None and status.size != (width, height):
            # After a manual change of the resolution, the units of touches are not pixels.
            transform = transform.scale(width / status.size[0], height / status.size[1])
        image.flags.writeable = False
        self._last_capture = status, transform
        return Observation(image, transform, {"app": status.app, "window": status.focus, "rotation": status.rotation})

    def step(self, action: Action) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Execute one action; its points refer to the last observation.

        Raises:
            ActionRefused: the phone cannot execute this, or was rotated or folded or shows another window since the
                observation; no input was sent.
            EnvError: another window came up in the middle of a text, or the phone is gone, or its screen is off, locked
                or cannot be captured.
        """
        self._execute(action)
        return self.observe(), 0.0, isinstance(action, Done), False, {}

    def capture_touch(self, point: Point) -> Image:
        """Put a finger on a point of the last observation, capture the screen, and take the touch back: it is no tap.

        Returns:
            (height, width, 3) uint8 of the size of the observation.

        Raises:
            ActionRefused: the phone was rotated or folded since the observation.
            EnvError: as :meth:`observe`, or the phone cannot take a touch back.
        """
        before, after = self._input.held_touch(self._target(point))
        return capture(self.device, self._display, before=before, after=after)[0]

    def strokes(self, action: Action) -> tuple[Stroke, ...] | None:
        """Return the ways of the finger for a scroll, which may begin beside its point; None for other actions.

        Raises:
            UsageError: there is no observation yet.
        """
        if not isinstance(action, Scroll):
            return None
        transform = self._capture_of_points()[1]
        place = None if action.point is None else transform.to_device(action.point)
        return tuple(
            (transform.from_device(x0, y0), transform.from_device(x1, y1))
            for x0, y0, x1, y1 in self._swipes(action.direction, action.notches, place)
        )

    def close(self) -> None:
        """Forget the last observation; every touch ends with its command. Safe to call twice."""
        self._last_capture = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- How ------------------------------------------------------------------------------------------------------

    def _execute(self, action: Action) -> None:
        match action:
            case Click(point=point, button="left", count=count, held=()):
                self._input.tap(self._target(point), count)
            case LongPress(point=point, duration_s=duration_s):
                place = self._target(point)
                self._input.swipe(place, place, round(duration_s * 1000))
            case Drag(start=start, end=end, button="left"):
                self._input.swipe(self._target(start), self._target(end), _DRAG_MS)
            case Scroll(direction=direction, notches=notches, point=target):
                self._scroll(direction, notches, target)
            case Type(text=text, replace=replace):
                self._type(text, window=self._check_front(self._look_again()).focus, replace=replace)
            case Key(keys=keys):
                self._check_front(self._look_again())
                self._press(*keys)
            case OpenApp(name=name):
                open_app(self.device, name, display=self._look_again().display.id)
            case Back() | Home():
                now = self._look_again()
                if isinstance(action, Back):
                    self._check_front(now)
                self._input.press([f"KEYCODE_{type(action).__name__.upper()}"])
            case Wait(duration_s=duration_s):
                time.sleep(duration_s)
            case Done() | PointAt():
                # An answer, not an input.
                pass
            case Click(held=(_, *_)):
                raise ActionRefused("a phone has no keys to hold during a tap; for several things try LongPress")
            case Click() | Drag():
                raise ActionRefused(f"a finger has no {action.button} button; use LongPress, or the left one")
            case Move():
                able = ", ".join(sorted(cls.__name__ for cls in self.capabilities))
                raise ActionRefused(f"a phone has no pointer to move; it executes: {able}")
            case _:
                assert_never(action)

    def _target(self, point: Point) -> tuple[int, int]:
        """Return the pixels of a point, after a check that the display is still as it was observed."""
        status, transform = self._capture_of_points()
        now = self._look_again()
        if changes := _changes(status.display, now.display):
            raise ScreenChanged(f"{changes} since the observation: observe it again, then act")
        self._check_front(now)
        return transform.to_device(point)

    def _look_again(self) -> Status:
        """Return the present status of the screen; text sent to a locked phone would end up in its password field.

        Raises:
            EnvError: the screen is off or locked.
        """
        status = read_status(self.device, self._display)
        require_usable(status, self.device.serial)
        self._input.display = status.display.id
        return status

    def _check_front(self, now: Status) -> Status:
        """Check that the window in front is the one of the last observation.

        Raises:
            ScreenChanged: it is another one.
        """
        before = self._last_capture[0].focus if self._last_capture else now.focus
        if now.focus != before:
            names = [name or "no window" for name in (now.focus, before)]
            raise ScreenChanged(
                f"{names[0]} is in front, and was {names[1]} in the observation: observe it again, then act"
            )
        return now

    def _capture_of_points(self) -> tuple[Status, ImageTransform]:
        if self._last_capture is None:
            raise UsageError("call reset() or observe() first: points belong to an observation, and there is none yet")
        return self._last_capture

    def _scroll(self, direction: Any, notches: int, point: Point | None) -> None:
        place = self._target(point or Point(0.5, 0.5))
        for number, (x0, y0, x1, y1) in enumerate(self._swipes(direction, notches, place if point else None)):
            if number:
                self.between_inputs(False)
            self._input.swipe((x0, y0), (x1, y1), _SCROLL_MS)

    def _swipes(self, direction: Any, notches: int, place: tuple[int, int] | None) -> list[Swipe]:
        left, top, right, bottom = self._capture_of_points()[1].device_region
        return scroll_swipes(direction, notches, (right - left, bottom - top), place)

    def _type(self, text: str, *, window: str, replace: bool = False) -> None:
        """Enter text in the window that was in front when it began."""

        def check() -> None:
            self.between_inputs(False)
            if (now := self._look_again().focus) != window:
                raise EnvError(
                    f"{now or 'no window'} came to the front in the middle of a text for {window or 'no window'}: "
                    "the rest was not typed"
                )

        # Line ends and tabs are keys, wherever the text came from; nothing else presses Enter.
        lines = [line.split("\t") for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n")]
        for line in lines:
            for piece in line:
                self._text.check(piece)
        if replace:
            self._select_field()
            if not lines[0][0]:
                self._press("backspace")
        for number, line in enumerate(lines):
            if number:
                check()
                self._press("enter")
            for nth, piece in enumerate(line):
                if nth:
                    self._press("tab")
                self._text.enter(piece, check)

    def _select_field(self) -> None:
        """Select what the focused field holds, so that typing replaces it.

        Before Android 12 keys cannot be pressed together: there, its characters are deleted at both sides of the caret.
        """
        try:
            self._press("ctrl", "a")
        except ActionRefused:
            for key in ("backspace", "delete"):
                self._input.repeat(keycode(key), _MAX_DELETED)

    def _press(self, *keys: str) -> None:
        self._input.press([keycode(key) for key in keys])


def _changes(before: Display, now: Display) -> str:
    """Return how a display differs from what it was; empty if touches still reach what was observed."""
    if before.id != now.id:
        return f"the phone was folded or unfolded (display {now.id} is on instead of {before.id})"
    if before.rotation != now.rotation or (before.size or ())[::-1] == now.size != before.size:
        return "the phone was rotated"
    if before.size != now.size:
        was, is_now = ("x".join(map(str, size or ("?",))) for size in (before.size, now.size))
        return f"the phone was folded or its resolution was changed (from {was} to {is_now})"
    return ""
