"""Write an offline HTML page of a recipe's data: the model's inputs for the first examples, and their packing.

All content is untrusted and escaped. The page has no scripts and makes no requests.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_agent.data.catalog import open_mixture
from molmo_agent.errors import MolmoAgentError, UsageError
from molmo_agent.files import write_whole
from molmo_agent.html import render_page
from molmo_agent.model import MolmoConfig, MolmoProcessor
from molmo_agent.model.checkpoints.hub import places, remark
from molmo_agent.train.batching.data_loader import DataLoader
from molmo_agent.train.batching.encode import EncodedExample, encode
from molmo_agent.train.config import Run, TrainConfig, source_names
from molmo_agent.train.flops import Flops
from molmo_agent.train.preview.example_view import ExampleView, view_example
from molmo_agent.train.starting_model import source_of


@dataclass(frozen=True, slots=True)
class Member:
    """An example in a packed sequence."""

    number: int
    tokens: int
    crops: int
    hue: int
    # Whether the page shows the example.
    is_on_page: bool


@dataclass(frozen=True, slots=True)
class Step:
    """One step's examples and their packing."""

    # Counted from 1, as in metrics.jsonl.
    number: int
    examples: list[ExampleView]
    sequences: list[list[Member]]
    # Number of examples in the step, and of those that cannot be used.
    num_drawn: int
    num_skipped: int

    @property
    def num_tokens(self) -> int:
        """Return the number of tokens without padding."""
        return sum(member.tokens for sequence in self.sequences for member in sequence)


def hue(number: int) -> int:
    """Return a hue in degrees; consecutive numbers get very different hues."""
    return round(number * 137.508) % 360


def load_step(loader: DataLoader, step: int, max_examples: int) -> Step:
    """Return a step with the views of at most ``max_examples`` examples."""
    config, names = loader.config, source_names(loader.config.mixture)
    encoded: list[EncodedExample] = []
    # Number in the step of each encoded example.
    numbers: list[int] = []
    views: list[ExampleView] = []
    num_skipped = 0
    draws = loader.draws(step)
    for number, draw in enumerate(draws, 1):
        name = f"row {draw.row}"
        try:
            row = loader.sources[draw.source].row(draw.row, draw.seed)
            name = row.name
            example = encode(row, loader.processor, config, draw.seed, draw.source)
        except (ValueError, MolmoAgentError) as error:
            num_skipped += 1
            if len(views) < max_examples:
                reason = f"skipped: {error}"
                views.append(
                    ExampleView(
                        name=name, source=names[draw.source], number=number, tokens=0, targets=0, problem=reason
                    )
                )
            continue
        encoded.append(example)
        numbers.append(number)
        if len(views) < max_examples:
            views.append(
                view_example(
                    example, loader.processor, config, seed=draw.seed, source=names[draw.source], number=number
                )
            )
    (sequences,) = loader.deal(encoded, 1)
    numbers_on_page = {example.number for example in views}
    members = [
        [
            Member(numbers[i], encoded[i].size.tokens, encoded[i].crops, hue(numbers[i]), numbers[i] in numbers_on_page)
            for i in sequence
        ]
        for sequence in sequences
    ]
    return Step(step + 1, views, members, len(draws), num_skipped)


def render(config: TrainConfig, recipe: str, loader: DataLoader, steps: Sequence[Step]) -> str:
    """Return the page."""
    weights: Counter[float] = Counter()
    for step in steps:
        for example in step.examples:
            weights.update(example.weights)
    heaviest = max(weights, default=1.0)
    rates = loader.sampler.rates
    legend = [
        # Weights in use, the strength of their colours in percent, and n for the weight 1/sqrt(n).
        {
            "weight": weight,
            "tokens": count,
            "strength": round(18 + 72 * weight / heaviest),
            "branches": _branches(weight),
        }
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
                source_names(config.mixture), config.mixture, loader.sources, rates, strict=True
            )
        ],
    )


def _branches(weight: float) -> int | None:
    """Return n if a weight is 1/sqrt(n) of several annotations, else None."""
    n = round(1 / weight**2)
    return n if n > 1 and abs(n**-0.5 - weight) < 1e-5 else None


def processor_of(config: TrainConfig) -> tuple[MolmoProcessor, Any]:
    """Return the processor and the configuration of a run's model.

    Raises:
        UsageError: they cannot be loaded.
    """
    source = source_of(config)
    try:
        return (
            MolmoProcessor.from_pretrained(source, **places(source)),
            MolmoConfig.from_pretrained(source, **places(source)),
        )
    except (OSError, ValueError) as error:
        raise UsageError(
            f"expected a Molmo checkpoint at {source!r} to prepare the data for, but: {error}{remark(source)}"
        ) from error


def write_page(config: Run, recipe: str, path: Path, *, rows: int, step: int) -> None:
    """Write a page of the model's inputs for the first examples of a run, from a step on.

    Args:
        config: the run.
        recipe: its name.
        path: of the page.
        rows: number of examples.
        step: the first step, counted from 0.

    Raises:
        UsageError: the recipe has no mixture, a data set cannot be opened, the model's processor cannot be loaded, or
            the page cannot be written.
    """
    if not isinstance(config, TrainConfig):
        raise UsageError(
            f"the recipe {recipe!r} is a curriculum: its stages draw their screens during training, so there is no "
            "mixture of data sets to show; the recipe 'screens' shows the simulated desktop as a data set"
        )
    # Open the data first: this reports missing files without a download.
    sources = open_mixture(config.mixture, config.home)
    processor, model_config = processor_of(config)
    loader = DataLoader(config, processor, Flops(model_config), sources)
    steps: list[Step] = []
    while (num_missing := rows - sum(len(one.examples) for one in steps)) > 0:
        steps.append(load_step(loader, step + len(steps), num_missing))
    page = render(config, recipe, loader, steps)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, page)
    except OSError as error:
        raise UsageError(f"cannot write the page {path}: {error.strerror}; choose another --out") from error
