"""A room with solid things on its floor: their positions, clearances and shortest ways.

The world's frame: x and y on the floor, z up, metres; the room is ``[0, width] x [0, depth]``.
"""

import math
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse
from scipy.sparse import csgraph

Array = npt.NDArray[np.float64]

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (206, 52, 48),
    "orange": (240, 128, 32),
    "yellow": (242, 200, 48),
    "green": (52, 150, 78),
    "blue": (42, 98, 200),
    "purple": (132, 70, 176),
}
# Kind -> (radius, height) of round things in metres. They are the targets.
LANDMARKS: dict[str, tuple[float, float]] = {
    "pillar": (0.16, 1.5),
    "barrel": (0.26, 0.72),
    "cone": (0.24, 0.66),
    "ball": (0.27, 0.54),
}
# Kind -> (half length, half width, height). They stand in the way.
OBSTACLES: dict[str, tuple[float, float, float]] = {
    "crate": (0.32, 0.32, 0.5),
    "bench": (0.8, 0.2, 0.42),
    "screen": (0.7, 0.06, 1.25),
}

_CELL_M = 0.1
# Free space between things, so that a robot fits through.
_PASSAGE_M = 0.85


@dataclass(frozen=True, slots=True, kw_only=True)
class Solid:
    """Something to drive to or around."""

    kind: str
    colour: str
    x: float
    y: float
    height: float
    # Of a round thing; 0.0 for a box.
    radius: float = 0.0
    # Half the sides of a box, and how far it is turned, in radians.
    half: tuple[float, float] = (0.0, 0.0)
    turn: float = 0.0

    @property
    def name(self) -> str:
        """Its name: ``red cone``."""
        return f"{self.colour} {self.kind}".strip()

    @property
    def size(self) -> float:
        """Radius of the circle around it."""
        return self.radius or math.hypot(*self.half)

    def distance(self, places: Array) -> Array:
        """Return how far places (..., 2) are from its surface; 0.0 and less inside."""
        dx, dy = places[..., 0] - self.x, places[..., 1] - self.y
        if self.radius:
            return np.hypot(dx, dy) - self.radius
        c, s = math.cos(self.turn), math.sin(self.turn)
        outside_x = np.abs(c * dx + s * dy) - self.half[0]
        outside_y = np.abs(c * dy - s * dx) - self.half[1]
        gap = np.hypot(np.maximum(outside_x, 0), np.maximum(outside_y, 0))
        return gap + np.minimum(np.maximum(outside_x, outside_y), 0)


@dataclass(slots=True, kw_only=True)
class Room:
    """Walls and solids, and the shortest ways to one of them.

    Raises:
        ValueError: there is no solid with the number of the target.
    """

    width: float
    depth: float
    solids: tuple[Solid, ...]
    # The number of the target solid.
    target: int
    robot_radius: float
    # Distance from the robot's middle to the target's surface at which the target is reached, metres.
    reach: float
    _way: Array = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.target < len(self.solids):
            raise ValueError(f"expected a target among {len(self.solids)} solids, got {self.target}")
        self._way = self._ways()

    def clearance(self, places: Array) -> Array:
        """Return how far places (..., 2) are from the nearest wall or solid, in metres."""
        x, y = places[..., 0], places[..., 1]
        nearest = np.minimum(np.minimum(x, self.width - x), np.minimum(y, self.depth - y))
        for solid in self.solids:
            nearest = np.minimum(nearest, solid.distance(places))
        return nearest

    def has_arrived(self, x: float, y: float) -> bool:
        """Return whether a robot there has reached the target."""
        return bool(self.solids[self.target].distance(np.array([x, y])) <= self.reach)

    def free_lines(self, start: tuple[float, float], ends: Array, margin: float) -> npt.NDArray[np.bool_]:
        """Return which straight ways from ``start`` to ``ends`` (number, 2) a robot can take with a margin to spare."""
        shares = np.linspace(0.0, 1.0, 60)[1:, None, None]
        between = np.asarray(start) + shares * (ends - np.asarray(start))
        return np.asarray((self.clearance(between) > self.robot_radius + margin).all(axis=0))

    def remaining(self, places: Array) -> Array:
        """Return the length of the shortest way (number, 2) -> (number,) to the target; infinite without a way."""
        rows = np.clip((places[:, 1] / _CELL_M).astype(int), 0, self._way.shape[0] - 1)
        columns = np.clip((places[:, 0] / _CELL_M).astype(int), 0, self._way.shape[1] - 1)
        lengths: Array = self._way[rows, columns]
        return lengths

    def _ways(self) -> Array:
        """Return the shortest way from the middle of each cell, over its eight neighbours."""
        x = np.arange(_CELL_M / 2, self.width, _CELL_M)
        y = np.arange(_CELL_M / 2, self.depth, _CELL_M)
        places = np.stack(np.meshgrid(x, y), axis=-1)
        free = self.clearance(places) > self.robot_radius + 0.05
        there = free & (self.solids[self.target].distance(places) <= self.reach)
        ways = np.full(free.shape, np.inf)
        if there.any():
            numbers = np.arange(free.size).reshape(free.shape)
            starts, ends, lengths = [], [], []
            for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
                here = (slice(0, free.shape[0] - dy), slice(max(-dx, 0), free.shape[1] - max(dx, 0)))
                next_ = (slice(dy, None), slice(max(dx, 0), free.shape[1] + min(dx, 0)))
                both = free[here] & free[next_]
                starts.append(numbers[here][both])
                ends.append(numbers[next_][both])
                lengths.append(np.full(int(both.sum()), _CELL_M * math.hypot(dx, dy)))
            edges = (np.concatenate(lengths), (np.concatenate(starts), np.concatenate(ends)))
            graph = sparse.coo_matrix(edges, shape=(free.size, free.size)).tocsr()
            distances = csgraph.dijkstra(graph, directed=False, indices=numbers[there], min_only=True)
            ways = distances.reshape(free.shape)
        # A place too close to something takes the way of its neighbours: a robot that bumped is still somewhere.
        return np.minimum(ways, ndimage.minimum_filter(ways, size=5) + 2 * _CELL_M)


def sample_room(rng: np.random.Generator, robot_radius: float, reach: float) -> tuple[Room, tuple[float, float, float]]:
    """Make a room whose target can be named and is before the robot; return it with the robot's (x, y, heading).

    The caller checks whether the target is in view and reachable, and samples again if not.
    """
    width, depth = float(rng.uniform(5.0, 7.0)), float(rng.uniform(5.5, 7.5))
    x, y, heading = float(rng.uniform(1.5, width - 1.5)), 0.6, math.pi / 2 + float(rng.uniform(-0.15, 0.15))
    names = [(colour, kind) for colour in COLOURS for kind in LANDMARKS]
    rng.shuffle(names)
    target = names[0]
    # Some share the target's colour or kind, so that neither alone identifies it.
    alike = [name for name in names[1:] if (name[0] == target[0]) != (name[1] == target[1])]
    selection = [target, *alike[:2], *[name for name in names[1:] if name not in alike][: int(rng.integers(0, 3))]]
    solids: list[Solid] = []
    for number, (colour, kind) in enumerate(selection):
        radius, height = LANDMARKS[kind]
        near, far = (2.6, 5.2) if number == 0 else (1.6, 6.5)
        # The target is never straight ahead, so that driving without looking does not reach it.
        bearing = heading + rng.uniform(0.14 if number == 0 else 0.0, 0.5, 40) * rng.choice([-1, 1], 40)
        away = rng.uniform(near, far, 40)
        for px, py in zip(x + away * np.cos(bearing), y + away * np.sin(bearing), strict=True):
            solid = Solid(kind=kind, colour=colour, x=float(px), y=float(py), radius=radius, height=height)
            if _fits(solid, solids, width, depth, (x, y)):
                solids.append(solid)
                break
        if len(solids) <= number and number == 0:
            return sample_room(rng, robot_radius, reach)
    goal = solids[0]
    for number in range(int(rng.integers(1, 4))):
        kind = str(rng.choice(list(OBSTACLES)))
        long, wide, height = OBSTACLES[kind]
        for _ in range(30):
            if number == 0:  # in the way
                share = float(rng.uniform(0.35, 0.65))
                px, py = x + share * (goal.x - x) + rng.normal(0, 0.15), y + share * (goal.y - y)
                turn = math.atan2(goal.y - y, goal.x - x) + math.pi / 2 + float(rng.uniform(-0.4, 0.4))
            else:
                px, py, turn = rng.uniform(0, width), rng.uniform(1.2, depth), float(rng.uniform(0, math.pi))
            solid = Solid(kind=kind, colour="", x=float(px), y=float(py), half=(long, wide), turn=turn, height=height)
            if _fits(solid, solids, width, depth, (x, y)):
                solids.append(solid)
                break
    room = Room(width=width, depth=depth, solids=tuple(solids), target=0, robot_radius=robot_radius, reach=reach)
    return room, (x, y, heading)


def _fits(solid: Solid, others: list[Solid], width: float, depth: float, robot: tuple[float, float]) -> bool:
    """Return whether a thing stands in the room and leaves passages around it."""
    edge = solid.size + 0.15
    inside = edge < solid.x < width - edge and edge < solid.y < depth - edge
    apart = all(
        math.hypot(solid.x - o.x, solid.y - o.y) > min(solid.size, 0.5) + min(o.size, 0.5) + _PASSAGE_M for o in others
    )
    return inside and apart and math.hypot(solid.x - robot[0], solid.y - robot[1]) > solid.size + 0.7
