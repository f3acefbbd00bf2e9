"""Draws a clock: background, body, face, hands, and the photo of it."""

import math
from functools import lru_cache
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageChops
import PIL.ImageDraw
import PIL.ImageFilter
import PIL.ImageFont

import molmo_agent.envs.drawing
from molmo_agent.episode import Image
from molmo_agent.pixmo.clocks.bodies import draw_body
from molmo_agent.pixmo.clocks.design import Clock, Face, Photo, Time
from molmo_agent.pixmo.clocks.pen import Pen, mixed

SIDE = 320
"""Width and height of a picture."""
_SCALE = 2
_ROMAN = ("XII", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI")
_FONT_FILES = sorted(
    path
    for path in (Path(molmo_agent.envs.drawing.__file__).parent / "font_files").glob("*.[to]tf")
    if "cjk" not in path.name
)


def draw_clock(clock: Clock, side: int = SIDE) -> Image:
    """Return the picture of a clock, (side, side, 3) uint8; the same clock gives the same picture."""
    size = side * _SCALE
    rng = np.random.default_rng([0xD1A1, clock.seed])
    canvas = _background(clock.photo, size, rng)
    photo = clock.photo
    # Wider than the picture: a strap must not end where the tilted clock is moved away from the edge.
    wide = round(size * 1.4)
    layer = PIL.Image.new("RGBA", (wide, wide))
    pen = Pen(PIL.ImageDraw.Draw(layer), wide / 2, wide / 2, photo.radius * size)
    draw_body(pen, clock)
    _face(pen, clock)
    if photo.reflection:
        layer = _reflected(layer, pen, photo.reflection, rng)
    layer = _seen(layer, photo, size)
    shadow = PIL.Image.new("L", (size // 4, size // 4))
    shadow.paste(layer.getchannel("A").resize(shadow.size).point(lambda value: value // 2))
    shadow = shadow.filter(PIL.ImageFilter.GaussianBlur(size / 160)).resize((size, size))
    canvas.paste((0, 0, 0), (size // 80, size // 60), shadow)
    canvas.paste(layer, (0, 0), layer)
    picture = canvas.resize((side, side), PIL.Image.Resampling.BOX)
    if photo.blur:
        picture = picture.filter(PIL.ImageFilter.GaussianBlur(photo.blur))
    pixels = np.asarray(picture, dtype=np.float32) * photo.light
    if photo.noise:
        pixels = pixels + rng.normal(0, photo.noise, pixels.shape).astype(np.float32)
    return np.clip(pixels, 0, 255).astype(np.uint8)


def draw_close(clock: Clock, side: int = SIDE) -> Image:
    """Return the picture of a clock, cut to its dial with a margin that varies; (side, side, 3) uint8.

    The margin is 15 to 45 % of the dial's radius, and the dial is up to 8 % of it off the middle: about the form
    ``crop`` of the clock benchmark, where the clock was found by a detector.
    """
    photo = clock.photo
    rng = np.random.default_rng([0xC105E, clock.seed])
    half = photo.radius * rng.uniform(1.15, 1.45)
    aside = rng.uniform(-0.08, 0.08, 2) * photo.radius
    picture = PIL.Image.fromarray(draw_clock(clock, max(side, math.ceil(side / (2 * half)))))
    # Near an edge of the picture, the clock is further off the middle.
    x, y = (min(max(0.5 + off, half), 1 - half) for off in (photo.dx + aside[0], photo.dy + aside[1]))
    box = tuple(picture.width * edge for edge in (x - half, y - half, x + half, y + half))
    return np.asarray(picture.resize((side, side), PIL.Image.Resampling.BILINEAR, box=box))


def _background(photo: Photo, size: int, rng: np.random.Generator) -> PIL.Image.Image:
    # Backgrounds are out of focus: a quarter of the pixels will do.
    small = size // 4
    first, second = (np.array(color, dtype=np.float32) for color in (photo.ground, photo.second_ground))
    y, x = np.mgrid[0:small, 0:small].astype(np.float32) / small
    angle = rng.uniform(0, 2 * math.pi)
    along = x * math.cos(angle) + y * math.sin(angle)
    if photo.background == "plain":
        share = np.zeros_like(x)
    elif photo.background == "wood":
        share = 0.5 + 0.25 * np.sin(40 * (y + 0.06 * np.sin(6 * x + angle)) + 3 * np.sin(9 * y))
    elif photo.background == "tiles":
        edge = ((x * 5 + angle) % 1 < 0.06) | ((y * 5) % 1 < 0.06)
        share = np.where(edge, 0.7, 0.0)
    elif photo.background == "cloth":
        share = 0.2 + 0.1 * np.sin(small * x * 1.6) * np.sin(small * y * 1.6)
    elif photo.background == "wall":
        rows = np.floor(y * 9)
        edge = ((x * 5 + (rows % 2) * 0.5) % 1 < 0.05) | ((y * 9) % 1 < 0.1)
        share = np.where(edge, 0.5, 0.1 * ((rows * 7 + np.floor(x * 5 + (rows % 2) * 0.5) * 13) % 5) / 5)
    else:
        share = (along - along.min()) / max(float(np.ptp(along)), 1e-6)
    pixels = first + (second - first) * share[..., None]
    image = PIL.Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if photo.background == "bokeh":
        draw = PIL.ImageDraw.Draw(image, "RGBA")
        for _ in range(14):
            cx, cy, r = rng.uniform(0, small), rng.uniform(0, small), rng.uniform(small / 30, small / 8)
            color = tuple(int(value) for value in rng.integers(120, 256, 3))
            draw.ellipse([cx - r, cy - r, cx + r, cy + r], fill=(*color, int(rng.integers(30, 120))))
        image = image.filter(PIL.ImageFilter.GaussianBlur(1.5))
    return image.resize((size, size), PIL.Image.Resampling.BILINEAR)


def _seen(layer: PIL.Image.Image, photo: Photo, size: int) -> PIL.Image.Image:
    """Turn, tilt and move the clock; return (size, size) pixels."""
    half, (tilt_x, tilt_y) = layer.width / 2, photo.tilt
    turn = math.radians(photo.turn_degrees)
    # From the picture back to the clock: a plane rotated about both axes, seen from three widths away.
    cos, sin = math.cos(turn), math.sin(turn)
    across, down = math.cos(3 * tilt_x), math.cos(3 * tilt_y)
    a, b, c, d = cos / across, sin / down, -sin / across, cos / down
    g, h = tilt_x / size * 1.4, tilt_y / size * 1.4
    x0, y0 = size * (0.5 + photo.dx), size * (0.5 + photo.dy)
    # (u, v) = (A (p - p0)) / (1 + k (p - p0)) + centre, written as the coefficients of PIL.
    w = 1 - g * x0 - h * y0
    data = (
        *(a + half * g, b + half * h, half * w - a * x0 - b * y0),
        *(c + half * g, d + half * h, half * w - c * x0 - d * y0),
        *(g, h, w),
    )
    scaled = [value / w for value in data[:8]]
    return layer.transform((size, size), PIL.Image.Transform.PERSPECTIVE, scaled, PIL.Image.Resampling.BILINEAR)


def _reflected(layer: PIL.Image.Image, pen: Pen, strength: float, rng: np.random.Generator) -> PIL.Image.Image:
    """Lay light that a glass reflects over the dial: a band, or the shape of a window."""
    shine = PIL.Image.new("L", layer.size)
    draw = PIL.ImageDraw.Draw(shine)
    r, x, y = pen.radius, pen.x + pen.radius * rng.uniform(-0.4, 0.2), pen.y
    fill = int(255 * strength)
    if rng.random() < 0.5:
        width = r * rng.uniform(0.25, 0.7)
        draw.polygon(
            [(x, y - 2 * r), (x + width, y - 2 * r), (x + width - r, y + 2 * r), (x - r, y + 2 * r)], fill=fill
        )
    else:
        w, top = r * 0.32, y - r * 0.65
        for i in (0, 1):
            for j in (0, 1):
                left = x + i * w * 1.15
                draw.rectangle([left, top + j * w * 1.15, left + w, top + w + j * w * 1.15], fill=fill)
    shine = shine.filter(PIL.ImageFilter.GaussianBlur(r / 60))
    disc = PIL.Image.new("L", layer.size)
    Pen(PIL.ImageDraw.Draw(disc), pen.x, pen.y, r).disc(0.98, 255)
    light = PIL.Image.new("RGBA", layer.size, (255, 255, 255, 255))
    light.putalpha(PIL.ImageChops.multiply(shine, disc))
    return PIL.Image.alpha_composite(layer, light)


@lru_cache(maxsize=256)
def _font(number: int, pixels: int) -> PIL.ImageFont.FreeTypeFont:
    return PIL.ImageFont.truetype(_FONT_FILES[number % len(_FONT_FILES)], pixels)


def _face(pen: Pen, clock: Clock) -> None:
    face = clock.face
    if clock.body.angular:
        pen.rounded(1.0, 1.0, 0.22, face.dial)
    else:
        pen.disc(1.0, face.edge)
        pen.disc(0.985, face.dial)
    if face.guilloche:
        line = mixed(face.dial, face.ink, 0.12)
        for i in range(4, 9):
            pen.ring(i / 10, 0.006, line)
        if face.guilloche == 2:
            for angle in range(0, 360, 6):
                pen.line((angle, 0.35), (angle, 0.8), 0.006, line)
    _indices(pen, face)
    _numerals(pen, face, clock.body.angular)
    if face.brand:
        pen.text((0, 0.33), face.brand, _font(face.font, max(8, int(pen.radius * 0.1))), face.ink)
    if face.date:
        pen.box((90, 0.6), 0.11, 0.085, (248, 248, 246), face.ink)
        day = str(1 + clock.seed % 31)
        pen.text((90, 0.6), day, _font(0, max(8, int(pen.radius * 0.13))), (20, 20, 20))
    for i, place in enumerate(face.sub_dials):
        _sub_dial(pen.at((place, 0.47), 0.2), face, 17.0 + 97 * i + clock.seed % 300)
    _hands(pen, face, clock.time)


def _indices(pen: Pen, face: Face) -> None:
    if face.indices == "railway":
        pen.ring(0.95, 0.008, face.ink)
        pen.ring(0.89, 0.008, face.ink)
    for i in range(60):
        angle, hour = i * 6.0, i % 5 == 0
        if face.indices == "none" or (not hour and face.indices in ("dots", "long-bars", "triangles")):
            continue
        if face.indices == "dots":
            pen.at((angle, 0.91), 0.04 if i % 15 else 0.055).disc(1.0, face.ink)
        elif face.indices == "triangles":
            pen.shape(angle, [(0.95, -0.04), (0.95, 0.04), (0.86, 0.0)], face.ink)
        else:
            inner = {"bars": 0.86, "railway": 0.89, "long-bars": 0.8}[face.indices] if hour else 0.92
            pen.line(
                (angle, inner if hour or face.indices != "railway" else 0.89),
                (angle, 0.95),
                0.03 if hour else 0.01,
                face.ink,
            )


def _numerals(pen: Pen, face: Face, angular: bool) -> None:
    kind = face.numerals
    if kind == "none":
        return
    roman = kind.startswith("roman")
    size = max(8, int(pen.radius * (0.17 if roman else 0.22)))
    font = _font(face.font, size)
    radius = 0.7 if face.indices in ("long-bars", "triangles", "railway") or roman else 0.73
    for hour in range(12):
        if kind in ("quarters", "roman-quarters") and hour % 3:
            continue
        if kind == "twelve" and hour:
            continue
        if (face.date and hour == 3) or (face.seconds == "sub" and hour == 6):
            continue
        if any(abs(angle - hour * 30) < 1 for angle in face.sub_dials):
            continue
        text = _ROMAN[hour] if roman else str(hour or 12)
        if roman and not face.upright_roman:
            pen.turned_text((hour * 30.0, radius), text, font, face.ink)
        else:
            pen.text((hour * 30.0, radius), text, font, face.ink)
    if kind in ("24h-ring", "minutes-ring"):
        small = _font(face.font, max(7, int(pen.radius * 0.09)))
        for hour in range(12):
            text = str(hour + 12 if hour else 24) if kind == "24h-ring" else str(hour * 5 or 60)
            pen.text((hour * 30.0, 0.54), text, small, mixed(face.ink, face.accent, 0.5))


def _sub_dial(pen: Pen, face: Face, angle: float) -> None:
    pen.disc(1.0, mixed(face.dial, face.ink, 0.35))
    pen.disc(0.95, mixed(face.dial, face.ink, 0.08))
    for i in range(12):
        pen.line((i * 30, 0.78), (i * 30, 0.92), 0.05, face.ink)
    pen.line((angle, -0.15), (angle, 0.75), 0.07, face.accent)


def _hands(pen: Pen, face: Face, time: Time) -> None:
    seconds = time.second if face.seconds != "none" else 0
    minutes = time.minute + seconds / 60
    if face.seconds == "sub":
        _sub_dial(pen.at((180, 0.47), 0.23), face, time.second * 6.0)
    hour_angle, minute_angle = (time.hour % 12 + minutes / 60) * 30, minutes * 6
    shade = mixed(face.dial, (0, 0, 0), 0.28)
    for offset, plain in ((0.02, True), (0.0, False)):
        layer = Pen(pen.draw, pen.x + offset * pen.radius, pen.y + offset * pen.radius, pen.radius)
        color = shade if plain else face.hand
        _hand(layer, face, hour_angle, face.hour_length, face.hand_width * 1.35, color)
        _hand(layer, face, minute_angle, face.minute_length, face.hand_width, color)
        if face.seconds == "centre":
            angle, thin = time.second * 6.0, face.accent if not plain else shade
            layer.line((angle, -0.2), (angle, 0.92), 0.018, thin)
            layer.at((angle, -0.16), 0.04).disc(1.0, thin)
    pen.disc(0.06, face.hand)
    pen.disc(0.028, face.accent if face.seconds == "centre" else mixed(face.hand, face.dial, 0.4))


def _hand(pen: Pen, face: Face, angle: float, length: float, width: float, color: tuple[int, int, int]) -> None:
    w, tail = width / 2, -0.12
    outline = {
        "baton": [(tail, -w), (tail, w), (length, w), (length, -w)],
        "sword": [(tail, -w * 0.6), (tail, w * 0.6), (length * 0.75, w * 1.3), (length, 0), (length * 0.75, -w * 1.3)],
        "leaf": [
            *((tail, 0), (length * 0.3, w * 1.2), (length * 0.5, w * 1.4)),
            *((length, 0), (length * 0.5, -w * 1.4), (length * 0.3, -w * 1.2)),
        ],
        "arrow": [
            *((tail, -w * 0.5), (tail, w * 0.5), (length - 0.14, w * 0.5), (length - 0.14, w * 1.8)),
            *((length, 0), (length - 0.14, -w * 1.8), (length - 0.14, -w * 0.5)),
        ],
        "pencil": [(tail, -w), (tail, w), (length - 0.06, w), (length, 0), (length - 0.06, -w)],
        "skeleton": [(tail, -w), (tail, w), (length - 0.06, w * 1.2), (length, 0), (length - 0.06, -w * 1.2)],
        "breguet": [(tail, -w * 0.45), (tail, w * 0.45), (length, w * 0.3), (length, -w * 0.3)],
    }[face.hands]
    pen.shape(angle, outline, color)
    if face.hands == "breguet":
        pen.at((angle, length * 0.74), 0.065).ring(0.8, 0.4, color)
    if face.hands == "skeleton" and color == face.hand:
        pen.shape(
            angle, [(0.12, -w * 0.4), (0.12, w * 0.4), (length - 0.12, w * 0.6), (length - 0.12, -w * 0.6)], face.dial
        )
