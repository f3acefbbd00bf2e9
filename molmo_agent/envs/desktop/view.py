"""The part of the desktop that is observed, and how points of its image lead back to input positions."""

import math
from typing import Any

import numpy as np
import PIL.Image

from molmo_agent.envs.desktop.capture import (
    Area,
    Capture,
    Monitor,
    bounds,
    monitor_area,
    monitor_list,
    region_area,
)
from molmo_agent.envs.desktop.emergency_stop import beside_corner
from molmo_agent.episode import Image, Observation
from molmo_agent.errors import EnvError, ScreenChanged, UsageError
from molmo_agent.geometry import Point
from molmo_agent.transforms import ImageTransform

# A person who rearranges the monitors changes them a few times in a row.
_TRIES = 5


class View:
    """A monitor, a region or a window. The arguments are those of ``Desktop``; ``open`` before anything else.

    Raises:
        UsageError: the arguments contradict each other.
    """

    def __init__(
        self,
        monitor: int | str,
        region: tuple[int, int, int, int] | None,
        window: str | None,
        max_side: int | None,
    ) -> None:
        sources = [
            name for name, value in (("monitor", monitor != "primary"), ("region", region), ("window", window)) if value
        ]
        if len(sources) > 1:
            raise UsageError(f"choose one of monitor, region and window, got {' and '.join(sources)}")
        if max_side is not None and max_side < 32:
            raise UsageError(f"max_side must be at least 32 pixels, got {max_side}")
        self._monitor, self._region, self._window = monitor, region, window
        self._max_side = max_side
        self._window_id: int | None = None
        # What the last observation showed.
        self._monitors: list[Monitor] = []
        self._area: Area | None = None
        # The window, with what of it is off the screen; None without a window.
        self._whole: Area | None = None
        self._transform: ImageTransform | None = None

    def open(self, capture: Capture, x11_display: Any) -> None:
        """Take images from a capture, and find windows by a connection to an X server (None: there is none).

        Raises:
            EnvError: there is no such region or window.
            UsageError: there is no such monitor, or windows cannot be found here.
        """
        self._capture, self._x11 = capture, x11_display
        self._find_area(self._find_window(), capture.monitors())

    def observe(self) -> Observation:
        """Capture the view as it is now.

        Raises:
            EnvError: the display is gone, or the monitor, region or window is no longer there.
        """
        for remaining in reversed(range(_TRIES)):
            monitors, whole = self._capture.monitors(), self._find_window()
            area = self._find_area(whole, monitors)
            try:
                image = self._capture.grab(area)
            except EnvError:
                if not remaining or self._capture.monitors() == monitors:
                    raise
                continue
            # Otherwise the image may show another place than its transform says.
            if self._capture.monitors() == monitors and self._find_window() == whole:
                break
        else:
            what = "monitors" if self._window is None else f"monitors or the window {self._window!r}"
            raise EnvError(f"the {what} keep changing: wait until they are as they should be and start again")
        height, width = image.shape[:2]
        transform = ImageTransform.identity(width, height)
        transform = transform.scale(_ratio(width, area.width), _ratio(height, area.height))
        transform = transform.offset(area.left, area.top)
        if self._max_side and max(width, height) > self._max_side:
            image = _shrink(image, self._max_side)
            transform = transform.resize(image.shape[1], image.shape[0])
        image.flags.writeable = False
        self._monitors, self._whole, self._area, self._transform = monitors, whole, area, transform
        return Observation(image, transform)

    def target(self, point: Point) -> tuple[int, int]:
        """Return the input position of a point of the last observation; next to a corner of a monitor if it is one.

        Raises:
            UsageError: there is no observation yet.
        """
        if self._transform is None:
            raise UsageError("call reset() or observe() first: points belong to an observation, and there is none yet")
        return beside_corner(self._transform.to_device(point), self._monitors)

    def point_at(self, position: tuple[int, int]) -> Point | None:
        """Return the point of the last observation at an input position; None where it does not show that."""
        if self._transform is None:
            return None
        left, top, right, bottom = self._transform.device_region
        x, y = position
        return self._transform.from_device(x, y) if left <= x < right and top <= y < bottom else None

    def check_monitors(self) -> None:
        """Check that the monitors are still those of the last observation.

        Raises:
            ScreenChanged: they are not.
        """
        if self._area is not None and (now := self._capture.monitors()) != self._monitors:
            raise ScreenChanged(
                f"the monitors changed since the observation, now they are {monitor_list(now)}: observe again, then act"
            )

    def check_window(self) -> None:
        """Check that the window is where it was in the last observation.

        Raises:
            ScreenChanged: it is not.
            EnvError: it has been closed or hidden.
        """
        # All of it: of a large window the part on the screen may be the same place, and show another part.
        if self._area is not None and self._find_window() != self._whole:
            raise ScreenChanged(f"the window {self._window!r} moved since the observation: observe it again, then act")

    def is_on_monitor(self, position: tuple[int, int]) -> bool:
        """Return whether a monitor of the last observation shows an input position."""
        return any(monitor.area.contains(Area(*position, 1, 1)) for monitor in self._monitors)

    def _find_area(self, window: Area | None, monitors: list[Monitor]) -> Area:
        if window is not None:
            visible = window.intersection(bounds(monitors))
            if visible is None:
                place = window.describe()
                raise EnvError(f"the window {self._window!r} is outside of the screen ({place}): move it back")
            return visible
        if self._region is not None:
            return region_area(self._region, monitors)
        try:
            return monitor_area(self._monitor, monitors)
        except UsageError as error:
            if self._area is None:
                raise
            raise EnvError(
                f"monitor {self._monitor} is gone; there are {monitor_list(monitors)}. "
                "Switch it on again, or start again with another one"
            ) from error

    def _find_window(self) -> Area | None:
        if (part := self._window) is None:
            return None
        if self._x11 is None:
            raise UsageError("a window can be chosen by its title on X11 only; use region=(left, top, width, height)")
        from molmo_agent.envs.desktop import x11

        if self._window_id is None:
            self._window_id = x11.find_window(self._x11, part).id
        return x11.window_area(self._x11, self._window_id, part)


def _ratio(pixels: int, units: int) -> float:
    """Return pixels per unit, rounded up: a hair too little and one input unit past the edge would seem to fit."""
    ratio = pixels / units
    return ratio if pixels % units == 0 else math.nextafter(ratio, math.inf)


def _shrink(image: Image, max_side: int) -> Image:
    height, width = image.shape[:2]
    factor = max_side / max(width, height)
    size = max(1, round(width * factor)), max(1, round(height * factor))
    return np.array(PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.HAMMING))
