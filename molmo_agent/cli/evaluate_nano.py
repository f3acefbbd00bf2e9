"""``agent eval nano-suite``: how often a pointing model hits, how sure it may be, how fast it is; table, JSON, page."""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from molmo_agent.console import after_the_result, shown
from molmo_agent.errors import UsageError

NAME = "nano-suite"
WHAT = "simulated screens, MiniWoB++ clicks, what is not there, confidence, latency; nothing to download"


def run_nano_suite(console: Console, model: str, out: Path | None, *, quick: bool, episodes: int | None) -> None:
    """Measure a model and print the tables.

    Args:
        console: prints.
        model: its name; one that needs no env.
        out: folder of the results; by default one in runs/eval.
        quick: a few screens of each kind.
        episodes: of each list of MiniWoB++ tasks; None: the suite's own number.

    Raises:
        UsageError: the oracle was named, which is asked anyway, or the folder is a file.
    """
    from molmo_agent.evaluation.nano_suite.report import write_figures, write_suite
    from molmo_agent.evaluation.nano_suite.run import EPISODES, QUICK_EPISODES, run_suite
    from molmo_agent.evaluation.nano_suite.tables import sheets_of
    from molmo_agent.registry import load_model

    folder = out or Path("runs") / "eval" / f"{NAME}-{re.sub(r'[^A-Za-z0-9.]+', '-', model).strip('-')}"
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"expected --out to name a folder, got the file {folder}")
    number = (QUICK_EPISODES if quick else EPISODES) if episodes is None else episodes
    with _progress() as report:
        suite = run_suite(load_model(model), episodes=number, quick=quick, report=report)
    for sheet in sheets_of(suite.figures):
        table = Table(*sheet.columns, title=sheet.title, box=None, title_justify="left")
        for row in sheet.rows:
            table.add_row(*map(shown, row))
        console.print(table)
        if sheet.note:
            console.print(shown(sheet.note, "dim"))
        console.print()
    write_figures(folder, suite)
    with after_the_result("the page", f"the figures are in {folder}"):
        page = write_suite(folder, suite)
        console.print(shown(f"page: {page}"), soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Yield what tells people what is being done: on a terminal in place, in a log line by line with the time."""
    console, began = Console(stderr=True), time.monotonic()
    with console.status("loading") as status:

        def tell(what: str) -> None:
            if console.is_terminal:
                status.update(shown(what))
            else:
                minutes, seconds = divmod(int(time.monotonic() - began), 60)
                console.print(shown(f"{minutes:3d}:{seconds:02d}  {what}"), soft_wrap=True)

        yield tell
