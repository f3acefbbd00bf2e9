"""Molmo's preprocessing written down step by step, as the baseline that ours is measured against.

Plain float32 numpy and torch, one step after another, nothing shared and nothing skipped; it passes the same golden
cases (tests/test_benchmarks.py).
"""

import numpy as np
import torch
from torch.nn import functional as F

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], dtype=np.float32)
STD = np.array([0.26862954, 0.26130258, 0.27577711], dtype=np.float32)
CROP, PATCH, MARGIN, POOL = 336, 14, 4, 2
SIDE = CROP // PATCH
WINDOW = (SIDE - 2 * MARGIN) * PATCH


def fit(image: np.ndarray, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Resize into (height, width), pad and normalise; return pixels and which of them are picture."""
    scale = min(np.float32(height) / np.float32(image.shape[0]), np.float32(width) / np.float32(image.shape[1]))
    new_height, new_width = int(np.float32(image.shape[0]) * scale), int(np.float32(image.shape[1]) * scale)
    pixels = torch.from_numpy(image.astype(np.float32) / 255).permute(2, 0, 1)[None]
    pixels = F.interpolate(pixels, (new_height, new_width), mode="bilinear", antialias=True, align_corners=False)
    resized = np.clip(pixels[0].permute(1, 2, 0).numpy(), 0, 1)
    top, left = (height - new_height) // 2, (width - new_width) // 2
    around = [(top, height - new_height - top), (left, width - new_width - left)]
    padded = np.pad(resized, [*around, (0, 0)])
    mask = np.pad(np.ones((new_height, new_width), dtype=bool), around)
    return (padded - MEAN) / STD, mask


def grid_of(height: int, width: int, max_crops: int) -> tuple[int, int]:
    """Choose rows and columns of the crop grid."""
    grids = [(i, j) for i in range(1, max_crops + 1) for j in range(1, max_crops + 1) if i * j <= max_crops]
    grids.sort(key=lambda grid: (grid[0] * grid[1], grid[0]))
    sizes = np.array(grids, dtype=np.float32) * WINDOW
    inner = np.array([height, width], dtype=np.float32) - 2 * MARGIN * PATCH
    with np.errstate(divide="ignore"):
        scales = (sizes / inner).min(-1)
    best = np.argmax(scales) if np.all(scales < 1) else np.argmin(np.where(scales < 1, np.inf, scales))
    return grids[int(best)]


def to_patches(crop: np.ndarray) -> np.ndarray:
    """Cut (336, 336, ...) into (576, 14*14*...)."""
    rest = crop.shape[2:]
    cut = crop.reshape(SIDE, PATCH, SIDE, PATCH, *rest).swapaxes(1, 2)
    return cut.reshape(SIDE * SIDE, -1)


def preprocess(image: np.ndarray, max_crops: int = 12) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return pixel values (C, 576, 588), masks (C, 576) and indices (C, 144) of a (height, width, 3) uint8 picture."""
    rows, columns = grid_of(image.shape[0], image.shape[1], max_crops)
    canvas, mask = fit(image, rows * WINDOW + 2 * MARGIN * PATCH, columns * WINDOW + 2 * MARGIN * PATCH)
    overview, _ = fit(image, CROP, CROP)
    crops, masks, indices = [to_patches(overview)], [], []
    pooled, overlap = SIDE // POOL, MARGIN // POOL
    indices.append([1 + r * (pooled + 1) + c for r in range(pooled) for c in range(pooled)])
    base = 1 + pooled * (pooled + 1) + 1 + 1
    width = columns * WINDOW // (PATCH * POOL) + 2 * overlap
    for i in range(rows):
        for j in range(columns):
            place = slice(i * WINDOW, i * WINDOW + CROP), slice(j * WINDOW, j * WINDOW + CROP)
            crops.append(to_patches(canvas[place]))
            masks.append(to_patches(mask[place][..., None]).astype(np.float32).mean(-1))
            index = []
            for r in range(pooled):
                for c in range(pooled):
                    first_row, last_row = (overlap if i else 0), pooled - (overlap if i < rows - 1 else 0)
                    first, last = (overlap if j else 0), pooled - (overlap if j < columns - 1 else 0)
                    if first_row <= r < last_row and first <= c < last:
                        step = WINDOW // (PATCH * POOL)
                        index.append(base + (i * step + r) * (width + 1) + j * step + c)
                    else:
                        index.append(-100)
            indices.append(index)
    masks.append(np.full(SIDE * SIDE, -1, dtype=np.float32))
    return np.stack(crops).astype(np.float32), np.stack(masks), np.array(indices)
