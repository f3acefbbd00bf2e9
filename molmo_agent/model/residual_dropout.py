"""Dropout in the decoder: on what attention and MLP add to the residual stream, and in adapters.

On the stream it is at every token in fine-tuning, at answers only in pre-training
(docs/reference/training.md#dropout). Decoders of transformers have no such switch; the branches are reached through
hooks.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

# The modules whose outputs are added to the stream; a decoder that normalises afterwards adds its norms' outputs.
_BRANCHES = ("self_attn", "mlp")
_NORM_AFTER = {"olmo2": ("post_attention_layernorm", "post_feedforward_layernorm")}
_ODD, _MASK = 0x9E3779B97F4A7C15, (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class ExampleSeeds:
    """The examples of a packed sequence, in order: the seed of each and its number of tokens.

    What is dropped in an example depends on its seed alone, so it is the same in any sequence, on any rank and in any
    order.
    """

    seeds: tuple[int, ...]
    lengths: tuple[int, ...]

    def uniform(self, x: Tensor, place: int) -> Tensor:
        """Return random numbers in [0, 1) in the shape of ``x``, (1, T, D).

        Args:
            x: the activations of the sequence.
            place: number of the module that drops; each has its own numbers.

        Raises:
            ValueError: ``x`` does not hold the tokens of the examples.
        """
        if x.shape[:2] != (1, sum(self.lengths)):
            raise ValueError(
                f"expected the {sum(self.lengths)} tokens of a sequence of {len(self.lengths)} examples, "
                f"got {tuple(x.shape)}"
            )
        generator = torch.Generator(x.device)
        parts = []
        for seed, length in zip(self.seeds, self.lengths, strict=True):
            # A generator on the CPU uses the lower 32 bits alone: both numbers must reach them.
            key = (seed ^ (place + 1) * _ODD) * _ODD & _MASK
            generator.manual_seed(key >> 32)
            parts.append(torch.rand((length, x.shape[2]), generator=generator, device=x.device))
        return torch.cat(parts)[None]


class ResidualDropout:
    """Drops elements of a decoder's residual branches in training; inactive until :meth:`set`.

    Its layers take two keywords: ``answer_mask``, (B, T), and ``example_seeds``, an :class:`ExampleSeeds` of a packed
    sequence. Without seeds, what is dropped follows torch's global seed.
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder, self._attached, self._watched = decoder, False, False
        self.everywhere = self.answers = 0.0
        self._mask: Tensor | None = None
        self._seeds: ExampleSeeds | None = None
        # Numbers of the modules that drop: first the branches of all layers, then the adapters'.
        self._places = 0

    def set(self, everywhere: float, answers: float) -> None:
        """Say what share to drop at every token, and at tokens that ``answer_mask`` marks, instead."""
        self.everywhere, self.answers = everywhere, answers
        if self._attached or not (everywhere or answers):
            return
        self._attached = True
        self._watch()
        for layer in self._decoder.layers:
            for name in _NORM_AFTER.get(self._decoder.config.model_type, _BRANCHES):
                getattr(layer, name).register_forward_hook(partial(self._drop, self._next_place()))

    def seed_dropouts(self) -> None:
        """Let the layers' own dropout modules, those of adapters, drop by example too."""
        self._watch()
        for layer in self._decoder.layers:
            for parent, name, module in _dropouts(layer):
                setattr(parent, name, _SeededDropout(module.p, self, self._next_place()))

    def _next_place(self) -> int:
        self._places += 1
        return self._places

    def _watch(self) -> None:
        if not self._watched:
            self._watched = True
            for layer in self._decoder.layers:
                layer.register_forward_pre_hook(self._see, with_kwargs=True)

    def _see(self, layer: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        # Per layer, not per pass: what is computed again in the backward pass must drop the same elements.
        self._mask = kwargs.pop("answer_mask", None)
        self._seeds = kwargs.pop("example_seeds", None)
        return args, kwargs

    def _drop(self, place: int, branch: nn.Module, args: Any, output: Any) -> Any:
        if not branch.training:
            return output
        share: float | Tensor = self.everywhere
        x = output[0] if isinstance(output, tuple) else output
        if self._mask is not None and self.answers != self.everywhere:
            share = torch.where(self._mask, self.answers, self.everywhere).to(x.dtype).unsqueeze(-1)
        x = self.thin(x, share, place)
        return (x, *output[1:]) if isinstance(output, tuple) else x

    def thin(self, x: Tensor, share: float | Tensor, place: int) -> Tensor:
        """Return ``x``, (B, T, D), without a share of its elements, the others scaled so that the mean stays."""
        random = torch.rand_like(x) if self._seeds is None else self._seeds.uniform(x, place)
        return x * (random >= share) / (1 - share)


class _SeededDropout(nn.Module):
    """The place of an :class:`~torch.nn.Dropout` in a decoder's layer."""

    def __init__(self, p: float, owner: ResidualDropout, place: int) -> None:
        super().__init__()
        self.p, self._owner, self._place = p, owner, place

    def forward(self, x: Tensor) -> Tensor:
        return self._owner.thin(x, self.p, self._place) if self.training else x


def _dropouts(layer: nn.Module) -> Iterable[tuple[nn.Module, str, nn.Dropout]]:
    """Return the dropout modules in a layer, with their parents and names there."""
    return [
        (parent, name, module)
        for parent in layer.modules()
        for name, module in parent.named_children()
        if isinstance(module, nn.Dropout)
    ]
