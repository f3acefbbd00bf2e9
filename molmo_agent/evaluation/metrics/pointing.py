"""Precision, recall and F1 of points, by the best assignment of points to targets."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from molmo_agent.evaluation.metrics.reference import Generation, ReferenceFailure
from molmo_agent.geometry import to_pixel
from molmo_agent.point_text.reference_parser import parse_reference

PixelPoint = tuple[float, float]
"""(x, y) in fractional pixels; x = width is the far edge."""

_COORDS = re.compile(r'<(?:points|tracks).*? coords="([0-9\t:;, .]+)"/?>')
_SEPARATOR = re.compile(r"[\t:;,]")
_NUMBERED = re.compile(r"[0-9]+ ([0-9]{3,4}) ([0-9]{3,4})")
# Older ways to write points, each tried only where those before it find none, and what makes percents of them.
_OLDER = (
    (re.compile(r"Click\(([0-9]+\.[0-9]), ?([0-9]+\.[0-9])\)"), 1),
    (re.compile(r"[0-9]+ ([0-9]{3}) ([0-9]{3})"), 10),
    (re.compile(r"[0-9]+ ([0-9]+\.[0-9]) ([0-9]+\.[0-9])"), 1),
)

_VALUE = r"\s*\d+(?:\.\d+)?"
_TENTHS = r"=\s*\d{3}\s*,\s*\d{3}\s+"
_REST = r'alt=".*?">.*?'
_WHOLE = re.compile(
    rf'<point\s+(?:x="{_VALUE}"\s+y="{_VALUE}"\s+|p{_TENTHS}){_REST}</point>'
    rf'|<points\s+(?:(?:x\d+="{_VALUE}"\s+y\d+="{_VALUE}"\s+)+|(?:\d+{_TENTHS})+){_REST}</points>'
    r"|(?:\(\s*-?\d+(?:\.\d+)?\s*,\s*-?\d+(?:\.\d+)?\s*\)\n?)+",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class PointingScore:
    """Shares of points that hit, and of targets that are hit, each in [0, 1]."""

    precision: float
    recall: float

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 without a hit."""
        total = self.precision + self.recall
        return 2 * self.precision * self.recall / total if total else 0.0


def score_points(
    points: Sequence[PixelPoint],
    gold_points: Sequence[PixelPoint],
    masks: Sequence[NDArray[np.bool_]],
    *,
    reference_quirks: bool = False,
) -> PointingScore:
    """Score points against targets (the rule of Molmo's pointing evaluation, arXiv 2409.17146).

    Points are assigned to gold points, at most one each, so that the sum of distances is smallest; an assigned point
    hits where its pixel lies in the target's mask. A point too many costs precision. Where there is no target, all is
    right without points and wrong with any.

    Args:
        points: in pixels of the image.
        gold_points: one per target, in pixels. (The first code compares with percents, which assigns wrongly.)
        masks: one per target, (height, width) of the image.
        reference_quirks: round to the nearest pixel, halves to even, so that the far edge is outside; by default a
            pixel is what :func:`molmo_agent.geometry.to_pixel` says.

    Raises:
        ValueError: not as many masks as gold points.
    """
    if len(gold_points) != len(masks):
        raise ValueError(f"expected one mask for each gold point, got {len(masks)} for {len(gold_points)}")
    if not len(masks):
        return PointingScore(float(not len(points)), float(not len(points)))
    if not len(points):
        return PointingScore(0.0, 0.0)
    rows, columns = linear_sum_assignment(cdist(points, gold_points))
    hits = sum(_hits(points[i], masks[j], reference_quirks) for i, j in zip(rows, columns, strict=True))
    return PointingScore(hits / len(points), hits / len(masks))


def _hits(point: PixelPoint, mask: NDArray[np.bool_], reference_quirks: bool) -> bool:
    height, width = mask.shape
    x, y = point
    if reference_quirks:
        column, row = round(x), round(y)
        return 0 <= column < width and 0 <= row < height and bool(mask[row, column])
    return 0 <= x <= width and 0 <= y <= height and bool(mask[to_pixel(y / height, height), to_pixel(x / width, width)])


def pointing(
    reply: str,
    gold_points: Sequence[PixelPoint],
    masks: Sequence[NDArray[np.bool_]],
    image_size: tuple[int, int],
    *,
    reference_quirks: bool = False,
    generation: Generation = "molmo",
) -> PointingScore:
    """Score a reply's points, read leniently, with :func:`score_points`.

    Args:
        reply: any dialect of the Molmo families.
        gold_points: one per target, in pixels.
        masks: one per target, (height, width).
        image_size: (width, height) in pixels.
        reference_quirks: round as the reference does. The first code ("molmo") also reads a click twice, and gives 0
            unless the whole reply is one tag or a list of pairs.
        generation: selects whose quirks.

    Raises:
        ReferenceFailure: with the first code's quirks, a well-formed reply whose points are all outside of the image.
        ValueError: not as many masks as gold points.
    """
    first_code = reference_quirks and generation == "molmo"
    points = read_points(reply, image_size, "molmo" if first_code else "molmo2")
    if first_code and len(gold_points):
        if not follows_format(reply):
            return PointingScore(0.0, 0.0)
        if not points:
            raise ReferenceFailure("ValueError", "the reply is well-formed and all its points are dropped")
    return score_points(points, gold_points, masks, reference_quirks=reference_quirks)


def follows_format(reply: str) -> bool:
    """Return whether the whole reply is one tag, or pairs separated by line breaks only (the first code)."""
    return _WHOLE.fullmatch(reply.strip()) is not None


def read_points(reply: str, image_size: tuple[int, int], generation: Generation) -> list[PixelPoint]:
    """Return every point that a reference evaluator reads in a reply; what gets clicked is read strictly elsewhere.

    Points beyond the image are dropped one by one.

    Args:
        reply: may contain prose around the points.
        image_size: (width, height) in pixels.
        generation: the first code takes all that any of its patterns finds; the successor prefers its own tags, and
            takes what the first older pattern that finds any does.
    """
    width, height = image_size
    if generation == "molmo2":
        groups = [group for match in _COORDS.finditer(reply) for group in _SEPARATOR.split(match[1])]
        # Each group starts with the number of its image.
        numbered = [group.partition(" ")[2] for group in groups if not group.startswith(" ")]
        readings = [[pair for text in numbered for pair in _percents(_NUMBERED, 10, text)]]
        readings += [_percents(pattern, divisor, reply) for pattern, divisor in _OLDER]
        for reading in readings:
            if reading:
                return [(x / 100 * width, y / 100 * height) for x, y in reading]
    return list(parse_reference(reply, width, height).points)


def _percents(pattern: re.Pattern[str], divisor: int, text: str) -> list[PixelPoint]:
    pairs = ((float(match[1]) / divisor, float(match[2]) / divisor) for match in pattern.finditer(text))
    return [pair for pair in pairs if max(pair) <= 100]
