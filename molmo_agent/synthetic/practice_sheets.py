"""Dense practice sheets: rows of words, buttons, labelled boxes and coloured shapes in all fonts and colours.

A curriculum uses them before whole desktops, to teach reading and searching at any image size.
"""

import math
from functools import lru_cache
from random import Random
from typing import Literal

from PIL import Image, ImageDraw

from molmo_agent.envs.drawing.annotated_screen import Screen
from molmo_agent.envs.drawing.canvas import Canvas, Color, IntBox, mix
from molmo_agent.envs.drawing.fonts import FAMILIES, Face, face
from molmo_agent.envs.drawing.words import WordSplit, short_text

Split = Literal["train", "held_out_fonts", "held_out_words"]

COLORS: dict[str, Color] = {
    "red": (214, 48, 49),
    "green": (39, 154, 74),
    "blue": (43, 98, 220),
    "yellow": (244, 205, 40),
    "orange": (240, 135, 30),
    "purple": (135, 66, 180),
    "pink": (240, 120, 180),
    "brown": (132, 84, 50),
    "gray": (130, 130, 134),
    "black": (24, 24, 28),
}
SHAPES = ("circle", "square", "triangle", "star", "diamond", "hexagon")


@lru_cache(maxsize=4096)
def shape_mask(shape: str, side: int) -> Image.Image:
    """Return an antialiased mask of a shape that fills a square of ``side`` pixels."""
    big = side * 4
    mask = Image.new("L", (big, big))
    pen = ImageDraw.Draw(mask)
    middle, radius = big / 2, big / 2 - 1
    if shape == "circle":
        pen.ellipse((1, 1, big - 2, big - 2), 255)
    elif shape == "square":
        pen.rectangle((big // 16, big // 16, big - big // 16, big - big // 16), 255)
    else:
        corners = {"triangle": 3, "star": 10, "diamond": 4, "hexagon": 6}[shape]
        points = []
        for i in range(corners):
            reach = radius * (0.42 if shape == "star" and i % 2 else 1)
            angle = 2 * math.pi * i / corners - math.pi / 2
            points.append((middle + reach * math.cos(angle), middle + reach * math.sin(angle)))
        pen.polygon(points, 255)
    return mask.resize((side, side), Image.Resampling.BOX)


def _random_color(rng: Random) -> Color:
    return rng.randrange(256), rng.randrange(256), rng.randrange(256)


def _brightness(color: Color) -> float:
    return 0.3 * color[0] + 0.59 * color[1] + 0.11 * color[2]


def _ink_on(ground: Color, rng: Random) -> Color:
    """Return a text colour with enough contrast to a background: near black or white, sometimes tinted."""
    target: Color = (15, 15, 20) if _brightness(ground) > 128 else (245, 245, 248)
    return mix(target, _random_color(rng), rng.choice((0.0, 0.0, 0.1, 0.3)))


def sample_sheet(seed: int, *, width: int, height: int, split: Split = "train", shapes: float = 0.15) -> Screen:
    """Draw one sheet.

    Args:
        seed: the same seed draws the same sheet.
        width: pixels.
        height: pixels.
        split: the fonts and words to draw from.
        shapes: share of coloured shapes among the items.
    """
    rng = Random(seed)
    families = [f.name for f in FAMILIES.values() if f.held_out == (split == "held_out_fonts")]
    words: WordSplit = "held_out" if split == "held_out_words" else "train"
    ground = rng.choice(
        [(255, 255, 255), (240, 240, 240), (225, 228, 234), (36, 38, 44), (20, 20, 24), _random_color(rng)]
    )
    canvas = Canvas(width, height, Image.new("RGB", (width, height), ground), aliased=rng.random() < 0.08)
    usual = rng.choice(families)
    usual_size = rng.choice((10, 11, 12, 12, 13, 13, 14, 15, 16))
    gap = rng.choice((4, 8, 14, 24))
    y = rng.randrange(2, 12)
    while y < height - 14:
        x, tallest = rng.randrange(2, 24), 0
        while x < width - 20:
            letters = face(
                usual if rng.random() < 0.5 else rng.choice(families),
                usual_size if rng.random() < 0.6 else rng.randrange(9, 20),
                rng.random() < 0.15,
            )
            if rng.random() < shapes:
                size = _draw_shape(canvas, x, y, rng)
            else:
                size = _draw_item(canvas, x, y, short_text(rng, words), letters, ground, rng)
            x += size[0] + gap + rng.randrange(12)
            tallest = max(tallest, size[1])
        y += tallest + rng.choice((2, 6, 12))
    return canvas.finish()


def _draw_shape(canvas: Canvas, x: int, y: int, rng: Random) -> tuple[int, int]:
    size = rng.choice(("small", "large"))
    side = rng.randrange(12, 18) if size == "small" else rng.randrange(24, 36)
    shape, color = rng.choice(SHAPES), rng.choice(list(COLORS))
    wobble = 0.12
    canvas.tint(shape_mask(shape, side), x, y, mix(COLORS[color], _random_color(rng), rng.random() * wobble))
    canvas.mark("shape", f"{color} {shape}", (x, y, x + side, y + side), color=color, shape=shape, size=size)
    return side, side


def _draw_item(canvas: Canvas, x: int, y: int, text: str, letters: Face, ground: Color, rng: Random) -> tuple[int, int]:
    """Draw one labelled item and return its (width, height)."""
    kind = rng.choice(("text", "text", "button", "button", "link", "checkbox", "radio", "field"))
    wide, high = letters.width(text), letters.height
    ink = _ink_on(ground, rng)
    edge = mix(ground, ink, 0.45)
    if kind in ("text", "link"):
        color = (
            ink if kind == "text" else mix((20, 90, 220), ink, 0.1) if _brightness(ground) > 100 else (130, 180, 255)
        )
        run = canvas.text(x, y, text, letters, color)
        if kind == "link" and rng.random() < 0.6:
            canvas.line((x, y + letters.ascent + 2, x + wide, y + letters.ascent + 2), color)
        canvas.mark(kind, text, (x, y, x + wide, y + high), run)
        return wide, high
    if kind == "button":
        fill = mix(ground, _random_color(rng), rng.choice((0.1, 0.9)))
        across, down = rng.randrange(4, 16), rng.randrange(2, 8)
        box: IntBox = (x, y, x + wide + 2 * across, y + high + 2 * down)
        canvas.plate(box, rng.choice((0, 3, 5, 20)), fill, edge if rng.random() < 0.7 else None)
        run = canvas.text(x + across, y + down, text, letters, _ink_on(fill, rng))
        canvas.mark(kind, text, box, run)
        return box[2] - x, box[3] - y
    if kind == "field":
        run = canvas.text(x, y + 3, text, letters, ink)
        left = x + wide + 6
        box = (left, y, left + rng.randrange(40, 130), y + high + 6)
        canvas.plate(box, rng.choice((0, 3)), mix(ground, (255, 255, 255), 0.6), edge)
        canvas.mark(kind, text, box, run)
        return box[2] - x, box[3] - y
    side = rng.randrange(11, 17)
    top = y + max((high - side) // 2, 0)
    box = (x, top, x + side, top + side)
    fill = (255, 255, 255) if rng.random() < 0.7 else mix(ground, (255, 255, 255), 0.3)
    canvas.plate(box, side // 2 if kind == "radio" else rng.choice((0, 2, 3)), fill, edge)
    if rng.random() < 0.4:
        dot = (44, 100, 220)
        if kind == "radio":
            canvas.plate((x + 4, top + 4, x + side - 4, top + side - 4), side, dot)
        else:
            canvas.line((x + 3, top + side // 2, x + side // 2 - 1, top + side - 4, x + side - 3, top + 3), dot, 2)
    run = canvas.text(x + side + 5, y, text, letters, ink)
    canvas.mark(kind, text, box, run)
    return side + 5 + wide, max(high, side)
