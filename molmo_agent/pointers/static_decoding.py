"""Decode in a cache of fixed size, so that passes over one token can be compiled and replayed as CUDA graphs.

This is faster where launching kernels takes longer than running them: on a GPU, for one question at a time.
"""

import os
import shutil
from typing import Any

import torch
from torch import Tensor
from transformers import StaticCache

from molmo_agent.errors import ModelError
from molmo_agent.pointers.decoding import Prefix, Reader


class StaticDecoder:
    """One cache and one compiled step, reused for one question after another.

    Args:
        model: the model.
        length: maximum number of tokens of image, question and reply together.
        compile: compile the step over one token; False only keeps the shapes fixed.

    Raises:
        ModelError: no C++ compiler is installed.
    """

    def __init__(self, model: Any, length: int, *, compile: bool = True) -> None:
        # Check now: torch would fail at the first question, with a traceback.
        if compile and not any(map(shutil.which, filter(None, (os.environ.get("CXX"), "g++", "clang++", "cl")))):
            raise ModelError(
                "compile=True needs a C++ compiler, and none of g++, clang++ and cl is on PATH; install one, set CXX, "
                "or leave compile out"
            )
        self.model, self.length = model, length
        self.cache = StaticCache(config=model.config.text_config, max_cache_len=length)
        self.step = torch.compile(model, mode="reduce-overhead", fullgraph=True) if compile else model

    def reader(self, prefix: Prefix) -> "StaticReader":
        """Start a question behind an image; this invalidates the previous reader.

        Raises:
            ModelError: the image has too many tokens for the cache.
        """
        if prefix.length >= self.length:
            raise ModelError(
                f"expected an image of fewer than {self.length} tokens, got {prefix.length}; lower the image "
                "processor's max_crops, or decode without compiling"
            )
        layers: Any = self.cache.layers
        for layer, (keys, values) in zip(layers, prefix.layers, strict=True):
            if not layer.is_initialized:
                layer.lazy_initialization(keys, values)
            layer.keys[:, :, : prefix.length].copy_(keys)
            layer.values[:, :, : prefix.length].copy_(values)
            layer.cumulative_length.fill_(prefix.length)
        return StaticReader(self, prefix.length)


class StaticReader(Reader):
    """A :class:`~molmo_agent.pointers.decoding.Reader` over a decoder's fixed cache."""

    def __init__(self, decoder: StaticDecoder, length: int) -> None:
        self.decoder, self.model, self.cache, self.passes = decoder, decoder.model, decoder.cache, 0
        self._length = length

    def forget(self, count: int) -> None:
        """Drop the last ``count`` positions; later tokens overwrite them."""
        self._length -= count
        layers: Any = self.cache.layers
        for layer in layers:
            layer.cumulative_length.sub_(count)

    def _run(self, row: Tensor, keep: int) -> Any:
        self._length += row.shape[1]
        if self._length > self.decoder.length:
            raise ModelError(
                f"expected image, question and reply to fit in {self.decoder.length} tokens, got {self._length}; "
                "shorten the instruction, or decode without compiling"
            )
        if row.shape[1] > 1:
            return super()._run(row, keep)
        torch.compiler.cudagraph_mark_step_begin()
        output = self.decoder.step(input_ids=row, cache=self.cache, use_cache=True, logits_to_keep=1)
        output.logits = output.logits.clone()  # the next step overwrites the graph's memory
        return output
