"""The embedded model's sizes: Molmo with small numbers, in the crop layout that fits a 640x480 screen.

Crops of 20x20 patches of 10 px with a margin of 2 patches make a 640x480 picture a 3x4 grid at 1.06 times its size:
1,021 image tokens, each about 19 screen pixels wide.
"""

import math
from typing import Any

import torch

from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration, MolmoImageProcessor, MolmoProcessor
from molmo_agent.model.processor import IMAGE_TOKENS
from molmo_agent.train.nano_tokenizer import END, build_tokenizer


def nano_processor() -> MolmoProcessor:
    """Build the processor that nano is trained and shipped with."""
    image_processor = MolmoImageProcessor(crop_size=200, patch_size=10, margins=(2, 2), max_crops=12)
    return MolmoProcessor(image_processor=image_processor, tokenizer=build_tokenizer())


def nano_config(processor: MolmoProcessor) -> MolmoConfig:
    """Describe nano: about 3 million parameters."""
    tokenizer: Any = processor.tokenizer
    start, end, patch, column = tokenizer.convert_tokens_to_ids(list(IMAGE_TOKENS[:4]))
    eos = tokenizer.convert_tokens_to_ids(END)
    return MolmoConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "image_size": 200,
            "patch_size": 10,
            "hidden_act": "gelu",
        },
        text_config={
            "model_type": "qwen2",
            "vocab_size": 512,
            "hidden_size": 192,
            "intermediate_size": 512,
            "num_hidden_layers": 4,
            "num_attention_heads": 6,
            "num_key_value_heads": 6,
            "max_position_embeddings": 4096,
            # One rotation frequency has exactly the period of a row of the 3x4 grid (34 image tokens and a column
            # token), so that a head can read off the column of an image token.
            "rope_parameters": {"rope_type": "default", "rope_theta": (35 / (2 * math.pi)) ** 4},
            "bos_token_id": eos,
            "eos_token_id": eos,
            "pad_token_id": eos,
        },
        vit_layers=[-1, -2],
        pooling_heads=6,
        pooling_head_dim=32,
        projector_hidden_size=384,
        additional_vocab_size=0,
        image_start_token_id=start,
        image_end_token_id=end,
        image_patch_token_id=patch,
        image_column_token_id=column,
        bos_token_id=eos,
        eos_token_id=eos,
        pad_token_id=eos,
    )


def new_nano(processor: MolmoProcessor, seed: int) -> MolmoForConditionalGeneration:
    """Build an untrained nano."""
    torch.manual_seed(seed)
    model = MolmoForConditionalGeneration(nano_config(processor))
    start_by_looking_around(model)
    return model


@torch.no_grad()
def start_by_looking_around(model: MolmoForConditionalGeneration) -> None:
    """Start the tower's first two blocks with heads that look one patch left, right, up and down.

    Positions are sines and cosines of the row and the column; a query turned by one step matches its neighbour's key.
    Reading needs neighbours, and a random start finds them late (a measured gain, and free: only an initialisation).
    """
    tower: Any = model.model.vision_tower
    side, width = model.config.num_patches_per_side, tower.config.hidden_size
    frequencies = torch.exp(-torch.arange(width // 4) * math.log(side * 2) / (width // 4)) * math.pi / 2
    place = torch.arange(side)[:, None] * frequencies
    wave = torch.cat([place.sin(), place.cos()], dim=1)  # (side, width / 2)
    grid = torch.cat([wave[:, None].expand(-1, side, -1), wave[None].expand(side, -1, -1)], dim=-1)
    tower.embeddings.position_embedding.weight[1:] = grid.flatten(0, 1) * 0.5
    tower.embeddings.patch_embedding.weight -= tower.embeddings.patch_embedding.weight.mean((1, 2, 3), keepdim=True)
    tower.embeddings.patch_embedding.weight *= 4
    half, quarter = width // 2, width // 4
    head_dim = width // tower.config.num_attention_heads
    for layer in tower.encoder.layers[:2]:
        attention = layer.self_attn
        for head, step in enumerate(((0, -1), (0, 1), (-1, 0), (1, 0))):
            rows = slice(head * head_dim, (head + 1) * head_dim)
            attention.q_proj.weight[rows] *= 0.3
            attention.k_proj.weight[rows] *= 0.3
            for axis in (0, 1):
                # As many frequencies as fit half of the head, from the fastest: each is a (sine, cosine) pair.
                for pair in range(head_dim // 4):
                    sine, cosine = axis * half + pair, axis * half + quarter + pair
                    angle = float(frequencies[pair]) * step[axis]
                    out = rows.start + axis * (head_dim // 2) + 2 * pair
                    q, k = attention.q_proj.weight, attention.k_proj.weight
                    q[out, [sine, cosine]] += torch.tensor([math.cos(angle), math.sin(angle)]) * 1.5
                    q[out + 1, [sine, cosine]] += torch.tensor([-math.sin(angle), math.cos(angle)]) * 1.5
                    k[out, sine] += 1
                    k[out + 1, cosine] += 1
