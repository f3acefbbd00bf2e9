"""The picture of a screen that another agent is sent, and the way back from its pixels to points.

Agents name places in pixels of the picture that they were sent, which is smaller than the screen where an API limits
the size. The way back is the one rule of the package: a pixel stands for its middle, as a fraction of the picture. A
fraction of the picture is the same fraction of the screen, and the env's own transforms lead on to the device.
"""

import base64
import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import PIL.Image

from molmo_agent.episode import Image, Observation
from molmo_agent.errors import ActionRefused, UsageError
from molmo_agent.geometry import Point
from molmo_agent.rollout.recorder import encode_png


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureLimits:
    """The largest picture that an API takes without scaling it again, which would move every point.

    Raises:
        UsageError: a limit that no picture fits.
    """

    # Longest side, in pixels.
    max_side: int = 1568
    max_pixels: int = 1_150_000

    def __post_init__(self) -> None:
        if self.max_side < 16 or self.max_pixels < 256:
            raise UsageError(f"expected at least 16 pixels a side and 256 in all, got {self}")

    def fit(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the (width, height) to which a picture of (width, height) is scaled down; never up."""
        width, height = size
        scale = min(1.0, self.max_side / max(size), math.sqrt(self.max_pixels / (width * height)))
        return max(1, math.floor(width * scale)), max(1, math.floor(height * scale))


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as it was sent; ``pixels`` is an RGB uint8 image of shape (height, width, 3)."""

    pixels: Image
    # (width, height) of the screen in pixels.
    screen: tuple[int, int]

    @classmethod
    def of(cls, seen: Observation, limits: PictureLimits) -> Self:
        """Make the picture of a screen within limits."""
        size = limits.fit(seen.size)
        if size == seen.size:
            return cls(seen.image, seen.size)
        return cls(_resized(seen.image, size), seen.size)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.pixels.shape[1], self.pixels.shape[0]

    def png(self) -> bytes:
        """Return the picture as a PNG file."""
        return encode_png(self.pixels)

    def base64_png(self) -> str:
        """Return the picture as a PNG file in base64."""
        return base64.b64encode(self.png()).decode("ascii")

    def point(self, x_px: float, y_px: float) -> Point:
        """Return the normalized point of a pixel.

        Raises:
            ActionRefused: it lies outside the picture; it is never moved to the edge.
        """
        width, height = self.size
        if not (0 <= x_px < width and 0 <= y_px < height):
            raise ActionRefused(f"({x_px}, {y_px}) is outside the screenshot of {width}x{height} pixels")
        return Point.from_pixel(math.floor(x_px), math.floor(y_px), width, height)

    def pixel(self, point: Point) -> tuple[int, int]:
        """Return (x, y) in pixels of this picture."""
        return point.to_pixels(*self.size)

    def crop(self, region: tuple[int, int, int, int], seen: Observation, limits: PictureLimits) -> Self:
        """Return a part of the screen, enlarged to the limits.

        Args:
            region: (left, top, right, bottom) in pixels of this picture, right and bottom excluded.
            seen: the screen at its full size.
            limits: of the new picture.

        Raises:
            ActionRefused: the region is empty or reaches beyond the picture.
        """
        left, top, right, bottom = region
        width, height = self.size
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ActionRefused(
                f"expected a region [x0, y0, x1, y1] in the screenshot of {width}x{height}, got {list(region)}"
            )
        across, down = seen.size[0] / width, seen.size[1] / height
        part = seen.image[
            math.floor(top * down) : math.ceil(bottom * down), math.floor(left * across) : math.ceil(right * across)
        ]
        scale = min(
            limits.max_side / max(part.shape[:2]), math.sqrt(limits.max_pixels / (part.shape[0] * part.shape[1]))
        )
        size = max(1, math.floor(part.shape[1] * scale)), max(1, math.floor(part.shape[0] * scale))
        return type(self)(_resized(part, size), seen.size)


def _resized(image: Image, size: tuple[int, int]) -> Image:
    picture = PIL.Image.fromarray(np.ascontiguousarray(image)).resize(size, PIL.Image.Resampling.LANCZOS)
    return np.asarray(picture)
