"""One annotation of a published data set, before it becomes a training text or a score."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from molmo_agent.episode import Image
from molmo_agent.errors import ImageError
from molmo_agent.geometry import Point


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question about one image, with all published answers.

    Training uses one of the answers, a metric compares with all of them.
    """

    # Unique in its data set; used in reports.
    id: str
    # The authors' name of the task: "vqa2", "chart_qa", "point_qa", ...: prefix of the prompt and choice of the metric.
    style: str
    # The text of the question; for pointing and counting, the name of the target.
    text: str
    # Every published answer as text; empty if the answer is `points` alone or unpublished (test splits).
    answers: tuple[str, ...] = ()
    # Options of a multiple choice, in the published order.
    options: tuple[str, ...] = ()
    # Normalized points; None if the data set has none, () for "there are none".
    points: tuple[Point, ...] | None = None
    # (width, height) of the image in pixels; None for text alone.
    size: tuple[int, int] | None = None
    image: Callable[[], Image] | None = None
    # Mark in the text or an option -> the image that stands there, for questions about several images; `image` is
    # the first of them.
    images: Mapping[str, Callable[[], Image]] = field(default_factory=dict)
    # Values that only this data set's metric needs (answer type, masks, units, ...).
    extra: Mapping[str, Any] = field(default_factory=dict)

    def shown(self) -> Image:
        """Return the image to show to people: several of them side by side, in their order.

        Raises:
            ImageError: there is none, or it cannot be read.
        """
        if self.image is None:
            raise ImageError("the question has no image")
        images = [read() for read in self.images.values()] or [self.image()]
        if len(images) == 1:
            return images[0]
        height = max(image.shape[0] for image in images)
        gap = height // 20 + 1
        canvas = np.full((height, sum(image.shape[1] + gap for image in images) - gap, 3), 255, np.uint8)
        left = 0
        for image in images:
            canvas[: image.shape[0], left : left + image.shape[1]] = image
            left += image.shape[1] + gap
        return canvas
