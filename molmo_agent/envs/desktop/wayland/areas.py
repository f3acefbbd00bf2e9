"""Where monitors are on the desktop, in logical units, and the image of an area from the images of its monitors."""

from collections.abc import Sequence

import numpy as np
import PIL.Image

from molmo_agent.envs.desktop.capture import Area, Monitor, bounds
from molmo_agent.episode import Image
from molmo_agent.errors import EnvError

# The (left, top) and (width, height) of a monitor in logical units, None where the desktop does not report them.
Place = tuple[tuple[int, int] | None, tuple[int, int] | None]


def arrange(places: Sequence[Place], frame_sizes: Sequence[tuple[int, int]]) -> list[Area]:
    """Return the areas of monitors in logical units.

    A monitor without a size counts as unscaled, one without a position is put to the right of those before it: input is
    sent relative to a monitor, so where it is on the desktop does not matter for that.
    """
    areas: list[Area] = []
    for (position, own_size), frame_size in zip(places, frame_sizes, strict=True):
        width, height = own_size or frame_size
        left, top = position or (_right(areas), 0)
        areas.append(Area(left, top, width, height))
    return areas


def _right(areas: Sequence[Area]) -> int:
    """Return the first column to the right of all areas; 0 without any."""
    return bounds([Monitor(area) for area in areas]).right if areas else 0


def cut(image: Image, part: Area, whole: Area) -> Image:
    """Return the pixels of a part of a monitor."""
    scale_x, scale_y = image.shape[1] / whole.width, image.shape[0] / whole.height
    left, top = round((part.left - whole.left) * scale_x), round((part.top - whole.top) * scale_y)
    right, bottom = round((part.right - whole.left) * scale_x), round((part.bottom - whole.top) * scale_y)
    return np.ascontiguousarray(image[top : max(bottom, top + 1), left : max(right, left + 1)])


def compose(area: Area, parts: Sequence[tuple[Area, Image]]) -> Image:
    """Return one image of an area from the images of its parts; black where no monitor is.

    Raises:
        EnvError: no part lies on a monitor.
    """
    if not parts:
        raise EnvError(f"no shared monitor shows {area.describe()}: share that monitor too, or choose another region")
    if len(parts) == 1 and parts[0][0] == area:
        return parts[0][1]
    scale = max(image.shape[1] / part.width for part, image in parts)
    canvas = np.zeros((round(area.height * scale), round(area.width * scale), 3), dtype=np.uint8)
    for part, image in parts:
        left, top = round((part.left - area.left) * scale), round((part.top - area.top) * scale)
        size = round(part.width * scale), round(part.height * scale)
        if (image.shape[1], image.shape[0]) != size:
            image = np.array(PIL.Image.fromarray(image).resize(size))
        height, width = canvas[top : top + size[1], left : left + size[0]].shape[:2]
        canvas[top : top + height, left : left + width] = image[:height, :width]
    return canvas
