"""What each part of nano's training is worth: a decoder that learns to point from nothing, each time without one part.

    python benchmarks/nano_ablation.py [--steps 320] [--screens 50] [--runs FOLDER] [--json FILE] [--check]

Every variant starts from the same weights (tower and connector of the embedded model, which can read, and an untrained
decoder), sees the same small screens of shapes and words in the same order, and answers the same questions about
screens that none has seen. A hit is a point inside the box. One variant per core at a time.
"""

import multiprocessing
import os
import platform
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from random import Random

import torch

sys.path.insert(0, str(Path(__file__).parent))
from _report import finish, parser

from molmo_agent.evaluation.metrics.interval import wilson
from molmo_agent.geometry import Box
from molmo_agent.interfaces import PointingModel
from molmo_agent.model import MolmoForConditionalGeneration
from molmo_agent.nano.architecture import nano_processor, new_nano
from molmo_agent.nano.curriculum import OBJECTIVES, Curriculum, Stage
from molmo_agent.nano.curriculum_module import NanoWithHeads
from molmo_agent.pointers.local_chat.loading import load_pointer
from molmo_agent.pointers.nano import CHECKPOINT
from molmo_agent.synthetic.referring.questions import ask
from molmo_agent.synthetic.sample import draw
from molmo_agent.train.checkpoint import RunFolder
from molmo_agent.train.optim import tensors
from molmo_agent.train.recipe import load
from molmo_agent.train.trainer import Trainer

SIDE = 190
HELD_OUT = 2**31
STYLES = ("shapes", "words")
RECIPE = load("nano")
assert isinstance(RECIPE, Curriculum)
FULL = Stage(
    name="point",
    kind="point",
    steps=320,
    batch=4,
    sizes={f"{SIDE}x{SIDE}": 1.0},
    styles=dict.fromkeys(STYLES, 1.0),
    # As in the recipe: the tower stays as it is, and objectives are weighed so that none drowns the others.
    vision_scale=0.0,
    balance=True,
    aid_weights=next(stage for stage in RECIPE.stages if stage.name == "point").aid_weights,
    muon_lr=0.02,
    adam_lr=2e-3,
    warmup_steps=20,
    decay=0.6,
    none=0.0,
    several=0.0,
)


def without(*aids: str) -> Stage:
    return replace(FULL, aid_weights=FULL.aid_weights | dict.fromkeys(aids, 0.0))


VARIANTS = {
    "all of it": FULL,
    "no attention shown": without("first_attention", "attention"),
    "one look, at the target": without("first_attention", "first_position"),
    "no places told": without("token_position", "first_position", "answer_position"),
    "no label codes": without("query_code", "key_code"),
    "next token alone": without(*(name for name in OBJECTIVES if name != "tokens")),
}
TARGETS = {"hits of the best variant, less those of all of it, in points": ("<=", 5.0)}


def make_start(folder: Path) -> None:
    """Write a run to start from: a tower and connector that can read, a decoder that has learned nothing."""
    nano = NanoWithHeads(new_nano(nano_processor(), 0))
    embedded = MolmoForConditionalGeneration.from_pretrained(CHECKPOINT, trust_remote_code=False).state_dict()
    seeing = {name: value for name, value in embedded.items() if "vision_tower" in name or "connector" in name}
    nano.model.load_state_dict(seeing, strict=False)
    run = RunFolder(folder, Curriculum(stages=(FULL,)))
    run.save(1, tensors(nano, [], frozen=True))
    run.finish()
    run.close()


def score(model: PointingModel, screens: int) -> tuple[int, int, float]:
    """Return hits, questions, and the hits that choosing at random among what is there would have."""
    hits, asked, chance = 0, 0, 0.0
    for index in range(screens):
        screen = draw(HELD_OUT + index, STYLES[index % len(STYLES)], width=SIDE, height=SIDE, split="train")
        questions = ask(screen, Random(index), none=0.0, several=0.0, most=10)
        if not questions:
            continue
        visible = sum(element.visible for element in screen.elements)
        results = model.point_batch([screen.image] * len(questions), [question.text for question in questions])
        for question, result in zip(questions, results, strict=True):
            box = Box.from_pixels(*question.element.box, SIDE, SIDE)
            hits += result.status == "ok" and box.contains(result.points[0].point)
            chance += 1 / visible
        asked += len(questions)
    return hits, asked, chance


def measure(name: str, folder: Path, steps: int, screens: int) -> tuple[int, int, float]:
    """Train and ask one variant; a run that stands in its folder already goes on."""
    torch.set_num_threads(1)
    own = folder / name.replace(" ", "-").replace(",", "")
    stages = (replace(VARIANTS[name], steps=steps),)
    Trainer(Curriculum(stages=stages, start=str(folder / "start"), checkpoint_every=100), own).fit()
    return score(load_pointer(str(own / "export")), screens)


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--steps", type=int, default=FULL.steps)
    made.add_argument("--screens", type=int, default=50, help="held-out screens, up to ten questions each")
    made.add_argument("--runs", type=Path, help="keep the runs here, and go on with those that were interrupted")
    arguments = made.parse_args()
    results: dict[str, float] = {}
    shares: dict[str, float] = {}
    print(f"{'':24s} {'hits':>6s} {'95 % interval':>16s} {'n':>5s}")
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as temporary, ProcessPoolExecutor(os.cpu_count(), mp_context=context) as pool:
        folder = arguments.runs or Path(temporary)
        if not (folder / "start" / "latest").exists():
            make_start(folder / "start")
        jobs = {name: pool.submit(measure, name, folder, arguments.steps, arguments.screens) for name in VARIANTS}
        for name, job in jobs.items():
            hits, asked, chance = job.result()
            low, high = wilson(hits, asked)
            shares[name] = 100 * hits / asked
            results[f"{name}: hits, %"] = shares[name]
            print(f"{name:24s} {hits / asked:6.1%} {low:8.1%}-{high:.1%} {asked:5d}", flush=True)
    print(f"{'something at random':24s} {chance / asked:6.1%}\n")
    results["something at random: hits, %"] = 100 * chance / asked
    results["hits of the best variant, less those of all of it, in points"] = max(shares.values()) - shares["all of it"]
    return finish(arguments, results, TARGETS, processor=platform.processor(), steps=arguments.steps)


if __name__ == "__main__":
    sys.exit(main())
