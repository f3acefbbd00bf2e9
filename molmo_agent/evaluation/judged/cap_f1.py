"""Cap F1: precision and recall of the statements of a caption against transcripts of spoken descriptions.

Recall is the share of the transcripts' statements that the caption makes; precision is the share of the caption's
statements that are consistent with the raw transcripts. Both are averaged over the images, and F1 is computed from the
two means (arXiv 2409.17146 v2, appendix C).
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from molmo_agent.evaluation.judged.agreement import agreement
from molmo_agent.evaluation.judged.judge import (
    Judge,
    UnreadableJudgement,
    numbered,
    prompt_text,
    prompt_version,
    read_numbered,
    read_texts,
)

MAX_TRANSCRIPTS = 6
"""More transcripts of an image are ignored, as the published evaluation has up to six."""

PROMPTS = ("caption_statements", "transcript_statements", "match", "consistent")


@dataclass(frozen=True, slots=True, kw_only=True)
class CaptionVerdict:
    """What a judge says of one caption."""

    # The statements of the caption.
    statements: tuple[str, ...]
    # Whether each is consistent with the transcripts.
    consistent: tuple[bool, ...]
    # The statements of the transcripts; at least one.
    references: tuple[str, ...]
    # The number of the caption's statement that matches each, from 1; 0 for none.
    matches: tuple[int, ...]

    @property
    def precision(self) -> float:
        """Return the share of consistent statements; 0 for a caption that states nothing."""
        return sum(self.consistent) / len(self.consistent) if self.consistent else 0.0

    @property
    def recall(self) -> float:
        """Return the share of the transcripts' statements that the caption makes."""
        return sum(number > 0 for number in self.matches) / len(self.matches)


def judge_caption(judge: Judge, caption: str, transcripts: Sequence[str]) -> CaptionVerdict:
    """Split caption and transcripts into statements and compare them: at most four requests.

    Args:
        judge: the judge.
        caption: the model's reply.
        transcripts: descriptions of the same image, of which the first six count.

    Raises:
        UnreadableJudgement: the judge finds no statement in the transcripts, or cannot be understood.
        ModelError: see :meth:`Judge.judge`.
    """
    transcripts = list(transcripts[:MAX_TRANSCRIPTS])
    spoken = prompt_text("transcript_statements", text=_quoted(transcripts))
    references = judge.judge(spoken, read_texts)
    if not references:
        raise UnreadableJudgement(f"{judge.name} finds no statement in the transcripts")
    statements: tuple[str, ...] = ()
    if caption.strip():
        statements = judge.judge(prompt_text("caption_statements", text=_quoted(caption)), read_texts)
    consistent, matches = compare(judge, statements, references, transcripts)
    return CaptionVerdict(statements=statements, consistent=consistent, references=references, matches=matches)


def compare(
    judge: Judge, statements: Sequence[str], references: Sequence[str], transcripts: Sequence[str]
) -> tuple[tuple[bool, ...], tuple[int, ...]]:
    """Return for each statement whether it is consistent, and for each reference its match, see CaptionVerdict.

    Raises:
        ModelError: see :meth:`Judge.judge`.
    """
    if not statements:
        return (), (0,) * len(references)

    def read_flags(value: Any) -> tuple[bool, ...]:
        flags = read_numbered(value, len(statements))
        if not all(isinstance(flag, bool) for flag in flags):
            raise ValueError("expected true or false for each statement")
        return tuple(flags)

    def read_matches(value: Any) -> tuple[int, ...]:
        numbers = read_numbered(value, len(references))
        if not all(type(number) is int and 0 <= number <= len(statements) for number in numbers):
            raise ValueError(f"expected a number from 0 to {len(statements)} for each statement of the reference")
        return tuple(numbers)

    spoken = _quoted(list(transcripts[:MAX_TRANSCRIPTS]))
    consistent = judge.judge(prompt_text("consistent", transcripts=spoken, statements=numbered(statements)), read_flags)
    match = prompt_text("match", caption=numbered(statements), reference=numbered(references))
    return consistent, judge.judge(match, read_matches)


def _quoted(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def f1(precision: float, recall: float) -> float:
    """Return the harmonic mean; 0 if both are 0."""
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def cap_f1(verdicts: Sequence[CaptionVerdict]) -> dict[str, Any]:
    """Return precision, recall and F1 with 95 % bootstrap intervals over the images, ready for JSON.

    Raises:
        ValueError: no verdicts.
    """
    if not verdicts:
        raise ValueError("expected at least one judged caption, got none")
    pairs = np.array([(one.precision, one.recall) for one in verdicts], dtype=np.float64)
    rows = np.random.default_rng(0).integers(len(pairs), size=(2000, len(pairs)))
    means = np.stack([pairs[:, column][rows].mean(axis=1) for column in (0, 1)], axis=1)
    total = means.sum(axis=1)
    resampled = {
        "precision": means[:, 0],
        "recall": means[:, 1],
        "cap F1": np.divide(2 * means.prod(axis=1), total, out=np.zeros_like(total), where=total > 0),
    }
    precision, recall = (float(mean) for mean in pairs.mean(axis=0))
    means_of = {"precision": precision, "recall": recall, "cap F1": f1(precision, recall)}
    figures: dict[str, Any] = {}
    for name, values in resampled.items():
        low, high = np.quantile(values, (0.025, 0.975))
        figures[name] = {"mean": means_of[name], "n": len(pairs), "low": float(low), "high": float(high)}
    return figures


def judges_agree(
    pairs: Sequence[tuple[CaptionVerdict, tuple[tuple[bool, ...], tuple[int, ...]]]],
) -> dict[str, Any]:
    """Return the agreement of two judges on the same statements, ready for JSON.

    Args:
        pairs: the first judge's verdict, and what the second one says of its statements, see :func:`compare`.
    """
    verdicts = {
        "consistency": ([], []),
        "match": ([], []),
    }  # type: dict[str, tuple[list[bool], list[bool]]]
    for first, (consistent, matches) in pairs:
        for name, ours, theirs in (
            ("consistency", first.consistent, consistent),
            ("match", [n > 0 for n in first.matches], [n > 0 for n in matches]),
        ):
            verdicts[name][0].extend(ours)
            verdicts[name][1].extend(theirs)
    result: dict[str, Any] = {}
    for name, (ours, theirs) in verdicts.items():
        if ours:
            both = agreement(ours, theirs)
            result[name] = {"n": both.n, "share": both.share, "kappa": both.kappa}
    return result


def versions() -> list[str]:
    """Return the versions of the prompts that the scores depend on."""
    return [prompt_version(name) for name in PROMPTS]
