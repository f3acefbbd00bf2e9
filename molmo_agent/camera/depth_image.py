"""Read a depth image: its unit, its holes, and the depth at a point.

Cameras publish depth as whole numbers of some unit, mostly millimetres, or as metres in floating point. A file or an
array does not name its unit, so whole numbers need one.
"""

import math
import numbers
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

# What most sensors write for "no depth" in 16 bits, whatever type the array has now.
_SENTINEL = 65_535
# An image whose nearest twentieth lies beyond this holds other units than metres, unless the caller says otherwise.
_FARTHEST_NEAR_M = 100.0
_USUAL = (
    "0.001 for millimetres (most cameras, 16UC1 of ROS), 1/5000 (TUM), 1/256 (KITTI), 1/4000 or 0.0001 (some RealSense)"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DepthImage:
    """Depths along the optical axis."""

    # (height, width): the numbers as the camera gave them, and the largest that their type holds.
    raw: Array
    largest: float
    # (height, width) metres; NaN where nothing was measured.
    metres: Array

    def at(self, column: int, row: int, window_px: int) -> tuple[float, str]:
        """Return the median depth in metres of the window around a pixel, or NaN and the reason why there is none."""
        half = window_px // 2
        around = np.s_[max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1]
        window = self.metres[around]
        measured = np.sort(window[np.isfinite(window)])
        if 2 * len(measured) >= window.size:
            return float(measured[(len(measured) - 1) // 2]), ""
        holes = self.raw[around][~np.isfinite(window)]
        return math.nan, f"{len(measured)} of {window.size} pixels measured ({_kinds(holes, self.largest)})"


def read_depth(
    depth_image: npt.ArrayLike, size: tuple[int, int], *, depth_scale: float | None, max_depth_m: float
) -> DepthImage:
    """Read a depth image of an image; see :meth:`molmo_agent.camera.Camera.lift`.

    Args:
        depth_image: (height, width).
        size: (width, height) of the image, in pixels.
        depth_scale: metres per unit; None: the numbers are floating-point metres.
        max_depth_m: farther depths are holes.

    Raises:
        ValueError: another shape or type, no or an unlikely scale.
    """
    array = np.asarray(depth_image)
    if array.ndim != 2 or not array.size:
        raise ValueError(f"expected a depth image of shape (height, width), got {array.shape}")
    if array.shape != size[::-1]:
        raise ValueError(
            f"expected a depth image of the image's own size, shape {size[::-1]}, got {array.shape}: align the depth "
            "to the image first (depth_image_proc/register in ROS, rs.align in RealSense); enlarge a smaller one of "
            "the same view without interpolation"
        )
    if array.dtype.kind not in "iuf":
        raise ValueError(f"expected depths as numbers, got an array of {array.dtype}")
    if depth_scale is None:
        if array.dtype.kind != "f":
            raise ValueError(
                f"expected depth_scale, metres per unit, got none for whole numbers, a depth image of {array.dtype}: "
                f"pass {_USUAL}"
            )
        depth_scale = 1.0
    elif isinstance(depth_scale, bool) or not isinstance(depth_scale, numbers.Real) or not 0 < depth_scale <= 1:
        raise ValueError(
            f"expected depth_scale as metres per unit, above 0 and at most 1, got {depth_scale!r}: for a divisor such "
            "as 1000 pass 1/1000"
        )
    raw = array.astype(np.float64)
    metres, largest = (
        raw * float(depth_scale),
        math.inf if array.dtype.kind == "f" else float(np.iinfo(array.dtype).max),
    )
    is_masked = np.ma.getmaskarray(np.ma.asarray(depth_image))
    is_hole = is_masked | np.isin(raw, (_SENTINEL, largest)) | ~np.isfinite(raw) | (raw <= 0)
    near = np.quantile(metres[~is_hole], 0.05) if not is_hole.all() else 0.0
    if near > _FARTHEST_NEAR_M and not math.isfinite(max_depth_m):
        raise ValueError(
            f"expected depths in metres, got an image whose nearest twentieth begins at {near:g} m: are they "
            f"millimetres? Pass depth_scale, metres per unit: {_USUAL}. If they are metres, pass max_depth_m"
        )
    return DepthImage(raw=raw, largest=largest, metres=np.where(is_hole | (metres > max_depth_m), np.nan, metres))


def metres_of(depths: npt.ArrayLike) -> Array:
    """Return depths in metres, (num_depths,), from a caller's numbers; NaN for those that are no depth.

    Raises:
        ValueError: whole numbers as a camera gives them, or no numbers.
    """
    array = np.asarray(depths)
    if array.dtype.kind == "u" or array.dtype in (np.int8, np.int16):
        raise ValueError(
            f"expected depths in metres, got {array.dtype} as a camera gives them: multiply by its unit first"
        )
    if array.dtype.kind not in "if":
        raise ValueError(f"expected depths in metres, got an array of {array.dtype}")
    metres = array.astype(np.float64).ravel()
    return np.where(np.isfinite(metres) & (metres > 0), metres, np.nan)


def _kinds(holes: Array, largest: float) -> str:
    """Return what the pixels without a depth hold, such as "20 are 0, 3 are NaN"."""
    with np.errstate(invalid="ignore"):
        kinds = {
            "0": holes == 0,
            "NaN": np.isnan(holes),
            "infinite": np.isinf(holes),
            "negative": np.isfinite(holes) & (holes < 0),
            str(_SENTINEL): holes == _SENTINEL,
            f"{largest:.0f}": np.isfinite(holes) & (holes == largest),
        }
    counts = {kind: int(is_kind.sum()) for kind, is_kind in kinds.items()}
    counts["masked or too far"] = holes.size - sum(counts.values())
    return ", ".join(f"{count} are {kind}" for kind, count in counts.items() if count)
