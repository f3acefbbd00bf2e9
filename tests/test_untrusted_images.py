"""Images from others: what is cut is refused, what is large is bounded, and only one place decodes."""

import ast
import contextlib
import io
import os
import struct
import threading
import time
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest

import molmo_agent
from molmo_agent.errors import ImageError
from molmo_agent.images import open_image, read_image, read_size, reading

PACKAGE = Path(molmo_agent.__file__).parent
PNG = b"\x89PNG\r\n\x1a\n"
NOISE = PIL.Image.fromarray(np.random.default_rng(5).integers(0, 255, (75, 110, 3), np.uint8))
PHOTO = NOISE.resize((440, 300), PIL.Image.Resampling.BICUBIC)


def encoded(image: PIL.Image.Image, form: str, **how: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, form, **how)
    return data.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes, before: bytes = b"", after: bytes = b"") -> bytes:
    """Return an RGB PNG whose compressed data are ``pixels``, with further chunks before and after them."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return PNG + header + before + chunk(b"IDAT", zlib.compress(pixels)) + after + chunk(b"IEND", b"")


def rows(width: int, height: int) -> bytes:
    return (b"\0" + bytes(range(256)) * 3)[: 1 + 3 * width] * height


# --- Cut files --------------------------------------------------------------------------------------------------------

JPEG_KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "grey": {"mode": "L"},
    "full colour": {"subsampling": 0, "quality": 95},
    "restarts": {"restart_marker_blocks": 4},
    "optimized": {"optimize": True},
}


def jpeg(image: PIL.Image.Image, mode: str = "RGB", **how: Any) -> bytes:
    return encoded(image.convert(mode), "JPEG", **how)


@pytest.mark.parametrize("kind", JPEG_KINDS)
def test_a_cut_jpeg_is_refused_although_its_end_marker_was_put_back(kind: str) -> None:
    for image in (NOISE, PHOTO):
        data = jpeg(image, **JPEG_KINDS[kind])
        read_image(data)
        for share in (0.5, 0.7, 0.9):
            with pytest.raises(ImageError, match="is damaged: its pixels end early"):
                read_image(data[: int(len(data) * share)] + b"\xff\xd9")


@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_a_jpeg_whose_rest_is_zeros_is_refused(share: float) -> None:
    for more in (0, 30_000):
        data = jpeg(PHOTO)
        whole = int(len(data) * share)
        with pytest.raises(ImageError, match="is damaged"):
            read_image(data[:whole] + bytes(len(data) - whole + more))


def test_grey_images_and_padded_files_are_whole() -> None:
    grey = PIL.Image.new("RGB", (64, 48), (128, 128, 128))
    half = PHOTO.copy()
    half.paste((128, 128, 128), (0, 150, 440, 300))
    for image in (grey, half, PIL.Image.new("RGB", (3, 1), (128, 128, 128))):
        for how in ({}, {"progressive": True}, {"optimize": True}, {"subsampling": 0}):
            data = jpeg(image, **how)
            assert np.array_equal(read_image(data), np.asarray(PIL.Image.open(io.BytesIO(data)).convert("RGB")))
            # Cameras fill up a file's last sector, and phones append data of their own.
            read_image(data + bytes(600))
            read_image(data + b"trailer" * 50)


@pytest.mark.parametrize(("form", "marker_bytes"), [("PNG", 12), ("PNG", 4), ("GIF", 1)])
def test_a_file_that_lacks_only_its_end_marker_holds_all_pixels(form: str, marker_bytes: int) -> None:
    data = encoded(NOISE, form)
    assert np.array_equal(read_image(data[:-marker_bytes]), read_image(data))


@pytest.mark.parametrize("missing", [1, 10, 29])
def test_a_png_with_right_checksums_and_too_few_rows_is_refused(missing: int) -> None:
    whole, cut = png(40, 30, rows(40, 30)), png(40, 30, rows(40, 30 - missing))
    assert read_image(whole).shape == (30, 40, 3)
    for data in (cut, png(40, 30, rows(40, 30 - missing) + b"\0" * 60)):
        with pytest.raises(ImageError, match=r"is damaged: (image file is truncated|its pixels end early)"):
            read_image(data)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
@pytest.mark.parametrize("size", [(1, 1), (1, 2), (7, 5), (33, 18)])
def test_black_and_transparent_images_are_whole(mode: str, size: tuple[int, int]) -> None:
    assert read_image(encoded(PIL.Image.new(mode, size), "PNG")).shape == (size[1], size[0], 3)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 9), (40, 30), (8, 17)])
def test_interlaced_pixels_are_counted_by_their_passes(size: tuple[int, int]) -> None:
    width, height = size
    passes = [(0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)]
    stored = [(len(range(x, width, dx)), len(range(y, height, dy))) for x, dx, y, dy in passes]
    data = b"".join((b"\0" + bytes(3 * columns)) * lines for columns, lines in stored if columns)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1))
    for body in (data, data[:-1]):
        file = PNG + header + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
        if body is data:
            assert not read_image(file).any()
        else:
            with pytest.raises(ImageError, match="is damaged"):
                read_image(file)


# --- Sizes ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [b"iCCP", b"zTXt", b"iTXt"])
def test_compressed_texts_and_profiles_do_not_fill_the_memory(kind: bytes) -> None:
    bomb = zlib.compress(bytes(200_000_000), 9)
    content = {b"iCCP": b"profile\0\0", b"zTXt": b"Comment\0\0", b"iTXt": b"Comment\0\1\0\0\0"}[kind] + bomb
    tracemalloc.start()
    try:
        with contextlib.suppress(ImageError):
            read_image(png(4, 4, rows(4, 4), chunk(kind, content)))
        assert tracemalloc.get_traced_memory()[1] < 90_000_000
    finally:
        tracemalloc.stop()


def test_threads_decode_no_more_pixels_at_once_than_one_image_may_have() -> None:
    budget, lock, now, most = reading._Budget(100), threading.Lock(), 0, 0

    def decode(pixels: int) -> None:
        nonlocal now, most
        with budget.take(pixels):
            with lock:
                now += pixels
                most = max(most, now)
            time.sleep(0.005)
            with lock:
                now -= pixels

    threads = [threading.Thread(target=decode, args=(pixels,)) for pixels in (100, 30, 30, 60, 1, 99, 50, 50) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < most <= 100
    with budget.take(100):
        pass


def test_a_damaged_image_returns_its_share_of_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_budget", reading._Budget(40 * 30))
    for _ in range(3):
        with pytest.raises(ImageError, match="is damaged"):
            read_image(png(40, 30, rows(40, 20)))
    assert read_image(png(40, 30, rows(40, 30))).shape == (30, 40, 3)


def test_a_file_too_large_to_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MAX_FILE_BYTES", 1000)
    (tmp_path / "large.bmp").write_bytes(encoded(NOISE, "BMP"))
    with pytest.raises(ImageError, match=r"expected an image file of at most 1,000 bytes, got more in .*large.bmp"):
        read_image(tmp_path / "large.bmp")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_no_image_and_blocks_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for read in (read_image, read_size):
        with pytest.raises(ImageError, match="to be a regular file, got a folder, a pipe or a device"):
            read(tmp_path / "pipe.png")


def test_the_size_of_a_png_needs_no_pixels() -> None:
    cut = png(40, 30, rows(40, 2))
    assert read_size(cut) == (40, 30)
    with pytest.raises(ImageError, match="is damaged"):
        read_image(cut)


def test_orientation_behind_the_pixels_of_a_png_counts_for_its_size() -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    block = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    for data in (png(40, 30, rows(40, 30), after=block), png(40, 30, rows(40, 30), before=block)):
        assert read_image(data).shape == (40, 30, 3)
        assert read_size(data) == (30, 40)


def test_mutated_photographs_are_read_or_refused() -> None:
    rng = np.random.default_rng(17)
    refused = 0
    for data in (jpeg(NOISE), jpeg(NOISE, progressive=True), jpeg(NOISE, optimize=True)):
        for _ in range(60):
            part = np.frombuffer(data, np.uint8)[: rng.integers(2, len(data))].copy()
            part[rng.integers(0, len(part), 2)] = rng.integers(0, 256, 2)
            try:
                read_image(part.tobytes() + rng.choice([b"", b"\xff\xd9"]))
            except ImageError:
                refused += 1
    assert refused > 60


# --- One decoder ------------------------------------------------------------------------------------------------------


def test_every_decoder_call_names_its_formats() -> None:
    calls, unnamed = set(), []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "PIL.Image.open", "Image.open", "PILImage.open", "PIL.open",
            ):  # fmt: skip
                calls.add(path.relative_to(PACKAGE).as_posix())
                if not any(keyword.arg == "formats" for keyword in node.keywords):
                    unnamed.append(f"{path}:{node.lineno}")
    assert unnamed == []
    # Captures of a phone are PNG files of its own screen, whose alpha means nothing.
    assert calls == {"images/reading.py", "envs/android/screen.py"}


@pytest.mark.parametrize("data", [b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\xd7\xcd\xc6\x9a" + bytes(40), b"%PDF-1.7\n"])
def test_formats_that_start_other_programs_are_not_opened(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "chart.png").write_bytes(data)
    with pytest.raises(ImageError, match="is not a readable image"):
        read_image(tmp_path / "chart.png")
    with pytest.raises(PIL.UnidentifiedImageError):
        open_image(io.BytesIO(data))
