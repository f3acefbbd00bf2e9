"""``agent eval real-screens`` and ``real-tasks``: a model on real programs, pointing and acting; tables and files."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from molmo_agent.cli.evaluation.output import fail_if_missed, print_sheets, progress_of, results_folder
from molmo_agent.console import after_the_result, make_console, plain_text
from molmo_agent.errors import UsageError

SCREENS = "real-screens"
SCREENS_WHAT = "screenshots of real programs: hits, wrong clicks, refusals, absent targets, calibration, time"
SCREENS_DATA = "a folder with targets.jsonl and absent.jsonl"
TASKS = "real-tasks"
TASKS_WHAT = "tasks on real programs on a virtual display, judged by files, windows and accessibility"


def run_real_screens(
    console: Console,
    data: Path | None,
    model: str,
    out: Path | None,
    *,
    min_confidence: float | None,
    limit: int | None,
    check: bool,
) -> None:
    """Measure a model on a folder of real screens and print the tables.

    Args:
        console: prints.
        data: the folder.
        model: its name.
        out: folder of the results; by default one in runs/eval.
        min_confidence: replaces the model's threshold; 0 disables it.
        limit: maximum number of targets.
        check: end with exit code 1 and the missed goals if any is missed.

    Raises:
        UsageError: the folder is not in the expected format, or the results cannot be written.
        typer.Exit: with code 1 if a goal is missed.
    """
    from molmo_agent.evaluation.real_screens import ask, figures, missed, read_real_screens
    from molmo_agent.evaluation.real_screens_report import sheets_of, write_figures, write_page
    from molmo_agent.pointers.careful import careful
    from molmo_agent.registry import load_model

    if data is None:
        raise UsageError(f"{SCREENS} needs --data: {SCREENS_DATA}")
    folder = results_folder(SCREENS, model, out)
    screens = read_real_screens(data, limit)
    pointer = careful(load_model(model), min_confidence)
    with progress_of(len(screens), "question") as progress:
        answers, skipped = ask(pointer, screens, progress)
    result = figures(pointer, answers, skipped, screens.problems)
    print_sheets(console, [sheet for sheet in sheets_of(result) if sheet.rows])
    write_figures(folder, result, answers)
    with after_the_result("the page", f"the figures are in {folder}"):
        console.print(plain_text(f"page: {write_page(folder, result, answers)}"), soft_wrap=True)
    if check:
        fail_if_missed(console, missed(result))


def run_real_tasks(
    console: Console, model: str, out: Path | None, *, min_confidence: float | None, only: str | None
) -> None:
    """Do tasks on real programs with a model, and print what became of them.

    Args:
        console: prints.
        model: its name; "oracle" asks the programs' accessibility trees.
        out: folder of the results; by default one in runs/eval.
        min_confidence: replaces the model's threshold; 0 disables it.
        only: names of tasks, separated by commas; None: all.

    Raises:
        UsageError: no program of the tasks is installed, or there is no such task.
        EnvError: this machine lacks what every task needs.
    """
    from molmo_agent.evaluation.real_tasks.run import run_tasks, runnable
    from molmo_agent.evaluation.real_tasks.tasks import find_tasks

    folder = results_folder(TASKS, model, out)
    requested_tasks = find_tasks(only)
    tasks, packages = runnable(requested_tasks)
    if packages:
        names = ", ".join(task.name for task in requested_tasks if task not in tasks)
        console.print(
            plain_text(f"skipped: {names}; to run them: apt-get install {' '.join(packages)}"), soft_wrap=True
        )
    if not tasks:
        raise UsageError(f"no program of these tasks is installed: apt-get install {' '.join(packages)}")
    with make_console(stderr=True).status("") as status:
        outcomes = run_tasks(tasks, model, folder, min_confidence=min_confidence, report=status.update)
    table = Table("task", "truth", "exit code", "seconds", "where it broke", box=None)
    for one in outcomes:
        truth = plain_text("achieved", "green") if one.achieved else plain_text("failed", "red")
        broke = "" if one.achieved else "; ".join(filter(None, (one.first_miss, one.reason)))
        table.add_row(plain_text(one.task), truth, f"{one.exit_code}", f"{one.seconds:.0f}", plain_text(broke))
    console.print(table)
    achieved, false_claims = sum(one.achieved for one in outcomes), sum(one.false_claim for one in outcomes)
    console.print(f"{achieved} of {len(outcomes)} achieved; failed with exit code 0: {false_claims}", highlight=False)
    console.print(plain_text(f"trajectories: {folder}"), soft_wrap=True)
