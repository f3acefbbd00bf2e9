"""Who sees whom in a packed sequence: one rule, in the forms that attention kernels take.

Position i sees position j when both are of the same example, j is not later, and j's annotation is the picture's or i's
own (``subsegment_ids[j] >= subsegment_ids[i]``; docs/reference/model.md#message-trees).
"""

from collections.abc import Callable

import torch
from torch import Tensor


def visible(documents: Tensor, segments: Tensor) -> Tensor:
    """Return the (B, T, T) booleans of the rule; padding (document -1) sees itself alone.

    Args:
        documents: (B, T) number of the example in the sequence.
        segments: (B, T) annotation; the picture has the largest number.
    """
    length = documents.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool, device=documents.device).tril()
    same = (documents[:, :, None] == documents[:, None, :]) & (documents >= 0)[:, :, None]
    seen = same & causal & (segments[:, None, :] >= segments[:, :, None])
    return seen | torch.eye(length, dtype=torch.bool, device=documents.device)


def additive(documents: Tensor, segments: Tensor, dtype: torch.dtype) -> Tensor:
    """Return the rule as a (B, 1, T, T) mask to be added to scores, for eager and SDPA attention."""
    seen = visible(documents, segments)
    mask = torch.zeros(seen.shape, dtype=dtype, device=seen.device)
    return mask.masked_fill_(~seen, torch.finfo(dtype).min).unsqueeze(1)


def flex_rule(documents: Tensor, segments: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    """Return the rule as FlexAttention's ``mask_mod``: (batch, head, query, key) -> whether it is seen."""

    def rule(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        mine, its = documents[batch, query], documents[batch, key]
        seen = (mine == its) & (mine >= 0) & (key <= query) & (segments[batch, key] >= segments[batch, query])
        return seen | (key == query)

    return rule
