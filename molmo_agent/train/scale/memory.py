"""How much memory a training run needs on each GPU, from a model without weights.

Activations are those that torch saves for the backward pass of one block of each kind, computed on fake tensors, which
have shapes but no memory; the other blocks save as much each.
"""

import copy
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers.initialization import no_init_weights

from molmo_agent.model import MolmoForConditionalGeneration
from molmo_agent.train.batching.pack import Size
from molmo_agent.train.batching.tree_attention import NAME as TREE_ATTENTION
from molmo_agent.train.batching.tree_attention import Forest, Tree
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.fine_tuning import prepare
from molmo_agent.train.losses import CHUNK
from molmo_agent.train.scale.sharding import layers
from molmo_agent.train.starting_model import weights_dtype

# Bytes per logit while the loss of a piece is differentiated: the logits, their float32 copy, and three arrays of
# gradients.
_LOGIT_BYTES = 18
# Four bits, and a scale in eight bits for every 64 of them.
_NF4_BYTES = 0.5 + 1 / 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on one GPU at the peak of a step."""

    weights: float
    gradients: float
    # AdamW's averages, and the moving average of the weights.
    optimizer: float
    # Weights of other ranks' shards that are gathered at the same time, and their gradients.
    gathered: float
    # Saved for the backward pass.
    activations: float
    # What the largest single computation needs in addition: recomputed activations of a block, or logits.
    transient: float

    @property
    def peak(self) -> float:
        """All of them together."""
        return float(sum(asdict(self).values()))


@dataclass(frozen=True, slots=True)
class Activations:
    """Bytes that one sequence saves for the backward pass: of a block, of all blocks, and of everything else."""

    largest_block: float
    blocks: float
    others: float
    # Input of all blocks, which is all that is saved if their activations are computed again.
    inputs: float

    def saved(self, *, checkpointing: bool) -> float:
        """Return the bytes that are held from the forward to the backward pass."""
        return self.others + (self.inputs if checkpointing else self.blocks)


def _saved_bytes(model: Any, run: Callable[[], Tensor]) -> float:
    """Return the bytes that autograd saves in a computation, without the model's own weights."""
    own = {p.untyped_storage()._cdata for p in model.parameters()}
    saved: dict[int, int] = {}
    alive = []

    def pack(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage._cdata not in own:
            saved[storage._cdata] = storage.nbytes()
            alive.append(value)
        return value

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda value: value):
        result = run()
        alive.append(result)
    return float(sum(saved.values()))


def _shallow(config: Any, blocks: int) -> Any:
    """Return a model's config with fewer blocks in decoder and tower."""
    shallow = copy.deepcopy(config)
    shallow.text_config.num_hidden_layers = blocks
    if getattr(shallow.text_config, "layer_types", None):
        shallow.text_config.layer_types = shallow.text_config.layer_types[:blocks]
    shallow.vision_config.num_hidden_layers = blocks
    shallow.vit_layers = tuple(-1 for _ in config.vit_layers)
    return shallow


def _measure(run: TrainConfig, config: Any, size: Size, dtype: torch.dtype, blocks: int) -> tuple[float, float]:
    """Return the bytes that a model with some blocks of each kind saves: decoder, and tower with connector."""
    with no_init_weights():
        model: Any = MolmoForConditionalGeneration._from_config(_shallow(config, blocks), dtype=dtype)
    # Adapters save the inputs of their weights too: count them as if the weights were trained.
    prepare(replace(run, activation_checkpointing=False, compile=False, lora=None), model.train())
    autocast = run.precision == "bf16"
    inner = model.model
    inner.language_model.config._attn_implementation = TREE_ATTENTION
    text, vision = config.text_config, config.vision_config
    embeds = torch.empty(1, size.tokens, text.hidden_size, dtype=dtype, requires_grad=True)
    # One annotation: what follows the image attends under a mask.
    prefix = max(size.tokens - size.tokens // 8, 1)
    mask = torch.empty(1, 1, size.tokens - prefix, size.tokens, dtype=torch.bfloat16 if autocast else dtype)
    forest = Forest(((0, size.tokens),), (Tree(prefix, mask),))
    patches = config.num_patches_per_side**2
    pixels = torch.empty(size.crops, patches, 3 * vision.patch_size**2)
    shares = torch.empty(size.crops, patches)
    positions = torch.arange(size.tokens)[None]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        language = _saved_bytes(
            model,
            lambda: (
                inner.language_model(
                    inputs_embeds=embeds,
                    forest=forest,
                    position_ids=positions,
                    attention_mask=None,
                    use_cache=False,
                ).last_hidden_state
            ),
        )
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        sight = _saved_bytes(model, lambda: inner.connector(inner.encode_crops(pixels), shares))
    return language, sight


def activations(run: TrainConfig, config: Any, size: Size) -> Activations:
    """Return what a sequence of some size saves for the backward pass.

    Args:
        run: the run; its frozen components and adapters count.
        config: a ``MolmoConfig``.
        size: of the sequence; at least one crop, since a blank one runs where there is no image.
    """
    size = Size(size.tokens, max(size.crops, 1))
    dtype, factor = weights_dtype(run), 1
    if getattr(config.text_config, "num_experts", None) and dtype == torch.float32:
        # Fake products over experts exist in bfloat16 only.
        dtype, factor, run = torch.bfloat16, 2, replace(run, precision="fp32")
    with FakeTensorMode():
        one, two = ([factor * n for n in _measure(run, config, size, dtype, blocks)] for blocks in (1, 2))
    block_of_decoder, block_of_tower = (second - first for first, second in zip(one, two, strict=True))
    text, vision = config.text_config, config.vision_config
    depth, height = text.num_hidden_layers, vision.num_hidden_layers
    tokens_in_tower = size.crops * (config.num_patches_per_side**2 + 1)
    width = factor * dtype.itemsize
    return Activations(
        largest_block=max(block_of_decoder, block_of_tower),
        blocks=depth * block_of_decoder + height * block_of_tower,
        others=sum(one) - block_of_decoder - block_of_tower,
        inputs=width * (depth * size.tokens * text.hidden_size + height * tokens_in_tower * vision.hidden_size),
    )


def estimate(config: TrainConfig, model: Any, size: Size, *, targets: int, shards: int, sequences: int) -> Memory:
    """Return the memory of one GPU.

    Args:
        config: the run.
        model: a prepared ``MolmoForConditionalGeneration`` on the meta device: with adapters, and frozen weights.
        size: of the largest sequence.
        targets: number of its positions with logits.
        shards: number of GPUs that share a copy of the weights.
        sequences: number of sequences of a GPU in a step.
    """
    width = 2 if config.weights == "bf16" else 4
    four_bit = config.lora is not None and config.lora.base == "4bit"

    def stored(name: str, parameter: Tensor) -> float:
        return parameter.numel() * (_NF4_BYTES if four_bit and ".base_layer.weight" in name else width)

    weights = sum(stored(name, p) for name, p in model.named_parameters())
    trained = sum(p.numel() * width for p in model.parameters() if p.requires_grad)
    saved = activations(config, model.config, size)
    held = saved.saved(checkpointing=config.activation_checkpointing)
    gradients = trained / shards
    if sequences == 1:
        # Gradients come as activations go; a step of several sequences keeps them from one to the next.
        gradients, held = (gradients, 0.0) if gradients > held else (0.0, held)
    piece = min(CHUNK, targets) * model.config.text_config.vocab_size * _LOGIT_BYTES
    return Memory(
        weights=weights / shards,
        gradients=gradients,
        optimizer=trained / shards * (2 + bool(config.ema)),
        gathered=_gathered(model, width) if shards > 1 else 0.0,
        activations=held,
        transient=max(piece, saved.largest_block if config.activation_checkpointing else 0.0),
    )


def _gathered(model: Any, width: int) -> float:
    """Return the bytes of the weights that are whole at one time: two blocks, and all that is in no block."""
    sizes = [sum(p.numel() for p in block.parameters()) for block in layers(model)]
    rest = sum(p.numel() for p in model.parameters()) - sum(sizes)
    trained = any(p.requires_grad for p in model.parameters())
    # While a block's gradients are reduced, the next block is gathered.
    return float(width * (2 * max(sizes) + rest) + trained * width * (max(sizes) + rest))
