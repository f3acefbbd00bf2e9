"""Makes a small data set with every pipeline, offline: rules write, and a script stands in for the annotators."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from molmo_agent.errors import MolmoAgentError
from molmo_agent.files import write_whole
from molmo_agent.pixmo.capqa import make_capqa
from molmo_agent.pixmo.clocks.make import make_clocks
from molmo_agent.pixmo.docs.document import TYPES
from molmo_agent.pixmo.docs.make import make_docs
from molmo_agent.pixmo.rehearsal.collection import rehearse
from molmo_agent.pixmo.shards import Mapper, make_shards, shards_of

RECIPE = Path(__file__).parent / "mixture.yaml"
"""Fine-tuning on everything that is made here; ``home`` is the folder."""

# A tenth of the scenes has no shapes, and some questions stay open.
_SCENES_PER_EXAMPLE = 1.2
_ROWS = 50


@dataclass(frozen=True, slots=True)
class Step:
    """One step, and how long it took."""

    name: str
    seconds: float
    # Why nothing was made, if so.
    problem: str = ""


def make_everything(
    folder: Path, count: int, *, spread: Mapper = map, report: Callable[[str], object] = lambda line: None
) -> Iterator[Step]:
    """Make every data set in ``folder``, at least ``count`` examples each, and yield each step when it is done.

    A step that cannot run here, such as pages without Chromium, is yielded with its problem; the others go on. What is
    there already is kept: the same call resumes.

    Args:
        folder: parent of the data sets' folders.
        count: examples of each data set.
        spread: where the work is done; the files are the same anywhere.
        report: called with one line on what was rejected or stayed out.
    """
    scenes = int(count * _SCENES_PER_EXAMPLE) + 2
    steps: dict[str, Callable[[], object]] = {
        "clocks": partial(_shards, folder / "pixmo-clocks", count, make_clocks, spread, report),
        "points, count, cap, ask": partial(
            rehearse, folder / "collection", folder, scenes, spread=spread, report=report
        ),
        "capqa": partial(
            make_capqa, folder / "pixmo-cap", folder / "pixmo-cap-qa", seed=0, spread=spread, report=report
        ),
    }
    for type_ in TYPES:
        make = partial(make_docs, type_=type_)
        steps[f"docs ({type_})"] = partial(_shards, folder / "pixmo-docs" / type_, count, make, spread, report)
    for name, step in steps.items():
        start = time.monotonic()
        problem = ""
        try:
            step()
        except MolmoAgentError as error:
            problem = str(error)
        yield Step(name, time.monotonic() - start, problem)
    home = f"home: {json.dumps(str(folder.resolve()))}"
    write_whole(folder / "mixture.yaml", RECIPE.read_text(encoding="utf-8").replace("home: made", home))


def _shards(
    folder: Path, count: int, make: Callable[..., object], spread: Mapper, report: Callable[[str], object]
) -> None:
    for done in make_shards(make, shards_of(folder, "train", 0, count, _ROWS), spread):  # type: ignore[arg-type]
        for reason in done.rejected:
            report(f"{Path(done.shard.path).name}: rejected: {reason}")
