"""``agent train``: a recipe, here or on several workers or on Ray; progress for people, lines for machines."""

import json
import os
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from molmo_agent.errors import UsageError


def train(
    recipe: str, changes: list[str], out: Path | None, workers: int, on_ray: bool, address: str | None, as_json: bool
) -> None:
    """Run a recipe; the same command goes on where it was stopped.

    Args:
        recipe: name, or path of a YAML file.
        changes: ``key=value``.
        out: the run's folder; by default ``runs/<recipe>``.
        workers: processes, on this machine or on Ray.
        on_ray: run on Ray.
        address: of a Ray cluster.
        as_json: print a line per step.

    Raises:
        UsageError: anything in the recipe, the data or the folder that does not fit.
    """
    from molmo_agent.train import launch
    from molmo_agent.train.config import load
    from molmo_agent.train.curves import draw_curves
    from molmo_agent.train.runner import PROBLEMS_FILE

    if workers < 1:
        raise UsageError(f"expected at least 1 worker, got {workers}")
    config = load(recipe, changes)
    folder = out or Path("runs") / Path(recipe).stem
    console = Console(stderr=as_json)
    # Under torchrun every rank is here; one of them speaks.
    first = os.environ.get("RANK", "0") == "0"
    skipped: list[str] = []
    cut = 0
    progress = Progress(
        TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn(),
        console=console,
    )  # fmt: skip
    bar = progress.add_task("", total=config.steps)

    def told(step: int, report: Any, rest: dict[str, Any]) -> None:
        nonlocal cut
        skipped.extend(rest["skipped"])
        cut += rest["cut"]
        if as_json:
            print(json.dumps({"step": step, **asdict(report), **rest}), flush=True)
        told_now = f"loss {report.loss:.3f}  right {report.accuracy:.0%}"
        progress.update(bar, completed=step, description=told_now)

    with progress if first else nullcontext():
        if on_ray or address:
            launch.run_on_ray(config, folder, workers, address)
        elif workers > 1:
            launch.run_workers(config, folder, workers, told)
        else:
            launch.run_here(config, folder, told if first else None)
    if not first:
        return
    problems = folder / PROBLEMS_FILE
    if problems.exists():
        lines = problems.read_text(encoding="utf-8").splitlines()
        console.print("\n".join(lines[:6]) + (f"\nall of them: {problems}" if len(lines) > 6 else ""), markup=False)
    curves = draw_curves(folder / "metrics.jsonl", folder / "curves.png")
    if skipped:
        console.print(f"{len(skipped)} examples could not be used, the first: {skipped[0]}", markup=False)
    if cut:
        console.print(f"{cut} annotations did not fit their sequences (length={config.length})")
    console.print(f"trained: {folder / 'export'} (agent point IMAGE ... --model {folder / 'export'})", markup=False)
    if curves:
        console.print(f"curves: {curves}", markup=False)


def evaluate_android(
    data: Path, model: str, form: str, split: str, subsplit: str | None, limit: int | None, out: Path | None
) -> None:
    """Score a model on AndroidControl; print a table of rules, and write every answer where asked.

    Raises:
        UsageError: the data cannot be read, or has no step to ask about.
    """
    from itertools import islice
    from typing import get_args

    from molmo_agent.errors import UnknownNameError
    from molmo_agent.model.prompts import AndroidForm
    from molmo_agent.registry import load_model
    from molmo_agent.train.data.android_control import AndroidControl, Split
    from molmo_agent.train.evaluate_android import answer_steps, summary, write

    for name, value, known in (("form", form, get_args(AndroidForm)), ("split", split, get_args(Split))):
        if value not in known:
            raise UnknownNameError(name, value, known)
    reader = AndroidControl(data, split, subsplit=subsplit)  # type: ignore[arg-type]
    console = Console()
    try:
        asked = load_model(model, question="{}", constrained=False)
    except TypeError as error:
        raise UsageError(
            "expected a Molmo that answers in AndroidControl's words: nano, a checkpoint folder or a hub name; "
            f"got {model!r}"
        ) from error
    with console.status("asking") as status:
        done = 0

        def told(_: Any) -> None:
            nonlocal done
            done += 1
            status.update(f"step {done}")

        answered = answer_steps(islice(reader, limit), asked, form, told)  # type: ignore[arg-type]
    if reader.problems.found:
        console.print(reader.problems.summary(), markup=False, highlight=False)
    if not answered:
        raise UsageError(f"the split {split!r} of {data} has no step that can be asked about")
    found = summary(answered)
    table = Table("rule", "right", "n", "share", "95 % interval", box=None)
    for rule, rows in found["rules"].items():
        row = rows["all"]
        table.add_row(
            rule, f"{row['right']}", f"{row['n']}", f"{row['share']:.1%}", f"{row['low']:.1%} - {row['high']:.1%}"
        )
    console.print(table)
    console.print(f"{found['answers that are no action']} of {found['steps']} answers are no action", highlight=False)
    if out:
        write(answered, out)
        console.print(f"wrote {out}", markup=False)
