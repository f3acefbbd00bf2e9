"""Score a reply to a question of a grounding benchmark under all protocols of the benchmark at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from molmo_agent.data.question import Question
from molmo_agent.data.readers.grounding.targets import Mask, Target
from molmo_agent.evaluation.grounding.protocols import Protocol
from molmo_agent.evaluation.grounding.rules import RULES, Answer, answer_of, distance_px
from molmo_agent.evaluation.scoring import Reply, Scores, masks_of


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundingScores:
    """The scores of a reply, and what the report needs besides."""

    # By protocol; without those that leave the question out.
    scores: Scores
    # The readings, see Protocol, that find the wrong format; and whether the strict one does.
    unread: list[str]
    wrong_format: bool
    # Name of a group -> values of this question.
    facets: dict[str, list[str]]
    # "pointed", "said none", "wrong format", "declined" or "outside".
    answered: str
    # Distance of the first point from the target in pixels of the image; None without a point or a target.
    miss_px: float | None

    @property
    def groups(self) -> list[str]:
        """The values as groups of one list."""
        return [f"{facet}: {value}" for facet, values in self.facets.items() for value in values]


_ANSWERED = {"ok": "pointed", "none": "said none", "unparsed": "wrong format", "refused": "declined"}


def score_grounding(protocols: Sequence[Protocol], question: Question, reply: Reply) -> GroundingScores:
    """Score a reply under all protocols.

    Raises:
        ValueError: the question has no target.
    """
    target = target_of(question)
    facets = {facet: list(values) for facet, values in target.facets.items()}
    word = question.extra.get("word")
    if word is not None:
        return _of_word(protocols, word, reply, facets)
    if reply.result is None:
        raise ValueError("expected the answer of a model that points")
    if target.mask is not None:
        # Read once for all protocols.
        mask = target.mask()
        target = replace(target, mask=lambda: mask)
    answers = {
        reading: answer_of(reply.result, reply.size, lenient=reading == "lenient") for reading in ("strict", "lenient")
    }
    scores: Scores = {}
    for protocol in protocols:
        answer = answers[protocol.reading]
        value = RULES[protocol.rule](target, answer)
        if value is not None:
            scores[protocol.name] = value
    strict = answers["strict"]
    return GroundingScores(
        scores=scores,
        unread=[reading for reading, answer in answers.items() if answer.wrong_format],
        wrong_format=strict.wrong_format,
        facets=facets,
        answered="said none" if strict.absent else _ANSWERED.get(reply.result.status, "outside"),
        miss_px=_miss(target, strict),
    )


def _miss(target: Target, answer: Answer) -> float | None:
    if not answer.points:
        return None
    distance = distance_px(target, answer.points[0], answer.size)
    return None if distance is None else round(distance, 3)


def _of_word(protocols: Sequence[Protocol], word: str, reply: Reply, facets: dict[str, list[str]]) -> GroundingScores:
    """Score a reply that must start with a word: yes or no."""
    text = reply.text.strip().lower()
    unread = not text.startswith(("yes", "no"))
    scores: Scores = {
        protocol.name: text.startswith(word)
        for protocol in protocols
        if not (unread and "wrong format left out" in protocol.rule)
    }
    answered = "wrong format" if unread else f"said {'yes' if text.startswith('yes') else 'no'}"
    return GroundingScores(
        scores=scores,
        unread=["strict", "lenient"] if unread else [],
        wrong_format=unread,
        facets=facets,
        answered=answered,
        miss_px=None,
    )


def target_of(question: Question) -> Target:
    """Return the target of a question; for a person's own questions, of their points with boxes or masks.

    Raises:
        ValueError: it has none.
    """
    if "target" in question.extra:
        target: Target = question.extra["target"]
        return target
    if question.points is None:
        raise ValueError("expected points with boxes or masks to compare with, got none")
    if not question.points:
        return Target(kind="absent")
    boxes = question.extra.get("boxes", ())
    if len(boxes) == 1:
        (box,) = boxes
        return Target(kind="box", frame="fractions", box=(box.left, box.top, box.right, box.bottom))
    return Target(kind="mask", mask=partial(_union, question))


def _union(question: Question) -> Mask:
    union = np.logical_or.reduce(masks_of(question))
    return np.repeat((union * 255).astype(np.uint8)[:, :, None], 3, axis=2)
