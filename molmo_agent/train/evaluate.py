"""How often a pointing model hits: screens it never saw, by category, with chance beside every score."""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from molmo_agent.envs.sim_desktop.scene import Screen
from molmo_agent.geometry import Box
from molmo_agent.interfaces import PointingModel
from molmo_agent.model.nano import CHECKPOINT, load_nano
from molmo_agent.model.pointer import MolmoPointer
from molmo_agent.train.card import write_card
from molmo_agent.train.draw import Split, draw, seed_of
from molmo_agent.train.metrics.interval import wilson
from molmo_agent.train.phrases import Question, ask_all

# Seeds of evaluation screens start here; training draws below 2**31.
EVALUATION_SEED = 2**31


@dataclass
class Tally:
    """Counts of one category."""

    hits: int = 0
    total: int = 0
    # Sum over questions of the chance that a random element of the same kind is the right one.
    chance: float = 0.0
    statuses: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def row(self) -> dict[str, Any]:
        """Return the figures that tables and cards show."""
        low, high = wilson(self.hits, self.total)
        return {
            "n": self.total,
            "hit": round(self.hits / self.total, 4) if self.total else None,
            "low": round(low, 4),
            "high": round(high, 4),
            "random_same_kind": round(self.chance / self.total, 4) if self.total else None,
            "statuses": dict(self.statuses),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationSet:
    """Which screens to ask about."""

    name: str
    split: Split
    screens: int
    width: int = 640
    height: int = 480
    style: str | None = None
    # Questions per screen, drawn at random: neighbours on one screen tell less than other screens.
    questions: int = 8


def questions_of(chosen: EvaluationSet, seed: int) -> Iterator[tuple[Screen, list[Question]]]:
    """Yield the set's screens with the questions asked about each; a pure function of set and seed."""
    for index in range(chosen.screens):
        number = EVALUATION_SEED + seed_of(chosen.name, seed, index)
        screen = draw(number, chosen.style, width=chosen.width, height=chosen.height, split=chosen.split)
        rng = Random(number)
        questions = ask_all(screen.elements, rng)
        rng.shuffle(questions)
        if questions:
            yield screen, questions[: chosen.questions]


def evaluate(model: PointingModel, chosen: EvaluationSet, seed: int = 0) -> dict[str, Tally]:
    """Ask a model about a set; return a tally per category. A hit is one point inside the element's box."""
    tallies: dict[str, Tally] = defaultdict(Tally)
    for screen, questions in questions_of(chosen, seed):
        height, width = screen.image.shape[:2]
        results = model.point_batch([screen.image] * len(questions), [question.text for question in questions])
        for question, result in zip(questions, results, strict=True):
            tally = tallies[question.category]
            box = Box.from_pixels(*question.element.box, width, height)
            hit = len(result.points) == 1 and box.contains(result.points[0].point)
            same = sum(element.visible and element.kind == question.element.kind for element in screen.elements)
            tally.hits += hit
            tally.total += 1
            tally.chance += 1 / same
            tally.statuses[result.status] += 1
    return dict(tallies)


def merge(tallies: Iterable[Tally]) -> Tally:
    """Add tallies up."""
    total = Tally()
    for tally in tallies:
        total.hits += tally.hits
        total.total += tally.total
        total.chance += tally.chance
        for status, count in tally.statuses.items():
            total.statuses[status] += count
    return total


SUITE = (
    EvaluationSet(name="desktop, unseen seeds", split="train", screens=60),
    EvaluationSet(name="desktop, unseen words", split="held_out_words", screens=60),
    EvaluationSet(name="desktop, unseen fonts", split="held_out_fonts", screens=60),
    EvaluationSet(name="shapes and icons, unseen seeds", split="train", screens=30, style="shapes"),
    EvaluationSet(name="practice sheets, unseen words", split="held_out_words", screens=30, style="panel"),
)

# Groups of categories that the card states a score for.
GROUPS = {
    "shapes and icons": ("shape", "icon", "window-button"),
    "text-labelled": ("text-", "word"),
}


def run_suite(model: PointingModel, suite: Iterable[EvaluationSet] = SUITE, seed: int = 0) -> dict[str, Any]:
    """Evaluate a model on every set; return a JSON-ready table: set -> group or category -> figures."""
    table: dict[str, Any] = {}
    for chosen in track(list(suite), description=f"evaluating {model.name}", transient=True):
        tallies = evaluate(model, chosen, seed)
        rows = {
            group: merge(t for name, t in tallies.items() if name.startswith(prefixes)).row()
            for group, prefixes in GROUPS.items()
        }
        rows |= {name: tallies[name].row() for name in sorted(tallies)}
        table[chosen.name] = rows
    return table


def print_table(table: dict[str, Any]) -> None:
    """Print a suite's figures for people."""
    view = Table("screens", "category", "n", "hit", "95 % interval", "random widget of the same kind")
    for name, rows in table.items():
        for category, row in rows.items():
            if row["n"]:
                interval = f"{row['low']:.1%} - {row['high']:.1%}"
                view.add_row(
                    name, category, str(row["n"]), f"{row['hit']:.1%}", interval, f"{row['random_same_kind']:.1%}"
                )
        view.add_section()
    Console().print(view)


def main() -> None:
    """Evaluate a checkpoint folder (by default the embedded one) and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, help="checkpoint folder; default: the embedded nano")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--card", help="write the card beside the checkpoint; the training in words, e.g. '900 steps'")
    parser.add_argument("--note", default="", help="what else the card should say")
    parser.add_argument("--screens", type=int, help="screens per set, for a quick look")
    arguments = parser.parse_args()
    model = MolmoPointer.from_pretrained(arguments.model, dtype="float32") if arguments.model else load_nano()
    suite = [replace(s, screens=arguments.screens) for s in SUITE] if arguments.screens else SUITE
    table = run_suite(model, suite)
    print_table(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1) + "\n")
    if arguments.card:
        parameters = sum(p.numel() for p in model.model.parameters())
        folder = arguments.model or CHECKPOINT
        print(write_card(folder, table, parameters=parameters, steps=arguments.card, note=arguments.note))


if __name__ == "__main__":
    main()
