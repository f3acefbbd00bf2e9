"""A table in MuJoCo: point at an object and at where it goes; a depth image turns the points into places.

Needs the extra ``robot``. The image is RGB; the depth image beside it belongs to the hand.
"""

import math
from typing import Any

import numpy as np

from molmo_agent.envs.gymnasium_api.base import Mask, Outcome, PointingEnv, box_inside
from molmo_agent.envs.worlds.table.simulation import (
    COLOURS,
    FAR_M,
    HOME,
    KINDS,
    NUM_PLATES,
    PLATE_RADIUS_M,
    SLOTS,
    Array,
    TableItem,
    TableWorld,
)
from molmo_agent.episode import Image
from molmo_agent.errors import ActionRefused
from molmo_agent.geometry import Box, Point

# Things lie within (half width, half depth) metres of the table's middle.
_AREA = (0.3, 0.2)
_ABOVE_M = 0.16
_UP = np.array([0.0, 0.0, _ABOVE_M])
# A point shows the side of a thing that faces the camera; the hand goes so much farther, to touch its top.
_BEHIND_SURFACE_M = 0.008
# The share of a thing that must be in view.
_FEWEST_PIXELS = 60


class TablePick(PointingEnv):
    """Put the named object on the named plate.

    A point is where to grasp if the hand is empty, else where to put down; two points are both, in order. A point
    without a measured depth, or beyond the table, is refused. ``missed`` counts grasps beside things. The episode
    succeeds and ends when the object rests on its plate; the reward is 1.0.

    ``info`` besides the contract: ``holding`` (bool), ``missed``, ``placed`` (things put down so far), and
    ``distance_m`` from the object to the middle of its plate.

    Args:
        width: pixels of the image.
        height: pixels of the image.
        max_steps: steps after which an episode is truncated.
        render_mode: "rgb_array" or None.

    Raises:
        MissingExtraError: MuJoCo is not installed.
        EnvError: MuJoCo cannot render on this machine.
    """

    def __init__(
        self, *, width: int = 320, height: int = 240, max_steps: int = 8, render_mode: str | None = None
    ) -> None:
        super().__init__(size=(width, height), max_points=2, max_steps=max_steps, render_mode=render_mode)
        self.world = TableWorld(width, height)
        self._bodies: dict[str, int] = {}
        self._object, self._plate = "", ""
        self._grip_height = 0.0
        self._num_misses, self._num_placed = 0, 0
        # Rendered once for each state of the world.
        self._image: Image | None = None
        self._body_map: Any = None

    # --- The contract ---------------------------------------------------------------------------------------------

    def begin(self, rng: np.random.Generator, options: dict[str, Any]) -> str:
        """Lay the table so that the object and the plate are visible and have unique names."""
        while True:
            objects, plates = _lay_table(rng)
            self._bodies = self.world.set_up(objects, plates)
            self._object, self._plate = objects[0].name, plates[0].name
            self._num_misses, self._num_placed = 0, 0
            self._forget_images()
            visible_pixels = [int((self._map() == self._bodies[name]).sum()) for name in (self._object, self._plate)]
            if min(visible_pixels) >= _FEWEST_PIXELS * self.size[0] * self.size[1] / (320 * 240):
                return f"put the {self._object} on the {self._plate}"

    def image(self) -> Image:
        """Return the camera's image."""
        if self._image is None:
            self._image = self.world.image()
        return self._image.copy()

    def target_mask(self) -> Mask:
        """Return the pixels of the plate, the target of an answer's last point."""
        return np.asarray(self._map() == self._bodies[self._plate])

    def locate(self, instruction: str) -> list[Box]:
        """Return where to grasp and where to put down; with a full hand the second only."""
        boxes = []
        for name in (self._plate,) if self.world.held_body is not None else (self._object, self._plate):
            boxes += box_inside(self._map() == self._bodies[name])
        return boxes

    def things(self) -> dict[tuple[str, str], Mask]:
        """Return the pixels of what lies on the table, plates included."""
        names_by_kind = [(name.split(" ", 1), body) for name, body in self._bodies.items()]
        return {(colour, kind): np.asarray(self._map() == body) for (colour, kind), body in names_by_kind}

    def point_at(self, points: tuple[Point, ...]) -> Outcome:
        """Grasp, put down, or both."""
        places = self._lift(points)
        if self.world.held_body is None:
            self._grasp(places[0])
            places = places[1:]
        elif len(places) > 1:
            raise ActionRefused("the hand is full: expected one point, where to put the thing down, got two")
        if places and self.world.held_body is not None:
            self._put_down(places[0])
        self.world.move(HOME)
        self._forget_images()
        success = self.world.held_body is None and self._distance() < PLATE_RADIUS_M - 0.01 and self._rests()
        return Outcome(reward=float(success), success=success, terminated=success)

    def measures(self) -> dict[str, Any]:
        """Return the state of the hand, its counts and the distance of the object from its plate."""
        return {
            "holding": self.world.held_body is not None,
            "missed": self._num_misses,
            "placed": self._num_placed,
            "distance_m": self._distance(),
        }

    def close(self) -> None:
        """Free the renderers."""
        self.world.close()

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _lift(self, points: tuple[Point, ...]) -> list[Array]:
        camera = self.world.camera()
        surfaces = camera.lift(points, self.world.depth(), max_depth_m=FAR_M)
        for place, reason, point in zip(surfaces.places, surfaces.reasons, points, strict=True):
            if reason:
                raise ActionRefused(f"{reason}; point at the table or at something on it")
            if place[2] < -0.05:
                raise ActionRefused(f"({point.x:.3f}, {point.y:.3f}) is beside the table, out of reach")
        ahead = camera.ray(list(points))
        ahead[:, 2] = 0.0
        return list(surfaces.places + _BEHIND_SURFACE_M * ahead / np.linalg.norm(ahead, axis=1, keepdims=True))

    def _grasp(self, place: Array) -> None:
        """Lower the hand until it touches something, and hold it if it is loose."""
        height, body = self.world.below(float(place[0]), float(place[1]))
        touch = np.array([place[0], place[1], height])
        self.world.move(touch + _UP)
        self.world.move(touch)
        if body in self._loose():
            self._grip_height = height
            self.world.hold(body)
        else:
            self._num_misses += 1
        self.world.move(touch + _UP)

    def _put_down(self, place: Array) -> None:
        """Lower the thing until its foot touches, and release it."""
        height, _ = self.world.below(float(place[0]), float(place[1]))
        down = np.array([place[0], place[1], height + self._grip_height + 0.002])
        self.world.move(np.array([place[0], place[1], _ABOVE_M + self._grip_height]))
        self.world.move(down)
        self.world.release()
        self._num_placed += 1
        self.world.move(down + _UP / 2)

    def _loose(self) -> set[int]:
        return {body for name, body in self._bodies.items() if not name.endswith(" plate")}

    def _distance(self) -> float:
        gap = self.world.place_of(self._bodies[self._object]) - self.world.place_of(self._bodies[self._plate])
        return math.hypot(gap[0], gap[1])

    def _rests(self) -> bool:
        """Return whether the object is no higher than it would stand on its plate."""
        kind = self._object.split()[-1]
        tallest = max(float(side) for side in KINDS[kind][1].split())
        return bool(self.world.place_of(self._bodies[self._object])[2] < 0.008 + tallest + 0.01)

    def _forget_images(self) -> None:
        self._image, self._body_map = None, None

    def _map(self) -> Any:
        if self._body_map is None:
            self._body_map = self.world.bodies()
        return self._body_map


def _lay_table(rng: np.random.Generator) -> tuple[list[TableItem], list[TableItem]]:
    """Return objects and plates, the target ones first; no two objects alike in both kind and colour."""
    colours = [colour for colour in COLOURS if colour != "white"]
    kinds = list(rng.permutation(SLOTS))[: int(rng.integers(3, 6))]
    names: list[tuple[str, str]] = []
    for kind in kinds:
        # About half share the colour of the first, where that is not taken.
        colour = names[0][0] if names and rng.random() < 0.4 else str(rng.choice(colours))
        while (colour, str(kind)) in names:
            colour = str(rng.choice(colours))
        names.append((colour, str(kind)))
    plate_colours = list(rng.permutation(list(COLOURS)))[: int(rng.integers(2, NUM_PLATES + 1))]
    placed: list[tuple[float, float, float]] = []

    def place(radius: float) -> tuple[float, float]:
        for _ in range(200):
            x, y = (float(rng.uniform(-side, side)) for side in _AREA)
            if all(math.hypot(x - px, y - py) > radius + other + 0.015 for px, py, other in placed):
                placed.append((x, y, radius))
                return x, y
        raise _NoRoom

    while True:
        try:
            placed.clear()
            plates = [TableItem(kind="plate", colour=str(c), **_at(place(PLATE_RADIUS_M))) for c in plate_colours]
            objects = [
                TableItem(kind=kind, colour=colour, turn=float(rng.uniform(0, math.pi)), **_at(place(0.045)))
                for colour, kind in names
            ]
        except _NoRoom:
            continue
        return objects, plates


class _NoRoom(Exception):
    """A thing found no free place."""


def _at(place: tuple[float, float]) -> dict[str, float]:
    return {"x": place[0], "y": place[1]}
