"""The attention mask of a message tree, in which several annotations share one image."""

import torch
from torch import Tensor


def can_attend(query: Tensor, key: Tensor, query_segments: Tensor, key_segments: Tensor) -> Tensor:
    """Return whether a query attends to a key; all forms of the mask follow this rule.

    A key is not later than its query, and belongs to the image or to the query's own annotation. Image and BOS carry
    the largest id, annotation k carries k, so that is an id not smaller than the query's
    (docs/reference/model.md#message-trees).

    Args:
        query: positions of queries in the sequence.
        key: positions of keys; all four are integers that broadcast against each other.
        query_segments: annotation ids of the queries.
        key_segments: annotation ids of the keys.
    """
    return (key <= query) & (key_segments >= query_segments)


def message_tree_mask(subsegment_ids: Tensor, valid: Tensor | None, dtype: torch.dtype) -> Tensor:
    """Return the additive (B, 1, T, T) mask for several annotations that share one image.

    Args:
        subsegment_ids: (B, T) integers, see :func:`can_attend`.
        valid: (B, T), False on padding; None when nothing is padded.
        dtype: floating dtype of the mask: 0 where visible, the dtype's minimum elsewhere.
    """
    positions = torch.arange(subsegment_ids.shape[1], device=subsegment_ids.device)
    query, key = positions[:, None], positions[None, :]
    visible = can_attend(query, key, subsegment_ids[:, :, None], subsegment_ids[:, None, :])
    if valid is not None:
        # Padding rows attend to themselves: a row without any visible key would be NaN.
        visible = (visible & valid.bool()[:, None, :]) | (query == key)
    mask = torch.zeros(visible.shape, dtype=dtype, device=subsegment_ids.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min).unsqueeze(1)
