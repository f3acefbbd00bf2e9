"""What the model's forward passes return, in the order of transformers, and the loss that its trainers ask for.

Runs of this package weigh their targets themselves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast

IGNORED = -100
"""A target without a loss, as in transformers."""


@dataclass
class MolmoModelOutput(BaseModelOutputWithPast):
    """The output of the model without its output head; fields are None unless requested.

    ``last_hidden_state``: (B, T, D). ``image_features``: (B, C, G, D) before they are added to the embeddings.
    """

    image_features: Tensor | None = None


@dataclass
class MolmoOutput(CausalLMOutputWithPast):
    """The output of a forward pass; fields are None unless requested.

    ``logits``: (B, T, V). ``last_hidden_state``: (B, T, D). ``image_features``: (B, C, G, D) before they are added.
    """

    last_hidden_state: Tensor | None = None
    image_features: Tensor | None = None


def next_tokens(labels: Tensor, image_token_ids: Sequence[int]) -> Tensor:
    """Return the target of each position: (B, T) labels moved by one, ``IGNORED`` where there is none.

    Negative labels and image tokens are no targets; the last position has none.
    """
    targets = F.pad(labels[:, 1:], (0, 1), value=IGNORED)
    no_target = (targets < 0) | torch.isin(targets, targets.new_tensor(image_token_ids))
    return targets.masked_fill(no_target, IGNORED)


def mean_loss(logits: Tensor, targets: Tensor, count: Tensor | int | None) -> Tensor:
    """Return the summed cross-entropy divided by ``count``, by default the number of targets; 0 without any target.

    Args:
        logits: (B, T, V).
        targets: (B, T).
        count: targets of the whole batch, of which this may be a part.
    """
    total = F.cross_entropy(
        logits.float().flatten(0, 1), targets.to(logits.device).flatten(), ignore_index=IGNORED, reduction="sum"
    )
    if count is None:
        return total / (targets != IGNORED).sum().clamp(min=1)
    return total / (count.to(total.device) if isinstance(count, Tensor) else count)
