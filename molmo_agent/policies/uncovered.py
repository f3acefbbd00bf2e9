"""Whether a click only closed something that lay over or beside its target: a dialog, a menu, a notification.

Many systems take a click beside a menu, or on the dimmed page behind a dialog, as a wish to close it, and the target
never receives that click. The screen changes all the same. Two traces of it are visible, and in both of them the
target still looks as it did:

- What dimmed the screen is gone: the target and most of the screen are the same picture with more contrast.
- A framed rectangle is gone, and shows what lay under it.

A button of the dialog itself goes away with it, so a click on "OK" keeps its effect. Where that button lay over the
target, words tell: another name was hit, and that of the target is to be read there afterwards.
"""

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from molmo_agent.actions import Click, LongPress, points_of
from molmo_agent.episode import Image, Step
from molmo_agent.geometry import Point
from molmo_agent.images import changed_part, different_pixels, pieces
from molmo_agent.policies.progress import same_place
from molmo_agent.risk.folding import fold, words_of
from molmo_agent.screen_text import TextReader

# Where the closing of something else is what is asked for.
_CLOSES = re.compile(
    r"(?<!\w)(?:clos|hid(?:e|ing)|dismiss|cancel|back|prev|undo|collaps|minimi[sz]|clear|remov|delet|(?:de|un)select"
    r"|restor|reset|return|escap|desktop|toggle|less|(?:turn|switch) off|disabl)",
    re.IGNORECASE,
)
_BESIDE = re.compile(r"(?<!\w)(?:outside|away from|background|backdrop|blank|empty|dimmed|scrim)(?!\w)", re.IGNORECASE)
# Half the side of what is compared as the target; its different pixels, if it does not react. Faint highlights under
# the pointer differ by less than `different_pixels` counts.
_TARGET_PX, _FEW_PIXELS, _REACTION = 28, 8, 48
# Patches of the screen that are compared; they have a texture from this deviation on, in levels.
_PATCH_PX, _TEXTURE = 32, 2.5
# How alike two patches are that show the same, how much more contrast the later one has, and how far this may differ
# from place to place.
_ALIKE, _CLEARER, _SPREAD = 0.9, 1.12, 0.3
# The share of the patches with a texture that became clearer: the others lay behind what closed.
_LEAST_SHARE = 0.5
# The least sides of a menu or a notification, the step in levels at its frame, how far its shadow reaches, and the
# share of each side of it on which there is such a step, before it closed and after.
_LEAST_PX, _STEP, _SHADOW_PX, _FRAMED, _UNFRAMED = 40, 6, 24, 0.8, 0.5
# Pieces that are less apart than this are one.
_GAP_PX = 9
# The share of pixels at an edge where something is shown.
_LEAST_EDGES = 0.005

# How far around a point its own name and that of an icon's caption lie, as shares of the longer side of the screen.
_NAME, _CAPTION = 0.04, 0.12
_QUOTED = re.compile(r'"([^"]+)"')
# What an instruction says besides the name of its target.
_NO_NAMES = frozenset(
    words_of(
        "the a an on in at to of app application button icon link tab menu item entry field switch key card page click "
        "tap press hit touch open start launch choose select pick show view see go long double please and then"
    )
)

_Grey = npt.NDArray[np.float32]


def only_closed(step: Step, history: Sequence[Step], after: Image) -> bool:
    """Return whether a click changed no more than that something over or beside its target closed.

    Args:
        step: that was sent.
        history: the steps of the run up to this one at least: what an earlier step opened may close.
        after: the screen after it; RGB uint8 of shape (height, width, 3).
    """
    before, words = step.observation.image, step.decision.instruction
    if not isinstance(step.action, Click | LongPress) or before.shape != after.shape or _BESIDE.search(words):
        return False
    points = points_of(step.action)
    if all(_is_undimmed(point, before, after) for point in points):
        return True
    if _CLOSES.search(words) or not all(_is_still(point, before, after) for point in points):
        return False
    earlier = [one.observation.image for one in _since_this_place(step, history)]
    return _closes_a_rectangle(before, after, earlier)


def hit_what_covered(step: Step, after: Image, reader: TextReader) -> bool:
    """Return whether a click hit a named part of something that closed, and uncovered its target there.

    Args:
        step: that was sent.
        after: the screen after it; RGB uint8 of shape (height, width, 3).
        reader: reads both screens, if something closed.

    Raises:
        ModelError: the reader failed.
    """
    before, words = step.observation.image, step.decision.instruction
    if not isinstance(step.action, Click | LongPress) or before.shape != after.shape:
        return False
    names = set(words_of(fold(" ".join(_QUOTED.findall(words)) or words))) - _NO_NAMES
    if not names or not (_is_mostly_undimmed(before, after) or _closes_a_rectangle(before, after, ())):
        return False
    point = points_of(step.action)[0]
    hit = _words_around(point, before, _NAME, reader)
    if not hit or hit & names:
        return False
    return names <= _words_around(point, after, _CAPTION, reader)


def _words_around(point: Point, image: Image, share: float, reader: TextReader) -> set[str]:
    """Return the folded words of the lines that lie within a share of the screen's longer side around a point."""
    height, width = image.shape[:2]
    reach, x, y = share * max(height, width), point.x * width, point.y * height
    near = [
        line.text
        for line in reader.read(image)
        if line.box.left * width - reach <= x <= line.box.right * width + reach
        and line.box.top * height - reach <= y <= line.box.bottom * height + reach
    ]
    return set(words_of(fold(" ".join(near))))


def _since_this_place(step: Step, history: Sequence[Step]) -> list[Step]:
    """Return the steps before one, back to a click at the same place: a second one may close what the first opened."""
    steps: list[Step] = []
    for one in reversed(history[: step.index]):
        if points_of(one.action) and same_place(one.action, step.action):
            break
        steps.append(one)
    return steps


def _grey(image: Image) -> _Grey:
    """Return the brightness in levels."""
    # A mean over the last axis takes ten times as long.
    grey: _Grey = image[:, :, 0].astype(np.float32)
    grey += image[:, :, 1]
    grey += image[:, :, 2]
    grey /= 3
    return grey


def _is_undimmed(point: Point, before: Image, after: Image) -> bool:
    """Return whether the target and most of the screen show the same with more contrast."""
    height, width = after.shape[:2]
    x, y = point.to_pixels(width, height)
    around = slice(max(0, y - _TARGET_PX), y + _TARGET_PX), slice(max(0, x - _TARGET_PX), x + _TARGET_PX)
    old, new = (_grey(image[around]).reshape(1, -1) for image in (before, after))
    gain = float(_gains(old, new)[0])
    if not gain >= _CLEARER:
        return False
    # A number that counts up on the target is a reaction.
    rest = new - new.mean() - gain * (old - old.mean())
    if int((np.abs(rest) > _REACTION).sum()) >= _FEW_PIXELS:
        return False
    return _share_with(gain, _gains_of_patches(before, after)) >= _LEAST_SHARE


def _is_mostly_undimmed(before: Image, after: Image) -> bool:
    """Return whether most of the screen shows the same with more contrast."""
    changed = changed_part(before, after)
    if changed is None:
        return False
    left, top, right, bottom = (side // _PATCH_PX * _PATCH_PX for side in changed)
    part = slice(top, bottom + _PATCH_PX), slice(left, right + _PATCH_PX)
    # Most clicks change a small part, and make nothing in it clearer.
    if not (_gains_of_patches(before[part], after[part]) >= _CLEARER).any():
        return False
    gains = _gains_of_patches(before, after)
    alike = gains[gains > 0]
    if not len(alike):
        return False
    gain = float(np.median(alike))
    return gain >= _CLEARER and _share_with(gain, gains) >= _LEAST_SHARE


def _gains_of_patches(before: Image, after: Image) -> _Grey:
    """Return the gains in contrast of the patches of a screen that have a texture, in no order."""
    old, new = _patches(before), _patches(after)
    changed = (old != new).any(axis=1)
    # Where nothing changed, the contrast is the same.
    same = old[~changed].std(axis=1) >= _TEXTURE
    old, new = old[changed], new[changed]
    textured = np.maximum(old.std(axis=1), new.std(axis=1)) >= _TEXTURE
    gains: _Grey = np.concatenate([np.ones(same.sum(), np.float32), _gains(old[textured], new[textured])])
    return gains


def _patches(image: Image) -> _Grey:
    """Return the brightness in the whole patches of an image, one in each row."""
    rows, columns = image.shape[0] // _PATCH_PX, image.shape[1] // _PATCH_PX
    grey = _grey(image[: rows * _PATCH_PX, : columns * _PATCH_PX])
    return grey.reshape(rows, _PATCH_PX, columns, _PATCH_PX).swapaxes(1, 2).reshape(rows * columns, -1)


def _share_with(gain: float, gains: _Grey) -> float:
    """Return the share of gains that are about as large as one; 0 without any."""
    return float((np.abs(gains / gain - 1) <= _SPREAD).mean()) if len(gains) else 0.0


def _gains(before: _Grey, after: _Grey) -> _Grey:
    """Return the contrast of each row of pixels as a multiple of that before; 0 where another picture is shown."""
    old, new = (rows - rows.mean(axis=1, keepdims=True) for rows in (before, after))
    deviations = [np.sqrt((rows**2).mean(axis=1)) for rows in (old, new)]
    product = deviations[0] * deviations[1]
    is_same = (deviations[1] >= _TEXTURE) & ((old * new).mean(axis=1) >= _ALIKE * product) & (product > 0)
    gains: _Grey = np.where(is_same, deviations[1] / np.maximum(deviations[0], 1e-6), 0).astype(np.float32)
    return gains


def _is_still(point: Point, before: Image, after: Image) -> bool:
    """Return whether the target looks as before."""
    height, width = after.shape[:2]
    x, y = point.to_pixels(width, height)
    around = slice(max(0, y - _TARGET_PX), y + _TARGET_PX), slice(max(0, x - _TARGET_PX), x + _TARGET_PX)
    return int(different_pixels(before[around], after[around]).sum()) < _FEW_PIXELS


def _closes_a_rectangle(before: Image, after: Image, earlier: Sequence[Image]) -> bool:
    """Return whether all that changed much is a framed rectangle that is gone, and showed what lay under it."""
    changed = changed_part(before, after)
    if changed is None:
        return False
    left, top, right, bottom = changed
    # The gaps and the frame of what closed lie around it.
    part = slice(max(0, top - _GAP_PX), bottom + _GAP_PX), slice(max(0, left - _GAP_PX), right + _GAP_PX)
    before, after = before[part], after[part]
    boxes = [
        box
        for box in pieces(_closed_gaps(different_pixels(before, after, _STEP)))
        if min(box[0].stop - box[0].start, box[1].stop - box[1].start) >= _LEAST_PX
    ]
    if not boxes:
        return False
    old, new = _grey(before), _grey(after)
    return all(
        _frame(old, box) >= _FRAMED
        and _frame(new, box) <= _UNFRAMED
        and (_is_textured(new[box]) or any(_shows_again(image[part], after, box) for image in earlier))
        for box in boxes
    )


def _closed_gaps(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return a mask in which what is few pixels apart is one piece."""
    from scipy import ndimage

    joined: npt.NDArray[np.bool_] = ndimage.maximum_filter(mask, size=_GAP_PX)
    return joined


def _frame(grey: _Grey, box: tuple[slice, slice]) -> float:
    """Return the share of the least framed side of a box that has an edge along it, at most a shadow inside."""
    rows, columns = box
    sides = []
    for image, (across, along) in ((grey, (rows, columns)), (grey.T, (columns, rows))):
        inner = slice(along.start + _SHADOW_PX // 2, along.stop - _SHADOW_PX // 2)
        edges = (np.abs(np.diff(image[:, inner], axis=0)) >= _STEP).mean(axis=1)
        for start, stop in (
            (across.start - 1, across.start + _SHADOW_PX),
            (across.stop - _SHADOW_PX, across.stop),
        ):
            side = edges[max(0, start) : stop]
            sides.append(float(side.max()) if len(side) else 0.0)
    return min(sides)


def _is_textured(grey: _Grey) -> bool:
    """Return whether something is shown there, and not only one colour."""
    across, down = (np.abs(np.diff(grey, axis=axis)) >= _STEP for axis in (1, 0))
    return bool((across[:-1] | down[:, :-1]).mean() >= _LEAST_EDGES)


def _shows_again(earlier: Image, after: Image, box: tuple[slice, slice]) -> bool:
    """Return whether a place looks as on an earlier screen."""
    return earlier.shape == after.shape and not different_pixels(earlier[box], after[box]).any()
