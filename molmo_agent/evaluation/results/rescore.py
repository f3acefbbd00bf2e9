"""Score the stored replies of a run again, as the protocols and metrics are now; no model is asked.

Records of earlier versions can be scored too: what they lack of a reply's points follows from what they have.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from molmo_agent.data.question import Question
from molmo_agent.episode import LabelledPoint, PointResult, PointStatus
from molmo_agent.errors import ImageError, UsageError
from molmo_agent.evaluation.benchmarks import Benchmark
from molmo_agent.evaluation.predict import Record, prompt_of, record_of
from molmo_agent.evaluation.results.folder import RECORDS_FILE, SETTINGS_FILE, ResultFolder
from molmo_agent.evaluation.scoring import Reply
from molmo_agent.geometry import Point
from molmo_agent.parse import read_json

_STATUS_OF: Mapping[str, PointStatus] = {
    "said none": "none",
    "wrong format": "unparsed",
    "declined": "refused",
    "outside": "out_of_range",
}


def check_target(folder: Path, run: Path) -> None:
    """Check that a folder for a run's new scores holds nothing else, least of all replies that were paid for.

    Args:
        folder: to be written.
        run: whose replies are scored again.

    Raises:
        UsageError: it is the run itself, or holds another one.
    """
    if folder.resolve() == run.resolve():
        raise UsageError(f"expected --out to be another folder than {run}, which keeps its own scores")
    if not (folder / SETTINGS_FILE).exists() and not (folder / RECORDS_FILE).exists():
        return
    settings = read_json(folder / SETTINGS_FILE, nan=True) if (folder / SETTINGS_FILE).is_file() else None
    if not isinstance(settings, dict) or settings.get("rescored_from") != str(run.resolve()):
        raise UsageError(f"expected no other run in {folder}; choose another --out")


def rescore(run: ResultFolder, benchmark: Benchmark, questions: Sequence[Question]) -> list[Record]:
    """Return a run's records with new scores, in their order.

    A reply that cannot be scored again keeps its record, with the reason as "skipped".

    Args:
        run: the result folder.
        benchmark: the benchmark of its settings.
        questions: of its data.

    Raises:
        UsageError: the data has none of the questions.
    """
    by_id: dict[str, Question] = {}
    for question in questions:
        by_id.setdefault(question.id, question)
    if not any(id_ in by_id for id_ in run.records):
        raise UsageError(
            f"expected the data of {run.path} to have its questions, such as {next(iter(run.records), 'none')!r}, got "
            "none of them; name the data that the run asked about with --data"
        )
    return [_again(record, by_id.get(id_), benchmark) for id_, record in run.records.items()]


def _again(record: Mapping[str, Any], question: Question | None, benchmark: Benchmark) -> Record:
    if not isinstance(record.get("reply"), str) or not isinstance(record.get("question"), str):
        return dict(record)
    kept = {
        name: record[name]
        for name in ("id", "question", "reply", "problem", "points", "status", "composed")
        if name in record
    }
    if question is None:
        return {**kept, "skipped": "the data has no question with this id"}
    if not record["question"].endswith(_words_of(question, benchmark)):
        return {**kept, "skipped": "the data asks another question under this id, or this version words it otherwise"}
    try:
        reply = _reply_of(record, question)
    except (ImageError, OSError, ValueError) as error:
        return {**kept, "skipped": f"{error}"}
    again = record_of(benchmark, question, record["question"], reply)
    # What was drawn was read with the image, which only questions about a place need again.
    return {**kept, **again, **({"points": kept["points"]} if "points" in kept and "points" in again else {})}


def _words_of(question: Question, benchmark: Benchmark) -> str:
    """Return how the prompt of a question ends, whatever tag of a style stands before it."""
    return question.text if question.style == "pointing" else prompt_of(question, benchmark.wording, tags=False)


def _reply_of(record: Mapping[str, Any], question: Question) -> Reply:
    """Return the stored reply.

    Raises:
        ImageError, OSError, ValueError: the image or the record is damaged.
    """
    text = record["reply"]
    if question.style != "pointing":
        return Reply(text=text, problem=record.get("problem", ""), size=question.size or (1, 1))
    if question.image is None:
        raise ImageError("the question has no image")
    height, width = question.image().shape[:2]
    return Reply(text=text, result=_result_of(record), size=(width, height))


def _result_of(record: Mapping[str, Any]) -> PointResult:
    points = tuple(LabelledPoint(Point(float(x), float(y))) for x, y in record.get("points", ()))
    read: PointStatus = "unparsed" if record.get("unparsed") else "none"
    guess: PointStatus = "ok" if points else _STATUS_OF.get(record.get("answered", ""), read)
    status: PointStatus = record.get("status") or guess
    composed = record.get("composed")
    if composed is None:
        # A reply in which even the lenient reading found no point is as good as none of the model's own.
        composed = "<point" not in record["reply"] if points else "lenient" in record.get("unread", ())
    return PointResult(status=status, reply=record["reply"], points=points, composed=bool(composed))
