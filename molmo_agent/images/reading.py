"""Read images from files, bytes and arrays: the only decoder of the package."""

import contextlib
import ctypes
import io
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import PIL.Image
import PIL.ImageOps
import PIL.TiffImagePlugin

from molmo_agent.episode import Image
from molmo_agent.errors import DataError, ImageError, UsageError
from molmo_agent.parse import open_regular

MAX_PIXELS = 100_000_000
_MAX_FILE_BYTES = 512_000_000
_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP")
_ORIENTATION = 0x0112
_LARGE_PIXELS = 16_000_000
_CHUNK_BYTES = 1 << 20
# Channels by colour type: grey, RGB, palette, grey and alpha, RGBA.
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_PNG_PASSES = [
    (0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2),
]  # fmt: skip
_JPEG_END, _ZEROS = b"\xff\xd9", 64
# Codes of most Huffman tables that leave no block grey.
_MORE_JPEG_DATA = bytes(number * 37 % 251 for number in range(4096))


def read_image(source: Any) -> Image:
    """Return an image as (height, width, 3) uint8 RGB, from wherever it comes: this is the only decoder of the package.

    It is turned upright as its EXIF orientation says, transparency becomes white, and of an animation or a file of
    several pages the first one counts. Of 16 bits per channel the upper 8 are kept. What has no known white, such as
    floating-point values, is rejected. Colour profiles are not applied.

    A file counts only if it holds all its pixels. PNG and GIF may lack the end marker that follows them, JPEG may not:
    its pixels can end anywhere. Bytes after the image are ignored.

    Threads share a budget of ``MAX_PIXELS`` for what they decode at the same time, which bounds the memory.

    Args:
        source: a path, the bytes of a file, a PIL image, or a uint8 array of shape (height, width) or (height, width,
            3 or 4).

    Raises:
        ImageError: the file is missing, damaged, larger than 512 MB or not an image, there are no pixels or more than
            100 million, or an array has another shape or type.
    """
    if isinstance(source, PIL.Image.Image):
        _check_size(source, "the image")
        with _clear_errors("the image"), _budget.take(source.width * source.height):
            return _decoded(source, "the image")
    if not isinstance(source, str | Path | bytes):
        return _checked_array(np.asarray(source))
    name = "the file" if isinstance(source, bytes) else str(source)
    with _clear_errors(name):
        data = source if isinstance(source, bytes) else _file_bytes(source)
        with open_image(io.BytesIO(data), name) as header:
            pixels = header.width * header.height
        with _budget.take(pixels):
            return _decoded_file(data, name)


def _decoded_file(data: bytes, name: str) -> Image:
    with open_image(io.BytesIO(data), name) as file:
        pixels = _decoded(file, name)
        problem = _jpeg_problem(data, file) if file.format in ("JPEG", "MPO") else ""
        if file.format == "PNG":
            problem = _png_problem(data, file)
        if problem:
            raise ImageError(f"{name} is not a readable image: it is damaged: {problem}")
        return pixels


def open_image(file: BinaryIO, name: str = "the file") -> PIL.Image.Image:
    """Open an image by its header: of the formats that are read, and of at most ``MAX_PIXELS``.

    Raises:
        ImageError: there are no pixels, or too many.
        Exception: decoders raise any class on damaged files.
    """
    image = PIL.Image.open(file, formats=formats())
    _check_size(image, name)
    return image


@contextlib.contextmanager
def _clear_errors(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise ImageError(f"there is no file {name}; give the path of an image") from error
    except PIL.UnidentifiedImageError as error:
        raise ImageError(f"{name} is not a readable image: expected PNG, JPEG, WebP, GIF, BMP or TIFF") from error
    except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning) as error:
        raise ImageError(f"expected at most {MAX_PIXELS:,} pixels, got more in {name}: {error}") from error
    except UsageError:
        raise
    # Every exception: decoders raise any class on damaged files.
    except Exception as error:
        raise _damaged(name, error) from error


def _file_bytes(path: str | Path) -> bytes:
    if os.path.isdir(path):
        raise ImageError(f"expected an image file, got the folder {path}")
    try:
        with open_regular(path) as file:
            data: bytes = file.read(_MAX_FILE_BYTES + 1)
    except DataError as error:
        raise ImageError(str(error)) from error
    if len(data) > _MAX_FILE_BYTES:
        raise ImageError(f"expected an image file of at most {_MAX_FILE_BYTES:,} bytes, got more in {path}")
    return data


def read_size(source: str | Path | bytes) -> tuple[int, int]:
    """Return (width, height) of an upright image file, from its header alone unless it is rotated.

    Args:
        source: a path, or the bytes of a file.

    Raises:
        ImageError: see :func:`read_image`.
    """
    # Every exception: whatever is wrong with the header, reading the image reports it.
    with contextlib.suppress(Exception), _header(source) as file, open_image(file) as image:
        # Pillow decodes a PNG file to look for EXIF data behind the pixels.
        is_upright = not _png_may_turn(file) if image.format == "PNG" else image.getexif().get(_ORIENTATION, 1) == 1
        if is_upright:
            return image.size
    height, width = read_image(source).shape[:2]
    return width, height


def _header(source: str | Path | bytes) -> BinaryIO:
    file: BinaryIO = io.BytesIO(source) if isinstance(source, bytes) else open_regular(source)
    return file


def _png_chunks(file: BinaryIO, most: int | None = None) -> Iterator[tuple[bytes, bytes]]:
    """Yield (kind, content) of a PNG file's chunks; of the content at most so many bytes."""
    file.seek(8)
    while len(header := file.read(8)) == 8:
        length, kind = int.from_bytes(header[:4], "big"), header[4:]
        content = file.read(length if most is None else min(length, most))
        yield kind, content
        file.seek(length - len(content) + 4, os.SEEK_CUR)


def _png_may_turn(file: BinaryIO) -> bool:
    """Return whether a PNG file has EXIF data, in a chunk of its own or as text."""
    texts = (b"tEXt", b"zTXt", b"iTXt")
    return any(
        kind == b"eXIf" or (kind in texts and content.startswith((b"Raw profile type", b"XML:")))
        for kind, content in _png_chunks(file, most=24)
    )


@lru_cache(maxsize=1)
def formats() -> tuple[str, ...]:
    """Return Pillow's names of the formats that are read: those for pixels, and none that starts another program."""
    PIL.Image.init()
    return tuple(name for name in _FORMATS if name in PIL.Image.OPEN)


class _Budget:
    """Lets threads decode so many pixels at the same time; a thread waits until its image fits."""

    def __init__(self, total: int) -> None:
        self._total = self._free = total
        self._released = threading.Condition()

    @contextlib.contextmanager
    def take(self, pixels: int) -> Iterator[None]:
        with self._released:
            self._released.wait_for(lambda: self._free >= pixels)
            self._free -= pixels
        try:
            yield
        finally:
            if pixels >= _LARGE_PIXELS:
                _return_memory()
            with self._released:
                self._free += pixels
                self._released.notify_all()

    def reset(self) -> None:
        self.__init__(self._total)  # type: ignore[misc]


@lru_cache(maxsize=1)
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return trim


def _return_memory() -> None:
    """Return freed memory to the system: glibc keeps what a large image took, once for each thread that read one."""
    if trim := _malloc_trim():
        trim(0)


_budget = _Budget(MAX_PIXELS)
if hasattr(os, "register_at_fork"):
    # The threads that hold a part of it do not exist in the child.
    os.register_at_fork(after_in_child=_budget.reset)


def _check_size(image: PIL.Image.Image, name: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageError(f"expected at most {MAX_PIXELS:,} pixels, got {width} x {height} in {name}")
    if not width * height:
        raise ImageError(f"expected an image with at least one pixel, got {width} x {height} in {name}")


def _decoded(image: PIL.Image.Image, name: str) -> Image:
    upright = _upright(image)
    if upright.mode in ("I", "F") or upright.mode.startswith("I;16"):
        upright = _eight_bits(upright, image, name)
    if upright.has_transparency_data:
        clear = upright.convert("RGBA")
        upright = PIL.Image.alpha_composite(PIL.Image.new("RGBA", clear.size, "white"), clear)
    return np.asarray(upright if upright.mode == "RGB" else upright.convert("RGB"))


def _jpeg_problem(data: bytes, file: PIL.Image.Image) -> str:
    """Return how a JPEG file was cut although it could be decoded; empty if it is whole."""
    content = data.rstrip(b"\0")
    if len(data) - len(content) >= _ZEROS and not content.endswith(_JPEG_END):
        return "its end is filled with zeros"
    # The decoder leaves out missing blocks, which makes them grey. Where the last one is grey, more data before the
    # end marker show whether it was missing: only then they change the image.
    corner = file.crop((file.width - 1, file.height - 1, *file.size)).convert("RGB")
    if corner.getpixel((0, 0)) == (128, 128, 128) and (end := data.rfind(_JPEG_END)) > 0:
        with open_image(io.BytesIO(data[:end] + _MORE_JPEG_DATA + data[end:])) as longer:
            if longer.tobytes() != file.tobytes():
                return "its pixels end early"
    return ""


def _png_problem(data: bytes, file: PIL.Image.Image) -> str:
    """Return why a PNG file lacks pixels although it could be decoded; empty if it is whole."""
    # The decoder makes missing rows zero. Where the last two rows have values, the file is whole: interlaced files
    # store every second row last.
    rows = np.asarray(file.crop((0, max(file.height - 2, 0), *file.size)))
    if rows.reshape(len(rows), -1).any(axis=1).all():
        return ""
    header, idat = b"", []
    for kind, content in _png_chunks(io.BytesIO(data)):
        if kind == b"IHDR":
            header = content
        elif kind == b"IDAT":
            idat.append(content)
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header[:13])
    expected = _png_bytes(width, height, depth * _PNG_CHANNELS[colour], interlaced=bool(interlaced))
    unzip, num_bytes = zlib.decompressobj(), 0
    compressed = b"".join(idat)
    while num_bytes < expected and (part := unzip.decompress(compressed, _CHUNK_BYTES)):
        num_bytes, compressed = num_bytes + len(part), unzip.unconsumed_tail
    return "" if num_bytes >= expected else "its pixels end early"


def _png_bytes(width: int, height: int, bits: int, *, interlaced: bool) -> int:
    """Return the size of a PNG file's pixels before compression: rows, each behind the byte of its filter."""
    # Offset and distance of columns, then of rows, for each pass of an interlaced file.
    passes = _PNG_PASSES if interlaced else [(0, 1, 0, 1)]
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, dx, y, dy in passes if width > x and height > y]
    return sum(rows * (1 + -(-columns * bits // 8)) for columns, rows in sizes)


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
