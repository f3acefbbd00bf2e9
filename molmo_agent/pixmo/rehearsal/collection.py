"""Draws scenes, has the script annotate them through the server of a collection, and exports the data sets."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path

import PIL.Image

from molmo_agent.files import write_whole
from molmo_agent.pixmo.collect.export import export_project
from molmo_agent.pixmo.collect.server import serving
from molmo_agent.pixmo.collect.tasks import Helpers
from molmo_agent.pixmo.count import ShapesDetector, propose
from molmo_agent.pixmo.rehearsal.annotator import annotate
from molmo_agent.pixmo.rehearsal.scenes import draw_scene, sample_scene
from molmo_agent.pixmo.shards import Mapper, batches

_BATCH = 32
# Of each number of objects, one in so many is verified for validation, and as many for test.
_HELD_OUT = 20


def draw_scenes(folder: Path, count: int, spread: Mapper = map) -> dict[str, int]:
    """Draw the scenes of the seeds from 0 in ``folder/images``, and return SHA-256 of each file -> its seed."""
    work = batches(range(count), _BATCH)
    return dict(chain.from_iterable(spread(partial(_draw, folder=folder / "images"), work)))


def _draw(seeds: range, *, folder: Path) -> list[tuple[str, int]]:
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for seed in seeds:
        file = io.BytesIO()
        PIL.Image.fromarray(draw_scene(sample_scene(seed))).save(file, "PNG")
        path = folder / f"{seed:06d}.png"
        if not path.exists():
            write_whole(path, file.getvalue())
        drawn.append((hashlib.sha256(file.getvalue()).hexdigest(), seed))
    return drawn


def rehearse(
    folder: Path, out: Path, count: int, *, spread: Mapper = map, report: Callable[[str], object]
) -> Counter[str]:
    """Make a collection of scenes, annotate it by script, and export its data sets.

    Args:
        folder: of the collection; resumed if it exists.
        out: parent of the data sets' folders.
        count: number of scenes.
        spread: where scenes are drawn and objects are detected.
        report: called with one line on what stayed out.

    Returns:
        The number of requests of the script by kind.

    Raises:
        EnvError: the server refused an annotation.
        MissingExtraError: the web server is not installed.
    """
    seeds = draw_scenes(folder, count, spread)
    per_count = max(1, count // 11 // _HELD_OUT)
    detector = ShapesDetector()
    propose(folder / "images", folder, detector, threshold=0.9, per_count=per_count, spread=spread, report=report)
    with serving(folder, Helpers(), report=report) as address:
        done = annotate(address, {sha256: sample_scene(seed) for sha256, seed in seeds.items()})
    for line in export_project(folder, out, method="pointing", least=1, report=report).left_out:
        report(line)
    return done
