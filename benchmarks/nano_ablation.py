"""What each part of nano's training is worth: the same few steps from nothing without it, on small screens of shapes.

    python benchmarks/nano_ablation.py [--steps 400] [--screens 100] [--json FILE] [--check]

Every variant starts from the same weights, sees the same screens in the same order, and answers the same questions
about screens that none has seen. A hit is a point inside the box. Steps are few: what is measured is how early pointing
is learned, not where it ends.
"""

import platform
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from random import Random

import torch

sys.path.insert(0, str(Path(__file__).parent))
from _report import finish, parser

from molmo_agent.geometry import Box
from molmo_agent.interfaces import PointingModel
from molmo_agent.model.pointer import load_pointer
from molmo_agent.train.curriculum import train
from molmo_agent.train.draw import draw
from molmo_agent.train.metrics.interval import wilson
from molmo_agent.train.phrases import ask_all
from molmo_agent.train.stages import OBJECTIVES, Curriculum, Stage

SIDE = 190
HELD_OUT = 2**31
FULL = Stage(
    name="point",
    kind="point",
    steps=400,
    batch=4,
    sizes={f"{SIDE}x{SIDE}": 1.0},
    styles={"shapes": 1.0},
    muon_lr=0.02,
    adam_lr=2e-3,
    warmup_steps=20,
    decay=0.6,
    none=0.0,
    several=0.0,
)


def without(*aids: str) -> Stage:
    return replace(FULL, aid_weights=dict.fromkeys(aids, 0.0))


VARIANTS = {
    "all of it": FULL,
    "no attention shown": without("first_attention", "attention"),
    "no places told": without("token_position", "first_position", "answer_position"),
    "no label codes": without("image_code", "query_code", "key_code"),
    "no objects in tokens": without("objects", "offsets"),
    "next token alone": without(*(name for name in OBJECTIVES if name != "tokens")),
    "one question a screen": replace(FULL, max_questions=1),
}
TARGETS = {"hits of the best variant, less those of all of it, in points": ("<=", 5.0)}


def score(model: PointingModel, screens: int) -> tuple[int, int, float]:
    """Return hits, questions, and the hits of always choosing a random shape."""
    hits, asked, chance = 0, 0, 0.0
    for index in range(screens):
        screen = draw(HELD_OUT + index, "shapes", width=SIDE, height=SIDE, split="train")
        visible = [element for element in screen.elements if element.visible and element.kind == "shape"]
        for question in ask_all(screen.elements, Random(index)):
            box = Box.from_pixels(*question.element.box, SIDE, SIDE)
            result = model.point(screen.image, question.text)
            hits += result.status == "ok" and box.contains(result.points[0].point)
            asked += 1
            chance += 1 / len(visible)
    return hits, asked, chance


def main() -> int:
    made = parser(__doc__)
    made.add_argument("--steps", type=int, default=FULL.steps)
    made.add_argument("--screens", type=int, default=100, help="held-out screens, a few questions each")
    made.add_argument("--runs", type=Path, help="keep the runs here, and go on with those that were interrupted")
    arguments = made.parse_args()
    torch.set_num_threads(1)
    results: dict[str, float] = {}
    shares: dict[str, float] = {}
    print(f"{'':24s} {'hits':>6s} {'95 % interval':>16s} {'n':>5s} {'minutes':>8s}")
    with tempfile.TemporaryDirectory() as temporary:
        for name, stage in VARIANTS.items():
            folder = (arguments.runs or Path(temporary)) / name.replace(" ", "-")
            config = Curriculum(stages=(replace(stage, steps=arguments.steps),), checkpoint_every=100)
            began = time.perf_counter()
            train(config, folder)
            minutes = (time.perf_counter() - began) / 60
            hits, asked, chance = score(load_pointer(str(folder / "export")), arguments.screens)
            low, high = wilson(hits, asked)
            shares[name] = 100 * hits / asked
            results |= {f"{name}: hits, %": shares[name], f"{name}: minutes": minutes}
            print(f"{name:24s} {hits / asked:6.1%} {low:8.1%}-{high:.1%} {asked:5d} {minutes:8.1f}")
    print(f"{'a random shape':24s} {chance / asked:6.1%}\n")
    results["hits of the best variant, less those of all of it, in points"] = max(shares.values()) - shares["all of it"]
    return finish(arguments, results, TARGETS, processor=platform.processor(), steps=arguments.steps)


if __name__ == "__main__":
    sys.exit(main())
