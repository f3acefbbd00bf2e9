"""Drawing answers onto pictures: crosshairs, captions, a film of a run. Knows images and points, no device."""

import contextlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import PIL.ImageOps

from molmo_agent.episode import Image
from molmo_agent.errors import ImageError
from molmo_agent.geometry import Point
from molmo_agent.visible_text import MAX_MARKS, visible_text

MARK = (230, 0, 92)
_CAPTION_HEIGHT, _CAPTION_SIZE, _CAPTION_GROUND = 28, 14, (24, 24, 28)
# A frame is at most so many times as high as it is wide.
_MAX_TALL = 3
# A character that no font has: what a font draws for it, it draws for every character it lacks.
_ABSENT = "\U0010fffe"
_MAX_PIXELS = 100_000_000
_FONTS = Path(__file__).parent / "envs" / "drawing" / "font_files"


def read_image(path: str | Path) -> Image:
    """Read a picture file as (height, width, 3) uint8 RGB, upright and on white where it is transparent.

    Raises:
        ImageError: there is no such file, it is no picture, or it is larger than 100 million pixels.
    """
    try:
        with PIL.Image.open(path) as picture:
            if picture.width * picture.height > _MAX_PIXELS:
                raise ImageError(
                    f"expected at most {_MAX_PIXELS:,} pixels, got {picture.width} x {picture.height} in {path}"
                )
            upright = PIL.ImageOps.exif_transpose(picture).convert("RGBA")
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {path}") from error
    except IsADirectoryError as error:
        raise ImageError(f"expected a picture file, got the folder {path}") from error
    except PIL.UnidentifiedImageError as error:
        raise ImageError(f"{path} is not a picture that can be read: expected PNG, JPEG, WebP, GIF or BMP") from error
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise ImageError(f"the picture {path} is damaged: {error}") from error
    white = PIL.Image.new("RGBA", upright.size, "white")
    return np.asarray(PIL.Image.alpha_composite(white, upright).convert("RGB"))


def draw_points(image: Image, points: Sequence[Point]) -> PIL.Image.Image:
    """Return the picture with a crosshair on each point, numbered when there are several."""
    picture = PIL.Image.fromarray(image)
    draw = PIL.ImageDraw.Draw(picture)
    radius = max(6, min(picture.size) // 45)
    font = PIL.ImageFont.load_default(max(12, radius * 1.4))
    for number, point in enumerate(points, 1):
        x, y = point.to_pixels(*picture.size)
        # White below colour: visible on every background. The middle stays free, or it would hide the target.
        for colour, width in (("white", 5), (MARK, 2)):
            draw.ellipse([x - radius, y - radius, x + radius, y + radius], outline=colour, width=width)
            for dx, dy in ((1, 0), (-1, 0), (0, 1), (0, -1)):
                inner, outer = radius // 3, radius * 8 // 5
                draw.line([x + dx * inner, y + dy * inner, x + dx * outer, y + dy * outer], fill=colour, width=width)
        if len(points) > 1:
            # On a plate, beside the crosshair and inside the picture.
            left = min(x + radius, picture.width - 2 * radius)
            top = max(y - 3 * radius, 1)
            place = draw.textbbox((left, top), str(number), font=font)
            draw.rectangle([place[0] - 3, place[1] - 3, place[2] + 3, place[3] + 3], fill=MARK)
            draw.text((left, top), str(number), fill="white", font=font)
    return picture


@lru_cache(maxsize=8)
def _font(name: str, size: int) -> PIL.ImageFont.FreeTypeFont:
    return PIL.ImageFont.truetype(_FONTS / name, size)


def _caption_fonts() -> list[PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont]:
    """Return the bundled fonts that can be loaded; without any, the one inside of Pillow."""
    fonts: list[PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont] = []
    for name in ("noto_sans.ttf", "noto_sans_cjk.otf"):
        # A font that is missing or damaged makes a plainer caption, not a run without a film.
        with contextlib.suppress(OSError):
            fonts.append(_font(name, _CAPTION_SIZE))
    return fonts or [PIL.ImageFont.load_default(_CAPTION_SIZE)]


@lru_cache(maxsize=4096)
def _ink(font: PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont, character: str) -> bytes:
    return bytes(font.getmask(character))


def _runs(text: str) -> list[tuple[str, PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont]]:
    """Split a text by the font that has its characters; what none has is left to the first."""
    fonts = _caption_fonts()
    runs: list[tuple[str, PIL.ImageFont.FreeTypeFont | PIL.ImageFont.ImageFont]] = []
    for character in text:
        font = next((font for font in fonts if _ink(font, character) != _ink(font, _ABSENT)), fonts[0])
        if runs and runs[-1][1] is font:
            runs[-1] = (runs[-1][0] + character, font)
        else:
            runs.append((character, font))
    return runs


def _fit(text: str, width: float) -> str:
    """Return a text, or as much of its beginning as fits with an ellipsis."""

    def fits(part: str) -> bool:
        return sum(font.getlength(run) for run, font in _runs(part)) <= width

    # No letter is narrower than a pixel, but for marks, of which there are few; most of a long text is never measured.
    most = int(width) * (1 + MAX_MARKS)
    if len(text) <= most and fits(text):
        return text
    low, high = 0, min(len(text), most)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(text[:middle] + "…") else (low, middle - 1)
    return text[:low] + "…"


def captioned(picture: PIL.Image.Image, caption: str, width: int) -> PIL.Image.Image:
    """Return the picture scaled to ``width`` with one line of text under it, cut off where it is too long.

    A picture that is much taller than wide gets borders, so that one column of pixels makes no endless frame. What the
    caption shows of line ends, controls and the like: :mod:`molmo_agent.visible_text`.
    """
    inside, height = width, max(1, round(picture.height * width / picture.width))
    if height > _MAX_TALL * width:
        height = _MAX_TALL * width
        inside = max(1, round(picture.width * height / picture.height))
    framed = PIL.Image.new("RGB", (width, height + _CAPTION_HEIGHT), _CAPTION_GROUND)
    framed.paste(picture.resize((inside, height), PIL.Image.Resampling.LANCZOS), ((width - inside) // 2, 0))
    # On a strip of its own: a pile of accents must not reach into the picture.
    strip = PIL.Image.new("RGB", (width, _CAPTION_HEIGHT), _CAPTION_GROUND)
    pen, x = PIL.ImageDraw.Draw(strip), 8.0
    for run, font in _runs(_fit(visible_text(caption), width - 16)):
        pen.text((x, 19), run, fill=(240, 240, 240), font=font, anchor="ls")
        x += font.getlength(run)
    framed.paste(strip, (0, height))
    return framed


def write_gif(frames: Sequence[PIL.Image.Image], path: Path, seconds: float = 1.2) -> None:
    """Write frames of equal size as a GIF that stays on its last frame for twice as long."""
    durations = [round(seconds * 1000)] * (len(frames) - 1) + [round(seconds * 2000)]
    # Without the rounds of k-means small things lose their colour to large surfaces.
    first, *rest = [frame.quantize(128, kmeans=1, dither=PIL.Image.Dither.NONE) for frame in frames]
    first.save(path, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)


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
