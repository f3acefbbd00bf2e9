"""Images of the screen.

An ``Area`` is in the operating system's input units. Its image is in physical pixels, of which there may be more
(HiDPI): the ratio of the two is the only scale factor there is.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from molmo_agent.episode import Image
from molmo_agent.errors import EnvError, UsageError


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
        """Return the monitors as they are now, in the order in which the system counts them from 1."""
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


def monitor_list(monitors: Iterable[Monitor]) -> str:
    """Return ``1: 1920x1080 at (0, 0), 2: ...`` for messages."""
    return ", ".join(f"{number}: {monitor.area.describe()}" for number, monitor in enumerate(monitors, start=1))


def monitor_area(choice: int | str, monitors: list[Monitor]) -> Area:
    """Return the area of "primary", "all" or a number from 1.

    Raises:
        UsageError: there is no such monitor; the message lists those that there are.
    """
    if choice == "all":
        return bounds(monitors)
    if choice == "primary":
        return next((monitor for monitor in monitors if monitor.primary), monitors[0]).area
    number = int(choice) if str(choice).isdecimal() else 0
    if not 1 <= number <= len(monitors):
        raise UsageError(
            f"monitor must be 'primary', 'all' or 1 to {len(monitors)}, got {choice!r}; "
            f"there are {monitor_list(monitors)}"
        )
    return monitors[number - 1].area


def region_area(region: tuple[int, int, int, int], monitors: list[Monitor]) -> Area:
    """Return the area of (left, top, width, height).

    Raises:
        EnvError: it is not on the screen.
        UsageError: it has no width or height.
    """
    area, desktop = Area(*region), bounds(monitors)
    if area.width < 1 or area.height < 1:
        raise UsageError(f"a region is (left, top, width, height) with a width and height, got {region}")
    if not desktop.contains(area):
        raise EnvError(
            f"the region {area.describe()} is not on the screen, which is {desktop.describe()} "
            f"(monitors: {monitor_list(monitors)})"
        )
    return area


def open_capture() -> Capture:
    """Open the capture of this system. Do it before pyautogui is imported, which declares a DPI awareness on Windows.

    Raises:
        EnvError: the screen cannot be captured.
    """
    if sys.platform.startswith("linux"):
        from molmo_agent.envs.desktop.x11_capture import X11Capture

        return X11Capture()
    from molmo_agent.envs.desktop.native.capture import MssCapture

    return MssCapture()
