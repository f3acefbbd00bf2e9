"""The held-out examples of a run and what the model makes of them, with the same result on any number of ranks."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.distributed.fsdp import FSDPModule

from molmo_agent.data.catalog import open_mixture
from molmo_agent.data.row import Conversation, Row
from molmo_agent.data.unusable_rows import ROW_ERRORS, reason_of
from molmo_agent.errors import UsageError
from molmo_agent.model import MolmoProcessor
from molmo_agent.train.batching.data_loader import with_pixels
from molmo_agent.train.batching.encode import EncodedExample, collate, encode
from molmo_agent.train.batching.pack import plan
from molmo_agent.train.batching.sampler import mix, spread
from molmo_agent.train.config import TrainConfig, Validation, source_names
from molmo_agent.train.distributed import all_reduce_sum, own_rank, world_size
from molmo_agent.train.flops import Flops
from molmo_agent.train.step import ModelWithLoss


@dataclass(frozen=True, slots=True)
class HeldOutExample:
    """One conversation that is not trained on."""

    encoded: EncodedExample
    conversation: Conversation
    # Seed of its encoding.
    seed: int

    @property
    def row(self) -> Row:
        """The row, with this conversation alone."""
        return self.encoded.row


class HeldOut:
    """The examples that a run is measured on: the same ones at every step, on every rank and after a restart.

    Args:
        config: the run, which has ``validate``.
        processor: of the model.
        flops: counts the work of an example, for balancing ranks.

    Raises:
        UsageError: a data set cannot be opened, or none of its examples can be used.
    """

    def __init__(self, config: TrainConfig, processor: MolmoProcessor, flops: Flops) -> None:
        self.settings = config.validate or Validation()
        self.config = replace(config, max_crops=self.settings.max_crops or config.max_crops)
        self._processor, self._flops = processor, flops
        sources = self.settings.mixture or [source for source in config.mixture if source.hold_out]
        rows = open_mixture(sources, config.home, held_out=not self.settings.mixture)
        self.examples: dict[str, list[HeldOutExample]] = {}
        # Reasons why others cannot be used.
        self.skip_reasons: list[str] = []
        for number, (name, source) in enumerate(zip(source_names(sources), rows, strict=True)):
            self.examples[name] = self._chosen(source, mix(config.data_seed, 9, number))
            if not self.examples[name]:
                raise UsageError(
                    f"no example of {name!r} can be used for validation, the first: {self.skip_reasons[0]}"
                )

    def _chosen(self, source: Any, seed: int) -> list[HeldOutExample]:
        """Return conversations of rows that are spread evenly over a data set."""
        most = self.settings.examples
        numbers = spread(len(source), most) if len(source) else range(most)
        examples: list[HeldOutExample] = []
        for number in numbers:
            row_seed = mix(seed, number)
            try:
                row: Row = source.row(number, row_seed)
                for conversation in row.conversations:
                    alone = replace(row, conversations=(conversation,), weight=1.0)
                    # The number of the data set is 0: each is measured by itself.
                    encoded = encode(alone, self._processor, self.config, row_seed, 0)
                    examples.append(HeldOutExample(encoded, conversation, row_seed))
            except ROW_ERRORS as error:
                self.skip_reasons.append(reason_of(error))
        return [examples[place] for place in spread(len(examples), most)]

    @torch.no_grad()
    def measure(self, model: ModelWithLoss) -> dict[str, Any]:
        """Return the loss, the share of right tokens and the share of answers that are right in every token.

        An answer whose tokens are all the most likely ones is what the model would say: so the last number is the rate
        of exact answers. Every rank must call this.
        """
        began = time.perf_counter()
        training = model.training
        model.eval()
        sums = {name: self._sums(model, examples) for name, examples in self.examples.items()}
        for module in model.modules():
            # Without a backward pass, the outermost weights would stay whole.
            if isinstance(module, FSDPModule):
                module.reshard()
        model.train(training)
        total = torch.stack(list(sums.values())).sum(0)
        return {
            **_rates(total),
            "sources": {name: _rates(part) for name, part in sums.items()},
            "examples": int(total[4]),
            "seconds": time.perf_counter() - began,
        }

    def _sums(self, model: ModelWithLoss, examples: Sequence[HeldOutExample]) -> Tensor:
        """Return cross-entropy, weight, right tokens, right answers and answers, over all ranks."""
        # One example a sequence: its sums do not depend on which others a rank has.
        ranks = plan(
            [example.encoded.size for example in examples],
            length=self.config.length,
            crops=1,
            ranks=world_size(),
            cost=self._flops.cost,
            packing=False,
        )
        sums = torch.zeros(5, dtype=torch.float64)
        for members in ranks[own_rank()]:
            usable: list[EncodedExample] = []
            # An image that was damaged since the start is left out; ranks must have the same number of sequences.
            with contextlib.suppress(*ROW_ERRORS):
                usable = [with_pixels(examples[number].encoded) for number in members]
            part = model(collate(usable, self._processor, self.config)).double().cpu()
            entropy, correct, weight = float(part[0]), float(part[2]), float(part[3 + model.num_sources])
            # Weights of one conversation are whole numbers, so that nothing is lost to rounding.
            right = weight > 0 and correct > weight - 0.5
            sums += torch.tensor([entropy, weight, correct, right, weight > 0], dtype=torch.float64)
        return all_reduce_sum(*sums)


def _rates(sums: Tensor) -> dict[str, float]:
    entropy, weight, correct, right, count = sums.tolist()
    return {
        "loss": entropy / max(weight, 1e-9),
        "accuracy": correct / max(weight, 1e-9),
        "exact": right / max(count, 1.0),
    }


@contextlib.contextmanager
def averaged(model: ModelWithLoss, averages: dict[str, Tensor] | None) -> Iterator[None]:
    """Put the moving averages of the weights into a model for a while: they are what is exported."""
    if averages is None:
        yield
        return
    weights = {name: parameter for name, parameter in model.named_parameters() if name in averages}
    kept = {name: parameter.detach().clone() for name, parameter in weights.items()}
    with torch.no_grad():
        for name, parameter in weights.items():
            parameter.copy_(averages[name])
    try:
        yield
    finally:
        with torch.no_grad():
            for name, parameter in weights.items():
                parameter.copy_(kept[name])
