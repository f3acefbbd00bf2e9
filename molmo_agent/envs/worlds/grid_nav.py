"""A map with walls: point out the way to the named mark as ordered waypoints, walked in straight lines.

Places on the map are (column, row) in cells, with fractions; the middle of the first cell is (0.5, 0.5).
"""

import math
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFilter
from scipy import ndimage

from molmo_agent.envs.gymnasium_api.base import Mask, Outcome, PointingEnv
from molmo_agent.envs.worlds.point_target import COLOURS, SHAPES
from molmo_agent.episode import Image
from molmo_agent.errors import ActionRefused, UsageError
from molmo_agent.geometry import Box, Point, to_pixel

Cell = tuple[int, int]

_SMOOTH = 3
_FLOOR, _LINE, _WALL, _WALL_TOP = (243, 240, 232), (228, 224, 214), (70, 82, 104), (94, 108, 132)
_WALKER, _TRAIL = (30, 34, 44), (120, 126, 140)
_MARKS = ("circle", "square", "triangle", "star", "heart", "hexagon")
# Half the side of the walker, in cells: it does not fit between two diagonal corners.
_HALF = 0.3
_STEPS_PER_CELL = 12


class GridNav(PointingEnv):
    """Walk to the named mark. At first no straight line leads there.

    Up to ``max_points`` points are waypoints, walked in order along straight lines. Where a wall is in the way, the
    walker stops in the last free cell and the waypoints after it are dropped. The episode succeeds and ends
    when the walker stands on the mark after the last waypoint; the reward of that step is 1.0. A first waypoint on a
    wall is refused.

    ``info`` besides the contract: ``spl`` (success weighted by path length, against the shortest way by rows and
    columns; 0.0 without success), ``walked``, ``shortest`` (both in cells), ``collisions``, ``dropped_points``.

    Args:
        columns: cells of the map.
        rows: cells of the map.
        cell_px: side of a cell in pixels.
        max_points: K, the most waypoints of one step.
        max_steps: steps after which an episode is truncated.
        render_mode: "rgb_array" or None.
    """

    def __init__(
        self,
        *,
        columns: int = 12,
        rows: int = 9,
        cell_px: int = 28,
        max_points: int = 8,
        max_steps: int = 10,
        render_mode: str | None = None,
    ) -> None:
        if min(columns, rows) < 6 or cell_px < 8:
            raise UsageError(f"expected at least 6 x 6 cells of 8 pixels, got {columns} x {rows} of {cell_px}")
        super().__init__(
            size=(columns * cell_px, rows * cell_px),
            max_points=max_points,
            max_steps=max_steps,
            render_mode=render_mode,
        )
        self._grid_size, self._cell = (columns, rows), cell_px
        self._walls = np.zeros((rows, columns), bool)
        self._marks: dict[Cell, tuple[str, str]] = {}
        self._goal: Cell = (0, 0)
        self._at: Cell = (0, 0)
        self._trail: list[tuple[float, float]] = []
        self._path_length, self._shortest, self._collisions, self._num_dropped = 0.0, 0, 0, 0
        self._ground: PIL.Image.Image | None = None

    # --- The contract ---------------------------------------------------------------------------------------------

    def begin(self, rng: np.random.Generator, options: dict[str, Any]) -> str:
        """Build walls, set marks, and place the walker so that its way has a corner."""
        while True:
            self._walls = _build_walls(rng, *self._grid_size)
            free = [(int(c), int(r)) for r, c in np.argwhere(~self._walls)]
            rng.shuffle(free)
            self._at, cells = free[0], free[1:]
            names = [(colour, mark) for colour in COLOURS for mark in _MARKS]
            rng.shuffle(names)
            alike = [name for name in names[1:] if (name[0] == names[0][0]) != (name[1] == names[0][1])]
            goals = [cell for cell in cells if self._is_round_a_corner(cell)]
            if goals:
                break
        self._goal = goals[0]
        others = [cell for cell in cells if cell != self._goal][: int(rng.integers(2, 5))]
        self._marks = dict(zip([self._goal, *others], [names[0], *alike], strict=False))
        self._shortest = len(shortest_way(self._walls, self._at, self._goal)) - 1
        self._path_length, self._collisions, self._num_dropped = 0.0, 0, 0
        self._trail = [_middle(self._at)]
        self._ground = self._draw_ground()
        return f"walk to the {' '.join(names[0])}"

    def image(self) -> Image:
        """Draw the map, the walker and its trail."""
        assert self._ground is not None
        big, scale = self._ground.copy(), self._cell * _SMOOTH
        pen = PIL.ImageDraw.Draw(big)
        if len(self._trail) > 1:
            pen.line([(x * scale, y * scale) for x, y in self._trail], fill=_TRAIL, width=scale // 10, joint="curve")
        x, y = (value * scale for value in _middle(self._at))
        for share, colour in ((0.36, (255, 255, 255)), (0.31, _WALKER)):
            r = share * scale
            pen.ellipse([x - r, y - r, x + r, y + r], fill=colour)
        for side in (-1, 1):
            r, dx, dy = 0.07 * scale, 0.12 * side * scale, -0.06 * scale
            pen.ellipse([x + dx - r, y + dy - r, x + dx + r, y + dy + r], fill="white")
        return np.array(big.reduce(_SMOOTH))

    def target_mask(self) -> Mask:
        """Return the pixels of the cell of the named mark."""
        return self._mask_of(self._goal)

    def locate(self, instruction: str) -> list[Box]:
        """Return the corners of the shortest way, in order, the mark last."""
        way = shortest_way(self._walls, self._at, self._goal)
        columns, rows = self._grid_size
        return [Box(c / columns, r / rows, (c + 1) / columns, (r + 1) / rows) for c, r in corners_of(way)]

    def things(self) -> dict[tuple[str, str], Mask]:
        """Return the cells of the marks."""
        return {name: self._mask_of(cell) for cell, name in self._marks.items()}

    def point_at(self, points: tuple[Point, ...]) -> Outcome:
        """Walk from waypoint to waypoint."""
        columns, rows = self._grid_size
        cells = [(to_pixel(point.x, columns), to_pixel(point.y, rows)) for point in points]
        if self._walls[cells[0][1], cells[0][0]]:
            raise ActionRefused(f"({points[0].x:.3f}, {points[0].y:.3f}) is on a wall: point at the floor")
        for number, cell in enumerate(cells):
            end = self._walk(cell)
            if end != cell:
                self._collisions += 1
                self._num_dropped += len(cells) - number - 1
                break
        success = self._at == self._goal
        return Outcome(reward=float(success), success=success, terminated=success)

    def measures(self) -> dict[str, Any]:
        """Return the lengths of the walk, its collisions and its SPL."""
        num_walked = self._at == self._goal
        return {
            "spl": self._shortest / max(self._path_length, self._shortest) if num_walked else 0.0,
            "walked": self._path_length,
            "shortest": self._shortest,
            "collisions": self._collisions,
            "dropped_points": self._num_dropped,
        }

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _walk(self, cell: Cell) -> Cell:
        """Walk straight to a cell, or into the last free one before a wall; return where it ended."""
        end = reach_of(self._walls, self._at, cell)
        self._path_length += math.dist(self._at, end)
        self._at = end
        self._trail.append(_middle(end))
        return end

    def _is_round_a_corner(self, cell: Cell) -> bool:
        way = shortest_way(self._walls, self._at, cell)
        return (
            len(way) >= 6 and len(corners_of(way)) <= self.max_points and reach_of(self._walls, self._at, cell) != cell
        )

    def _mask_of(self, cell: Cell) -> Mask:
        mask = np.zeros((self.size[1], self.size[0]), bool)
        c, r = cell[0] * self._cell, cell[1] * self._cell
        mask[r : r + self._cell, c : c + self._cell] = True
        return mask

    def _draw_ground(self) -> PIL.Image.Image:
        scale = self._cell * _SMOOTH
        columns, rows = self._grid_size
        ground = PIL.Image.new("RGB", (columns * scale, rows * scale), _FLOOR)
        pen = PIL.ImageDraw.Draw(ground)
        for column in range(columns):
            pen.line([column * scale, 0, column * scale, rows * scale], fill=_LINE, width=_SMOOTH)
        for row in range(rows):
            pen.line([0, row * scale, columns * scale, row * scale], fill=_LINE, width=_SMOOTH)
        blocks = PIL.Image.fromarray(np.where(self._walls, np.uint8(255), np.uint8(0)))
        blocks = blocks.resize(ground.size, PIL.Image.Resampling.NEAREST)
        shadow = blocks.filter(PIL.ImageFilter.GaussianBlur(scale * 0.06)).point(lambda value: value * 0.4)
        ground.paste((30, 30, 40), (round(scale * 0.06), round(scale * 0.08)), shadow)
        ground.paste(_WALL, (0, 0), blocks)
        lift = round(scale * 0.16)
        ground.paste(_WALL_TOP, (0, -lift), blocks)
        for (column, row), (colour, mark) in self._marks.items():
            x, y = (value * scale for value in _middle((column, row)))
            r = 0.34 * scale
            pen.polygon([(x + a * r, y + b * r) for a, b in SHAPES[mark]], fill=COLOURS[colour])
        return ground


def reach_of(walls: npt.NDArray[np.bool_], start: Cell, end: Cell) -> Cell:
    """Return the end of a straight walk: ``end``, or the last free cell before a wall."""
    (x0, y0), (x1, y1) = _middle(start), _middle(end)
    steps = max(1, math.ceil(math.dist(start, end) * _STEPS_PER_CELL))
    shares = np.linspace(0.0, 1.0, steps + 1)
    x, y = x0 + shares * (x1 - x0), y0 + shares * (y1 - y0)
    in_wall = np.zeros(len(shares), bool)
    for dx in (-_HALF, _HALF):
        for dy in (-_HALF, _HALF):
            columns = np.clip((x + dx).astype(int), 0, walls.shape[1] - 1)
            rows = np.clip((y + dy).astype(int), 0, walls.shape[0] - 1)
            in_wall |= walls[rows, columns]
    if not in_wall.any():
        return end
    last = int(np.argmax(in_wall)) - 1
    return int(x[last]), int(y[last])


def shortest_way(walls: npt.NDArray[np.bool_], start: Cell, end: Cell) -> list[Cell]:
    """Return the cells of a shortest way by rows and columns, both ends included; empty if there is none."""
    came_from: dict[Cell, Cell] = {end: end}
    queue = deque([end])
    while queue and start not in came_from:
        column, row = queue.popleft()
        for cell in ((column + 1, row), (column - 1, row), (column, row + 1), (column, row - 1)):
            inside = 0 <= cell[0] < walls.shape[1] and 0 <= cell[1] < walls.shape[0]
            if inside and cell not in came_from and not walls[cell[1], cell[0]]:
                came_from[cell] = (column, row)
                queue.append(cell)
    if start not in came_from:
        return []
    way = [start]
    while way[-1] != end:
        way.append(came_from[way[-1]])
    return way


def corners_of(way: list[Cell]) -> list[Cell]:
    """Return the cells of a way where it turns, and its end."""
    turns = [
        here
        for before, here, after in zip(way, way[1:], way[2:], strict=False)
        if (here[0] - before[0], here[1] - before[1]) != (after[0] - here[0], after[1] - here[1])
    ]
    return [*turns, *way[-1:]]


def _build_walls(rng: np.random.Generator, columns: int, rows: int) -> npt.NDArray[np.bool_]:
    """Return walls, in straight pieces, that leave all free cells connected."""
    walls = np.zeros((rows, columns), bool)
    for _ in range(columns * rows):
        if walls.mean() > 0.27:
            break
        piece = walls.copy()
        length, column, row = int(rng.integers(2, 5)), int(rng.integers(columns)), int(rng.integers(rows))
        if rng.random() < 0.5:
            piece[row, column : column + length] = True
        else:
            piece[row : row + length, column] = True
        if ndimage.label(~piece)[1] == 1:
            walls = piece
    return walls


def _middle(cell: Cell) -> tuple[float, float]:
    return cell[0] + 0.5, cell[1] + 0.5
