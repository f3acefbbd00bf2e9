"""A robot's camera in a room: point at the floor, or at a thing, and it drives there.

A slow model directs a fast controller: one point starts a drive of many small controller steps, which ends at the
place, after 1.5 m, or at the first collision. Then the model gets a new image.
"""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import PIL.Image

from molmo_agent.envs.gymnasium_api.base import Mask, Outcome, PointingEnv
from molmo_agent.envs.worlds.floor.camera_view import render
from molmo_agent.envs.worlds.floor.robot import (
    COARSE,
    RADIUS_M,
    REACH_M,
    Robot,
    best_pixel,
    coarse_ids,
    drive,
    place_of,
)
from molmo_agent.envs.worlds.floor.room import Room, sample_room
from molmo_agent.envs.worlds.floor.textures import Paint, paint_room
from molmo_agent.envs.worlds.floor.top_view import draw_map
from molmo_agent.episode import Image
from molmo_agent.errors import EnvError, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.images import draw_points

_ROOM_TRIES = 200
# An expert needs no more points in any room, whatever the limit of an episode.
_EXPERT_STEPS = 6


class FloorNav(PointingEnv):
    """Drive to the named thing. Crates, benches and screens stand in the way, other things look similar.

    The robot drives straight to a point on the floor; a point on a thing or a wall means the floor before it. The
    ceiling is refused. The episode succeeds and ends when the robot stands within 0.6 m of the thing, measured from
    the robot's middle; the reward of that step is 1.0. The thing is never straight ahead at first.

    ``info`` besides the contract: ``spl`` (success weighted by path length: shortest / driven, 0.0 without success),
    ``driven_m``, ``shortest_m``, ``collisions``, ``pose`` (x, y, heading; privileged: a metric, not for a policy).

    ``render`` shows the newest image and a map from above, with the pointed places.

    Args:
        width: pixels of the image.
        height: pixels of the image.
        max_steps: points after which an episode is truncated.
        render_mode: "rgb_array" or None.
    """

    def __init__(
        self, *, width: int = 320, height: int = 240, max_steps: int = 12, render_mode: str | None = None
    ) -> None:
        super().__init__(size=(width, height), max_steps=max_steps, render_mode=render_mode)
        if min(width, height) < 48:
            raise UsageError(f"expected an image of at least 48 x 48 pixels, got {width} x {height}")
        self._room: Room | None = None
        self._paint: Paint | None = None
        self._robot = self._begun_at = Robot(0.0, 0.0, 0.0)
        self._trail: list[tuple[float, float]] = []
        self._goals: list[tuple[float, float]] = []
        # Where the robot was during the last drive.
        self._drive: list[Robot] = []
        self._collisions, self._driven, self._shortest = 0, 0.0, 0.0
        self._image: Image = np.zeros((height, width, 3), np.uint8)
        self._ids = np.zeros((height, width), np.int8)
        # The image that the last point refers to.
        self._answer_image: Image | None = None

    # --- The contract ---------------------------------------------------------------------------------------------

    def begin(self, rng: np.random.Generator, options: dict[str, Any]) -> str:
        """Make a room that an expert solves with a few points."""
        for _ in range(_ROOM_TRIES):
            room, pose = sample_room(rng, RADIUS_M, REACH_M)
            if self._is_solvable(room, Robot(*pose)):
                break
        else:
            raise EnvError(f"none of {_ROOM_TRIES} rooms could be solved by an expert; reset with another seed")
        self._room, self._paint = room, paint_room(rng, room)
        self._start(Robot(*pose))
        self._look()
        return f"drive to the {room.solids[room.target].name}"

    def image(self) -> Image:
        """Return a copy of the camera's image."""
        return self._image.copy()

    def target_mask(self) -> Mask:
        """Return the pixels of the named thing."""
        mask: Mask = self._ids == self._inside().target
        return mask

    def locate(self, instruction: str) -> list[Box]:
        """Return the place to drive to next: in view, reached straight, and on the shortest way from there."""
        column, row = best_pixel(self._inside(), self._robot)
        return [Box.from_pixels(column, row, column + 1, row + 1, *COARSE)]

    def things(self) -> dict[tuple[str, str], Mask]:
        """Return the pixels of the things whose colour and kind no other has."""
        solids = self._inside().solids
        names = Counter(solid.name for solid in solids)
        return {
            (solid.colour, solid.kind): self._ids == number
            for number, solid in enumerate(solids)
            if names[solid.name] == 1
        }

    def point_at(self, points: tuple[Point, ...]) -> Outcome:
        """Drive."""
        room = self._inside()
        goal = place_of(points[0], self._robot, self._ids, room)
        self._answer_image, self._begun_at = self.image(), self._robot
        self._goals.append(goal)
        self._drive, collided = drive(room, self._robot, goal)
        for pose in self._drive:
            self._driven += math.hypot(pose.x - self._trail[-1][0], pose.y - self._trail[-1][1])
            self._trail.append((pose.x, pose.y))
            self._robot = pose
        self._collisions += collided
        self._look()
        success = room.has_arrived(self._robot.x, self._robot.y)
        return Outcome(reward=float(success), success=success, terminated=success)

    def measures(self) -> dict[str, Any]:
        """Return the lengths of the drive, its collisions, its SPL and the pose."""
        success = self._inside().has_arrived(self._robot.x, self._robot.y)
        # The shortest way is measured over a grid and may be a little longer than the driven one.
        spl = self._shortest / max(self._driven, self._shortest) if success else 0.0
        return {
            "spl": spl,
            "driven_m": self._driven,
            "shortest_m": self._shortest,
            "collisions": self._collisions,
            "pose": np.array([self._robot.x, self._robot.y, self._robot.heading]),
        }

    def render(self) -> Image | None:
        """Return the image of the last point, with that point, beside a map from above."""
        if self.render_mode is None or self._room is None or self._paint is None:
            return None
        view = draw_points(self.image() if self._answer_image is None else self._answer_image, self._points)
        return self._beside_map(view, self._robot, len(self._trail))

    def film(self, every: int = 6) -> Iterator[Image]:
        """Yield the image of the last point, with that point, then the views of the drive, each beside the map.

        Args:
            every: controller steps, of 0.05 s, from one image to the next.
        """
        if self._paint is None or self._answer_image is None:
            return
        before = len(self._trail) - len(self._drive)
        yield self._beside_map(draw_points(self._answer_image, self._points), self._begun_at, before)
        for number in range(every - 1, len(self._drive), every):
            pose = self._drive[number]
            view = render(self._inside(), self._paint, pose.camera(*self.size))[0]
            yield self._beside_map(PIL.Image.fromarray(view), pose, before + number + 1)

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _inside(self) -> Room:
        if self._room is None:
            raise UsageError("there is no room yet; call reset() first")
        return self._room

    def _beside_map(self, view: PIL.Image.Image, robot: Robot, so_far: int) -> Image:
        assert self._paint is not None
        trail = self._trail[:so_far]
        plan = draw_map(self._inside(), self._paint, robot, trail, self._goals, height=self.size[1])
        both = PIL.Image.new("RGB", (view.width + plan.width, view.height))
        both.paste(view, (0, 0))
        both.paste(plan, (view.width, 0))
        return np.array(both)

    def _start(self, robot: Robot) -> None:
        self._robot, self._trail, self._goals, self._drive = robot, [(robot.x, robot.y)], [], []
        self._collisions, self._driven, self._answer_image = 0, 0.0, None
        self._shortest = float(self._inside().remaining(np.array([[robot.x, robot.y]]))[0])

    def _look(self) -> None:
        assert self._paint is not None
        self._image, self._ids = render(self._inside(), self._paint, self._robot.camera(*self.size))

    def _is_solvable(self, room: Room, robot: Robot) -> bool:
        """Return whether an expert that sees coarse images reaches the target, which must be in view at first."""
        if not np.isfinite(room.remaining(np.array([[robot.x, robot.y]]))).all() or room.has_arrived(robot.x, robot.y):
            return False
        if (coarse_ids(room, robot) == room.target).sum() < 25:
            return False
        for _ in range(_EXPERT_STEPS):
            point = Point.from_pixel(*best_pixel(room, robot), *COARSE)
            poses, collided = drive(room, robot, place_of(point, robot, coarse_ids(room, robot), room))
            if collided or not poses:
                return False
            robot = poses[-1]
            if room.has_arrived(robot.x, robot.y):
                return True
        return False
