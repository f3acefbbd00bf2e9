"""Draw the examples of a run, as a pure function of (seed, rates, sizes, number), without state.

So a run resumes from one integer, global batches do not depend on the number of workers, and no example is lost or
repeated.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

BLOCK = 1024
"""Number of consecutive examples in which every data set gets its share, within one example."""

_MASK = (1 << 64) - 1
_GOLDEN, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def mix(*numbers: int) -> int:
    """Return a 64-bit hash of some integers (the splitmix64 finalizer, chained)."""
    state = _GOLDEN
    for number in numbers:
        state = (state + (number & _MASK) + _GOLDEN) & _MASK
        state = ((state ^ (state >> 30)) * _FIRST) & _MASK
        state = ((state ^ (state >> 27)) * _SECOND) & _MASK
        state ^= state >> 31
    return state


def _mix_last(head: int, numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.uint64]:
    """Return :func:`mix` for each of many last numbers, where ``head`` is the mix of the previous ones."""
    state = numbers.astype(np.uint64) + np.uint64((head + _GOLDEN) & _MASK)  # wraps around
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_FIRST)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_SECOND)
    return state ^ (state >> np.uint64(31))


def permute(index: int, size: int, key: int) -> int:
    """Return the position of ``index`` in a permutation of 0 .. size - 1, selected by ``key``, without storing it.

    Uses a Feistel network over the next power of four, repeated until the result is below ``size``.
    """
    half = max(((size - 1).bit_length() + 1) // 2, 1)
    mask = (1 << half) - 1
    while True:
        left, right = index >> half, index & mask
        for turn in range(4):
            left, right = right, left ^ (mix(key, turn, right) & mask)
        index = left << half | right
        if index < size:
            return index


def spread(size: int, most: int) -> list[int]:
    """Return at most so many numbers below ``size``, evenly spread."""
    count = min(size, most)
    return [place * size // count for place in range(count)]


@dataclass(frozen=True, slots=True)
class Draw:
    """A draw of the sampler."""

    source: int
    # Row of the source, and number of complete passes over the source before.
    row: int
    epoch: int
    # Seed of the example's randomness.
    seed: int


@dataclass(frozen=True)
class Sampler:
    """The infinite sequence of draws from a mixture.

    Args:
        rates: relative share of each source.
        sizes: number of rows of each source; 0 for an infinite one, whose rows are drawn in order.
        seed: selects the sequence.
    """

    rates: tuple[float, ...]
    sizes: tuple[int, ...]
    seed: int

    @cached_property
    def _edges(self) -> npt.NDArray[np.float64]:
        edges = np.cumsum(self.rates) / np.sum(self.rates)
        edges[-1] = 1.0
        return edges

    def _shifts(self, blocks: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        return _mix_last(mix(self.seed, 1), blocks) / 2.0**64

    def _members(self, block: int) -> npt.NDArray[np.int64]:
        """Return (BLOCK,) sources of a block, in increasing order: evenly spaced points with the block's own shift."""
        points = (np.arange(BLOCK) + self._shifts(np.array([block]))) / BLOCK
        return np.searchsorted(self._edges, points, side="right").clip(max=len(self.rates) - 1)

    def _counts_before(self, block: int) -> npt.NDArray[np.int64]:
        """Return the number of examples of each source before a block."""
        # Points below an edge are those i with (i + shift) / BLOCK < edge.
        below = np.ceil(self._edges[None, :] * BLOCK - self._shifts(np.arange(block))[:, None]).clip(0, BLOCK)
        below[:, -1] = BLOCK
        return np.diff(below, axis=1, prepend=0).astype(np.int64).sum(axis=0)

    def draws(self, start: int, count: int) -> list[Draw]:
        """Return the draws number ``start`` to ``start + count - 1``."""
        examples: list[Draw] = []
        first, last = start // BLOCK, (start + count - 1) // BLOCK
        counts = self._counts_before(first)
        for block in range(first, last + 1):
            members = self._members(block)
            ranks = np.zeros(BLOCK, dtype=np.int64)
            for source in range(len(self.rates)):
                is_source = members == source
                ranks[is_source] = counts[source] + np.arange(is_source.sum())
                counts[source] += is_source.sum()
            low, high = max(start - block * BLOCK, 0), min(start + count - block * BLOCK, BLOCK)
            for number in range(low, high):
                slot = permute(number, BLOCK, mix(self.seed, 2, block))
                examples.append(self._draw(int(members[slot]), int(ranks[slot]), block * BLOCK + number))
        return examples

    def _draw(self, source: int, rank: int, number: int) -> Draw:
        size = self.sizes[source]
        seed = mix(self.seed, 3, number)
        if size == 0:
            return Draw(source, rank, 0, seed)
        epoch, within = divmod(rank, size)
        return Draw(source, permute(within, size, mix(self.seed, 4, source, epoch)), epoch, seed)
