"""A tiny untrained Molmo on disk and a little data, for tests of training."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration, MolmoImageProcessor, MolmoProcessor
from molmo_agent.nano.tokenizer import END, build_tokenizer
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.recipe import from_dict


def write_model(folder: Path, width: int = 32) -> Path:
    """Write a model that computes a step in milliseconds."""
    torch.manual_seed(0)
    tokenizer: Any = build_tokenizer()
    ids = tokenizer.convert_tokens_to_ids(["<im_start>", "<im_end>", "<im_patch>", "<im_col>", END])
    heads = {"num_attention_heads": 2, "num_hidden_layers": 2}
    config = MolmoConfig(
        vision_config={"hidden_size": 32, "intermediate_size": 64, "image_size": 56, "patch_size": 14, **heads},
        text_config={
            "model_type": "qwen2",
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "vocab_size": 512,
            "num_key_value_heads": 1,
            **heads,
        },
        vit_layers=(-1, -2),
        pooling_heads=2,
        pooling_head_dim=16,
        projector_hidden_size=64,
        additional_vocab_size=0,
        **dict(zip([f"image_{n}_token_id" for n in ("start", "end", "patch", "column")], ids, strict=False)),
    )
    MolmoForConditionalGeneration(config).save_pretrained(folder)
    images = MolmoImageProcessor(crop_size=56, patch_size=14, margins=(0, 0), max_crops=2)
    MolmoProcessor(image_processor=images, tokenizer=tokenizer).save_pretrained(folder)
    return folder


def write_points(folder: Path, pictures: int = 6) -> Path:
    """Write pictures with a bright square each, and where it is."""
    rng = np.random.default_rng(0)
    lines = []
    for number in range(pictures):
        image = np.full((60, 80, 3), 40, np.uint8)
        x, y = int(rng.integers(0, 70)), int(rng.integers(0, 50))
        image[y : y + 10, x : x + 10] = 220
        Image.fromarray(image).save(folder / f"{number}.png")
        point = [round((x + 5) / 80, 3), round((y + 5) / 60, 3)]
        lines.append({"image": f"{number}.png", "label": "Bright square", "points": [point]})
    lines.append({"image": "0.png", "label": "a cat", "points": []})
    path = folder / "points.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def write_chat(folder: Path) -> Path:
    """Write conversations without pictures, short and long."""
    path = folder / "chat.jsonl"
    rows = [["hello", "there"], ["tell me more", "so " * 30], ["a", "b", "c", "d"]]
    path.write_text("".join(json.dumps({"messages": row}) + "\n" for row in rows))
    return path


def small_run(folder: Path, **changes: Any) -> TrainConfig:
    """Return a run over pictures and text in equal shares; a sequence is often text alone."""
    learning = {"peak": 1e-3, "warmup_steps": 2}
    data: dict[str, Any] = {
        "model": str(write_model(folder / "model")),
        "mixture": [
            {"kind": "points", "path": str(write_points(folder))},
            {"kind": "chat", "path": str(write_chat(folder)), "rate": 2.0},
        ],
        "steps": 6,
        "batch": 6,
        "length": 160,
        "optimizer": {name: learning for name in ("vit", "connector", "llm")},
        "checkpoint_every": 1,
        "residual_dropout": 0.0,
    }
    return from_dict(data | changes)
