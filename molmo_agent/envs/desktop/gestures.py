"""What the pointer and the keyboard do for one action: clicks, drags, text, chords, each at its pace.

Positions are in the operating system's input units. Where they come from is the env's business.
"""

import contextlib
import math
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from molmo_agent.actions import Button
from molmo_agent.envs.desktop.input import Input
from molmo_agent.errors import ActionRefused, EnvError

# Presses this close together (input units, further than any system's rule) may count as a double click.
_SAME_PLACE = 16
# A drag continues where something nudges the pointer by less than this (input units): its next position is absolute.
_NUDGE = 16
# Between our clock and the one of the program that counts.
_DOUBLE_CLICK_MARGIN_S = 0.1


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


class Gestures:
    """The gestures of one run. After an error, the caller releases everything.

    Args:
        pause: waits for some seconds, and raises RunStopped if the user stops the run meanwhile.
        check_place: called with a position just before each press there, and whether it is a later press of the same
            action; raises ActionRefused if the press would not meet what the first one was meant for.
    """

    def __init__(
        self,
        input: Input,
        pace: Pace,
        pause: Callable[[float], None],
        check_place: Callable[[tuple[int, int], bool], None],
    ) -> None:
        self._input, self._pace, self._pause, self._check_place = input, pace, pause, check_place
        # The last press of a button: which one, where (x, y), when.
        self._last_press: tuple[Button, int, int, float] | None = None
        self.is_holding = False
        """Whether a button is down."""

    def click(self, place: tuple[int, int], button: Button, count: int) -> None:
        """Click at a position, where the pointer is already, ``count`` times in quick succession.

        Raises:
            ActionRefused: something moved the pointer away; nothing was pressed.
            EnvError: that, or another window there, came between the presses.
        """
        for nth in range(1, count + 1):
            self.press(place, button, self._pace.press_s, nth)
            if nth < count:
                self._pause(self._pace.between_clicks_s)

    def press(self, place: tuple[int, int], button: Button, hold_s: float, nth: int = 1) -> None:
        """Press a button, hold it, and release it; ``nth`` is 2 for the second press of a double click."""
        self._press_down(place, button, nth)
        self._pause(hold_s)
        self._release(place, button, nth)

    def _release(self, place: tuple[int, int], button: Button, nth: int = 1) -> None:
        x, y = self._input.position()
        # Positions may be rounded by one unit. Released elsewhere, a click would be a drag to there.
        if max(abs(x - place[0]), abs(y - place[1])) > 1:
            self._input.move(*place)
        self._input.release(button, nth)
        self.is_holding = False

    def _press_down(self, place: tuple[int, int], button: Button, nth: int = 1) -> None:
        """Press a button, late enough that it does not make a double click with the press before it."""
        x, y = place
        if nth == 1 and self._last_press is not None:
            last_button, last_x, last_y, last_s = self._last_press
            if button == last_button and max(abs(x - last_x), abs(y - last_y)) <= _SAME_PLACE:
                self._pause(last_s + self._input.double_click_s() + _DOUBLE_CLICK_MARGIN_S - time.monotonic())
        if not self._input.reads_position:
            # It may have been moved since, which cannot be seen.
            self._input.move(*place)
        try:
            self._check_place(place, nth > 1)
        except ActionRefused as error:
            if nth == 1:
                raise
            raise EnvError(f"only {nth - 1} of the presses of a multiple click were sent: {error}") from error
        self.is_holding = True
        self._input.press(button, nth)
        self._last_press = button, x, y, time.monotonic()

    def drag(self, start: tuple[int, int], end: tuple[int, int], button: Button) -> None:
        """Drag from ``start``, where the pointer is, to ``end``.

        Raises:
            ActionRefused: something moved the pointer away; nothing was pressed.
            EnvError: something moves the pointer; the button was released where the drag was then.
        """
        (x0, y0), (x1, y1) = start, end
        self._press_down(start, button)
        self._pause(self._pace.drag_hold_s)
        # At least three positions: programs take a drag for one only after some movement.
        count, place = max(3, math.ceil(max(abs(x1 - x0), abs(y1 - y0)) / self._pace.drag_step)), start
        for i in range(1, count + 1):
            position = x0 + (x1 - x0) * i // count, y0 + (y1 - y0) * i // count
            if position not in self._input.corners:
                place = position
                self._input.move(*place)
            self._pause(self._pace.drag_step_s)
            self._check_way(place, button)
        self._pause(self._pace.drag_hold_s)
        self._check_way(place, button)
        self._release(place, button)

    def _check_way(self, place: tuple[int, int], button: Button) -> None:
        x, y = self._input.position()
        if max(abs(x - place[0]), abs(y - place[1])) >= _NUDGE:
            self._release(place, button)
            raise EnvError(
                f"something moved the pointer to {(x, y)} in the middle of a drag, which was ended at {place}. "
                "Leave the mouse alone, and look at what was dragged before you start again"
            )

    def type_text(self, text: str, select: Callable[[], Sequence[tuple[str, ...]]] | None = None) -> None:
        """Enter text where the keyboard focus is.

        Args:
            text: line ends and tabs are keys, or part of a piece of text, as the input decides.
            select: gives the chords that select what the text is to replace. Typing over it replaces it; no key that
                deletes is sent before.

        Raises:
            ActionRefused: the text has control characters, or cannot be entered unchanged.
        """
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        for char in text:
            if unicodedata.category(char) in ("Cc", "Cs") and char not in "\n\t":
                raise ActionRefused(f"text may hold line ends and tabs but no other control character, got {char!r}")
        if select is not None:
            for keys in select():
                self.chord(keys)
            if not text or text[0] in "\n\t":
                self.chord(("backspace",))
        for piece in self._input.split_text(text):
            self._input.between_events()
            if piece in "\n\t":
                self.chord(("enter" if piece == "\n" else "tab",))
            else:
                self._input.type_line(piece)

    def chord(self, keys: Sequence[str]) -> None:
        """Press keys together and release them."""
        with self.holding(self._input.key_names(keys)):
            self._pause(self._pace.press_s)

    @contextlib.contextmanager
    def holding(self, names: Sequence[str]) -> Iterator[None]:
        """Hold keys, by the input's names for them."""
        for name in names:
            self._input.key_down(name)
        yield
        for name in reversed(names):
            self._input.key_up(name)
