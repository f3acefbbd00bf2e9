"""``agent eval human``, ``compare`` and ``rescore``: people compare replies; runs are compared, or scored again."""

import contextlib
import json
import secrets
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from typer.core import TyperCommand

from molmo_agent.cli.evaluation.output import print_sheets
from molmo_agent.console import after_the_result, make_console, plain_text
from molmo_agent.errors import UsageError
from molmo_agent.files import write_whole

STUDY_FILE = "study.json"
COMMANDS = typer.Typer()
_Out = Annotated[Path | None, typer.Option(help="Folder of the study, in which the same command resumes.")]


class EvalCommand(TyperCommand):
    """``agent eval BENCHMARK``, where some words in the place of a benchmark are commands of their own."""

    @property
    def commands(self) -> dict[str, Any]:
        """The commands by their words."""
        return typer.main.get_command(COMMANDS).commands  # type: ignore[attr-defined]

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Parse the arguments with the command that they are for."""
        if args and (command := self.commands.get(args[0])):
            return command.make_context(f"{info_name} {args[0]}", args[1:], parent, **extra)
        return super().make_context(info_name, args, parent, **extra)


@COMMANDS.command()
def human(
    replies: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RESULTS...", help="Result folders of agent eval, or one .jsonl of replies."),
    ] = None,
    out: _Out = None,
    report: Annotated[bool, typer.Option("--report", help="Rate the models by the votes of --out; no page.")] = False,
    anchor: Annotated[
        str | None, typer.Option(metavar="MODEL=ELO", help="A model whose rating is set, such as its arena rating.")
    ] = None,
    votes: Annotated[int | None, typer.Option(min=1, help="Number of annotators per match (default 1).")] = None,
    per_pair: Annotated[
        int | None, typer.Option(min=1, help="Maximum number of matches per pair of models (default: every question).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Of the order and the sides (default: random, kept in --out).")
    ] = None,
    categories: Annotated[
        int | None,
        typer.Option(min=1, help="Refuse questions without this many categories of one size (the paper's: 10)."),
    ] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page, on this machine alone; 0: a free one.")] = 0,
) -> None:
    """Let people compare the replies of models, blind, on a page on this machine; then rate the models.

    Votes are saved at once. --report prints Bradley-Terry ratings on the scale of Elo with bootstrap intervals, win
    rates without ties, and how often both replies were good or bad, and writes them as a page.
    """
    folder = out or Path("runs") / "eval" / "human"
    if report:
        if replies:
            raise UsageError(f"--report reads the votes of --out; it does not accept {replies[0]}")
        _report(make_console(), folder, anchor)
        return
    if anchor is not None:
        raise UsageError("--anchor is for --report")
    options = {"votes": votes, "per_pair": per_pair, "seed": seed, "categories": categories}
    _serve(make_console(), replies or [], folder, options, port)


def _serve(console: Console, paths: list[Path], folder: Path, options: dict[str, int | None], port: int) -> None:
    from molmo_agent.evaluation.human.schedule import Schedule
    from molmo_agent.evaluation.human.server import make_app, serve
    from molmo_agent.evaluation.human.study import check_categories, read_study
    from molmo_agent.evaluation.results.folder import same_settings
    from molmo_agent.parse import read_json

    study = read_study(paths)
    if options["categories"] is not None:
        check_categories(study, options["categories"])
    if study.left_out:
        console.print(f"{study.left_out} questions are left out: not every model has a reply", highlight=False)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / STUDY_FILE
    before = read_json(path) if path.exists() else {}
    before = before if isinstance(before, dict) else {}
    seed = options["seed"] if options["seed"] is not None else before.get("seed", secrets.randbelow(2**31))
    # Sides depend on the seed and the matches: a study resumes only with the same.
    settings = {
        "results": [str(path.resolve()) for path in paths],
        "models": list(study.models),
        "questions": len(study.questions),
        "seed": seed,
        "per_pair": options["per_pair"],
    }
    same_settings(path, settings)
    schedule = Schedule(study, seed=seed, votes_per_match=options["votes"] or 1, per_pair=options["per_pair"])
    app = make_app(schedule, folder)
    pairs = len(study.models) * (len(study.models) - 1) // 2
    console.print(
        f"{len(schedule.matches)} matches: {len(study.models)} models, {pairs} pairs, {len(study.questions)} questions",
        highlight=False,
    )

    def on_start(address: str) -> None:
        console.print(plain_text(f"page: {address} (Ctrl-C ends; votes are in {folder})"), soft_wrap=True)

    # Ctrl-C is how this command ends.
    with contextlib.suppress(KeyboardInterrupt):
        serve(app, port, on_start)
    console.print(plain_text(f"ratings: agent eval human --report --out {folder}"), soft_wrap=True)


def _report(console: Console, folder: Path, anchor: str | None) -> None:
    from molmo_agent.evaluation.human.ratings import rate
    from molmo_agent.evaluation.human.report import sheets_of, write_report
    from molmo_agent.evaluation.human.votes import VOTES_FILE, read_votes

    path = folder / VOTES_FILE
    if not path.is_file():
        raise UsageError(f"expected votes at {path}, but there are none; agent eval human RESULTS... --out {folder}")
    figures = rate(read_votes(path), anchor=_read_anchor(anchor))
    print_sheets(console, sheets_of(figures))
    for remark in figures["remarks"]:
        console.print(plain_text(remark, "yellow"), soft_wrap=True)
    with after_the_result("the page", f"the votes are in {folder}"):
        console.print(plain_text(f"page: {write_report(folder, figures)}"), soft_wrap=True)


def _read_anchor(text: str | None) -> tuple[str, float] | None:
    """Return (model, rating).

    Raises:
        UsageError: the text has another form.
    """
    if text is None:
        return None
    model, _, rating = text.rpartition("=")
    try:
        value = float(rating)
    except ValueError:
        value = float("nan")
    if not model or not -10_000 <= value <= 10_000:
        raise UsageError(f"expected --anchor MODEL=ELO, such as Molmo-7B-D=1056, got {text!r}")
    return model, value


@COMMANDS.command()
def compare(
    first: Annotated[Path, typer.Argument(help="Result folder of agent eval; also that of text or molmo-11.")],
    second: Annotated[Path, typer.Argument(help="Another one, with the same benchmark, data and options.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the bootstrap.")] = 0,
    out: Annotated[Path | None, typer.Option(help="A .json for the figures.")] = None,
) -> None:
    """Compare two runs on the questions that both answered: paired bootstrap, also by group.

    Runs with other settings than the model's are refused.
    """
    from molmo_agent.evaluation.results.compare import compare_suites, comparison_sheets
    from molmo_agent.evaluation.results.folder import read_result_folders

    figures = compare_suites(read_result_folders(first), read_result_folders(second), seed=seed)
    console = make_console()
    parts = figures["benchmarks"]
    for name, part in parts.items():
        if name:
            console.print(plain_text(name, "bold"))
        print_sheets(console, comparison_sheets(part))
    if figures["left_out"]:
        console.print(plain_text(f"only in one of them: {', '.join(figures['left_out'])}"))
    # Of one benchmark, its figures alone.
    figures = parts.get("", figures)
    if out is not None:
        try:
            write_whole(out, json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
        except OSError as error:
            raise UsageError(f"cannot write {out}: {error.strerror}; choose another --out") from error
        console.print(plain_text(f"wrote {out}"), soft_wrap=True)


@COMMANDS.command()
def rescore(
    run: Annotated[Path, typer.Argument(help="Result folder of agent eval.")],
    protocol: Annotated[str | None, typer.Option(help="How answers become the main score; all are reported.")] = None,
    data: Annotated[Path | None, typer.Option(help="Where the data is now (default: as in the run).")] = None,
    images: Annotated[str | None, typer.Option(help="Where the images are now, for data without them.")] = None,
    out: Annotated[Path | None, typer.Option(help="Another folder for the result (default: RUN-rescored).")] = None,
) -> None:
    """Score the stored replies of a run again, as the protocols and metrics are now. No model or judge is asked.

    RUN is not changed. The result is a folder of the same kind, for agent eval compare and human.
    """
    from molmo_agent.cli.evaluation.judged import extract_math_answers_again
    from molmo_agent.cli.evaluation.on_data import report_run
    from molmo_agent.evaluation.benchmarks import find
    from molmo_agent.evaluation.grounding.protocols import find_protocol
    from molmo_agent.evaluation.judged.math_answers import JUDGE_FILE
    from molmo_agent.evaluation.results.costs import COSTS_FILE
    from molmo_agent.evaluation.results.folder import RECORDS_FILE, SETTINGS_FILE, read_result_folder
    from molmo_agent.evaluation.results.rescore import check_target
    from molmo_agent.evaluation.results.rescore import rescore as score_again
    from molmo_agent.evaluation.run import open_questions

    before = read_result_folder(run)
    folder = out or run.with_name(f"{run.resolve().name}-rescored")
    check_target(folder, run)
    name, benchmark = find(before.settings["benchmark"])
    find_protocol(name, benchmark.protocols, protocol)
    options = {option: before.settings.get(option, default) for option, default in benchmark.options.items()}
    if images is not None and "images" not in options:
        raise UsageError(f"{name} does not accept --images")
    options |= {"images": images} if images is not None else {}
    place = data or Path(before.settings["data"])
    settings = {**before.settings, **options, "data": str(place.resolve()), "rescored_from": str(run.resolve())}
    questions = open_questions(name, benchmark, place, options)
    console, listed = make_console(), list(questions.questions())
    records = score_again(before, benchmark, listed)
    if name == "mathvista":
        records = extract_math_answers_again(console, run, records, listed)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / SETTINGS_FILE, json.dumps(settings, indent=1) + "\n")
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        write_whole(folder / RECORDS_FILE, lines)
        for kept in (COSTS_FILE, JUDGE_FILE):
            if (run / kept).is_file():
                write_whole(folder / kept, (run / kept).read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"cannot write {folder}: {error.strerror}; choose another --out") from error
    report_run(console, settings, options, folder, questions, records, protocol=protocol)
    console.print(plain_text(f"scored again, without asking: {folder}"), soft_wrap=True)
