"""Compare two screenshots: which pixels differ, in which places, and how much two images look alike."""

import numpy as np
import numpy.typing as npt

from molmo_agent.episode import Image

# Differences of up to so many levels come from antialiasing, compression and faint highlights.
_LEVELS = 32
# The least and the greatest side of a caret, and the share of its bar that differs from the ground.
_CARET_WIDTH, _CARET_HEIGHT, _CARET_FILL = (1, 24), (8, 96), 0.75

Mask = npt.NDArray[np.bool_]
"""(height, width), True for each pixel that differs."""

PixelBox = tuple[int, int, int, int]
"""(left, top, right, bottom) in pixels, right and bottom exclusive."""


def different_pixels(first: Image, second: Image, levels: int = _LEVELS) -> Mask:
    """Return which pixels of two images of one shape differ by more than so many levels."""
    # A maximum over the last axis takes ten times as long.
    red, green, blue = np.moveaxis(np.maximum(first, second) - np.minimum(first, second) > levels, 2, 0)
    mask: Mask = red | green | blue
    return mask


def changed_part(before: Image, after: Image) -> PixelBox | None:
    """Return the smallest rectangle outside of which two images of one size are equal; None where they are equal."""
    rows = (before != after).any(axis=(1, 2))
    if not rows.any():
        return None
    top, bottom = int(rows.argmax()), len(rows) - int(rows[::-1].argmax())
    columns = (before[top:bottom] != after[top:bottom]).any(axis=(0, 2))
    return int(columns.argmax()), top, len(columns) - int(columns[::-1].argmax()), bottom


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
