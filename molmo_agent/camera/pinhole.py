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
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from molmo_agent.camera.camera_info import PoseOf, read_camera_info
from molmo_agent.camera.depth_image import metres_of, read_depth
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
        sizes, lengths = (self.width, self.height), (self.fx, self.fy, self.cx, self.cy)
        if not all(isinstance(size, numbers.Integral) and not isinstance(size, bool) and size >= 1 for size in sizes):
            raise ValueError(f"expected an image of whole pixels, at least 1 x 1, got {self.width!r} x {self.height!r}")
        if not all(isinstance(length, numbers.Real) and math.isfinite(length) for length in lengths) or not (
            self.fx > 0 and self.fy > 0
        ):
            raise ValueError(f"expected focal lengths above 0 and a principal point in pixels, got {lengths}")
        pose = _checked_pose(self.pose)
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
    def from_camera_info(
        cls,
        info: Mapping[str, Any],
        pose: npt.ArrayLike,
        *,
        rectified: bool | None = None,
        pose_of: PoseOf | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> Self:
        """Read a ROS CameraInfo message: ``width``, ``height``, ``k``, ``d``, ``r``, ``p``, ``roi`` and binning.

        The field names of ROS 1 (``K``) are read too. Region and binning are applied. A binned pixel covers its
        small ones exactly, so with binning the principal point differs by less than half a pixel from that of ROS'
        ``image_geometry``.

        Args:
            info: the message as a mapping.
            pose: (4, 4), the optical frame (x right, y down, z forward) to the world; for a rectified image, the frame
                after rectification, as in ROS.
            rectified: whether the image is the rectified one, whose camera is ``p``, or the raw one, ``k``. Needed
                where the two differ.
            pose_of: for the second camera of a stereo pair, whose pose it is.
            image_size: (width, height) in pixels of the image at hand, to be compared with the message's.

        Raises:
            ValueError: a field is missing, malformed or contradicts another, the image is distorted, or it is not clear
                which of the two images or poses is meant.
        """
        own = read_camera_info(info, rectified=rectified, pose_of=pose_of, image_size=image_size)
        moved = np.eye(4)
        moved[:3, 3] = own.center
        return cls(
            width=own.width,
            height=own.height,
            fx=own.fx,
            fy=own.fy,
            cx=own.cx,
            cy=own.cy,
            pose=_checked_pose(pose) @ moved,
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
        """Return the places (num_points, 3) of points at the given depths along the optical axis, in metres.

        A depth that is not above 0 and finite gives NaN.

        Raises:
            ValueError: the depths are whole numbers as a camera gives them, which are rarely metres.
        """
        places: Array = (self._directions(points) * metres_of(depth_m)[:, None]) @ self.pose[:3, :3].T + self.pose[
            :3, 3
        ]
        return places

    def lift(
        self,
        points: Points,
        depth_image: npt.ArrayLike,
        *,
        depth_scale: float | None = None,
        window_px: int = 5,
        max_depth_m: float = math.inf,
    ) -> Places:
        """Return the places of the visible surfaces at points, from a depth image.

        The depth of a point is the median of the measured depths in a window around it, so that single holes and spikes
        have no effect. It is always a measured value, never the mean of two surfaces. Zero, negative, NaN and infinite
        values, 65535 and the largest whole number of the array's type, masked pixels and depths above ``max_depth_m``
        are holes. If less than half of the window is measured, the point has no place.

        A depth is that of a pixel's middle, so a place is up to half a pixel off along the surface: at 640 x 480 less
        than 5 mm within 2 m of the camera, measured against MuJoCo's own rays.

        Args:
            points: of the image.
            depth_image: (height, width) along the optical axis, of the same view and size as the image.
            depth_scale: metres per unit of the depth image: 0.001 for millimetres. Needed for whole numbers; None:
                floating-point metres.
            window_px: side of the window in pixels, odd.
            max_depth_m: farther depths count as holes, such as a far clipping plane.

        Raises:
            ValueError: the depth image has another size or type, no unit, or depths that are hardly metres.
        """
        if window_px < 1 or window_px % 2 == 0:
            raise ValueError(f"expected an odd window of at least 1 pixel, got {window_px}")
        size = self.width, self.height
        depths = read_depth(depth_image, size, depth_scale=depth_scale, max_depth_m=max_depth_m)
        fractions = _fractions(points)
        depth_m = np.full(len(fractions), np.nan)
        reasons = [""] * len(fractions)
        for number, (x, y) in enumerate(fractions):
            if not (0 <= x <= 1 and 0 <= y <= 1):
                reasons[number] = f"({x:g}, {y:g}) is not on the image"
                continue
            depth_m[number], reason = depths.at(to_pixel(x, self.width), to_pixel(y, self.height), window_px)
            reasons[number] = f"no depth at ({x:.3f}, {y:.3f}): {reason}" if reason else ""
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


def _checked_pose(values: npt.ArrayLike) -> Array:
    expected = "expected a (4, 4) pose of a right-handed rotation and a translation, got"
    pose = np.asarray(values)
    if pose.shape != (4, 4) or pose.dtype.kind not in "iuf":
        raise ValueError(f"{expected} an array of {pose.dtype} of shape {pose.shape}")
    pose = pose.astype(np.float64)
    turn = pose[:3, :3]
    # The squared length of the axes, which is 1 unless the pose scales.
    scale = float(np.trace(turn @ turn.T)) / 3
    if not np.isfinite(pose).all():
        problem = "numbers that are not finite"
    elif np.allclose(pose[:, 3], [0, 0, 0, 1]) and pose[3, :3].any():
        problem = "the translation in the last row: pass its transpose"
    elif not np.allclose(pose[3], [0, 0, 0, 1]):
        problem = "a last row that is not 0, 0, 0, 1"
    elif not np.allclose(turn @ turn.T, np.eye(3), atol=1e-5):
        rigid = scale > 0 and np.allclose(turn @ turn.T, scale * np.eye(3), atol=1e-5 * scale)
        problem = (
            f"axes of length {math.sqrt(scale):g}: it scales" if rigid else "axes that are not perpendicular units"
        )
    elif np.linalg.det(turn) < 0:
        problem = "a left-handed one: convert it to right-handed axes first"
    else:
        return pose
    raise ValueError(f"{expected} {problem}: {pose.tolist()}")


def _rows(values: npt.ArrayLike, columns: int, what: str) -> Array:
    rows = np.asarray(values, np.float64)
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise ValueError(f"expected {what} of shape (number, {columns}), got {rows.shape}")
    return rows


def _fractions(points: Points) -> Array:
    if isinstance(points, np.ndarray):
        return _rows(points, 2, "points")
    return np.array([(point.x, point.y) for point in points], np.float64).reshape(-1, 2)
