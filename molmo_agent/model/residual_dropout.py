"""Dropout on what attention and MLP add to the residual stream: everywhere, or on answers alone.

Pre-training drops at answer tokens only, fine-tuning everywhere (molmo-data-training-eval section 4). Decoders of
transformers have no such switch; the branches are reached through hooks.
"""

from typing import Any

import torch
from torch import Tensor, nn

# The modules whose outputs are added to the stream; a decoder that normalises afterwards adds its norms' outputs.
_BRANCHES = ("self_attn", "mlp")
_NORM_AFTER = {"olmo2": ("post_attention_layernorm", "post_feedforward_layernorm")}


class ResidualDropout:
    """Drops elements of residual branches in training.

    Args:
        everywhere: share dropped at every token.
        answers: share dropped at tokens that ``answer_mask`` marks, instead.
    """

    def __init__(self, everywhere: float, answers: float) -> None:
        self.everywhere, self.answers = everywhere, answers
        self._mask: Tensor | None = None

    def attach(self, decoder: Any) -> None:
        """Hook into every layer of a decoder."""
        if not (self.everywhere or self.answers):
            return
        for layer in decoder.layers:
            layer.register_forward_pre_hook(self._see, with_kwargs=True)
            for name in _NORM_AFTER.get(decoder.config.model_type, _BRANCHES):
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
