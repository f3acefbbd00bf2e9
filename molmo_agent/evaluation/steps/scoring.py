"""Score a reply to a step under all protocols of its benchmark at once, as a line of the run's records."""

from collections.abc import Mapping, Sequence
from typing import Any

from molmo_agent.data.question import Question
from molmo_agent.data.readers.steps.step import Step
from molmo_agent.evaluation.grounding.protocols import Protocol
from molmo_agent.evaluation.metrics.android_control import reference_score
from molmo_agent.evaluation.scoring import Reply
from molmo_agent.evaluation.steps import android, rules
from molmo_agent.evaluation.steps.answers import read_answer
from molmo_agent.evaluation.steps.verdict import Answer, Rule

RULES: Mapping[str, Rule] = {**rules.RULES, **android.RULES}
PARTS = ("kind", "place", "text")
"""Of a verdict, besides the step as a whole."""


def score_step(protocols: Sequence[Protocol], question: Question, reply: Reply) -> dict[str, Any]:
    """Return the scores of a reply, and what the summary needs besides, ready for JSON.

    Returns:
        ``scores``: protocol -> whether the step is right; ``parts``: protocol -> part -> value, see
        :class:`~molmo_agent.evaluation.steps.verdict.Verdict`; ``reference``: the score of Molmo's code, for
        AndroidControl; ``unparsed``; ``episode``: ``id``, ``number`` and ``length``; ``facets`` and ``groups``, also by
        the recorded action; ``answered``: the replied action; ``points``: the place of the answer, for drawing.

    Raises:
        ValueError: the question is no step.
    """
    step = step_of(question).in_fractions(reply.size)
    answer = Answer(text=reply.text, act=read_answer(reply.text))
    verdicts = {protocol.name: RULES[protocol.rule](step, answer) for protocol in protocols}
    facets: dict[str, list[str]] = {
        "action": [step.act.kind],
        **{facet: list(values) for facet, values in step.facets.items()},
    }
    place = answer.act.place if answer.act else None
    return {
        "scores": {name: verdict.right for name, verdict in verdicts.items()},
        "parts": {
            name: {part: value for part in PARTS if (value := getattr(verdict, part)) is not None}
            for name, verdict in verdicts.items()
        },
        "reference": _reference(question, reply),
        "unparsed": answer.act is None,
        "episode": {"id": step.episode, "number": step.number, "length": step.length},
        "facets": facets,
        "groups": [f"{facet}: {value}" for facet, values in facets.items() for value in values],
        "answered": answer.act.kind if answer.act else "wrong format",
        "points": [[min(max(side, 0.0), 1.0) for side in place]] if place else [],
    }


def step_of(question: Question) -> Step:
    """Return the step of a question; a person's own question has its action as the answer, and perhaps a box.

    Raises:
        ValueError: its answer is no action.
    """
    if "step" in question.extra:
        step: Step = question.extra["step"]
        return step
    act = read_answer(question.answers[0]) if len(question.answers) == 1 else None
    if act is None:
        raise ValueError(f"expected one action such as Click(50.0, 7.3) as the answer, got {question.answers!r:.80}")
    boxes = question.extra.get("boxes", ())
    targets = tuple((box.left, box.top, box.right, box.bottom) for box in boxes)
    return Step(act=act, episode=question.id, number=0, length=1, targets=targets)


def _reference(question: Question, reply: Reply) -> dict[str, bool]:
    reference = question.extra.get("reference")
    if reference is None:
        return {}
    return {"box_inside": reference_score(reference["action"], reference["box"], reply.text)}
