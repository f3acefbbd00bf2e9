"""The vision tower: transformers' own CLIP, SigLIP or DINOv2, less what Molmo does not use. Knows no crops.

CLIP is what the released models see with; MetaCLIP has CLIP's architecture. The others are choices of the paper's
ablations: docs/reference/model.md#vision-tower.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AutoModel

from molmo_agent.model.configuration import CLIP_MEAN, CLIP_STD

# What closes a tower for uses other than ours; and switches that leave out parts that would never learn.
_CLOSING_NORMS = ("post_layernorm", "layernorm")
_SWITCHES = {"siglip_vision_model": {"vision_use_head": False}, "dinov2": {"use_mask_token": False}}
_POSITIONS = {
    "clip_vision_model": "embeddings.position_embedding.weight",
    "siglip_vision_model": "embeddings.position_embedding.weight",
    "dinov2": "embeddings.position_embeddings",
}
ENCODERS = tuple(_POSITIONS)
# Mean and standard deviation of pixel values in [0, 1] that each was trained with, per channel.
NORMALIZATION = {
    "clip_vision_model": (CLIP_MEAN, CLIP_STD),
    "siglip_vision_model": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "dinov2": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


def build_tower(vision_config: Any) -> nn.Module:
    """Build the tower that a vision config describes, with fresh weights.

    Raises:
        ValueError: an encoder that is not known to give one feature per patch.
    """
    kind = vision_config.model_type
    if kind not in ENCODERS:
        raise ValueError(f"expected a vision encoder of one of the kinds {', '.join(ENCODERS)}, got {kind!r}")
    for name, value in _SWITCHES.get(kind, {}).items():
        setattr(vision_config, name, value)
    tower: nn.Module = AutoModel.from_config(vision_config, trust_remote_code=False)
    for name in _CLOSING_NORMS:
        if hasattr(tower, name):
            setattr(tower, name, nn.Identity())
    return tower


def patch_features(tower: Any, pixels: Tensor, layers: tuple[int, ...]) -> Tensor:
    """Return the outputs of some blocks, side by side: (M, N, width * number of layers), without a class token.

    Args:
        tower: what :func:`build_tower` gave.
        pixels: (M, 3, side, side).
        layers: blocks counted from the end, -1 being the last.
    """
    encoder = tower.encoder
    blocks = encoder.layers if hasattr(encoder, "layers") else encoder.layer
    x = tower.embeddings(pixels)
    if hasattr(tower, "pre_layrnorm"):  # CLIP's, spelled so
        x = tower.pre_layrnorm(x)
    states = [x]
    # Blocks above all that are read have no effect: the released models do not read their last one.
    for block in blocks[: len(blocks) + 1 + max(layers)]:
        states.append(block(states[-1], None))
    features = torch.cat([states[len(blocks) + 1 + layer] for layer in layers], dim=-1)
    patches = (pixels.shape[-1] // tower.config.patch_size) ** 2
    return features[:, -patches:]  # a class token comes first


def resize_positions(state: dict[str, Tensor], kind: str, side: int) -> dict[str, Tensor]:
    """Return a tower's weights with learned positions for crops of ``side`` patches a side.

    Bicubic with antialias, as the authors do for encoders that were trained at another size.
    """
    name = _POSITIONS[kind]
    table = state[name].float()
    flat = table.view(-1, table.shape[-1])
    before = int(len(flat) ** 0.5)
    if before == side:
        return state
    first, grid = flat[: len(flat) - before**2], flat[len(flat) - before**2 :]
    square = grid.view(1, before, before, -1).permute(0, 3, 1, 2)
    square = F.interpolate(square, size=(side, side), mode="bicubic", antialias=True, align_corners=False)
    resized = torch.cat([first, square.permute(0, 2, 3, 1).flatten(0, 2)]).to(state[name].dtype)
    return state | {name: resized.view(*table.shape[:-2], *resized.shape)}
