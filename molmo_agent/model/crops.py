"""How a picture becomes overlapping crops and image tokens; plain arithmetic on arrays, knows no model and no text.

A *crop* is one square picture for the vision tower; the first one is always the *global crop*, the whole picture small.
The others cover a *crop grid* of (rows, columns) on a canvas; neighbours overlap by the *overlap margin*, and in the
overlap each image token is taken from one crop only. Numbers: molmo-model sections 3.2 to 3.4.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as PILImage
from torch.nn import functional as F

from molmo_agent.episode import Image

NO_GRID = (0, 0)
"""The grid of a picture that is shown as its global crop alone."""

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CropLayout:
    """The sizes that decide where crops and image tokens go. Defaults: the released models."""

    # Side of a crop, in pixels.
    crop_size: int = 336
    # Side of a patch, in pixels.
    patch_size: int = 14
    # Patches of a crop that its neighbour also sees: (left and top, right and bottom).
    margins: tuple[int, int] = (4, 4)
    # Most crops of the grid; the global crop is not counted.
    max_crops: int = 12
    # Patches along one side of what becomes one image token.
    pooling_size: int = 2

    @property
    def side(self) -> int:
        """Patches along one side of a crop."""
        return self.crop_size // self.patch_size

    @property
    def window_px(self) -> int:
        """Pixels from one crop to the next."""
        return (self.side - sum(self.margins)) * self.patch_size

    @property
    def total_margin_px(self) -> int:
        """Pixels by which a canvas is larger than its windows."""
        return sum(self.margins) * self.patch_size

    @property
    def pooled_side(self) -> int:
        """Image tokens along one side of a crop."""
        return -(-self.side // self.pooling_size)

    def canvas(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Return (height, width) in pixels of the canvas that a crop grid covers."""
        return grid[0] * self.window_px + self.total_margin_px, grid[1] * self.window_px + self.total_margin_px


def select_crop_grid(height: int, width: int, layout: CropLayout) -> tuple[int, int]:
    """Choose (rows, columns): the least enlargement that loses no resolution, else the least reduction.

    Computed in float32 like the reference, so that ties fall the same way. A side shorter than the margins makes every
    scale negative and ends as (1, 1).
    """
    candidates = [
        (rows, columns)
        for rows in range(1, layout.max_crops + 1)
        for columns in range(1, layout.max_crops + 1)
        if rows * columns <= layout.max_crops
    ]
    candidates.sort(key=lambda grid: (grid[0] * grid[1], grid[0]))
    sizes = np.array(candidates, dtype=np.float32) * np.float32(layout.window_px)
    content = np.array([height - layout.total_margin_px, width - layout.total_margin_px], dtype=np.float32)
    with np.errstate(divide="ignore"):
        scales = (sizes / content).min(axis=1)
    index = np.argmax(scales) if (scales < 1).all() else np.argmin(np.where(scales >= 1, scales, np.inf))
    return candidates[int(index)]


def resized_size(height: int, width: int, target: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of a picture scaled to fit ``target``, truncated from float32 products.

    A side that would truncate to nothing keeps one pixel (the reference fails there).
    """
    scale = min(np.float32(target[0]) / np.float32(height), np.float32(target[1]) / np.float32(width))
    return max(int(np.float32(height) * scale), 1), max(int(np.float32(width) * scale), 1)


def resize_and_pad(image: Image, target: tuple[int, int]) -> tuple[FloatArray, tuple[int, int, int, int]]:
    """Fit a picture into ``target`` = (height, width), centred on black.

    Returns:
        The (height, width, 3) float32 canvas in [0, 1], not normalised, and the picture's place in it:
        (top, left, height, width).
    """
    height, width = resized_size(image.shape[0], image.shape[1], target)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div_(255).unsqueeze(0)
    resized = F.interpolate(pixels, size=(height, width), mode="bilinear", antialias=True, align_corners=False)
    top, left = (target[0] - height) // 2, (target[1] - width) // 2
    canvas = np.zeros((*target, 3), dtype=np.float32)
    canvas[top : top + height, left : left + width] = resized[0].clamp_(0, 1).permute(1, 2, 0).numpy()
    return canvas, (top, left, height, width)


def resize_and_pad_fast(
    image: Image, target: tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], tuple[int, int, int, int]]:
    """Like :func:`resize_and_pad` in eight bits: each value within 1/255 of the exact one, several times as fast."""
    height, width = resized_size(image.shape[0], image.shape[1], target)
    resized = PILImage.fromarray(image).resize((width, height), PILImage.Resampling.BILINEAR)
    top, left = (target[0] - height) // 2, (target[1] - width) // 2
    canvas = np.zeros((*target, 3), dtype=np.uint8)
    canvas[top : top + height, left : left + width] = np.asarray(resized)
    return canvas, (top, left, height, width)


def patchify(crops: npt.NDArray[Any], patch: int) -> npt.NDArray[Any]:
    """Turn (C, side, side, 3) pixels into (C, N, patch*patch*3): patches row-major; inside: row, column, channel."""
    num_crops, height, width, _ = crops.shape
    grid = crops.reshape(num_crops, height // patch, patch, width // patch, patch, 3)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(num_crops, -1, patch * patch * 3)


def _coverage(start: int, length: int, total: int, patch: int) -> FloatArray:
    """Return the share of each patch along one axis that lies in ``start .. start + length``."""
    inside = np.zeros(total, dtype=np.float32)
    inside[start : start + length] = 1
    return inside.reshape(-1, patch).mean(axis=1, dtype=np.float32)


def crop_masks(content: tuple[int, int, int, int], grid: tuple[int, int], layout: CropLayout) -> FloatArray:
    """Return (1 + rows*columns, N): the share of every patch that is picture.

    The rows are in the order the released weights were trained with: those of the grid's crops first and a row of -1
    last, although the global crop comes *first* among the crops. So every crop carries its successor's mask.
    """
    top, left, height, width = content
    canvas_height, canvas_width = layout.canvas(grid) if grid != NO_GRID else (layout.crop_size, layout.crop_size)
    vertical = _coverage(top, height, canvas_height, layout.patch_size)
    horizontal = _coverage(left, width, canvas_width, layout.patch_size)
    step = layout.side - sum(layout.margins)
    if grid == NO_GRID:
        return np.outer(vertical, horizontal).reshape(1, -1).astype(np.float32)
    masks = np.full((1 + grid[0] * grid[1], layout.side**2), -1, dtype=np.float32)
    for index in range(grid[0] * grid[1]):
        row, column = divmod(index, grid[1])
        down = vertical[row * step : row * step + layout.side]
        across = horizontal[column * step : column * step + layout.side]
        masks[index] = np.outer(down, across).ravel()
    return masks


@lru_cache(maxsize=256)
def _kept(count: int, layout: CropLayout) -> list[tuple[int, int]]:
    """Return, for each of ``count`` crops along one axis, the first kept pooled index and the one after the last."""
    first, last = (margin // layout.pooling_size for margin in layout.margins)
    return [(first if i > 0 else 0, layout.pooled_side - (last if i < count - 1 else 0)) for i in range(count)]


def token_grid(grid: tuple[int, int], layout: CropLayout) -> tuple[int, int]:
    """Return (rows, columns) of the image tokens of a crop grid."""
    rows, columns = (sum(stop - start for start, stop in _kept(count, layout)) for count in grid)
    return rows, columns


def image_input_idx(grid: tuple[int, int], layout: CropLayout) -> IntArray:
    """Return (1 + rows*columns, G): where each crop's image features go among the picture's tokens.

    Counted from the picture's first token; negative where another crop supplies the token.
    """
    side = layout.pooled_side
    rows, columns = token_grid(grid, layout)
    index = np.full((1 + grid[0] * grid[1], side, side), -100, dtype=np.int64)
    # Each block of tokens is: start, then per row its patches and a column token, then end.
    index[0] = 1 + (side + 1) * np.arange(side)[:, None] + np.arange(side)[None, :]
    base = 1 + side * (side + 1) + 1 + 1
    y = 0
    for i, (top, bottom) in enumerate(_kept(grid[0], layout)):
        x = 0
        for j, (left, right) in enumerate(_kept(grid[1], layout)):
            down = y + np.arange(bottom - top)[:, None]
            across = x + np.arange(right - left)[None, :]
            index[1 + i * grid[1] + j, top:bottom, left:right] = base + down * (columns + 1) + across
            x += right - left
        y += bottom - top
    assert grid == NO_GRID or (y, x) == (rows, columns)
    return index.reshape(len(index), -1)


def image_token_counts(grid: tuple[int, int], layout: CropLayout) -> tuple[tuple[int, int], ...]:
    """Return (rows, columns) of the global crop's block of tokens and of the grid's, where there is a grid."""
    overview = (layout.pooled_side, layout.pooled_side)
    return (overview, token_grid(grid, layout)) if grid != NO_GRID else (overview,)


def canvas_to_crops(canvas: npt.NDArray[Any], grid: tuple[int, int], layout: CropLayout) -> npt.NDArray[Any]:
    """Cut (height, width, 3) into (rows*columns, crop_size, crop_size, 3) overlapping crops, row-major."""
    step, side = layout.window_px, layout.crop_size
    return np.stack(
        [
            canvas[row * step : row * step + side, column * step : column * step + side]
            for row in range(grid[0])
            for column in range(grid[1])
        ]
    )
