"""The widget that belongs to a label, found in the pixels around the words: a field, a check box, a button's frame."""

import numpy as np

from molmo_agent.geometry import Box
from molmo_agent.pointers.reading.scene import Region, Scene

# All distances are in heights of the label's line, which grow with the font and with the scale of the display.
_FIELD_LOW, _FIELD_HIGH, _FIELD_LEAST_WIDTH = 0.75, 4.0, 1.05
# Old toolkits leave no room above and below the text; only an empty and wide region of this height is a field.
_TIGHT_LOW, _TIGHT_WIDTH, _TIGHT_FILL = 0.55, 4.0, 0.9
_FAR_RIGHT, _FAR_BELOW = 45.0, 2.2
_CHECK_LOW, _CHECK_HIGH, _CHECK_AWAY = 0.3, 1.15, 2.4
# A field for several lines lies directly below its label.
_AREA_HIGH, _AREA_BELOW, _AREA_FILL = 14.0, 1.2, 0.85
# The heading of an area touches it, in pixels, and has another colour, in any channel.
_TOUCHES_PX, _OTHER_SHADE = 4, 6
# A field around an icon, in heights of the icon, and its least width, in its heights.
_ICON_FIELD_HIGH, _ICON_FIELD_WIDTH, _ICON_FIELD_FILL = 2.4, 4.0, 0.9
# A field beside its label is hardly higher than two lines.
_BESIDE_HIGH = 2.6


def enclosing(scene: Scene, box: Box) -> Region | None:
    """Return the smallest region around a text that is hardly higher than it: a button, a field, a row of a list."""
    left, top, right, bottom = scene.pixels(box)
    height = bottom - top
    slack = 0.3 * height
    for region in scene.regions:
        if region.height > _FIELD_HIGH * height:
            continue
        inside = region.left <= left + slack and region.right >= right - slack
        if inside and region.top <= top + slack and region.bottom >= bottom - slack and region.fill > 0.3:
            return region
    return None


def is_framed(scene: Scene, box: Box) -> bool:
    """Tell whether a text stands in the middle of a frame that is not much wider: a button."""
    frame = enclosing(scene, box)
    if frame is None:
        return False
    left, top, right, bottom = scene.pixels(box)
    height = bottom - top
    before, after = left - frame.left, frame.right - right
    return before + after < 14 * height and abs(before - after) < max(2.5 * height, 0.3 * (before + after))


def field_around(scene: Scene, box: Box) -> Region | None:
    """Return the field that a text stands in, as a placeholder or as its value: at its left, with room behind it."""
    frame = enclosing(scene, box)
    if frame is None:
        return None
    left, top, right, bottom = scene.pixels(box)
    height = bottom - top
    at_left = left - frame.left < 3.2 * height
    if not at_left or frame.right - right <= height or _at_edge(scene, frame) or _is_heading(scene, frame):
        return None
    return frame


def field_beside(scene: Scene, box: Box, *, in_a_row: bool = False) -> tuple[Region, bool] | None:
    """Return the field that belongs to a label, and whether it lies right of it (else below it).

    Args:
        scene: where.
        box: of the label.
        in_a_row: whether other labels stand beside it, as in a menu bar: a field below must then be very near.
    """
    right_field = _right_of(scene, box)
    below_field = _below(scene, box, 1.2 if in_a_row else _FAR_BELOW)
    if right_field and below_field:
        _, top, right, bottom = scene.pixels(box)
        height = bottom - top
        # A field in the same row belongs to this label, unless it is far away and one lies directly below.
        away = right_field.left - right
        nearer_below = below_field.top - bottom < 1.2 * height and away > 8 * height
        return (below_field, False) if nearer_below else (right_field, True)
    if right_field:
        return right_field, True
    return (below_field, False) if below_field else None


def _is_heading(scene: Scene, bar: Region) -> bool:
    """Return whether an area of another colour begins right below a bar, at its left edge: the bar only names it."""
    return any(
        abs(area.top - bar.bottom) <= _TOUCHES_PX
        and abs(area.left - bar.left) <= _TOUCHES_PX
        and area.right >= bar.right - _TOUCHES_PX
        and area.height > bar.height
        and area.fill > _AREA_FILL
        and np.abs(scene.shade(area) - scene.shade(bar)).max() > _OTHER_SHADE
        for area in scene.regions
    )


def _at_edge(scene: Scene, region: Region) -> bool:
    """Return whether a region reaches the edge of the screen, as panels and bars do and fields do not."""
    return region.left <= 1 or region.right >= scene.width - 1


def _is_field(region: Region, height: float) -> bool:
    if _TIGHT_LOW * height <= region.height < _FIELD_LOW * height:
        return region.width >= _TIGHT_WIDTH * height and region.fill > _TIGHT_FILL
    fits = _FIELD_LOW * height <= region.height <= _FIELD_HIGH * height
    return fits and region.width >= max(_FIELD_LEAST_WIDTH * region.height, 1.5 * height) and region.fill > 0.35


def _right_of(scene: Scene, box: Box) -> Region | None:
    _, top, right, bottom = scene.pixels(box)
    height, middle = bottom - top, (top + bottom) / 2
    nearest: Region | None = None
    for region in scene.regions:
        ahead = right - 0.5 * height <= region.left <= right + _FAR_RIGHT * height
        level = region.top < middle < region.bottom and region.height <= _BESIDE_HIGH * height
        fits = ahead and level and _is_field(region, height) and not _at_edge(scene, region)
        # The innermost of nested ones comes first: regions are sorted by size.
        if fits and (nearest is None or region.left < nearest.left - height):
            nearest = region
    return nearest


def field_holding(scene: Scene, icon: Box) -> Region | None:
    """Return the field that has an icon at one of its ends, such as a magnifier; bars of tools are higher or fuller."""
    frame = enclosing(scene, icon)
    left, top, right, bottom = scene.pixels(icon)
    if frame is None or frame.height > _ICON_FIELD_HIGH * (bottom - top) or frame.fill < _ICON_FIELD_FILL:
        return None
    away = min(left - frame.left, frame.right - right)
    at_end = away < frame.height and frame.width >= _ICON_FIELD_WIDTH * frame.height
    return frame if at_end and not _at_edge(scene, frame) and not _is_heading(scene, frame) else None


def field_left(scene: Scene, box: Box) -> Region | None:
    """Return the field directly left of a button."""
    left, top, _, bottom = scene.pixels(box)
    height, middle = bottom - top, (top + bottom) / 2
    nearest: Region | None = None
    for region in scene.regions:
        before = left - 3 * height <= region.right <= left and region.width >= 5 * region.height
        fits = before and region.top < middle < region.bottom and _is_field(region, height) and region.fill > 0.7
        if fits and (nearest is None or region.right > nearest.right):
            nearest = region
    return nearest


def _below(scene: Scene, box: Box, far: float) -> Region | None:
    left, top, right, bottom = scene.pixels(box)
    height = bottom - top
    nearest: Region | None = None
    for region in scene.regions:
        under = bottom - 0.4 * height <= region.top <= bottom + far * height
        aligned = region.left <= left + 1.5 * height and region.right >= min(right, left + 3 * height)
        near = left - region.left < 3 * height
        one_line = _is_field(region, height) and region.width >= 3 * height
        area = region.height <= _AREA_HIGH * height and region.width >= 8 * height and region.fill > _AREA_FILL
        several_lines = area and region.top - bottom < _AREA_BELOW * height
        fits = under and aligned and near and (one_line or several_lines) and not _at_edge(scene, region)
        if fits and (nearest is None or region.top < nearest.top - 2):
            nearest = region
    return nearest


def mark_beside(scene: Scene, box: Box, *, at_right: bool = False) -> Region | None:
    """Return the check box or radio button that belongs to a label: a square left of it, else right of it.

    Args:
        scene: where.
        box: of the label.
        at_right: the one right of it comes first, as in forms whose labels end in a colon.
    """
    left, top, right, bottom = scene.pixels(box)
    height, middle = bottom - top, (top + bottom) / 2
    best: tuple[float, Region] | None = None
    for region in scene.regions:
        side = max(region.width, region.height)
        if not _CHECK_LOW * height <= side <= _CHECK_HIGH * height:
            continue
        square = 0.7 <= region.width / region.height <= 1.43
        center = (region.top + region.bottom) / 2
        before, after = left - region.right, region.left - right
        is_left = before > -0.4 * height
        away = before if is_left else after
        if square and abs(center - middle) < 0.45 * height and -0.4 * height < away < _CHECK_AWAY * height:
            # The outermost of nested squares is the frame.
            rank = away - 0.5 * side + (0.0 if is_left != at_right else height)
            if best is None or rank < best[0]:
                best = rank, region
    return best[1] if best else None
