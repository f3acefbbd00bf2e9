"""Coloured shapes on a noisy canvas: point at the named one. One point ends the episode."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw

from molmo_agent.envs.gymnasium_api.base import Mask, Outcome, PointingEnv, box_inside, judge
from molmo_agent.episode import Image
from molmo_agent.errors import UsageError
from molmo_agent.geometry import Box, Point

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 56, 52),
    "orange": (236, 134, 38),
    "yellow": (240, 200, 40),
    "green": (58, 158, 82),
    "blue": (46, 104, 206),
    "purple": (134, 72, 178),
    "pink": (236, 126, 172),
    "black": (44, 46, 52),
}
# Shapes are drawn larger by this factor and scaled down, for smooth edges.
_SMOOTH = 3
# Shapes keep this distance from each other and from the border, in pixels.
_GAP_PX = 6


def _regular(corners: int, turn: float = -math.pi / 2) -> list[tuple[float, float]]:
    angles = [turn + 2 * math.pi * k / corners for k in range(corners)]
    return [(math.cos(a), math.sin(a)) for a in angles]


def _star() -> list[tuple[float, float]]:
    angles = [-math.pi / 2 + math.pi * k / 5 for k in range(10)]
    return [
        ((0.45, 1.0)[k % 2 == 0] * math.cos(a), (0.45, 1.0)[k % 2 == 0] * math.sin(a)) for k, a in enumerate(angles)
    ]


def _heart() -> list[tuple[float, float]]:
    turns = [2 * math.pi * k / 60 for k in range(60)]
    wave = [13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t) for t in turns]
    return [(16 * math.sin(t) ** 3 / 17, -(y + 2.5) / 17) for t, y in zip(turns, wave, strict=True)]


def _cross(arm: float = 0.34) -> list[tuple[float, float]]:
    quarter = [(arm, -1.0), (arm, -arm), (1.0, -arm)]
    corners = []
    for _ in range(4):
        corners += quarter
        quarter = [(-y, x) for x, y in quarter]
    return corners


# Outlines within the unit circle; a ring is a disc with a hole.
SHAPES: dict[str, list[tuple[float, float]]] = {
    "circle": _regular(60),
    "ring": _regular(60),
    "triangle": _regular(3),
    "square": _regular(4, math.pi / 4),
    "hexagon": _regular(6),
    "star": _star(),
    "heart": _heart(),
    "cross": _cross(),
}
_HOLE = 0.5


@dataclass(frozen=True, slots=True)
class _Shape:
    colour: str
    kind: str
    x: float
    y: float
    radius: float

    @property
    def name(self) -> str:
        return f"{self.colour} {self.kind}"

    def draw(self, pen: PIL.ImageDraw.ImageDraw, fill: Any, hole: Any, scale: int) -> None:
        pen.polygon(
            [((self.x + a * self.radius) * scale, (self.y + b * self.radius) * scale) for a, b in SHAPES[self.kind]],
            fill=fill,
        )
        if self.kind == "ring":
            x, y, r = self.x * scale, self.y * scale, self.radius * _HOLE * scale
            pen.ellipse([x - r, y - r, x + r, y + r], fill=hole)


class PointTarget(PointingEnv):
    """Several shapes, no two alike in both colour and form, none covering another.

    The reward is 1.0 for a point on the named shape. Any point ends the episode; "there is none" does not.

    Args:
        width: pixels of the image.
        height: pixels of the image.
        num_shapes: number of shapes; None draws 4 to 7 for each episode.
        noise: standard deviation of the canvas, in grey levels.
        max_steps: steps without a point after which an episode is truncated.
        render_mode: "rgb_array" or None.
    """

    def __init__(
        self,
        *,
        width: int = 320,
        height: int = 240,
        num_shapes: int | None = None,
        noise: float = 6.0,
        max_steps: int = 3,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(size=(width, height), max_steps=max_steps, render_mode=render_mode)
        if num_shapes is not None and not 1 <= num_shapes <= 12:
            raise UsageError(f"num_shapes must be between 1 and 12, got {num_shapes!r}")
        if min(width, height) < 64:
            raise UsageError(f"the shapes need 64 x 64 pixels, got {width} x {height}")
        self._num_shapes, self._noise = num_shapes, noise
        self._shapes: list[_Shape] = []
        self._image: Image = np.zeros((height, width, 3), np.uint8)
        # 0 is canvas, n the n-th shape.
        self._labels = np.zeros((height, width), np.uint8)

    def begin(self, rng: np.random.Generator, options: dict[str, Any]) -> str:
        """Scatter shapes; the first one is the target."""
        count = self._num_shapes or int(rng.integers(4, 8))
        self._shapes = _scatter(rng, count, self.size)
        self._image, self._labels = _paint(rng, self._shapes, self.size, self._noise)
        return f"point at the {self._shapes[0].name}"

    def image(self) -> Image:
        """Return a copy of the canvas."""
        return self._image.copy()

    def target_mask(self) -> Mask:
        """Return the pixels of the target."""
        mask: Mask = self._labels == 1
        return mask

    def locate(self, instruction: str) -> list[Box]:
        """Return the box of the shape that an instruction names; empty if it names none."""
        words = set(instruction.lower().replace(",", " ").replace(".", " ").split())
        for number, shape in enumerate(self._shapes, 1):
            if {shape.colour, shape.kind} <= words:
                return box_inside(self._labels == number)
        return []

    def point_at(self, points: tuple[Point, ...]) -> Outcome:
        """Judge the point."""
        hit, _ = judge(self.target_mask(), points)
        return Outcome(reward=float(hit), success=hit, terminated=True)


def _scatter(rng: np.random.Generator, count: int, size: tuple[int, int]) -> list[_Shape]:
    """Place shapes apart from each other, smaller ones if there is little room."""
    pairs = [(colour, kind) for colour in COLOURS for kind in SHAPES]
    # The first is the target; the next ones share its colour or its form, so that neither alone identifies it.
    rng.shuffle(pairs)
    alike = [pair for pair in pairs[1:] if pair[0] == pairs[0][0] or pair[1] == pairs[0][1]]
    selection = [pairs[0], *alike[:2], *(pair for pair in pairs[1:] if pair not in alike)][:count]
    width, height = size
    shapes: list[_Shape] = []
    largest = min(width, height) / 7
    while len(shapes) < len(selection):
        colour, kind = selection[len(shapes)]
        for _ in range(60):
            radius = float(rng.uniform(0.55, 1.0)) * largest
            edge = radius + _GAP_PX
            x, y = float(rng.uniform(edge, width - edge)), float(rng.uniform(edge, height - edge))
            if all(math.hypot(x - s.x, y - s.y) > radius + s.radius + _GAP_PX for s in shapes):
                shapes.append(_Shape(colour, kind, x, y, radius))
                break
        else:
            largest *= 0.85
            shapes.clear()
    return shapes


def _paint(
    rng: np.random.Generator, shapes: list[_Shape], size: tuple[int, int], noise: float
) -> tuple[Image, np.ndarray[Any, np.dtype[np.uint8]]]:
    """Return the image, and the number of the shape at each pixel."""
    width, height = size
    corners = rng.uniform(205, 245, (2, 2, 3)).astype(np.uint8)
    canvas = PIL.Image.fromarray(corners).resize((width * _SMOOTH, height * _SMOOTH), PIL.Image.Resampling.BICUBIC)
    cover = PIL.Image.new("RGBA", canvas.size, (0, 0, 0, 0))
    labels = PIL.Image.new("L", size, 0)
    for number, shape in enumerate(shapes, 1):
        shape.draw(PIL.ImageDraw.Draw(cover), (*COLOURS[shape.colour], 255), (0, 0, 0, 0), _SMOOTH)
        shape.draw(PIL.ImageDraw.Draw(labels), number, 0, 1)
    canvas.paste(cover, (0, 0), cover)
    small = np.asarray(canvas.resize(size, PIL.Image.Resampling.BOX), np.float32)
    grain = rng.normal(0.0, noise, (height, width, 1)).astype(np.float32)
    image = np.clip(small + grain, 0, 255).astype(np.uint8)
    return image, np.asarray(labels).copy()
