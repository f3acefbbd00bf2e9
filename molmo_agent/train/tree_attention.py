"""Attention over a message tree in two calls: the picture is causal and needs no mask; only annotations do.

The same numbers as attention under :func:`~molmo_agent.model.modeling.message_tree_mask`, with less thrown away.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from molmo_agent.model.modeling import message_tree_mask

NAME = "message_tree"


@dataclass(frozen=True, slots=True)
class Tree:
    """One sequence: a prefix that all annotations see, and the mask of the rows after it."""

    prefix: int
    # (1, 1, T - prefix, T), additive.
    mask: Tensor

    @classmethod
    def of(cls, subsegment_ids: Tensor, dtype: torch.dtype) -> "Tree":
        """Read the tree off (T,) ids; the prefix is the leading run of the largest id."""
        prefix = int((subsegment_ids == subsegment_ids[0]).long().cumprod(0).sum())
        return cls(prefix, message_tree_mask(subsegment_ids[None], None, dtype)[:, :, prefix:].contiguous())


def tree_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    tree: Tree,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within one sequence; query, key, value are (1, H, T, K); returns (1, T, H, K)."""
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    p = tree.prefix
    first = F.scaled_dot_product_attention(
        query[:, :, :p], key[:, :, :p], value[:, :, :p], is_causal=True, scale=scaling
    )
    rest = F.scaled_dot_product_attention(query[:, :, p:], key, value, attn_mask=tree.mask, scale=scaling)
    return torch.cat([first, rest], dim=2).transpose(1, 2), None


AttentionInterface.register(NAME, tree_attention)
# The tree travels beside the inputs; no mask is to be built.
AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
