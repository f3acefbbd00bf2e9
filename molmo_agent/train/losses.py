"""The training loss, as the authors compute it: docs/reference/training.md#loss."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

Z_LOSS = 1e-4
"""Weight of the squared log-partition, which keeps logits from drifting."""
CHUNK = 1024
"""Number of positions whose logits are in memory at a time."""


@dataclass(frozen=True, slots=True)
class TokenLoss:
    """Weighted sums over tokens; divide them by the weight of the global batch, not of one rank."""

    # Per token, (B, T), weighted; zero without a target.
    cross_entropy: Tensor
    z: Tensor
    # Scalars.
    weight: Tensor
    correct: Tensor

    @property
    def mean(self) -> Tensor:
        """The loss of this batch, by its own weight."""
        return (self.cross_entropy.sum() + self.z.sum()) / self.weight


def token_loss(logits: Tensor, labels: Tensor, weights: Tensor, z_scale: float = Z_LOSS) -> TokenLoss:
    """Return cross-entropy and z-loss of logits.

    Args:
        logits: (B, T, V); computed in float32.
        labels: (B, T) next ids; negative without a target.
        weights: (B, T); negative weights (padding) count as zero.
        z_scale: weight of the z-loss.
    """
    logits = logits.float()
    weights = weights.clamp(min=0) * (labels >= 0)
    partition = logits.logsumexp(-1)
    # Image tokens may have ids without a logit; they are never targets.
    label_logits = logits.gather(-1, labels.where(weights > 0, 0).unsqueeze(-1)).squeeze(-1)
    return TokenLoss(
        cross_entropy=(partition - label_logits) * weights,
        z=z_scale * partition.square() * weights,
        weight=weights.sum(),
        correct=((logits.argmax(-1) == labels) * weights).sum(),
    )


def response_loss(
    hidden: Tensor, head: Tensor, labels: Tensor, weights: Tensor, *, chunk: int = CHUNK, z_scale: float = Z_LOSS
) -> TokenLoss:
    """Like :func:`token_loss`, from (B, T, D) hidden states and the (V, D) head, only for positions with a target.

    Logits are computed for ``chunk`` positions at a time and recomputed in the backward pass: for 152,064 ids they
    would be the largest tensor in memory.
    """
    rows = (labels >= 0) & (weights > 0)
    states, targets, counts = hidden[rows], labels[rows], weights[rows]

    def part(state: Tensor, target: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loss = token_loss(F.linear(state, head)[None], target[None], count[None], z_scale)
        return loss.cross_entropy[0], loss.z[0], loss.correct

    pieces = [
        checkpoint(part, s, t, c, use_reentrant=False)
        for s, t, c in zip(states.split(chunk), targets.split(chunk), counts.split(chunk), strict=True)
    ]
    if not len(states):
        # Keep the graph: a rank without answers must run the backward pass too, for every weight.
        zero = (hidden.sum() + head.sum()) * 0
        return TokenLoss(zero, zero, weights.new_zeros(()), weights.new_zeros(()))
    entropy, z = (torch.cat([piece[i] for piece in pieces]) for i in (0, 1))
    return TokenLoss(entropy, z, counts.sum(), torch.stack([piece[2] for piece in pieces]).sum())
