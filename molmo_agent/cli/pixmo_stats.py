"""``agent pixmo stats``: what is in PixMo data sets, published or made here."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Column, Table

from molmo_agent.console import make_console, plain_text, say, say_json
from molmo_agent.errors import UsageError

if TYPE_CHECKING:
    from molmo_agent.pixmo.stats import SplitStats

app = typer.Typer()


@app.command()
def stats(
    data: Annotated[list[Path], typer.Argument(help="Folders or Parquet files of PixMo data sets.")],
    tokenizer: Annotated[
        str | None, typer.Option(help="Also count tokens: a folder or a hub name, such as Qwen/Qwen2-7B.")
    ] = None,
    figure: Annotated[Path | None, typer.Option(help="PNG to draw: labels by their number of points.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON instead of a table.")] = False,
) -> None:
    """Count images, annotations, words, crops and points, as in table 7 and figure 12 of the paper.

    Works on published files without their images as well; crops need images.
    """
    from molmo_agent.pixmo.stats import count_folder, draw_points_figure

    tokenize = _tokenizer(tokenizer) if tokenizer else None
    counted = [one for path in data for one in count_folder(path, tokenize)]
    if as_json:
        say_json([_values(one) for one in counted])
    else:
        print_table(counted)
    if figure is not None:
        draw_points_figure(counted, figure)
        if not as_json:
            say(figure)


def _tokenizer(name: str) -> Callable[[str], int]:
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise UsageError(f"expected a tokenizer at {name!r}, but: {str(error).splitlines()[0]}") from error
    return lambda text: len(loaded(text, add_special_tokens=False)["input_ids"])


def _values(one: "SplitStats") -> dict[str, object]:
    values: dict[str, object] = {
        name: getattr(one, name)
        for name in ("name", "kind", "split", "images", "annotations", "words", "tokens", "crops", "unreadable")
    }
    if one.by_points:
        values |= {"points": one.points, "absent": one.absent, "labels_by_points": one.ranges}
    return values


def print_table(counted: Sequence["SplitStats"]) -> None:
    """Print one row for each split, and a second table for data sets with points."""
    tokens = any(one.tokens is not None for one in counted)
    table = Table(
        "data set", "split", "images", "annotations", "words", *(["tokens"] if tokens else []), "crops", box=None
    )
    for one in counted:
        table.add_row(
            plain_text(one.name),
            one.split,
            *(f"{number:,}" for number in (one.images, one.annotations, one.words)),
            *([f"{one.tokens:,}"] if one.tokens is not None else []),
            "-" if one.crops is None else f"{one.crops:.1f}",
        )
    console = make_console()
    console.print(table)
    pointing = [one for one in counted if one.by_points]
    if pointing:
        headings = ("labels", "absent", "per image", "points", "per label", "per image")
        table = Table(Column("with points", overflow="fold"), *headings, box=None, padding=(0, 1, 0, 0))
        for one in pointing:
            present = one.annotations - one.absent
            table.add_row(
                plain_text(f"{one.name}/{one.split}"),
                *(f"{number:,}" for number in (one.annotations, one.absent)),
                f"{one.annotations / max(one.images, 1):.1f}",
                f"{one.points:,}",
                f"{one.points / max(present, 1):.1f}",
                f"{one.points / max(one.images, 1):.1f}",
            )
        console.print(table)
        for one in pointing:
            ranges = ", ".join(f"{name}: {number:,}" for name, number in one.ranges.items())
            console.print(plain_text(f"{one.name} ({one.split}), labels by points: {ranges}"), soft_wrap=True)
    for one in counted:
        if one.unreadable:
            console.print(plain_text(f"{one.name} ({one.split}): {one.unreadable} rows cannot be read", "yellow"))
