"""Draw on images: crosshairs, captions, filmstrips, GIFs."""

import contextlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont

from molmo_agent.episode import Image
from molmo_agent.geometry import Point
from molmo_agent.visible_text import MAX_MARKS, visible_text

MARK = (230, 0, 92)
_CAPTION_HEIGHT, _CAPTION_SIZE, _CAPTION_GROUND = 28, 14, (24, 24, 28)
# Tallest frame, as a multiple of its width.
_MAX_ASPECT = 3
# No font has this noncharacter: its glyph is the one that the font draws for every missing character.
_ABSENT = "\U0010fffe"
_FONTS = Path(__file__).parents[1] / "envs" / "drawing" / "font_files"


def draw_points(image: Image, points: Sequence[Point], *, numbered: bool = True) -> PIL.Image.Image:
    """Return a copy of the image with a crosshair on each point; several are numbered unless ``numbered`` is False."""
    canvas = PIL.Image.fromarray(image)
    draw = PIL.ImageDraw.Draw(canvas)
    radius = max(6, min(canvas.size) // 45)
    for number, point in enumerate(points, 1):
        x, y = point.to_pixels(*canvas.size)
        # White below colour is visible on every background. The centre stays free so that the target is not hidden.
        for colour, width in (("white", 5), (MARK, 2)):
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=colour, width=width)
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                inner, outer = radius // 3, radius * 8 // 5
                draw.line([x + dx * inner, y + dy * inner, x + dx * outer, y + dy * outer], fill=colour, width=width)
        if numbered and len(points) > 1:
            font = PIL.ImageFont.load_default(max(12, radius * 1.4))
            # On a plate, beside the crosshair and inside the image.
            left = min(x + radius, canvas.width - 2 * radius)
            top = max(y - 3 * radius, 1)
            label_box = draw.textbbox((left, top), str(number), font=font)
            draw.rectangle([label_box[0] - 3, label_box[1] - 3, label_box[2] + 3, label_box[3] + 3], fill=MARK)
            draw.text((left, top), str(number), fill="white", font=font)
    return canvas


@lru_cache(maxsize=8)
def _font(name: str, size: int) -> PIL.ImageFont.FreeTypeFont:
    return PIL.ImageFont.truetype(_FONTS / name, size)


def _caption_fonts() -> list[PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont]:
    """Return the bundled fonts that load; if none does, the one built into Pillow."""
    fonts: list[PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont] = []
    for name in ("noto_sans.ttf", "noto_sans_cjk.otf"):
        # A missing or damaged font makes the caption plainer; it must not end the run.
        with contextlib.suppress(OSError):
            fonts.append(_font(name, _CAPTION_SIZE))
    return fonts or [PIL.ImageFont.load_default(_CAPTION_SIZE)]


@lru_cache(maxsize=4096)
def _ink(font: PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont, character: str) -> bytes:
    return bytes(font.getmask(character))


def _runs(text: str) -> list[tuple[str, PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont]]:
    """Split a text into runs of one font; the first font takes the characters that no font has."""
    # Without a text, no font has to load.
    fonts = _caption_fonts() if text else []
    runs: list[tuple[str, PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont]] = []
    for character in text:
        font = next((font for font in fonts if _ink(font, character) != _ink(font, _ABSENT)), fonts[0])
        if runs and runs[-1][1] is font:
            runs[-1] = (runs[-1][0] + character, font)
        else:
            runs.append((character, font))
    return runs


def _fit(text: str, width: float) -> str:
    """Return the text, shortened with an ellipsis if it is wider than ``width`` pixels."""

    def fits(prefix: str) -> bool:
        return sum(font.getlength(run) for run, font in _runs(prefix)) <= width

    # Letters are at least a pixel wide; only combining marks, at most MAX_MARKS per letter, are narrower. So only the
    # beginning of a very long text has to be measured.
    max_length = int(width) * (1 + MAX_MARKS)
    if len(text) <= max_length and fits(text):
        return text
    low, high = 0, min(len(text), max_length)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(text[:middle] + "…") else (low, middle - 1)
    return text[:low] + "…"


def with_caption(image: PIL.Image.Image, caption: str, width: int) -> PIL.Image.Image:
    """Return the image scaled to ``width`` pixels with one line of text below it, shortened if it is too long.

    An image much taller than wide gets side borders, which bounds the frame's height. Line ends and control
    characters are shown as :mod:`molmo_agent.visible_text` describes.
    """
    image_width, height = width, max(1, round(image.height * width / image.width))
    if height > _MAX_ASPECT * width:
        height = _MAX_ASPECT * width
        image_width = max(1, round(image.width * height / image.height))
    frame = PIL.Image.new("RGB", (width, height + _CAPTION_HEIGHT), _CAPTION_GROUND)
    frame.paste(image.resize((image_width, height), PIL.Image.Resampling.LANCZOS), ((width - image_width) // 2, 0))
    # On a strip of its own: a pile of accents must not reach into the image.
    strip = PIL.Image.new("RGB", (width, _CAPTION_HEIGHT), _CAPTION_GROUND)
    pen, x = PIL.ImageDraw.Draw(strip), 8.0
    for run, font in _runs(_fit(visible_text(caption), width - 16)):
        pen.text((x, 19), run, fill=(240, 240, 240), font=font, anchor="ls")
        x += font.getlength(run)
    frame.paste(strip, (0, height))
    return frame


def write_gif(frames: Sequence[PIL.Image.Image], path: Path, seconds: float = 1.2) -> None:
    """Write frames of equal size as a GIF; its last frame stays twice as long as the others."""
    durations = [round(seconds * 1000)] * (len(frames) - 1) + [round(seconds * 2000)]
    # Without rounds of k-means small things lose their colour to large surfaces. They end where a round changes less
    # than one pixel in a thousand: the others take as long again, and nobody sees them.
    enough = max(1, frames[0].width * frames[0].height // 1000)
    first, *others = [frame.quantize(128, kmeans=enough, dither=PIL.Image.Dither.NONE) for frame in frames]
    first.save(path, "GIF", save_all=True, append_images=others, duration=durations, loop=0)


def filmstrip(frames: Sequence[PIL.Image.Image], columns: int = 3, gap_px: int = 8) -> PIL.Image.Image:
    """Return the frames side by side, row by row, in reading order."""
    columns = min(columns, len(frames))
    width, height = frames[0].size
    rows = -(-len(frames) // columns)
    strip = PIL.Image.new("RGB", (columns * (width + gap_px) + gap_px, rows * (height + gap_px) + gap_px), "white")
    for number, frame in enumerate(frames):
        strip.paste(
            frame, (gap_px + number % columns * (width + gap_px), gap_px + number // columns * (height + gap_px))
        )
    return strip
