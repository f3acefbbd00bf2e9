"""The batches of a run, each a pure function of config, step, rank and world size."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt

from molmo_agent.data.catalog import open_mixture
from molmo_agent.data.row import Rows
from molmo_agent.model import MolmoProcessor
from molmo_agent.train.batching.encode import EncodedExample, collate, encode
from molmo_agent.train.batching.mixture_weights import mixture_weights
from molmo_agent.train.batching.pack import plan
from molmo_agent.train.batching.sampler import Draw, Sampler
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.flops import Flops, Work

# Maximum number of crops in a sequence, in units of the crops of one large image.
_MAX_IMAGES = 4


@dataclass(frozen=True, slots=True)
class RankBatch:
    """One rank's batch of a step."""

    # Arrays with a leading dimension of 1; all ranks have the same number of sequences.
    sequences: list[dict[str, npt.NDArray[Any]]]
    # Of the global batch: reasons why examples could not be used, and the number of annotations that did not fit.
    skip_reasons: list[str] = field(default_factory=list)
    num_truncated: int = 0
    # Of the global batch: number of tokens and images, and the work of a forward pass.
    tokens: int = 0
    images: int = 0
    work: Work = field(default_factory=Work)


class DataLoader:
    """Draws, encodes and packs the batches of a run.

    Args:
        config: the run.
        processor: of the model.
        flops: counts the work of an example, for balancing ranks.
        sources: open data sets; by default those of the config's mixture.
    """

    def __init__(
        self, config: TrainConfig, processor: MolmoProcessor, flops: Flops, sources: Sequence[Rows] | None = None
    ) -> None:
        self.config, self.processor, self.flops = config, processor, flops
        self.sources = open_mixture(config.mixture, config.home) if sources is None else list(sources)
        sizes = tuple(len(source) for source in self.sources)
        self.sampler = Sampler(mixture_weights(config, sizes), sizes, config.data_seed)

    def draws(self, step: int) -> list[Draw]:
        """Return the examples of a step (counted from 0), in their global order."""
        return self.sampler.draws(step * self.config.batch, self.config.batch)

    def encode_step(self, step: int) -> tuple[list[EncodedExample], list[str]]:
        """Return a step's encoded examples, and the reasons why others could not be used."""
        examples, skip_reasons = [], []
        for draw in self.draws(step):
            try:
                row = self.sources[draw.source].row(draw.row, draw.seed)
                examples.append(encode(row, self.processor, self.config, draw.seed, draw.source))
            except ValueError as error:
                skip_reasons.append(str(error))
        return examples, skip_reasons

    def deal(self, examples: Sequence[EncodedExample], world_size: int) -> list[list[list[int]]]:
        """Return for each rank its sequences, as lists of example numbers."""
        return plan(
            [example.size for example in examples],
            length=self.config.length,
            crops=_MAX_IMAGES * (self.config.max_crops + 1),
            ranks=world_size,
            cost=self.flops.cost,
            packing=self.config.packing,
        )

    def batch(self, step: int, rank: int, world_size: int) -> RankBatch:
        """Return a rank's batch of a step (counted from 0)."""
        examples, skip_reasons = self.encode_step(step)
        by_rank = self.deal(examples, world_size)
        sequences = [collate([examples[n] for n in members], self.processor, self.config) for members in by_rank[rank]]
        return RankBatch(
            sequences,
            skip_reasons,
            num_truncated=sum(example.num_truncated for example in examples),
            tokens=sum(example.size.tokens for example in examples),
            images=sum(example.row.image is not None for example in examples),
            work=sum((example.work(self.flops) for example in examples), Work()),
        )

    def fingerprint(self, step: int) -> str:
        """Return a hash of a step's global batch, which does not depend on the number of ranks."""
        digest = hashlib.sha256()
        for example in self.encode_step(step)[0]:
            digest.update(example.row.name.encode())
            digest.update(example.example.input_ids.tobytes())
        return digest.hexdigest()
