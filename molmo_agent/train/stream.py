"""The global batches of a run: which rows, packed how, on which rank. One pure function of (config, step, rank)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from molmo_agent.model import MolmoProcessor
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.data.sources import Rows, open_source
from molmo_agent.train.examples import Encoded, encode, join
from molmo_agent.train.order import Draw, Order
from molmo_agent.train.pack import Cost, Size, plan

# A sequence's pictures may have so many times the crops of one large picture.
_PICTURES = 4


@dataclass(frozen=True, slots=True)
class RankBatch:
    """What one rank computes in a step."""

    # Arrays with a leading dimension of 1, one entry per turn; all ranks have equally many.
    sequences: list[dict[str, npt.NDArray[Any]]]
    # Of the global batch: examples that could not be used, and annotations that did not fit.
    skipped: list[str] = field(default_factory=list)
    cut: int = 0


class Stream:
    """Draws, encodes and packs the batches of a run.

    Args:
        config: the run.
        processor: of the model.
        cost: work of an example, by which ranks are balanced.
        sources: opened data sets; by default those of the config's mixture.
    """

    def __init__(
        self, config: TrainConfig, processor: MolmoProcessor, cost: Cost, sources: Sequence[Rows] | None = None
    ) -> None:
        self.config, self.processor, self.cost = config, processor, cost
        self.sources = [open_source(source) for source in config.mixture] if sources is None else list(sources)
        rates = tuple(source.rate for source in config.mixture)
        self.order = Order(rates, tuple(len(source) for source in self.sources), config.data_seed)

    def draws(self, step: int) -> list[Draw]:
        """Return the examples of a step (counted from 0), in their global order."""
        return self.order.draws(step * self.config.batch, self.config.batch)

    def encoded(self, step: int) -> tuple[list[Encoded], list[str]]:
        """Return a step's examples laid out, and why some could not be used."""
        examples, skipped = [], []
        for draw in self.draws(step):
            row = self.sources[draw.source].row(draw.row, draw.seed)
            try:
                examples.append(encode(row, self.processor, self.config, draw.seed))
            except ValueError as error:
                skipped.append(str(error))
        return examples, skipped

    def batch(self, step: int, rank: int, ranks: int) -> RankBatch:
        """Return what a rank computes in a step."""
        examples, skipped = self.encoded(step)
        dealt = plan(
            [example.size for example in examples],
            length=self.config.length,
            crops=_PICTURES * (self.config.max_crops + 1),
            ranks=ranks,
            cost=self.cost,
            packing=self.config.packing,
        )
        sequences = [join([examples[n] for n in members], self.processor, self.config) for members in dealt[rank]]
        return RankBatch(sequences, skipped, sum(example.cut for example in examples))

    def fingerprint(self, step: int) -> str:
        """Return a hash of a step's global batch: the same for any number of ranks."""
        digest = hashlib.sha256()
        for example in self.encoded(step)[0]:
            digest.update(example.row.name.encode())
            digest.update(example.example.input_ids.tobytes())
        return digest.hexdigest()


def flops_of(config: Any) -> Cost:
    """Return the work of an example for a model config, in FLOPs of a forward pass.

    Two per weight and token for the decoder, for tower and connector per patch and window, and attention's products
    over its tokens and over the patches of each crop.
    """
    text, vision = config.text_config, config.vision_config
    d, inner = text.hidden_size, text.intermediate_size
    head = getattr(text, "head_dim", None) or d // text.num_attention_heads
    attention = d * head * (2 * text.num_attention_heads + 2 * text.num_key_value_heads)
    experts = getattr(text, "num_experts_per_tok", 1) or 1
    decoder = text.num_hidden_layers * (attention + 3 * d * inner * experts)
    width = vision.hidden_size
    mlp = getattr(vision, "intermediate_size", None) or width * vision.mlp_ratio
    tower = vision.num_hidden_layers * (4 * width * width + 2 * width * mlp)
    patches = config.num_patches_per_side**2
    windows = (-(-config.num_patches_per_side // config.pooling_size)) ** 2
    both, pooled = width * len(config.vit_layers), config.pooling_heads * config.pooling_head_dim
    pooling = 2 * both * pooled * config.pooling_size**2 + (both * pooled + pooled * pooled)
    projector = config.projector_hidden_size * (2 * pooled + d)
    crop = 2 * (patches * tower + windows * (pooling + projector))
    crop += 4 * vision.num_hidden_layers * patches * patches * width

    def cost(size: Size) -> float:
        products = 4 * text.num_hidden_layers * text.num_attention_heads * head * size.tokens**2
        return float(2 * decoder * size.tokens + products + crop * max(size.crops, 1))

    return cost
