"""A pinhole camera in the world: from image points to rays and places, and back. Needs only numpy.

**Frames.** A pose maps camera coordinates to world coordinates. Camera coordinates are OpenCV's: x to the right,
y down, z forward. OpenGL's and MuJoCo's cameras have y up and look along -z; :data:`OPENGL_TO_OPENCV` converts between
them, and every constructor states its convention. Lengths are metres.

**Image.** Points are fractions of the image as everywhere in this package; ``fx, fy, cx, cy`` are in pixels, and
their position 0.0 is the *edge* of the first pixel. OpenCV and ROS count from its *middle*: their ``cx`` is 0.5 less.

**Depth** is along the optical axis (z), as MuJoCo, Gazebo and depth cameras give it, not along the ray.

A place that cannot be computed is NaN with ``valid`` False, never the origin.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from molmo_agent.geometry import Point, to_pixel

Array = npt.NDArray[np.float64]

Points = Sequence[Point] | Array
"""Points of an image: ``Point`` objects, or (num_points, 2) fractions, which may lie outside of it."""

OPENGL_TO_OPENCV: Array = np.diag([1.0, -1.0, -1.0, 1.0])
"""Multiply a pose (camera to world) from the right with it to change its convention; it is its own inverse."""

# Rays at a smaller angle to a plane than this (its sine) count as parallel: their intersection would be noise.
_FLATTEST = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Projection:
    """Where places of the world appear on an image."""

    # (num_places, 2) fractions of the image; outside of [0, 1] beside it, NaN for places behind the camera.
    points: Array
    # (num_places,) metres along the optical axis; negative behind the camera.
    depth_m: Array
    # (num_places,) bool: in front of the camera and on the image. Occlusion is not considered.
    visible: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Places:
    """Where points of an image are in the world."""

    # (num_points, 3) metres in the world's frame; NaN where not valid.
    places: Array
    # (num_points,) bool.
    valid: npt.NDArray[np.bool_]
    # One sentence per point: why it has no place; empty for valid points.
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Camera:
    """A pinhole camera without distortion.

    Raises:
        ValueError: a size or focal length is not above 0, or the pose is not a rotation and translation.
    """

    # Pixels of the image.
    width: int
    height: int
    # Focal lengths and principal point in pixels, counted from the edge of the first pixel.
    fx: float
    fy: float
    cx: float
    cy: float
    # (4, 4): OpenCV camera coordinates to the world's.
    pose: Array

    def __post_init__(self) -> None:
        if min(self.width, self.height) < 1 or not all(math.isfinite(f) and f > 0 for f in (self.fx, self.fy)):
            raise ValueError(
                f"expected an image of at least 1 x 1 pixels and focal lengths above 0, got {self.width} x "
                f"{self.height}, {self.fx}, {self.fy}"
            )
        pose = np.array(self.pose, np.float64)
        turn = pose[:3, :3] if pose.shape == (4, 4) else np.full((3, 3), np.nan)
        proper = np.allclose(turn @ turn.T, np.eye(3), atol=1e-5) and np.linalg.det(turn) > 0
        if not (proper and np.isfinite(pose).all() and np.allclose(pose[3], [0, 0, 0, 1])):
            raise ValueError(
                f"expected a (4, 4) pose of a right-handed rotation and a translation, got {pose.tolist()}"
            )
        pose.flags.writeable = False
        object.__setattr__(self, "pose", pose)

    # --- Constructors ---------------------------------------------------------------------------------------------

    @classmethod
    def from_field_of_view(cls, width: int, height: int, *, vertical_deg: float, pose: npt.ArrayLike) -> Self:
        """Make a camera with square pixels and the optical axis in the middle.

        Args:
            width: pixels of the image.
            height: pixels of the image.
            vertical_deg: the angle from the image's top to its bottom edge, in degrees.
            pose: (4, 4), OpenCV camera coordinates to the world's.
        """
        if not 0 < vertical_deg < 180:
            raise ValueError(f"expected a vertical field of view between 0 and 180 degrees, got {vertical_deg}")
        focal = height / 2 / math.tan(math.radians(vertical_deg) / 2)
        return cls(
            width=width, height=height, fx=focal, fy=focal, cx=width / 2, cy=height / 2, pose=np.asarray(pose, float)
        )

    @classmethod
    def from_mujoco(cls, model: Any, data: Any, camera: str | int, width: int, height: int) -> Self:
        """Read a fixed camera of a MuJoCo model by its name or number, at its present pose (after ``mj_forward``).

        Raises:
            ValueError: no such camera, or its field of view is not given by fovy.
        """
        try:
            number = model.camera(camera).id
        except (KeyError, IndexError) as error:
            raise ValueError(f"the MuJoCo model has no camera {camera!r}") from error
        if model.cam_sensorsize[number].any():
            raise ValueError(f"expected a MuJoCo camera that is given by fovy, got {camera!r} with a sensor size")
        pose = np.eye(4)
        pose[:3, :3] = np.asarray(data.cam_xmat[number]).reshape(3, 3)
        pose[:3, 3] = data.cam_xpos[number]
        return cls.from_field_of_view(
            width, height, vertical_deg=float(model.cam_fovy[number]), pose=pose @ OPENGL_TO_OPENCV
        )

    @classmethod
    def from_mujoco_scene(cls, scene: Any, width: int, height: int) -> Self:
        """Read the camera of the last update of a MuJoCo scene; use this for a free or tracking camera.

        ``scene`` is ``renderer.scene`` after ``renderer.update_scene(data, camera)``.

        Raises:
            ValueError: the camera is orthographic.
        """
        left, right = scene.camera[0], scene.camera[1]
        if getattr(left, "orthographic", 0):
            raise ValueError("expected a perspective camera, got an orthographic one")
        forward, up = np.asarray(left.forward, float), np.asarray(left.up, float)
        pose = np.eye(4)
        pose[:3, :3] = np.stack([np.cross(forward, up), -up, forward], axis=1)
        # MuJoCo has two eyes for stereo images; the camera is in the middle between them.
        pose[:3, 3] = (np.asarray(left.pos, float) + np.asarray(right.pos, float)) / 2
        half = (float(left.frustum_top) - float(left.frustum_bottom)) / 2
        vertical = math.degrees(2 * math.atan(half / float(left.frustum_near)))
        return cls.from_field_of_view(width, height, vertical_deg=vertical, pose=pose)

    @classmethod
    def from_camera_info(cls, info: Mapping[str, Any], pose: npt.ArrayLike) -> Self:
        """Read a ROS CameraInfo message: ``width``, ``height``, ``k`` (or ``K``), ``d`` (or ``D``).

        Args:
            info: the message as a mapping.
            pose: (4, 4), the optical frame (x right, y down, z forward) to the world.

        Raises:
            ValueError: a field is missing, or the image is distorted.
        """
        matrix = info.get("k", info.get("K"))
        if matrix is None or np.size(matrix) != 9 or not {"width", "height"} <= set(info):
            raise ValueError(f"expected a CameraInfo with width, height and k of 9 numbers, got {sorted(info)}")
        distortion = info.get("d", info.get("D"))
        if distortion is not None and np.any(np.asarray(distortion, float)):
            raise ValueError(f"expected a rectified image, got the distortion {list(distortion)}: rectify it first")
        k = np.asarray(matrix, float).reshape(3, 3)
        return cls(
            width=int(info["width"]),
            height=int(info["height"]),
            fx=float(k[0, 0]),
            fy=float(k[1, 1]),
            cx=float(k[0, 2]) + 0.5,
            cy=float(k[1, 2]) + 0.5,
            pose=np.asarray(pose, float),
        )

    # --- Methods --------------------------------------------------------------------------------------------------

    @property
    def position(self) -> Array:
        """The position of the camera: (3,) metres in the world."""
        return self.pose[:3, 3].copy()

    def project(self, places: npt.ArrayLike) -> Projection:
        """Return where places of the world, (num_places, 3), appear on the image."""
        world = _rows(places, 3, "places")
        local = (world - self.pose[:3, 3]) @ self.pose[:3, :3]
        depth = local[:, 2]
        before = depth > 0
        safe = np.where(before, depth, np.nan)
        x = (local[:, 0] / safe * self.fx + self.cx) / self.width
        y = (local[:, 1] / safe * self.fy + self.cy) / self.height
        on_image = before & (x >= 0) & (x <= 1) & (y >= 0) & (y <= 1)
        return Projection(points=np.stack([x, y], axis=1), depth_m=depth, visible=on_image)

    def ray(self, points: Points) -> Array:
        """Return the directions in which points of the image lie, (num_points, 3) of length 1 in the world's frame.

        They start at :attr:`position`.
        """
        directions = self._directions(points) @ self.pose[:3, :3].T
        unit: Array = directions / np.linalg.norm(directions, axis=1, keepdims=True)
        return unit

    def deproject(self, points: Points, depth_m: npt.ArrayLike) -> Array:
        """Return the places (num_points, 3) of points at the given depths along the optical axis, in metres."""
        depth = np.asarray(depth_m, np.float64).reshape(-1, 1)
        places: Array = (self._directions(points) * depth) @ self.pose[:3, :3].T + self.pose[:3, 3]
        return places

    def lift(
        self,
        points: Points,
        depth_image: npt.ArrayLike,
        *,
        window_px: int = 5,
        max_depth_m: float = math.inf,
    ) -> Places:
        """Return the places of the visible surfaces at points, from a depth image.

        The depth of a point is the median of the measured depths in a window around it, so that single holes and spikes
        have no effect. It is always a measured value, never the mean of two surfaces. Zero, NaN, infinite and values
        above ``max_depth_m`` are holes. If less than half of the window is measured, the point has no place.

        A depth is that of a pixel's middle, so a place is up to half a pixel off along the surface: at 640 x 480 less
        than 5 mm within 2 m of the camera, measured against MuJoCo's own rays.

        Args:
            points: of the image.
            depth_image: (height, width) metres along the optical axis; any resolution of the same view.
            window_px: side of the window in pixels of the depth image, odd.
            max_depth_m: farther depths count as holes, such as a far clipping plane.
        """
        depths = np.asarray(depth_image, np.float64)
        if depths.ndim != 2 or not depths.size:
            raise ValueError(f"expected a depth image of shape (height, width), got {depths.shape}")
        if window_px < 1 or window_px % 2 == 0:
            raise ValueError(f"expected an odd window of at least 1 pixel, got {window_px}")
        fractions = _fractions(points)
        depth_m = np.full(len(fractions), np.nan)
        reasons = [""] * len(fractions)
        height, width = depths.shape
        half = window_px // 2
        for number, (x, y) in enumerate(fractions):
            if not (0 <= x <= 1 and 0 <= y <= 1):
                reasons[number] = f"({x:g}, {y:g}) is not on the image"
                continue
            column, row = to_pixel(x, width), to_pixel(y, height)
            around = depths[max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1]
            finite = np.sort(around[np.isfinite(around) & (around > 0) & (around <= max_depth_m)])
            if 2 * len(finite) < around.size:
                reasons[number] = f"no depth at ({x:.3f}, {y:.3f}): {len(finite)} of {around.size} pixels measured"
            else:
                depth_m[number] = finite[(len(finite) - 1) // 2]
        return Places(places=self.deproject(fractions, depth_m), valid=np.isfinite(depth_m), reasons=tuple(reasons))

    def intersect_plane(
        self,
        points: Points,
        *,
        normal: npt.ArrayLike = (0.0, 0.0, 1.0),
        through: npt.ArrayLike = (0.0, 0.0, 0.0),
    ) -> Places:
        """Return where the rays of points meet a plane; by default the floor, z = 0.

        Args:
            points: of the image.
            normal: (3,) of the plane, of any length, in the world's frame.
            through: (3,) a place on the plane.
        """
        across = np.asarray(normal, np.float64) / np.linalg.norm(np.asarray(normal, np.float64))
        fractions = _fractions(points)
        rays = self.ray(fractions)
        slope = rays @ across
        gap = float((np.asarray(through, np.float64) - self.pose[:3, 3]) @ across)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            along = np.where(np.abs(slope) > _FLATTEST, gap / slope, np.nan)
        meets = np.isfinite(along) & (along > 0)
        along = np.where(meets, along, np.nan)
        reasons = [
            "" if ok else f"the ray of ({x:.3f}, {y:.3f}) does not meet the plane"
            for ok, (x, y) in zip(meets, fractions, strict=True)
        ]
        return Places(places=self.pose[:3, 3] + rays * along[:, None], valid=meets, reasons=tuple(reasons))

    def _directions(self, points: Points) -> Array:
        """Return camera coordinates at depth 1."""
        fractions = _fractions(points)
        x = (fractions[:, 0] * self.width - self.cx) / self.fx
        y = (fractions[:, 1] * self.height - self.cy) / self.fy
        return np.stack([x, y, np.ones_like(x)], axis=1)


def look_at(position: npt.ArrayLike, target: npt.ArrayLike, *, up: npt.ArrayLike = (0.0, 0.0, 1.0)) -> Array:
    """Return the pose (4, 4), OpenCV camera coordinates to the world's, of a camera that looks at a place.

    Raises:
        ValueError: the view is along ``up``, or the target is the position itself.
    """
    eye = np.asarray(position, np.float64)
    forward = np.asarray(target, np.float64) - eye
    right = np.cross(forward, np.asarray(up, np.float64))
    if np.linalg.norm(right) < 1e-9:
        raise ValueError(f"expected a view that is not along {up!r}, got one from {eye} to {target!r}")
    forward, right = forward / np.linalg.norm(forward), right / np.linalg.norm(right)
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = eye
    return pose


def _rows(values: npt.ArrayLike, columns: int, what: str) -> Array:
    rows = np.asarray(values, np.float64)
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise ValueError(f"expected {what} of shape (number, {columns}), got {rows.shape}")
    return rows


def _fractions(points: Points) -> Array:
    if isinstance(points, np.ndarray):
        return _rows(points, 2, "points")
    return np.array([(point.x, point.y) for point in points], np.float64).reshape(-1, 2)
