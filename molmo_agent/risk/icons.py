"""What an icon without words does, by its looks: some commit to something, some only show or move something."""

import numpy as np

from molmo_agent.episode import Image
from molmo_agent.geometry import Point
from molmo_agent.pointers.icons.reader import IconReader
from molmo_agent.risk.icon_meanings import COMMIT_ICONS, HARMLESS_ICONS

# Half of the side of the part of the screen in which icons are looked for.
_AROUND_PX = 80
# Above these probabilities an icon is taken to be one of a kind: to ask takes less than to pass.
_MAY_COMMIT, _IS_HARMLESS = 0.25, 0.8


def icon_at(image: Image, point: Point) -> tuple[str, str]:
    """Return what the icon at a point means if that commits to something, or is harmless, and its likeliest meaning.

    Both are empty where they are not known.

    Args:
        image: RGB uint8 of shape (height, width, 3).
        point: normalized, of the image.

    Raises:
        ModelError: the package was installed without the weights.
    """
    height, width = image.shape[:2]
    x, y = point.to_pixels(width, height)
    left, top = max(x - _AROUND_PX, 0), max(y - _AROUND_PX, 0)
    part = np.ascontiguousarray(image[top : y + _AROUND_PX, left : x + _AROUND_PX])
    scene = IconReader().read(part)
    best: tuple[float, int] | None = None
    for number, (x0, y0, x1, y1) in enumerate(scene.boxes_px.tolist()):
        slack = max(4.0, 0.3 * (x1 - x0))
        area = (x1 - x0) * (y1 - y0)
        is_at = x0 - slack <= x - left < x1 + slack and y0 - slack <= y - top < y1 + slack
        if is_at and (best is None or area > best[0]):
            best = area, number
    if best is None:
        return "", ""
    likely = dict(zip(scene.classes, scene.probabilities[best[1]].tolist(), strict=True))
    likeliest = max(likely, key=lambda meaning: likely[meaning])
    for meanings, least in ((COMMIT_ICONS, _MAY_COMMIT), (HARMLESS_ICONS, _IS_HARMLESS)):
        among = {meaning: likely.get(meaning, 0.0) for meaning in meanings}
        if sum(among.values()) >= least:
            return max(among, key=lambda meaning: among[meaning]), likeliest
    return "", likeliest
