"""How fast data like PixMo are made here, for each second of a core; documents with one sandbox each.

    python benchmarks/pixmo.py [--seconds 10] [--json FILE] [--check]

Prints a table and, with --json, writes the numbers; --check exits with 1 where a target is missed.
"""

import os
import platform
import random
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from _report import finish, parser

from molmo_agent.errors import MissingExtraError, UsageError
from molmo_agent.pixmo.cap import caption
from molmo_agent.pixmo.capqa import conversation
from molmo_agent.pixmo.clocks.design import sample_clock
from molmo_agent.pixmo.clocks.draw import draw_clock
from molmo_agent.pixmo.collect.export import export_project
from molmo_agent.pixmo.collect.server import serving
from molmo_agent.pixmo.collect.tasks import Helpers
from molmo_agent.pixmo.count import ShapesDetector, most_frequent
from molmo_agent.pixmo.docs.document import TYPES
from molmo_agent.pixmo.docs.make import make_document
from molmo_agent.pixmo.rehearsal.annotator import annotate
from molmo_agent.pixmo.rehearsal.collection import draw_scenes
from molmo_agent.pixmo.rehearsal.scenes import draw_scene, sample_scene
from molmo_agent.pixmo.rehearsal.speech import transcript

CLOCKS = "clocks, images per second of one core"
COUNT = "count (detector shapes), images per second of one core"
CAPTIONS = "cap by rules (two transcripts each), captions per second of one core"
CAPQA = "capqa by rules, conversations per second of one core"
ANNOTATIONS = "collect, annotations saved per second of one core (script and server)"
EXPORT = "export, rows per second of one core"
TARGETS = {CLOCKS: (">=", 20.0), COUNT: (">=", 20.0), CAPQA: (">=", 200.0), ANNOTATIONS: (">=", 20.0)}
_SCENES = 60


def core_seconds() -> float:
    """Return the processor time of this process and of the programs that it ran: what others run is left out."""
    return sum(os.times()[:4])


def rate(work: Callable[[int], object], seconds: float, clock: Callable[[], float]) -> float:
    """Return how often per second ``work`` can be called, with another seed each time."""
    work(0)
    start, count = clock(), 0
    while clock() - start < seconds:
        count += 1
        work(count)
    return count / (clock() - start)


def collected(folder: Path) -> dict[str, float]:
    """Return how many annotations a second a server saves, and how many rows a second an export writes."""
    scenes = {sha256: sample_scene(seed) for sha256, seed in draw_scenes(folder, _SCENES).items()}
    start = core_seconds()
    with serving(folder, Helpers(), report=print) as address:
        done = annotate(address, scenes)
    saved, start = sum(done.values()) / (core_seconds() - start), core_seconds()
    rows = export_project(folder, folder / "out", method="pointing", least=1, report=print).rows
    return {ANNOTATIONS: saved, EXPORT: sum(rows.values()) / (core_seconds() - start)}


def main() -> int:
    arguments_parser = parser(__doc__)
    arguments_parser.add_argument("--seconds", type=float, default=10.0)
    arguments = arguments_parser.parse_args()
    said = [[transcript(sample_scene(seed), speaker) for speaker in range(2)] for seed in range(200)]
    captions = [caption(both) for both in said]
    images = [draw_scene(sample_scene(seed)) for seed in range(22)]
    detector = ShapesDetector()
    own_work: dict[str, Callable[[int], object]] = {
        CLOCKS: lambda seed: draw_clock(sample_clock(seed)),
        COUNT: lambda seed: most_frequent(detector.detect(images[seed % len(images)], 0.45), 0.9),
        CAPTIONS: lambda seed: caption(said[seed % len(said)]),
        CAPQA: lambda seed: conversation(captions[seed % len(captions)], random.Random(seed)),
    }
    results = {name: rate(work, arguments.seconds, core_seconds) for name, work in own_work.items()}
    with tempfile.TemporaryDirectory() as folder:
        try:
            results |= collected(Path(folder))
        except MissingExtraError as error:
            print(f"collect: {error}")
    for type_ in TYPES:
        try:
            name = f"docs ({type_}), documents per second of one core"
            results[name] = rate(partial(make_document, type_=type_), arguments.seconds, core_seconds)
        except UsageError as error:
            print(f"docs ({type_}): {error}")
    return finish(arguments, results, TARGETS, width=74, machine=platform.processor(), python=platform.python_version())


if __name__ == "__main__":
    raise SystemExit(main())
