"""Draws in the polar coordinates of a dial: degrees clockwise from 12, and fractions of its radius."""

import math
from collections.abc import Sequence

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

Polar = tuple[float, float]
Fill = tuple[int, ...] | int


def mixed(a: tuple[int, int, int], b: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    """Return a colour between two: ``a`` with a share of ``b``."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


class Pen:
    """Draws on one dial.

    Args:
        draw: what to draw on.
        x: centre, in pixels.
        y: centre, in pixels.
        radius: in pixels.
    """

    def __init__(self, draw: PIL.ImageDraw.ImageDraw, x: float, y: float, radius: float) -> None:
        self.draw, self.x, self.y, self.radius = draw, x, y, radius

    def place(self, where: Polar, aside: float = 0.0) -> tuple[float, float]:
        """Return the pixel of a polar place, moved clockwise by ``aside`` radii."""
        angle, distance = math.radians(where[0]), where[1] * self.radius
        aside *= self.radius
        sin, cos = math.sin(angle), math.cos(angle)
        return self.x + sin * distance + cos * aside, self.y - cos * distance + sin * aside

    def at(self, where: Polar, radius: float) -> "Pen":
        """Return a pen for a smaller dial there."""
        return Pen(self.draw, *self.place(where), self.radius * radius)

    def disc(self, radius: float, fill: Fill) -> None:
        """Draw a disc around the centre."""
        r = radius * self.radius
        self.draw.ellipse([self.x - r, self.y - r, self.x + r, self.y + r], fill=fill)

    def ring(self, radius: float, width: float, fill: Fill) -> None:
        """Draw a circle around the centre."""
        r = radius * self.radius
        box = [self.x - r, self.y - r, self.x + r, self.y + r]
        self.draw.ellipse(box, outline=fill, width=max(1, round(width * self.radius)))

    def rounded(self, half_width: float, half_height: float, corner: float, fill: Fill, dy: float = 0.0) -> None:
        """Draw a rounded rectangle around the centre, moved down by ``dy``."""
        w, h, y = half_width * self.radius, half_height * self.radius, self.y + dy * self.radius
        self.draw.rounded_rectangle([self.x - w, y - h, self.x + w, y + h], corner * self.radius, fill=fill)

    def box(self, where: Polar, half_width: float, half_height: float, fill: Fill, outline: Fill) -> None:
        """Draw an upright rectangle."""
        x, y = self.place(where)
        w, h = half_width * self.radius, half_height * self.radius
        self.draw.rectangle([x - w, y - h, x + w, y + h], fill=fill, outline=outline)

    def line(self, start: Polar, end: Polar, width: float, fill: Fill) -> None:
        """Draw a line."""
        ends = [self.place(start), self.place(end)]
        self.draw.line(ends, fill=fill, width=max(1, round(width * self.radius)))

    def shape(self, angle: float, outline: Sequence[tuple[float, float]], fill: Fill) -> None:
        """Draw a polygon of (along, aside) places on a ray."""
        self.draw.polygon([self.place((angle, along), aside) for along, aside in outline], fill=fill)

    def polygon(self, radius: float, count: int, first: float, fill: Fill) -> None:
        """Draw a regular polygon whose first corner is at an angle."""
        self.draw.polygon([self.place((first + i * 360 / count, radius)) for i in range(count)], fill=fill)

    def text(self, where: Polar, text: str, font: PIL.ImageFont.FreeTypeFont, fill: Fill) -> None:
        """Draw upright text, centred."""
        self.draw.text(self.place(where), text, fill=fill, font=font, anchor="mm")

    def turned_text(self, where: Polar, text: str, font: PIL.ImageFont.FreeTypeFont, fill: Fill) -> None:
        """Draw text whose feet point to the centre."""
        left, top, right, bottom = font.getbbox(text)
        size = (int(right - left) + 4, int(bottom - top) + 4)
        mask = PIL.Image.new("L", size)
        PIL.ImageDraw.Draw(mask).text((2 - left, 2 - top), text, fill=255, font=font)
        mask = mask.rotate(-where[0], PIL.Image.Resampling.BILINEAR, expand=True)
        x, y = self.place(where)
        self.draw.bitmap((round(x - mask.width / 2), round(y - mask.height / 2)), mask, fill=fill)
