from pathlib import Path

import numpy as np
import pytest
import torch
from golden_images import golden_image
from PIL import Image

from molmo_agent.errors import ImageError
from molmo_agent.model.crops import CropLayout, image_input_idx, resize, select_crop_grid, token_grid
from molmo_agent.model.image_processor import MolmoImageProcessor, load_image


@pytest.mark.parametrize("grid", [(1, 1), (1, 4), (3, 4), (6, 6), (12, 1)])
def test_every_image_token_of_the_grid_gets_exactly_one_feature(grid: tuple[int, int]) -> None:
    layout = CropLayout()
    index = image_input_idx(grid, layout)
    kept = index[index >= 0]
    rows, columns = token_grid(grid, layout)
    assert len(kept) == len(set(kept.tolist())) == 144 + rows * columns
    assert (rows, columns) == (8 * grid[0] + 4, 8 * grid[1] + 4)


@pytest.mark.parametrize(("height", "width"), [(10, 4000), (4000, 10), (1, 1), (2, 3000), (10, 30_000)])
def test_extreme_shapes_are_processed_where_the_reference_fails(height: int, width: int) -> None:
    arrays, _ = MolmoImageProcessor().process_one(np.full((height, width, 3), 200, np.uint8))
    assert np.isfinite(arrays["pixel_values"]).all()


def test_a_screen_of_640_by_480_makes_the_grid_that_nano_is_trained_on() -> None:
    layout = CropLayout(crop_size=200, patch_size=10, margins=(2, 2))
    assert select_crop_grid(480, 640, layout) == (3, 4)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (30, 20), "red")
    exif = picture.getexif()
    exif[0x0112] = 6  # turn by 90 degrees
    picture.save(tmp_path / "turned.jpg", exif=exif)
    assert load_image(tmp_path / "turned.jpg").shape == (30, 20, 3)


@pytest.mark.parametrize("mode", ["L", "RGBA", "CMYK", "P", "1", "I;16", "LA"])
def test_pictures_of_every_mode_become_rgb(mode: str, tmp_path: Path) -> None:
    path = tmp_path / ("picture.tif" if mode in ("CMYK", "I;16") else "picture.png")
    Image.new(mode, (8, 6)).save(path)
    assert load_image(path).shape == (6, 8, 3)


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 0x8000, np.uint16)).save(tmp_path / "deep.png")
    assert load_image(tmp_path / "deep.png")[0, 0].tolist() == [128, 128, 128]


def test_a_file_that_is_no_picture_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ImageError, match="is not a readable image"):
        load_image(tmp_path / "notes.txt")


def test_a_truncated_picture_is_told_so(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "whole.png")
    data = (tmp_path / "whole.png").read_bytes()
    (tmp_path / "half.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(ImageError, match="is not a readable image"):
        load_image(tmp_path / "half.png")


def test_a_missing_file_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="there is no file"):
        load_image(tmp_path / "nowhere.png")


@pytest.mark.parametrize(
    "array", [np.zeros((4, 4, 3), np.float32), np.zeros((3, 4, 4, 3), np.uint8), np.zeros((4, 4, 2), np.uint8)]
)
def test_an_array_of_another_kind_is_told_so(array: np.ndarray) -> None:
    with pytest.raises(ImageError, match="expected an image as uint8 array"):
        load_image(array)


def test_a_picture_without_pixels_is_told_so() -> None:
    with pytest.raises(ImageError, match="at least one pixel"):
        load_image(np.zeros((0, 4, 3), np.uint8))


def test_sizes_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="expected crop_size to be a multiple"):
        MolmoImageProcessor(crop_size=335)


@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (90, 60), (333, 471), (2000, 150)])
def test_fast_pixels_are_within_one_255th_of_the_exact_ones(height: int, width: int) -> None:
    image = golden_image(height, width, 3)
    exact, grid = MolmoImageProcessor(image_mean=(0, 0, 0), image_std=(1, 1, 1)).process_one(image)
    fast, same = MolmoImageProcessor(fast=True).process_one(image)
    assert grid == same
    assert fast["pixel_values"].dtype == np.uint8
    assert np.abs(fast["pixel_values"] / 255 - exact["pixel_values"]).max() <= 1.001 / 255
    for name in ("image_masks", "image_input_idx"):
        np.testing.assert_array_equal(fast[name], exact[name])


@pytest.mark.parametrize("size", [(30_000, 7), (1080, 567), (64, 64), (10, 1), (1, 50), (7, 100), (500, 499)])
def test_resizing_gives_the_numbers_of_torch(size: tuple[int, int]) -> None:
    before, after = size
    pixels = torch.randint(0, 256, (before, 5, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    for tall in (pixels, pixels.transpose(0, 1).contiguous()):
        new = (after, 5) if tall is pixels else (5, after)
        planes = tall.permute(2, 0, 1)[None].float() / 255
        expected = torch.nn.functional.interpolate(
            planes, size=new, mode="bilinear", antialias=True, align_corners=False
        )
        torch.testing.assert_close(resize(tall, *new), expected[0].permute(1, 2, 0), atol=4e-6, rtol=0)


def test_a_mode_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="expected crop_mode to be 'overlap' or 'resize', got 'tile'"):
        MolmoImageProcessor(crop_mode="tile")  # type: ignore[arg-type]
