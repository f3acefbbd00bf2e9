"""A robot on two wheels with a level camera: the goal of a point, the drive to it, and the point of an expert."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from molmo_agent.camera import Camera
from molmo_agent.envs.worlds.floor.camera_view import CEILING, FLOOR, WALL, render
from molmo_agent.envs.worlds.floor.room import Array, Room
from molmo_agent.errors import ActionRefused
from molmo_agent.geometry import Point

RADIUS_M, CAMERA_HEIGHT_M, REACH_M = 0.22, 0.62, 0.6
# The image is 80 degrees wide; its horizon lies above the middle, to show more floor.
_FIELD_OF_VIEW_DEG, _HORIZON = 80.0, 0.36
# One controller step, the robot's limits, and the longest drive for one point.
_STEP_S, _SPEED_M_S, _TURN_RAD_S, _DRIVE_M = 0.05, 0.8, 2.0, 1.5
# A drive that takes longer has failed.
_MAX_DRIVE_S = 12.0
# Distance from a pointed thing or wall, added to the robot's radius.
_STAND_OFF_M = 0.12
# The distance that an expert keeps from things.
_MARGIN_M = 0.12
# (width, height) of the images that an expert decides on.
COARSE = (120, 90)


@dataclass(frozen=True, slots=True)
class Robot:
    """Where a robot is: metres in the room, radians from the x axis towards y."""

    x: float
    y: float
    heading: float

    def camera(self, width: int, height: int) -> Camera:
        """Return its camera, level and straight ahead."""
        c, s = math.cos(self.heading), math.sin(self.heading)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([(s, -c, 0.0), (0.0, 0.0, -1.0), (c, s, 0.0)], axis=1)
        pose[:3, 3] = (self.x, self.y, CAMERA_HEIGHT_M)
        focal = width / 2 / math.tan(math.radians(_FIELD_OF_VIEW_DEG) / 2)
        return Camera(width=width, height=height, fx=focal, fy=focal, cx=width / 2, cy=height * _HORIZON, pose=pose)


def pursue(robot: Robot, goal: tuple[float, float]) -> tuple[float, float]:
    """Return the speed (m/s) and turn rate (rad/s) of a differential drive on its way to a goal: pure pursuit.

    Where the goal is not before the robot, it turns on the spot first.
    """
    dx, dy = goal[0] - robot.x, goal[1] - robot.y
    away = math.hypot(dx, dy)
    error = math.remainder(math.atan2(dy, dx) - robot.heading, math.tau)
    if abs(error) > 0.25:
        return 0.0, math.copysign(min(_TURN_RAD_S, abs(error) / _STEP_S), error)
    speed = min(_SPEED_M_S, away / _STEP_S) * math.cos(error)
    turn = 2 * speed * math.sin(error) / max(away, 0.25)
    return speed, max(-_TURN_RAD_S, min(_TURN_RAD_S, turn))


def place_of(point: Point, robot: Robot, ids: Any, room: Room) -> tuple[float, float]:
    """Return where on the floor a point sends the robot.

    Args:
        point: of the image.
        robot: the robot whose camera took the image.
        ids: (height, width), the id at each pixel.
        room: the room of the robot.

    Raises:
        ActionRefused: the point is on the ceiling.
    """
    height, width = ids.shape
    column, row = point.to_pixels(width, height)
    what, camera = int(ids[row, column]), robot.camera(width, height)
    if what == CEILING:
        raise ActionRefused(f"({point.x:.3f}, {point.y:.3f}) is on the ceiling: point at the floor or at a thing")
    if what == FLOOR:
        intersection = camera.intersect_plane([point])
        if intersection.valid[0]:
            return float(intersection.places[0, 0]), float(intersection.places[0, 1])
    # Upright surfaces: go as far in that direction as there is floor before them.
    direction = camera.ray([point])[0, :2]
    direction = direction / np.linalg.norm(direction)
    away = np.arange(0.02, 12.0, 0.02)
    line = np.array([robot.x, robot.y]) + away[:, None] * direction
    gap = room.solids[what].distance(line) if what != WALL else _to_wall(room, line)
    hits = np.flatnonzero(gap <= RADIUS_M + _STAND_OFF_M)
    end = line[hits[0]] if len(hits) else line[-1]
    return float(end[0]), float(end[1])


def drive(room: Room, robot: Robot, goal: tuple[float, float]) -> tuple[list[Robot], bool]:
    """Drive towards a place; return where the robot is after each controller step, and whether it touched something."""
    poses: list[Robot] = []
    driven = 0.0
    for _ in range(round(_MAX_DRIVE_S / _STEP_S)):
        if math.hypot(goal[0] - robot.x, goal[1] - robot.y) < 0.03 or driven >= _DRIVE_M:
            break
        speed, turn = pursue(robot, goal)
        middle = robot.heading + turn * _STEP_S / 2
        x = robot.x + speed * _STEP_S * math.cos(middle)
        y = robot.y + speed * _STEP_S * math.sin(middle)
        if speed > 0 and room.clearance(np.array([x, y])) < RADIUS_M:
            return poses, True
        robot = Robot(x, y, math.remainder(robot.heading + turn * _STEP_S, math.tau))
        driven += speed * _STEP_S
        poses.append(robot)
    return poses, False


def coarse_ids(room: Room, robot: Robot) -> npt.NDArray[np.int8]:
    """Return the ids of a small image, so that an expert's decision does not depend on the image's size."""
    return render(room, None, robot.camera(*COARSE), smooth=1)[1]


def best_pixel(room: Room, robot: Robot) -> tuple[int, int]:
    """Return the (column, row) of a coarse image that an expert points at. Privileged.

    Candidates are the places on the floor in view that the robot reaches on a straight line with a margin. The result
    is the one with the shortest whole way, and of equal ones the farthest. Without a candidate it is the lower corner
    on the side of the way, so that the robot turns.
    """
    width, height = COARSE
    # Not on the edge of a thing: at a higher resolution, that pixel may show the thing.
    floor = ndimage.binary_erosion(coarse_ids(room, robot) == FLOOR, np.ones((3, 3)), border_value=1)
    grid = np.argwhere(floor)[::7, ::-1]
    places = robot.camera(width, height).intersect_plane((grid + 0.5) / (width, height)).places[:, :2]
    here = (robot.x, robot.y)
    away = np.hypot(places[:, 0] - here[0], places[:, 1] - here[1])
    near = away < 6.0
    grid, places, away = grid[near], places[near], away[near]
    free = room.free_lines(here, places, _MARGIN_M)
    # A place where the robot has arrived counts as the end, wherever the grid's cells lie.
    whole = away + np.where(room.solids[room.target].distance(places) <= REACH_M - 0.02, 0.0, room.remaining(places))
    usable = free & np.isfinite(whole)
    if usable.any():
        cost = np.where(usable, whole - 0.1 * np.minimum(away, _DRIVE_M), np.inf)
        column, row = grid[int(np.argmin(cost))]
        return int(column), int(row)
    thing = room.solids[room.target]
    side = math.remainder(math.atan2(thing.y - robot.y, thing.x - robot.x) - robot.heading, math.tau)
    return (0 if side > 0 else width - 1), height - 1


def _to_wall(room: Room, places: Array) -> Array:
    x, y = places[..., 0], places[..., 1]
    return np.minimum(np.minimum(x, room.width - x), np.minimum(y, room.depth - y))
