"""A decoder that writes what it is told, to count passes: they depend on the answer's text alone."""

from types import SimpleNamespace
from typing import Any

import torch


class Writer:
    """A stand-in decoder that writes a prepared answer behind a prompt, whatever it is shown.

    Args:
        answer: ids of the answer, EOS included.
        start: tokens of the prompt.
        vocabulary: number of logits.
    """

    device = torch.device("cpu")

    def __init__(self, answer: list[int], start: int, vocabulary: int) -> None:
        self.answer, self.start, self.vocabulary = answer, start, vocabulary

    def __call__(self, input_ids: torch.Tensor, cache: Any, logits_to_keep: int, **_: Any) -> Any:
        """Return logits that favour the answer."""
        first, length = cache.get_seq_length() - self.start, input_ids.shape[1]
        nothing = torch.zeros(len(input_ids), 1, length, 1)
        cache.update(nothing, nothing, 0)
        logits = torch.zeros(len(input_ids), length, self.vocabulary)
        for i in range(length):
            place = first + i
            logits[:, i, self.answer[place] if 0 <= place < len(self.answer) else 0] = 9.0
        return SimpleNamespace(logits=logits[:, -logits_to_keep:])
