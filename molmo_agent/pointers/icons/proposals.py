"""Find regions of a screenshot that may be icons: small groups of edges, away from text.

Recall comes first: the classifier rejects what is no icon. Edges are grouped at several distances, because the parts
of one icon (three dots, three lines) may lie further apart than two icons do elsewhere.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from molmo_agent.geometry import Box

# A step of any colour channel between neighbours, of 255. Disabled icons differ from their button by little more.
_EDGE = 16
# Edges this long in a straight line are frames and separators.
_LINE_PX = 72
_DISTANCES_PX = (0, 1, 2, 4)
_MIN_SIDE_PX, _MAX_SIDE_PX = 6, 88
# Wider or higher than this is text or a bar; a minus sign is thin and short.
_MAX_ASPECT, _MAX_THIN_PX = 2.1, 28
# A region with this part inside of a line of text is text.
_TEXT_PART = 0.6
_SAME_IOU = 0.8
MAX_REGIONS = 1200


def _edges(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Return the pixels on both sides of a step, (height, width), without those of long straight lines."""
    values = image.astype(np.int16)
    mask = np.zeros(image.shape[:2], bool)
    across = np.abs(values[:, 1:] - values[:, :-1]).max(2) > _EDGE
    down = np.abs(values[1:] - values[:-1]).max(2) > _EDGE
    # A vertical line is a column of steps across it, a horizontal one a row of steps down.
    across &= ~_runs(across, axis=0)
    down &= ~_runs(down, axis=1)
    mask[:, 1:] |= across
    mask[:, :-1] |= across
    mask[1:] |= down
    mask[:-1] |= down
    return mask


def _runs(mask: npt.NDArray[np.bool_], axis: int) -> npt.NDArray[np.bool_]:
    """Return where ``_LINE_PX`` and more pixels in a row along an axis are true."""
    inner = ndimage.minimum_filter1d(mask.view(np.uint8), _LINE_PX, axis=axis, mode="constant")
    return ndimage.maximum_filter1d(inner, _LINE_PX, axis=axis, mode="constant", origin=-1).view(bool)


def _groups(mask: npt.NDArray[np.bool_], distance_px: int) -> npt.NDArray[np.float64]:
    """Return boxes (num, 4) in pixels of edges that lie at most ``2 * distance_px`` apart."""
    size = 2 * distance_px + 1
    grown = ndimage.maximum_filter(mask.view(np.uint8), size=size, mode="constant")
    labels, _ = ndimage.label(grown, structure=np.ones((3, 3)))
    # The mask holds the pixels on both sides of a step: one pixel more all around than the icon.
    inset = distance_px + 1
    boxes = [
        (x.start + inset, y.start + inset, x.stop - inset, y.stop - inset) for y, x in ndimage.find_objects(labels)
    ]
    return np.array(boxes, float).reshape(-1, 4)


def _plausible(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which boxes have the size and shape of an icon."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    longer, shorter = np.maximum(width, height), np.minimum(width, height)
    shaped = (longer <= _MAX_ASPECT * shorter) | ((longer <= _MAX_THIN_PX) & (shorter >= 1))
    return shaped & (longer >= _MIN_SIDE_PX) & (longer <= _MAX_SIDE_PX)


def _in_text(boxes: npt.NDArray[np.float64], text: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """Return which boxes lie in lines of text; a line of one or two characters may be an icon that was read."""
    words = text[(text[:, 2] - text[:, 0]) > 1.8 * (text[:, 3] - text[:, 1])]
    if not len(words):
        return np.zeros(len(boxes), bool)
    low = np.maximum(boxes[:, None, :2], words[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], words[None, :, 2:])
    inside = np.clip(high - low, 0, None).prod(2)
    area = np.maximum((boxes[:, 2:] - boxes[:, :2]).prod(1), 1.0)
    result: npt.NDArray[np.bool_] = (inside / area[:, None]).max(1) > _TEXT_PART
    return result


def _distinct(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Drop boxes that nearly equal an earlier one."""
    rows: list[int] = []
    by_cell: dict[tuple[int, int], list[int]] = {}
    for number, (left, top, right, bottom) in enumerate(boxes):
        cell = (int(left + right) // 16, int(top + bottom) // 16)
        near = [k for dx in (-1, 0, 1) for dy in (-1, 0, 1) for k in by_cell.get((cell[0] + dx, cell[1] + dy), ())]
        area = max((right - left) * (bottom - top), 1.0)
        for other in near:
            x0, y0, x1, y1 = boxes[other]
            both = max(min(right, x1) - max(left, x0), 0.0) * max(min(bottom, y1) - max(top, y0), 0.0)
            if both > _SAME_IOU * (area + (x1 - x0) * (y1 - y0) - both):
                break
        else:
            rows.append(number)
            by_cell.setdefault(cell, []).append(number)
    return boxes[rows]


def propose(image: npt.NDArray[np.uint8], text_boxes: Sequence[Box] = ()) -> npt.NDArray[np.float64]:
    """Return the regions of a screenshot that may be icons.

    Args:
        image: (height, width, 3), RGB.
        text_boxes: lines of text that an OCR read, normalized; regions in them are left out.

    Returns:
        (num_regions, 4), left, top, right, bottom in pixels, at most ``MAX_REGIONS``.
    """
    mask = _edges(image)
    # From far to near: of nearly equal boxes the first stays.
    boxes = np.concatenate([_groups(mask, distance) for distance in reversed(_DISTANCES_PX)])
    boxes = boxes[_plausible(boxes)]
    height, width = image.shape[:2]
    text = np.array([[box.left, box.top, box.right, box.bottom] for box in text_boxes], float).reshape(-1, 4)
    boxes = boxes[~_in_text(boxes, text * (width, height, width, height))]
    return _distinct(boxes)[:MAX_REGIONS]
