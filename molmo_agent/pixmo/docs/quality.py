"""Measures whether a rendering can be read: blank, clipped, overlapping or too small ones are rejected."""

from itertools import combinations

import numpy as np

from molmo_agent.episode import Image
from molmo_agent.pixmo.docs.rendering import Rendering, Text

MIN_INK, MAX_EDGE_INK = 0.004, 0.02
MIN_FONT_PX, MAX_OVERLAP, MAX_OUTSIDE_PX = 8.0, 0.15, 3.0
MIN_CONTRAST = 60
MIN_SIDE, MAX_SIDE = 64, 4000


def problem_of(rendering: Rendering) -> str:
    """Return what makes a rendering unusable, with the measure; empty if nothing does."""
    if rendering.image is None:
        return rendering.problem
    height, width = rendering.image.shape[:2]
    if not (min(height, width) >= MIN_SIDE and max(height, width) <= MAX_SIDE):
        return f"size: {width}x{height} pixels, expected {MIN_SIDE} to {MAX_SIDE}"
    ink = _ink(rendering.image)
    if ink.mean() < MIN_INK:
        return f"blank: {ink.mean():.2%} of the pixels differ from the background"
    edge = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]]).mean()
    if edge > MAX_EDGE_INK:
        return f"clipped: {edge:.1%} of the outermost pixels are drawn on"
    return _problem_of_texts(rendering.texts or (), rendering.image)


def _ink(image: Image) -> np.ndarray:
    """Return where an image differs from its most frequent corner colour, (height, width) bool."""
    corners = [tuple(int(v) for v in image[y, x]) for y in (0, -1) for x in (0, -1)]
    background = np.array(max(corners, key=corners.count), dtype=np.int16)
    return np.asarray(np.abs(image.astype(np.int16) - background).max(axis=2) > 24)


def _problem_of_texts(texts: tuple[Text, ...], image: Image) -> str:
    height, width = image.shape[:2]
    light = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
    for text in texts:
        left, top, right, bottom = text.box
        outside = max(-left, -top, right - width, bottom - height)
        if outside > MAX_OUTSIDE_PX:
            return f"clipped: {text.text!r} is {outside:.0f} pixels outside"
        if text.font_px < MIN_FONT_PX:
            return f"unreadable: {text.text!r} is {text.font_px:.1f} pixels high, expected {MIN_FONT_PX:g}"
        area = light[max(0, int(top)) : int(bottom) + 1, max(0, int(left)) : int(right) + 1]
        if area.size and np.ptp(area) < MIN_CONTRAST:
            return f"unreadable: {text.text!r} has a contrast of {np.ptp(area):.0f}, expected {MIN_CONTRAST}"
    for one, other in combinations(texts, 2):
        share = _overlap(one.box, other.box)
        if share > MAX_OVERLAP:
            return f"overlapping: {one.text!r} and {other.text!r} share {share:.0%}"
    return ""


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> float:
    """Return the common area of two boxes as a share of the smaller one."""
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if wide <= 0 or high <= 0:
        return 0.0
    smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
    return wide * high / max(smaller, 1e-6)
