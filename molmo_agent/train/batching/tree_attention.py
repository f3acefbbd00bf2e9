"""Efficient attention over packed message trees: per example, with a mask for the annotations only.

The result is that of attention with :func:`molmo_agent.model.message_tree.message_tree_mask`, with less wasted work.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import AttentionInterface
from transformers.masking_utils import AttentionMaskInterface

from molmo_agent.model.message_tree import message_tree_mask

NAME = "message_tree"


@dataclass(frozen=True, slots=True)
class Tree:
    """One example: the length of the prefix to which all annotations attend, and the mask of the rows after it."""

    prefix: int
    # (1, 1, T - prefix, T), additive.
    mask: Tensor

    @classmethod
    def of(cls, subsegment_ids: Tensor, dtype: torch.dtype) -> "Tree":
        """Build the tree from (T,) ids; the prefix is the leading run of the largest id."""
        prefix = int((subsegment_ids == subsegment_ids[0]).long().cumprod(0).sum())
        return cls(prefix, message_tree_mask(subsegment_ids[None], None, dtype)[:, :, prefix:].contiguous())

    def to(self, device: torch.device) -> "Tree":
        """Return the tree with its mask on a device."""
        return Tree(self.prefix, self.mask.to(device))


@dataclass(frozen=True, slots=True)
class Forest:
    """A packed sequence: one tree after another."""

    # Start and end of each tree.
    spans: tuple[tuple[int, int], ...]
    trees: tuple[Tree, ...]

    @classmethod
    def of(cls, documents: Tensor, segments: Tensor, dtype: torch.dtype) -> "Forest":
        """Build the trees from the (T,) numbers of examples, in runs, and of annotations."""
        edges = [0, *((documents.diff() != 0).nonzero().flatten() + 1).tolist(), len(documents)]
        spans = tuple(pairwise(edges))
        return cls(spans, tuple(Tree.of(segments[start:stop], dtype) for start, stop in spans))

    def to(self, device: torch.device) -> "Forest":
        """Return the trees with their masks on a device."""
        return Forest(self.spans, tuple(tree.to(device) for tree in self.trees))


def forest_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    forest: Forest,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attend within each tree of a packed sequence; query, key, value are (1, H, T, K); returns (1, T, H, K)."""
    parts = []
    for (start, stop), tree in zip(forest.spans, forest.trees, strict=True):
        span = slice(start, stop)
        part, _ = tree_attention(
            module, query[:, :, span], key[:, :, span], value[:, :, span], attention_mask, tree=tree, **kwargs
        )
        parts.append(part)
    return torch.cat(parts, dim=1), None


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
    if p == query.shape[2]:
        return first.transpose(1, 2), None
    annotations = F.scaled_dot_product_attention(query[:, :, p:], key, value, attn_mask=tree.mask, scale=scaling)
    return torch.cat([first, annotations], dim=2).transpose(1, 2), None


AttentionInterface.register(NAME, forest_attention)
# The tree is a separate argument, so transformers must build no mask.
AttentionMaskInterface.register(NAME, lambda *args, **kwargs: None)
