"""MiniGrid by pointing: the shortest way of turns and steps leads to the pointed cell; an example of an executor.

A point on a key, ball or box walks next to it and picks it up; on a door, opens it. Needs ``pip install minigrid``.
"""

from collections import deque
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np

from molmo_agent.envs.gymnasium_api.action_wrapper import Limits, PointingAction
from molmo_agent.envs.gymnasium_api.base import Mask
from molmo_agent.errors import ActionRefused, UsageError
from molmo_agent.geometry import Point, to_pixel

Cell = tuple[int, int]

# MiniGrid's own actions.
_LEFT, _RIGHT, _FORWARD, _PICK_UP, _TOGGLE = 0, 1, 2, 3, 5
# The cell ahead, by MiniGrid's direction: right, down, left, up.
_AHEAD = ((1, 0), (0, 1), (-1, 0), (0, -1))


def walk_to(env: gymnasium.Env[Any, Any], points: tuple[Point, ...]) -> Iterator[int]:
    """Walk to each pointed cell of the whole map in turn; the executor of :func:`make_minigrid`.

    Raises:
        ActionRefused: there is no way to the cell.
    """
    world: Any = env.unwrapped
    for point in points:
        cell = to_pixel(point.x, world.width), to_pixel(point.y, world.height)
        thing = world.grid.get(*cell)
        stands_there = thing is None or thing.can_overlap()
        way = _shortest_way(world, cell, next_to=not stands_there)
        if way is None:
            name = "the floor" if thing is None else f"a {thing.color} {thing.type}"
            raise ActionRefused(f"no way leads to ({point.x:.3f}, {point.y:.3f}), {name} in cell {cell}")
        for step in way:
            yield from _turn(world, step)
            yield _FORWARD
        if not stands_there:
            yield from _turn(world, cell)
            yield _PICK_UP if thing.can_pickup() else _TOGGLE


def make_minigrid(
    env_id: str = "MiniGrid-FourRooms-v0", *, tile_px: int = 16, render_mode: str | None = None, **options: Any
) -> PointingAction:
    """Make a MiniGrid env with the pointing action space, seen from above as a whole.

    Args:
        env_id: of MiniGrid.
        tile_px: pixels of a cell.
        render_mode: "rgb_array" or None.
        options: passed to ``gymnasium.make``.

    Raises:
        UsageError: minigrid is not installed.
    """
    try:
        from minigrid.wrappers import ImgObsWrapper, RGBImgObsWrapper
    except ModuleNotFoundError as error:
        raise UsageError("MiniGrid is not installed: pip install minigrid") from error
    native = ImgObsWrapper(RGBImgObsWrapper(gymnasium.make(env_id, **options), tile_size=tile_px))
    return PointingAction(
        native,
        walk_to,
        instruction=lambda env: str(env.unwrapped.mission),  # type: ignore[attr-defined]
        # MiniGrid rewards only the completion of its mission.
        success=lambda env, reward, terminated, info: terminated and reward > 0,
        target_mask=lambda env: _goal_mask(env.unwrapped, tile_px),
        limits=Limits(max_points=4),
        render_mode=render_mode,
    )


def _turn(world: Any, cell: Cell) -> Iterator[int]:
    """Face a neighbouring cell."""
    x, y = world.agent_pos
    direction = _AHEAD.index((cell[0] - int(x), cell[1] - int(y)))
    while world.agent_dir != direction:
        yield _RIGHT if (direction - world.agent_dir) % 4 <= 2 else _LEFT


def _shortest_way(world: Any, cell: Cell, *, next_to: bool) -> list[Cell] | None:
    """Return the cells to step on, from the first to ``cell`` or a neighbour of it; None where there is no way."""
    start = tuple(int(value) for value in world.agent_pos)
    ends = {(cell[0] + dx, cell[1] + dy) for dx, dy in _AHEAD} if next_to else {cell}
    came_from: dict[Cell, Cell] = {(start[0], start[1]): (start[0], start[1])}
    queue = deque(came_from)
    while queue:
        here = queue.popleft()
        if here in ends:
            way = [here]
            while came_from[way[-1]] != way[-1]:
                way.append(came_from[way[-1]])
            return way[-2::-1]
        for dx, dy in _AHEAD:
            there = here[0] + dx, here[1] + dy
            thing = world.grid.get(*there) if _inside(world, there) else None
            # Stepping on lava is possible and ends the episode: only if it is the pointed cell.
            free = thing is None or (thing.can_overlap() and (thing.type != "lava" or there == cell))
            if _inside(world, there) and there not in came_from and free:
                came_from[there] = here
                queue.append(there)
    return None


def _inside(world: Any, cell: Cell) -> bool:
    return bool(0 <= cell[0] < world.width and 0 <= cell[1] < world.height)


def _goal_mask(world: Any, tile_px: int) -> Mask:
    mask = np.zeros((world.height, world.width), bool)
    for y in range(world.height):
        for x in range(world.width):
            thing = world.grid.get(x, y)
            mask[y, x] = thing is not None and thing.type == "goal"
    return np.kron(mask, np.ones((tile_px, tile_px), bool))
