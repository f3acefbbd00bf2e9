"""Whether an answer points at a target, under every rule that is in use.

A rule takes a target and an answer, and returns the answer's score: True or False, a share in [0, 1], or None if it
leaves the question out of the mean. Edges are inclusive. Nothing is rounded, except by the rules that say so.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image as PILImage

from molmo_agent.data.readers.grounding.targets import Edges, Mask, Target
from molmo_agent.episode import PointResult
from molmo_agent.evaluation.metrics.pointing import read_points
from molmo_agent.geometry import to_pixel

Pair = tuple[float, float]
Score = bool | float | None
# In pixels: the error of a decimal that is scaled to the image and back, and of nothing larger.
_EPSILON = 1e-6
_ABSENT = re.compile(r"[\[(<\s]*-1(?:\.0*)?\s*,\s*-1(?:\.0*)?[\])>\s]*")
_SINGLE_TAG = re.compile(r"<point\s+x\s*=")
# A grey value of a mask above it is inside; of a JPEG mask no other value is sure.
_HALF = 127


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A model's answer to one question."""

    # Fractions of the image's width and height.
    points: tuple[Pair, ...]
    # (width, height) of the image in pixels.
    size: tuple[int, int]
    # Whether it says that there is no target.
    absent: bool = False
    # Whether no answer could be read.
    wrong_format: bool = False
    text: str = ""


def answer_of(result: PointResult, size: tuple[int, int], *, lenient: bool = False) -> Answer:
    """Return the answer of a pointing model.

    Args:
        result: of the model.
        size: (width, height) of the image.
        lenient: read Molmo's tags of points anywhere in the reply, as published evaluators do; by default only an
            answer that an agent would act on counts. Bare numbers are not read: nothing says what their unit is. Nor
            is an answer that several replies were put together for.
    """
    points = tuple((one.point.x, one.point.y) for one in result.points)
    absent = result.status == "none" or _ABSENT.fullmatch(result.reply) is not None
    if lenient and not points and not absent and not result.composed and "<point" in result.reply:
        width, height = size
        points = tuple((x / width, y / height) for x, y in read_points(result.reply, size, "molmo2"))
    wrong_format = result.status == "unparsed" and not points and not absent
    return Answer(points=points, size=size, absent=absent, wrong_format=wrong_format, text=result.reply)


def pixel_box(target: Target, size: tuple[int, int]) -> Edges:
    """Return a target's box in pixels of the image.

    Raises:
        ValueError: the target is no box.
    """
    if target.box is None:
        raise ValueError(f"expected a box, got {target.kind}")
    width, height = size if target.frame == "fractions" else (1, 1)
    left, top, right, bottom = target.box
    return left * width, top * height, right * width, bottom * height


def pixel_polygon(target: Target, size: tuple[int, int]) -> list[Pair]:
    """Return the corners of a target's polygon in pixels of the image."""
    width, height = size if target.frame == "fractions" else (1, 1)
    return [(x * width, y * height) for x, y in target.polygon]


def in_box(point: Pair, box: Edges) -> bool:
    """Return whether a point lies in a box, edges included; both in pixels."""
    left, top, right, bottom = box
    return left - _EPSILON <= point[0] <= right + _EPSILON and top - _EPSILON <= point[1] <= bottom + _EPSILON


def in_polygon(point: Pair, polygon: list[Pair]) -> bool:
    """Return whether a point lies in a polygon, edges included (ray casting); both in pixels."""
    if _edge_distance(point, polygon) <= _EPSILON:
        return True
    (x, y), inside = point, False
    for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            inside = not inside
    return inside


def _edge_distance(point: Pair, polygon: list[Pair]) -> float:
    """Return the distance of a point from the nearest edge of a polygon."""
    corners = np.array(polygon)
    ends = np.roll(corners, -1, axis=0)
    along, here = ends - corners, np.array(point) - corners
    lengths = (along**2).sum(axis=1)
    shares = np.clip((here * along).sum(axis=1) / np.where(lengths > 0, lengths, 1), 0, 1)
    return float(np.sqrt(((here - shares[:, None] * along) ** 2).sum(axis=1)).min())


def _mask(target: Target) -> Mask:
    if target.mask is None:
        raise ValueError(f"expected a mask, got {target.kind}")
    return target.mask()


def _mask_value(mask: Mask, point: Pair) -> int:
    """Return the largest channel of a mask at a point; the mask may have another size than the image."""
    height, width = mask.shape[:2]
    return int(mask[to_pixel(point[1], height), to_pixel(point[0], width)].max())


def hits(target: Target, point: Pair, size: tuple[int, int]) -> bool:
    """Return whether one point, in fractions of the image, lies in the target; False if it has none."""
    if target.kind == "absent":
        return False
    if target.kind == "mask":
        return _mask_value(_mask(target), point) > _HALF
    pixels = (point[0] * size[0], point[1] * size[1])
    if target.kind == "polygon":
        return in_polygon(pixels, pixel_polygon(target, size))
    return in_box(pixels, pixel_box(target, size))


def distance_px(target: Target, point: Pair, size: tuple[int, int]) -> float | None:
    """Return the distance of a point from the target in pixels of the image: 0 inside, None without a target."""
    if target.kind == "absent":
        return None
    if hits(target, point, size):
        return 0.0
    x, y = point[0] * size[0], point[1] * size[1]
    if target.kind == "polygon":
        return _edge_distance((x, y), pixel_polygon(target, size))
    if target.kind == "box":
        left, top, right, bottom = pixel_box(target, size)
        return float(np.hypot(max(left - x, 0, x - right), max(top - y, 0, y - bottom)))
    mask = _mask(target).max(axis=2) > _HALF
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return None
    # From the point to the nearest pixel's area, in pixels of the image.
    across, down = size[0] / mask.shape[1], size[1] / mask.shape[0]
    dx = np.maximum(np.maximum(columns * across - x, x - (columns + 1) * across), 0)
    dy = np.maximum(np.maximum(rows * down - y, y - (rows + 1) * down), 0)
    return float(np.hypot(dx, dy).min())


def inside(target: Target, answer: Answer) -> Score:
    """The first point lies in the target; without a target, the answer says so."""
    if target.kind == "absent":
        return answer.absent
    return bool(answer.points) and hits(target, answer.points[0], answer.size)


def _absent_wrong(target: Target, answer: Answer) -> Score:
    return target.kind != "absent" and inside(target, answer)


def _absent_left_out(target: Target, answer: Answer) -> Score:
    return None if target.kind == "absent" else inside(target, answer)


def _polygon_as_size(target: Target, answer: Answer) -> Score:
    """Take the second corner of a polygon for the width and height of a box at the first."""
    if target.kind != "polygon":
        return _absent_wrong(target, answer)
    (x, y), (width, height) = target.polygon[:2]
    return inside(replace(target, kind="box", box=(x, y, x + width, y + height)), answer)


def _boxes_only(target: Target, answer: Answer) -> Score:
    return target.kind == "box" and inside(target, answer)


def _rounded_box(target: Target, answer: Answer) -> Score:
    """Round the edges of a box to 0.1 % of the image first."""
    if target.kind != "box":
        return inside(target, answer)
    width, height = answer.size
    shares = [edge / side for edge, side in zip(pixel_box(target, answer.size), (width, height) * 2, strict=True)]
    left, top, right, bottom = (round(share, 3) for share in shares)
    return inside(replace(target, frame="fractions", box=(left, top, right, bottom)), answer)


def _point_bench(target: Target, answer: Answer) -> Score:
    """The first point lies in the mask; where points are counted, all do and there are as many as asked for."""
    if target.count is None:
        return inside(target, answer)
    return len(answer.points) == target.count and _all_inside(target, answer)


def _official_point_bench(target: Target, answer: Answer) -> Score:
    """Truncate to whole pixels, so that the far edges of the image lie outside of it."""
    width, height = answer.size
    points = [(x, y) for x, y in answer.points if int(x * width) < width and int(y * height) < height]
    lost = len(points) < len(answer.points[:1] if target.count is None else answer.points)
    return not lost and _point_bench(target, answer)


def _all_inside(target: Target, answer: Answer) -> bool:
    return bool(answer.points) and all(hits(target, point, answer.size) for point in answer.points)


def _share_inside(target: Target, answer: Answer) -> Score:
    """The share of the points that lie in the mask; 0 without a point."""
    if not answer.points:
        return 0.0
    return sum(hits(target, point, answer.size) for point in answer.points) / len(answer.points)


def _share_on_any_grey(target: Target, answer: Answer) -> Score:
    """The share of the points where the first channel of the mask is not black; 0 without a point."""
    if not answer.points:
        return 0.0
    mask = _mask(target)[:, :, :1]
    return sum(_mask_value(mask, point) > 0 for point in answer.points) / len(answer.points)


def _mean_grey(target: Target, answer: Answer) -> Score:
    """The mean brightness of the mask under the points; 0 without a point."""
    if not answer.points:
        return 0.0
    mask = _mask(target)
    return sum(_mask_value(mask, point) for point in answer.points) / 255 / len(answer.points)


def _left_out_without_answer(rule: "Rule") -> "Rule":
    def of_answers(target: Target, answer: Answer) -> Score:
        return None if answer.wrong_format else rule(target, answer)

    return of_answers


def _numbered_tags_only(target: Target, answer: Answer) -> Score:
    """Read no point from a tag with a single one."""
    return 0.0 if _SINGLE_TAG.search(answer.text) else _share_on_any_grey(target, answer)


Rule = Callable[[Target, Answer], Score]
RULES: Mapping[str, Rule] = {
    "inside": inside,
    "inside; refusals wrong": _absent_wrong,
    "inside; refusals left out": _absent_left_out,
    "inside; polygons as x, y, width, height; refusals wrong": _polygon_as_size,
    "inside; polygons and refusals wrong": _boxes_only,
    "inside; wrong format left out": _left_out_without_answer(inside),
    "inside the box rounded to 0.1 %": _rounded_box,
    "first in the mask; when counting, all, and as many": _point_bench,
    "first in the mask; when counting, all, and as many; truncated": _official_point_bench,
    "all in the mask": _all_inside,
    "share in the mask": _share_inside,
    "share on grey above 0": _share_on_any_grey,
    "share on grey above 0; wrong format left out": _left_out_without_answer(_share_on_any_grey),
    "share on grey above 0; single points not read": _numbered_tags_only,
    "mean grey": _mean_grey,
    "mean grey; wrong format left out": _left_out_without_answer(_mean_grey),
}
"""The rules by name. The name is part of a protocol's hash: a rule that changes needs another name."""


def outline(target: Target, size: tuple[int, int]) -> list[Pair]:
    """Return the corners of a target's box or polygon as fractions of the image, for drawing; empty for others."""
    if target.kind == "box":
        left, top, right, bottom = pixel_box(target, size)
        corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    else:
        corners = pixel_polygon(target, size)
    return [(x / size[0], y / size[1]) for x, y in corners]


def drawn_mask(target: Target, size: tuple[int, int]) -> np.ndarray | None:
    """Return a target's mask as (height, width) bool of the image's size, for drawing; None for others."""
    if target.kind != "mask":
        return None
    mask = PILImage.fromarray(_mask(target).max(axis=2)).resize(size, PILImage.Resampling.NEAREST)
    return np.asarray(mask) > _HALF
