"""One to three monitors side by side: which part is observed, and how its points map to input units."""

import dataclasses
import math
from dataclasses import dataclass

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen
from molmo_agent.envs.drawing.canvas import IntBox
from molmo_agent.geometry import Point
from molmo_agent.transforms import ImageTransform


@dataclass(frozen=True, slots=True)
class Monitors:
    """Equal monitors in a row. Input unit (0, 0) is the main one's top left corner, as on real systems."""

    # (width, height) of each, pixels.
    size: tuple[int, int]
    count: int
    # The one with the task bar; those to the left of it have negative positions.
    main: int
    # Number of the observed monitor, from 0; None: all of them.
    view_index: int | None
    # Pixels per input unit.
    scale: float

    def box(self, number: int) -> IntBox:
        """Return a monitor's rectangle in pixels of the virtual desktop, whose origin is the leftmost one's."""
        width, height = self.size
        return number * width, 0, (number + 1) * width, height

    @property
    def view_box(self) -> IntBox:
        """The observed rectangle, pixels of the virtual desktop."""
        width, height = self.size
        return (0, 0, self.count * width, height) if self.view_index is None else self.box(self.view_index)

    def transform(self) -> ImageTransform:
        """Return the transform from the observation to input units."""
        left, top, right, bottom = self.view_box
        transform = ImageTransform.identity(right - left, bottom - top)
        if self.scale != 1:
            transform = transform.scale(self.scale)
        shift = left - self.box(self.main)[0]
        return transform.offset(shift / self.scale, 0) if shift else transform

    def pixel(self, point: Point) -> tuple[float, float]:
        """Return the middle of the virtual desktop's pixel that is hit when a point of the observation is acted on.

        The way is that of a real desktop: to whole input units, and from those to the pixel under them.
        """
        x, y = self.transform().to_device(point)
        origin = self.box(self.main)[0]
        column = min(math.floor(x * self.scale) + origin, self.count * self.size[0] - 1)
        row = min(math.floor(y * self.scale), self.size[1] - 1)
        return max(column, 0) + 0.5, max(row, 0) + 0.5

    def view(self, screen: Screen) -> Screen:
        """Return the observed part of a drawing of the whole virtual desktop, in its own pixels."""
        left, top, right, bottom = self.view_box
        if self.count == 1:
            return screen
        image = screen.image[top:bottom, left:right].copy()
        image.flags.writeable = False
        elements = tuple(_shift(element, left, right) for element in screen.elements)
        runs = tuple(run.transform(-left, 0) for run in screen.texts if left <= run.edges[0] and run.edges[-1] <= right)
        return Screen(image, elements, runs)


def _shift(element: Element, left: int, right: int) -> Element:
    x0, y0, x1, y1 = element.box
    box: PixelBox = (x0 - left, y0, x1 - left, y1)
    inside = left <= x0 and x1 <= right
    return dataclasses.replace(element, box=box, visible=element.visible and inside, text=element.text and inside)
