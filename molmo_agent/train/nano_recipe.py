"""How nano is trained: first to read single crops, then to point on whole screens. ``python -m`` this module runs it."""

import argparse
from pathlib import Path

import torch

from molmo_agent.train.loop import Stage, Trainer
from molmo_agent.train.nano import nano_processor, new_nano

STAGES = (
    Stage(
        name="read",
        kind="read",
        steps=1400,
        batch=16,
        sizes={(200, 200): 1.0},
        styles={"panel": 1.0},
        decay=0.5,
    ),
    Stage(
        name="point",
        kind="point",
        steps=500,
        batch=2,
        sizes={(640, 480): 0.85, (480, 360): 0.1, (800, 600): 0.05},
        styles={"panel": 1.0},
        vision_scale=0.0,
        decay=0.05,
        sigma=1.0,
    ),
    Stage(
        name="polish",
        kind="point",
        steps=450,
        batch=2,
        sizes={(640, 480): 0.9, (480, 360): 0.05, (800, 600): 0.05},
        styles={"panel": 1.0},
        muon_lr=0.015,
        adam_lr=1.5e-3,
        vision_scale=0.15,
        decay=0.9,
        tail=0.2,
        sigma=0.7,
        aid_weights={"characters": 0.2, "objects": 0.3, "offsets": 0.3, "image_code": 0.3},
    ),
)


def main() -> None:
    """Run every stage that is not finished yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/nano"), help="folder of checkpoints and logs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    processor = nano_processor()
    trainer = Trainer(new_nano(processor, arguments.seed), processor, arguments.out, seed=arguments.seed)
    for stage in STAGES:
        trainer.run(stage)


if __name__ == "__main__":
    main()
