"""Whether what is around a point still shows what the model looked at. Works on images only.

A caret that blinks, another rendering of the same letters and the highlight of a hovered button are no change. A text
that moved, another label and a window over the point are.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from molmo_agent.episode import Image
from molmo_agent.geometry import Point
from molmo_agent.images import Mask, caret_bars, different_pixels, edge_similarity
from molmo_agent.rollout.screen_changes import CELL_PX, SMALL_CELLS, Cells, changed_cells

# Half the side of the square around a point: of the image's longer side, at least so many pixels.
PATCH_SHARE, MIN_PATCH_PX = 0.035, 48
# So many different pixels close to the point (a third of the way) are another label: a small 3 that became an 8.
INNER_PIXELS = 6
# This share of different pixels in the whole square is another content.
OUTER_SHARE = 0.01
# A caret that blinks is one bar, one that moved two; text consists of more.
_MAX_CARETS = 2
# Edges that correlate so well are those of the same things in other colours.
_SAME_EDGES = 0.8
# The same letters in other colours correlate in every small window, positively or negatively; other letters do not.
_LETTER_PX, _SAME_LETTERS = 5, 0.6
# Standard deviation of grey levels in such a window from which on it shows something.
_CONTRAST = 8.0
# So many pixels in windows that do not correlate are another letter; frames around a button are left out.
_OTHER_LETTER_PIXELS, _FRAME_PX, _BUTTON_PX = 6, 4, 20
# A highlight is lower than this share of the square; the shade behind a dialog covers all of it.
_HIGHLIGHT_SHARE = 0.7
# How far a field reaches from the point that was clicked, across and down; its caret may be at either end.
_FIELD_PX = (240, 16)
# What covers this share of the screen, over so many cells each way, is a dialog or a page.
_LARGE_SHARE, _LEAST_CELLS = 0.015, 4
# A cell that changes in at least so many of the last captures moves by itself.
_MOVES = 3
# The share of what a text changed that looks as before once it is gone, and the fewest pixels that a text changes.
_GONE_SHARE, _TEXT_PIXELS = 0.8, 16

_Patch = tuple[slice, slice]


def patch_at(point: Point, image: Image) -> _Patch:
    """Return (rows, columns) of the square around a point, cut off at the image's edges."""
    height, width = image.shape[:2]
    reach = _reach(image)
    x, y = point.to_pixels(width, height)
    return slice(max(0, y - reach), y + reach + 1), slice(max(0, x - reach), x + reach + 1)


def _reach(image: Image) -> int:
    return max(MIN_PATCH_PX, round(PATCH_SHARE * max(image.shape[:2])))


def differs(before: Image, after: Image, point: Point, known: Cells | None = None, *, strict: bool = False) -> bool:
    """Return whether what is around a point changed.

    Args:
        before: the screen that the model looked at; RGB uint8 of shape (height, width, 3).
        after: the screen now; of the same shape.
        point: where the action goes.
        known: cells whose present content is no news: carets, clocks, what moves by itself.
        strict: whether another letter counts anywhere in the square, as it was shown to a person, and not only close
            to the point.
    """
    rows, columns = patch_at(point, after)
    old, new = before[rows, columns], after[rows, columns]
    if np.array_equal(old, new):
        return False
    mask = different_pixels(old, new)
    if known is not None:
        mask &= ~_as_pixels(known, after)[rows, columns]
    mask = _without_carets(mask)
    if not (mask.sum() >= INNER_PIXELS if strict else _counts(mask, point, after)):
        return False
    return not _is_highlight(old, new, mask)


def _as_pixels(cells: Cells, image: Image) -> Mask:
    height, width = image.shape[:2]
    mask: Mask = np.kron(cells, np.ones((CELL_PX, CELL_PX), dtype=bool))[:height, :width]
    return mask


def _counts(mask: Mask, point: Point, image: Image) -> bool:
    """Return whether so many pixels differ that it cannot be chance."""
    height, width = image.shape[:2]
    x, y = point.to_pixels(width, height)
    rows, columns = patch_at(point, image)
    reach = _reach(image) // 3
    top, left = max(0, y - reach - rows.start), max(0, x - reach - columns.start)
    inner = mask[top : y + reach + 1 - rows.start, left : x + reach + 1 - columns.start]
    return bool(inner.sum() >= INNER_PIXELS or mask.sum() >= max(INNER_PIXELS, OUTER_SHARE * mask.size))


def _without_carets(mask: Mask) -> Mask:
    bars = caret_bars(mask)
    if 0 < len(bars) <= _MAX_CARETS:
        mask = mask.copy()
        for bar in bars:
            mask[bar] = False
    return mask


def _is_highlight(old: Image, new: Image, mask: Mask) -> bool:
    """Return whether the same things are shown in other colours, in a part of the square."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    if rows[-1] + 1 - rows[0] > _HIGHLIGHT_SHARE * mask.shape[0]:
        return False
    return edge_similarity(old[box], new[box]) >= _SAME_EDGES and _shows_same_letters(old[box], new[box])


def _shows_same_letters(old: Image, new: Image) -> bool:
    """Return whether each small part of two images of one shape shows the same, in whatever two colours.

    As a whole, a button with another digit in it is too similar to tell from its highlight.
    """
    first, second = (image.astype(np.float64).mean(axis=2) for image in (old, new))
    if min(first.shape) < _LETTER_PX:
        return True
    means = [_window_means(grey) for grey in (first, second)]
    variances = [_window_means(grey**2) - mean**2 for grey, mean in zip((first, second), means, strict=True)]
    deviations = [np.sqrt(np.maximum(variance, 0)) for variance in variances]
    covariance = _window_means(first * second) - means[0] * means[1]
    shows = np.maximum(*deviations) > _CONTRAST
    alike = np.abs(covariance) >= _SAME_LETTERS * deviations[0] * deviations[1]
    both = np.minimum(*deviations) > _CONTRAST / 4
    # What is lower than a button is the letters themselves, without a frame.
    frame = _FRAME_PX if min(first.shape) >= _BUTTON_PX else 0
    inside = tuple(slice(frame, side - frame) for side in shows.shape)
    return bool((shows & ~(alike & both))[inside].sum() < _OTHER_LETTER_PIXELS)


def _window_means(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the means of all square windows of ``_LETTER_PX``, (height - _LETTER_PX + 1, width - ...) of them."""
    sums = np.pad(values, ((1, 0), (1, 0))).cumsum(axis=0).cumsum(axis=1)
    side = _LETTER_PX
    means: npt.NDArray[np.float64] = (
        sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    ) / side**2
    return means


def differs_largely(before: Image, after: Image, known: Cells | None = None) -> bool:
    """Return whether something as large as a dialog came or went anywhere; images of one shape.

    Args:
        before: the screen that the model looked at; RGB uint8 of shape (height, width, 3).
        after: the screen now.
        known: cells whose present content is no news.
    """
    cells = changed_cells(before, after)
    if cells is None or not cells.any():
        return cells is None
    if known is not None:
        cells &= ~known
    spans = [int(cells.any(axis=axis).sum()) for axis in (0, 1)]
    return bool(cells.mean() >= _LARGE_SHARE and min(spans) >= _LEAST_CELLS)


def moving_cells(seen: Image, captures: Sequence[Image], point: Point | None) -> Cells | None:
    """Return the cells of ``captures`` that change by themselves, so that their present content is no news.

    That are cells that showed again what the model saw, and cells that never rest: around the point a video, and at
    the point itself something small, such as a spinner. A large thing that moves under the point may be a list.

    Args:
        seen: the screen that the model looked at.
        captures: the screen since, in short intervals; at least two.
        point: where the action goes; None: to the keyboard.

    Returns:
        None if the captures differ in size.
    """
    if any(capture.shape != seen.shape for capture in captures):
        return None
    changes = np.array([changed_cells(old, new) for old, new in itertools.pairwise(captures)], dtype=bool)
    news = np.array([changed_cells(seen, capture) for capture in captures], dtype=bool)
    moves = np.sum(changes, axis=0) >= min(_MOVES, len(changes))
    moves &= np.any(changes[-_MOVES:], axis=0)
    blinks = ~np.all(news, axis=0) & np.any(changes, axis=0)
    if point is not None and moves.sum() > SMALL_CELLS:
        moves = without_target(moves, seen, point)
    known: Cells = moves | blinks
    return known


def is_undone(before: Image, seen: Image, now: Image) -> bool:
    """Return whether what changed from ``before`` to ``seen`` looks as before again, such as a text that was taken out.

    Images of different sizes say nothing.
    """
    if not before.shape == seen.shape == now.shape:
        return False
    changed = different_pixels(before, seen)
    num_changed = int(changed.sum())
    num_left = int((changed & different_pixels(before, now)).sum())
    return num_changed >= _TEXT_PIXELS and num_left <= (1 - _GONE_SHARE) * num_changed


def focus_moved(seen: Image, captures: Sequence[Image], field: Point) -> bool:
    """Return whether what shows the focus of a field is gone: a caret, a frame.

    A caret comes back when it blinks; with another field in focus, the field never looks as it did.

    Args:
        seen: the screen while the field had the focus; RGB uint8 of shape (height, width, 3).
        captures: the screen since, over more than one blink; all of that shape.
        field: a point of the field.
    """
    height, width = seen.shape[:2]
    x, y = field.to_pixels(width, height)
    rows = slice(max(0, y - _FIELD_PX[1]), y + _FIELD_PX[1] + 1)
    columns = slice(max(0, x - _FIELD_PX[0]), x + _FIELD_PX[0] + 1)
    return all(different_pixels(seen[rows, columns], capture[rows, columns]).any() for capture in captures)


def without_target(cells: Cells, image: Image, point: Point) -> Cells:
    """Return the cells without those of what the point is on, a third of the way to the edge of its square."""
    height, width = image.shape[:2]
    x, y = point.to_pixels(width, height)
    reach = _reach(image) // 3
    rest = cells.copy()
    rows = slice(max(0, y - reach) // CELL_PX, (y + reach) // CELL_PX + 1)
    rest[rows, max(0, x - reach) // CELL_PX : (x + reach) // CELL_PX + 1] = False
    return rest
