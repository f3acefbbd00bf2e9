"""Which examples share a sequence, and which rank computes it: a pure function of sizes. Knows no text and no tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """What an example takes up."""

    tokens: int
    crops: int


Cost = Callable[[Sequence[Size]], float]
"""How much work a sequence of examples is."""


def fill(sizes: Sequence[Size], *, length: int, crops: int) -> list[list[int]]:
    """Put examples into sequences: largest first, each into the fullest one where it fits.

    Args:
        sizes: of the examples.
        length: most tokens of a sequence.
        crops: most crops of a sequence; an example with more gets one to itself.

    Returns:
        Sequences of example numbers, each in increasing order; every example is in exactly one.
    """
    sequences: list[list[int]] = []
    room: list[tuple[int, int]] = []
    for number in sorted(range(len(sizes)), key=lambda n: (-sizes[n].tokens, n)):
        size = sizes[number]
        fitting = [
            (tokens, i) for i, (tokens, left) in enumerate(room) if size.tokens <= tokens and size.crops <= left
        ]
        if fitting:
            _, best = min(fitting)
        else:
            best = len(sequences)
            sequences.append([])
            room.append((length, crops))
        sequences[best].append(number)
        tokens, left = room[best]
        room[best] = (tokens - size.tokens, left - size.crops)
    return [sorted(sequence) for sequence in sequences]


def balance(costs: Sequence[float], ranks: int) -> list[list[int]]:
    """Deal sequences to ranks: equal numbers, nearly equal work, and each turn's sequences alike.

    Args:
        costs: work of each sequence.
        ranks: how many take part.

    Returns:
        For each rank its sequences, costliest first; -1 where a rank has nothing to do in a turn.
    """
    turns = -(-len(costs) // ranks)
    dealt: list[list[int]] = [[] for _ in range(ranks)]
    work = [0.0] * ranks
    for number in sorted(range(len(costs)), key=lambda n: (-costs[n], n)):
        rank = min((r for r in range(ranks) if len(dealt[r]) < turns), key=lambda r: (work[r], r))
        dealt[rank].append(number)
        work[rank] += costs[number]
    return [members + [-1] * (turns - len(members)) for members in dealt]


def plan(
    sizes: Sequence[Size], *, length: int, crops: int, ranks: int, cost: Cost, packing: bool = True
) -> list[list[list[int]]]:
    """Return for each rank its sequences, as lists of example numbers; an empty list is a turn without work.

    What shares a sequence does not depend on the number of ranks.
    """
    sequences = fill(sizes, length=length, crops=crops) if packing else [[number] for number in range(len(sizes))]
    costs = [cost([sizes[number] for number in sequence]) for sequence in sequences]
    return [[sequences[i] if i >= 0 else [] for i in members] for members in balance(costs, ranks)]
