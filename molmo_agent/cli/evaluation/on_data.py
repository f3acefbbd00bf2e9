"""A benchmark on published data or a person's own: the run, its folder, its page and its tables."""

import json
import re
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from molmo_agent.cli.evaluation import judged as cli_judged
from molmo_agent.cli.evaluation import suites as cli_suites
from molmo_agent.cli.evaluation import text as cli_text
from molmo_agent.cli.evaluation.output import mapper_of
from molmo_agent.cli.evaluation.request import Request
from molmo_agent.console import after_the_result, plain_text
from molmo_agent.errors import UsageError
from molmo_agent.files import write_whole
from molmo_agent.parse import json_lines


def evaluate_data(console: Console, request: Request) -> None:
    """Run a benchmark and write its folder, or one JSON file.

    Raises:
        UsageError: the benchmark does not exist, has no such option, or needs data or Ray.
    """
    from molmo_agent.evaluation.benchmarks import find
    from molmo_agent.evaluation.results.costs import Price
    from molmo_agent.evaluation.results.hub import HubTask, write_hub_results

    if request.benchmark == cli_text.TEXT:
        cli_text.run_text(console, request)
        return
    if foreign := request.text.given():
        raise UsageError(f"{', '.join(foreign)}: only for {cli_text.TEXT}")
    if request.benchmark == cli_judged.CAPTIONS:
        cli_judged.run_captions(console, request)
        return
    if request.benchmark == cli_suites.MOLMO_11:
        cli_suites.run_molmo_11(console, request)
        return
    name, entry = find(request.benchmark)
    if foreign := request.judge.given() if name != "mathvista" else []:
        raise UsageError(f"{name} does not accept {', '.join(foreign)}")
    if request.path is None:
        raise UsageError(f"{name} needs --data: {entry.data}; or a .jsonl of questions (docs/evaluate.md)")
    options = dict(entry.options)
    for option, value in request.choices.items():
        if option not in options:
            raise UsageError(f"{name} does not accept --{option}")
        options[option] = value
    settings = {"benchmark": name, "model": request.model, "data": str(request.path.resolve())}
    settings_and_options: dict[str, Any] = settings | {"max_crops": request.max_crops} | options
    if request.model.startswith(("http://", "https://")):
        from molmo_agent.pointers.remote import how_asked

        settings_and_options["asked"] = how_asked(request.model)
    price = Price(request.price) if request.price is not None else None
    hub_task = HubTask.parse(request.hub_results) if request.hub_results is not None else None
    model_part = re.sub(r"[^A-Za-z0-9.]+", "-", request.model).strip("-")
    target = request.out or Path("runs") / "eval" / f"{name}-{model_part}"
    run = target.with_suffix("") if target.suffix == ".json" else target
    summary = _run(console, settings_and_options, options, run, request, price)
    if hub_task is not None:
        with after_the_result(
            "the files for the Hub", "run the same command to write them; no question is asked again"
        ):
            path, row = write_hub_results(run, hub_task, settings_and_options, summary)
            console.print(plain_text(f"for the Hub: {path}\n{row}"), soft_wrap=True)
    if target != run:
        records = [record for _, record in json_lines(run / "records.jsonl", nan=True)]
        whole = json.loads((run / "summary.json").read_text(encoding="utf-8")) | {"records": records}
        text = json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
        _write(target, text)
        console.print(plain_text(f"wrote {target}"))


def _run(
    console: Console,
    settings: dict[str, Any],
    options: dict[str, str | None],
    folder: Path,
    request: Request,
    price: Any,
) -> dict[str, Any]:
    from molmo_agent.data.readers.questions_file import QuestionsFile
    from molmo_agent.evaluation.benchmarks import find
    from molmo_agent.evaluation.grounding.protocols import find_protocol, with_main
    from molmo_agent.evaluation.published import compare
    from molmo_agent.evaluation.report import write_report
    from molmo_agent.evaluation.results.costs import COSTS_FILE, read_costs, summarise_costs
    from molmo_agent.evaluation.results.folder import SUMMARY_FILE
    from molmo_agent.evaluation.run import evaluate, open_model, open_questions

    name, benchmark = find(settings["benchmark"])
    protocol = find_protocol(name, benchmark.protocols, request.protocol)
    mapper = mapper_of(request)
    questions = open_questions(name, benchmark, Path(settings["data"]), options)
    count = len(questions) if isinstance(questions, QuestionsFile) else None
    total = request.limit if count is None else min(count, request.limit or count)
    with Progress(
        TextColumn("question"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    ) as progress:
        bar = progress.add_task("", total=total)
        records = evaluate(
            partial(open_model, settings["model"], settings["max_crops"]),
            benchmark,
            questions,
            folder,
            settings,
            limit=request.limit,
            map=mapper,
            progress=lambda count: progress.update(bar, completed=count),
        )
    if request.judge.judge:
        records = cli_judged.extract_math_answers(records, list(questions.questions()), request.judge, folder)
    if protocol is not None:
        records = with_main(records, protocol)
    summary = _summary(name, benchmark, protocol, options, records, questions.problems)
    ids = {record["id"] for record in records}
    summary["costs"] = summarise_costs([row for row in read_costs(folder / COSTS_FILE) if row["id"] in ids], price)
    # Published figures do not apply to a user's own questions.
    comparisons = [] if isinstance(questions, QuestionsFile) else compare(benchmark.published, summary, options)
    content = {"settings": settings, "summary": summary, "comparisons": [asdict(row) for row in comparisons]}
    # Print first: the scores must not be lost if a file cannot be written.
    _print(console, summary, comparisons)
    crops = benchmark.crops
    if comparisons and crops != (settings["max_crops"] or 12):
        console.print(f"the published figures use {crops} crops per image (--max-crops {crops})", highlight=False)
    if comparisons and benchmark.caveat:
        console.print(plain_text(benchmark.caveat))
    text = json.dumps(content, indent=1, ensure_ascii=False) + "\n"
    _write(folder / SUMMARY_FILE, text)
    if not _report_unscored(console, name, records, questions, folder):
        return summary
    with after_the_result("the page", "run the same command to write it; no question is asked again"):
        page = write_report(
            folder,
            name=name,
            benchmark=benchmark,
            settings=settings,
            summary=summary,
            comparisons=comparisons,
            records=records,
            questions=questions.questions(),
        )
        console.print(plain_text(f"page: {page}"))
    return summary


def _summary(
    name: str, benchmark: Any, protocol: Any, options: dict[str, str | None], records: list[Any], problems: Any
) -> dict[str, Any]:
    """Return the scores, those of the other protocols, and the means over groups."""
    from molmo_agent.evaluation.grounding.protocols import summarise_protocols
    from molmo_agent.evaluation.run import mean_over, summarise

    summary: dict[str, Any] = summarise(records, problems)
    if protocol is not None:
        summary |= summarise_protocols(name, options, benchmark.protocols, records, protocol)
    if benchmark.mean_over:
        summary["mean over groups"] = mean_over(summary, benchmark.mean_over)
    return summary


def _report_unscored(console: Console, name: str, records: list[Any], questions: Any, folder: Path) -> bool:
    """Write the replies whose answers are unpublished for the benchmark's server; return whether others have scores."""
    from molmo_agent.evaluation.results.folder import RECORDS_FILE
    from molmo_agent.evaluation.suites.submissions import write_submission

    if submission := write_submission(name, records, questions.questions, folder):
        path, missing = submission
        console.print(plain_text(f"for the benchmark's server: {path}; questions without reply: {missing}"))
    if any("skipped" not in record for record in records):
        return True
    console.print(plain_text(f"no question has a published answer; the replies are in {folder / RECORDS_FILE}"))
    return False


def _write(path: Path, text: str) -> None:
    try:
        # A reply may hold a lone surrogate, which UTF-8 cannot encode; its escape is valid JSON.
        write_whole(path, text)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; choose another --out") from error


def _print(console: Console, summary: dict[str, Any], comparisons: list[Any]) -> None:
    from molmo_agent.evaluation.results.costs import lines_of

    table = Table("score", "mean", "95 % interval", "n", "by the authors' code", box=None)
    for score, row in summary["scores"].items():
        reference = summary["reference"].get(score)
        interval = f"{row['low']:.1%} - {row['high']:.1%}"
        reference_mean = f"{reference['mean']:.1%}" if reference else ""
        table.add_row(plain_text(score), f"{row['mean']:.1%}", interval, f"{row['n']}", reference_mean)
    console.print(table)
    if "protocols" in summary:
        _print_protocols(console, summary)
    if means := summary.get("mean over groups"):
        missing = f", without {' and '.join(means['missing'])}" if means["missing"] else ""
        for score, row in means["scores"].items():
            interval = f"{row['low']:.1%} - {row['high']:.1%}"
            line = f"{score}, mean of {', '.join(means['groups'])}{missing}: {row['mean']:.1%} ({interval})"
            console.print(plain_text(line))
    if comparisons:
        table = Table("published", "score", "theirs", "ours", "ours is", "source", box=None)
        for row in comparisons:
            theirs, ours = f"{row.published:.1f}", f"{row.ours:.1f}"
            table.add_row(*map(plain_text, (row.model, row.score, theirs, ours, row.verdict, row.source)))
        console.print(table)
    for line in lines_of(summary["costs"]):
        console.print(line, highlight=False)
    console.print(f"{summary['unparsed']} of {summary['questions']} replies hold no answer", highlight=False)
    if summary["skipped"]:
        lines = [f"{one['id']}: {one['reason']}" if one["id"] else one["reason"] for one in summary["skipped"][:5]]
        line = f"{len(summary['skipped'])} questions could not be asked or scored, such as"
        console.print(Text("\n  ").join(map(plain_text, [line, *lines])))


def _print_protocols(console: Console, summary: dict[str, Any]) -> None:
    """Print the numbers of all protocols for the same answers; the chosen one has a star."""
    table = Table("protocol", "score", "mean of", "all questions", "n", "wrong format", "hash", "note", box=None)
    for row in summary["protocols"]:
        star = " *" if row["name"] == summary["protocol"]["name"] else ""
        mean = "questions" if row["mean"] == "items" else f"each {row['mean']}"
        cells = (f"{row['score']:.1%}", mean, f"{row['items']:.1%}", f"{row['n']}", f"{row['wrong_format']}")
        table.add_row(*map(plain_text, (row["name"] + star, *cells, row["hash"][:8], row["note"])))
    console.print(table)
    near = summary["near_misses"]
    if near["misses"]:
        text = "; ".join(f"{name}: {count}" for name, count in near.items())
        console.print(f"first points outside of the target, {text}", highlight=False)
