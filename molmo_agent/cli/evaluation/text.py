"""``agent eval text``: benchmarks without images, from files or with lm-evaluation-harness."""

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from molmo_agent.cli.evaluation.output import mapper_of, progress_of, results_folder
from molmo_agent.console import plain_text
from molmo_agent.errors import UsageError
from molmo_agent.files import write_whole

if TYPE_CHECKING:
    from molmo_agent.cli.evaluation.request import Request

TEXT = "text"
TEXT_WHAT = "questions without images: mmlu, mmlu-pro, gsm8k, math, arc-c, humaneval"
TEXT_DATA = "a folder with a folder for each benchmark; without it, lm-evaluation-harness downloads the data"
# Of HumanEval: many programs are of use only if they differ.
_TEMPERATURE = 0.8
_KS = (1, 5, 10, 100)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextOptions:
    """The options of text benchmarks."""

    tasks: str | None
    samples: int | None
    temperature: float | None

    def given(self) -> list[str]:
        """Return the names of the options that are given."""
        options = {"--tasks": self.tasks, "--samples": self.samples, "--temperature": self.temperature}
        return [name for name, value in options.items() if value is not None]


def run_text(console: Console, request: "Request") -> None:
    """Run the benchmarks one after another, print the table and write ``summary.json``.

    Raises:
        UsageError: an option or the data cannot be used, or lm-evaluation-harness is not installed.
        ModelError: the model fails; the same command continues.
    """
    from molmo_agent.evaluation.results.costs import Price
    from molmo_agent.evaluation.results.folder import SUMMARY_FILE
    from molmo_agent.evaluation.texts.run import TextRun
    from molmo_agent.evaluation.texts.tasks import TASKS, find_tasks
    from molmo_agent.registry import is_address

    _check(request)
    tasks = find_tasks(request.text.tasks or ",".join(TASKS))
    if not tasks:
        raise UsageError(f"expected --tasks NAME,... of {', '.join(TASKS)}, got none")
    form: Any = request.choices.get("form") or ("chat" if is_address(request.model) else "continue")
    if form not in ("continue", "chat"):
        raise UsageError(f"expected --form continue or chat, got {form!r}")
    if form == "continue" and is_address(request.model):
        raise UsageError("a model on a server is asked in a chat; leave --form continue out")
    run = TextRun(
        model=request.model,
        form=form,
        sampling=_sampling(request.text),
        limit=request.limit,
        price=Price(request.price) if request.price is not None else None,
    )
    folder = results_folder(TEXT, request.model, request.out)
    rows: dict[str, Any] = {}
    missing: dict[str, str] = {}
    work = _from_files(request, folder, run, tasks) if request.path is not None else _harness(request, folder, run)
    for task in tasks:
        summary = work(task)
        if isinstance(summary, str):
            missing[task.name] = summary
        else:
            rows[task.name] = summary
    _print(console, rows, missing)
    if not rows:
        raise UsageError(f"no text benchmark has a score: {next(iter(missing.values()))}")
    whole = {"model": request.model, "form": form, "tasks": rows, "missing": missing}
    write_whole(folder / SUMMARY_FILE, json.dumps(whole, indent=1) + "\n")
    console.print(plain_text(f"wrote {folder / SUMMARY_FILE}"), soft_wrap=True)


def _check(request: "Request") -> None:
    """Check that no option of another benchmark is given.

    Raises:
        UsageError: one is.
    """
    foreign = [f"--{name}" for name in request.choices if name != "form"]
    foreign += request.judge.given()
    others = {"--max-crops": request.max_crops, "--protocol": request.protocol, "--hub-results": request.hub_results}
    foreign += [name for name, value in others.items() if value is not None]
    if foreign:
        raise UsageError(f"{TEXT} does not accept {', '.join(foreign)}")


def _sampling(options: TextOptions) -> Any:
    from molmo_agent.evaluation.texts.predict import Sampling

    samples = options.samples or 1
    temperature = options.temperature
    if temperature is None:
        temperature = _TEMPERATURE if samples > 1 else 0.0
    if samples > 1 and temperature <= 0:
        raise UsageError(f"{samples} programs at the temperature 0 are all the same; raise --temperature")
    return Sampling(samples=samples, temperature=temperature, ks=tuple(k for k in _KS if k <= samples))


def _from_files(request: "Request", folder: Path, run: Any, tasks: list[Any]) -> Callable[[Any], Any]:
    """Return what runs a benchmark from its files: its summary, or why it has none."""
    from molmo_agent.errors import DataError
    from molmo_agent.evaluation.run import NoQuestionError
    from molmo_agent.evaluation.texts.models import open_text_model
    from molmo_agent.evaluation.texts.run import find_folder, run_files
    from molmo_agent.sandbox.bubblewrap import check_sandbox

    assert request.path is not None
    home: Path = request.path
    mapper = mapper_of(request)
    make = functools.cache(functools.partial(open_text_model, run.model, run.form))

    def work(task: Any) -> Any:
        data = find_folder(task, home, alone=len(tasks) == 1)
        if data is None:
            return f"no folder {' or '.join((task.name, *task.folders))} in {home}"
        if task.kind == "program":
            try:
                check_sandbox()
            except UsageError as error:
                return str(error)
        with progress_of(run.limit or 0, task.name) as progress:
            try:
                return run_files(
                    task,
                    data,
                    folder / task.name,
                    run,
                    # A worker loads its own; here, the benchmarks share one.
                    make=None if request.ray else make,
                    map=mapper,
                    progress=progress,
                )
            except (NoQuestionError, DataError) as error:
                return str(error)

    return work


def _harness(request: "Request", folder: Path, run: Any) -> Callable[[Any], Any]:
    """Return what runs a benchmark with lm-evaluation-harness.

    Raises:
        UsageError: an option that needs files.
    """
    from molmo_agent.evaluation.run import open_model
    from molmo_agent.evaluation.texts.run import run_harness

    if run.form == "chat" or request.ray or run.price is not None:
        raise UsageError(f"{TEXT} in a chat, on Ray and with --price needs --data: {TEXT_DATA.partition(';')[0]}")
    load = functools.cache(functools.partial(open_model, run.model))

    def work(task: Any) -> Any:
        if task.harness is None:
            return f"{task.name} needs --data: {task.files}; its programs run in a sandbox, which the harness has not"
        return run_harness(task, folder / task.name, run, load)

    return work


def _print(console: Console, rows: dict[str, Any], missing: dict[str, str]) -> None:
    columns = ("benchmark", "protocol", "score", "95 % interval", "n", "wrong format", "hash")
    table = Table(*columns, box=None)
    for name, summary in rows.items():
        for row in summary["protocols"]:
            figures = summary["scores"].get(row["name"])
            # The interval is that of the mean over questions.
            interval = f"{figures['low']:.1%} - {figures['high']:.1%}" if figures and row["mean"] == "items" else ""
            mean = "" if row["mean"] == "items" else f", mean of each {row['mean']}"
            cells = (f"{row['score']:.1%}", interval, f"{row['n']}", f"{row['wrong_format']}", row["hash"][:8])
            table.add_row(*map(plain_text, (name, row["name"] + mean, *cells)))
    console.print(table)
    for name, summary in rows.items():
        if summary["cut"]:
            line = f"{name}: the beginning of {summary['cut']} prompts is cut off, which do not fit into the model"
            console.print(plain_text(line), soft_wrap=True)
        if summary["skipped"]:
            first = summary["skipped"][0]
            line = f"{name}: {len(summary['skipped'])} questions could not be asked or scored, such as {first['id']}: "
            console.print(plain_text(line + first["reason"]), soft_wrap=True)
    for name, reason in missing.items():
        console.print(plain_text(f"no score for {name}: {reason}"), soft_wrap=True)
