"""``agent train``: runs a recipe in this process, in several, or on Ray; prints a progress bar or JSON lines."""

import json
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from molmo_agent.console import after_the_result, make_console, plain_text, say_json, warn
from molmo_agent.errors import UsageError

if TYPE_CHECKING:
    from molmo_agent.train.config import TrainConfig
    from molmo_agent.train.on_ray import RayWorkers


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """Where the processes of a run are, and what they compute on."""

    # Number of processes; on Ray also a range such as "2:8", which uses what the cluster has.
    workers: str = "1"
    # Whether to use Ray, and its address; None starts it on this machine.
    ray: bool = False
    address: str | None = None
    # "auto", "gpu" or "cpu"; on Ray also a type of GPU.
    accelerator: str = "auto"

    @property
    def on_ray(self) -> bool:
        """Whether the processes are Ray's."""
        return self.ray or self.address is not None

    def check(self) -> tuple[int, int]:
        """Return the smallest and the largest number of workers.

        Raises:
            UsageError: they are none, or a range without Ray.
        """
        smallest, largest = _worker_range(self.workers)
        if smallest != largest and not self.on_ray:
            raise UsageError(f"a range of workers ({self.workers}) needs Ray: add --ray or --address")
        return smallest, largest

    def options(self) -> list[str]:
        """Return this as options of ``agent train``."""
        address = [] if self.address is None else ["--address", self.address]
        ray = ["--ray"] if self.ray else []
        return ["--workers", self.workers, "--accelerator", self.accelerator, *ray, *address]

    def run(self, config: Any, folder: Path, progress: "TrainingProgress", *, first: bool = True) -> Any:
        """Train, and return the config after the last step: its model is the one that the run started from.

        Args:
            config: the run; the model that it says to make first is made.
            folder: of the run.
            progress: is called at every step.
            first: whether this process reports, of several that torchrun started.
        """
        from molmo_agent.train.config import TrainConfig
        from molmo_agent.train.launch import run_here, run_workers
        from molmo_agent.train.starting_model import write_start

        smallest, largest = self.check()
        if isinstance(config, TrainConfig):
            config = write_start(config, folder)
        if self.on_ray:
            from molmo_agent.train.on_ray import run_on_ray

            count = largest if smallest == largest else (smallest, largest)
            run_on_ray(
                config,
                folder,
                count,
                self.address,
                progress.on_step,
                accelerator=self.accelerator,
                on_start=progress.on_start,
            )
        elif largest > 1:
            run_workers(config, folder, largest, progress.on_step, accelerator=self.accelerator)
        else:
            run_here(config, folder, progress.on_step if first else None, accelerator=self.accelerator)
        return config


def train(
    recipe: str,
    changes: list[str],
    start: str | None,
    out: Path | None,
    launch: Launch,
    as_json: bool,
) -> None:
    """Run a recipe; the same command resumes an interrupted run.

    Args:
        recipe: name, or path of a YAML file.
        changes: ``key=value``.
        start: the model to start from, in place of the recipe's.
        out: the run's folder; by default ``runs/<recipe>``.
        launch: where the run's processes are.
        as_json: print a line per step.

    Raises:
        UsageError: the recipe, the data or the folder is not valid.
    """
    from molmo_agent.train.config import TrainConfig
    from molmo_agent.train.curves import draw_curves
    from molmo_agent.train.recipe import load

    launch.check()
    changes = with_start_model(changes, start)
    config = load(recipe, changes)
    check_start(config, changes)
    folder = out or Path("runs") / Path(recipe).stem
    console = make_console(stderr=as_json)
    # Under torchrun every rank runs this code; only one prints.
    first = os.environ.get("RANK", "0") == "0"
    progress = TrainingProgress(console, config.steps, as_json=as_json)
    with progress.bar if first else nullcontext():
        config = launch.run(config, folder, progress, first=first)
    if not first:
        return
    _report_unused(folder, progress, console)
    console.print(plain_text(f"trained: {folder / 'export'} (agent point IMAGE ... --model {folder / 'export'})"))
    _report_best(folder, console)
    with after_the_result("the plot of the curves", "run the same command to write it; no step is repeated"):
        if curves := draw_curves(folder / "metrics.jsonl", folder / "curves.png"):
            console.print(plain_text(f"curves: {curves}"))
    if isinstance(config, TrainConfig) and any(source.hold_out for source in config.mixture):
        _report_held_out(config, folder, console)


def with_start_model(changes: list[str], start: str | None) -> list[str]:
    """Return the changes with the model of ``--from``.

    Raises:
        UsageError: they name a model too.
    """
    if start is None:
        return changes
    if any(change.startswith("model=") for change in changes):
        raise UsageError(f"expected one model to start from, got --from {start} and model=; leave one out")
    return [*changes, f"model={json.dumps(start)}"]


def check_start(config: Any, changes: list[str]) -> None:
    """Refuse a model to start from where the recipe makes its own.

    Raises:
        UsageError: see above.
    """
    named = [change for change in changes if change.partition("=")[0].split(".")[-1] == "model"]
    if named and getattr(config, "start", None) is not None:
        raise UsageError(
            f"expected one model to start from, got {named[0]} and a recipe that makes its own (start): add start=null"
        )


class TrainingProgress:
    """Reports steps as a progress bar or as JSON lines, and counts the data that the steps could not use."""

    def __init__(self, console: Console, steps: int, *, as_json: bool) -> None:
        self.bar = Progress(
            TextColumn("step"), MofNCompleteColumn(), BarColumn(), TextColumn("{task.description}"),
            TimeRemainingColumn(), console=console,
        )  # fmt: skip
        self._task = self.bar.add_task("reading the model and the data", total=steps)
        self._as_json, self._console = as_json, console
        self._expects_gpus = False
        # Examples that could not be used, with their reasons.
        self.skip_reasons: list[str] = []
        # The last measurement on held-out data.
        self._held_out = ""
        # Annotations that did not fit their sequences.
        self.num_truncated = 0

    def on_start(self, workers: "RayWorkers") -> None:
        """Say what the workers on Ray are given."""
        self._console.print(plain_text(workers.summary))
        self._expects_gpus = workers.use_gpu

    def on_step(self, record: dict[str, Any]) -> None:
        """Report the record of a step."""
        if self._expects_gpus and record["device"] == "cpu":
            self._console.print(
                "the workers were given GPUs that torch cannot use there, and train on the CPU: install torch for CUDA "
                "on the cluster's machines; with --accelerator gpu this is an error"
            )
        self._expects_gpus = False
        self.skip_reasons.extend(record.get("skipped", ()))
        self.num_truncated += record.get("cut", 0)
        for warning in record.get("warnings", ()):
            warn(warning)
        if self._as_json:
            say_json(record)
        if measured := record.get("validation"):
            self._held_out = f"  held out {measured['loss']:.3f}" + (" (best)" if measured["best"] else "")
        self.bar.update(
            self._task,
            completed=record["step"],
            description=f"loss {record['loss']:.3f}  right {record['accuracy']:.0%}"
            + (f"  {record['tokens_per_s']:,.0f} tokens/s" if "tokens_per_s" in record else "")
            + (f"  MFU {record['mfu']:.0%}" if "mfu" in record else "")
            + self._held_out,
        )


def _report_unused(folder: Path, progress: TrainingProgress, console: Console) -> None:
    """Print which data could not be used."""
    from molmo_agent.train.trainer import PROBLEMS_FILE

    problems = folder / PROBLEMS_FILE
    if problems.exists():
        lines = problems.read_text(encoding="utf-8").strip().split("\n")
        for line in lines[:6]:
            console.print(plain_text(line))
        if len(lines) > 6:
            console.print(plain_text(f"all of them: {problems}"))
    if reasons := progress.skip_reasons:
        console.print(plain_text(f"{len(reasons)} examples could not be used, the first: {reasons[0]}"))
    if progress.num_truncated:
        console.print(f"{progress.num_truncated} annotations did not fit their sequences: raise length")


def _report_best(folder: Path, console: Console) -> None:
    """Print which step had the smallest held-out loss, and where its model is."""
    from molmo_agent.parse import read_json
    from molmo_agent.train.checkpoint import BEST_FILE
    from molmo_agent.train.trainer import BEST_FOLDER
    from molmo_agent.train.validation.answers import PAGE

    if not (folder / BEST_FILE).exists():
        return
    best = read_json(folder / BEST_FILE)
    where = folder / BEST_FOLDER
    place = where if where.exists() else "the trained model is it"
    console.print(plain_text(f"smallest held-out loss: {best['loss']:.4f} at step {best['step']}: {place}"))
    if (folder / PAGE).exists():
        console.print(plain_text(f"held-out examples: {folder / PAGE}"))


def _report_held_out(config: "TrainConfig", folder: Path, console: Console) -> None:
    """Score the hold-out set, and print the hit rates of the models before and after training."""
    from molmo_agent.evaluation.before_and_after import FILE, compare_run, report, write_comparison

    with console.status("scoring the hold-out set"):
        comparisons = compare_run(config, folder)
    if not comparisons:
        # The hold-out set has words alone, which validate measures.
        return
    before, after = report(comparisons)
    images = len({one.image for one in comparisons})
    console.print(f"hold-out set: {before.n} clicks on {images} images", highlight=False)
    table = Table("", "hits", "95 % interval", "n", box=None)
    for name, hits in (("before", before), ("after", after)):
        rate = f"{hits.hits / hits.n:.0%}" if hits.n else "-"
        table.add_row(name, rate, f"{hits.low:.0%} to {hits.high:.0%}", str(hits.n))
    console.print(table)
    gains = sum(one.hit_after > one.hit_before for one in comparisons)
    losses = sum(one.hit_after < one.hit_before for one in comparisons)
    console.print(f"{gains} gained, {losses} lost", highlight=False)
    with after_the_result("the file of all answers", "run the same command to score again"):
        write_comparison(config, folder, comparisons)
        console.print(plain_text(f"all answers: {folder / FILE}"), soft_wrap=True)


def _worker_range(text: str) -> tuple[int, int]:
    """Parse "4" or "2:8".

    Raises:
        UsageError: the text is neither.
    """
    first, _, last = text.partition(":")
    try:
        min_workers, max_workers = int(first), int(last or first)
    except ValueError:
        raise UsageError(f"expected a number of workers, or a range such as 2:8, got {text!r}") from None
    if not 1 <= min_workers <= max_workers:
        raise UsageError(f"expected at least 1 worker, and in a range the smaller number first, got {text!r}")
    return min_workers, max_workers
