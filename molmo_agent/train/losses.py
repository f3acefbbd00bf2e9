"""The training loss, as the authors compute it: docs/reference/training.md#loss."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
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


class _SoftmaxLoss(torch.autograd.Function):
    """Cross-entropy and log-partition of (N, V) logits, with few passes over them: for them alone a pass is slow."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy and the log-partition, both (N,)."""
        log_shares = logits.log_softmax(-1)
        rows = labels.unsqueeze(-1)
        entropy = -log_shares.gather(-1, rows)
        ctx.save_for_backward(log_shares, rows)
        return entropy.squeeze(-1), (logits.gather(-1, rows) + entropy).squeeze(-1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, entropy: Tensor, partition: Tensor) -> tuple[Tensor, None]:
        """Return the gradient of the logits: both results' is the softmax, the entropy's less one at the label."""
        log_shares, rows = ctx.saved_tensors
        gradient = log_shares.exp().mul_((entropy + partition).unsqueeze(-1))
        return gradient.scatter_add_(-1, rows, -entropy.unsqueeze(-1)), None


def token_loss(logits: Tensor, labels: Tensor, weights: Tensor, z_scale: float = Z_LOSS) -> TokenLoss:
    """Return cross-entropy and z-loss of logits.

    Args:
        logits: (B, T, V); computed in float32.
        labels: (B, T) next ids; negative without a target.
        weights: (B, T); negative weights (padding) count as zero.
        z_scale: weight of the z-loss.
    """
    weights = weights.clamp(min=0) * (labels >= 0)
    # Image tokens may have ids without a logit; they are never targets.
    targets = labels.where(weights > 0, 0)
    entropy, partition = _SoftmaxLoss.apply(logits.float().flatten(0, -2), targets.flatten())
    return TokenLoss(
        cross_entropy=entropy.view_as(weights) * weights,
        z=z_scale * partition.view_as(weights).square() * weights,
        weight=weights.sum(),
        correct=((logits.argmax(-1) == labels) * weights).sum(),
    )


def response_loss(
    hidden: Tensor, head: Tensor, labels: Tensor, weights: Tensor, *, chunk: int = CHUNK, z_scale: float = Z_LOSS
) -> TokenLoss:
    """Like :func:`token_loss`, from (B, T, D) hidden states and the (V, D) head, only for positions with a target.

    Logits are computed for ``chunk`` positions at a time: for 152,064 ids they would be the largest tensor in memory.
    Those of the last piece are kept for the backward pass, which begins with them; the others are computed again.
    """
    rows = (labels >= 0) & (weights > 0)
    states, targets, counts = hidden[rows], labels[rows], weights[rows]
    if not len(states):
        # Keep the graph: a rank without answers must run the backward pass too, for every weight.
        zero = (hidden.sum() + head.sum()) * 0
        return TokenLoss(zero, zero, weights.new_zeros(()), weights.new_zeros(()))

    def part(state: Tensor, target: Tensor, count: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        loss = token_loss(F.linear(state, head)[None], target[None], count[None], z_scale)
        return loss.cross_entropy[0], loss.z[0], loss.correct

    *others, last = zip(states.split(chunk), targets.split(chunk), counts.split(chunk), strict=True)
    pieces = [*(checkpoint(part, *piece, use_reentrant=False) for piece in others), part(*last)]
    entropy, z = (torch.cat([piece[i] for piece in pieces]) for i in (0, 1))
    return TokenLoss(entropy, z, counts.sum(), torch.stack([piece[2] for piece in pieces]).sum())
