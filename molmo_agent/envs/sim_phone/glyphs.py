"""Icons that only a phone has, beside those of the simulated desktop."""

import math
from collections.abc import Callable
from functools import lru_cache

from PIL import Image

from molmo_agent.envs.drawing.icons import ICONS, Brush, draw_mask


def _clock(b: Brush) -> None:
    b.arc(0.5, 0.5, 0.46, 0, 360, 0.1)
    b.line((0.5, 0.24), (0.5, 0.53), (0.68, 0.64), width=0.09)


def _bubble(b: Brush) -> None:
    b.box(0.06, 0.1, 0.94, 0.72, corner=0.16)
    b.poly((0.2, 0.68), (0.2, 0.96), (0.48, 0.7))
    for x in (0.3, 0.5, 0.7):
        b.disc(x, 0.41, 0.06, gray=0)


def _handset(b: Brush) -> None:
    b.line((0.22, 0.2), (0.27, 0.45), (0.42, 0.62), (0.58, 0.74), (0.8, 0.79), width=0.2)
    b.line((0.2, 0.16), (0.3, 0.3), width=0.26)
    b.line((0.7, 0.7), (0.84, 0.8), width=0.26)


def _globe(b: Brush) -> None:
    b.disc(0.5, 0.5, 0.46)
    for x in (0.24, 0.5, 0.76):
        b.line((x, 0.08), (x, 0.92), width=0.045, gray=0)
    for y in (0.3, 0.5, 0.7):
        b.line((0.06, y), (0.94, y), width=0.045, gray=0)


def _pin(b: Brush) -> None:
    b.disc(0.5, 0.36, 0.32)
    b.poly((0.205, 0.48), (0.795, 0.48), (0.5, 0.97))
    b.disc(0.5, 0.36, 0.13, gray=0)


def _sun(b: Brush) -> None:
    b.disc(0.5, 0.5, 0.21)
    for i in range(8):
        c, s = math.cos(math.pi * i / 4), math.sin(math.pi * i / 4)
        b.line((0.5 + 0.33 * c, 0.5 + 0.33 * s), (0.5 + 0.44 * c, 0.5 + 0.44 * s), width=0.08)


def _moon(b: Brush) -> None:
    b.disc(0.48, 0.52, 0.42)
    b.disc(0.66, 0.38, 0.34, gray=0)


def _wifi(b: Brush) -> None:
    for radius in (0.18, 0.42, 0.66):
        b.arc(0.5, 0.86, radius, 225, 315, 0.11)
    b.disc(0.5, 0.84, 0.08)


def _signal(b: Brush) -> None:
    b.poly((0.06, 0.94), (0.94, 0.94), (0.94, 0.06))


def _battery(b: Brush) -> None:
    b.box(0.34, 0.03, 0.66, 0.16, corner=0.03)
    b.box(0.22, 0.11, 0.78, 0.98, corner=0.08)
    b.box(0.31, 0.2, 0.69, 0.38, gray=90)


def _bluetooth(b: Brush) -> None:
    b.line((0.24, 0.28), (0.74, 0.7), (0.5, 0.92), (0.5, 0.08), (0.74, 0.3), (0.24, 0.72), width=0.09)


def _plane(b: Brush) -> None:
    b.line((0.5, 0.1), (0.5, 0.86), width=0.14)
    b.poly((0.5, 0.32), (0.97, 0.62), (0.97, 0.72), (0.5, 0.58), (0.03, 0.72), (0.03, 0.62))
    b.poly((0.5, 0.76), (0.7, 0.9), (0.7, 0.97), (0.5, 0.92), (0.3, 0.97), (0.3, 0.9))


def _rotate(b: Brush) -> None:
    b.arc(0.5, 0.5, 0.42, 20, 300, 0.1)
    b.poly((0.58, 0.02), (0.9, 0.2), (0.6, 0.36))


def _speaker(b: Brush) -> None:
    b.poly((0.06, 0.36), (0.26, 0.36), (0.52, 0.12), (0.52, 0.88), (0.26, 0.64), (0.06, 0.64))
    b.arc(0.5, 0.5, 0.3, -50, 50, 0.09)
    b.arc(0.5, 0.5, 0.46, -50, 50, 0.09)


def _send(b: Brush) -> None:
    b.poly((0.06, 0.1), (0.96, 0.5), (0.06, 0.9), (0.06, 0.6), (0.6, 0.5), (0.06, 0.4))


def _keypad(b: Brush) -> None:
    b.box(0.12, 0.04, 0.88, 0.96, corner=0.1)
    b.box(0.23, 0.14, 0.77, 0.34, gray=0)
    for y in (0.48, 0.66, 0.84):
        for x in (0.29, 0.5, 0.71):
            b.box(x - 0.06, y - 0.05, x + 0.06, y + 0.05, gray=0)


def _shift(b: Brush) -> None:
    b.poly((0.5, 0.08), (0.94, 0.54), (0.68, 0.54), (0.68, 0.9), (0.32, 0.9), (0.32, 0.54), (0.06, 0.54))


def _erase(b: Brush) -> None:
    b.poly((0.02, 0.5), (0.3, 0.14), (0.98, 0.14), (0.98, 0.86), (0.3, 0.86))
    b.line((0.46, 0.34), (0.78, 0.66), width=0.08, gray=0)
    b.line((0.78, 0.34), (0.46, 0.66), width=0.08, gray=0)


def _enter(b: Brush) -> None:
    b.line((0.88, 0.22), (0.88, 0.58), (0.2, 0.58), width=0.11)
    b.poly((0.36, 0.3), (0.36, 0.86), (0.04, 0.58))


def _triangle(b: Brush) -> None:
    b.poly((0.86, 0.06), (0.86, 0.94), (0.1, 0.5))


GLYPHS: dict[str, Callable[[Brush], None]] = {
    **ICONS,
    "clock": _clock,
    "bubble": _bubble,
    "handset": _handset,
    "globe": _globe,
    "pin": _pin,
    "sun": _sun,
    "moon": _moon,
    "wifi": _wifi,
    "signal": _signal,
    "battery": _battery,
    "bluetooth": _bluetooth,
    "plane": _plane,
    "rotate": _rotate,
    "speaker": _speaker,
    "send": _send,
    "keypad": _keypad,
    "shift": _shift,
    "erase": _erase,
    "enter": _enter,
    "triangle": _triangle,
    "go": lambda b: b.line((0.34, 0.14), (0.7, 0.5), (0.34, 0.86), width=0.11),
}
"""Every icon of a phone by its name."""


@lru_cache(maxsize=2048)
def glyph(name: str, size: int) -> Image.Image:
    """Return an icon's coverage mask, mode "L", ``size`` pixels square."""
    return draw_mask(GLYPHS[name], size)
