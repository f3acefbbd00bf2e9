"""Teach a model of 1.6 million parameters to read clocks, on one core of a CPU; what it reads right, beside chance.

    python examples/clock_reader.py [--out clock_reader] [--count 20000] [--plain-steps 600] [steps=3000]

It learns from plain clocks first, then from clocks of any design. Six of the twenty outlines of bodies are kept from
training; faces and times are always new. The same command resumes what was stopped.
"""

import argparse
import json
from functools import partial
from pathlib import Path

from molmo_agent.data.catalog import open_source
from molmo_agent.data.source import Source
from molmo_agent.evaluation.metrics.clock import clock
from molmo_agent.evaluation.metrics.interval import wilson
from molmo_agent.model.prompts import role_prompt
from molmo_agent.pixmo.clocks.design import bodies_like
from molmo_agent.pixmo.clocks.make import make_clocks
from molmo_agent.pixmo.shards import make_shards, shards_of
from molmo_agent.pointers.local_chat.loading import load_pointer
from molmo_agent.pointers.molmo import MolmoPointer
from molmo_agent.train.launch import run_here
from molmo_agent.train.recipe import load

HELD_OUT = ("alarm-*", "cushion-*", "diver-*", "pocket-*", "square-wall-*", "tower-*")
# Split -> form, bodies that are drawn, bodies that are left out, first seed.
SPLITS = {
    "plain": ("plain", (), HELD_OUT, 7_000_000),
    "train": ("close", (), HELD_OUT, 0),
    "seen_bodies": ("close", (), HELD_OUT, 8_000_000),
    "validation": ("close", HELD_OUT, (), 9_000_000),
}


def draw(folder: Path, counts: dict[str, int]) -> None:
    """Draw the clocks of every split, as `agent pixmo clocks --form close` does."""
    for split, (form, only, without, seed) in SPLITS.items():
        make = partial(make_clocks, form=form, bodies=bodies_like(only, without))
        for done in make_shards(make, shards_of(folder, split, seed, counts[split], 250)):
            print(f"{split}: {done.rows} clocks in {Path(done.shard.path).name}", flush=True)


def measure(pointer: MolmoPointer, folder: Path, split: str) -> dict[str, list[bool]]:
    """Return for every clock of a split whether hour and minute are right, and the minute within one."""
    data = open_source(Source(kind="pixmo-clocks", path=str(folder), options={"split": split}))
    right: dict[str, list[bool]] = {}
    for number in range(len(data)):
        row = data.row(number, 0)
        question, answer = row.conversations[0].turns
        hour, minute = answer.removeprefix("The time shown is ").split(":")[:2]
        images = [picture.image() for picture in row.pictures]
        reply = "".join(pointer.complete(images, role_prompt(question), max_new_tokens=16))
        scores = clock(reply, int(hour), int(minute), bench=True)
        for name in ("hour_correct", "minute_correct", "minute_close", "all_close"):
            right.setdefault(name, []).append(scores[name])
    return right


def main() -> None:
    """Draw, train, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("clock_reader"), help="folder for everything")
    parser.add_argument("--count", type=int, default=20_000, help="clocks to train on")
    parser.add_argument("--measure", type=int, default=1_000, help="clocks to measure on, of each kind of bodies")
    parser.add_argument("--plain-steps", type=int, default=600, help="steps on plain clocks before; 0: none")
    parser.add_argument("changes", nargs="*", help="key=value, as in agent train")
    arguments = parser.parse_args()
    folder = arguments.out / "clocks"
    draw(folder, dict.fromkeys(SPLITS, arguments.measure) | {name: arguments.count for name in ("plain", "train")})
    places = [f"mixture.0.path={folder}", f"validate.mixture.0.path={folder}"]
    if arguments.plain_steps:
        # The rate does not fall to its end: what follows continues with it.
        first = ["mixture.0.options.split=plain", "optimizer.final=0.5", *arguments.changes]
        run_here(
            load("clocks", [*places, *first, f"steps={arguments.plain_steps}"]), arguments.out / "plain", print_step
        )
        places.append(f"model={arguments.out / 'plain' / 'export'}")
    run_here(load("clocks", [*places, *arguments.changes]), arguments.out / "run", print_step)
    pointer = load_pointer(arguments.out / "run" / "export")
    results = {}
    print(f"{'':14}{'hour':>16}{'minute':>16}{'minute +-1':>16}{'time +-1 min':>16}")
    for split in ("seen_bodies", "validation"):
        right = results[split] = measure(pointer, folder, split)
        cells = (f"{sum(each) / len(each):.1%} {interval(each)}" for each in right.values())
        print(f"{split:14}" + "".join(f"{cell:>16}" for cell in cells))
    print(f"{'chance':14}{1 / 12:>16.1%}{1 / 60:>16.1%}{3 / 60:>16.1%}{3 / 720:>16.1%}")
    shares = {split: {name: sum(each) / len(each) for name, each in right.items()} for split, right in results.items()}
    (arguments.out / "clocks.json").write_text(json.dumps(shares, indent=1) + "\n", encoding="utf-8")


def interval(right: list[bool]) -> str:
    """Return the 95 % interval of a share."""
    low, high = wilson(sum(right), len(right))
    return f"({low:.0%}-{high:.0%})"


def print_step(record: dict[str, object]) -> None:
    """Print every hundredth step."""
    if int(str(record["step"])) % 100 == 0:
        print(f"step {record['step']}: loss {float(str(record['loss'])):.3f}", flush=True)


if __name__ == "__main__":
    main()
