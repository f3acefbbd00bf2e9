"""Ask a model benchmark questions in Molmo's prompt wordings, and score its replies."""

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_agent.data.conversations import choice_prompt
from molmo_agent.data.question import Question
from molmo_agent.episode import Image
from molmo_agent.errors import ImageError, ModelError, UsageError
from molmo_agent.evaluation.benchmarks import Benchmark
from molmo_agent.evaluation.grounding.scoring import score_grounding
from molmo_agent.evaluation.metrics.pointing import read_points
from molmo_agent.evaluation.results.costs import costs_of
from molmo_agent.evaluation.scoring import Reply, score
from molmo_agent.evaluation.steps.scoring import score_step
from molmo_agent.interfaces import PartsAnswerer, PointingModel, collect_usage, model_traits
from molmo_agent.model.prompts import BARE_STYLES, DEMO_STYLES, STYLE_ALIASES, caption_prompt, with_prefix, wording
from molmo_agent.point_text.cut_off import why_no_answer, without_mark
from molmo_agent.point_text.reference_parser import parse_reference

_WITH_POINTS = frozenset({"point_count", "count_then_point", "point_qa"})

Record = dict[str, Any]
"""One line of a run's records, ready for JSON."""

Batch = Sequence[tuple[Question, Image]]
_NO_IMAGE: Image = np.zeros((1, 1, 3), np.uint8)
_Way = Callable[[Any, Benchmark, Batch], "list[tuple[str, Reply]]"]


def prompt_of(question: Question, bank: str | None = None, *, tags: bool = True) -> str:
    """Return the prompt of a question; deterministic.

    Demo styles have no style tag, as in nine of ten training examples. A label gets the plainest wording. A question
    with a length hint asks for a caption.

    Args:
        question: the question.
        bank: of wordings, if the question's text is a label.
        tags: whether the model was trained with tags of styles.
    """
    if "hint" in question.extra:
        return caption_prompt(question.extra["hint"], tags=tags)
    style = STYLE_ALIASES.get(question.style, question.style)
    text = question.text
    if bank is not None and not question.extra.get("whole"):
        text = wording(bank, text)  # type: ignore[arg-type]
    elif question.options:
        text = choice_prompt(question)
    return text if not tags or style in BARE_STYLES | DEMO_STYLES else with_prefix(f"{style}:", text)


@dataclass(frozen=True, slots=True)
class Predictor:
    """Loads a model and runs it on batches, in this process or on a worker.

    Args:
        make: makes the model; called once per worker.
        benchmark: how to ask and to score.
    """

    make: Callable[[], Any]
    benchmark: Benchmark

    def __call__(self) -> Callable[[Sequence[Question]], list[Record]]:
        """Load the model and return a function that answers a batch; its records have their ``cost``."""
        model = self.make()

        def work(questions: Sequence[Question]) -> list[Record]:
            began = time.perf_counter()
            with collect_usage() as usages:
                records = predict(model, self.benchmark, questions)
            costs = {cost["id"]: cost for cost in costs_of(records, usages, time.perf_counter() - began)}
            return [record | {"cost": costs.get(record["id"])} for record in records]

        return work


def predict(model: Any, benchmark: Benchmark, questions: Sequence[Question]) -> list[Record]:
    """Answer and score each question; the record of a skipped question has the reason.

    Args:
        model: an :class:`Answerer`; a :class:`PointingModel` for questions of the style "pointing".
        benchmark: how to ask and to score.
        questions: one batch.

    Raises:
        UsageError: the model does not support this kind of question.
    """
    records: dict[str, Record] = {}
    able: list[tuple[Question, Image]] = []
    images: list[Image] = []
    takes_none = isinstance(model_traits(model).answerer, PartsAnswerer)
    for question in questions:
        try:
            if question.image is None and (question.style == "pointing" or not takes_none):
                raise ImageError("the question has no image")
            image = _NO_IMAGE if question.image is None else question.image()
        except (ImageError, OSError, ValueError) as error:
            records[question.id] = {"id": question.id, "skipped": f"{error}"}
            continue
        # Equal images share one array, so that the model encodes them once.
        same = next((earlier for earlier in images if np.array_equal(earlier, image)), None)
        if same is None:
            images.append(image)
        able.append((question, image if same is None else same))
    for way in (_point, _answer, _answer_parts):
        batch = [one for one in able if _way_of(*one) is way]
        for (question, _), reply in zip(batch, _replies(way, model, benchmark, batch), strict=True):
            if isinstance(reply, ModelError):
                records[question.id] = {"id": question.id, "skipped": f"{reply}"}
            else:
                records[question.id] = record_of(benchmark, question, *reply)
    return [records[question.id] for question in questions]


def _way_of(question: Question, image: Image) -> _Way:
    if question.style == "pointing":
        return _point
    return _answer_parts if question.images or image is _NO_IMAGE else _answer


def _replies(way: _Way, model: Any, benchmark: Benchmark, batch: Batch) -> list[tuple[str, Reply] | ModelError]:
    """Return prompts and replies; if the batch fails, retry each question and return the errors.

    Raises:
        ModelError: all questions fail.
    """
    if not batch:
        return []
    try:
        return list(way(model, benchmark, batch))
    except ModelError:
        if len(batch) == 1:
            raise
    replies: list[tuple[str, Reply] | ModelError] = []
    for one in batch:
        try:
            replies += way(model, benchmark, [one])
        except ModelError as error:
            replies.append(error)
    if all(isinstance(one, ModelError) for one in replies):
        raise replies[0]  # type: ignore[misc]
    return replies


def _point(model: Any, benchmark: Benchmark, batch: Batch) -> list[tuple[str, Reply]]:
    if not isinstance(model, PointingModel):
        raise UsageError(f"expected a model that points, got {type(model).__name__}, which has no point_batch")
    prompts = [question.text for question, _ in batch]
    results = model.point_batch([image for _, image in batch], prompts)
    return [
        (prompt, Reply(text=result.reply, result=result, size=(image.shape[1], image.shape[0])))
        for prompt, result, (_, image) in zip(prompts, results, batch, strict=True)
    ]


def _answer(model: Any, benchmark: Benchmark, batch: Batch) -> list[tuple[str, Reply]]:
    traits = model_traits(model)
    answerer = traits.answerer
    if answerer is None:
        raise UsageError(
            f"expected a model that answers in words (nano, a checkpoint, an endpoint), got {model.name!r}, which only "
            "points; pixmo_points is for such models"
        )
    prompts = [prompt_of(question, benchmark.wording, tags=traits.style_tags) for question, _ in batch]
    texts = answerer.answer_batch([image for _, image in batch], prompts, max_new_tokens=benchmark.max_new_tokens)
    return [(prompt, _in_words(text, image)) for prompt, text, (_, image) in zip(prompts, texts, batch, strict=True)]


def _answer_parts(model: Any, benchmark: Benchmark, batch: Batch) -> list[tuple[str, Reply]]:
    """Ask questions about several images, or about none."""
    traits = model_traits(model)
    if not isinstance(traits.answerer, PartsAnswerer):
        raise UsageError(
            f"expected a model that takes several images in one question (an endpoint, Qwen-VL), got {model.name!r}; "
            "leave --form out to ask with the first image alone"
        )
    asked = []
    for question, image in batch:
        prompt = prompt_of(question, benchmark.wording, tags=traits.style_tags)
        parts = [question.images[part]() if part in question.images else part for part in _parts(prompt, question)]
        text = traits.answerer.answer_parts(parts, max_new_tokens=benchmark.max_new_tokens)
        asked.append((prompt, _in_words(text, image)))
    return asked


def _in_words(text: str, image: Image) -> Reply:
    return Reply(text=without_mark(text), problem=why_no_answer(text), size=(image.shape[1], image.shape[0]))


def _parts(prompt: str, question: Question) -> list[str]:
    """Return a prompt's texts and the marks of its images in their order; an image without a place stands first."""
    marks = "|".join(map(re.escape, question.images))
    parts = [part for part in re.split(f"({marks})", prompt) if part] if marks else [prompt]
    return [*(mark for mark in question.images if mark not in parts), *parts]


def record_of(benchmark: Benchmark, question: Question, prompt: str, reply: Reply) -> Record:
    """Score a reply and return its record; that of a reply that cannot be scored has the reason as "skipped".

    A record has the reason as "problem" if the model gave no answer.

    Args:
        benchmark: how to score.
        question: the question.
        prompt: as it was put to the model.
        reply: of the model.
    """
    record = _scored(benchmark, question, prompt, reply)
    return {**record, "problem": reply.problem} if reply.problem else record


def _scored(benchmark: Benchmark, question: Question, prompt: str, reply: Reply) -> Record:
    if benchmark.metric == "grounding":
        return _grounding_record(benchmark, question, prompt, reply)
    if benchmark.metric == "steps":
        return _step_record(benchmark, question, prompt, reply)
    try:
        result = score(benchmark.metric, question, reply)
    except ValueError as error:
        if question.answers or question.points is not None:
            return {"id": question.id, "skipped": f"{error}"}
        # The answer is unpublished: the reply is kept for the benchmark's server.
        return {"id": question.id, "question": prompt, "reply": reply.text, "skipped": f"{error}"}
    scores = dict(result.scores)
    if benchmark.metric == "pointing" and "f1" in result.reference:
        # A protocol of its own.
        scores["official"] = result.reference["f1"]
    return {
        "id": question.id,
        "question": prompt,
        "reply": reply.text,
        "scores": scores,
        "reference": result.reference,
        "unparsed": result.unparsed,
        "groups": list(result.groups),
        **_pointed(question, reply),
    }


def _grounding_record(benchmark: Benchmark, question: Question, prompt: str, reply: Reply) -> Record:
    try:
        result = score_grounding(benchmark.protocols, question, reply)
    except (ImageError, OSError, ValueError) as error:  # also a mask that cannot be read
        return {"id": question.id, "skipped": f"{error}"}
    return {
        "id": question.id,
        "question": prompt,
        "reply": reply.text,
        "scores": result.scores,
        "reference": {},
        "unparsed": result.wrong_format,
        "groups": result.groups,
        "unread": result.unread,
        "facets": result.facets,
        "answered": result.answered,
        "miss_px": result.miss_px,
        **_pointed(question, reply),
    }


def _step_record(benchmark: Benchmark, question: Question, prompt: str, reply: Reply) -> Record:
    try:
        result = score_step(benchmark.protocols, question, reply)
    except ValueError as error:
        return {"id": question.id, "skipped": f"{error}"}
    return {"id": question.id, "question": prompt, "reply": reply.text, **result}


def _pointed(question: Question, reply: Reply) -> dict[str, Any]:
    """Return what a record keeps of a reply's points: with the reply's text, enough to score it again."""
    kept: dict[str, Any] = {"points": _points(question, reply)}
    if reply.result is not None:
        kept |= {"status": reply.result.status, "composed": reply.result.composed}
    return kept


def _points(question: Question, reply: Reply) -> list[list[float]]:
    """Return the points of a reply as fractions, for drawing."""
    if reply.result is not None:
        return [[prediction.point.x, prediction.point.y] for prediction in reply.result.points]
    if question.style not in _WITH_POINTS:  # in other styles, numbers are not coordinates
        return []
    width, height = reply.size
    read = read_points(reply.text, reply.size, "molmo2") or parse_reference(reply.text, width, height).points
    return [[min(x / width, 1.0), min(y / height, 1.0)] for x, y in read]
