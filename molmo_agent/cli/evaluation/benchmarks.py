"""``agent eval``: scores a model on a benchmark; prints the scores and writes records and a page to a folder."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from molmo_agent.cli.evaluation import injection as cli_injection
from molmo_agent.cli.evaluation import judged as cli_judged
from molmo_agent.cli.evaluation import nano_suite as cli_suite
from molmo_agent.cli.evaluation import real as cli_real
from molmo_agent.cli.evaluation import suites as cli_suites
from molmo_agent.cli.evaluation import text as cli_text
from molmo_agent.cli.evaluation.on_data import evaluate_data
from molmo_agent.cli.evaluation.request import Request
from molmo_agent.console import make_console
from molmo_agent.errors import UsageError

_Families = Annotated[str | None, typer.Option(metavar="NAME,...", help="injection: only orders in these places.")]
_Policy = Annotated[
    str | None, typer.Option(help="injection: the models' policy: a name, a plugin's, or screen-reading.")
]
_Confirm = Annotated[str | None, typer.Option(metavar="GUARD,...", help="injection: never, risky, risky-yes, always.")]
_MinConfidence = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="real-screens, real-tasks, injection: replaces the model's threshold; 0 disables it."
    ),
]
_Images = Annotated[str | None, typer.Option(help="Folder of the images, if the data does not hold them.")]
_Workers = Annotated[int, typer.Option(min=1, help="Number of models on Ray.")]
_Quick = Annotated[bool, typer.Option("--quick", help="nano-suite, injection: only a few screens of each kind.")]
_Check = Annotated[bool, typer.Option("--check", help="real-screens, injection: exit code 1 if a goal is missed.")]
_Only = Annotated[
    str | None, typer.Option(metavar="NAME,...", help="real-tasks: only these tasks, separated by commas.")
]
_Limit = Annotated[
    int | None, typer.Option(min=1, help="Maximum number of questions; a larger number resumes the run.")
]
_MaxCrops = Annotated[
    int | None, typer.Option(min=1, help="Maximum number of crops per image (default: the checkpoint's).")
]
_Protocol = Annotated[
    str | None,
    typer.Option(help="How answers become the main score (docs/evaluate.md); all are reported, without new answers."),
]
_Price = Annotated[
    str | None, typer.Option(metavar="IN,OUT", help="US dollars per million tokens: print and record the cost.")
]
_HubResults = Annotated[
    str | None,
    typer.Option(metavar="OWNER/DATASET:TASK", help="Write files that publish the score on the Hub; upload nothing."),
]
_Out = Annotated[
    Path | None, typer.Option(help="Folder of the run, in which the same command resumes; or a .json for all results.")
]
# Options of benchmarks on data alone.
_OF_DATA = ("--price", "--hub-results")

_Model = Annotated[
    str | None,
    typer.Option(
        help="nano, a checkpoint, or a server's address; for pointing also auto, random or centre. Default: nano; "
        "auto for injection, real-screens and real-tasks. injection takes several, separated by commas."
    ),
]
_Judge = Annotated[
    str | None,
    typer.Option(
        metavar="URL#MODEL,...", help="cap-f1, mathvista: the judge; a second one for cap-f1 measures the agreement."
    ),
]
_JudgeBudget = Annotated[int | None, typer.Option(min=0, help="Maximum number of requests to judges.")]
_Hints = Annotated[
    str | None, typer.Option(metavar="N,...", help="cap-f1: length hints, in units of 15 characters, or none (65).")
]
_Form = Annotated[
    str | None,
    typer.Option(
        help="android_control: ll, hl_ll, hl or hl_cot. clocks: image or crop. text: continue or chat. "
        "Grounding: which copy."
    ),
]
_Subsplit = Annotated[
    str | None, typer.Option(help="android_control: only the episodes of this subsplit, such as IDD.")
]
_Episodes = Annotated[
    int | None, typer.Option(min=0, help="nano-suite: episodes per list of MiniWoB++ tasks (default 60).")
]
_Tasks = Annotated[str | None, typer.Option(metavar="NAME,...", help="text: only these benchmarks.")]
_Samples = Annotated[int | None, typer.Option(min=1, max=1000, help="text: programs per problem of HumanEval.")]
_Temperature = Annotated[
    float | None, typer.Option(min=0, max=2, help="text: of HumanEval's programs (default 0; 0.8 for several).")
]


def evaluate(
    benchmark: Annotated[str | None, typer.Argument(help="Name of the benchmark; --list prints them.")] = None,
    folder: Annotated[Path | None, typer.Argument(metavar="[DATA]", help="The same as --data.")] = None,
    data: Annotated[Path | None, typer.Option(help="The benchmark's files, or a .jsonl of questions.")] = None,
    model: _Model = None,
    list_all: Annotated[bool, typer.Option("--list", help="List the benchmarks.")] = False,
    form: _Form = None,
    protocol: _Protocol = None,
    split: Annotated[str | None, typer.Option(help="Split of the data, such as val or test.")] = None,
    subsplit: _Subsplit = None,
    images: _Images = None,
    limit: _Limit = None,
    max_crops: _MaxCrops = None,
    ray: Annotated[bool, typer.Option("--ray", help="Run the model on Ray.")] = False,
    workers: _Workers = 1,
    address: Annotated[str | None, typer.Option(help="A Ray cluster, such as ray://head:10001.")] = None,
    quick: _Quick = False,
    episodes: _Episodes = None,
    min_confidence: _MinConfidence = None,
    only: _Only = None,
    check: _Check = False,
    families: _Families = None,
    policy: _Policy = None,
    confirm: _Confirm = None,
    price: _Price = None,
    hub_results: _HubResults = None,
    judge: _Judge = None,
    judge_budget: _JudgeBudget = None,
    hints: _Hints = None,
    tasks: _Tasks = None,
    samples: _Samples = None,
    temperature: _Temperature = None,
    seed: Annotated[int | None, typer.Option(help="injection: another seed makes other screens and orders.")] = None,
    out: _Out = None,
) -> None:
    """Score a model on a benchmark and write a page. agent eval compare and agent eval human compare results."""
    console = make_console()
    if list_all:
        _list_benchmarks(console)
        return
    if model is None:
        model = "auto" if benchmark in (cli_injection.NAME, cli_real.SCREENS, cli_real.TASKS) else "nano"
    if data and folder:
        raise UsageError(f"expected the data once, got {folder} and --data {data}")
    path = data or folder
    flags = {"--data": path, "--limit": limit, "--max-crops": max_crops, "--ray": ray or address or None}
    flags |= {"--price": price, "--hub-results": hub_results}
    injection = cli_injection.InjectionOptions(families=families, policy=policy, confirm=confirm, seed=seed)
    own = _OwnScreens(
        quick=quick, episodes=episodes, check=check, only=only, min_confidence=min_confidence, injection=injection
    )
    if _evaluate_own_screens(console, benchmark, model, out, own, flags):
        return
    if benchmark is None:
        raise UsageError("expected the name of a benchmark; agent eval --list prints them")
    choices = {"form": form, "split": split, "subsplit": subsplit, "images": images}
    evaluate_data(
        console,
        Request(
            benchmark=benchmark,
            model=model,
            out=out,
            path=path,
            choices={option: value for option, value in choices.items() if value is not None},
            max_crops=max_crops,
            limit=limit,
            ray=ray or address is not None,
            workers=workers,
            address=address,
            protocol=protocol,
            price=price,
            hub_results=hub_results,
            judge=cli_judged.JudgeOptions(judge=judge, budget=judge_budget, hints=hints),
            text=cli_text.TextOptions(tasks=tasks, samples=samples, temperature=temperature),
        ),
    )


def _list_benchmarks(console: Console) -> None:
    from molmo_agent.evaluation.benchmarks import BENCHMARKS

    table = Table(box=None)
    for column in ("benchmark", "description", "--data"):
        table.add_column(column, overflow="fold")
    for name, row in BENCHMARKS.items():
        table.add_row(name, row.what, row.data)
    table.add_row(cli_suites.MOLMO_11, cli_suites.MOLMO_11_WHAT, cli_suites.MOLMO_11_DATA)
    table.add_row(cli_judged.CAPTIONS, cli_judged.CAPTIONS_WHAT, cli_judged.CAPTIONS_DATA)
    table.add_row(cli_text.TEXT, cli_text.TEXT_WHAT, cli_text.TEXT_DATA)
    table.add_row(cli_suite.NAME, cli_suite.WHAT, "nothing")
    table.add_row(cli_real.SCREENS, cli_real.SCREENS_WHAT, cli_real.SCREENS_DATA)
    table.add_row(cli_real.TASKS, cli_real.TASKS_WHAT, "nothing")
    table.add_row(cli_injection.NAME, cli_injection.WHAT, "nothing")
    console.print(table)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OwnScreens:
    """The options of the evaluations on drawn and on real screens alone."""

    quick: bool
    episodes: int | None
    check: bool
    only: str | None
    min_confidence: float | None
    injection: cli_injection.InjectionOptions


def _evaluate_own_screens(
    console: Console,
    benchmark: str | None,
    model: str,
    out: Path | None,
    options: _OwnScreens,
    flags: Mapping[str, Any],
) -> bool:
    """Run an evaluation on drawn or real screens; return False if the name is that of another benchmark.

    Raises:
        UsageError: an option that this benchmark does not have.
    """
    if benchmark == cli_injection.NAME:
        _check_injection(options, flags)
        cli_injection.run_injection(
            console,
            model,
            out,
            options.injection,
            quick=options.quick,
            check=options.check,
            min_confidence=options.min_confidence,
        )
        return True
    if foreign := options.injection.given():
        raise UsageError(f"{', '.join(foreign)}: only for {cli_injection.NAME}")
    if benchmark == cli_suite.NAME:
        if foreign := [option for option, value in flags.items() if value is not None]:
            raise UsageError(f"{benchmark} does not accept {', '.join(foreign)}; it draws its own screens")
        cli_suite.run_nano_suite(console, model, out, quick=options.quick, episodes=options.episodes)
        return True
    if options.quick or options.episodes is not None:
        raise UsageError(f"--quick and --episodes are only for {cli_suite.NAME}, --quick also for {cli_injection.NAME}")
    confidence = options.min_confidence
    own = benchmark in (cli_real.SCREENS, cli_real.TASKS)
    if own and (foreign := [option for option in _OF_DATA if flags[option] is not None]):
        raise UsageError(f"{benchmark} does not accept {', '.join(foreign)}")
    if benchmark == cli_real.SCREENS:
        cli_real.run_real_screens(
            console, flags["--data"], model, out, min_confidence=confidence, limit=flags["--limit"], check=options.check
        )
        return True
    if options.check:
        raise UsageError(f"--check is only for {cli_real.SCREENS}")
    if benchmark == cli_real.TASKS:
        cli_real.run_real_tasks(console, model, out, min_confidence=confidence, only=options.only)
        return True
    if options.only is not None or confidence is not None:
        raise UsageError(f"--only is for {cli_real.TASKS}, --min-confidence also for {cli_real.SCREENS}")
    return False


def _check_injection(options: _OwnScreens, flags: Mapping[str, Any]) -> None:
    """Check that no option of another benchmark is given.

    Raises:
        UsageError: one is.
    """
    others = {**flags, "--episodes": options.episodes, "--only": options.only}
    if foreign := [option for option, value in others.items() if value is not None]:
        raise UsageError(f"{cli_injection.NAME} does not accept {', '.join(foreign)}; it makes its own screens")
