"""The pictures that the golden preprocessing numbers belong to, drawn with integer arithmetic; see golden/README.md."""

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int64]


def _triangle(t: IntArray) -> IntArray:
    return np.abs(t % 510 - 255)


def golden_image(height: int, width: int, seed: int) -> npt.NDArray[np.uint8]:
    """Draw waves, six rectangles and noise: (height, width, 3) uint8."""
    y, x = np.mgrid[0:height, 0:width].astype(np.int64)
    red = _triangle(3 * x + 2 * y + 17 * seed)
    green = _triangle(5 * y + x + 29 * seed)
    blue = _triangle(x * y // 64 + 7 * x + 41 * seed)
    image = np.stack([red, green, blue], axis=-1)
    state = (seed * 2654435761 + 12345) % 2**31

    def draw() -> int:
        nonlocal state
        state = (1103515245 * state + 12345) % 2**31
        return state >> 8

    for _ in range(6):
        left, top = draw() % width, draw() % height
        across, down = 1 + draw() % max(1, width // 2), 1 + draw() % max(1, height // 2)
        image[top : top + down, left : left + across] = [draw() % 256 for _ in range(3)]
    noise = (((x * 73856093) ^ (y * 19349663) ^ (seed * 83492791)) >> 7) & 31
    return np.clip(image + noise[..., None] - 16, 0, 255).astype(np.uint8)
