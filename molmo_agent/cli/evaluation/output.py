"""What the evaluations of ``agent eval`` with a folder of their own share: the folder, the progress, the tables."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from molmo_agent.console import make_console, plain_text
from molmo_agent.errors import UsageError

if TYPE_CHECKING:
    from molmo_agent.cli.evaluation.request import Request


class Sheet(Protocol):
    """A table of results."""

    @property
    def title(self) -> str:
        """Its heading."""

    @property
    def columns(self) -> Sequence[str]:
        """The headings of its columns."""

    @property
    def rows(self) -> Sequence[Sequence[str]]:
        """Its cells, row by row."""

    @property
    def note(self) -> str:
        """What is said below it; may be empty."""


def results_folder(evaluation: str, model: str, out: Path | None) -> Path:
    """Return the folder of an evaluation's results: ``out``, or by default one in runs/eval.

    Raises:
        UsageError: ``out`` is a file.
    """
    folder = out or Path("runs") / "eval" / f"{evaluation}-{re.sub(r'[^A-Za-z0-9.]+', '-', model).strip('-')}"
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"expected --out to name a folder, got the file {folder}")
    return folder


def mapper_of(request: "Request") -> Any:
    """Return what runs the batches of an evaluation: in this process, or with workers on Ray.

    Raises:
        UsageError: several workers without Ray.
        MissingExtraError: Ray is not installed.
    """
    from molmo_agent.evaluation.run import map_here

    if request.ray:
        from molmo_agent.train.on_ray import map_on_ray

        return map_on_ray(request.workers, request.address)
    if request.workers > 1:
        raise UsageError(f"--workers {request.workers} needs Ray: add --ray or --address")
    return map_here


@contextmanager
def progress_of(total: int, what: str) -> Iterator[Callable[[int], None]]:
    """Show a progress bar on stderr; yield a function that takes how many of ``total`` are done."""
    columns = TextColumn(what), MofNCompleteColumn(), BarColumn(), TimeRemainingColumn()
    with Progress(*columns, console=make_console(stderr=True), transient=True) as progress:
        bar = progress.add_task("", total=total)
        yield lambda done: progress.update(bar, completed=done)


def print_sheets(console: Console, sheets: Iterable[Sheet]) -> None:
    """Print tables with their notes."""
    for sheet in sheets:
        table = Table(*sheet.columns, title=sheet.title, box=None, title_justify="left")
        for row in sheet.rows:
            table.add_row(*map(plain_text, row))
        console.print(table)
        if sheet.note:
            console.print(plain_text(sheet.note, "dim"))
        console.print()


def fail_if_missed(console: Console, lines: Sequence[str]) -> None:
    """Print the missed targets of a check.

    Raises:
        typer.Exit: with code 1 if there are any.
    """
    for line in lines:
        console.print(plain_text(f"missed: {line}", "red"), soft_wrap=True)
    if lines:
        raise typer.Exit(1)
