"""Read images, draw on them (crosshairs, captions, filmstrips, GIFs), and compare parts of two screenshots."""

import contextlib
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import PIL.ImageOps
import PIL.TiffImagePlugin

from molmo_agent.episode import Image
from molmo_agent.errors import ImageError
from molmo_agent.geometry import Point
from molmo_agent.visible_text import MAX_MARKS, visible_text

MARK = (230, 0, 92)
_CAPTION_HEIGHT, _CAPTION_SIZE, _CAPTION_GROUND = 28, 14, (24, 24, 28)
# Tallest frame, as a multiple of its width.
_MAX_ASPECT = 3
# No font has this noncharacter: its glyph is the one that the font draws for every missing character.
_ABSENT = "\U0010fffe"
MAX_PIXELS = 100_000_000
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
_ORIENTATION = 0x0112
_FONTS = Path(__file__).parent / "envs" / "drawing" / "font_files"
# Differences of up to so many levels come from antialiasing, compression and faint highlights.
_LEVELS = 32
# The least and the greatest side of a caret, and the share of its bar that differs from the ground.
_CARET_WIDTH, _CARET_HEIGHT, _CARET_FILL = (1, 24), (8, 96), 0.75

Mask = npt.NDArray[np.bool_]
"""(height, width), True for each pixel that differs."""


def read_image(source: Any) -> Image:
    """Return an image as (height, width, 3) uint8 RGB, from wherever it comes: this is the only decoder of the package.

    It is turned upright as its EXIF orientation says, transparency becomes white, and of an animation or a file of
    several pages the first one counts. Of 16 bits per channel the upper 8 are kept. What has no known white, such as
    floating-point values, is rejected. Colour profiles are not applied.

    Args:
        source: a path, the bytes of a file, a PIL image, or a uint8 array of shape (height, width) or (height, width,
            3 or 4).

    Raises:
        ImageError: the file is missing, damaged or not an image, there are no pixels or more than 100 million, or an
            array has another shape or type.
    """
    if isinstance(source, PIL.Image.Image):
        return _decoded(source, "the image")
    if not isinstance(source, str | Path | bytes):
        return _checked_array(np.asarray(source))
    name = "the file" if isinstance(source, bytes) else str(source)
    try:
        with PIL.Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats()) as file:
            return _decoded(file, name)
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {name}; give the path of an image") from error
    except IsADirectoryError as error:
        raise ImageError(f"expected an image file, got the folder {name}") from error
    except PIL.UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a readable image: expected PNG, JPEG, WebP, GIF, BMP or TIFF") from error
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ImageError(f"expected at most {MAX_PIXELS:,} pixels, got more in {name}: {error}") from error
    except ImageError:
        raise
    # Every exception: decoders raise any class on damaged files.
    except Exception as error:
        raise _damaged(name, error) from error


def read_size(path: str | Path) -> tuple[int, int]:
    """Return (width, height) of an upright image file, from its header alone unless it is rotated.

    Raises:
        ImageError: see :func:`read_image`.
    """
    # Every exception: whatever is wrong with the header, reading the image reports it.
    with contextlib.suppress(Exception), PIL.Image.open(path, formats=formats()) as file:
        if file.getexif().get(_ORIENTATION, 1) == 1 and file.width * file.height <= MAX_PIXELS:
            return file.size
    height, width = read_image(path).shape[:2]
    return width, height


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are read: those for pixels, and none that starts another program."""
    PIL.Image.init()
    return tuple(name for name in _FORMATS if name in PIL.Image.OPEN)


def _decoded(image: PIL.Image.Image, name: str) -> Image:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"expected at most {MAX_PIXELS:,} pixels, got {width} x {height} in {name}")
    if not width * height:
        raise ImageError(f"expected an image with at least one pixel, got {width} x {height} in {name}")
    try:
        upright = _upright(image)
        if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
            upright = _eight_bits(upright, image, name)
        if upright.has_transparency_data:
            clear = upright.convert("RGBA")
            upright = PIL.Image.alpha_composite(PIL.Image.new("RGBA", clear.size, "white"), clear)
        return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))
    except ImageError:
        raise
    except Exception as error:
        raise _damaged(name, error) from error


def _damaged(name: str, error: Exception) -> ImageError:
    # Only errors of the system have an error number: no permission, a broken disk.
    problem = error.strerror if isinstance(error, OSError) and error.strerror else f"it is damaged: {error}"
    return ImageError(f"{name} is not a readable image: {problem}")


def _upright(image: PIL.Image.Image) -> PIL.Image.Image:
    image.load()
    try:
        # It copies an image that is upright already, which may be large.
        return image if image.getexif().get(_ORIENTATION, 1) == 1 else PIL.ImageOps.exif_transpose(image)
    # Every exception: a damaged EXIF block says nothing about the orientation, and the pixels are whole.
    except Exception:
        return image


def _eight_bits(image: PIL.Image.Image, file: PIL.Image.Image, name: str) -> PIL.Image.Image:
    """Return a greyscale image of more than 8 bits per pixel with its upper 8; ``file`` is the image as opened."""
    bits, is_white_zero = 16, False
    if image.mode == "F" or (image.mode == "I" and file.format not in ("PNG", "PPM")):
        kind = "floating-point" if image.mode == "F" else "32-bit"
        raise ImageError(
            f"expected an image of 8 or 16 bits per channel, got {kind} values without a known white in {name}: scale "
            "them to 0..255 and save them as PNG"
        )
    if isinstance(file, PIL.TiffImagePlugin.TiffImageFile):
        tags = file.tag_v2
        bits = int(tags.get(PIL.TiffImagePlugin.BITSPERSAMPLE, (16,))[0])
        is_white_zero = tags.get(PIL.TiffImagePlugin.PHOTOMETRIC_INTERPRETATION, 1) == 0
    levels = np.asarray(image)
    grey = (levels >> (bits - 8)).astype(np.uint8)
    if isinstance(transparent := file.info.get("transparency"), int):
        grey[levels == transparent] = 255
    return PIL.Image.fromarray(~grey if is_white_zero else grey)


def _checked_array(array: np.ndarray[Any, Any]) -> Image:
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] not in (3, 4):
        raise ImageError(
            "expected an image as uint8 array of shape (height, width, 3), "
            f"got {array.dtype} of shape {array.shape}; scale values to 0..255 and put the channels last"
        )
    if 0 in array.shape:
        raise ImageError(f"expected an image with at least one pixel, got one of shape {array.shape}")
    if array.shape[2] == 3:
        return array
    if not array[:, :, 3].any():
        # Some screen captures leave the fourth channel empty.
        raise ImageError("expected an RGBA array with something visible, got alpha 0 everywhere: pass RGB alone")
    return _decoded(PIL.Image.fromarray(array), "the image")


def draw_points(image: Image, points: Sequence[Point]) -> PIL.Image.Image:
    """Return a copy of the image with a crosshair on each point; several points are numbered."""
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
        if len(points) > 1:
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
    # Without the rounds of k-means small things lose their colour to large surfaces.
    first, *others = [frame.quantize(128, kmeans=1, dither=PIL.Image.Dither.NONE) for frame in frames]
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


def different_pixels(first: Image, second: Image, levels: int = _LEVELS) -> Mask:
    """Return which pixels of two images of one shape differ by more than so many levels."""
    mask: Mask = (np.maximum(first, second) - np.minimum(first, second)).max(axis=2) > levels
    return mask


def blocks(mask: Mask, block_px: int = 16) -> Mask:
    """Return which square blocks of a mask hold a different pixel."""
    rows, columns = (np.arange(0, side, block_px) for side in mask.shape)
    reduced: Mask = np.logical_or.reduceat(np.logical_or.reduceat(mask, rows, axis=0), columns, axis=1)
    return reduced


def pieces(mask: Mask) -> list[tuple[slice, slice]]:
    """Return (rows, columns) of the smallest box around each connected piece of a mask."""
    # Its import takes longer than that of all the rest.
    from scipy import ndimage

    labels, _ = ndimage.label(mask, structure=np.ones((3, 3), dtype=int))
    return [place for place in ndimage.find_objects(labels) if place is not None]


def caret_bars(mask: Mask) -> list[tuple[slice, slice]]:
    """Return (rows, columns) of the upright filled bars of a mask, which a caret leaves when it blinks or moves.

    Strokes of letters are such bars too: those beside something else are left out, others come in larger numbers.
    """
    bars: list[tuple[slice, slice]] = []
    others: list[tuple[slice, slice]] = []
    for rows, columns in pieces(mask):
        height, width = rows.stop - rows.start, columns.stop - columns.start
        fits = _CARET_WIDTH[0] <= width <= _CARET_WIDTH[1] and _CARET_HEIGHT[0] <= height <= _CARET_HEIGHT[1]
        is_bar = fits and height >= 1.5 * width and mask[rows, columns].mean() >= _CARET_FILL
        (bars if is_bar else others).append((rows, columns))
    return [bar for bar in bars if not any(_stands_beside(bar, other) for other in others)]


def _stands_beside(bar: tuple[slice, slice], other: tuple[slice, slice]) -> bool:
    """Return whether another piece, not one around the bar, is closer to it than half its height."""
    (rows, columns), (other_rows, other_columns) = bar, other
    gap = max(other_columns.start - columns.stop, columns.start - other_columns.stop)
    same_line = other_rows.start < rows.stop and rows.start < other_rows.stop
    return same_line and 0 <= gap < (rows.stop - rows.start) / 2


def edge_similarity(first: Image, second: Image) -> float:
    """Return how well the edges of two images of one shape correlate, in [-1, 1]; 0 where one of them has none."""
    deviations = []
    for image in (first, second):
        grey = image.astype(np.float64).mean(axis=2)
        if min(grey.shape) < 3:
            return 0.0
        edges = np.hypot(*np.gradient(grey))
        deviations.append(edges - edges.mean())
    norm = float(np.sqrt((deviations[0] ** 2).sum() * (deviations[1] ** 2).sum()))
    return float((deviations[0] * deviations[1]).sum() / norm) if norm > 1e-6 else 0.0
