"""Run text benchmarks: from files, or with lm-evaluation-harness; a folder of results for each."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from molmo_agent.data.question import Question
from molmo_agent.data.readers.text_tasks.tasks import TextQuestions, open_text_questions
from molmo_agent.errors import UsageError
from molmo_agent.evaluation.benchmarks import Benchmark
from molmo_agent.evaluation.grounding.protocols import summarise_protocols
from molmo_agent.evaluation.predict import Record
from molmo_agent.evaluation.report import write_report
from molmo_agent.evaluation.results.costs import COSTS_FILE, Price, read_costs, summarise_costs
from molmo_agent.evaluation.results.folder import RECORDS_FILE, SETTINGS_FILE, SUMMARY_FILE, same_settings
from molmo_agent.evaluation.run import Mapper, answer_all, map_here, read_records, summarise
from molmo_agent.evaluation.texts.lm_harness import run_task
from molmo_agent.evaluation.texts.models import Form, TextModel, open_text_model
from molmo_agent.evaluation.texts.predict import Sampling, TextPredictor
from molmo_agent.evaluation.texts.programs import TIME_LIMIT_S
from molmo_agent.evaluation.texts.tasks import TextTask, protocols_of
from molmo_agent.files import write_whole
from molmo_agent.interfaces import PointingModel
from molmo_agent.sandbox.bubblewrap import check_sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class TextRun:
    """A run of one or several text benchmarks with one model."""

    model: str
    form: Form
    # Of HumanEval.
    sampling: Sampling
    limit: int | None = None
    price: Price | None = None


def find_folder(task: TextTask, home: Path, *, alone: bool) -> Path | None:
    """Return the folder of a benchmark in ``home``; None if there is none.

    Args:
        task: the benchmark.
        home: a folder with a folder for each benchmark.
        alone: no other benchmark is run: ``home`` may be its own folder.

    Raises:
        UsageError: there is no such folder, or two have the name of the benchmark.
    """
    if not home.is_dir():
        raise UsageError(f"expected a folder with a folder for each text benchmark at {home}, found none")
    names = {_plain(name) for name in (task.name, *task.folders)}
    paths = sorted(path for path in home.iterdir() if path.is_dir() and _plain(path.name) in names)
    if len(paths) > 1:
        raise UsageError(f"{paths[0]} and {paths[1]} are both {task.name}; rename or move one")
    return paths[0] if paths else home if alone else None


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def run_files(
    task: TextTask,
    data: Path,
    folder: Path,
    run: TextRun,
    *,
    make: Callable[[], TextModel] | None = None,
    map: Mapper = map_here,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Ask the questions of a benchmark's files, write its folder, and return its summary, ready for JSON.

    Args:
        task: the benchmark.
        data: folder with its files.
        folder: of the results.
        run: the model, and how it is asked.
        make: loads the model; by default by its name.
        map: runs the batches.
        progress: called with the number of finished questions.

    Raises:
        DataError: the files are missing.
        UsageError: the model cannot be asked so, or no sandbox can be made.
        ModelError: the model fails; the same command continues.
    """
    if task.kind == "program":
        check_sandbox()
    shots = task.shots if run.form == "continue" else 0
    questions = open_text_questions(task.name, data, shots=shots)
    # What the answers depend on besides model and data.
    options: dict[str, Any] = {"form": run.form, "shots": shots, "max_new_tokens": task.max_new_tokens}
    sampling = run.sampling if task.kind == "program" else Sampling()
    if task.kind == "program":
        options |= {"samples": sampling.samples, "temperature": sampling.temperature, "seconds": TIME_LIMIT_S}
    settings = {"benchmark": task.name, "model": run.model, "data": str(data.resolve()), **options}
    worker = TextPredictor(
        make=make or partial(open_text_model, run.model, run.form),
        task=task,
        form=run.form,
        solved=questions.solved,
        sampling=sampling,
    )
    records = answer_all(worker, questions, folder, settings, limit=run.limit, map=map, progress=progress)
    protocols = protocols_of(task, run.form, sampling.ks)
    summary = summarise(records, questions.problems)
    summary |= summarise_protocols(task.name, options, protocols, records, protocols[0])
    summary["cut"] = sum(record.get("cut", False) for record in records)
    ids = {record["id"] for record in records}
    summary["costs"] = summarise_costs([row for row in read_costs(folder / COSTS_FILE) if row["id"] in ids], run.price)
    _write(task, folder, settings, summary, records, questions)
    return summary


def run_harness(task: TextTask, folder: Path, run: TextRun, load: Callable[[], PointingModel]) -> dict[str, Any]:
    """Run a benchmark with lm-evaluation-harness, write its folder, and return its summary, ready for JSON.

    A finished run is read from its folder; one that was stopped begins again.

    Args:
        task: the benchmark.
        folder: of the results.
        run: the model; it continues texts.
        load: loads the model, a local Molmo.

    Raises:
        UsageError: see :func:`molmo_agent.evaluation.texts.lm_harness.run_task`.
    """
    settings = {"benchmark": task.name, "model": run.model, "data": "lm-evaluation-harness", "limit": run.limit}
    folder.mkdir(parents=True, exist_ok=True)
    same_settings(folder / SETTINGS_FILE, settings)
    stored = read_records(folder / RECORDS_FILE)
    if stored and (folder / SUMMARY_FILE).exists():
        summary: dict[str, Any] = json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))["summary"]
        return summary
    records, protocol = run_task(load(), task.name, limit=run.limit)
    write_whole(folder / RECORDS_FILE, "".join(json.dumps(record) + "\n" for record in records))
    summary = summarise(records)
    main, figures = next(iter(summary["scores"].items()))
    row = protocol | {"score": figures["mean"], "items": figures["mean"], "mean": "items", "n": figures["n"]}
    row |= {"wrong_format": summary["unparsed"], "values": {}, "note": f"{main}, by lm-evaluation-harness"}
    summary |= {"protocol": row, "protocols": [row], "near_misses": {"misses": 0}, "confusion": {}, "cut": 0}
    _write(task, folder, settings, summary, records, TextQuestions(()))
    return summary


def _write(
    task: TextTask,
    folder: Path,
    settings: Mapping[str, Any],
    summary: Mapping[str, Any],
    records: Sequence[Record],
    questions: TextQuestions,
) -> None:
    content = {"settings": settings, "summary": summary, "comparisons": []}
    write_whole(folder / SUMMARY_FILE, json.dumps(content, indent=1) + "\n")
    listed: Sequence[Question] = questions.questions()
    write_report(
        folder,
        name=task.name,
        benchmark=Benchmark(what=task.what, data=task.files, reader="", metric="", style=task.name),
        settings=settings,
        summary=summary,
        comparisons=[],
        records=records,
        questions=listed,
    )
