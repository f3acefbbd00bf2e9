"""Render the view of a level camera in a room, column by column in numpy, with the number of the thing at each pixel.

Floor and walls are looked up in the textures of ``Paint``; the things are drawn over them with a depth test.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image

from molmo_agent.camera import Camera
from molmo_agent.envs.worlds.floor.room import COLOURS, Room, Solid
from molmo_agent.envs.worlds.floor.textures import TEXELS_PER_M, WALL_HEIGHT_M, WALL_TEXELS_PER_M, Paint, pack_rgba
from molmo_agent.episode import Image

Array = npt.NDArray[np.floating[Any]]

# Ids of pixels; the things of the room are 0, 1, 2 ...
FLOOR, WALL, CEILING = -1, -2, -3

# The view is drawn larger by this factor and scaled down, for smooth edges.
_SMOOTH = 2
# Horizontal direction of the light; of length 1.
_LIGHT = (-0.59, -0.81)
_CEILING = (240, 239, 234)
# Colours of things without a colour in their name.
_PLAIN = {"crate": (186, 142, 92), "bench": (150, 106, 70), "screen": (120, 140, 146)}


def render(
    room: Room, paint: Paint | None, camera: Camera, *, smooth: int = _SMOOTH
) -> tuple[Image, npt.NDArray[np.int8]]:
    """Return the image of a camera, and the id at each pixel: the number of a thing, or FLOOR, WALL, CEILING.

    Args:
        room: walls and things.
        paint: the textures; None if only the ids are needed.
        camera: level, inside the room.
        smooth: the factor by which the view is drawn larger.

    Raises:
        ValueError: the camera is tilted.
    """
    forward, right = camera.pose[:3, 2], camera.pose[:3, 0]
    if abs(forward[2]) > 1e-6 or abs(right[2]) > 1e-6:
        raise ValueError(f"expected a level camera, got one that looks along {forward.tolist()}")
    view = _View(camera, smooth)
    view.draw_room(room, paint)
    for number, solid in enumerate(room.solids):
        view.draw_solid(number, solid)
    pixels = view.colour.view(np.uint8).reshape(view.height, view.width, 4)
    image = PIL.Image.fromarray(pixels).convert("RGB")
    return np.array(image.reduce(smooth)), view.ids[smooth // 2 :: smooth, smooth // 2 :: smooth].copy()


class _View:
    """The buffers of one image, and per column the ray that its pixels share: position + depth * (dx, dy)."""

    def __init__(self, camera: Camera, smooth: int) -> None:
        self.width, self.height = camera.width * smooth, camera.height * smooth
        self.focal, self.horizon = camera.fy * smooth, camera.cy * smooth
        self.x, self.y, self.eye = camera.position.tolist()
        side = (np.arange(self.width, dtype=np.float32) + 0.5 - camera.cx * smooth) / (camera.fx * smooth)
        forward, right = camera.pose[:2, 2].tolist(), camera.pose[:2, 0].tolist()
        self.dx, self.dy = forward[0] + side * right[0], forward[1] + side * right[1]
        self.rows = (np.arange(self.height, dtype=np.float32) + 0.5)[:, None]
        self.colour = np.zeros((self.height, self.width), np.uint32)
        self.ids = np.full((self.height, self.width), CEILING, np.int8)
        self.depth = np.full((self.height, self.width), np.inf, np.float32)

    def row_of(self, height: float | Array, depth: Array) -> Array:
        """Return the row at which a height appears at a depth."""
        row: Array = self.horizon + self.focal * (self.eye - height) / depth
        return row

    def draw_room(self, room: Room, paint: Paint | None) -> None:
        with np.errstate(divide="ignore", invalid="ignore"):
            hits = np.stack(
                [-self.x / self.dx, (room.width - self.x) / self.dx, -self.y / self.dy, (room.depth - self.y) / self.dy]
            )
        hits = np.where(hits > 1e-6, hits, np.inf)
        which = np.argmin(hits, axis=0)
        depth = hits[which, np.arange(self.width)]
        along = np.where(which < 2, self.y + depth * self.dy, self.x + depth * self.dx)
        foot, top = self.row_of(0.0, depth), self.row_of(WALL_HEIGHT_M, depth)
        first, last = self.span(top, foot)
        self.ids[last:] = FLOOR
        rows = self.rows[first:last]
        self.ids[first:last][rows >= foot] = FLOOR
        visible = (rows < foot) & (rows >= top)
        np.copyto(self.depth[first:last], depth, where=visible)
        np.copyto(self.ids[first:last], np.int8(WALL), where=visible)
        if paint is None:
            return
        self.colour[:] = pack_rgba(np.array(_CEILING))
        self._draw_floor(paint)
        for number, texture in enumerate(paint.walls):
            columns = np.flatnonzero(which == number)
            if not len(columns):
                continue
            part = slice(columns[0], columns[-1] + 1)
            v = np.clip(self.height_at(depth[part], rows) * WALL_TEXELS_PER_M, 0, texture.shape[0] - 1).astype(np.int32)
            u = np.clip(along[part] * WALL_TEXELS_PER_M, 0, texture.shape[1] - 1).astype(np.int32)
            v *= texture.shape[1]
            v += u
            np.copyto(self.colour[first:last, part], texture.ravel()[v], where=visible[:, part])

    def _draw_floor(self, paint: Paint) -> None:
        first = max(math.floor(self.horizon) + 1, 0)
        away = (self.focal * self.eye / (self.rows[first:, 0] - self.horizon)).astype(np.float32)
        # As fine a texture as there are pixels to show it.
        finest = np.clip(np.log2(np.maximum(away / self.focal * TEXELS_PER_M, 1e-6)), 0, len(paint.floor) - 1)
        dx, dy = self.dx.astype(np.float32), self.dy.astype(np.float32)
        for level, texture in enumerate(paint.floor):
            selection = np.flatnonzero(finest.astype(int) == level)
            if not len(selection):
                continue
            part = slice(selection[0], selection[-1] + 1)
            scale = np.float32(TEXELS_PER_M / 2**level)
            limit_y, limit_x = texture.shape[0] - 1, texture.shape[1] - 1
            column = np.clip((self.x + away[part, None] * dx) * scale, 0, limit_x).astype(np.int32)
            row = np.clip((self.y + away[part, None] * dy) * scale, 0, limit_y).astype(np.int32)
            row *= limit_x + 1
            row += column
            self.colour[first + part.start : first + part.stop] = texture.ravel()[row]

    def draw_solid(self, number: int, solid: Solid) -> None:
        """Draw a thing where nothing is nearer."""
        ahead = (solid.x - self.x) * self.dx + (solid.y - self.y) * self.dy
        if ahead.max() <= 0:
            return
        _SHAPES.get(solid.kind, _draw_box)(self, number, solid)

    def span(self, top: Array, bottom: Array) -> tuple[int, int]:
        """Return the first row of a range of rows per column, and the first past the last."""
        finite = np.isfinite(top) & np.isfinite(bottom)
        first = math.floor(np.min(top, where=finite, initial=self.height))
        last = math.ceil(np.max(bottom, where=finite, initial=0))
        return max(first, 0), min(max(last, 0), self.height)

    def fill_rows(
        self, number: int, columns: slice, top: Array, bottom: Array, depth: Array, paint: Callable[[Array], Array]
    ) -> None:
        """Colour the rows from ``top`` to ``bottom`` of some columns, where nothing is nearer.

        Args:
            number: of the thing.
            columns: a range of columns; the next three have one entry for each.
            top: first row.
            bottom: first row past it.
            depth: metres along the axis.
            paint: gets the rows (rows, 1) that matter and returns their colours: (columns or rows, columns, 3), 0-255.
        """
        first, last = self.span(top, bottom)
        if first >= last:
            return
        rows, area = self.rows[first:last], (slice(first, last), columns)
        visible = (rows >= top) & (rows < bottom) & (depth < self.depth[area])
        np.copyto(self.colour[area], pack_rgba(paint(rows)), where=visible)
        np.copyto(self.depth[area], depth, where=visible)
        np.copyto(self.ids[area], np.int8(number), where=visible)

    def chord(self, solid: Solid) -> tuple[slice, Array, Array, Array]:
        """Return the columns that meet a round thing: their range, offset from its axis, depth of axis, half chord."""
        across, square = solid.radius, self.dx**2 + self.dy**2
        to_x, to_y = solid.x - self.x, solid.y - self.y
        offset = (self.dx * to_y - self.dy * to_x) / np.sqrt(square)
        middle = (self.dx * to_x + self.dy * to_y) / square
        hits = np.flatnonzero((np.abs(offset) < across) & (middle > 0))
        if not len(hits):
            return slice(0, 0), offset[:0], middle[:0], middle[:0]
        part = slice(hits[0], hits[-1] + 1)
        offset = np.clip(offset[part], -across, across)
        half = np.sqrt(np.maximum(across**2 - offset**2, 0) / square[part])
        return part, offset, middle[part], half

    def height_at(self, depth: Array, rows: Array) -> Array:
        """Return the heights that rows (rows, 1) show at the depths of their columns: (rows, columns)."""
        height: Array = self.eye - (rows - self.horizon) * (depth / self.focal)
        return height


def _colour(solid: Solid) -> Array:
    return np.array(COLOURS.get(solid.colour) or _PLAIN[solid.kind], np.float32)


def _brightness(normal_x: Array, normal_y: Array) -> Array:
    """Return the brightness of upright surfaces with these normals, 0.45 to 1."""
    bright: Array = 0.66 + 0.34 * np.clip(normal_x * _LIGHT[0] + normal_y * _LIGHT[1], -0.6, 1.0)
    return bright


def _draw_top(view: _View, number: int, solid: Solid, part: slice, near: Array, far: Array) -> None:
    """Draw the upper face of something lower than the camera."""
    if solid.height >= view.eye:
        return
    lid = np.minimum(_colour(solid) * 1.12 + 12, 255)
    top, bottom = view.row_of(solid.height, far), view.row_of(solid.height, near)
    view.fill_rows(number, part, top, bottom, near, lambda rows: lid)


def _draw_cylinder(view: _View, number: int, solid: Solid) -> None:
    part, _, middle, half = view.chord(solid)
    near = np.maximum(middle - half, 1e-3)
    normal_x = (view.x + near * view.dx[part] - solid.x) / solid.radius
    normal_y = (view.y + near * view.dy[part] - solid.y) / solid.radius
    bright = _brightness(normal_x, normal_y)[:, None] * _colour(solid)

    def paint(rows: Array) -> Array:
        share = view.height_at(near, rows) / solid.height
        if solid.kind == "barrel":
            hoop = (np.abs(share - 0.3) < 0.035) | (np.abs(share - 0.7) < 0.035)
        else:
            hoop = (share < 0.07) | (share > 0.95)
        return bright * np.where(hoop, np.float32(0.62), np.float32(1.0))[:, :, None]

    view.fill_rows(number, part, view.row_of(solid.height, near), view.row_of(0.0, near), near, paint)
    _draw_top(view, number, solid, part, near, middle + half)


def _draw_cone(view: _View, number: int, solid: Solid) -> None:
    part, offset, middle, half = view.chord(solid)
    near = np.maximum(middle - half, 1e-3)
    # In the plane of a column the outline is taken as a triangle over the chord: its peak is where the axis is passed.
    peak = solid.height * (1 - np.abs(offset) / solid.radius)
    round_ = np.sqrt(np.maximum(1 - (offset / solid.radius) ** 2, 0))
    bright = (0.72 + 0.28 * np.clip(0.8 * round_ + 0.4 * offset / solid.radius, 0.0, 1.0))[:, None]

    def paint(rows: Array) -> Array:
        share = view.height_at((near + middle) / 2, rows) / solid.height
        white = (share > 0.42) & (share < 0.62)
        return np.where(white[:, :, None], bright * np.float32(244), bright * _colour(solid))

    # Beside the axis the foot reaches farther up than the slope.
    top = np.minimum(view.row_of(peak, middle), view.row_of(0.0, middle + half))
    view.fill_rows(number, part, top, view.row_of(0.0, near), near, paint)


def _draw_ball(view: _View, number: int, solid: Solid) -> None:
    part, offset, middle, _ = view.chord(solid)
    # In the plane of a column the ball is a circle; its upper and lower tangents from the camera bound its outline.
    stretch = np.sqrt(view.dx[part] ** 2 + view.dy[part] ** 2)
    away, drop = middle * stretch, view.eye - solid.radius
    circle = np.sqrt(np.maximum(solid.radius**2 - offset**2, 0))
    slope = np.arctan2(drop, away)
    spread = np.arcsin(np.clip(circle / np.hypot(away, drop), 0, 1))
    top = view.horizon + view.focal * stretch * np.tan(slope - spread)
    bottom = view.horizon + view.focal * stretch * np.tan(slope + spread)
    side = offset / solid.radius

    def paint(rows: Array) -> Array:
        up = np.clip((1 - 2 * (rows - top) / np.maximum(bottom - top, 1e-6)) * circle / solid.radius, -1, 1)
        light = 0.55 * np.sqrt(np.maximum(1 - side**2 - up**2, 0)) + 0.62 * up + 0.47 * side
        bright = 0.52 + 0.5 * np.clip(light, -0.2, 1.0)
        shine = 110 * np.clip(light, 0, 1) ** 16
        return np.minimum(_colour(solid) * bright[:, :, None] + shine[:, :, None], 255)

    view.fill_rows(number, part, top, bottom, np.maximum(middle - circle / stretch, 1e-3), paint)


def _draw_box(view: _View, number: int, solid: Solid) -> None:
    c, s = math.cos(solid.turn), math.sin(solid.turn)
    at = (c * (view.x - solid.x) + s * (view.y - solid.y), c * (view.y - solid.y) - s * (view.x - solid.x))
    to = (c * view.dx + s * view.dy, c * view.dy - s * view.dx)
    with np.errstate(divide="ignore", invalid="ignore"):
        sides = [np.sort([(-h - p) / d, (h - p) / d], axis=0) for p, d, h in zip(at, to, solid.half, strict=True)]
    near, far = np.maximum(sides[0][0], sides[1][0]), np.minimum(sides[0][1], sides[1][1])
    hits = np.flatnonzero((near < far) & (near > 1e-3))
    if not len(hits):
        return
    part = slice(hits[0], hits[-1] + 1)
    by_x = (sides[0][0] >= sides[1][0])[part]
    near, far = near[part], far[part]
    sign = np.where(by_x, -np.sign(to[0][part]), -np.sign(to[1][part]))
    bright = _brightness(np.where(by_x, c, -s) * sign, np.where(by_x, s, c) * sign)[:, None] * _colour(solid)
    along = np.abs(np.where(by_x, at[1] + near * to[1][part], at[0] + near * to[0][part]))
    edge = np.where(by_x, solid.half[1], solid.half[0]) - along

    def paint(rows: Array) -> Array:
        high = view.height_at(near, rows)
        if solid.kind == "crate":
            rim = (edge < 0.05) | (high < 0.06) | (high > solid.height - 0.06)
            shade = np.where(rim, 0.82, np.where(high % 0.125 < 0.012, 0.7, 1.0))
        elif solid.kind == "bench":
            shade = np.where((high < solid.height - 0.07) & (edge > 0.06), 0.5, 1.0)
        else:
            shade = np.where((edge < 0.03) | (high > solid.height - 0.03), 0.7, 1.0)
        return bright * shade.astype(np.float32)[:, :, None]

    view.fill_rows(number, part, view.row_of(solid.height, near), view.row_of(0.0, near), near, paint)
    _draw_top(view, number, solid, part, near, far)


_SHAPES: dict[str, Callable[[_View, int, Solid], None]] = {
    "pillar": _draw_cylinder,
    "barrel": _draw_cylinder,
    "cone": _draw_cone,
    "ball": _draw_ball,
}
