"""Run a benchmark: ask questions in batches, write a record per question, and summarize the scores.

An interrupted run can be resumed. Parallelism is left to the mapper.
"""

import importlib
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

from molmo_agent.console import warn
from molmo_agent.data.question import Question
from molmo_agent.data.readers.questions_file import QuestionsFile
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.errors import UsageError
from molmo_agent.evaluation.benchmarks import Benchmark
from molmo_agent.evaluation.metrics.interval import bootstrap, wilson
from molmo_agent.evaluation.predict import Predictor, Record
from molmo_agent.evaluation.results.costs import COSTS_FILE, append_costs
from molmo_agent.evaluation.results.folder import RECORDS_FILE, SETTINGS_FILE, same_settings
from molmo_agent.files import open_to_append
from molmo_agent.parse import load_json
from molmo_agent.pointers.trained_crops import limit_crops
from molmo_agent.registry import load_model

BATCH = 8
"""Number of questions per batch. It affects the results: floating point sums depend on the batch."""

Worker = Callable[[Sequence[Question]], list[Record]]
Mapper = Callable[[Callable[[], Worker], Iterable[Sequence[Question]]], Iterator[list[Record]]]
"""Calls the first argument once per worker, applies the result to each batch, and yields results in order."""


def map_here(make: Callable[[], Worker], batches: Iterable[Sequence[Question]]) -> Iterator[list[Record]]:
    """Run the batches in this process; the model is loaded at the first batch."""
    work: Worker | None = None
    for batch in batches:
        work = work or make()
        yield work(batch)


def open_model(name: str, max_crops: int | None = None) -> Any:
    """Load a model by name.

    Args:
        name: see :func:`molmo_agent.registry.load_model`.
        max_crops: maximum number of crops per image; None uses the checkpoint's. A warning names the cost of another
            number than in training.

    Raises:
        UnknownNameError: the model does not exist.
        UsageError: ``max_crops`` is set for a model without crops.
    """
    model: Any = load_model(name)
    if max_crops is not None and (remark := limit_crops(model, max_crops)):
        warn(remark)
    return model


class NoQuestionError(UsageError):
    """A benchmark has no usable question."""


class Questions(Protocol):
    """The questions of a benchmark's reader."""

    @property
    def problems(self) -> Problems:
        """The unusable rows."""
        ...

    def questions(self) -> Iterable[Question]:
        """Return all usable questions, always in the same order."""
        ...


def open_questions(name: str, benchmark: Benchmark, data: Path, options: Mapping[str, str | None]) -> Questions:
    """Open a benchmark's questions; a .jsonl file always holds a user's own questions.

    Args:
        name: of the benchmark.
        benchmark: the benchmark.
        data: folder or file.
        options: of the reader; None uses the default.

    Raises:
        UsageError: the data is missing or unreadable.
    """
    if not data.exists():
        raise UsageError(f"expected {benchmark.data} at {data}, but it does not exist")
    settings: dict[str, Any] = {option: value for option, value in options.items() if value is not None}
    if data.suffix == ".jsonl":
        settings = {"style": benchmark.style, "choice_style": benchmark.choice_style or benchmark.style}
        return QuestionsFile(Source(kind=name, path=str(data), options=settings))
    module, function = benchmark.reader.split(":")
    reader: Callable[[Source], Questions] = getattr(importlib.import_module(module), function)
    return reader(Source(kind=name, path=str(data), options=settings))


def evaluate(
    make: Callable[[], Any],
    benchmark: Benchmark,
    questions: Questions,
    folder: Path,
    settings: Mapping[str, Any],
    *,
    limit: int | None = None,
    map: Mapper = map_here,
    progress: Callable[[int], None] | None = None,
) -> list[Record]:
    """Answer every question that has no record yet, and return all records in the order of the questions.

    Args:
        make: loads the model, once per worker; not called if no question is left.
        benchmark: how to ask and to score.
        questions: the questions.
        folder: of the run; created if missing.
        settings: the values that the records depend on, as JSON. A folder can only be resumed with the same settings.
        limit: maximum number of questions; a larger limit resumes the run.
        map: runs the batches; the records do not depend on it.
        progress: called with the number of finished questions after each batch.

    Raises:
        UsageError: the folder holds a run with other settings.
        NoQuestionError: no question is usable.
    """
    return answer_all(Predictor(make, benchmark), questions, folder, settings, limit=limit, map=map, progress=progress)


def answer_all(
    worker: Callable[[], Worker],
    questions: Questions,
    folder: Path,
    settings: Mapping[str, Any],
    *,
    limit: int | None = None,
    map: Mapper = map_here,
    progress: Callable[[int], None] | None = None,
) -> list[Record]:
    """Answer questions with a worker; everything else as :func:`evaluate`.

    Args:
        worker: makes what answers a batch, once per process.
        questions: the questions.
        folder: of the run.
        settings: the values that the records depend on.
        limit: maximum number of questions.
        map: runs the batches.
        progress: called with the number of finished questions after each batch.

    Raises:
        UsageError: the folder holds a run with other settings.
        NoQuestionError: no question is usable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    same_settings(folder / SETTINGS_FILE, settings)
    finished_records = read_records(folder / RECORDS_FILE)
    order: dict[str, None] = {}
    again: list[Record] = []

    def batches() -> Iterator[list[Question]]:
        rest = iter(islice(questions.questions(), limit))
        # Batch by position among all questions, so that a resumed run forms the same batches.
        while batch := list(islice(rest, BATCH)):
            left = []
            for question in batch:
                if question.id in order:
                    again.append({"id": question.id, "skipped": "duplicate id; asked once"})
                elif question.id not in finished_records:
                    left.append(question)
                order[question.id] = None
            if left:
                yield left

    # A reply may hold a lone surrogate, which UTF-8 cannot encode; its escape is valid JSON.
    with open_to_append(folder / RECORDS_FILE) as file:
        for records in map(worker, batches()):
            costs = [cost for record in records if (cost := record.pop("cost", None))]
            file.write("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
            file.flush()
            append_costs(folder / COSTS_FILE, costs)
            finished_records |= {record["id"]: record for record in records}
            if progress:
                progress(len(finished_records))
    records = [*(finished_records[id_] for id_ in order), *again]
    if not any("reply" in record for record in records):
        reasons = [_reasons(records), questions.problems.summary() if questions.problems.entries else ""]
        raise NoQuestionError(f"no question is usable: {'; '.join(filter(None, reasons)) or 'there is none'}")
    return records


def read_records(path: Path) -> dict[str, Record]:
    """Return the records of a file by their id, and remove a truncated last line from it.

    Raises:
        UsageError: another line is damaged.
    """
    if not path.exists():
        return {}
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        os.truncate(path, len(whole))
    records = {}
    for number, line in enumerate(whole.decode(errors="replace").split("\n")[:-1], 1):
        try:
            record = load_json(line, where="it", nan=True)
            records[record["id"]] = record
        except (UsageError, KeyError, TypeError) as error:
            raise UsageError(
                f"line {number} of {path} is damaged ({error}); remove it and run the same command to resume"
            ) from error
    return records


def _reasons(records: Sequence[Record]) -> str:
    counts = Counter(record["skipped"] for record in records if "skipped" in record)
    return "; ".join(f"{n} x {reason}" for reason, n in counts.most_common(3))


def summarise(records: Sequence[Record], problems: Problems | None = None) -> dict[str, Any]:
    """Return the figures of a run, ready for JSON: fractions in [0, 1] with 95 % intervals.

    Binary scores have Wilson intervals, others bootstrap intervals.

    Args:
        records: of :func:`evaluate`.
        problems: the unusable rows of the data.
    """
    valid = [record for record in records if "skipped" not in record]
    groups: dict[str, list[Record]] = {}
    for record in valid:
        for group in record["groups"]:
            groups.setdefault(group, []).append(record)
    return {
        "questions": len(valid),
        "unparsed": sum(record["unparsed"] for record in valid),
        **_figures(valid),
        "groups": {
            name: {"questions": len(groups[name]), **_figures(groups[name])} for name in sorted(groups, key=_order)
        },
        "skipped": [
            *({"id": record["id"], "reason": record["skipped"]} for record in records if "skipped" in record),
            *({"id": problem.row or "", "reason": str(problem)} for problem in (problems.entries if problems else ())),
        ],
    }


def mean_over(summary: Mapping[str, Any], groups: Sequence[str]) -> dict[str, Any]:
    """Return the unweighted means of the scores over groups that have questions, ready for JSON.

    The intervals combine those of the groups as independent errors.

    Args:
        summary: see :func:`summarise`.
        groups: their names.
    """
    parts = [summary["groups"][name] for name in groups if name in summary["groups"]]
    return {
        "groups": [name for name in groups if name in summary["groups"]],
        "missing": [name for name in groups if name not in summary["groups"]],
        "questions": sum(part["questions"] for part in parts),
        **{kind: _mean_rows([part[kind] for part in parts]) for kind in ("scores", "reference")},
    }


def _mean_rows(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    figures = {}
    for name in parts[0] if parts else ():
        rows = [part[name] for part in parts if name in part]
        if len(rows) < len(parts):
            continue
        mean = sum(row["mean"] for row in rows) / len(rows)
        below, above = (
            math.sqrt(sum((row["mean"] - row[edge]) ** 2 for row in rows)) / len(rows) for edge in ("low", "high")
        )
        counts = sum(row["n"] for row in rows)
        edges = {"low": max(0.0, mean - below), "high": min(1.0, mean + above)}
        figures[name] = {"mean": mean, "n": counts, **edges, "interval": "combined"}
    return figures


def _order(name: str) -> tuple[int, str]:
    return (int(name) if name.isdecimal() else -1, name)


def _figures(records: Sequence[Record]) -> dict[str, Any]:
    return {kind: _means([record[kind] for record in records]) for kind in ("scores", "reference")}


def _means(scores: Sequence[Mapping[str, bool | float]]) -> dict[str, Any]:
    figures = {}
    for name in dict.fromkeys(name for one in scores for name in one):
        values = [one[name] for one in scores if name in one]
        binary = all(isinstance(value, bool) for value in values)
        low, high = wilson(sum(values), len(values)) if binary else bootstrap([float(value) for value in values])
        mean = sum(values) / len(values)
        figures[name] = {
            "mean": mean,
            "n": len(values),
            "low": low,
            "high": high,
            "interval": "Wilson" if binary else "bootstrap",
        }
    return figures
