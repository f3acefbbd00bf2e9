"""Drawing answers onto pictures: crosshairs, captions, a film of a run. Knows images and points, no device."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import PIL.ImageOps

from molmo_agent.episode import Image
from molmo_agent.errors import ImageError
from molmo_agent.geometry import Point

MARK = (230, 0, 92)
_CAPTION_HEIGHT = 28
_MAX_PIXELS = 100_000_000
_FONTS = Path(__file__).parent / "envs" / "sim_desktop" / "fonts"


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


def _runs(text: str, size: int) -> list[tuple[str, PIL.ImageFont.FreeTypeFont]]:
    """Split a text by the bundled font that has its characters; what none has is left to the first."""
    fonts = [PIL.ImageFont.truetype(_FONTS / name, size) for name in ("noto_sans.ttf", "noto_sans_cjk.otf")]
    absent = [bytes(font.getmask("\U0010fffe")) for font in fonts]
    runs: list[tuple[str, PIL.ImageFont.FreeTypeFont]] = []
    for character in text:
        able = (f for f, box in zip(fonts, absent, strict=True) if bytes(f.getmask(character)) != box)
        font = next(able, fonts[0])
        if runs and runs[-1][1] is font:
            runs[-1] = (runs[-1][0] + character, font)
        else:
            runs.append((character, font))
    return runs


def captioned(picture: PIL.Image.Image, caption: str, width: int) -> PIL.Image.Image:
    """Return the picture scaled to ``width`` with one line of text under it, cut off where it is too long."""
    height = max(1, round(picture.height * width / picture.width))
    framed = PIL.Image.new("RGB", (width, height + _CAPTION_HEIGHT), (24, 24, 28))
    framed.paste(picture.resize((width, height), PIL.Image.Resampling.LANCZOS), (0, 0))
    while sum(font.getlength(run) for run, font in _runs(caption, 14)) > width - 16 and len(caption) > 2:
        caption = caption[:-2] + "…"
    pen, x = PIL.ImageDraw.Draw(framed), 8.0
    for run, font in _runs(caption, 14):
        pen.text((x, height + 19), run, fill=(240, 240, 240), font=font, anchor="ls")
        x += font.getlength(run)
    return framed


def write_gif(frames: Sequence[PIL.Image.Image], path: Path, seconds: float = 1.2) -> None:
    """Write frames of equal size as a GIF that stays on its last frame for twice as long."""
    durations = [round(seconds * 1000)] * (len(frames) - 1) + [round(seconds * 2000)]
    # Without the rounds of k-means small things lose their colour to large surfaces.
    first, *rest = [frame.quantize(128, kmeans=1, dither=PIL.Image.Dither.NONE) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=durations, loop=0)


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
