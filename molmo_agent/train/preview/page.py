"""A recipe's data as one HTML file that needs nothing else: what the model will see of the first examples, and why.

Everything on the page comes from outside and is escaped; it has no scripts and asks no network.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_agent.data.catalog import open_mixture
from molmo_agent.errors import MolmoAgentError, UsageError
from molmo_agent.html import render_page
from molmo_agent.model import MolmoConfig, MolmoProcessor
from molmo_agent.model.checkpoints.hub import places, remark
from molmo_agent.train.batching.data_loader import DataLoader
from molmo_agent.train.batching.encode import Encoded, encode
from molmo_agent.train.config import Run, TrainConfig, source_names
from molmo_agent.train.flops import Flops
from molmo_agent.train.preview.example_view import Seen, see
from molmo_agent.train.starting_model import source_of


@dataclass(frozen=True, slots=True)
class Member:
    """An example's part of a sequence."""

    number: int
    tokens: int
    crops: int
    hue: int
    # Whether the page has it.
    shown: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One step's examples, and how they are packed."""

    # Counted from 1, as in metrics.jsonl.
    number: int
    examples: list[Seen]
    sequences: list[list[Member]]
    # Examples of the step: drawn, and those that cannot be used.
    drawn: int
    skipped: int

    @property
    def full(self) -> int:
        """Return the tokens that are no padding."""
        return sum(member.tokens for sequence in self.sequences for member in sequence)


def hue(number: int) -> int:
    """Return a hue in degrees: neighbours differ much."""
    return round(number * 137.508) % 360


def load_step(loader: DataLoader, step: int, most: int) -> Step:
    """Return a step, and what the model sees of at most so many of its examples."""
    config, names = loader.config, source_names(loader.config)
    packed: list[Encoded] = []
    # Number in the step of each that is packed.
    numbers: list[int] = []
    seen: list[Seen] = []
    skipped = 0
    draws = loader.draws(step)
    for number, draw in enumerate(draws, 1):
        name = f"row {draw.row}"
        try:
            row = loader.sources[draw.source].row(draw.row, draw.seed)
            name = row.name
            example = encode(row, loader.processor, config, draw.seed, draw.source)
        except (ValueError, MolmoAgentError) as error:
            skipped += 1
            if len(seen) < most:
                reason = f"left out: {error}"
                seen.append(
                    Seen(name=name, source=names[draw.source], number=number, tokens=0, learned=0, problem=reason)
                )
            continue
        packed.append(example)
        numbers.append(number)
        if len(seen) < most:
            seen.append(
                see(example, loader.processor, config, seed=draw.seed, source=names[draw.source], number=number)
            )
    (sequences,) = loader.deal(packed, 1)
    shown = {example.number for example in seen}
    members = [
        [
            Member(numbers[i], packed[i].size.tokens, packed[i].crops, hue(numbers[i]), numbers[i] in shown)
            for i in sequence
        ]
        for sequence in sequences
    ]
    return Step(step + 1, seen, members, len(draws), skipped)


def render(config: TrainConfig, recipe: str, loader: DataLoader, steps: Sequence[Step]) -> str:
    """Return the page."""
    weights: Counter[float] = Counter()
    for step in steps:
        for example in step.examples:
            weights.update(example.weights)
    most = max(weights, default=1.0)
    rates = loader.order.rates
    legend = [
        # Weights seen, how strongly each is coloured in percent, and what it is the root of.
        {"weight": weight, "tokens": count, "strength": round(18 + 72 * weight / most), "branches": _branches(weight)}
        for weight, count in sorted(weights.items(), reverse=True)
    ]
    return render_page(
        "train/preview/page.html.jinja",
        config=config,
        recipe=recipe,
        steps=steps,
        legend=legend,
        classes={entry["weight"]: f"w{number}" for number, entry in enumerate(legend)},
        hue=hue,
        sources=[
            {
                "name": name,
                "kind": source.kind,
                "path": source.path,
                "rows": len(rows),
                "share": rate / sum(rates),
                "problems": rows.problems,
            }
            for name, source, rows, rate in zip(
                source_names(config), config.mixture, loader.sources, rates, strict=True
            )
        ],
    )


def _branches(weight: float) -> int | None:
    """Return n where a weight is 1/sqrt(n) of several annotations."""
    n = round(1 / weight**2)
    return n if n > 1 and abs(n**-0.5 - weight) < 1e-5 else None


def write_page(config: Run, recipe: str, path: Path, *, rows: int, step: int) -> None:
    """Write what the model sees of the first examples of a run, from a step on.

    Args:
        config: the run.
        recipe: its name.
        path: of the page.
        rows: examples to show.
        step: where they begin, counted from 0.

    Raises:
        UsageError: the recipe has no mixture, a data set cannot be opened, the model's processor cannot be loaded, or
            the page not be written.
    """
    if not isinstance(config, TrainConfig):
        raise UsageError(
            f"the recipe {recipe!r} is a curriculum: its stages draw their screens as they go, and there is no mixture "
            "of data sets to show; 'screens' shows the simulated desktop as a data set"
        )
    # First of all: it says what is missing, and costs no download.
    sources = open_mixture(config.mixture, config.home)
    place = source_of(config)
    model_config: Any
    try:
        processor = MolmoProcessor.from_pretrained(place, **places(place))
        model_config = MolmoConfig.from_pretrained(place, **places(place))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"expected a Molmo checkpoint at {place!r} to prepare the data for, but: {error}{remark(place)}"
        ) from error
    loader = DataLoader(config, processor, Flops(model_config), sources)
    steps: list[Step] = []
    while (missing := rows - sum(len(shown.examples) for shown in steps)) > 0:
        steps.append(load_step(loader, step + len(steps), missing))
    page = render(config, recipe, loader, steps)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(f"cannot write the page {path}: {error.strerror}; choose another --out") from error
