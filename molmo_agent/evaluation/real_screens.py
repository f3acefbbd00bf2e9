"""Measure a pointing model on screenshots of real programs, with the threshold that it acts with.

The folder has ``targets.jsonl`` and, optionally, ``absent.jsonl``, both in the format of ``agent eval questions``.
``extra`` of a line may hold group, size ([width, height]), toolkit, scale, theme and app, which the results are
grouped by.
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_agent.data.question import Question
from molmo_agent.data.readers.questions_file import QuestionsFile
from molmo_agent.data.source import Source
from molmo_agent.episode import PointResult
from molmo_agent.errors import ImageError, ModelError, UsageError
from molmo_agent.evaluation.metrics.interval import wilson
from molmo_agent.evaluation.reliability import figures_of
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import PointingModel, model_traits
from molmo_agent.policies.progress import SAME_PLACE

TARGETS_FILE, ABSENT_FILE = "targets.jsonl", "absent.jsonl"
WORDS = ("text", "menu", "link", "checkbox")
"""The groups of targets that have words on or beside them."""

ALL, WORDS_NAME = "all", "words"
DIMENSIONS = ("group", "size", "toolkit", "scale", "theme", "app")

Row = dict[str, Any]

GOALS: tuple[tuple[str, bool, float], ...] = (
    ("hits, all", True, 0.90),
    ("hits, words", True, 0.97),
    ("hits, field", True, 0.85),
    ("hits, icon", True, 0.50),
    ("wrong clicks", False, 0.04),
    ("clicks on absent targets", False, 0.03),
    ("calibration error", False, 0.05),
)
"""What ``--check`` requires: name, whether the value must be at least the limit (else at most), the limit.

Hits are those that are acted on: the same threshold decides hits and wrong clicks.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A model's answer to one question, and what an agent would do with it."""

    question: Question
    status: str
    points: tuple[Point, ...]
    confidence: float | None
    reply: str
    latency_s: float
    # The confidence below which the agent does not act; None: it has no threshold.
    threshold: float | None
    # Whether it is the first question about its screen.
    first: bool

    @property
    def place(self) -> Point | None:
        """The one place that the answer points at; None without a place or with several."""
        if self.status != "ok" or any(point.distance(self.points[0]) > SAME_PLACE for point in self.points):
            return None
        return self.points[0]

    @property
    def boxes(self) -> tuple[Box, ...]:
        """The boxes of the target, normalized; empty if it is absent."""
        return tuple(self.question.extra.get("boxes", ()))

    @property
    def hit(self) -> bool:
        """Whether the answer points at the target, whatever its confidence."""
        return self.place is not None and any(box.contains(self.place) for box in self.boxes)

    @property
    def outcome(self) -> str:
        """What comes of it: "click", or why the agent refuses to act."""
        if self.status != "ok":
            return self.status
        if self.place is None:
            return "several places"
        unsure = self.threshold is not None and self.confidence is not None and self.confidence < self.threshold
        return "low confidence" if unsure else "click"

    @property
    def acted(self) -> bool:
        """Whether an agent would click."""
        return self.outcome == "click"


@dataclass(frozen=True, slots=True, kw_only=True)
class RealScreens:
    """Questions about real screens."""

    targets: tuple[Question, ...]
    absent: tuple[Question, ...]
    # Lines that cannot be used, with the reason.
    problems: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of questions."""
        return len(self.targets) + len(self.absent)


def read_real_screens(folder: Path, limit: int | None = None) -> RealScreens:
    """Read the questions of a folder.

    Args:
        folder: with ``targets.jsonl``, and optionally ``absent.jsonl``.
        limit: maximum number of targets; they are taken evenly from the whole file, and absent ones in proportion.

    Raises:
        UsageError: there is no ``targets.jsonl``, or it has no usable target.
    """
    if not (folder / TARGETS_FILE).is_file():
        raise UsageError(f"expected {TARGETS_FILE} in {folder}, which does not have it (docs/evaluate.md)")
    problems: list[str] = []
    targets = _read(folder / TARGETS_FILE, True, problems)
    absent = _read(folder / ABSENT_FILE, False, problems) if (folder / ABSENT_FILE).is_file() else []
    if not targets:
        raise UsageError(f"no line of {folder / TARGETS_FILE} is usable: {'; '.join(problems[:3]) or 'it is empty'}")
    share = min(1.0, (limit or len(targets)) / len(targets))
    return RealScreens(
        targets=tuple(_evenly(targets, share)), absent=tuple(_evenly(absent, share)), problems=tuple(problems)
    )


def _read(path: Path, present: bool, problems: list[str]) -> list[Question]:
    file = QuestionsFile(Source(kind="questions", path=str(path), options={"style": "pointing"}))
    problems += [str(problem) for problem in file.problems.entries]
    usable = []
    for question in file.questions():
        if bool(question.extra.get("boxes")) == present and bool(question.points) == present:
            usable.append(question)
        else:
            expectation = "'points' and 'boxes'" if present else '"points": [] and no boxes'
            problems.append(f"{path.name}, {question.id}: expected {expectation}")
    return usable


def _evenly(questions: Sequence[Question], share: float) -> list[Question]:
    number = round(len(questions) * share)
    return [questions[place * len(questions) // number] for place in range(number)]


def ask(
    model: PointingModel, screens: RealScreens, progress: Callable[[int], object] = lambda done: None
) -> tuple[list[Answer], list[str]]:
    """Ask all questions, screen by screen, and return the answers with the reasons of the skipped questions.

    Args:
        model: the model that an agent acts with, see :func:`molmo_agent.pointers.careful.careful`.
        screens: the questions.
        progress: called with the number of finished questions.

    Raises:
        ModelError: the model fails at every question.
        UsageError: no image can be read.
    """
    by_screen: dict[str, list[Question]] = {}
    for question in (*screens.targets, *screens.absent):
        by_screen.setdefault(str(question.extra["screen"]), []).append(question)
    threshold = model_traits(model).min_confidence
    answers: list[Answer] = []
    skipped: list[str] = []
    last: ModelError | None = None
    done = 0
    for questions in by_screen.values():
        image, shown_before = None, False
        for question in questions:
            done += 1
            try:
                if image is None:
                    assert question.image is not None  # the reader sets it
                    image = question.image()
                began = time.perf_counter()
                result = model.point(image, question.text)
                seconds = time.perf_counter() - began
            except ImageError as error:
                skipped.append(f"{question.id}: {error}")
            except ModelError as error:
                skipped.append(f"{question.id}: {error}")
                last = error
            else:
                answers.append(_answer(question, result, threshold, seconds, first=not shown_before))
                shown_before = True
            progress(done)
    if not answers:
        raise last or UsageError(f"no question can be asked: {skipped[0]}")
    return answers, skipped


def _answer(question: Question, result: PointResult, threshold: float | None, seconds: float, *, first: bool) -> Answer:
    return Answer(
        question=question,
        status=result.status,
        points=tuple(labelled.point for labelled in result.points),
        confidence=result.confidence,
        reply=result.reply,
        latency_s=seconds,
        threshold=threshold,
        first=first,
    )


def share_of(right: int, n: int) -> Row:
    """Return a share with its 95 % Wilson interval, fractions in [0, 1]; the share is None if ``n`` is 0."""
    low, high = wilson(right, n)
    return {"n": n, "right": right, "share": right / n if n else None, "low": low, "high": high}


def _row(answers: Sequence[Answer]) -> Row:
    n, acted = len(answers), [one for one in answers if one.acted]
    hits = sum(one.hit for one in acted)
    return {
        "n": n,
        # At the threshold.
        "hits": share_of(hits, n),
        "acted": share_of(len(acted), n),
        "hits_of_acted": share_of(hits, len(acted)),
        "wrong_clicks": share_of(len(acted) - hits, n),
        # Whatever the confidence.
        "hits_without_threshold": share_of(sum(one.hit for one in answers), n),
        "outcomes": dict(Counter(one.outcome for one in answers)),
    }


def _value(answer: Answer, dimension: str) -> str:
    value = answer.question.extra.get(dimension)
    if dimension == "size" and isinstance(value, list | tuple):
        return "x".join(f"{side}" for side in value)
    return "unknown" if value is None else f"{value}"


def figures(model: PointingModel, answers: Sequence[Answer], skipped: Sequence[str], problems: Sequence[str]) -> Row:
    """Return the figures of a run, ready for JSON; shares are fractions in [0, 1], times seconds.

    Args:
        model: the model that was asked.
        answers: of :func:`ask`.
        skipped: reasons of the questions that could not be asked.
        problems: reasons of the lines that could not be used.
    """
    targets = [one for one in answers if one.boxes]
    absent = [one for one in answers if not one.boxes]
    words = [one for one in targets if _value(one, "group") in WORDS]
    rows: dict[str, dict[str, Row]] = {ALL: {ALL: _row(targets)}}
    for dimension in DIMENSIONS:
        values = dict.fromkeys(sorted(_value(one, dimension) for one in targets))
        rows[dimension] = {value: _row([one for one in targets if _value(one, dimension) == value]) for value in values}
    rows["group"] = {WORDS_NAME: _row(words), **rows["group"]}
    sure = [(one.confidence, one.hit) for one in targets if one.place is not None and one.confidence is not None]
    clicks = sum(one.acted for one in absent)
    return {
        "model": model.name,
        "threshold": model_traits(model).min_confidence,
        "targets": rows,
        "absent": {
            "clicks": share_of(clicks, len(absent)),
            "outcomes": dict(Counter(one.outcome for one in absent)),
        },
        "calibration": figures_of([float(value) for value, _ in sure], [hit for _, hit in sure]) if sure else None,
        "latency": {
            "first": _times([one.latency_s for one in answers if one.first]),
            "later": _times([one.latency_s for one in answers if not one.first]),
        },
        "skipped": [*problems, *skipped],
    }


def _times(seconds: Sequence[float]) -> Row:
    return {"n": len(seconds), "median_s": statistics.median(seconds) if seconds else None}


def goals(result: Mapping[str, Any]) -> list[Row]:
    """Return every goal with its value, limit and whether it is met. What was not measured is not met.

    Args:
        result: of :func:`figures`.
    """
    targets, calibration = result["targets"], result["calibration"]
    values: dict[str, float | None] = {
        "hits, all": targets[ALL][ALL]["hits"]["share"],
        "wrong clicks": targets[ALL][ALL]["wrong_clicks"]["share"],
        "clicks on absent targets": result["absent"]["clicks"]["share"],
        "calibration error": calibration and calibration["ece"],
    }
    for group in (WORDS_NAME, "field", "icon"):
        row = targets["group"].get(group)
        values[f"hits, {group}"] = row["hits"]["share"] if row else None
    checked = []
    for name, at_least, limit in GOALS:
        value = values[name]
        met = value is not None and (value >= limit if at_least else value <= limit)
        checked.append({"goal": name, "value": value, "at_least": at_least, "limit": limit, "met": met})
    return checked


def missed(result: Mapping[str, Any]) -> list[str]:
    """Return one line for each goal that is not met, such as "hits, icon: 48.0 %, expected at least 50 %"."""
    lines = []
    for row in goals(result):
        if not row["met"]:
            plain = row["goal"] == "calibration error"
            value, limit = (
                "not measured" if number is None else f"{number:.3f}" if plain else f"{100 * number:.1f} %"
                for number in (row["value"], row["limit"])
            )
            lines.append(f"{row['goal']}: {value}, expected at {'least' if row['at_least'] else 'most'} {limit}")
    return lines
