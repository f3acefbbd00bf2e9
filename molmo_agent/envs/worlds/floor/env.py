"""A robot's camera in a room: point at the floor, or at a thing, and it drives there.

A slow model over a fast controller: one point starts a drive of many small controller steps, which ends at the place,
after 1.5 m, or at the first touch of anything. Then a new picture is shown.
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

_ROOMS_TRIED = 200
# An expert needs no more points in any room, whatever the limit of an episode.
_EXPERT_STEPS = 6


class FloorNav(PointingEnv):
    """Drive to the thing that is named. Crates, benches and screens stand in the way, other things look alike.

    A point on the floor is where the robot drives, on a straight line; a point on a thing or a wall means the floor
    before it. The ceiling is refused. Success, and the end, is to come to a stand within 0.6 m of the thing, measured
    from the robot's middle; the reward of that step is 1.0. It is never straight ahead at first.

    ``info`` besides the contract: ``spl`` (success weighted by path length: shortest / driven, 0.0 without success),
    ``driven_m``, ``shortest_m``, ``collisions``, ``pose`` (x, y, heading; privileged: a metric, not for a policy).

    ``render`` shows the newest picture and a map from above, with the pointed places.

    Args:
        width: pixels of the picture.
        height: pixels of the picture.
        max_steps: points after which an episode is truncated.
        render_mode: "rgb_array" or None.
    """

    def __init__(
        self, *, width: int = 320, height: int = 240, max_steps: int = 12, render_mode: str | None = None
    ) -> None:
        super().__init__(size=(width, height), max_steps=max_steps, render_mode=render_mode)
        if min(width, height) < 48:
            raise UsageError(f"expected a picture of at least 48 x 48 pixels, got {width} x {height}")
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
        # What was pointed at, on the picture that it was said of.
        self._answered: Image | None = None

    # --- The contract ---------------------------------------------------------------------------------------------

    def begin(self, rng: np.random.Generator, options: dict[str, Any]) -> str:
        """Make a room that an expert finishes with a few points."""
        for _ in range(_ROOMS_TRIED):
            room, pose = sample_room(rng, RADIUS_M, REACH_M)
            if self._can_be_done(room, Robot(*pose)):
                break
        else:
            raise EnvError(f"none of {_ROOMS_TRIED} rooms could be finished by an expert; reset with another seed")
        self._room, self._paint = room, paint_room(rng, room)
        self._start(Robot(*pose))
        self._look()
        return f"drive to the {room.solids[room.target].name}"

    def picture(self) -> Image:
        """Return a copy of what the camera sees."""
        return self._image.copy()

    def target_mask(self) -> Mask:
        """Return the pixels of the thing that is named."""
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
        self._answered, self._begun_at = self.picture(), self._robot
        self._goals.append(goal)
        self._drive, touched = drive(room, self._robot, goal)
        for pose in self._drive:
            self._driven += math.hypot(pose.x - self._trail[-1][0], pose.y - self._trail[-1][1])
            self._trail.append((pose.x, pose.y))
            self._robot = pose
        self._collisions += touched
        self._look()
        success = room.arrived(self._robot.x, self._robot.y)
        return Outcome(reward=float(success), success=success, terminated=success)

    def measures(self) -> dict[str, Any]:
        """Tell how far it went, and how well."""
        success = self._inside().arrived(self._robot.x, self._robot.y)
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
        """Return the picture that was answered last, with the point, beside a map from above."""
        if self.render_mode is None or self._room is None or self._paint is None:
            return None
        shown = draw_points(self.picture() if self._answered is None else self._answered, self._points)
        return self._beside_map(shown, self._robot, len(self._trail))

    def film(self, every: int = 6) -> Iterator[Image]:
        """Yield the answered picture with its point and what was seen on the drive then, each beside the map.

        Args:
            every: controller steps, of 0.05 s, from one picture to the next.
        """
        if self._paint is None or self._answered is None:
            return
        before = len(self._trail) - len(self._drive)
        yield self._beside_map(draw_points(self._answered, self._points), self._begun_at, before)
        for number in range(every - 1, len(self._drive), every):
            pose = self._drive[number]
            seen = render(self._inside(), self._paint, pose.camera(*self.size))[0]
            yield self._beside_map(PIL.Image.fromarray(seen), pose, before + number + 1)

    # --- Inside ---------------------------------------------------------------------------------------------------

    def _inside(self) -> Room:
        if self._room is None:
            raise UsageError("the room is made by reset(); call it first")
        return self._room

    def _beside_map(self, shown: PIL.Image.Image, robot: Robot, so_far: int) -> Image:
        assert self._paint is not None
        trail = self._trail[:so_far]
        plan = draw_map(self._inside(), self._paint, robot, trail, self._goals, height=self.size[1])
        both = PIL.Image.new("RGB", (shown.width + plan.width, shown.height))
        both.paste(shown, (0, 0))
        both.paste(plan, (shown.width, 0))
        return np.array(both)

    def _start(self, robot: Robot) -> None:
        self._robot, self._trail, self._goals, self._drive = robot, [(robot.x, robot.y)], [], []
        self._collisions, self._driven, self._answered = 0, 0.0, None
        self._shortest = float(self._inside().remaining(np.array([[robot.x, robot.y]]))[0])

    def _look(self) -> None:
        assert self._paint is not None
        self._image, self._ids = render(self._inside(), self._paint, self._robot.camera(*self.size))

    def _can_be_done(self, room: Room, robot: Robot) -> bool:
        """Let an expert drive, on coarse pictures; the target has to be seen at first."""
        if not np.isfinite(room.remaining(np.array([[robot.x, robot.y]]))).all() or room.arrived(robot.x, robot.y):
            return False
        if (coarse_ids(room, robot) == room.target).sum() < 25:
            return False
        for _ in range(_EXPERT_STEPS):
            point = Point.from_pixel(*best_pixel(room, robot), *COARSE)
            poses, touched = drive(room, robot, place_of(point, robot, coarse_ids(room, robot), room))
            if touched or not poses:
                return False
            robot = poses[-1]
            if room.arrived(robot.x, robot.y):
                return True
        return False
