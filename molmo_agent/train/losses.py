"""What training minimises, as the authors compute it: docs/reference/training.md#loss."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

Z_LOSS = 1e-4
"""Weight of the squared log-partition, which keeps logits from drifting."""


@dataclass(frozen=True, slots=True)
class TokenLoss:
    """Weighted sums over tokens; divide by the weights of the whole global batch, not of one rank."""

    # Per token, (B, T), weighted; zero where nothing is to be learned.
    cross_entropy: Tensor
    z: Tensor
    # Scalars.
    weight: Tensor
    correct: Tensor

    @property
    def mean(self) -> Tensor:
        """The loss of this batch alone."""
        return (self.cross_entropy.sum() + self.z.sum()) / self.weight


def token_loss(logits: Tensor, labels: Tensor, weights: Tensor, z_scale: float = Z_LOSS) -> TokenLoss:
    """Compare logits with labels.

    Args:
        logits: (B, T, V); computed in float32.
        labels: (B, T) ids of what comes next; negative where nothing does.
        weights: (B, T); negative (padding) counts as zero.
        z_scale: weight of the z-loss.
    """
    logits = logits.float()
    weights = weights.clamp(min=0) * (labels >= 0)
    partition = logits.logsumexp(-1)
    # Image tokens may have ids that no logit stands for; they are never learned.
    label_logits = logits.gather(-1, labels.where(weights > 0, 0).unsqueeze(-1)).squeeze(-1)
    return TokenLoss(
        cross_entropy=(partition - label_logits) * weights,
        z=z_scale * partition.square() * weights,
        weight=weights.sum(),
        correct=((logits.argmax(-1) == labels) * weights).sum(),
    )


def response_loss(
    hidden: Tensor, head: Tensor, labels: Tensor, weights: Tensor, *, chunk: int = 1024, z_scale: float = Z_LOSS
) -> TokenLoss:
    """Like :func:`token_loss`, from (B, T, D) hidden states and the (V, D) head, for learned positions alone.

    Logits exist for ``chunk`` positions at a time, and are recomputed in the backward pass: at 152,064 ids they would
    be the largest thing in memory.
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
        # Keeps the graph: a rank without answers still takes part in the backward pass, with every weight.
        zero = (hidden.sum() + head.sum()) * 0
        return TokenLoss(zero, zero, weights.new_zeros(()), weights.new_zeros(()))
    entropy, z = (torch.cat([piece[i] for piece in pieces]) for i in (0, 1))
    return TokenLoss(entropy, z, counts.sum(), torch.stack([piece[2] for piece in pieces]).sum())
