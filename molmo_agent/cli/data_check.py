"""``agent data check``: finds out what kind of data a file is, checks it, and prints what was found."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from molmo_agent.console import make_console, plain_text, say_json
from molmo_agent.errors import DataError, UsageError

if TYPE_CHECKING:
    from molmo_agent.train.config import Run, TrainConfig
    from molmo_agent.train.preview.data_check import SourceCheck


def check_data(
    data: str, changes: list[str], kind: str | None, options: list[str], model: str, rows: int, *, as_json: bool
) -> int:
    """Check a file or a recipe, print what was found, and return the exit code.

    Raises:
        UsageError: the file or the recipe is missing or unreadable, or an option is wrong.
    """
    from molmo_agent.train.config import TrainConfig
    from molmo_agent.train.preview.data_check import check_mixture
    from molmo_agent.train.preview.page import processor_of

    config = config_of(data, changes, kind, options, model)
    if not isinstance(config, TrainConfig):
        raise UsageError(f"the recipe {data!r} is a curriculum, which draws its screens: there is no data to check")
    console = make_console(stderr=True)
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), BarColumn())
    processor, _ = processor_of(config)
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("reading", total=None)

        def on_progress(name: str, done: int, total: int) -> None:
            progress.update(bar, description=name, completed=done, total=total or None)

        checks = check_mixture(config, processor, rows=rows, on_progress=on_progress)
    if as_json:
        say_json({"data": [asdict(check) for check in checks], "usable": all(check.num_usable for check in checks)})
    else:
        for check in checks:
            _print(make_console(), check, config)
    return 0 if all(check.num_usable for check in checks) else 1


def config_of(data: str, changes: list[str], kind: str | None, options: list[str], model: str) -> "Run":
    """Return the config of a recipe, or of one data set alone.

    Args:
        data: a recipe's name, a YAML file, or a file or folder of data.
        changes: key=value of the recipe.
        kind: of the data; None: what the data look like.
        options: NAME=VALUE of the kind.
        model: whose tokens are counted, for data.

    Raises:
        UsageError: there is nothing at the path, or a change or option does not fit.
    """
    from molmo_agent.data.source import Source
    from molmo_agent.parse import load_yaml
    from molmo_agent.train.config import TrainConfig
    from molmo_agent.train.preview.data_check import guess_kind
    from molmo_agent.train.recipe import load, recipe_names

    path = Path(data)
    # A folder with the name of a recipe is ./NAME.
    if data in recipe_names() or not path.exists() or path.suffix in (".yaml", ".yml"):
        if not path.exists() and data not in recipe_names():
            raise UsageError(
                f"expected a file, a folder or a recipe, got {data!r}; recipes: {', '.join(recipe_names())}"
            )
        if kind is not None or options:
            raise UsageError("--kind and --option go with a file; a recipe names both itself")
        return load(data, changes)
    chosen: dict[str, Any] = {}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise UsageError(f"expected --option NAME=VALUE, got {option!r}")
        chosen[name] = load_yaml(value, where=f"the value of {name}")
    source = Source(kind=kind or guess_kind(path, _first(path)), path=data, options=chosen)
    if changes:
        raise UsageError(f"expected key=value with a recipe only, got {changes[0]!r} with a file")
    return TrainConfig(model=model, mixture=(source,))


def _first(path: Path) -> Any:
    """Return the first record of a file of JSON; None of anything else."""
    from molmo_agent.data.readers.own_records import open_records
    from molmo_agent.data.unusable_rows import Problems

    if path.is_dir() or path.suffix.lower() not in (".json", ".jsonl"):
        return None
    try:
        return next((record for _, record in open_records(path, "data", (), Problems()).scan()), None)
    except DataError:
        return None


def _print(console: Console, check: "SourceCheck", config: "TrainConfig") -> None:
    def line(text: str, style: str = "") -> None:
        console.print(plain_text(text, style), soft_wrap=True)

    amount = f"{check.num_usable} of {check.checked} rows can be used"
    if check.checked < check.rows:
        amount += f" ({check.rows} in all, of which these were decoded; --rows 0 decodes all)"
    line(f"{check.name} ({check.kind}): {amount if check.rows or check.checked else 'nothing can be used'}")
    if check.conversations:
        line(f"  {check.conversations} conversations" + (f", {check.points} points" if check.points else ""))
    if check.num_unusable:
        line(f"  {check.num_unusable} records cannot be used:", "yellow")
    for reason in check.unusable:
        more = ", ..." if reason.count > len(reason.places) else ""
        line(f"    {reason.count} x {reason.reason}")
        line(f"      {', '.join(reason.places)}{more}")
    if check.duplicates:
        line(f"  {check.duplicates} conversations are there again: {_names(check.duplicate_places)}", "yellow")
    if check.num_truncated:
        line(f"  {check.num_truncated} conversations do not fit into {config.length} tokens: raise length", "yellow")
    if check.longest:
        line(f"  longest: {', '.join(f'{tokens} tokens ({name})' for tokens, name in check.longest)}")
    if check.largest_image is not None:
        width, height, name = check.largest_image
        line(f"  largest image: {width} x {height} ({name})")


def _names(names: Sequence[str]) -> str:
    return ", ".join(names)
