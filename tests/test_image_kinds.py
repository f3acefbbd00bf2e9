"""Every kind of image file, array and PIL image in the one decoder: brightness, transparency, orientation, damage."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

from molmo_agent.errors import ImageError
from molmo_agent.images import formats, read_image, read_size
from molmo_agent.model.image_processor import load_image

LEVELS = np.array([0, 0x0FFF, 0x4321, 0x8000, 0xFFFF], np.uint16)
UPPER = [0, 0x0F, 0x43, 0x80, 0xFF]
GREY, RGB, GREY_ALPHA, RGBA = 0, 2, 4, 6


def encoded(image: PIL.Image.Image, form: str, **how: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, form, **how)
    return data.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def deep_png(colour: int, row: Any, extra: bytes = b"") -> bytes:
    """Return a PNG of one row with 16 bits per channel, which Pillow itself writes for grey alone."""
    row = np.asarray(row, ">u2").reshape(len(row), -1)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", len(row), 1, 16, colour, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" + row.tobytes()))
    return b"\x89PNG\r\n\x1a\n" + header + extra + body + chunk(b"IEND", b"")


# --- 16 bits ----------------------------------------------------------------------------------------------------------

DEEP = {
    "grey PNG": deep_png(GREY, LEVELS),
    "RGB PNG": deep_png(RGB, np.stack([LEVELS] * 3, axis=1)),
    "RGBA PNG": deep_png(RGBA, np.stack([*[LEVELS] * 3, np.full(5, 0xFFFF)], axis=1)),
    "grey and alpha PNG": deep_png(GREY_ALPHA, np.stack([LEVELS, np.full(5, 0xFFFF)], axis=1)),
    "grey TIFF": encoded(PIL.Image.fromarray(LEVELS[None]), "TIFF"),
    "big-endian TIFF": encoded(PIL.Image.fromarray(LEVELS[None].astype(">u2")), "TIFF"),
    "PGM": b"P5 5 1 65535\n" + LEVELS.astype(">u2").tobytes(),
    "PPM": b"P6 5 1 65535\n" + np.repeat(LEVELS.astype(">u2"), 3).tobytes(),
}


@pytest.mark.parametrize("data", DEEP.values(), ids=DEEP)
def test_sixteen_bits_keep_their_upper_eight(data: bytes) -> None:
    # Pillow rounds those of a PPM file.
    assert np.abs(read_image(data)[0].astype(int) - np.array(UPPER)[:, None]).max() <= data.startswith(b"P6")


@pytest.mark.parametrize(("low", "high"), [(256, 4096), (5000, 30_000), (40_000, 65_000)])
def test_a_deep_picture_is_not_white(low: int, high: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(low)
    deep = rng.integers(low, high, (12, 16)).astype(np.uint16)
    PIL.Image.fromarray(deep).save(tmp_path / "deep.png")
    for image in (read_image(tmp_path / "deep.png"), read_image(PIL.Image.open(tmp_path / "deep.png"))):
        assert np.array_equal(image[:, :, 1], deep // 256)


def test_a_deep_scan_whose_white_is_zero_is_inverted() -> None:
    data = encoded(PIL.Image.fromarray(LEVELS[None]), "TIFF", tiffinfo={262: 0})
    assert read_image(data)[0, :, 0].tolist() == [255 - level for level in UPPER]


@pytest.mark.parametrize("mode", ["F", "I"])
def test_values_without_a_known_white_are_refused(mode: str, tmp_path: Path) -> None:
    PIL.Image.new(mode, (3, 2)).save(tmp_path / "values.tif")
    for source in (tmp_path / "values.tif", PIL.Image.new(mode, (3, 2))):
        with pytest.raises(ImageError, match=r"values without a known white in .*: scale them to 0\.\.255"):
            read_image(source)


# --- Transparency -----------------------------------------------------------------------------------------------------

PALETTE = PIL.Image.new("P", (2, 1))
PALETTE.putpalette([200, 0, 0, 0, 0, 90])
PALETTE.putdata([0, 1])
CLEAR = {
    "RGBA": encoded(PIL.Image.new("RGBA", (2, 1), (0, 0, 0, 0)), "PNG"),
    "grey and alpha": encoded(PIL.Image.new("LA", (2, 1), (0, 0)), "PNG"),
    "palette index": encoded(PALETTE, "PNG", transparency=0),
    "palette alpha": encoded(PALETTE, "PNG", transparency=b"\x00\xff"),
    "GIF": encoded(PALETTE, "GIF", transparency=0),
    "grey key": encoded(PIL.Image.new("L", (2, 1), 7), "PNG", transparency=7),
    "RGB key": encoded(PIL.Image.new("RGB", (2, 1), (7, 8, 9)), "PNG", transparency=(7, 8, 9)),
    "WebP": encoded(PIL.Image.new("RGBA", (2, 1), (0, 0, 0, 0)), "WEBP", lossless=True, exact=True),
    "16-bit RGBA": deep_png(RGBA, [[0, 0, 0, 0], [0, 0, 0, 0xFFFF]]),
    "16-bit grey key": deep_png(GREY, [0x1234, 0], chunk(b"tRNS", struct.pack(">H", 0x1234))),
}


@pytest.mark.parametrize("data", CLEAR.values(), ids=CLEAR)
def test_transparent_pixels_are_white_in_every_format(data: bytes) -> None:
    assert read_image(data)[0, 0].tolist() == [255, 255, 255]


def test_half_transparent_pixels_are_blended_with_white() -> None:
    image = read_image(encoded(PIL.Image.new("RGBA", (1, 1), (0, 0, 100, 128)), "PNG"))
    assert image[0, 0].tolist() == pytest.approx([127, 127, 177], abs=1)


def test_pointing_and_training_see_the_same_pixels(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    PIL.Image.fromarray(rng.integers(0, 256, (9, 7, 4), dtype=np.uint8)).save(tmp_path / "drawing.png")
    data = (tmp_path / "drawing.png").read_bytes()
    expected = read_image(tmp_path / "drawing.png")
    for source in (
        str(tmp_path / "drawing.png"),
        data,
        PIL.Image.open(io.BytesIO(data)),
        np.asarray(PIL.Image.open(io.BytesIO(data))),
    ):
        assert np.array_equal(load_image(source), expected)


# --- Colours, orientation, frames -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "colour", "form"),
    [("CMYK", (0, 255, 255, 0), "JPEG"), ("CMYK", (0, 255, 255, 0), "TIFF"), ("YCbCr", (76, 85, 255), "JPEG")],
)
def test_print_and_video_colours_become_rgb(mode: str, colour: tuple[int, ...], form: str) -> None:
    red = read_image(
        encoded(PIL.Image.new(mode, (16, 16), colour), form, **({"quality": 95} if form == "JPEG" else {}))
    )
    assert np.abs(red[4, 4].astype(int) - (254, 0, 0)).max() <= 6


@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 4, 5, 6, 7, 8])
def test_every_orientation_is_turned_upright(form: str, orientation: int, tmp_path: Path) -> None:
    photograph = PIL.Image.new("RGB", (32, 16), "black")
    photograph.paste("white", (0, 0, 16, 8))  # the upper left quarter as stored
    exif = photograph.getexif()
    exif[0x0112] = orientation
    photograph.save(tmp_path / "photograph", form, exif=exif)
    image = read_image(tmp_path / "photograph")
    assert image.shape == ((16, 32, 3) if orientation < 5 else (32, 16, 3))
    assert read_size(tmp_path / "photograph") == (image.shape[1], image.shape[0])
    corner = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}[
        orientation
    ]
    assert image[corner].min() > 200
    assert sum(image[row, column].min() > 200 for row in (0, -1) for column in (0, -1)) == 1


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_damaged_exif_leaves_the_image_as_it_is_stored() -> None:
    data = encoded(PIL.Image.new("RGB", (8, 4), "blue"), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7fgarbage")
    assert read_image(data).shape == (4, 8, 3)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_and_of_pages_the_first_one_counts(form: str) -> None:
    frames = [PIL.Image.new("RGB", (12, 9), colour) for colour in ("red", "lime", "blue")]
    data = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    assert np.abs(read_image(data)[4, 4].astype(int) - (255, 0, 0)).max() <= 4


# --- Damage -----------------------------------------------------------------------------------------------------------

NOISE = PIL.Image.fromarray(np.random.default_rng(2).integers(0, 255, (70, 90, 3), np.uint8))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.95])
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_file_that_ends_early_is_refused(form: str, share: float, tmp_path: Path) -> None:
    data = encoded(NOISE, form)
    (tmp_path / "cut").write_bytes(data[: int(len(data) * share)])
    for source in (tmp_path / "cut", data[: int(len(data) * share)]):
        with pytest.raises(ImageError, match="is not a readable image"):
            read_image(source)


def test_mutated_files_are_read_or_refused_and_never_raise_anything_else() -> None:
    rng = np.random.default_rng(8)
    refused = 0
    for form in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"):
        original = encoded(NOISE.resize((20, 14)), form)
        for _ in range(60):
            data = np.frombuffer(original, np.uint8).copy()
            data[rng.integers(0, len(data), 4)] = rng.integers(0, 256, 4)
            try:
                assert read_image(data.tobytes()).ndim == 3
            except ImageError:
                refused += 1
    assert refused > 60


def bomb(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("size", [(10_001, 10_000), (30_000, 30_000), (2_000_000, 51), (65_500, 65_500)])
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int], tmp_path: Path) -> None:
    (tmp_path / "bomb.png").write_bytes(bomb(*size))
    for read in (read_image, read_size, load_image):
        with pytest.raises(ImageError, match="expected at most 100,000,000 pixels, got "):
            read(tmp_path / "bomb.png")


@pytest.mark.parametrize(
    "data", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.4", b"<svg/>", b"", b"\0" * 99]
)
def test_what_is_no_picture_of_pixels_is_refused(data: bytes) -> None:
    assert not {"EPS", "WMF", "PDF"} & {*formats()}
    with pytest.raises(ImageError, match="is not a readable image: expected PNG, JPEG"):
        read_image(data)


# --- Arrays -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 5), np.uint16),
        np.zeros((4, 5, 3), np.uint16),
        np.zeros((4, 5, 3)),
        np.zeros((4, 5, 3), np.float16),
        np.zeros((4, 5), bool),
        np.zeros((4, 5, 3), np.int8),
        np.zeros((3, 4, 5), np.uint8),
        [[1, 2]],
        None,
    ],
)
def test_an_array_of_other_values_than_eight_bits_is_refused(array: Any) -> None:
    with pytest.raises(ImageError, match=r"expected an image as uint8 array of shape \(height, width, 3\), got"):
        read_image(array)


def test_an_array_with_alpha_is_blended_and_an_invisible_one_refused() -> None:
    array = np.zeros((3, 4, 4), np.uint8)
    with pytest.raises(ImageError, match="got alpha 0 everywhere: pass RGB alone"):
        read_image(array)
    array[0, 0] = (10, 20, 30, 255)
    image = read_image(array)
    assert image[0, 0].tolist() == [10, 20, 30]
    assert image[1, 1].tolist() == [255, 255, 255]
