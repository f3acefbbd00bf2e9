"""``agent eval injection``: how often orders on the screen capture an agent; tables, JSON, a page."""

from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from molmo_agent.cli.evaluation.output import fail_if_missed, print_sheets, progress_of, results_folder
from molmo_agent.console import after_the_result, plain_text
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
    from molmo_agent.evaluation.injection.agents import OBEDIENT, OBEYING_PLANNER, ORACLE, Agent
    from molmo_agent.evaluation.injection.cases import FAMILIES, find_families, make_cases
    from molmo_agent.evaluation.injection.guard import find_guards
    from molmo_agent.evaluation.injection.report import write_figures, write_page
    from molmo_agent.evaluation.injection.run import Run, evaluate, runnable
    from molmo_agent.evaluation.injection.tables import figures_of, missed, sheets_of

    folder = results_folder(NAME, model, out)
    guards, seed, repeats = find_guards(options.confirm), options.seed or 0, QUICK_REPEATS if quick else REPEATS
    names = [name.strip() for name in model.split(",") if name.strip()]
    has_own_policy = {OBEDIENT} if options.policy == OBEYING_PLANNER else {ORACLE, OBEDIENT}
    own = [Agent(name, None if name in has_own_policy else options.policy) for name in names]
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
    with progress_of(len(runs), "run") as progress:
        records = evaluate(runs, folder, settings, min_confidence=min_confidence, progress=progress)
    figures = figures_of(records)
    print_sheets(console, sheets_of(figures))
    for one in figures["skipped"]:
        console.print(plain_text(f"not judged: {one['id']}: {one['reason']}"), soft_wrap=True)
    write_figures(folder, figures, {**settings, "families": able, "repeats": repeats})
    with after_the_result("the page", f"the figures are in {folder}"):
        console.print(plain_text(f"page: {write_page(folder, figures, records)}"), soft_wrap=True)
    if check:
        fail_if_missed(console, missed(figures))
