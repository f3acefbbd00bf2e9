"""Turn annotated points into a question and its answer, in the ways that the paper's ablations of counting compare."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from molmo_agent.data.question import Question
from molmo_agent.data.row import Conversation
from molmo_agent.geometry import Point
from molmo_agent.model.prompts import wording
from molmo_agent.point_text.parse import format_points, with_count

# As many points as PixMo-Count has of one thing at most: the range of a random number.
_MOST = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class PointAnswers:
    """How points become an answer; the defaults are the released models'."""

    # "sorted": by x, then y. "annotated": in the order in which people marked them.
    order: Literal["sorted", "annotated"] = "sorted"
    # "random": as many points as annotated, anywhere. "random_number": also another number of them. The count that the
    # answer states is the annotated one in any case.
    places: Literal["annotated", "random", "random_number"] = "annotated"
    # "molmo": numbers in plain text. "molmo-tokens": a token of its own for each coordinate.
    dialect: Literal["molmo", "molmo-tokens"] = "molmo"

    def __call__(self, question: Question, rng: np.random.RandomState) -> Conversation:
        """Return the conversation; its style is "pointing", "point_count", "count_then_point" or "only_count".

        Draws the wording, then the random points, if any.

        Raises:
            ValueError: no points are published, nor the count where that is enough.
        """
        style: Any = question.style
        if style == "only_count" and (total := question.extra.get("count")) is not None:
            return Conversation(turns=(wording(style, question.text, rng), str(total)), style=style)
        if question.points is None:
            raise ValueError(f"{question.id} has no points to learn from: train on another split")
        prompt = wording(style, question.text, rng)
        places = self._places(question.points, rng)
        answer = format_points(self.dialect, places, question.text, in_order=self.order == "annotated")
        if places:
            answer = with_count(answer, len(question.points), style)
        return Conversation(turns=(prompt, answer), style=style)

    def _places(self, points: tuple[Point, ...], rng: np.random.RandomState) -> tuple[Point, ...]:
        if self.places == "annotated" or not points:
            return points
        number = len(points) if self.places == "random" else rng.randint(1, _MOST + 1)
        return tuple(Point(float(x), float(y)) for x, y in rng.random_sample((number, 2)))
