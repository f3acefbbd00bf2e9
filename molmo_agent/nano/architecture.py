"""The embedded model's sizes: a small Molmo with a crop layout for 640x480 screens.

Crops of 20x20 patches of 10 px with a margin of 2 patches make a 640x480 image a 3x4 grid at 1.06 times its size:
1,021 image tokens, each about 19 screen pixels wide.
"""

import math
from typing import Any

import torch

from molmo_agent.model import MolmoConfig, MolmoForConditionalGeneration, MolmoImageProcessor, MolmoProcessor
from molmo_agent.nano.tokenizer import END, build_tokenizer

WINDOW = (640, 480)
"""(width, height) of the images that nano is made for; larger ones are read in windows of this size."""

REMARK = (
    "nano is the embedded model, good for trying things out on simple screens with few words; on crowded ones it often "
    "points at the wrong thing, and stops where it is unsure. For real work: --model allenai/Molmo-7B-D-0924"
)
"""The warning that users see before nano controls a real desktop or phone."""

# Columns of image tokens and the column token that ends each row, on the 3x4 grid of a 640x480 image.
ROW_LENGTH = 35
# First and last position of the grid's image tokens in the sequence, and position of the global crop's end token.
GRID_START, GRID_END, GLOBAL_END = 114, 1024, 112


def nano_processor() -> MolmoProcessor:
    """Build nano's processor."""
    image_processor = MolmoImageProcessor(crop_size=200, patch_size=10, margins=(2, 2), max_crops=12)
    return MolmoProcessor(image_processor=image_processor, tokenizer=build_tokenizer())


def end_ids(processor: MolmoProcessor) -> dict[str, int]:
    """Return the fields of a config for the ends of sequences: one token begins, ends and fills them."""
    tokenizer: Any = processor.tokenizer
    return dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), tokenizer.convert_tokens_to_ids(END))


def image_ids(processor: MolmoProcessor) -> dict[str, int]:
    """Return the fields of a config for the tokens of images."""
    return {
        "image_start_token_id": processor.start_id,
        "image_end_token_id": processor.end_id,
        "image_patch_token_id": processor.patch_id,
        "image_column_token_id": processor.column_id,
    }


def nano_config(processor: MolmoProcessor) -> MolmoConfig:
    """Return nano's config: about 3 million parameters."""
    ends = end_ids(processor)
    return MolmoConfig(
        vision_config={
            "model_type": "clip_vision_model",
            "hidden_size": 128,
            "intermediate_size": 1024,
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
            "num_hidden_layers": 6,
            "num_attention_heads": 5,
            "num_key_value_heads": 5,
            "head_dim": 48,
            "max_position_embeddings": 4096,
            # The fourth rotation frequency has exactly the period of a row of the 3x4 grid, so that a head can compute
            # the column of an image token. The slower half hardly rotates over a whole screen, so that a question
            # can match the content of a token at any position.
            "rope_parameters": {"rope_type": "default", "rope_theta": (ROW_LENGTH / (2 * math.pi)) ** 8},
            **ends,
        },
        vit_layers=[-1, -2],
        pooling_heads=6,
        pooling_head_dim=32,
        projector_hidden_size=384,
        additional_vocab_size=0,
        **image_ids(processor),
        **ends,
    )


def new_nano(processor: MolmoProcessor, seed: int) -> MolmoForConditionalGeneration:
    """Build an untrained nano."""
    torch.manual_seed(seed)
    model = MolmoForConditionalGeneration(nano_config(processor))
    init_neighbour_heads(model)
    init_unit_scale(model)
    init_position_heads(model)
    return model


@torch.no_grad()
def init_neighbour_heads(model: MolmoForConditionalGeneration) -> None:
    """Initialize the tower's first two blocks with heads that attend one patch to the left, right, up and down.

    Positions are sines and cosines of row and column; a query rotated by one step matches its neighbour's key.
    Reading needs neighbours, which a random initialization learns late. The gain was measured.
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


@torch.no_grad()
def init_unit_scale(model: MolmoForConditionalGeneration) -> None:
    """Initialize embeddings with unit scale, as image features have, and the decoder's matrices to preserve it.

    The usual standard deviation of 0.02 is meant for widths in the thousands: at a width of 192, a block's first
    contributions are a twentieth of an image feature, too small to matter.
    """
    decoder: Any = model.model.language_model
    decoder.embed_tokens.weight.normal_()
    for block in decoder.layers:
        for module in block.modules():
            if isinstance(module, torch.nn.Linear):
                module.weight.normal_(std=module.in_features**-0.5)


@torch.no_grad()
def init_position_heads(model: MolmoForConditionalGeneration) -> None:
    """Initialize four heads of the decoder's first block to compute each image token's position on the screen.

    Crops are encoded separately, so only the decoder can compute positions, and only from the rotation of keys by
    their position in the sequence. Each head weighs two landmarks, BOS and the end of the global crop, by the cosine
    of the token's distance from the grid's start: two heads at the frequency of a row, a quarter turn apart, for the
    column, and two at the frequency of the whole grid, for the row. The value is +1 for one landmark and -1 for the
    other. After the block, a linear probe finds both coordinates with a mean squared error of 0.04 on unit circles,
    instead of 0.5; a random initialization learned them slowly.
    """
    decoder: Any = model.model.language_model
    attention, width = decoder.layers[0].self_attn, decoder.config.hidden_size
    head_dim, frequencies = attention.head_dim, decoder.rotary_emb.inv_freq
    half = head_dim // 2
    text: Any = model.config
    landmarks = decoder.embed_tokens.weight[[text.bos_token_id, text.image_end_token_id]]
    landmarks = landmarks / landmarks.square().mean(1, keepdim=True).sqrt()  # as after the block's norm
    detectors = torch.linalg.pinv(landmarks).T  # row n has the product 1 with landmark n, 0 with the other
    row_pair = int((frequencies - 2 * math.pi / ROW_LENGTH).abs().argmin())
    grid_pair = int((frequencies - 2 * math.pi / (GRID_END - GRID_START)).abs().argmin())
    directions = torch.linalg.qr(torch.randn(width, 4))[0] * 10
    places = ((row_pair, 0.0), (row_pair, -math.pi / 2), (grid_pair, 0.0), (grid_pair, -math.pi / 2))
    for head, (pair, phase) in enumerate(places):
        rows = slice(head * head_dim, (head + 1) * head_dim)
        for projection in (attention.q_proj, attention.k_proj, attention.v_proj):
            projection.weight[rows] = 0
            projection.bias[rows] = 0
        # The slowest frequency, centred on the grid, makes both landmarks outweigh everything else.
        slow = (half - 1, 16.0, (GRID_START + GRID_END) / 2, 0.0)
        for dim, strength, center, turn in (slow, (pair, 1.5, GRID_START, phase)):
            size = math.sqrt(strength * math.sqrt(head_dim))
            attention.q_proj.bias[rows.start + dim] = size
            for landmark, position in enumerate((0, GLOBAL_END)):
                opposite = math.pi * landmark if dim == pair else 0.0
                angle = float(frequencies[dim]) * (center - position) - turn - opposite
                attention.k_proj.weight[rows.start + dim] += size * math.cos(angle) * detectors[landmark]
                attention.k_proj.weight[rows.start + dim + half] += size * math.sin(angle) * detectors[landmark]
        attention.v_proj.weight[rows.start] = detectors[0] - detectors[1]
        attention.o_proj.weight[:, rows] = 0
        attention.o_proj.weight[:, rows.start] = directions[:, head]


def untrained(seed: int) -> tuple[MolmoForConditionalGeneration, MolmoProcessor]:
    """Return an untrained nano and its processor."""
    processor = nano_processor()
    return new_nano(processor, seed), processor
