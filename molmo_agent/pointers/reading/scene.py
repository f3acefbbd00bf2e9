"""What can be seen on a screenshot without a model: its text, and the smooth regions that widgets are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from molmo_agent.episode import Image
from molmo_agent.geometry import Box
from molmo_agent.pointers.reading.matching import Segment, segments_of
from molmo_agent.screen_text import Line

# Neighbouring pixels that differ by more, in any channel, belong to different regions; gradients differ by less.
_EDGE = 5
# Smaller regions are parts of letters.
_LEAST_SIDE = 7


@dataclass(frozen=True, slots=True)
class Region:
    """The rectangle around a smooth region, in pixels, right and bottom exclusive."""

    left: int
    top: int
    right: int
    bottom: int
    # The share of the rectangle that belongs to the region: near 1 for an empty field, less with text or a tick in it.
    fill: float

    @property
    def width(self) -> int:
        """In pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """In pixels."""
        return self.bottom - self.top


class Scene:
    """A screenshot with its text.

    Args:
        image: (height, width, 3) uint8, RGB; must not change.
        lines: its text.
    """

    def __init__(self, image: Image, lines: Sequence[Line]) -> None:
        self.image, self.lines = image, lines
        self.height, self.width = image.shape[:2]

    @cached_property
    def segments(self) -> list[Segment]:
        """The labels: lines, cut where gaps are wide."""
        return segments_of(self.lines, self.image)

    @cached_property
    def regions(self) -> list[Region]:
        """The smooth regions, smallest first: fields, buttons, check boxes, panels."""
        pixels = self.image.astype(np.int16)
        edges = np.zeros(pixels.shape[:2], dtype=bool)
        edges[:, 1:] |= _differ(pixels[:, 1:], pixels[:, :-1])
        edges[1:] |= _differ(pixels[1:], pixels[:-1])
        labels, count = ndimage.label(~edges)
        areas = np.bincount(labels.ravel(), minlength=count + 1)
        regions = []
        for number, slices in enumerate(ndimage.find_objects(labels), 1):
            rows, columns = slices
            height, width = rows.stop - rows.start, columns.stop - columns.start
            if height >= _LEAST_SIDE and width >= _LEAST_SIDE:
                fill = float(areas[number]) / (height * width)
                regions.append(Region(columns.start, rows.start, columns.stop, rows.stop, fill))
        return sorted(regions, key=lambda region: region.width * region.height)

    def pixels(self, box: Box) -> tuple[float, float, float, float]:
        """Return the edges of a box in pixels."""
        return box.left * self.width, box.top * self.height, box.right * self.width, box.bottom * self.height

    def box(self, region: Region) -> Box:
        """Return the rectangle of a region as fractions of the image."""
        return Box.from_pixels(region.left, region.top, region.right, region.bottom, self.width, self.height)

    def shade(self, region: Region) -> NDArray[np.float64]:
        """Return the most common colour of a region, about, as RGB in [0, 255]."""
        part = self.image[region.top : region.bottom, region.left : region.right]
        color: NDArray[np.float64] = np.median(part.reshape(-1, 3), axis=0)
        return color

    def text_color(self, box: Box) -> NDArray[np.float64]:
        """Return the mean colour of the letters in a box, as RGB in [0, 255]: what differs most from its background."""
        left, top, right, bottom = (round(edge) for edge in self.pixels(box))
        part = self.image[max(top, 0) : bottom, max(left, 0) : right].reshape(-1, 3).astype(float)
        if not len(part):
            return np.zeros(3)
        away = np.abs(part - np.median(part, axis=0)).sum(axis=1)
        color: NDArray[np.float64] = part[away >= np.quantile(away, 0.9)].mean(axis=0)
        return color


def _differ(first: NDArray[np.int16], second: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Return where two images of shape (height, width, 3) differ; by channel, as reductions over three are slow."""
    far = np.abs(first - second) > _EDGE
    differ: NDArray[np.bool_] = far[..., 0] | far[..., 1] | far[..., 2]
    return differ
