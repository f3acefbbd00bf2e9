"""``agent pixmo``: makes data like PixMo on this machine, as the readers of PixMo expect it."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from molmo_agent.cli import pixmo_collect, pixmo_stats
from molmo_agent.cli.pixmo_options import Jobs, MaxTokens, Model, Ray, open_writer, spread_of
from molmo_agent.cli.pixmo_stats import print_table
from molmo_agent.console import after_the_result, make_console, plain_text, say
from molmo_agent.errors import RunStopped, UnknownNameError, UsageError
from molmo_agent.files import write_whole

if TYPE_CHECKING:
    from molmo_agent.pixmo.shards import Make, Mapper

app = typer.Typer(
    help="Make data like PixMo: documents, clocks, and what people annotate, without a vision-language model.",
    no_args_is_help=True,
)
app.add_typer(pixmo_collect.app)
app.add_typer(pixmo_stats.app)

_To = Annotated[Path, typer.Option(help="Folder of the data set; the same command resumes there.")]
_Count = Annotated[int, typer.Option(help="Number of examples.")]
_Seed = Annotated[int, typer.Option(help="First seed: examples of other seeds are new.")]
_Split = Annotated[str, typer.Option(help="Name of the split, such as train or validation.")]
_ROWS = 250


@app.command()
def clocks(
    to: _To,
    count: _Count = 500,
    seed: _Seed = 0,
    split: _Split = "train",
    form: Annotated[
        str,
        typer.Option(
            help="whole: photos of 320x320 pixels. close: cut to the clock, 96x96, as the recipe clocks reads them. "
            "plain: as close, without second hands, tilt and whatever else makes a clock hard to read."
        ),
    ] = "whole",
    bodies: Annotated[
        str,
        typer.Option(help="Bodies to draw: patterns such as 'tower-*,*-watch-gold'; with ! in front, to leave out."),
    ] = "",
    jobs: Jobs = 1,
    ray: Ray = False,
) -> None:
    """Draw watches and clocks that show any time, and write them as PixMo-Clocks.

    Exit codes: 0 done, 2 usage, 130 stopped.
    """
    from molmo_agent.pixmo.clocks.design import bodies_like
    from molmo_agent.pixmo.clocks.make import FORMS, make_clocks

    _check_split(split)
    if form not in FORMS:
        raise UnknownNameError("form of clocks", form, FORMS)
    patterns = [pattern.strip() for pattern in bodies.split(",") if pattern.strip()]
    chosen = bodies_like(
        [pattern for pattern in patterns if not pattern.startswith("!")],
        [pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")],
    )
    _make(partial(make_clocks, form=form, bodies=chosen), to, (split, seed, count), spread_of(jobs, ray))
    _gallery("pixmo-clocks", to, split, {})


@app.command()
def docs(
    to: _To,
    type_: Annotated[str, typer.Option("--type", help="charts, tables, diagrams or other.")] = "charts",
    count: _Count = 100,
    seed: _Seed = 0,
    split: _Split = "train",
    jobs: Jobs = 1,
    ray: Ray = False,
    model: Model = None,
    max_tokens: MaxTokens = 1_000_000,
) -> None:
    """Make charts, tables, diagrams or other documents with questions, and write them as PixMo-Docs.

    The code that draws them runs in a sandbox (bubblewrap, Linux). Blank, clipped, overlapping and unreadable images
    are rejected, and so are answers that do not follow from the data.

    Exit codes: 0 done, 2 usage, 3 nothing could be drawn or the language model failed, 130 stopped.
    """
    from molmo_agent.pixmo.docs.document import TYPES
    from molmo_agent.pixmo.docs.make import make_docs
    from molmo_agent.pixmo.docs.model_writer import ModelWriter
    from molmo_agent.sandbox.bubblewrap import check_sandbox

    _check_split(split)
    if type_ not in TYPES:
        raise UnknownNameError("type of documents", type_, TYPES)
    check_sandbox()
    spread = spread_of(jobs, ray, model)
    with open_writer(model, max_tokens, to) as text:
        make = partial(make_docs, type_=type_, writer=ModelWriter(text) if text else None)
        _make(make, to / type_, (split, seed, count), spread)
    _gallery("pixmo-docs", to, split, {"type": type_})


@app.command(name="all")
def everything(
    to: _To,
    count: Annotated[int, typer.Option(min=1, help="Minimum number of examples of each data set.")] = 500,
    jobs: Jobs = 1,
    ray: Ray = False,
) -> None:
    """Make a small data set with every pipeline, without people, models or a network, and a recipe that trains on all.

    Rules write the texts. A script stands in for the annotators: it sends the requests of the page of
    `agent pixmo collect` for drawn scenes, of which it knows the content. Parts that need a program which is not
    installed are skipped, with the reason.

    Exit codes: 0 all data sets made, 1 some were not, 2 usage, 130 stopped.
    """
    from molmo_agent.pixmo.everything import make_everything
    from molmo_agent.pixmo.stats import count_folder

    spread, problems, lines = spread_of(jobs, ray), 0, list[str]()
    try:
        for step in make_everything(to, count, spread=spread, report=lambda line: lines.append(str(line))):
            say(f"{step.name}: {step.problem or 'done'} ({step.seconds:.0f} s)")
            problems += bool(step.problem)
    except KeyboardInterrupt:
        raise RunStopped(f"stopped; the same command resumes in {to}") from None
    print_table([one for path in sorted(to.glob("pixmo-*")) for one in count_folder(path)])
    if lines:
        write_whole(to / "left_out.txt", "".join(f"{line}\n" for line in lines))
        say(f"{len(lines)} notes on what was rejected or left out: {to / 'left_out.txt'}")
    say(f"train on all of them: agent train {to / 'mixture.yaml'} model=MODEL")
    if problems:
        raise typer.Exit(1)


def _check_split(split: str) -> None:
    if not split.replace("_", "").isalnum():
        raise UsageError(f"expected a split of letters and digits, such as train, got {split!r}")


def _make(make: "Make", folder: Path, what: tuple[str, int, int], spread: "Mapper") -> None:
    from molmo_agent.pixmo.shards import make_shards, shards_of

    console, total = make_console(), 0
    split, seed, count = what
    shards = shards_of(folder, split, seed, count, _ROWS)
    other = sorted(
        {path.name for path in (folder / "data").glob(f"{split}-*.parquet")} - {Path(s.path).name for s in shards}
    )
    if other:
        raise UsageError(
            f"expected {folder} to be new or to hold a part of this run, but it has {other[0]} of a run with another "
            "--count: choose another folder or --split"
        )
    try:
        for done in make_shards(make, shards, spread):
            total += done.rows
            console.print(plain_text(f"{Path(done.shard.path).name}: {done.rows} rows"), soft_wrap=True)
            for reason in done.rejected[:3]:
                console.print(plain_text(f"  rejected: {reason}"), soft_wrap=True)
            if len(done.rejected) > 3:
                console.print(plain_text(f"  and {len(done.rejected) - 3} more rejected"), soft_wrap=True)
    except KeyboardInterrupt:
        raise RunStopped(f"stopped; the same command resumes in {folder}") from None
    console.print(plain_text(f"{total} new examples in {folder}"), soft_wrap=True)


def _gallery(name: str, folder: Path, split: str, options: dict[str, str]) -> None:
    from molmo_agent.data.catalog import open_source
    from molmo_agent.data.source import Source
    from molmo_agent.pixmo.gallery import write_gallery

    page = folder / f"gallery-{'-'.join([*options.values(), split])}.html"
    with after_the_result("the gallery", "open the data set with `agent data show`"):
        data = open_source(Source(kind=name, path=str(folder), options={"split": split, **options}))
        write_gallery(data, page, title=f"{name}, {split}")
        make_console().print(plain_text(f"24 random samples: {page}"), soft_wrap=True)
