"""``agent data``: bring the pictures of published data sets here, and see what a recipe makes of its data."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from molmo_agent.console import shown
from molmo_agent.errors import MissingExtraError, RunStopped, UsageError

if TYPE_CHECKING:
    from molmo_agent.data.images.fetch import Summary

app = typer.Typer(help="Fetch the pictures of data sets, and look at training data.", no_args_is_help=True)


@app.command()
def fetch(
    files: Annotated[list[Path], typer.Argument(help="Lists: Parquet, JSON lines, or text with an address a line.")],
    out: Annotated[Path, typer.Option(help="Folder of the pictures; the same command goes on there.")],
    jobs: Annotated[int, typer.Option(help="Requests at once, over all hosts.")] = 32,
    per_host: Annotated[int, typer.Option(help="Requests at once to one host.")] = 4,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed before.")] = False,
    ray: Annotated[bool, typer.Option("--ray", help="Fetch with Ray tasks; all nodes must reach the folder.")] = False,
    address: Annotated[str | None, typer.Option(help="A Ray cluster, such as ray://head:10001.")] = None,
    url_column: Annotated[str, typer.Option(help="Column of the addresses.")] = "image_url",
    hash_column: Annotated[str, typer.Option(help="Column of the pictures' SHA-256, if any.")] = "image_sha256",
    local: Annotated[bool, typer.Option("--local", help="Ask this machine and private networks too.")] = False,
) -> None:
    """Download the pictures that data sets list by address; what cannot be had is listed with its reason.

    Exit codes: 0 done (some pictures may be lost: see the report), 1 not one picture is there, 2 usage, 130 stopped.
    """
    try:
        from molmo_agent.data.images.download import Limits
        from molmo_agent.data.images.fetch import Engine, fetch_here
        from molmo_agent.data.images.fetch import fetch as fetch_images
        from molmo_agent.data.images.url_list import read_lists
    except ModuleNotFoundError as error:
        raise MissingExtraError("fetching pictures", "train") from error

    if jobs < 1 or per_host < 1:
        raise UsageError(f"expected --jobs and --per-host of at least 1, got {jobs} and {per_host}")
    console = Console()
    engine: Engine = fetch_here
    if ray or address:
        from molmo_agent.data.images.fetch_ray import ray_engine

        engine = ray_engine(address)
    with console.status("reading the lists"):
        listed = read_lists(files, url_column, hash_column)
    if listed.problems.entries:
        for line in listed.problems.summary().split("\n"):
            console.print(shown(line))
    if not listed.checked:
        console.print(
            shown(
                f"no file has hashes in {hash_column!r}: that a picture is still the one that was meant cannot be "
                "checked"
            )
        )
    limits = Limits(jobs=jobs, per_host=per_host, local=local)
    with _progress(console, len(listed.images)) as on_progress:
        try:
            summary = fetch_images(listed.images, out, limits, retry=retry, progress=on_progress, engine=engine)
        except KeyboardInterrupt:
            raise RunStopped(f"stopped; the same command goes on with what is missing in {out}") from None
    _report(console, summary, out)
    if not summary.fetched + summary.there:
        raise typer.Exit(1)


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Any]:
    columns = (TextColumn("pictures"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("", total=total)

        def on_progress(summary: "Summary") -> None:
            lost = f"  [yellow]{len(summary.failures)} lost[/]" if summary.failures else ""
            done = f"{summary.fetched} fetched ({summary.fetched_bytes / 1e6:.0f} MB)  {summary.there} there{lost}"
            progress.update(bar, completed=summary.done, description=done)

        yield on_progress


def _report(console: Console, summary: "Summary", out: Path) -> None:
    """Say what is there and what was lost."""
    from molmo_agent.data.images.fetch import FAILED_FILE

    console.print(
        shown(
            f"{summary.fetched + summary.there} of {summary.done} pictures are in {out}: {summary.fetched} fetched now "
            f"({summary.fetched_bytes / 1e6:.1f} MB), {summary.there} were there"
        ),
        soft_wrap=True,
    )
    if not summary.failures:
        return
    rows = sum(failure.rows for failure in summary.failures)
    before = f", {summary.skipped} of them in an earlier run" if summary.skipped else ""
    console.print(
        f"{len(summary.failures)} could not be had{before}; {rows} row{'' if rows == 1 else 's'} without a picture",
        highlight=False,
    )
    table = Table("why", "pictures", "rows", "first", box=None)
    for reason, failures in summary.reasons():
        lacking = str(sum(failure.rows for failure in failures))
        table.add_row(shown(reason), str(len(failures)), lacking, shown(", ".join(f.row for f in failures[:3])))
    console.print(table)
    console.print(shown(f"all of them: {out / FAILED_FILE}; --retry tries them again"))


@app.command()
def show(
    recipe: Annotated[str, typer.Argument(help="screens, pointing, android_control, sft, or a YAML file.")],
    changes: Annotated[list[str] | None, typer.Argument(help="key=value, such as mixture.0.path=points.jsonl.")] = None,
    rows: Annotated[int, typer.Option(help="Examples to show.")] = 4,
    step: Annotated[int, typer.Option(help="Step whose examples come first; 1 is the first of a run.")] = 1,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("show.html"),
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Make one offline page of what a model will see of a recipe's data: crops, tokens, weights, packing."""
    from molmo_agent.train.preview.page import write_page
    from molmo_agent.train.recipe import load

    if rows < 1 or step < 1:
        raise UsageError(f"expected --rows and --step of at least 1, got {rows} and {step}")
    config = load(recipe, changes or [])
    with Console(stderr=True).status("reading the data"):
        write_page(config, Path(recipe).stem, out, rows=rows, step=step - 1)
    print(out)
    if open_page:
        typer.launch(str(out))


@app.command()
def record_screens(
    to: Annotated[Path, typer.Option(help="Folder of the recording; resumed if it exists.")],
    programs: Annotated[str | None, typer.Option(help="Programs of the list, a,b; default: all installed.")] = None,
    pages: Annotated[Path | None, typer.Option(help="Folder with one folder of web pages per application.")] = None,
    looks: Annotated[int, typer.Option(help="Screen sizes and themes to show each program in, 1 to 8.")] = 1,
    user: Annotated[str | None, typer.Option(help="Account that the programs run as; needs root.")] = None,
) -> None:
    """Record screens of real programs (Linux) or web pages with all elements on them, and questions about them.

    Writes screens.jsonl, targets.jsonl, absent.jsonl and screens/. With --pages alone, no programs are recorded.
    """
    from molmo_agent.synthetic.real_screens.folder import RecordingFolder
    from molmo_agent.synthetic.real_screens.questions import write_questions
    from molmo_agent.synthetic.real_screens.record import record_pages, record_programs

    folder, console = RecordingFolder(to), Console()
    try:
        if programs is not None or pages is None:
            names = [name.strip() for name in (programs or "").split(",") if name.strip()]
            for outcome in record_programs(folder, names, looks=looks, user=user):
                _report_screens(console, outcome.name, outcome.look, outcome.screens, outcome.problem)
        if pages is not None:
            for outcome in record_pages(folder, pages):
                _report_screens(console, outcome.name, outcome.look, outcome.screens, outcome.problem)
    except KeyboardInterrupt:
        raise RunStopped(f"stopped; the same command resumes the recording in {to}") from None
    finally:
        counts = write_questions(folder)
    console.print(shown(f"{len(folder.rows)} screens, {counts[0]} targets, {counts[1]} absent ones in {to}"))


def _report_screens(console: Console, name: str, look: str, screens: int, problem: str) -> None:
    what = f"{name} ({look})" if look else name
    console.print(shown(f"{what}: {problem or f'{screens} new screens'}"), soft_wrap=True)
