"""What one annotation of a published data set asks and expects, before it becomes a training text or a score."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from molmo_agent.episode import Image
from molmo_agent.geometry import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question about one image, with everything that was published as its answer.

    Training takes one answer of it, a metric compares with all of them.
    """

    # Unique in its data set; for reports and skipped rows.
    id: str
    # The authors' name of the task: "vqa2", "chart_qa", "point_qa", ...: prefix of the prompt and choice of the metric.
    style: str
    # The words that are asked; for pointing and counting the name of what is pointed at.
    text: str
    # Every published answer as text; empty where the answer is `points` alone or kept secret (test splits).
    answers: tuple[str, ...] = ()
    # Of a multiple choice, in the published order.
    options: tuple[str, ...] = ()
    # Normalized points; None where the data set has none, () for "there are none".
    points: tuple[Point, ...] | None = None
    # (height, width) of the image; None for text alone.
    size: tuple[int, int] | None = None
    image: Callable[[], Image] | None = None
    # What only this data set's metric needs (answer type, masks, units, ...).
    extra: Mapping[str, Any] = field(default_factory=dict)
