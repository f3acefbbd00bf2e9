"""From the vision tower's patches to the decoder's image features: pad embeddings, pooling, projector.

Knows nothing of text. Reference: docs/reference/model.md#padding-embeddings and what follows there; names of
the released checkpoints in brackets.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers.activations import ACT2FN

from molmo_agent.model.configuration import MolmoConfig


class MolmoPooling(nn.Module):
    """Let the mean of each window of patches attend to its patches (`image_pooling_2d`)."""

    def __init__(self, config: MolmoConfig, width: int) -> None:
        super().__init__()
        inner = config.pooling_heads * config.pooling_head_dim
        self.num_heads = config.pooling_heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.o_proj = nn.Linear(inner, inner)

    def forward(self, windows: Tensor) -> Tensor:
        """Pool (M, P, width) windows of P patches to (M, inner)."""
        query = self.q_proj(windows.mean(dim=1, keepdim=True))

        def heads(x: Tensor) -> Tensor:
            return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)  # (M, H, P, K)

        # The windows are tiny and many: plain arithmetic beats a fused attention kernel here.
        q, k, v = heads(query), heads(self.k_proj(windows)), heads(self.v_proj(windows))
        scores = (q.float() * k.float()).sum(-1) * q.shape[-1] ** -0.5  # (M, H, P)
        weights = scores.softmax(-1).to(v.dtype)
        pooled = (weights.unsqueeze(-1) * v).sum(2).flatten(1)
        return self.o_proj(pooled)


class MolmoProjector(nn.Module):
    """A gated MLP without biases into the decoder's width (`image_projector`: w1 = gate, w3 = up, w2 = down)."""

    def __init__(self, config: MolmoConfig, width: int) -> None:
        super().__init__()
        out = config.text_config.hidden_size  # type: ignore[union-attr]
        self.gate_proj = nn.Linear(width, config.projector_hidden_size, bias=False)
        self.up_proj = nn.Linear(width, config.projector_hidden_size, bias=False)
        self.down_proj = nn.Linear(config.projector_hidden_size, out, bias=False)
        self.act = ACT2FN[config.projector_hidden_act]

    def forward(self, x: Tensor) -> Tensor:
        """Project (..., width) to (..., D)."""
        return self.down_proj(self.act(self.gate_proj(x)) * self.up_proj(x))


class MolmoConnector(nn.Module):
    """Pad embeddings + pooling + projector."""

    def __init__(self, config: MolmoConfig) -> None:
        super().__init__()
        width = config.vision_config.hidden_size * len(config.vit_layers)  # type: ignore[union-attr]
        self.side = config.num_patches_per_side
        self.window = config.pooling_size
        # Row 0: patches that are all padding. Row 1: patches that are partly padding.
        self.pad_embed = nn.Parameter(torch.zeros(2, width)) if config.pad_embed else None
        self.pooling = MolmoPooling(config, width) if config.pooling == "attention" else None
        self.averages = config.pooling == "mean"
        widths = {"attention": config.pooling_heads * config.pooling_head_dim, "mean": width}
        self.projector = MolmoProjector(config, widths.get(config.pooling, width * self.window**2))

    def forward(self, patches: Tensor, image_masks: Tensor | None = None) -> Tensor:
        """Turn patch features into image features.

        Args:
            patches: (C, N, width) features of C crops of N patches, row-major.
            image_masks: (C, N) share of each patch that is image; -1 marks a crop without a mask.

        Returns:
            (C, G, D): one feature per window of patches, row-major.
        """
        if self.pad_embed is not None and image_masks is not None:
            # A mask of -1 counts as "partly padding": it is below 1 and not 0. The released weights rely on that.
            all_padding = (image_masks == 0).to(patches.dtype).unsqueeze(-1)
            partly = ((image_masks < 1) & (image_masks != 0)).to(patches.dtype).unsqueeze(-1)
            patches = patches + self.pad_embed[0] * all_padding + self.pad_embed[1] * partly

        grid = patches.unflatten(1, (self.side, self.side))  # (C, rows, columns, width)
        rest = -self.side % self.window
        if rest:
            grid = F.pad(grid, (0, 0, 0, rest, 0, rest))
        w = self.window
        windows = grid.unflatten(2, (-1, w)).unflatten(1, (-1, w)).transpose(2, 3)  # (C, r, c, w, w, width)
        num_crops, rows, columns = windows.shape[:3]
        windows = windows.reshape(num_crops * rows * columns, w * w, -1)
        if self.pooling is not None:
            pooled = self.pooling(windows)
        else:
            pooled = windows.mean(1) if self.averages else windows.flatten(1)
        return self.projector(pooled).unflatten(0, (num_crops, rows * columns))
