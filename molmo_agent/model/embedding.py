"""The embedding table of the released checkpoints, in two parts."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class MolmoEmbedding(nn.Embedding):
    """An embedding table with extra rows in a separate tensor, as in the released checkpoints.

    ``weight`` is (V, D), ``new_weight`` (additional_vocab_size, D); id V is the first extra row.
    """

    def __init__(self, num_embeddings: int, extra: int, width: int, std: float = 0.02) -> None:
        super().__init__(num_embeddings, width)
        self.new_weight = nn.Parameter(torch.empty(extra, width)) if extra else None
        # Here, because the modules of the decoder are initialized by the decoder's class, which knows no such rows.
        if self.new_weight is not None:
            nn.init.normal_(self.new_weight, std=std)

    def forward(self, input: Tensor) -> Tensor:
        """Look up (B, T) ids."""
        if self.new_weight is None:
            return super().forward(input)
        base = F.embedding(input.clamp(max=self.num_embeddings - 1), self.weight)
        extra = F.embedding((input - self.num_embeddings).clamp(min=0), self.new_weight)
        return torch.where((input >= self.num_embeddings).unsqueeze(-1), extra, base)

    @torch.no_grad()
    def join_extra_rows(self) -> None:
        """Make the extra rows ordinary rows of ``weight``, under the same ids."""
        if self.new_weight is not None:
            joined = torch.cat([self.weight, self.new_weight])
            self.weight = nn.Parameter(joined, requires_grad=self.weight.requires_grad)
            self.num_embeddings, self.new_weight = len(joined), None
