"""Read a ROS CameraInfo: which of its two camera matrices an image has, its region, binning and stereo baseline.

A CameraInfo describes two images of one sensor: the raw one by ``k`` and the distortion ``d``, the rectified one by
``p``. The message does not say which of them the user has, so where the two differ, the user says it.
"""

import math
import numbers
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

PoseOf = Literal["own", "first"]
"""Whose pose a caller gives for the second camera of a stereo pair: its ``own``, or that of the ``first`` camera."""

# Pixels by which entries of k and p may differ and still mean the same camera.
_SAME_PX = 1e-3
# Fields of other programs -> what to do with them.
_FOREIGN: tuple[tuple[set[str], str], ...] = (
    (
        {"ppx", "ppy"},
        "RealSense intrinsics: if all coeffs are 0, use Camera(width=..., height=..., fx=..., fy=..., "
        "cx=ppx + 0.5, cy=ppy + 0.5, pose=...)",
    ),
    (
        {"intrinsic_matrix"},
        "Open3D intrinsics, column by column: use Camera(width=..., height=..., fx=m[0], fy=m[4], cx=m[6] + 0.5, "
        "cy=m[7] + 0.5, pose=...)",
    ),
    (
        {"camera_matrix"},
        "a calibration file: its camera_matrix is k, distortion_coefficients d, rectification_matrix r, "
        "projection_matrix p (their data), image_width width and image_height height",
    ),
    ({"fovy"}, "a field of view: use Camera.from_field_of_view, or Camera.from_mujoco for a MuJoCo camera"),
    (
        {"fx", "fy"},
        "single numbers: use Camera(width=..., height=..., fx=..., fy=..., cx=..., cy=..., pose=...), where cx and cy "
        "count from the edge of the first pixel: add 0.5 to those of OpenCV",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intrinsics:
    """What a CameraInfo says about an image."""

    # Pixels of the image.
    width: int
    height: int
    # In pixels, counted from the edge of the first pixel.
    fx: float
    fy: float
    cx: float
    cy: float
    # The optical centre in the frame of the pose that the caller gives: metres right, down, forward.
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)


def read_camera_info(
    info: Mapping[str, Any], *, rectified: bool | None, pose_of: PoseOf | None, image_size: tuple[int, int] | None
) -> Intrinsics:
    """Read a CameraInfo; see :meth:`molmo_agent.camera.Camera.from_camera_info`.

    Raises:
        ValueError: a field is missing, malformed or contradicts another, or it is not clear which camera is meant.
    """
    if not isinstance(info, Mapping):
        raise ValueError(
            f"expected a CameraInfo as a mapping of its fields, got {type(info).__name__}: convert it first"
        )
    k = _numbers(info, "k", (9,))
    if k is None or not {"width", "height"} <= set(info):
        hint = next((f"; these are {text}" for fields, text in _FOREIGN if fields <= set(info)), "")
        fields = sorted(map(str, info))
        raise ValueError(f"expected a CameraInfo with width, height and k of 9 numbers, got the fields {fields}{hint}")
    size = _whole(info, "width", 1), _whole(info, "height", 1)
    d, r, p = _numbers(info, "d", None), _numbers(info, "r", (9,)), _numbers(info, "p", (12,))
    # Zeros mean that a driver does not know them.
    r = None if r is None or not r.any() else r.reshape(3, 3)
    p = None if p is None or not p.any() else p.reshape(3, 4)
    raw = _camera_matrix(k.reshape(3, 3), "k")
    is_distorted = d is not None and bool(d.any())
    is_turned = r is not None and not np.allclose(r, np.eye(3), atol=1e-6)
    if rectified is None:
        moved = p is not None and not (np.allclose(p[:, :3], raw, atol=_SAME_PX, rtol=0) and not p[:, 3].any())
        if is_distorted or is_turned or moved:
            raise ValueError(_which_image(d if is_distorted else None, raw, p))
        rectified = False
    if not rectified:
        if is_distorted:
            raise ValueError(
                f"expected an image without distortion, got d = {_short(d)} for a raw image: rectify it (image_rect of "
                "ROS' image_proc) and pass rectified=True"
            )
        if pose_of == "first":
            raise ValueError("expected rectified=True with pose_of='first': a raw image has the pose of its own camera")
        return _in_image(info, raw, size, image_size)
    if p is None:
        raise ValueError("expected p of 12 numbers for a rectified image, got none: a raw image needs rectified=False")
    # A region of the raw image becomes another one when it is rectified, which the message does not hold.
    if (is_distorted or is_turned) and _region(info, size)[2]:
        raise ValueError(
            "expected a rectified image of the whole sensor, got roi with do_rectify: the message does not say which "
            "part of the rectified image this is; publish the whole image, or make a Camera of the part's own numbers"
        )
    matrix = _camera_matrix(p[:, :3], "p")
    return _in_image(info, matrix, size, image_size, _stereo_center(p, pose_of))


def _which_image(d: Array | None, raw: Array, p: Array | None) -> str:
    distortion = f"the distortion d = {_short(d)}" if d is not None else "no distortion"
    p_text = "no p" if p is None else f"p with {_camera_words(p)}"
    return (
        f"expected to be told which image this is: a CameraInfo with {distortion}, k with {_camera_words(raw)} and "
        f"{p_text} describes two. For a rectified image (image_rect) pass rectified=True: p is used. For a raw image "
        "(image_raw) pass rectified=False: k is used, and only without distortion"
    )


def _camera_words(matrix: Array) -> str:
    return f"fx {matrix[0, 0]:g}, fy {matrix[1, 1]:g}, cx {matrix[0, 2]:g}, cy {matrix[1, 2]:g}"


def _short(values: Array | None) -> str:
    return str([] if values is None else [round(float(value), 6) for value in values])


def _in_image(
    info: Mapping[str, Any],
    matrix: Array,
    size: tuple[int, int],
    image_size: tuple[int, int] | None,
    center: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Intrinsics:
    """Return the intrinsics of the published image: a region of the sensor, several of its pixels in one."""
    (left, top), (width, height), _ = _region(info, size)
    across, down = _whole(info, "binning_x", 0, 0) or 1, _whole(info, "binning_y", 0, 0) or 1
    own_size = width // across, height // down
    if min(own_size) < 1:
        raise ValueError(f"expected a binning of at most {width} x {height} pixels, got {across} x {down}")
    if image_size is not None and tuple(image_size) != own_size:
        raise ValueError(
            f"expected an image of {own_size[0]} x {own_size[1]} as the CameraInfo describes ({size[0]} x {size[1]}, "
            f"region {width} x {height}, binning {across} x {down}), got {image_size[0]} x {image_size[1]}: pass the "
            "CameraInfo that was published with this image"
        )
    # ROS counts pixels from their middle, and a large pixel begins where its first small one does.
    return Intrinsics(
        width=own_size[0],
        height=own_size[1],
        fx=float(matrix[0, 0]) / across,
        fy=float(matrix[1, 1]) / down,
        cx=(float(matrix[0, 2]) + 0.5 - left) / across,
        cy=(float(matrix[1, 2]) + 0.5 - top) / down,
        center=center,
    )


def _region(info: Mapping[str, Any], size: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int], bool]:
    """Return (left, top) and (width, height) of the region of interest, and whether it was cut before rectifying."""
    roi = info.get("roi") or {}
    if not isinstance(roi, Mapping):
        raise ValueError(f"expected roi as a mapping of its fields, got {type(roi).__name__}")
    left, top = _whole(roi, "x_offset", 0, 0), _whole(roi, "y_offset", 0, 0)
    width, height = _whole(roi, "width", 0, 0), _whole(roi, "height", 0, 0)
    if not (left or top or width or height):
        return (0, 0), size, False
    if not (width and height) or left + width > size[0] or top + height > size[1]:
        raise ValueError(
            f"expected a roi inside of {size[0]} x {size[1]} pixels, got {width} x {height} at ({left}, {top})"
        )
    return (left, top), (width, height), bool(roi.get("do_rectify")) and (width, height) != size


def _stereo_center(p: Array, pose_of: PoseOf | None) -> tuple[float, float, float]:
    """Return where the optical centre lies: ``p`` maps places of the *first* camera of a stereo pair."""
    if p[2, 3]:
        raise ValueError(f"expected p of a camera beside the first one, got one {p[2, 3]:g} m before it")
    right, below = -float(p[0, 3]) / float(p[0, 0]), -float(p[1, 3]) / float(p[1, 1])
    if not (right or below):
        return 0.0, 0.0, 0.0
    if pose_of is None:
        raise ValueError(
            f"expected to be told whose pose this is: p says that this is the second camera of a stereo pair, "
            f"{math.hypot(right, below):.4g} m beside the first. Pass pose_of='own' for the pose of this camera, or "
            "pose_of='first' for that of the first camera, which is moved by this baseline"
        )
    if pose_of not in ("own", "first"):
        raise ValueError(f"expected pose_of 'own' or 'first', got {pose_of!r}")
    return (right, below, 0.0) if pose_of == "first" else (0.0, 0.0, 0.0)


def _camera_matrix(matrix: Array, name: str) -> Array:
    if not matrix.any():
        raise ValueError(f"expected a calibrated camera, got {name} with zeros alone: calibrate it first")
    if matrix[2, 0] or matrix[2, 1] or matrix[1, 0]:
        raise ValueError(f"expected {name} row by row, [fx, 0, cx, 0, fy, cy, 0, 0, 1], got {_short(matrix.ravel())}")
    if matrix[0, 1]:
        raise ValueError(f"expected {name} without skew, got the skew {matrix[0, 1]:g}: rectify the image first")
    if not (matrix[0, 0] > 0 and matrix[1, 1] > 0 and matrix[2, 2] == 1):
        raise ValueError(f"expected {name} with focal lengths above 0 and a last 1, got {_short(matrix.ravel())}")
    return matrix


def _numbers(info: Mapping[str, Any], name: str, shape: tuple[int, ...] | None) -> Array | None:
    """Return a field, by its ROS 2 or ROS 1 name (k or K); None if it is missing or empty."""
    if name in info and name.upper() in info:
        raise ValueError(f"expected one of {name} and {name.upper()}, got both")
    value = info.get(name, info.get(name.upper()))
    if value is None or np.size(value) == 0:
        return None
    array = np.asarray(value)
    count = "numbers" if shape is None else f"{shape[0]} numbers"
    if array.dtype.kind not in "iuf" or (shape is not None and array.size != shape[0]):
        expected = "a CameraInfo with width, height and k of 9 numbers" if name == "k" else f"{name} of {count}"
        raise ValueError(f"expected {expected}, got {name} = {value!r:.200}")
    if not np.isfinite(array).all():
        raise ValueError(f"expected {name} of finite numbers, got {value!r:.200}")
    return array.astype(np.float64).ravel()


def _whole(info: Mapping[str, Any], name: str, least: int, default: int | None = None) -> int:
    value = info.get(name, default)
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"expected {name} as a whole number of at least {least}, got {value!r}")
    return int(value)
