"""``agent eval molmo-11``: the paper's 11 benchmarks in one run, with one table and one page."""

import json
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from molmo_agent.cli.evaluation.judged import cache_of, judges_of
from molmo_agent.cli.evaluation.output import mapper_of, progress_of, results_folder
from molmo_agent.cli.evaluation.request import Request
from molmo_agent.console import after_the_result, plain_text
from molmo_agent.errors import UsageError
from molmo_agent.files import write_whole

MOLMO_11 = "molmo-11"
MOLMO_11_WHAT = "the Molmo paper's 11 benchmarks and their average, with the published crops"
MOLMO_11_DATA = "a folder with a folder for each benchmark"


def run_molmo_11(console: Console, request: Request) -> None:
    """Run the benchmarks whose folders are there, and print the table with those that are missing.

    Raises:
        UsageError: an option or the folder cannot be used.
        ModelError: the model fails; the same command continues.
    """
    from molmo_agent.evaluation.results.folder import SETTINGS_FILE, SUMMARY_FILE, same_settings
    from molmo_agent.evaluation.suites.molmo_11 import MEMBERS, PAGE_FILE, as_json, failed_line, find_folders, page

    if request.path is None:
        raise UsageError(f"{MOLMO_11} needs --data: {MOLMO_11_DATA}")
    _check(request)
    mapper = mapper_of(request)
    folders = find_folders(request.path)
    folder = results_folder(MOLMO_11, request.model, request.out)
    judges = judges_of(request.judge, folder, MOLMO_11) if request.judge.judge else []
    settings: dict[str, Any] = {
        "benchmark": MOLMO_11,
        "model": request.model,
        "data": str(request.path.resolve()),
        "split": request.choices.get("split"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    same_settings(folder / SETTINGS_FILE, settings)
    # A judge scores replies again; it does not change them.
    settings["judge"] = judges[0].name if judges else None
    run = _Run(request, settings, folder, judges, mapper)
    lines = [
        run.member(member, folders[member.name])
        if member.name in folders
        else failed_line(member, "missing", f"no folder {member.name} or {member.folders[0]} in {request.path}")
        for member in MEMBERS
    ]
    print_lines(console, lines, run.besides)
    write_whole(folder / SUMMARY_FILE, json.dumps(as_json(lines, settings, run.besides), indent=1) + "\n")
    with after_the_result("the page", "run the same command to write it; no question is asked again"):

        def address(name: str) -> str | None:
            return f"{name}/report.html" if (folder / name / "report.html").exists() else None

        write_whole(folder / PAGE_FILE, page(lines, settings, address, run.besides))
        console.print(plain_text(f"page: {folder / PAGE_FILE}"))


def _check(request: Request) -> None:
    """Check that no option of another benchmark is given.

    Raises:
        UsageError: one is.
    """
    foreign = [f"--{name}" for name in request.choices if name != "split"]
    foreign += ["--hints"] if request.judge.hints else []
    foreign += ["--max-crops"] if request.max_crops is not None else []
    if foreign:
        why = "; each benchmark has its published number of crops" if "--max-crops" in foreign else ""
        raise UsageError(f"{MOLMO_11} does not accept {', '.join(foreign)}{why}")
    if request.choices.get("split") not in (None, "test"):
        raise UsageError(
            f"{MOLMO_11} accepts only --split test, for the three sets whose answers are unpublished, "
            f"got {request.choices['split']!r}"
        )


class _Run:
    """Runs the benchmarks one after another with one model."""

    def __init__(
        self, request: Request, settings: dict[str, Any], folder: Path, judges: list[Any], mapper: Any
    ) -> None:
        self._request, self._settings, self._folder, self._judges = request, settings, folder, judges
        self._mapper = mapper
        self._model: Any = None
        # Lines that no average covers.
        self.besides: list[Any] = []

    def _make(self, crops: int) -> Any:
        """Return the model, with this number of crops if it cuts any."""
        from molmo_agent.evaluation.run import open_model
        from molmo_agent.evaluation.suites.molmo_11 import with_crops

        if self._model is None:
            self._model = open_model(self._request.model)
        return with_crops(self._model, crops)

    def member(self, member: Any, data: Path) -> Any:
        """Run one benchmark and return its line."""
        from molmo_agent.data.unusable_rows import NothingUsableError
        from molmo_agent.evaluation.benchmarks import BENCHMARKS
        from molmo_agent.evaluation.run import NoQuestionError, evaluate, open_questions, summarise
        from molmo_agent.evaluation.suites.molmo_11 import (
            BESIDES,
            failed_line,
            line_of,
            open_with_crops,
            options_for,
        )

        benchmark, options = BENCHMARKS[member.name], options_for(member, self._request.choices.get("split"))
        try:
            questions = open_questions(member.name, benchmark, data, options)
        except UsageError as error:
            return failed_line(member, "failed", str(error))
        run = self._folder / member.name
        settings = {"benchmark": member.name, "model": self._request.model, "data": str(data.resolve()), **options}
        # A worker loads its own; here, the benchmarks share one.
        make = (
            partial(open_with_crops, self._request.model, benchmark.crops)
            if self._request.ray
            else partial(self._make, benchmark.crops)
        )
        with progress_of(self._request.limit or 0, member.name) as progress:
            try:
                records = evaluate(
                    make,
                    benchmark,
                    questions,
                    run,
                    settings,
                    limit=self._request.limit,
                    map=self._mapper,
                    progress=progress,
                )
            except (NoQuestionError, NothingUsableError) as error:
                return failed_line(member, "failed", str(error))
        listed = list(questions.questions())
        if member.name == "mathvista" and self._judges:
            from molmo_agent.evaluation.judged.math_answers import extract_answers, save_judge

            save_judge(run, self._judges[0], cache_of(self._folder))
            records = extract_answers(records, listed, self._judges[0])
        summary = summarise(records, questions.problems)
        self._write(member.name, settings, summary, records, listed)
        self.besides += [line_of(one, summary, options) for one in BESIDES if one.name == member.name]
        return line_of(member, summary, options)

    def _write(self, name: str, settings: Any, summary: Any, records: Any, listed: Any) -> None:
        from molmo_agent.evaluation.benchmarks import BENCHMARKS
        from molmo_agent.evaluation.published import compare
        from molmo_agent.evaluation.report import write_report
        from molmo_agent.evaluation.results.folder import SUMMARY_FILE
        from molmo_agent.evaluation.suites.submissions import write_submission

        folder, benchmark = self._folder / name, BENCHMARKS[name]
        comparisons = compare(benchmark.published, summary, settings)
        content = {"settings": settings, "summary": summary, "comparisons": [asdict(row) for row in comparisons]}
        write_whole(folder / SUMMARY_FILE, json.dumps(content, indent=1) + "\n")
        write_submission(name, records, lambda: listed, folder)
        if any(record.get("scores") for record in records):
            write_report(
                folder,
                name=name,
                benchmark=benchmark,
                settings=settings,
                summary=summary,
                comparisons=comparisons,
                records=records,
                questions=listed,
            )


def print_lines(console: Console, lines: list[Any], besides: list[Any]) -> None:
    """Print the table, the averages, and what has no score; no average covers the lines ``besides``."""
    from molmo_agent.evaluation.suites.molmo_11 import MEMBERS, MODELS, averages

    table, elsewhere = Table(box=None, pad_edge=False), list[str]()
    # At 80 columns no cell is folded or cut.
    for name in ("benchmark", "split"):
        table.add_column(name, no_wrap=True)
    for name in ("n", "score", "95 %", *(model.removeprefix("Molmo").lstrip("-") for model in MODELS)):
        table.add_column(name, justify="right", no_wrap=True)
    for line in (*lines, *besides):
        published = [f"{line.published[model]:.1f}" if model in line.published else "" for model in MODELS]
        name, split = f"{line.name}, {line.form.split()[0]}" if line in besides else line.name, line.split
        if split and split != line.published_split:
            elsewhere.append(f"{line.name} {line.published_split}")
            split += "*"
        figures = ("", "-", "")
        if line.score is not None:
            figures = f"{line.questions}", f"{line.score:.1f}", f"{line.low:.1f}-{line.high:.1f}"
        table.add_row(name, split, *figures, *published)
    console.print(table)
    console.print(plain_text(f"published: {', '.join(MODELS)}"))
    if elsewhere:
        console.print(plain_text(f"* published for another split: {', '.join(elsewhere)}"))
    means = averages(lines)
    if means["score"] is not None:
        console.print(
            plain_text(f"average of {len(means['benchmarks'])} of {len(MEMBERS)} benchmarks: {means['score']:.1f}")
        )
    if means["same_split"] is not None:
        theirs = ", ".join(
            f"{model} {means['published'][model]:.1f}" for model in MODELS if model in means["published"]
        )
        console.print(
            plain_text(
                f"the {len(means['same_split_benchmarks'])} with the published split: {means['same_split']:.1f}; "
                f"published, over the same benchmarks: {theirs}"
            )
        )
    for line in lines:
        if line.score is None:
            console.print(plain_text(f"no score for {line.name}: {line.reason}"), soft_wrap=True)
        elif line.skipped:
            console.print(plain_text(f"{line.name}: {line.skipped} questions could not be asked or scored"))
