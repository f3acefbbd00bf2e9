"""``agent eval nano-suite``: measures a pointing model's hit rate, calibration and latency; tables, JSON, a page."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from molmo_agent.cli.evaluation.output import print_sheets, results_folder
from molmo_agent.console import after_the_result, make_console, plain_text

NAME = "nano-suite"
WHAT = "simulated screens, MiniWoB++ clicks, absent targets, calibration, latency; nothing to download"


def run_nano_suite(console: Console, model: str, out: Path | None, *, quick: bool, episodes: int | None) -> None:
    """Measure a model and print the tables.

    Args:
        console: prints the tables.
        model: name of a model that needs no env.
        out: folder of the results; by default a folder in runs/eval.
        quick: use only a few screens of each kind.
        episodes: number per list of MiniWoB++ tasks; None uses the suite's default.

    Raises:
        UsageError: ``model`` is the oracle, which the suite runs anyway, or ``out`` is a file.
    """
    from molmo_agent.evaluation.nano_suite.report import write_figures, write_suite
    from molmo_agent.evaluation.nano_suite.run import EPISODES, QUICK_EPISODES, run_suite
    from molmo_agent.evaluation.nano_suite.tables import sheets_of
    from molmo_agent.registry import load_model

    folder = results_folder(NAME, model, out)
    number = (QUICK_EPISODES if quick else EPISODES) if episodes is None else episodes
    with _progress() as report:
        suite = run_suite(load_model(model), episodes=number, quick=quick, report=report)
    print_sheets(console, sheets_of(suite.figures))
    write_figures(folder, suite)
    with after_the_result("the page", f"the figures are in {folder}"):
        page = write_suite(folder, suite)
        console.print(plain_text(f"page: {page}"), soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Yield a function that reports progress: in place on a terminal, else line by line with the time."""
    console, began = make_console(stderr=True), time.monotonic()
    with console.status("loading") as status:

        def report(what: str) -> None:
            if console.is_terminal:
                status.update(plain_text(what))
            else:
                minutes, seconds = divmod(int(time.monotonic() - began), 60)
                console.print(plain_text(f"{minutes:3d}:{seconds:02d}  {what}"), soft_wrap=True)

        yield report
