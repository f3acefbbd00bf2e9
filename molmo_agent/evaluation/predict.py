"""Questions put to a model: the words in which Molmo was asked, and replies with what they are worth."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_agent.data.conversations import asked_choice
from molmo_agent.data.question import Question
from molmo_agent.episode import Image
from molmo_agent.errors import ImageError, ModelError, UsageError
from molmo_agent.evaluation.benchmarks import Benchmark
from molmo_agent.evaluation.metrics.pointing import read_points
from molmo_agent.evaluation.scoring import Reply, score
from molmo_agent.interfaces import PointingModel, model_traits
from molmo_agent.model.prompts import BARE_STYLES, DEMO_STYLES, STYLE_ALIASES, with_prefix, wording
from molmo_agent.point_text.reference_parser import parse_reference

_WITH_POINTS = frozenset({"point_count", "count_then_point", "point_qa", "android_control"})

Record = dict[str, Any]
"""One line of a run's records, ready for JSON."""

Asked = Sequence[tuple[Question, Image]]
_Way = Callable[[Any, Benchmark, Asked], "list[tuple[str, Reply]]"]


def prompt_of(question: Question, bank: str | None = None) -> str:
    """Return the words that a question is asked in; the same every time.

    Demo styles go without their tag, as nine times of ten in training. A label is asked for in the plainest wording.

    Args:
        question: what is asked.
        bank: of wordings, where the question's text is a label.
    """
    style = STYLE_ALIASES.get(question.style, question.style)
    text = question.text
    if bank is not None and not question.extra.get("whole"):
        text = wording(bank, text)  # type: ignore[arg-type]
    elif question.options:
        text = asked_choice(question)
    return text if style in BARE_STYLES | DEMO_STYLES else with_prefix(f"{style}:", text)


@dataclass(frozen=True, slots=True)
class Asker:
    """Makes a model and asks it, wherever it is sent: on this machine or a worker.

    Args:
        make: makes the model; called once per worker.
        benchmark: how to ask and to score.
    """

    make: Callable[[], Any]
    benchmark: Benchmark

    def __call__(self) -> Callable[[Sequence[Question]], list[Record]]:
        """Return what answers a batch."""
        model = self.make()
        return lambda questions: ask(model, self.benchmark, questions)


def ask(model: Any, benchmark: Benchmark, questions: Sequence[Question]) -> list[Record]:
    """Ask about each question, and score what is said; a question that cannot be asked or scored says why.

    Args:
        model: answers in words; points, for questions of the style "pointing".
        benchmark: how to ask and to score.
        questions: one batch.

    Raises:
        UsageError: the model cannot do what it is asked to.
    """
    records: dict[str, Record] = {}
    able: list[tuple[Question, Image]] = []
    seen: list[Image] = []
    for question in questions:
        try:
            if question.image is None:
                raise ImageError("the question has no picture")
            image = question.image()
        except (ImageError, OSError, ValueError) as error:
            records[question.id] = {"id": question.id, "skipped": f"{error}"}
            continue
        # The same array for the same picture: a model looks at it once.
        same = next((known for known in seen if np.array_equal(known, image)), None)
        if same is None:
            seen.append(image)
        able.append((question, image if same is None else same))
    for pointing in (True, False):
        asked = [one for one in able if (one[0].style == "pointing") == pointing]
        for (question, _), told in zip(
            asked, _replies(_point if pointing else _answer, model, benchmark, asked), strict=True
        ):
            if isinstance(told, ModelError):
                records[question.id] = {"id": question.id, "skipped": f"{told}"}
            else:
                records[question.id] = _record(benchmark, question, *told)
    return [records[question.id] for question in questions]


def _replies(way: _Way, model: Any, benchmark: Benchmark, asked: Asked) -> list[tuple[str, Reply] | ModelError]:
    """Return prompts and replies; where a batch fails, the error of each question that does.

    Raises:
        ModelError: all of them fail.
    """
    if not asked:
        return []
    try:
        return list(way(model, benchmark, asked))
    except ModelError:
        if len(asked) == 1:
            raise
    told: list[tuple[str, Reply] | ModelError] = []
    for one in asked:
        try:
            told += way(model, benchmark, [one])
        except ModelError as error:
            told.append(error)
    if all(isinstance(one, ModelError) for one in told):
        raise told[0]  # type: ignore[misc]
    return told


def _point(model: Any, benchmark: Benchmark, asked: Asked) -> list[tuple[str, Reply]]:
    if not isinstance(model, PointingModel):
        raise UsageError(f"expected a model that points, got {type(model).__name__}, which has no point_batch")
    prompts = [question.text for question, _ in asked]
    results = model.point_batch([image for _, image in asked], prompts)
    return [
        (prompt, Reply(text=result.reply, result=result, size=(image.shape[0], image.shape[1])))
        for prompt, result, (_, image) in zip(prompts, results, asked, strict=True)
    ]


def _answer(model: Any, benchmark: Benchmark, asked: Asked) -> list[tuple[str, Reply]]:
    answerer = model_traits(model).answerer
    if answerer is None:
        raise UsageError(
            f"expected a model that answers in words (nano, a checkpoint, an endpoint), got {model.name!r}, which only "
            "points; pixmo_points is for such models"
        )
    prompts = [prompt_of(question, benchmark.wording) for question, _ in asked]
    texts = answerer.answer_batch([image for _, image in asked], prompts, max_new_tokens=benchmark.max_new_tokens)
    return [
        (prompt, Reply(text=text, size=(image.shape[0], image.shape[1])))
        for prompt, text, (_, image) in zip(prompts, texts, asked, strict=True)
    ]


def _record(benchmark: Benchmark, question: Question, prompt: str, reply: Reply) -> Record:
    try:
        scored = score(benchmark.metric, question, reply)
    except ValueError as error:
        return {"id": question.id, "skipped": f"{error}"}
    return {
        "id": question.id,
        "question": prompt,
        "reply": reply.text,
        "scores": scored.scores,
        "reference": scored.reference,
        "unparsed": scored.unparsed,
        "groups": list(scored.groups),
        "points": _points(question, reply),
    }


def _points(question: Question, reply: Reply) -> list[list[float]]:
    """Return the points of a reply to be drawn, as fractions; a pointing model's as it means them."""
    if reply.result is not None:
        return [[found.point.x, found.point.y] for found in reply.result.points]
    if question.style not in _WITH_POINTS:  # elsewhere numbers are numbers
        return []
    height, width = reply.size
    read = read_points(reply.text, reply.size, "molmo2") or parse_reference(reply.text, width, height).points
    return [[min(x / width, 1.0), min(y / height, 1.0)] for x, y in read]
