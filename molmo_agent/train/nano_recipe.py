"""How nano is trained: first to read single crops, then to point on whole screens. Run this module."""

import argparse
import signal
from pathlib import Path

import torch
from safetensors.torch import load_file

from molmo_agent.model.pointer import MolmoPointer
from molmo_agent.train.loop import Stage, Trainer
from molmo_agent.train.nano import nano_processor, new_nano

# Objectives are weighed so that none drowns the others' gradients: left alone, the labels' codes would.
POINT_WEIGHTS = {
    "tokens": 2.0,
    "token_position": 3.0,
    "answer_position": 4.0,
    "query_code": 0.4,
    "characters": 2.0,
    "objects": 0.4,
    "offsets": 0.2,
}

STAGES = (
    Stage(
        name="read",
        kind="read",
        steps=5000,
        batch=2,
        crops=16,
        sizes={(640, 480): 1.0},
        styles={"panel": 0.05, "words": 0.35, "shapes": 0.05, None: 0.55},
        muon_lr=0.007,
        adam_lr=1e-3,
        decay=1.0,
        # Left alone, objects and offsets outshout the characters, and reading is what takes long.
        aid_weights={"characters": 4.0, "objects": 0.4, "offsets": 0.2},
    ),
    Stage(
        name="point",
        kind="point",
        steps=1000,
        batch=3,
        sizes={(640, 480): 1.0},
        styles={"panel": 0.1, "words": 0.05, "shapes": 0.15, None: 0.7},
        vision_scale=0.1,
        decay=0.5,
        balance=True,
        # Enough to learn that an answer's label is the question's, and is said twice.
        tail=0.3,
        aid_weights=POINT_WEIGHTS,
    ),
    Stage(
        name="polish",
        kind="point",
        steps=230,
        batch=3,
        sizes={(640, 480): 1.0},
        styles={"panel": 0.05, "shapes": 0.15, None: 0.8},
        muon_lr=0.007,
        adam_lr=1e-3,
        vision_scale=0.1,
        warmup_steps=5,
        decay=1.0,
        sigma=0.7,
        tail=0.2,
        aid_weights=POINT_WEIGHTS | {"tokens": 4.0},
    ),
)


def export(run: Path, folder: Path) -> None:
    """Write a run's weights as a checkpoint in half precision, without what only training needs."""
    processor = nano_processor()
    model = new_nano(processor, 0)
    model.load_state_dict(load_file(run / "model.safetensors"))
    pointer = MolmoPointer(model.half(), processor, name="nano", question="{}", max_new_tokens=96, constrained=True)
    pointer.save_pretrained(folder)


def main() -> None:
    """Run every stage that is not finished yet, then export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/nano"), help="folder of checkpoints and logs")
    parser.add_argument("--export", type=Path, help="folder to write the finished checkpoint to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    processor = nano_processor()
    trainer = Trainer(new_nano(processor, arguments.seed), processor, arguments.out, seed=arguments.seed)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, trainer.ask_to_stop)
    for stage in STAGES:
        trainer.run(stage)
    if arguments.export:
        export(arguments.out, arguments.export)


if __name__ == "__main__":
    main()
