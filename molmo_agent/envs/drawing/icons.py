"""Icons and coloured shapes as small antialiased masks, drawn once per size from points in a unit square."""

import math
from collections.abc import Callable
from functools import lru_cache

from PIL import Image, ImageDraw

_OVERSAMPLE = 4
_XY = tuple[float, float]


class Brush:
    """Draws into an oversampled mask in coordinates 0..1; ``gray`` 0 erases."""

    def __init__(self, size: int) -> None:
        self.side = size * _OVERSAMPLE
        self.image = Image.new("L", (self.side, self.side))
        self._pen = ImageDraw.Draw(self.image)

    def _to_pixels(self, points: tuple[_XY, ...]) -> list[_XY]:
        return [(x * (self.side - 1), y * (self.side - 1)) for x, y in points]

    def poly(self, *points: _XY, gray: int = 255) -> None:
        """Fill a polygon."""
        self._pen.polygon(self._to_pixels(points), fill=gray)

    def line(self, *points: _XY, width: float = 0.1, gray: int = 255) -> None:
        """Draw straight lines from point to point, with round ends."""
        thick = max(round(width * self.side), 1)
        pixels = self._to_pixels(points)
        self._pen.line(pixels, fill=gray, width=thick, joint="curve")
        for x, y in (pixels[0], pixels[-1]):  # round ends
            self._pen.ellipse((x - thick / 2, y - thick / 2, x + thick / 2, y + thick / 2), fill=gray)

    def disc(self, x: float, y: float, radius: float, gray: int = 255) -> None:
        """Fill a circle."""
        (box,) = [self._to_pixels(((x - radius, y - radius), (x + radius, y + radius)))]
        self._pen.ellipse([box[0], box[1]], fill=gray)

    def box(self, left: float, top: float, right: float, bottom: float, gray: int = 255, corner: float = 0.0) -> None:
        """Fill a rectangle, its corners rounded by ``corner``."""
        self._pen.rounded_rectangle(self._to_pixels(((left, top), (right, bottom))), corner * self.side, fill=gray)

    def arc(self, x: float, y: float, radius: float, start: float, end: float, width: float = 0.1) -> None:
        """Draw a part of a circle, clockwise between two angles in degrees from the right."""
        box = self._to_pixels(((x - radius, y - radius), (x + radius, y + radius)))
        self._pen.arc([box[0], box[1]], start, end, fill=255, width=max(round(width * self.side), 1))


def _ngon(count: int, radius: float = 0.5, turn: float = -90.0, x: float = 0.5, y: float = 0.5) -> tuple[_XY, ...]:
    angles = (math.radians(turn + 360 * i / count) for i in range(count))
    return tuple((x + radius * math.cos(a), y + radius * math.sin(a)) for a in angles)


def _star_points(inner: float = 0.2) -> tuple[_XY, ...]:
    outer, within = _ngon(5, 0.5, y=0.53), _ngon(5, inner, turn=-54, y=0.53)
    return tuple(point for pair in zip(outer, within, strict=True) for point in pair)


def _heart_points() -> tuple[_XY, ...]:
    points = []
    for i in range(40):
        t = 2 * math.pi * i / 40
        x = 16 * math.sin(t) ** 3
        y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
        points.append((0.5 + x / 34, 0.46 - y / 34))
    return tuple(points)


def _gear(b: Brush) -> None:
    for i in range(8):
        a = math.radians(45 * i)
        b.line((0.5, 0.5), (0.5 + 0.4 * math.cos(a), 0.5 + 0.4 * math.sin(a)), width=0.16)
    b.disc(0.5, 0.5, 0.33)
    b.disc(0.5, 0.5, 0.15, gray=0)


def _trash(b: Brush) -> None:
    b.box(0.12, 0.18, 0.88, 0.27, corner=0.03)
    b.box(0.38, 0.06, 0.62, 0.2, corner=0.03)
    b.poly((0.2, 0.33), (0.8, 0.33), (0.74, 0.95), (0.26, 0.95))
    for x in (0.38, 0.5, 0.62):
        b.line((x, 0.43), (x, 0.84), width=0.05, gray=0)


def _folder(b: Brush) -> None:
    b.box(0.05, 0.18, 0.45, 0.5, corner=0.06)
    b.box(0.05, 0.28, 0.95, 0.86, corner=0.06)


def _file(b: Brush) -> None:
    b.poly((0.18, 0.04), (0.6, 0.04), (0.84, 0.28), (0.84, 0.96), (0.18, 0.96))
    b.poly((0.6, 0.04), (0.6, 0.28), (0.84, 0.28), gray=110)
    for y in (0.45, 0.6, 0.75):
        b.line((0.32, y), (0.7, y), width=0.05, gray=0)


def _home(b: Brush) -> None:
    b.poly((0.5, 0.06), (0.97, 0.52), (0.03, 0.52))
    b.box(0.16, 0.48, 0.84, 0.93)
    b.box(0.41, 0.62, 0.59, 0.93, gray=0)


def _search(b: Brush) -> None:
    b.arc(0.42, 0.42, 0.32, 0, 360, 0.11)
    b.line((0.65, 0.65), (0.9, 0.9), width=0.14)


def _mail(b: Brush) -> None:
    b.box(0.04, 0.2, 0.96, 0.82, corner=0.05)
    b.line((0.08, 0.27), (0.5, 0.58), (0.92, 0.27), width=0.06, gray=0)


def _bell(b: Brush) -> None:
    b.disc(0.5, 0.38, 0.28)
    b.poly((0.22, 0.38), (0.78, 0.38), (0.8, 0.64), (0.92, 0.76), (0.08, 0.76), (0.2, 0.64))
    b.disc(0.5, 0.85, 0.1)


def _lock(b: Brush) -> None:
    b.arc(0.5, 0.36, 0.24, 180, 360, 0.1)
    b.line((0.31, 0.36), (0.31, 0.5))
    b.line((0.69, 0.36), (0.69, 0.5))
    b.box(0.18, 0.46, 0.82, 0.94, corner=0.06)
    b.disc(0.5, 0.66, 0.08, gray=0)


def _user(b: Brush) -> None:
    b.disc(0.5, 0.29, 0.22)
    b.disc(0.5, 0.98, 0.42)


def _download(b: Brush) -> None:
    b.line((0.5, 0.1), (0.5, 0.6), width=0.13)
    b.poly((0.24, 0.42), (0.76, 0.42), (0.5, 0.74))
    b.line((0.14, 0.72), (0.14, 0.9), (0.86, 0.9), (0.86, 0.72))


def _upload(b: Brush) -> None:
    b.line((0.5, 0.66), (0.5, 0.3), width=0.13)
    b.poly((0.24, 0.4), (0.76, 0.4), (0.5, 0.08))
    b.line((0.14, 0.72), (0.14, 0.9), (0.86, 0.9), (0.86, 0.72))


def _refresh(b: Brush) -> None:
    b.arc(0.5, 0.52, 0.38, 0, 290, 0.11)
    b.poly((0.62, 0.02), (0.62, 0.4), (0.9, 0.2))


def _camera(b: Brush) -> None:
    b.box(0.3, 0.14, 0.7, 0.4, corner=0.04)
    b.box(0.04, 0.26, 0.96, 0.86, corner=0.08)
    b.disc(0.5, 0.56, 0.22, gray=0)
    b.disc(0.5, 0.56, 0.14)


def _calendar(b: Brush) -> None:
    b.box(0.08, 0.14, 0.92, 0.94, corner=0.06)
    b.box(0.15, 0.36, 0.85, 0.87, gray=0)
    for x in (0.3, 0.5, 0.7):
        for y in (0.5, 0.72):
            b.box(x - 0.06, y - 0.06, x + 0.06, y + 0.06)
    b.line((0.3, 0.06), (0.3, 0.2))
    b.line((0.7, 0.06), (0.7, 0.2))


def _terminal(b: Brush) -> None:
    b.box(0.03, 0.1, 0.97, 0.9, corner=0.08)
    b.line((0.2, 0.32), (0.4, 0.5), (0.2, 0.68), width=0.08, gray=0)
    b.line((0.48, 0.7), (0.74, 0.7), width=0.08, gray=0)


def _image(b: Brush) -> None:
    b.box(0.04, 0.12, 0.96, 0.88, corner=0.06)
    b.box(0.11, 0.19, 0.89, 0.81, gray=0)
    b.poly((0.14, 0.78), (0.38, 0.42), (0.56, 0.64), (0.68, 0.52), (0.86, 0.78))
    b.disc(0.7, 0.34, 0.08)


def _music(b: Brush) -> None:
    b.line((0.36, 0.78), (0.36, 0.14), (0.84, 0.08), (0.84, 0.68))
    b.disc(0.25, 0.8, 0.16)
    b.disc(0.73, 0.7, 0.16)


def _chart(b: Brush) -> None:
    for left, top in ((0.08, 0.55), (0.32, 0.3), (0.56, 0.45), (0.8, 0.12)):
        b.box(left, top, left + 0.15, 0.92)


def _cart(b: Brush) -> None:
    b.line((0.05, 0.14), (0.2, 0.14), (0.34, 0.64), (0.82, 0.64), width=0.08)
    b.poly((0.24, 0.24), (0.95, 0.24), (0.84, 0.54), (0.33, 0.54))
    b.disc(0.4, 0.84, 0.09)
    b.disc(0.76, 0.84, 0.09)


def _pencil(b: Brush) -> None:
    b.poly((0.1, 0.9), (0.14, 0.66), (0.62, 0.18), (0.82, 0.38), (0.34, 0.86))
    b.poly((0.68, 0.12), (0.76, 0.04), (0.96, 0.24), (0.88, 0.32))


def _strokes(*lines: tuple[_XY, ...], width: float = 0.1) -> Callable[[Brush], None]:
    """Return an icon of a few lines."""

    def draw(b: Brush) -> None:
        for points in lines:
            b.line(*points, width=width)

    return draw


def _boxes(*boxes: tuple[float, float, float, float, int]) -> Callable[[Brush], None]:
    """Return an icon of rectangles (left, top, right, bottom, gray)."""

    def draw(b: Brush) -> None:
        for left, top, right, bottom, gray in boxes:
            b.box(left, top, right, bottom, gray)

    return draw


def _more(b: Brush) -> None:
    for x in (0.16, 0.5, 0.84):
        b.disc(x, 0.5, 0.1)


def _arrow(b: Brush) -> None:
    b.poly((0.55, 0.1), (1.0, 0.5), (0.55, 0.9))
    b.box(0.0, 0.36, 0.58, 0.64)


ICONS: dict[str, Callable[[Brush], None]] = {
    "close": _strokes(((0.15, 0.15), (0.85, 0.85)), ((0.85, 0.15), (0.15, 0.85))),
    "plus": _strokes(((0.5, 0.1), (0.5, 0.9)), ((0.1, 0.5), (0.9, 0.5)), width=0.13),
    "minus": lambda b: b.line((0.12, 0.5), (0.88, 0.5), width=0.13),
    "menu": _strokes(((0.1, 0.2), (0.9, 0.2)), ((0.1, 0.5), (0.9, 0.5)), ((0.1, 0.8), (0.9, 0.8)), width=0.11),
    "more": _more,
    "check": lambda b: b.line((0.12, 0.55), (0.4, 0.82), (0.88, 0.2), width=0.14),
    "gear": _gear,
    "search": _search,
    "trash": _trash,
    "folder": _folder,
    "file": _file,
    "home": _home,
    "back": _strokes(((0.9, 0.5), (0.14, 0.5)), ((0.46, 0.16), (0.12, 0.5), (0.46, 0.84))),
    "forward": _strokes(((0.1, 0.5), (0.86, 0.5)), ((0.54, 0.16), (0.88, 0.5), (0.54, 0.84))),
    "up": _strokes(((0.5, 0.9), (0.5, 0.14)), ((0.16, 0.46), (0.5, 0.12), (0.84, 0.46))),
    "star": lambda b: b.poly(*_star_points()),
    "heart": lambda b: b.poly(*_heart_points()),
    "mail": _mail,
    "bell": _bell,
    "play": lambda b: b.poly((0.2, 0.08), (0.92, 0.5), (0.2, 0.92)),
    "pause": _boxes((0.18, 0.1, 0.41, 0.9, 255), (0.59, 0.1, 0.82, 0.9, 255)),
    "stop": lambda b: b.box(0.14, 0.14, 0.86, 0.86, corner=0.05),
    "download": _download,
    "upload": _upload,
    "refresh": _refresh,
    "user": _user,
    "lock": _lock,
    "camera": _camera,
    "calendar": _calendar,
    "terminal": _terminal,
    "picture": _image,
    "music": _music,
    "chart": _chart,
    "cart": _cart,
    "edit": _pencil,
    "chevron": lambda b: b.line((0.15, 0.35), (0.5, 0.68), (0.85, 0.35), width=0.12),
    "maximize": _boxes((0.1, 0.1, 0.9, 0.9, 255), (0.2, 0.2, 0.8, 0.8, 0)),
}

SHAPES: dict[str, Callable[[Brush], None]] = {
    "circle": lambda b: b.disc(0.5, 0.5, 0.5),
    "square": lambda b: b.box(0.04, 0.04, 0.96, 0.96),
    "triangle": lambda b: b.poly((0.5, 0.03), (1.0, 0.95), (0.0, 0.95)),
    "star": lambda b: b.poly(*_star_points()),
    "diamond": lambda b: b.poly((0.5, 0.0), (0.92, 0.5), (0.5, 1.0), (0.08, 0.5)),
    "pentagon": lambda b: b.poly(*_ngon(5, y=0.53)),
    "hexagon": lambda b: b.poly(*_ngon(6, turn=0)),
    "heart": lambda b: b.poly(*_heart_points()),
    "cross": _boxes((0.34, 0.02, 0.66, 0.98, 255), (0.02, 0.34, 0.98, 0.66, 255)),
    "ring": lambda b: b.arc(0.5, 0.5, 0.5, 0, 360, 0.18),
    "arrow": _arrow,
    "oval": lambda b: b.poly(*((0.5 + 0.5 * (x - 0.5) * 2, 0.5 + 0.6 * (y - 0.5)) for x, y in _ngon(48))),
}


@lru_cache(maxsize=4096)
def icon(name: str, size: int) -> Image.Image:
    """Return an icon's coverage mask, mode "L", ``size`` pixels square."""
    return draw_mask(ICONS[name], size)


@lru_cache(maxsize=2048)
def shape(name: str, size: int) -> Image.Image:
    """Return a shape's coverage mask, mode "L", ``size`` pixels square."""
    return draw_mask(SHAPES[name], size)


def draw_mask(draw: Callable[[Brush], None], size: int) -> Image.Image:
    """Return the coverage mask that a function draws, mode "L", ``size`` pixels square."""
    brush = Brush(size)
    draw(brush)
    return brush.image.resize((size, size), Image.Resampling.BOX)


# Names of the colours of shapes in instructions.
COLORS: dict[str, tuple[int, int, int]] = {
    "red": (220, 40, 40),
    "orange": (245, 140, 20),
    "yellow": (240, 205, 30),
    "green": (40, 160, 60),
    "blue": (40, 90, 220),
    "purple": (130, 60, 190),
    "pink": (240, 110, 180),
    "brown": (130, 80, 40),
    "gray": (128, 128, 128),
    "black": (25, 25, 25),
    "white": (250, 250, 250),
    "cyan": (30, 195, 215),
}
