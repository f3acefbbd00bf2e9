"""Show a pointing env through crops, rotations and borders; points on the view map to the same places."""

from typing import Any

import gymnasium
import numpy as np
import PIL.Image
import PIL.ImageOps

from molmo_agent.episode import Image
from molmo_agent.geometry import Box, Point
from molmo_agent.transforms import ImageTransform


class ImageView(gymnasium.Wrapper[Image, Any, Image, Any]):
    """Shows a pointing env's image through an :class:`ImageTransform` and maps points on the view back to it.

    Plain resizing does not need this wrapper, because points are fractions: use
    ``gymnasium.wrappers.ResizeObservation``. For a point on an added border the env receives a NaN, and refuses it.

    Args:
        env: a pointing env.
        chain: the steps of the view, from ``ImageTransform.identity(width, height)`` of its image; no input units.

    Raises:
        ValueError: the chain starts from another size, or has input units.
    """

    def __init__(self, env: gymnasium.Env[Image, Any], chain: ImageTransform) -> None:
        super().__init__(env)
        height, width, _ = env.observation_space.shape or (0, 0, 3)
        self._chain = ImageTransform.identity(width, height).compose(chain)
        self.observation_space = gymnasium.spaces.Box(0, 255, (chain.height, chain.width, 3), np.uint8)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Image, dict[str, Any]]:
        """Start an episode."""
        image, info = self.env.reset(seed=seed, options=options)
        return show(image, self._chain), info

    def step(self, action: Any) -> tuple[Image, Any, bool, bool, dict[str, Any]]:
        """Map the points back to the env's image and act on them."""
        rows = np.array(action, np.float32)
        for row in rows if rows.ndim == 2 and rows.shape[1] == 3 else ():
            if row[2] >= 0.5 and ((row[:2] >= 0) & (row[:2] <= 1)).all():
                row[:2] = self._back(Point(float(row[0]), float(row[1])))
        image, reward, terminated, truncated, info = self.env.step(rows)
        return show(image, self._chain), reward, terminated, truncated, info

    def locate(self, instruction: str) -> list[Box]:
        """Return where on the view an expert would point; boxes outside of the view are omitted. Privileged."""
        width, height = self._chain.capture_size
        boxes = []
        for box in self.env.get_wrapper_attr("locate")(instruction):
            try:
                point = self._chain.from_capture(box.center.x * width, box.center.y * height)
            except ValueError:
                continue
            boxes.append(Box(point.x, point.y, point.x, point.y))
        return boxes

    def _back(self, point: Point) -> tuple[float, float]:
        try:
            x, y = self._chain.to_capture(point)
        except ValueError:  # on a border
            return float("nan"), float("nan")
        return x / self._chain.capture_size[0], y / self._chain.capture_size[1]


def show(image: Image, chain: ImageTransform) -> Image:
    """Apply the steps of a chain to an image."""
    view = PIL.Image.fromarray(image)
    for step in chain.steps:
        numbers = [int(value) for value in step.values]
        if step.name == "crop":
            view = view.crop((numbers[0], numbers[1], numbers[2], numbers[3]))
        elif step.name == "resize":
            view = view.resize((numbers[0], numbers[1]), PIL.Image.Resampling.BOX)
        elif step.name == "rotate":
            view = view.rotate(-numbers[0], expand=True)
        elif step.name == "pad":
            view = PIL.ImageOps.expand(view, (numbers[0], numbers[1], numbers[2], numbers[3]))
    return np.array(view)
