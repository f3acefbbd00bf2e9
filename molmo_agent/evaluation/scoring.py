"""Score one reply to one question with any metric, also as the authors' code would score it.

A binary score is a bool, any other a float.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

import numpy as np
from numpy.typing import NDArray

from molmo_agent.data.conversations import NO_LETTER_STYLE
from molmo_agent.data.question import Question
from molmo_agent.episode import PointResult
from molmo_agent.evaluation.metrics import (
    Generation,
    MathVistaQuestion,
    PointingScore,
    ReferenceFailure,
    a_okvqa,
    anls,
    clean_answer,
    clock,
    counting,
    exact_match,
    math_vista,
    mmmu_choice,
    mmmu_open,
    normalise_math_vista,
    pointing,
    real_world_qa,
    relaxed,
    score_points,
    select_option,
    vqa_soft,
)
from molmo_agent.point_text.parse import format_points

Scores = dict[str, bool | float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A model's reply."""

    text: str
    # Why there is no answer; the text is then empty.
    problem: str = ""
    # The result of a pointing model.
    result: PointResult | None = None
    # (width, height) of the image in pixels.
    size: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplyScores:
    """The scores of a reply."""

    # The first one is the benchmark's main score.
    scores: Scores
    # Scores of the authors' code; empty if it fails.
    reference: Scores
    # Whether no answer could be parsed.
    unparsed: bool = False
    # Groups that are also summarized separately.
    groups: tuple[str, ...] = ()


Metric = Callable[[Question, Reply, bool], tuple[Scores, bool, tuple[str, ...]]]
"""Returns scores, unparsed, groups. The last argument selects the authors' verdict."""


def _only_answer(question: Question) -> str:
    if len(question.answers) != 1:
        raise ValueError(f"expected one answer to compare with, got {len(question.answers)}")
    return question.answers[0]


def _answers(question: Question) -> Sequence[str]:
    if not question.answers:
        raise ValueError("expected answers to compare with, got none: are they unpublished?")
    return question.answers


def _vqa(question: Question, reply: Reply, quirks: bool) -> tuple[Scores, bool, tuple[str, ...]]:
    text = clean_answer(reply.text, reference_quirks=quirks)
    return {"vqa": float(vqa_soft(text, _answers(question), reference_quirks=quirks))}, not text, ()


def _a_okvqa(question: Question, reply: Reply, quirks: bool) -> tuple[Scores, bool, tuple[str, ...]]:
    text = clean_answer(reply.text, reference_quirks=quirks)
    return {"a_okvqa": float(a_okvqa(text, _answers(question)))}, not text, ()


def _anls(question: Question, reply: Reply, quirks: bool) -> tuple[Scores, bool, tuple[str, ...]]:
    text, answers = clean_answer(reply.text, reference_quirks=quirks), _answers(question)
    scores: Scores = {"anls": float(anls(text, answers, reference_quirks=quirks)), "exact": exact_match(text, answers)}
    return scores, not text, ()


def _relaxed(question: Question, reply: Reply, quirks: bool) -> tuple[Scores, bool, tuple[str, ...]]:
    text, answers = clean_answer(reply.text, reference_quirks=quirks), _answers(question)
    scores: Scores = {"relaxed": relaxed(text, answers, reference_quirks=quirks), "exact": exact_match(text, answers)}
    return scores, not text, _kind(question)


def _exact(question: Question, reply: Reply, quirks: bool) -> tuple[Scores, bool, tuple[str, ...]]:
    text = clean_answer(reply.text, reference_quirks=quirks)
    return {"exact": exact_match(text, _answers(question))}, not text, ()


def _right_option(question: Question) -> int:
    correct = question.extra.get("correct")
    if correct is not None:
        return int(correct)
    answer = _only_answer(question).strip()
    letters = ascii_uppercase[: len(question.options)]
    if question.style != NO_LETTER_STYLE and len(answer) == 1 and answer.upper() in letters:
        return letters.index(answer.upper())
    if answer in question.options:
        return question.options.index(answer)
    raise ValueError(f"expected the answer to be a letter or one of the options, got {answer!r}")


def _kind(question: Question) -> tuple[str, ...]:
    """Return the groups of a question."""
    group = question.extra.get("group")
    if group == "plain" and question.style.startswith("ai2_diagram"):
        # A diagram without labels counts in both groups, as in the authors' code.
        return ("transparent", "opaque")
    return () if group is None else (str(group),)


def _choice(question: Question, reply: Reply, quirks: bool) -> tuple[Scores, bool, tuple[str, ...]]:
    target = _right_option(question)
    text = clean_answer(reply.text, reference_quirks=quirks)
    names = question.options if question.style == NO_LETTER_STYLE else ascii_uppercase[: len(question.options)]
    whole = [option.strip().lower() for option in question.options]
    if not quirks and whole.count(text.lower()) == 1:
        choice: int | None = whole.index(text.lower())
    else:
        choice = select_option(text, list(names), reference_quirks=quirks)
    return {"right": choice == target}, choice is None, _kind(question)


def _mmmu(question: Question, reply: Reply, quirks: bool) -> tuple[Scores, bool, tuple[str, ...]]:
    text = clean_answer(reply.text, reference_quirks=quirks)
    if question.options:
        letter = mmmu_choice(text, question.options, reference_quirks=quirks)
        return {"right": letter == ascii_uppercase[_right_option(question)]}, letter is None, _kind(question)
    return {"right": mmmu_open(text, _answers(question), reference_quirks=quirks)}, not text, ()


def _math_vista(question: Question, reply: Reply, quirks: bool) -> tuple[Scores, bool, tuple[str, ...]]:
    kind: Any = question.extra.get("answer_type", "text")
    precision = question.extra.get("precision")
    details = MathVistaQuestion(
        question_type="multi_choice" if question.options else "free_form",
        answer_type=kind,
        choices=question.options,
        precision=precision,
    )
    target = question.options[_right_option(question)] if question.options else _only_answer(question)
    right = math_vista(reply.text, target, details, reference_quirks=quirks)
    return {"right": right}, normalise_math_vista(reply.text, details) is None, ()


def _real_world_qa(question: Question, reply: Reply, quirks: bool) -> tuple[Scores, bool, tuple[str, ...]]:
    text, answer = clean_answer(reply.text, reference_quirks=quirks), _only_answer(question)
    kind: Any = "multiple_choice" if question.style == "eval_multiple_choice" else "short_answer"
    if kind == "multiple_choice" and answer not in tuple("ABCD"):
        raise ValueError(f"expected a letter of A to D as the answer, got {answer!r}")
    right = real_world_qa(text, answer, kind, reference_quirks=quirks)
    unparsed = select_option(text, "ABCD") is None if kind == "multiple_choice" else not text
    return {"right": right}, unparsed, (kind.replace("_", " "),)


def _counting(question: Question, reply: Reply, quirks: bool) -> tuple[Scores, bool, tuple[str, ...]]:
    if question.answers:
        try:
            target = int(_only_answer(question))
        except ValueError as error:
            raise ValueError(f"expected a whole number as the answer, got {question.answers!r}") from error
    elif question.points is not None:
        target = len(question.points)
    else:
        raise ValueError("expected a number as the answer or points to count, got neither")
    result = counting(reply.text, target, reference_quirks=quirks)
    return {"right": result.correct, "within one": result.close}, not result.valid, (f"{target}",)


def masks_of(question: Question) -> list[NDArray[np.bool_]]:
    """Return the (height, width) masks of a question's targets, loading them if necessary.

    Raises:
        ValueError: a point has no mask.
    """
    masks = question.extra.get("masks", ())
    masks = [np.asarray(mask, dtype=bool) for mask in (masks() if callable(masks) else masks)]
    if len(masks) != len(question.points or ()):
        raise ValueError(f"expected a mask for each of {len(question.points or ())} points, got {len(masks)}")
    return masks


def _pointing(question: Question, reply: Reply, quirks: bool) -> tuple[Scores, bool, tuple[str, ...]]:
    if question.points is None:
        raise ValueError("expected points to compare with, got none; an empty list means that the target is absent")
    width, height = reply.size
    masks = masks_of(question)
    for mask in masks:
        if mask.shape != (height, width):
            raise ValueError(f"expected masks of {width} x {height} pixels, got {mask.shape[1]} x {mask.shape[0]}")
    groups = ("there are none" if not masks else "one" if len(masks) == 1 else "several", *_kind(question))
    assert reply.result is not None  # these questions go to a pointing model
    if quirks:
        text = reply.text
        if reply.result.composed and reply.result.points:
            # The authors' code reads points of the whole image, and nothing around them.
            text = format_points("molmo", [one.point for one in reply.result.points], question.text)
        generation: Generation = "molmo2" if "coords=" in text else "molmo"
        # The first code uses the data set's percents as pixels, which affects only the assignment.
        scale = (100, 100) if generation == "molmo" else (width, height)
        gold = [(point.x * scale[0], point.y * scale[1]) for point in question.points]
        result = pointing(text, gold, masks, reply.size, reference_quirks=True, generation=generation)
        return _shares(result), False, groups
    unparsed = reply.result.status not in ("ok", "none")
    if unparsed:
        # An unparsed reply is not the answer "none".
        return _shares(PointingScore(0.0, 0.0)), True, groups
    points = [(result.point.x * width, result.point.y * height) for result in reply.result.points]
    return _shares(score_points(points, [(p.x * width, p.y * height) for p in question.points], masks)), False, groups


def _shares(score: PointingScore) -> Scores:
    return {"f1": float(score.f1), "precision": float(score.precision), "recall": float(score.recall)}


def _clock(question: Question, reply: Reply, quirks: bool) -> tuple[Scores, bool, tuple[str, ...]]:
    answer = _only_answer(question)
    time = re.fullmatch(r"(\d{1,2}):(\d{2})(?::\d{2})?", answer.strip())
    if time is None and ":" in answer:
        raise ValueError(f"expected a time like 10:09 as the answer, got {answer!r}")
    # An answer in words means that no time is shown.
    hour, minute = (int(time[1]), int(time[2])) if time else (-1, -1)
    result = clock(reply.text, hour, minute, bench=True, reference_quirks=quirks)
    names = {
        "right within a minute": "overall_close",
        "exact": "overall_exact",
        "hour": "hour_correct",
        "minute": "minute_close",
    }
    scores: Scores = {ours: result[name] for ours, name in names.items() if name in result}
    return scores, hour >= 0 and ":" not in reply.text, _kind(question)


def _kept(question: Question, reply: Reply, quirks: bool) -> tuple[Scores, bool, tuple[str, ...]]:
    """Keep a reply that a judge scores later."""
    return {}, not reply.text.strip(), _kind(question)


METRICS: Mapping[str, Metric] = {
    "kept": _kept,
    "vqa": _vqa,
    "a_okvqa": _a_okvqa,
    "anls": _anls,
    "relaxed": _relaxed,
    "exact": _exact,
    "choice": _choice,
    "mmmu": _mmmu,
    "math_vista": _math_vista,
    "real_world_qa": _real_world_qa,
    "counting": _counting,
    "pointing": _pointing,
    "clock": _clock,
}

_BY_STYLE = {
    "vqa": ("vqa2", "text_vqa", "okvqa", "a_okvqa_da", "st_qa"),
    "anls": ("doc_qa", "info_qa"),
    "relaxed": ("chart_qa", "dv_qa", "figure_qa", "plot_qa"),
    "counting": ("point_count", "count_then_point", "only_count", "tally_qa"),
    "pointing": ("pointing",),
    "clock": ("clocks",),
}
METRIC_OF_STYLE = {style: metric for metric, styles in _BY_STYLE.items() for style in styles}
"""The metric of a user's own question: multiple choice if it has options, else exact match."""


def score(metric: str, question: Question, reply: Reply) -> ReplyScores:
    """Score a reply; an empty one in words is unparsed and right about nothing.

    Args:
        metric: one of :data:`METRICS`, or "by_style".
        question: the question.
        reply: the reply.

    Raises:
        ValueError: the question has no reference answer.
    """
    if metric == "by_style":
        metric = "choice" if question.options else METRIC_OF_STYLE.get(question.style, "exact")
    scores, unparsed, groups = METRICS[metric](question, reply, False)
    try:
        reference, _, _ = METRICS[metric](question, reply, True)
    except ReferenceFailure:
        reference = {}
    if reply.result is None and not reply.text.strip():
        # For a clock that shows no time, for one, any words without a time are right.
        scores, unparsed = {name: type(value)() for name, value in scores.items()}, True
    return ReplyScores(scores=scores, reference=reference, unparsed=unparsed, groups=groups)
