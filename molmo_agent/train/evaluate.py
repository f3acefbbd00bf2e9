"""How often a pointing model hits: screens it never saw, by category, with chance beside every score."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from molmo_agent.envs.sim_desktop.sampling import sample_screen
from molmo_agent.envs.sim_desktop.scene import Screen
from molmo_agent.geometry import Box
from molmo_agent.interfaces import PointingModel
from molmo_agent.train.phrases import Question, ask_all
from molmo_agent.train.loop import seed_of

# Seeds of evaluation screens start here; training draws below 2**31.
EVALUATION_SEED = 2**31


def wilson(hits: int, total: int, z: float = 1.96) -> tuple[float, float]:
    """Return the Wilson interval of a share; (0, 1) when nothing was tried."""
    if total == 0:
        return 0.0, 1.0
    share, square = hits / total, z * z / total
    middle = (share + square / 2) / (1 + square)
    half = z * math.sqrt(share * (1 - share) / total + square / (4 * total)) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


@dataclass
class Tally:
    """Counts of one category."""

    hits: int = 0
    total: int = 0
    # Sum over questions of the chance that a random element of the same kind is the right one.
    chance: float = 0.0
    statuses: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def row(self) -> dict[str, Any]:
        """Return the figures that tables and cards show."""
        low, high = wilson(self.hits, self.total)
        return {
            "n": self.total,
            "hit": round(self.hits / self.total, 4) if self.total else None,
            "low": round(low, 4),
            "high": round(high, 4),
            "random_same_kind": round(self.chance / self.total, 4) if self.total else None,
            "statuses": dict(self.statuses),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """Which screens to ask about."""

    name: str
    split: str
    screens: int
    width: int = 640
    height: int = 480
    style: str | None = None
    # Questions per screen, drawn at random: neighbours on one screen tell less than other screens.
    questions: int = 8


def questions_of(chosen: EvaluationSet, seed: int) -> Iterator[tuple[Screen, list[Question]]]:
    """Yield the set's screens with the questions asked about each; a pure function of set and seed."""
    for index in range(chosen.screens):
        number = EVALUATION_SEED + seed_of(chosen.name, seed, index)
        screen = sample_screen(number, width=chosen.width, height=chosen.height, split=chosen.split, style=chosen.style)
        rng = Random(number)
        questions = ask_all(screen.elements, rng)
        rng.shuffle(questions)
        if questions:
            yield screen, questions[: chosen.questions]


def evaluate(model: PointingModel, chosen: EvaluationSet, seed: int = 0) -> dict[str, Tally]:
    """Ask a model about a set; return a tally per category. A hit is one point inside the element's box."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    for screen, questions in questions_of(chosen, seed):
        height, width = screen.image.shape[:2]
        results = model.point_batch([screen.image] * len(questions), [question.text for question in questions])
        for question, result in zip(questions, results, strict=True):
            tally = tallies[question.category]
            box = Box.from_pixels(*question.element.box, width, height)
            hit = len(result.points) == 1 and box.contains(result.points[0].point)
            same = sum(element.visible and element.kind == question.element.kind for element in screen.elements)
            tally.hits += hit
            tally.total += 1
            tally.chance += 1 / same
            tally.statuses[result.status] += 1
    return dict(tallies)


def merge(tallies: Iterable[Tally]) -> Tally:
    """Add tallies up."""
    total = Tally()
    for tally in tallies:
        total.hits += tally.hits
        total.total += tally.total
        total.chance += tally.chance
        for status, count in tally.statuses.items():
            total.statuses[status] += count
    return total
