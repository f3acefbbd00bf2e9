"""The batches of a run, each a pure function of config, step, rank and world size."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy.typing as npt

from molmo_agent.data.catalog import open_mixture
from molmo_agent.data.row import Picture, Rows
from molmo_agent.data.unusable_rows import ROW_ERRORS, reason_of
from molmo_agent.errors import ImageError, UsageError
from molmo_agent.model import MolmoProcessor
from molmo_agent.train.batching.encode import EncodedExample, collate, encode
from molmo_agent.train.batching.mixture_weights import mixture_weights
from molmo_agent.train.batching.pack import plan
from molmo_agent.train.batching.sampler import Draw, Sampler
from molmo_agent.train.config import TrainConfig
from molmo_agent.train.flops import Flops, Work

# Maximum number of crops in a sequence, in units of the crops of one large image.
_MAX_IMAGES = 4
# So many examples in a row that cannot be used end a run that had no usable one before.
_MAX_UNUSABLE = 256


def max_crops_of_sequence(config: TrainConfig) -> int:
    """Return the maximum number of crops of a packed sequence."""
    return _MAX_IMAGES * (config.max_crops + 1)


@dataclass(frozen=True, slots=True)
class RankBatch:
    """One rank's batch of a step."""

    # Arrays with a leading dimension of 1; all ranks have the same number of sequences.
    sequences: list[dict[str, npt.NDArray[Any]]]
    # Reasons why examples could not be used: of the global batch, but of this rank alone for damaged images. Of the
    # global batch: the number of annotations that did not fit.
    skip_reasons: list[str] = field(default_factory=list)
    num_truncated: int = 0
    # Of the global batch: number of tokens and images, and the work of a forward pass.
    tokens: int = 0
    images: int = 0
    # By data set: number of examples of the global batch, and of those that can be used. Images that are damaged count
    # as such on their rank alone.
    drawn: Counter[int] = field(default_factory=Counter)
    used: Counter[int] = field(default_factory=Counter)
    work: Work = field(default_factory=Work)


def with_pixels(example: EncodedExample) -> EncodedExample:
    """Return an example whose images are decoded.

    Raises:
        ImageError: an image has another size than its row says; further errors as in ROW_ERRORS.
    """
    decoded = [_decoded(picture) for picture in example.row.pictures]
    if not decoded:
        return example
    first, *more = decoded
    return replace(example, row=replace(example.row, image=first.image, more_images=tuple(more)))


def _decoded(picture: Picture) -> Picture:
    pixels = picture.image()
    size = pixels.shape[1], pixels.shape[0]
    if size != picture.size:
        raise ImageError(f"expected an image of {picture.size} pixels, got {size}; was it replaced?")
    return replace(picture, image=lambda: pixels)


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
        # Whether any example could be used so far.
        self._has_usable = False

    def draws(self, step: int) -> list[Draw]:
        """Return the examples of a step (counted from 0), in their global order."""
        return self.sampler.draws(step * self.config.batch, self.config.batch)

    def encode_step(self, step: int) -> tuple[list[EncodedExample], list[str]]:
        """Return a step's encoded examples, and the reasons why others could not be used."""
        examples, skip_reasons = [], []
        for draw in self.draws(step):
            try:
                examples.append(self._encode(draw))
            except ROW_ERRORS as error:
                skip_reasons.append(reason_of(error))
        return examples, skip_reasons

    def _encode(self, draw: Draw) -> EncodedExample:
        row = self.sources[draw.source].row(draw.row, draw.seed)
        return encode(row, self.processor, self.config, draw.seed, draw.source)

    def _collate(
        self, members: Sequence[EncodedExample], skip_reasons: list[str], used: Counter[int]
    ) -> dict[str, npt.NDArray[Any]]:
        """Return a sequence of the examples whose images can be decoded; add the reasons for the others, uncount them.

        The sequence is made in any case: ranks must have the same number of them.
        """
        usable = []
        for member in members:
            try:
                usable.append(with_pixels(member))
            except ROW_ERRORS as error:
                skip_reasons.append(f"{member.row.name}: {reason_of(error)}")
                used[member.source] -= 1
        self._has_usable = self._has_usable or bool(usable)
        return collate(usable, self.processor, self.config)

    def _require_usable(self, step: int) -> None:
        """Check that the next examples are not all unusable.

        Raises:
            UsageError: they are.
        """
        draws = self.sampler.draws(step * self.config.batch, max(_MAX_UNUSABLE, self.config.batch))
        reason = ""
        for draw in draws:
            try:
                with_pixels(self._encode(draw))
            except ROW_ERRORS as error:
                reason = reason or reason_of(error)
            else:
                self._has_usable = True
                return
        raise UsageError(f"none of {len(draws)} examples can be used for training, the first: {reason}")

    def deal(self, examples: Sequence[EncodedExample], world_size: int) -> list[list[list[int]]]:
        """Return for each rank its sequences, as lists of example numbers."""
        return plan(
            [example.size for example in examples],
            length=self.config.length,
            crops=max_crops_of_sequence(self.config),
            ranks=world_size,
            cost=self.flops.cost,
            packing=self.config.packing,
        )

    def batch(self, step: int, rank: int, world_size: int) -> RankBatch:
        """Return a rank's batch of a step (counted from 0).

        Raises:
            UsageError: no example so far could be used, nor any of the next ones.
        """
        examples, skip_reasons = self.encode_step(step)
        by_rank = self.deal(examples, world_size)
        used = Counter(example.source for example in examples)
        sequences = [self._collate([examples[n] for n in members], skip_reasons, used) for members in by_rank[rank]]
        if skip_reasons and not self._has_usable:
            self._require_usable(step)
        return RankBatch(
            sequences,
            skip_reasons,
            num_truncated=sum(example.num_truncated for example in examples),
            tokens=sum(example.size.tokens for example in examples),
            drawn=Counter(draw.source for draw in self.draws(step)),
            used=used,
            images=sum(len(example.row.pictures) for example in examples),
            work=sum((example.work(self.flops) for example in examples), Work()),
        )

    def fingerprint(self, step: int) -> str:
        """Return a hash of a step's global batch, which does not depend on the number of ranks."""
        digest = hashlib.sha256()
        for example in self.encode_step(step)[0]:
            digest.update(example.row.name.encode())
            digest.update(example.example.input_ids.tobytes())
        return digest.hexdigest()
