"""``agent data``: downloads the images of published data sets, and previews a recipe's training data."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from molmo_agent.console import make_console, plain_text, say
from molmo_agent.errors import MissingExtraError, RunStopped, UsageError

if TYPE_CHECKING:
    from molmo_agent.data.images.fetch import Summary

app = typer.Typer(help="Check and preview training data, and fetch the images of data sets.", no_args_is_help=True)


@app.command()
def fetch(
    files: Annotated[list[Path], typer.Argument(help="Lists: Parquet, JSON lines, or text with one URL per line.")],
    out: Annotated[Path, typer.Option(help="Folder of the images; the same command resumes there.")],
    jobs: Annotated[int, typer.Option(help="Maximum number of simultaneous requests.")] = 32,
    per_host: Annotated[int, typer.Option(help="Maximum number of simultaneous requests to one host.")] = 4,
    retry: Annotated[bool, typer.Option("--retry", help="Retry the downloads that failed before.")] = False,
    ray: Annotated[bool, typer.Option("--ray", help="Fetch with Ray tasks; all nodes must reach the folder.")] = False,
    address: Annotated[str | None, typer.Option(help="A Ray cluster, such as ray://head:10001.")] = None,
    url_column: Annotated[str, typer.Option(help="Column of the URLs.")] = "image_url",
    hash_column: Annotated[str, typer.Option(help="Column of the images' SHA-256, if any.")] = "image_sha256",
    local: Annotated[
        bool, typer.Option("--local", help="Also fetch from this machine and from private networks.")
    ] = False,
) -> None:
    """Download the images that data sets list by URL, and report the failures with their reasons.

    Exit codes: 0 done (some images may be missing: see the report), 1 no image was fetched, 2 usage, 130 stopped.
    """
    try:
        from molmo_agent.data.images.download import Limits
        from molmo_agent.data.images.fetch import Engine, fetch_here
        from molmo_agent.data.images.fetch import fetch as fetch_images
        from molmo_agent.data.images.url_list import read_lists
    except ModuleNotFoundError as error:
        raise MissingExtraError("fetching images", "train") from error

    if jobs < 1 or per_host < 1:
        raise UsageError(f"expected --jobs and --per-host of at least 1, got {jobs} and {per_host}")
    console = make_console()
    engine: Engine = fetch_here
    if ray or address:
        from molmo_agent.data.images.fetch_ray import ray_engine

        engine = ray_engine(address)
    with console.status("reading the lists"):
        url_list = read_lists(files, url_column, hash_column)
    if url_list.problems.entries:
        for line in url_list.problems.summary().split("\n"):
            console.print(plain_text(line))
    if not url_list.has_hashes:
        console.print(
            plain_text(
                f"no file has hashes in {hash_column!r}: cannot check whether the images have changed since they were "
                "listed"
            )
        )
    limits = Limits(jobs=jobs, per_host=per_host, local=local)
    with _progress(console, len(url_list.images)) as on_progress:
        try:
            summary = fetch_images(url_list.images, out, limits, retry=retry, progress=on_progress, engine=engine)
        except KeyboardInterrupt:
            raise RunStopped(f"stopped; the same command fetches the images still missing in {out}") from None
    _report(console, summary, out)
    if not summary.num_fetched + summary.num_present:
        raise typer.Exit(1)


@contextmanager
def _progress(console: Console, total: int) -> Iterator[Any]:
    columns = (TextColumn("images"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"))
    with Progress(*columns, TimeRemainingColumn(), console=console) as progress:
        bar = progress.add_task("", total=total)

        def on_progress(summary: "Summary") -> None:
            failures = f"  [yellow]{len(summary.failures)} failed[/]" if summary.failures else ""
            megabytes = summary.fetched_bytes / 1e6
            counts = f"{summary.num_fetched} fetched ({megabytes:.0f} MB)  {summary.num_present} present{failures}"
            progress.update(bar, completed=summary.num_done, description=counts)

        yield on_progress


def _report(console: Console, summary: "Summary", out: Path) -> None:
    """Print how many images were fetched, and which failed."""
    from molmo_agent.data.images.fetch import FAILED_FILE

    num_stored, megabytes = summary.num_fetched + summary.num_present, summary.fetched_bytes / 1e6
    console.print(
        plain_text(
            f"{num_stored} of {summary.num_done} images are in {out}: {summary.num_fetched} fetched now "
            f"({megabytes:.1f} MB), {summary.num_present} already present"
        ),
        soft_wrap=True,
    )
    if not summary.failures:
        return
    rows = sum(failure.rows for failure in summary.failures)
    before = f", {summary.num_skipped} of them in an earlier run" if summary.num_skipped else ""
    console.print(
        f"{len(summary.failures)} could not be fetched{before}; {rows} row{'' if rows == 1 else 's'} without an image",
        highlight=False,
    )
    table = Table("reason", "images", "rows", "first", box=None)
    for reason, failures in summary.reasons():
        lacking = str(sum(failure.rows for failure in failures))
        table.add_row(
            plain_text(reason), str(len(failures)), lacking, plain_text(", ".join(f.row for f in failures[:3]))
        )
    console.print(table)
    console.print(plain_text(f"all failures: {out / FAILED_FILE}; --retry tries them again"))


@app.command()
def show(
    recipe: Annotated[
        str, typer.Argument(help="A recipe (screens, sft, ..., a YAML file), or a file or folder of data.")
    ],
    changes: Annotated[
        list[str] | None, typer.Argument(help="key=value of the recipe, such as mixture.0.path=points.jsonl.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Kind of a file: conversations, points, pixmo-docs, ...")] = None,
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, an option of the kind. Repeatable.")] = None,
    model: Annotated[str, typer.Option(help="Model that the data is prepared for, for a file.")] = "nano",
    rows: Annotated[int, typer.Option(help="Number of examples to show.")] = 4,
    step: Annotated[int, typer.Option(help="Show the examples from this step on; 1 is the first of a run.")] = 1,
    out: Annotated[Path, typer.Option(help="The HTML file to write.")] = Path("show.html"),
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
) -> None:
    """Write an offline page of what the model sees of a recipe's data: crops, tokens, weights, packing."""
    from molmo_agent.cli.data_check import config_of
    from molmo_agent.train.preview.page import write_page

    if rows < 1 or step < 1:
        raise UsageError(f"expected --rows and --step of at least 1, got {rows} and {step}")
    config = config_of(recipe, changes or [], kind, option or [], model)
    with make_console(stderr=True).status("reading the data"):
        write_page(config, Path(recipe).stem, out, rows=rows, step=step - 1)
    say(out)
    if open_page:
        typer.launch(str(out))


@app.command()
def check(
    data: Annotated[str, typer.Argument(help="A file or folder of data, or a recipe: a name or a YAML file.")],
    changes: Annotated[list[str] | None, typer.Argument(help="key=value of the recipe, such as length=4096.")] = None,
    kind: Annotated[str | None, typer.Option(help="Kind of a file: conversations, points, gui-grounding, ...")] = None,
    option: Annotated[list[str] | None, typer.Option(help="NAME=VALUE, an option of the kind. Repeatable.")] = None,
    model: Annotated[str, typer.Option(help="Model whose tokens are counted, for a file.")] = "nano",
    rows: Annotated[
        int, typer.Option(min=0, help="Rows to decode and to lay out; 0: all. Every line is parsed.")
    ] = 2000,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object instead of text for people.")] = False,
) -> None:
    """Say before training which data cannot be used and why, how long it is, and what is there twice.

    Exit codes: 0 something can be used in every data set, 1 nothing in one of them, 2 usage.
    """
    from molmo_agent.cli.data_check import check_data

    raise typer.Exit(check_data(data, changes or [], kind, option or [], model, rows, as_json=as_json))


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

    folder, console = RecordingFolder(to), make_console()
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
    console.print(plain_text(f"{len(folder.rows)} screens, {counts[0]} targets, {counts[1]} absent ones in {to}"))


def _report_screens(console: Console, name: str, look: str, screens: int, problem: str) -> None:
    what = f"{name} ({look})" if look else name
    console.print(plain_text(f"{what}: {problem or f'{screens} new screens'}"), soft_wrap=True)
