"""Ask a person at the terminal before an input is sent, and show the target there; no file is written."""

import contextlib
import sys
import threading
from collections.abc import Callable

import numpy as np
from rich.color import Color
from rich.console import Console
from rich.prompt import Confirm
from rich.style import Style
from rich.text import Text

from molmo_agent.actions import describe, points_of
from molmo_agent.console import plain_text
from molmo_agent.episode import Decision, Image, Observation
from molmo_agent.geometry import Point
from molmo_agent.images import MARK
from molmo_agent.visible_text import visible_text

_MAX_COLUMNS, _ROWS = 100, 24
# The crosshair is dotted with a free middle, so that it does not hide the target.
_GAP_PX, _DOTS_PX = 8, 3


def crop_as_text(image: Image, point: Point, columns: int) -> Text:
    """Return the part of an image around a point as text, one pixel per half character, with a crosshair."""
    height, width = image.shape[:2]
    x, y = point.to_pixels(width, height)
    # A 4K screen is shown at half its size, or the crop would hold less than one button.
    step = max(1, round(width / 1920))
    columns, rows = min(columns, _MAX_COLUMNS, width // step), min(_ROWS, max(1, height // step // 2))
    left = min(max(x - columns * step // 2, 0), width - columns * step)
    top = max(0, min(y - rows * step, height - 2 * rows * step))
    crop = image[top : top + 2 * rows * step : step, left : left + columns * step : step].copy()
    row, column = (y - top) // step, (x - left) // step
    for axis, place in enumerate((row, column)):
        away = np.abs(np.arange(crop.shape[axis]) - place)
        dots = (away > _GAP_PX) & (away % _DOTS_PX == 0)
        crop[(dots, column) if axis == 0 else (row, dots)] = MARK
    text = Text(no_wrap=True)
    # An image of one row has no lower halves.
    for upper, lower in zip(crop[0::2], crop[1::2] if len(crop) > 1 else crop, strict=True):
        for above, below in zip(upper.tolist(), lower.tolist(), strict=True):
            text.append("▀", Style(color=Color.from_rgb(*above), bgcolor=Color.from_rgb(*below)))
        text.append("\n")
    return text


def terminal_restorer() -> Callable[[], None]:
    """Return a function that sets the terminal back as it is now, in case a prompt is never left in order."""
    if sys.platform == "win32":
        return lambda: None
    import termios

    try:
        settings = termios.tcgetattr(0)
    except termios.error:
        # No terminal.
        return lambda: None

    def restore() -> None:
        # A terminal that was closed.
        with contextlib.suppress(termios.error):
            termios.tcsetattr(0, termios.TCSANOW, settings)

    return restore


class Asker:
    """Shows a decision and its target at a terminal and asks whether to carry it out; Enter alone means no."""

    def __init__(self, console: Console) -> None:
        self._console = console
        # Runs in several threads share a terminal.
        self._turn = threading.Lock()

    def __call__(self, decision: Decision, observation: Observation, why: str) -> bool:
        """Ask whether to execute a decision; one question at a time.

        Raises:
            KeyboardInterrupt: the terminal is gone.
        """
        with self._turn:
            try:
                return self._answer(decision, observation, why)
            except EOFError:
                return False
            except OSError as error:
                raise KeyboardInterrupt("the terminal is gone") from error

    def _answer(self, decision: Decision, observation: Observation, why: str) -> bool:
        if self._console.encoding.lower().startswith("utf"):
            for point in points_of(decision.action):
                self._console.print(crop_as_text(observation.image, point, self._console.width), end="")
        question = plain_text(describe(decision.action))
        if decision.instruction:
            question.append(visible_text(f"  for: {decision.instruction}"))
        if why:
            question.append(visible_text(f"  ({why})"), "yellow")
        return Confirm.ask(question, console=self._console, default=False)
