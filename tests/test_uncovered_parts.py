"""What closed is looked for in the part of the screen that changed, with the results of a look at all of it."""

import numpy as np
from scipy import ndimage

from molmo_agent.images import different_pixels, pieces
from molmo_agent.policies import uncovered

SIZES = (330, 260), (320, 256), (250, 401)


def grey(image):
    return image.astype(np.float32).mean(axis=2)


def gains_everywhere(before, after):
    """Compare all patches, changed or not."""
    rows, columns = before.shape[0] // 32, before.shape[1] // 32
    corners = [(32 * y, 32 * x) for y in range(rows) for x in range(columns)]
    old, new = (
        np.array([levels[top : top + 32, left : left + 32].ravel() for top, left in corners])
        for levels in (grey(before), grey(after))
    )
    textured = np.maximum(old.std(axis=1), new.std(axis=1)) >= 2.5
    return uncovered._gains(old, new)[textured]


def undimmed_everywhere(before, after):
    gains = gains_everywhere(before, after)
    alike = gains[gains > 0]
    if not len(alike):
        return False
    gain = float(np.median(alike))
    return gain >= 1.12 and float((np.abs(gains / gain - 1) <= 0.3).mean()) >= 0.5


def rectangle_everywhere(before, after, earlier):
    """Look for a closed rectangle on whole screens."""
    mask = (np.maximum(before, after) - np.minimum(before, after)).max(axis=2) > 6
    boxes = [
        box
        for box in pieces(ndimage.maximum_filter(mask, size=9))
        if min(box[0].stop - box[0].start, box[1].stop - box[1].start) >= 40
    ]
    old, new = grey(before), grey(after)
    return bool(boxes) and all(
        uncovered._frame(old, box) >= 0.8
        and uncovered._frame(new, box) <= 0.5
        and (uncovered._is_textured(new[box]) or any(uncovered._shows_again(one, after, box) for one in earlier))
        for box in boxes
    )


def page(rng, width, height):
    """Draw boxes of random colours; some pages have much free space."""
    image = np.full((height, width, 3), rng.integers(90, 256, 3), np.uint8)
    for _ in range(rng.integers(0, 60)):
        x, y = rng.integers(0, width), rng.integers(0, height)
        image[y : y + rng.integers(2, 20), x : x + rng.integers(2, 60)] = rng.integers(0, 256, 3)
    return image


def with_popup(rng, image):
    """Lay a framed rectangle over an image, also across its border."""
    height, width = image.shape[:2]
    x, y = rng.integers(-20, width - 30), rng.integers(-20, height - 30)
    right, bottom = x + rng.integers(30, 200), y + rng.integers(30, 150)
    covered = image.copy()
    covered[max(0, y) : bottom, max(0, x) : right] = rng.integers(0, 256, 3)
    covered[max(0, y + 1) : bottom - 1, max(0, x + 1) : right - 1] = rng.integers(230, 256, 3)
    return covered


def dimmed(rng, image):
    """Dim a part of an image; at times all of it."""
    height, width = image.shape[:2]
    top, left = (rng.integers(0, side // 2) * rng.integers(0, 2) for side in (height, width))
    darker = image.copy()
    darker[top:, left:] = (darker[top:, left:] * rng.uniform(0.4, 0.98)).astype(np.uint8)
    return darker


def pairs(count):
    """Yield screens before and after a click, and an earlier one."""
    for seed in range(count):
        rng = np.random.default_rng(seed)
        after = page(rng, *SIZES[seed % len(SIZES)])
        earlier, before = after, after
        for change in (with_popup, dimmed, with_popup):
            if rng.random() < 0.5:
                before = change(rng, before)
        if rng.random() < 0.3:
            after = with_popup(rng, after)
        yield seed, before, after, earlier


def test_a_look_at_what_changed_finds_what_a_look_at_the_whole_screen_finds():
    seen, wrong = [], []
    for seed, before, after, earlier in pairs(60):
        whole = undimmed_everywhere(before, after), rectangle_everywhere(before, after, [earlier])
        part = (
            uncovered._is_mostly_undimmed(before, after),
            uncovered._closes_a_rectangle(before, after, [earlier]),
        )
        gains = uncovered._gains_of_patches(before, after)
        if whole != part or not np.array_equal(np.sort(gains), np.sort(gains_everywhere(before, after))):
            wrong.append(seed)
        seen.append(whole)
    assert not wrong
    # Both are often so and often not.
    assert (np.sum(seen, axis=0) >= 5).all()
    assert (np.sum(seen, axis=0) <= 55).all()


def test_different_pixels_differ_by_more_than_the_levels_in_any_colour():
    rng = np.random.default_rng(0)
    first, second = rng.integers(0, 256, (2, 40, 50, 3), dtype=np.uint8)
    for levels in (0, 6, 32, 200, 255):
        apart = np.abs(first.astype(int) - second).max(axis=2) > levels
        assert np.array_equal(different_pixels(first, second, levels), apart)
