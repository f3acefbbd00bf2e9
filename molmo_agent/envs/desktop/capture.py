"""Images of the screen.

An ``Area`` is in the operating system's input units. Its image is in physical pixels, of which there may be more
(HiDPI): the ratio of the two is the only scale factor there is.
"""

import os
import sys
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from molmo_agent.episode import Image
from molmo_agent.errors import EnvError


@dataclass(frozen=True, slots=True)
class Area:
    """A rectangle of the desktop in input units; negative on monitors left of or above the main one."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column past the area."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The first row past the area."""
        return self.top + self.height

    def contains(self, other: "Area") -> bool:
        """Return whether the other area lies inside of this one."""
        return (
            self.left <= other.left
            and self.top <= other.top
            and other.right <= self.right
            and other.bottom <= self.bottom
        )

    def intersection(self, other: "Area") -> "Area | None":
        """Return the part of this area that lies in the other one; None if there is none."""
        left, top = max(self.left, other.left), max(self.top, other.top)
        width, height = min(self.right, other.right) - left, min(self.bottom, other.bottom) - top
        return Area(left, top, width, height) if width > 0 and height > 0 else None

    def describe(self) -> str:
        """Return ``1920x1080 at (0, 0)``."""
        return f"{self.width}x{self.height} at ({self.left}, {self.top})"


@dataclass(frozen=True, slots=True)
class Monitor:
    """The position of a monitor on the desktop."""

    area: Area
    primary: bool = False


class Capture(Protocol):
    """Takes images of the desktop."""

    def monitors(self) -> list[Monitor]:
        """Return the monitors, in the order in which the system counts them from 1."""
        ...

    def grab(self, area: Area) -> Image:
        """Return what an area shows: (height, width, 3) uint8 RGB, contiguous, in physical pixels."""
        ...

    def close(self) -> None:
        """Release everything; safe to call twice."""
        ...


def bounds(monitors: list[Monitor]) -> Area:
    """Return the smallest area that holds all monitors."""
    left, top = min(m.area.left for m in monitors), min(m.area.top for m in monitors)
    right, bottom = max(m.area.right for m in monitors), max(m.area.bottom for m in monitors)
    return Area(left, top, right - left, bottom - top)


def bgra_to_rgb(bgra: bytes | bytearray, width: int, height: int) -> Image:
    """Reorder a screen's bytes, (height, width, 4) in the order B, G, R, x, into an RGB image."""
    screen = np.frombuffer(bgra, dtype=np.uint8).reshape(height, width, 4)
    image = np.empty((height, width, 3), dtype=np.uint8)
    # Channel by channel: about twice as fast as one copy of the reversed view.
    for channel in range(3):
        image[..., channel] = screen[..., 2 - channel]
    return image


class MssCapture:
    """Captures by mss, on X11, Windows and macOS.

    Make it before pyautogui is imported: on Windows both declare how they deal with scaled monitors, the first one
    wins, and mss declares that every monitor keeps its own physical pixels.

    Raises:
        EnvError: the display cannot be captured.
    """

    def __init__(self) -> None:
        import mss  # on Linux only an mss object, not this import, needs a display
        import mss.exception

        # A server that disappears during a request causes an AssertionError.
        self._failures = (mss.exception.ScreenShotError, OSError, AssertionError)
        try:
            self._mss: Any = mss.MSS()
            self._monitors = [_area(entry) for entry in self._mss.monitors]
        except self._failures as error:
            raise EnvError(f"the screen cannot be captured ({error}); {_display()}. Run `agent doctor`") from error

    def monitors(self) -> list[Monitor]:
        """Return the monitors; the whole X screen where the server names none."""
        entries = self._mss.monitors
        if len(entries) == 1:
            return [Monitor(self._monitors[0], primary=True)]
        return [
            Monitor(area, bool(entry.get("is_primary", index == 0)))
            for index, (area, entry) in enumerate(zip(self._monitors[1:], entries[1:], strict=True))
        ]

    def grab(self, area: Area) -> Image:
        """Return what an area shows.

        Raises:
            EnvError: the capture failed: the display is gone or its size changed.
        """
        rectangle = {"left": area.left, "top": area.top, "width": area.width, "height": area.height}
        try:
            shot = self._mss.grab(rectangle)
        except self._failures as error:
            raise EnvError(
                f"the capture of {area.describe()} failed ({error}): the display {_display()} is gone or its size "
                "changed. Start again"
            ) from error
        return bgra_to_rgb(shot.raw, shot.width, shot.height)

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._mss.close()


def _area(entry: dict[str, Any]) -> Area:
    return Area(entry["left"], entry["top"], entry["width"], entry["height"])


def _display() -> str:
    return f"DISPLAY={os.environ.get('DISPLAY', '')!r}" if sys.platform.startswith("linux") else "of this session"
