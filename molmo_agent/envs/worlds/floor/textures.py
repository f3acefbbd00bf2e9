"""The textures of a room: a floor with the shadows of what stands on it, walls with paintings and windows."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
from scipy import ndimage

from molmo_agent.envs.worlds.floor.room import Room
from molmo_agent.episode import Image

WALL_HEIGHT_M = 2.6
TEXELS_PER_M = 96
WALL_TEXELS_PER_M = 64
_WOODS = [(188, 148, 104), (168, 124, 84), (206, 176, 138), (142, 104, 76)]
_STONES = [(196, 194, 188), (178, 184, 188), (206, 196, 180)]


@dataclass(frozen=True, slots=True, eq=False)
class Paint:
    """The textures of a room."""

    # (rows, columns) uint32 RGBA, each half as fine as the one before; row 0 is y = 0.
    floor: tuple[npt.NDArray[np.uint32], ...]
    # Four of (rows, columns) uint32: x = 0, x = width, y = 0, y = depth; row 0 is the floor.
    walls: tuple[npt.NDArray[np.uint32], ...]

    def floor_image(self) -> Image:
        """Return the floor as an image from above, y = 0 at the bottom; 32 pixels are a metre."""
        texels = self.floor[2][::-1]
        return np.ascontiguousarray(texels).view(np.uint8).reshape(*texels.shape, 4)[:, :, :3].copy()


def paint_room(rng: np.random.Generator, room: Room) -> Paint:
    """Paint floor and walls, with the shadows of the things that stand there."""
    width, depth = round(room.width * TEXELS_PER_M), round(room.depth * TEXELS_PER_M)
    floor = planks(rng, width, depth) if rng.random() < 0.6 else _tiles(rng, width, depth)
    floor = PIL.Image.composite(floor, PIL.Image.new("RGB", floor.size, (26, 22, 24)), _shadows(room, floor.size))
    tint = np.array(rng.choice([(226, 220, 208), (206, 217, 222), (216, 222, 208), (228, 214, 206)], axis=0))
    walls = []
    for number, length in enumerate((room.depth, room.depth, room.width, room.width)):
        walls.append(_wall(rng, length, tint * (0.97, 0.88, 0.84, 1.0)[number]))
    levels = [floor]
    for _ in range(3):
        levels.append(levels[-1].reduce(2))
    return Paint(
        tuple(pack_rgba(np.asarray(level)) for level in levels), tuple(pack_rgba(np.asarray(wall)) for wall in walls)
    )


def pack_rgba(colours: npt.NDArray[Any]) -> npt.NDArray[np.uint32]:
    """Return colours (..., 3) of 0 to 255 as one number each, so that one look-up moves a whole pixel."""
    full = np.empty((*colours.shape[:-1], 4), np.uint8)
    full[..., :3] = colours
    full[..., 3] = 255
    numbers: npt.NDArray[np.uint32] = full.view(np.uint32)[..., 0]
    return numbers


def planks(rng: np.random.Generator, width: int, depth: int) -> PIL.Image.Image:
    """Return wooden boards along y, 16 cm wide at ``TEXELS_PER_M``."""
    wood = np.array(_WOODS[int(rng.integers(len(_WOODS)))], np.float64)
    board, length = round(0.16 * TEXELS_PER_M), round(1.6 * TEXELS_PER_M)
    columns = np.arange(width) // board
    starts = rng.integers(0, length, columns[-1] + 1)[columns]
    rows = np.arange(depth)[:, None] + starts
    piece = rows // length + 40 * columns
    shade = rng.uniform(0.88, 1.08, int(piece.max()) + 1)[piece]
    # Grain runs along the boards.
    grain = rng.normal(0, 1, (depth // 24 + 2, width)).repeat(24, axis=0)[:depth]
    grain = ndimage.uniform_filter1d(grain, 3, axis=1)
    shade = shade * (1 + 0.05 * grain)
    joint = (np.arange(width) % board < 1) | (rows % length < 1)
    shade = np.where(joint, shade * 0.72, shade)
    return PIL.Image.fromarray(np.clip(wood * shade[:, :, None], 0, 255).astype(np.uint8))


def _tiles(rng: np.random.Generator, width: int, depth: int) -> PIL.Image.Image:
    """Square tiles in two shades."""
    stone = np.array(_STONES[int(rng.integers(len(_STONES)))], np.float64)
    side = round(0.5 * TEXELS_PER_M)
    x, y = np.arange(width), np.arange(depth)[:, None]
    pair = rng.uniform(0.97, 1.03, (depth // side + 1, width // side + 1))
    pair *= np.where((np.add.outer(np.arange(pair.shape[0]), np.arange(pair.shape[1]))) % 2, 0.9, 1.04)
    shade = pair[y // side, x // side]
    shade = shade * (1 + rng.normal(0, 0.012, shade.shape))
    shade = np.where((x % side < 2) | (y % side < 2), 0.78, shade)
    return PIL.Image.fromarray(np.clip(stone * shade[:, :, None], 0, 255).astype(np.uint8))


def _shadows(room: Room, size: tuple[int, int]) -> PIL.Image.Image:
    """Return how much light falls on the floor: less beside walls and things, on the side away from the window."""
    coarse = (size[0] // 4, size[1] // 4)
    per_m = TEXELS_PER_M / 4
    light = PIL.Image.new("L", coarse, 255)
    pen = PIL.ImageDraw.Draw(light)
    for solid in room.solids:
        for shift, dark in ((0.16, 205), (0.05, 150)):
            x, y = solid.x + shift, solid.y + shift
            if solid.radius:
                r = solid.radius
                pen.ellipse([(x - r) * per_m, (y - r) * per_m, (x + r) * per_m, (y + r) * per_m], fill=dark)
            else:
                corners = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * solid.half
                c, s = np.cos(solid.turn), np.sin(solid.turn)
                outline = corners @ np.array([[c, s], [-s, c]]) + (x, y)
                pen.polygon([tuple(corner) for corner in outline * per_m], fill=dark)
    pen.rectangle([0, 0, coarse[0] - 1, coarse[1] - 1], outline=170, width=round(0.08 * per_m))
    return light.filter(PIL.ImageFilter.GaussianBlur(0.07 * per_m)).resize(size, PIL.Image.Resampling.BILINEAR)


def _wall(rng: np.random.Generator, length: float, tint: npt.NDArray[np.float64]) -> PIL.Image.Image:
    """Return a painted wall, upside down: row 0 is at the floor."""
    per_m = WALL_TEXELS_PER_M
    width, height = round(length * per_m), round(WALL_HEIGHT_M * per_m)
    fade = np.linspace(1.03, 0.93, height)[:, None, None]
    wall = PIL.Image.fromarray(np.clip(np.broadcast_to(tint * fade, (height, width, 3)), 0, 255).astype(np.uint8))
    pen = PIL.ImageDraw.Draw(wall)
    pen.rectangle([0, height - round(0.11 * per_m), width, height], fill=(246, 244, 240))
    pen.line([0, height - round(0.11 * per_m), width, height - round(0.11 * per_m)], fill=(180, 176, 170))
    x = float(rng.uniform(0.4, 0.9))
    while x + 1.3 < length:
        wide = float(rng.uniform(0.6, 1.2))
        if rng.random() < 0.45:
            _window(pen, x, wide, per_m)
        else:
            _painting(rng, pen, x, wide * 0.8, per_m)
        x += wide + float(rng.uniform(0.7, 1.4))
    return wall.transpose(PIL.Image.Transpose.FLIP_TOP_BOTTOM)


def _window(pen: PIL.ImageDraw.ImageDraw, x: float, wide: float, per_m: int) -> None:
    left, top, right, bottom = (round(v * per_m) for v in (x, WALL_HEIGHT_M - 2.2, x + wide, WALL_HEIGHT_M - 1.0))
    for row in range(top, bottom):
        share = (row - top) / (bottom - top)
        sky = (round(150 + 60 * share), round(198 + 30 * share), 240)
        pen.line([left, row, right, row], fill=sky if share < 0.8 else (150, 184, 132))
    frame = (250, 250, 248)
    pen.rectangle([left, top, right, bottom], outline=frame, width=4)
    pen.line([(left + right) // 2, top, (left + right) // 2, bottom], fill=frame, width=3)


def _painting(rng: np.random.Generator, pen: PIL.ImageDraw.ImageDraw, x: float, wide: float, per_m: int) -> None:
    high = wide * float(rng.uniform(0.6, 1.1))
    low = 1.3
    left, top, right, bottom = (
        round(v * per_m) for v in (x, WALL_HEIGHT_M - low - high, x + wide, WALL_HEIGHT_M - low)
    )
    pen.rectangle([left, top, right, bottom], fill=(92, 76, 62))
    pen.rectangle([left + 3, top + 3, right - 3, bottom - 3], fill=(238, 234, 226))
    # Pale, so that no painting looks like a coloured thing.
    pale_colours = [tuple(int(v) for v in rng.integers(120, 190, 3)) for _ in range(3)]
    for number, colour in enumerate(pale_colours):
        row = top + 7 + (bottom - top - 14) * number // 3
        pen.rectangle([left + 7, row, right - 7, bottom - 7], fill=colour)
