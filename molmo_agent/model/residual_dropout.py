"""Dropout on what attention and MLP add to the residual stream: everywhere, or on answers alone.

Pre-training drops at answer tokens only, fine-tuning everywhere (docs/reference/training.md#dropout). Decoders of
transformers have no such switch; the branches are reached through hooks.
"""

from typing import Any

import torch
from torch import Tensor, nn

# The modules whose outputs are added to the stream; a decoder that normalises afterwards adds its norms' outputs.
_BRANCHES = ("self_attn", "mlp")
_NORM_AFTER = {"olmo2": ("post_attention_layernorm", "post_feedforward_layernorm")}


class ResidualDropout:
    """Drops elements of a decoder's residual branches in training; inactive until :meth:`set`."""

    def __init__(self, decoder: Any) -> None:
        self._decoder, self._attached = decoder, False
        self.everywhere = self.answers = 0.0
        self._mask: Tensor | None = None

    def set(self, everywhere: float, answers: float) -> None:
        """Say what share to drop at every token, and at tokens that ``answer_mask`` marks, instead."""
        self.everywhere, self.answers = everywhere, answers
        if self._attached or not (everywhere or answers):
            return
        self._attached = True
        for layer in self._decoder.layers:
            layer.register_forward_pre_hook(self._see, with_kwargs=True)
            for name in _NORM_AFTER.get(self._decoder.config.model_type, _BRANCHES):
                getattr(layer, name).register_forward_hook(self._drop)

    def _see(self, layer: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        # Per layer, not per pass: what is computed again in the backward pass must drop the same elements.
        self._mask = kwargs.pop("answer_mask", None)
        return args, kwargs

    def _drop(self, branch: nn.Module, args: Any, output: Any) -> Any:
        if not branch.training:
            return output
        if isinstance(output, tuple):
            return (self._thin(output[0]), *output[1:])
        return self._thin(output)

    def _thin(self, x: Tensor) -> Tensor:
        share: float | Tensor = self.everywhere
        if self._mask is not None and self.answers != self.everywhere:
            share = torch.where(self._mask, self.answers, self.everywhere).to(x.dtype).unsqueeze(-1)
        return x * (torch.rand_like(x) >= share) / (1 - share)
