"""How nano is trained: first to read single crops, then to point on whole screens. ``python -m`` this module runs it."""

import argparse
from pathlib import Path

import torch
from safetensors.torch import load_file

from molmo_agent.model.pointer import MolmoPointer
from molmo_agent.train.loop import Stage, Trainer
from molmo_agent.train.nano import nano_processor, new_nano

STAGES = (
    Stage(
        name="read",
        kind="read",
        steps=1250,
        batch=16,
        sizes={(200, 200): 1.0},
        styles={"panel": 1.0},
        decay=0.5,
    ),
    Stage(
        name="point",
        kind="point",
        steps=480,
        batch=3,
        # Small pictures first teach matching; the large ones where on the screen a token lies.
        sizes={(640, 480): 0.5, (320, 240): 0.5},
        styles={"panel": 1.0},
        vision_scale=0.0,
        decay=0.05,
        sigma=1.0,
    ),
    Stage(
        name="polish",
        kind="point",
        steps=420,
        batch=3,
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


def export(run: Path, folder: Path) -> None:
    """Write a run's weights as a checkpoint in half precision, without what only training needs."""
    processor = nano_processor()
    model = new_nano(processor, 0)
    model.load_state_dict(load_file(run / "model.safetensors"))
    pointer = MolmoPointer(model.half(), processor, name="nano", question="{}", max_new_tokens=96)
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
    for stage in STAGES:
        trainer.run(stage)
    if arguments.export:
        export(arguments.out, arguments.export)


if __name__ == "__main__":
    main()
