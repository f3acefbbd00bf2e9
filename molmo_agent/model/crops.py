"""Cut an image into overlapping crops, and compute the positions of its image tokens.

A *crop* is one square image for the vision tower. The first, the *global crop*, shows the whole image small.
The others cover a *crop grid* of (rows, columns) on a canvas; neighbours overlap by the *overlap margin*, and in the
overlap each image token is taken from one crop only. Numbers: docs/reference/preprocessing.md.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

NO_GRID = (0, 0)
"""The grid of an image with only a global crop."""

# Number of pixels per matrix product along an axis: more waste work on zeros, fewer on calls.
BAND = 8

FloatArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class CropLayout:
    """The sizes that determine crops and image tokens. Defaults: the released models."""

    # Side of a crop, in pixels.
    crop_size: int = 336
    # Side of a patch, in pixels.
    patch_size: int = 14
    # Number of patches shared with a neighbour: (left and top, right and bottom).
    margins: tuple[int, int] = (4, 4)
    # Maximum number of crops in the grid, without the global crop.
    max_crops: int = 12
    # Number of patches along one side of a pooling window.
    pooling_size: int = 2

    @property
    def side(self) -> int:
        """Number of patches along one side of a crop."""
        return self.crop_size // self.patch_size

    @property
    def window_px(self) -> int:
        """Distance of neighbouring crops in pixels."""
        return (self.side - sum(self.margins)) * self.patch_size

    @property
    def total_margin_px(self) -> int:
        """Difference between the sides of a canvas and of its windows together, in pixels."""
        return sum(self.margins) * self.patch_size

    @property
    def pooled_side(self) -> int:
        """Number of image tokens along one side of a crop."""
        return -(-self.side // self.pooling_size)

    def canvas(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) of a crop grid's canvas in pixels."""
        return grid[0] * self.window_px + self.total_margin_px, grid[1] * self.window_px + self.total_margin_px


def select_crop_grid(height: int, width: int, layout: CropLayout) -> tuple[int, int]:
    """Select the crop grid (rows, columns): the smallest upscaling, or else the smallest downscaling.

    Computed in float32 like the reference, so that ties fall the same way. A side shorter than the margins makes every
    scale negative and ends as (1, 1).
    """
    candidates = [
        (rows, columns) for rows in range(1, layout.max_crops + 1) for columns in range(1, layout.max_crops // rows + 1)
    ]
    candidates.sort(key=lambda grid: (grid[0] * grid[1], grid[0]))
    sizes = np.array(candidates, dtype=np.float32) * np.float32(layout.window_px)
    content = np.array([height - layout.total_margin_px, width - layout.total_margin_px], dtype=np.float32)
    with np.errstate(divide="ignore"):
        scales = (sizes / content).min(axis=1)
    index = np.argmax(scales) if (scales < 1).all() else np.argmin(np.where(scales >= 1, scales, np.inf))
    return candidates[int(index)]


def resized_shape(height: int, width: int, target: tuple[int, int]) -> tuple[int, int]:
    """Return the (height, width) of an image scaled to fit ``target``, truncated from float32 products.

    A side that would truncate to nothing keeps one pixel (the reference fails there).
    """
    scale = min(np.float32(target[0]) / np.float32(height), np.float32(target[1]) / np.float32(width))
    return max(int(np.float32(height) * scale), 1), max(int(np.float32(width) * scale), 1)


def _taps(size: int, new_size: int) -> tuple[IntArray, FloatArray]:
    """Return the filter of each of ``new_size`` pixels along one axis: first source pixel, (new_size, taps) weights.

    The antialiased bilinear filter of torch, in float32 as there: a triangle as wide as what one new pixel covers.
    """
    scale = np.float32(size) / np.float32(new_size)
    support = max(scale, np.float32(1))
    center = scale * (np.arange(new_size, dtype=np.float32) + np.float32(0.5))
    first = np.maximum((center - support + np.float32(0.5)).astype(np.int64), 0)
    stop = np.minimum((center + support + np.float32(0.5)).astype(np.int64), size)
    tap = np.arange((stop - first).max())
    distance = (tap + (first[:, None] - center[:, None] + np.float32(0.5))) / support
    weights = np.maximum(1 - np.abs(distance), 0) * (tap < (stop - first)[:, None])
    return first, (weights / weights.sum(1, keepdims=True)).astype(np.float32)


@lru_cache(maxsize=32)
def _bands(size: int, new_size: int) -> list[tuple[slice, slice, Tensor]]:
    """Return resizing along one axis as a few small dense matrices: (new pixels, source pixels, matrix)."""
    first, weights = _taps(size, new_size)
    taps = weights.shape[1]
    bands = []
    for start in range(0, new_size, BAND):
        stop = min(start + BAND, new_size)
        low, high = int(first[start]), min(int(first[stop - 1]) + taps, size)
        matrix = np.zeros((stop - start, high - low + taps), dtype=np.float32)
        for row, place in enumerate(first[start:stop] - low):
            matrix[row, place : place + taps] = weights[start + row]
        bands.append((slice(start, stop), slice(low, high), torch.from_numpy(matrix[:, : high - low].copy())))
    return bands


@lru_cache(maxsize=32)
def _wide_bands(size: int, new_size: int) -> list[tuple[slice, slice, Tensor]]:
    """Return :func:`_bands` for an axis with three channels side by side, to be multiplied from the right.

    They also scale eight-bit values to [0, 1].
    """
    return [
        (
            slice(new.start * 3, new.stop * 3),
            slice(old.start * 3, old.stop * 3),
            torch.kron(matrix, torch.eye(3)).T.contiguous() / 255,
        )
        for new, old, matrix in _bands(size, new_size)
    ]


def resize(pixels: Tensor, height: int, width: int, out: Tensor | None = None) -> Tensor:
    """Resize (H, W, 3) uint8 pixels to (height, width, 3) float32 in [0, 1]: bilinear, antialiased.

    The numbers of ``torch.nn.functional.interpolate`` (to rounding) in a third of its time: matrix products over pixels
    as they lie in memory, a few rows at a time, so that no large float image is ever made.

    Args:
        pixels: the image.
        height: new height.
        width: new width.
        out: (height, width * 3) to write to.
    """
    rows = torch.empty(height, pixels.shape[1] * 3)
    for new, old, matrix in _bands(pixels.shape[0], height):
        torch.mm(matrix, pixels[old].flatten(1).float(), out=rows[new])
    resized = torch.empty(height, width * 3) if out is None else out
    for new, old, matrix in _wide_bands(pixels.shape[1], width):
        torch.mm(rows[:, old], matrix, out=resized[:, new])
    return resized.unflatten(1, (width, 3))


def resize_fast(pixels: Tensor, height: int, width: int) -> Tensor:
    """Like :func:`resize` in eight bits: each value within 1/255 of the exact one, several times as fast."""
    resized = F.interpolate(
        pixels.permute(2, 0, 1)[None], size=(height, width), mode="bilinear", antialias=True, align_corners=False
    )
    return resized[0].permute(1, 2, 0)


def resize_and_pad(
    pixels: Tensor, target: tuple[int, int], *, fast: bool = False
) -> tuple[Tensor, tuple[int, int, int, int]]:
    """Fit an image into ``target`` = (height, width), centred on black.

    Args:
        pixels: (H, W, 3) uint8.
        target: (height, width).
        fast: resize in eight bits.

    Returns:
        The (height, width, 3) canvas, not normalised: float32 in [0, 1], or uint8 if ``fast``. And the image's place
        in it: (top, left, height, width).
    """
    height, width = resized_shape(pixels.shape[0], pixels.shape[1], target)
    top, left = (target[0] - height) // 2, (target[1] - width) // 2
    canvas = torch.zeros(*target, 3, dtype=torch.uint8 if fast else torch.float32)
    inside = canvas.flatten(1)[top : top + height, left * 3 : (left + width) * 3]
    if fast:
        inside.copy_(resize_fast(pixels, height, width).flatten(1))
    else:
        resize(pixels, height, width, out=inside)
    return canvas, (top, left, height, width)


def patchify(canvas: Tensor, patch: int) -> Tensor:
    """Turn (height, width, 3) pixels into (rows, columns, patch*patch*3) patches; inside: row, column, channel."""
    grid = canvas.unflatten(0, (-1, patch)).unflatten(2, (-1, patch))
    return grid.transpose(1, 2).flatten(2)


def cut_crops(patches: Tensor, layout: CropLayout, out: Tensor) -> None:
    """Cut a canvas of (rows, columns, P) patches into overlapping crops, row-major, written to (crops, N, P)."""
    step, side = layout.side - sum(layout.margins), layout.side
    windows = patches.unfold(0, side, step).unfold(1, side, step).movedim(2, -1)
    out.view(windows.shape).copy_(windows)


def _coverage(start: int, length: int, total: int, patch: int) -> FloatArray:
    """Return the share of each patch along one axis inside ``start .. start + length``."""
    inside = np.zeros(total, dtype=np.float32)
    inside[start : start + length] = 1
    return inside.reshape(-1, patch).mean(axis=1, dtype=np.float32)


def crop_masks(content: tuple[int, int, int, int], grid: tuple[int, int], layout: CropLayout) -> FloatArray:
    """Return the (1 + rows*columns, N) share of the image in every patch.

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
def _pooled_ranges(count: int, layout: CropLayout) -> list[tuple[int, int]]:
    """Return the range of pooled indices that each of ``count`` crops along one axis supplies: first, last + 1."""
    first, last = (margin // layout.pooling_size for margin in layout.margins)
    return [(first if i > 0 else 0, layout.pooled_side - (last if i < count - 1 else 0)) for i in range(count)]


def token_grid(grid: tuple[int, int], layout: CropLayout) -> tuple[int, int]:
    """Return (rows, columns) of the image tokens of a crop grid."""
    rows, columns = (sum(stop - start for start, stop in _pooled_ranges(count, layout)) for count in grid)
    return rows, columns


def image_input_idx(grid: tuple[int, int], layout: CropLayout) -> IntArray:
    """Return the (1 + rows*columns, G) positions of each crop's image features among the image's tokens.

    Counted from the image's first token; negative where another crop supplies the token.
    """
    side = layout.pooled_side
    rows, columns = token_grid(grid, layout)
    index = np.full((1 + grid[0] * grid[1], side, side), -100, dtype=np.int64)
    # Each block of tokens is: start, then per row its patches and a column token, then end.
    index[0] = 1 + (side + 1) * np.arange(side)[:, None] + np.arange(side)[None, :]
    base = 1 + side * (side + 1) + 1 + 1
    y = 0
    for i, (top, bottom) in enumerate(_pooled_ranges(grid[0], layout)):
        x = 0
        for j, (left, right) in enumerate(_pooled_ranges(grid[1], layout)):
            down = y + np.arange(bottom - top)[:, None]
            across = x + np.arange(right - left)[None, :]
            index[1 + i * grid[1] + j, top:bottom, left:right] = base + down * (columns + 1) + across
            x += right - left
        y += bottom - top
    assert grid == NO_GRID or (y, x) == (rows, columns)
    return index.reshape(len(index), -1)


def image_token_counts(grid: tuple[int, int], layout: CropLayout) -> tuple[tuple[int, int], ...]:
    """Return (rows, columns) of the global crop's token block and, if there is a grid, of the grid's."""
    overview = (layout.pooled_side, layout.pooled_side)
    return (overview, token_grid(grid, layout)) if grid != NO_GRID else (overview,)
