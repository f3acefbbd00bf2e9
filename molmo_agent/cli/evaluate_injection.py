"""``agent eval injection``: how often orders on the screen capture an agent; tables, JSON, a page."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from molmo_agent.console import after_the_result, make_console, plain_text
from molmo_agent.errors import UsageError

NAME = "injection"
WHAT = "orders on the screen (pop-ups, pages, documents, messages): captured, done, stopped"
# Cases per family and variant.
REPEATS, QUICK_REPEATS = 3, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectionOptions:
    """The options of this evaluation alone; None is the default."""

    families: str | None = None
    policy: str | None = None
    confirm: str | None = None
    seed: int | None = None

    def given(self) -> list[str]:
        """Return the options that were given."""
        return [f"--{name}" for name in ("families", "policy", "confirm", "seed") if getattr(self, name) is not None]


def run_injection(
    console: Console,
    model: str,
    out: Path | None,
    options: InjectionOptions,
    *,
    quick: bool,
    check: bool,
    min_confidence: float | None,
) -> None:
    """Measure models and the baselines, and print the tables.

    Args:
        console: prints.
        model: names of models, separated by commas; the oracle and the baseline that obeys are measured in any case.
        out: folder of the results, in which the same command resumes; by default one in runs/eval.
        options: of this evaluation.
        quick: one case per family and variant, and no real programs.
        check: end with exit code 1 and the missed targets if any is missed.
        min_confidence: replaces the models' thresholds; 0 disables them.

    Raises:
        UsageError: there is no such family, guard or model, or the results cannot be written.
        typer.Exit: with code 1 if a target is missed.
    """
    from molmo_agent.evaluation.injection.agents import OBEDIENT, ORACLE, Agent
    from molmo_agent.evaluation.injection.cases import FAMILIES, find_families, make_cases
    from molmo_agent.evaluation.injection.guard import find_guards
    from molmo_agent.evaluation.injection.report import write_figures, write_page
    from molmo_agent.evaluation.injection.run import Run, evaluate, runnable
    from molmo_agent.evaluation.injection.tables import figures_of, missed

    folder = out or Path("runs") / "eval" / f"{NAME}-{re.sub(r'[^A-Za-z0-9.]+', '-', model).strip('-')}"
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"expected --out to name a folder, got the file {folder}")
    guards, seed, repeats = find_guards(options.confirm), options.seed or 0, QUICK_REPEATS if quick else REPEATS
    names = [name.strip() for name in model.split(",") if name.strip()]
    own = [Agent(name, None if name in (ORACLE, OBEDIENT) else options.policy) for name in names]
    agents = list(dict.fromkeys([*own, Agent(ORACLE), Agent(OBEDIENT)]))
    families = find_families(options.families)
    if quick and options.families is None:
        families = tuple(name for name in families if not FAMILIES[name].own_process)
    able, lines = runnable(families)
    for line in lines:
        console.print(plain_text(f"skipped: {line}"), soft_wrap=True)
    if not able:
        raise UsageError(f"this machine can show none of the families {', '.join(families)}; see the lines above")
    cases = make_cases(able, seed=seed, repeats=repeats)
    runs = [Run(case, agent, guard) for agent in agents for guard in guards for case in cases]
    settings = {"seed": seed, "model": model, "policy": options.policy, "min_confidence": min_confidence}
    with Progress(
        TextColumn("run"),
        MofNCompleteColumn(),
        BarColumn(),
        TimeRemainingColumn(),
        console=make_console(stderr=True),
        transient=True,
    ) as progress:
        bar = progress.add_task("", total=len(runs))
        records = evaluate(
            runs,
            folder,
            settings,
            min_confidence=min_confidence,
            progress=lambda done: progress.update(bar, completed=done),
        )
    figures = figures_of(records)
    _print(console, figures)
    write_figures(folder, figures, {**settings, "families": able, "repeats": repeats})
    with after_the_result("the page", f"the figures are in {folder}"):
        console.print(plain_text(f"page: {write_page(folder, figures, records)}"), soft_wrap=True)
    if check and (lines := missed(figures)):
        for line in lines:
            console.print(plain_text(f"missed: {line}", "red"), soft_wrap=True)
        raise typer.Exit(1)


def _print(console: Console, figures: dict[str, Any]) -> None:
    from molmo_agent.evaluation.injection.tables import sheets_of

    for sheet in sheets_of(figures):
        table = Table(*sheet.columns, title=sheet.title, box=None, title_justify="left")
        for row in sheet.rows:
            table.add_row(*map(plain_text, row))
        console.print(table)
        if sheet.note:
            console.print(plain_text(sheet.note, "dim"))
        console.print()
    for one in figures["skipped"]:
        console.print(plain_text(f"not judged: {one['id']}: {one['reason']}"), soft_wrap=True)
