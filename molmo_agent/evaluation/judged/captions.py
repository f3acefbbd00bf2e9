"""Write a caption for each image with one length hint, and judge the captions."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from molmo_agent.data.question import Question
from molmo_agent.data.readers.described_images import DescribedImages
from molmo_agent.data.source import Source
from molmo_agent.errors import UsageError
from molmo_agent.evaluation.benchmarks import Benchmark
from molmo_agent.evaluation.judged.cap_f1 import CaptionVerdict, cap_f1, compare, judge_caption, judges_agree, versions
from molmo_agent.evaluation.judged.judge import Judge, UnreadableJudgement, judge_all
from molmo_agent.evaluation.predict import Record
from molmo_agent.files import write_whole

JUDGEMENTS_FILE = "judgements.jsonl"

BENCHMARK = Benchmark(
    what="long captions against transcripts of spoken descriptions: precision, recall and F1, scored by a judge",
    data="a .jsonl with image and transcripts (docs/evaluate.md), or the folder with PixMo-Cap's parquet files",
    reader="molmo_agent.data.readers.described_images:DescribedImages",
    metric="kept",
    style="long_caption",
    max_new_tokens=448,
    crops=12,
    caveat="The published evaluation has 1,500 private images, other prompts, and GPT-4o as the judge.",
)

_Second = tuple[tuple[bool, ...], tuple[int, ...]]


def described_images(data: Path, images: str | None, hint: int | None) -> DescribedImages:
    """Open the images with their transcripts.

    Raises:
        UsageError: the data is missing or unreadable.
    """
    if not data.exists():
        raise UsageError(f"expected {BENCHMARK.data} at {data}, but it does not exist")
    return DescribedImages(Source(kind="cap_f1", path=str(data), options={"images": images, "hint": hint}))


def judge_captions(
    records: Sequence[Record],
    questions: Sequence[Question],
    judges: Sequence[Judge],
    folder: Path,
    *,
    concurrency: int = 8,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Judge the captions of a run, write ``judgements.jsonl``, and return the figures, ready for JSON.

    Args:
        records: of the captions.
        questions: whose answers are the transcripts.
        judges: the first one gives the scores; a second one judges the first one's statements again.
        folder: of the captions.
        concurrency: images judged at the same time.
        progress: called with the number of judged images.

    Raises:
        UsageError: no caption could be judged.
        ModelError: a judge cannot be reached, refuses, or the budget is spent.
    """
    transcripts = {question.id: question.answers for question in questions}
    captions = [record for record in records if "skipped" not in record]
    rows: list[dict[str, Any]] = []
    verdicts: list[CaptionVerdict] = []
    pairs: list[tuple[CaptionVerdict, _Second]] = []
    unjudged: list[dict[str, str]] = []
    work = partial(_judge_record, judges, transcripts)
    for done, (record, result) in enumerate(judge_all(work, captions, concurrency), 1):
        if isinstance(result, UnreadableJudgement):
            unjudged.append({"id": record["id"], "reason": str(result)})
        else:
            verdict, second = result
            verdicts.append(verdict)
            rows.append(_row(record, verdict))
            if second is not None:
                pairs.append((verdict, second))
        if progress:
            progress(done)
    if not verdicts:
        reason = unjudged[0]["reason"] if unjudged else "there is no caption"
        raise UsageError(f"no caption could be judged: {reason}")
    # A reply may hold a lone surrogate, which UTF-8 cannot encode; its escape is valid JSON.
    write_whole(folder / JUDGEMENTS_FILE, "".join(json.dumps(row) + "\n" for row in rows))
    return {
        "scores": cap_f1(verdicts),
        "characters": sum(len(record["reply"]) for record in captions) / len(captions),
        "agreement": judges_agree(pairs) if pairs else {},
        "unjudged": unjudged,
        "skipped": [{"id": one["id"], "reason": one["skipped"]} for one in records if "skipped" in one],
        "judges": [judge.name for judge in judges],
        "prompts": versions(),
    }


def _judge_record(
    judges: Sequence[Judge], transcripts: Mapping[str, Sequence[str]], record: Record
) -> tuple[CaptionVerdict, _Second | None]:
    spoken = transcripts[record["id"]]
    verdict = judge_caption(judges[0], record["reply"], spoken)
    second = None
    if len(judges) > 1:
        try:
            second = compare(judges[1], verdict.statements, verdict.references, spoken)
        except UnreadableJudgement:
            # The scores are the first judge's: without the second there is only no agreement on this image.
            second = None
    return verdict, second


def _row(record: Record, verdict: CaptionVerdict) -> dict[str, Any]:
    return {
        "id": record["id"],
        "caption": record["reply"],
        "precision": verdict.precision,
        "recall": verdict.recall,
        "statements": verdict.statements,
        "consistent": verdict.consistent,
        "references": verdict.references,
        "matches": verdict.matches,
    }
