"""Draws what a dial sits in: cases, straps, frames, stands."""

import math

from molmo_agent.pixmo.clocks.design import FINISHES, Clock, Color
from molmo_agent.pixmo.clocks.pen import Pen, mixed


def draw_body(pen: Pen, clock: Clock) -> None:
    """Draw the body of a clock behind its dial, whose radius is the pen's."""
    light, dark = FINISHES[clock.body.finish]
    silhouette = clock.body.silhouette
    if clock.body.worn:
        _strap(pen, clock.photo.strap, silhouette, light)
        _crown(pen, light, dark)
    if silhouette in _OUTLINES:
        _OUTLINES[silhouette](pen, light, dark)
    else:
        _round(pen, light, dark)


def _round(pen: Pen, light: Color, dark: Color, width: float = 1.16) -> None:
    pen.disc(width, dark)
    pen.disc(width - 0.02, light)
    pen.disc(1.05, mixed(light, dark, 0.6))


def _strap(pen: Pen, color: Color, silhouette: str, metal: Color) -> None:
    width = {"dress-watch": 0.5, "smart-watch": 0.72}.get(silhouette, 0.62)
    for side in (-1, 1):
        far, near = side * 4.5, side * 0.9
        corners = [(-width * 0.86, far), (width * 0.86, far), (width, near), (-width, near)]
        pen.draw.polygon([(pen.x + x * pen.radius, pen.y + y * pen.radius) for x, y in corners], fill=color)
        if silhouette == "diver-watch":
            for i in range(14):
                y = side * (1.2 + 0.24 * i)
                pen.line(_polar(-width, y), _polar(width, y), 0.05, mixed(color, metal, 0.5))
        elif silhouette in ("field-watch", "dress-watch"):
            for x in (-width * 0.8, width * 0.8):
                pen.line(_polar(x, side * 1.2), _polar(x, far), 0.02, mixed(color, (255, 255, 255), 0.45))
    for x in (-0.68, 0.68):
        pen.draw.rectangle(_box(pen, x - 0.09, -1.22, x + 0.09, 1.22), fill=metal)


def _crown(pen: Pen, light: Color, dark: Color) -> None:
    pen.draw.rectangle(_box(pen, 1.1, -0.1, 1.28, 0.1), fill=mixed(light, dark, 0.4), outline=dark)


def _polar(x: float, y: float) -> tuple[float, float]:
    return math.degrees(math.atan2(x, -y)), math.hypot(x, y)


def _box(pen: Pen, left: float, top: float, right: float, bottom: float) -> list[float]:
    r = pen.radius
    return [pen.x + left * r, pen.y + top * r, pen.x + right * r, pen.y + bottom * r]


def _square(pen: Pen, light: Color, dark: Color) -> None:
    pen.rounded(1.17, 1.17, 0.3, dark)
    pen.rounded(1.15, 1.15, 0.28, light)
    pen.rounded(1.05, 1.05, 0.24, mixed(light, dark, 0.6))


def _tonneau(pen: Pen, light: Color, dark: Color) -> None:
    pen.draw.ellipse(_box(pen, -1.22, -1.62, 1.22, 1.62), fill=dark)
    pen.draw.ellipse(_box(pen, -1.2, -1.6, 1.2, 1.6), fill=light)
    pen.disc(1.04, mixed(light, dark, 0.7))


def _cushion(pen: Pen, light: Color, dark: Color) -> None:
    pen.rounded(1.2, 1.2, 0.55, dark)
    pen.rounded(1.18, 1.18, 0.54, light)
    pen.disc(1.05, mixed(light, dark, 0.6))


def _octagon(pen: Pen, light: Color, dark: Color) -> None:
    pen.polygon(1.3, 8, 22.5, dark)
    pen.polygon(1.27, 8, 22.5, light)
    for i in range(8):
        pen.at((22.5 + i * 45, 1.16), 0.04).disc(1.0, dark)
    pen.disc(1.05, mixed(light, dark, 0.6))


def _diver(pen: Pen, light: Color, dark: Color) -> None:
    for i in range(36):
        pen.at((i * 10, 1.26), 0.06).disc(1.0, mixed(light, dark, 0.5))
    pen.disc(1.27, light)
    pen.disc(1.24, mixed(dark, (10, 20, 50), 0.6))
    for i in range(60):
        pen.line((i * 6, 1.17 if i % 5 else 1.1), (i * 6, 1.22), 0.02, (235, 235, 235))
    pen.shape(0, [(1.23, -0.07), (1.23, 0.07), (1.08, 0)], (240, 200, 60))
    pen.disc(1.04, light)


def _field(pen: Pen, light: Color, dark: Color) -> None:
    pen.disc(1.13, dark)
    pen.disc(1.08, mixed(light, dark, 0.35))


def _dress(pen: Pen, light: Color, dark: Color) -> None:
    pen.disc(1.08, dark)
    pen.disc(1.07, light)


def _pocket(pen: Pen, light: Color, dark: Color) -> None:
    for i in range(9):
        pen.at((24 + i * 2.5, 1.75 + 0.14 * i), 0.07).ring(1.0, 0.4, light)
    pen.at((0, 1.55), 0.25).ring(1.0, 0.22, light)
    pen.draw.rectangle(_box(pen, -0.13, -1.4, 0.13, -1.05), fill=mixed(light, dark, 0.4))
    _round(pen, light, dark, 1.2)


def _sunburst(pen: Pen, light: Color, dark: Color) -> None:
    for i in range(24):
        length = 1.75 if i % 2 else 1.5
        pen.shape(i * 15.0, [(1.0, -0.09), (1.0, 0.09), (length, 0.0)], light if i % 2 else dark)
    _round(pen, light, dark, 1.1)


def _ship_wheel(pen: Pen, light: Color, dark: Color) -> None:
    for i in range(8):
        pen.line((i * 45, 1.0), (i * 45, 1.6), 0.1, dark)
        pen.at((i * 45, 1.64), 0.09).disc(1.0, light)
    pen.disc(1.38, dark)
    pen.disc(1.34, light)
    pen.disc(1.08, dark)


def _station(pen: Pen, light: Color, dark: Color) -> None:
    pen.draw.rectangle(_box(pen, -0.09, -4.5, 0.09, -1.0), fill=dark)
    pen.draw.rectangle(_box(pen, -0.35, -1.32, 0.35, -1.12), fill=dark)
    _round(pen, light, dark, 1.2)


def _alarm(pen: Pen, light: Color, dark: Color) -> None:
    for angle in (-32, 32):
        pen.at((angle, 1.38), 0.36).disc(1.0, dark)
        pen.at((angle, 1.4), 0.32).disc(1.0, light)
        pen.line((180 + angle, 1.0), (180 + angle, 1.5), 0.14, dark)
    pen.draw.rectangle(_box(pen, -0.06, -1.6, 0.06, -1.1), fill=dark)
    pen.draw.rectangle(_box(pen, -0.22, -1.7, 0.22, -1.58), fill=dark)
    _round(pen, light, dark, 1.18)


def _mantel(pen: Pen, light: Color, dark: Color) -> None:
    pen.draw.ellipse(_box(pen, -1.3, -1.35, 1.3, 1.25), fill=dark)
    corners = [(-1.1, 0.5), (-1.9, 1.35), (1.9, 1.35), (1.1, 0.5)]
    pen.draw.polygon([(pen.x + x * pen.radius, pen.y + y * pen.radius) for x, y in corners], fill=dark)
    pen.draw.rectangle(_box(pen, -2.0, 1.3, 2.0, 1.55), fill=mixed(light, dark, 0.3))
    _round(pen, light, dark, 1.1)


def _cuckoo(pen: Pen, light: Color, dark: Color) -> None:
    pen.draw.rectangle(_box(pen, -1.3, -1.3, 1.3, 1.45), fill=light)
    roof = [(-1.75, -1.0), (0.0, -2.3), (1.75, -1.0), (1.55, -0.85), (0.0, -1.95), (-1.55, -0.85)]
    pen.draw.polygon([(pen.x + x * pen.radius, pen.y + y * pen.radius) for x, y in [*roof[:3]]], fill=light)
    pen.draw.polygon([(pen.x + x * pen.radius, pen.y + y * pen.radius) for x, y in roof], fill=dark)
    pen.rounded(0.2, 0.22, 0.1, dark, dy=-1.45)
    for x, length in ((-0.5, 2.6), (0.5, 2.2)):
        pen.draw.line(_box(pen, x, 1.45, x, length), fill=dark, width=max(1, int(pen.radius * 0.03)))
        pen.draw.ellipse(_box(pen, x - 0.12, length, x + 0.12, length + 0.45), fill=dark)
    _round(pen, mixed(light, dark, 0.5), dark, 1.1)


def _tower(pen: Pen, light: Color, dark: Color) -> None:
    stone = mixed(light, (170, 160, 145), 0.6)
    pen.draw.rectangle(_box(pen, -1.35, -1.5, 1.35, 4.5), fill=stone)
    for i in range(15):
        y = -1.35 + 0.38 * i
        pen.draw.line(_box(pen, -1.35, y, 1.35, y), fill=mixed(stone, dark, 0.3))
    corners = [(-1.55, -1.5), (0.0, -2.7), (1.55, -1.5)]
    pen.draw.polygon([(pen.x + x * pen.radius, pen.y + y * pen.radius) for x, y in corners], fill=dark)
    _round(pen, light, dark, 1.12)


_OUTLINES = {
    "square-watch": _square,
    "smart-watch": _square,
    "square-wall": _square,
    "tonneau-watch": _tonneau,
    "cushion-watch": _cushion,
    "octagon-watch": _octagon,
    "octagon-wall": _octagon,
    "diver-watch": _diver,
    "field-watch": _field,
    "dress-watch": _dress,
    "pocket-watch": _pocket,
    "sunburst-wall": _sunburst,
    "ship-wheel": _ship_wheel,
    "station": _station,
    "alarm": _alarm,
    "mantel": _mantel,
    "cuckoo": _cuckoo,
    "tower": _tower,
}
