"""What a grounding benchmark accepts as right: a box, a polygon, a mask, or the answer that there is no target."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from molmo_agent.parse import load_json

Kind = Literal["box", "polygon", "mask", "absent"]
BoxForm = Literal["xyxy", "xywh"]
Frame = Literal["pixels", "fractions"]
Edges = tuple[float, float, float, float]
"""Left, top, right, bottom."""
Mask = npt.NDArray[np.uint8]
"""(height, width, 3) uint8; not necessarily of the image's size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The target of one question.

    ``frame`` is the unit of ``box`` and ``polygon``: pixels of the published image, or fractions of its sides. Numbers
    are those of the file: nothing is rounded, and what lies beyond the image stays there.
    """

    kind: Kind
    frame: Frame = "pixels"
    box: Edges | None = None
    polygon: tuple[tuple[float, float], ...] = ()
    mask: Callable[[], Mask] | None = None
    # The right number of points, where the question is how many there are.
    count: int | None = None
    # Name of a group -> the item's values; scores are also reported for each of them.
    facets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def numbers(value: Any, name: str, count: int | None = None) -> tuple[float, ...]:
    """Return a list of numbers, which may be written as JSON text.

    Args:
        value: the value of the file.
        name: of the value, for the error.
        count: the required number of them; None allows any.

    Raises:
        ValueError: it is no such list.
    """
    if isinstance(value, str):
        value = load_json(value, where=f"the text of {name}")
    plain = isinstance(value, Sequence) and all(type(one) in (int, float) for one in value)
    if not plain or (count is not None and len(value) != count) or not np.isfinite(value).all():
        raise ValueError(f"expected {count or 'a list of'} numbers as {name}, got {value!r:.80}")
    return tuple(map(float, value))


def edges(value: Any, form: BoxForm, *, name: str = "'bbox'") -> Edges:
    """Return a box as left, top, right, bottom; negative coordinates are kept.

    Raises:
        ValueError: it has not four numbers, a width or height below zero (xywh), or swapped edges (xyxy).
    """
    left, top, third, fourth = numbers(value, name, 4)
    if form == "xywh":
        if third < 0 or fourth < 0:
            raise ValueError(f"expected {name} as x, y, width, height, got a size below zero: {value!r:.80}")
        return left, top, left + third, top + fourth
    if third < left or fourth < top:
        raise ValueError(f"expected {name} as left, top, right, bottom, got swapped edges: {value!r:.80}")
    return left, top, third, fourth


def fractions(box: Edges, name: str = "'bbox'") -> Edges:
    """Return a box of a copy whose boxes are fractions of the image.

    Raises:
        ValueError: an edge is more than a tenth of the image beyond it, so the numbers have another unit.
    """
    if min(box) < -0.1 or max(box) > 1.1:
        raise ValueError(f"expected {name} as fractions of the image in 0..1, got {list(box)}: other units?")
    return box


def corners(value: Any, name: str) -> tuple[tuple[float, float], ...]:
    """Return the corners of a polygon written as x0, y0, x1, y1, ...

    Raises:
        ValueError: an odd number of values, or fewer than three corners.
    """
    flat = numbers(value, name)
    if len(flat) % 2 or len(flat) < 6:
        raise ValueError(f"expected {name} as x, y of at least three corners, got {len(flat)} numbers")
    return tuple(zip(flat[::2], flat[1::2], strict=True))
