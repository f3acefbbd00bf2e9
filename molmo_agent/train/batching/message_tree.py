"""Lay out conversations about one image as one training sequence of token ids.

Layout, message tree and weights: docs/reference/model.md#message-trees and docs/reference/training.md#loss,
checked against the authors' own examples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

IMAGE_SUBSEGMENT = 10000
"""The subsegment id of BOS and the image; annotation k has the id k, counted from 1."""

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float32]
# Ids of alternating turns: user, assistant, user, ...
Conversation = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One training sequence of T tokens."""

    input_ids: IntArray
    # The next id at each position, and its loss weight.
    labels: IntArray
    loss_weights: FloatArray
    position_ids: IntArray
    # None for a single conversation.
    subsegment_ids: IntArray | None


def tree_positions(subsegment_ids: IntArray) -> IntArray:
    """Return (T,) positions: every annotation starts directly behind the image."""
    positions = np.zeros(len(subsegment_ids), dtype=np.int64)
    for value in np.unique(subsegment_ids):
        visible = np.cumsum(subsegment_ids >= value) - 1
        positions = np.where(subsegment_ids == value, visible, positions)
    return positions


def lay_out(
    image_ids: Sequence[int],
    conversations: Sequence[Conversation],
    *,
    bos: int,
    eos: int,
    weighting: Literal["root_subsegments"] | None = None,
    weight: float = 1.0,
) -> Example:
    """Lay out an image's tokens and its conversations as one sequence.

    Args:
        image_ids: ids of the image tokens; empty for text alone.
        conversations: one or more; each of several attends to the image and itself only.
        bos: first id of the sequence.
        eos: last id of every assistant turn.
        weighting: "root_subsegments" gives each of n annotations the weight 1/sqrt(n).
        weight: of the target tokens; for a single conversation only.

    Raises:
        ValueError: there is no conversation, or a weight for several.
    """
    if not conversations:
        raise ValueError("expected at least one conversation, got none")
    several = len(conversations) > 1
    if several and weight != 1.0:
        raise ValueError(f"a weight belongs to a single conversation, got weight={weight} for {len(conversations)}")
    each = len(conversations) ** -0.5 if several and weighting == "root_subsegments" else weight
    ids, weights = [bos, *image_ids], [0.0] * (1 + len(image_ids))
    segments = [IMAGE_SUBSEGMENT] * len(ids)
    for number, turns in enumerate(conversations, 1):
        for turn, tokens in enumerate(turns):
            answer = turn % 2 == 1
            row = [*tokens, eos] if answer else list(tokens)
            ids += row
            weights += [each if answer else 0.0] * len(row)
            segments += [number] * len(row)
    # A question without its answer is a prompt: it stays complete, and the last position has no target.
    asks = len(conversations[-1]) % 2 == 1
    inputs = ids if asks else ids[:-1]
    labels, label_weights = [*ids[1:], -1][: len(inputs)], [*weights[1:], -1.0 if asks else 0.0][: len(inputs)]
    tree = np.array(segments[: len(inputs)])
    return Example(
        input_ids=np.array(inputs),
        labels=np.array(labels),
        loss_weights=np.array(label_weights, dtype=np.float32),
        position_ids=tree_positions(tree) if several else np.arange(len(inputs)),
        subsegment_ids=tree if several else None,
    )
