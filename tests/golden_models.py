"""The tiny reference models of the golden files: their weights, inputs and pictures, read from any golden folder."""

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from golden_images import golden_image
from safetensors.torch import load_file, save_file

from molmo_agent.model import MolmoForConditionalGeneration, MolmoImageProcessor
from molmo_agent.model.crops import image_token_counts


@lru_cache
def facts(folder: Path) -> dict:
    return json.loads((folder / "models.json").read_text())


def write_official(folder: Path, name: str, target: Path) -> Path:
    """Write a golden model as a folder in the released layout, in float32."""
    target.mkdir(parents=True, exist_ok=True)
    weights = {key: value.float() for key, value in load_file(folder / f"model_{name}.safetensors").items()}
    save_file(weights, target / "model.safetensors", metadata={"format": "pt"})
    (target / "config.json").write_text(json.dumps({"model_type": "molmo", **facts(folder)[name]["config"]}))
    return target


def to_native(named: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return weights under the names of the authors' training code for those of a released repository."""
    native: dict[str, torch.Tensor] = {}
    experts: dict[tuple[str, str], list[torch.Tensor]] = {}
    for key, value in named.items():
        key = key.removeprefix("model.")
        if ".mlp.experts." in key:
            stem, _, rest = key.partition(".mlp.experts.")
            _, name, _ = rest.split(".")  # in the order of the experts' numbers
            matrix = {"gate_proj": "w1", "up_proj": "v1", "down_proj": "w2"}[name]
            experts.setdefault((stem, matrix), []).append(value.T if matrix == "w2" else value)
            continue
        key = key.replace(".mlp.gate.", ".ffn.router.layer.").replace(".mlp.ff_norm.", ".ff_norm.")
        native[key.replace(".attn.", ".")] = value
    for (stem, matrix), parts in experts.items():
        native[f"{stem}.ffn.experts.mlp.{matrix}"] = torch.cat(parts)
    return native


def load_golden(folder: Path, name: str, target: Path) -> MolmoForConditionalGeneration:
    return MolmoForConditionalGeneration.from_pretrained(write_official(folder, name, target)).eval()


def synthetic_crops(recipe: dict) -> torch.Tensor:
    """The crops of a recipe in models.json: ``shape``, ``seed``, and which crops are padding, as text."""
    shape = recipe["shape"]
    index = np.arange(np.prod(shape), dtype=np.int64) + recipe["seed"] * 1000003
    values = (((1103515245 * index + 12345) % 2**31) >> 16) & 255
    crops = ((values - 127.5) / 64).astype(np.float32).reshape(shape)
    row, first, last = map(int, re.findall(r"\d+", recipe.get("all_minus1", "batch row 1, crops 1..2")))
    crops[row, first : last + 1] = -1
    return torch.from_numpy(crops)


def image_processor(config: dict) -> MolmoImageProcessor:
    return MolmoImageProcessor(
        crop_size=config["base_image_input_size"],
        patch_size=config.get("patch") or config.get("vision", {}).get("image_patch_size", 14),
        margins=tuple(config["overlap_margins"]),
        max_crops=config["max_crops"],
    )


def picture(recipe: dict, processor: MolmoImageProcessor, base: int):
    """Return the ids of a picture's tokens and its arrays, indices counted from BOS."""
    arrays, grid = processor.process_one(golden_image(recipe["height"], recipe["width"], recipe["seed"]))
    start, end, patch, column = range(base, base + 4)
    ids = []
    for rows, columns in image_token_counts(grid, processor.layout()):
        ids += [start, *(([patch] * columns + [column]) * rows), end]
    index = arrays["image_input_idx"]
    arrays["image_input_idx"] = np.where(index >= 0, index + 1, index)
    return ids, arrays


def encode(turns):
    """The stub tokenizer: bytes."""
    return [list(turn.encode()) for turn in turns]
