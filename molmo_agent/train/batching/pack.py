"""Pack examples into sequences and deal the sequences to ranks, by the sizes of the examples alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """The size of an example."""

    tokens: int
    crops: int


Cost = Callable[[Size], float]
"""The work of an example. Examples of a sequence do not attend to each other, so their work adds up."""


def fewest(sizes: Sequence[Size], *, length: int, crops: int) -> int:
    """Return the approximate minimum number of sequences: largest example first, each into the fullest that fits."""
    room: list[tuple[int, int]] = []
    for size in sorted(sizes, key=lambda size: -size.tokens):
        candidates = [(t, i) for i, (t, c) in enumerate(room) if size.tokens <= t and size.crops <= c]
        if candidates:
            _, i = min(candidates)
        else:
            i = len(room)
            room.append((length, crops))
        room[i] = (room[i][0] - size.tokens, room[i][1] - size.crops)
    return len(room)


def fill(sizes: Sequence[Size], costs: Sequence[float], *, length: int, crops: int, multiple: int) -> list[list[int]]:
    """Pack examples into few sequences of similar work.

    Args:
        sizes: of the examples.
        costs: of the examples.
        length: maximum number of tokens of a sequence.
        crops: maximum number of crops of a sequence; an example with more gets its own sequence.
        multiple: the number of sequences is a multiple of this, unless there are fewer examples.

    Returns:
        Sequences of example numbers, each in increasing order; every example is in exactly one.
    """
    count = fewest(sizes, length=length, crops=crops)
    by_cost = sorted(range(len(sizes)), key=lambda n: (-costs[n], n))
    while True:
        count = min(-(-count // multiple) * multiple, len(sizes))
        sequences: list[list[int]] = [[] for _ in range(count)]
        work, room = [0.0] * count, [(length, crops)] * count
        for number in by_cost:
            size = sizes[number]
            candidates = [
                i
                for i, (max_tokens, max_crops) in enumerate(room)
                if not sequences[i] or (size.tokens <= max_tokens and size.crops <= max_crops)
            ]
            if not candidates:
                break
            i = min(candidates, key=lambda i: (work[i], i))
            sequences[i].append(number)
            work[i] += costs[number]
            room[i] = (room[i][0] - size.tokens, room[i][1] - size.crops)
        else:
            return [sorted(sequence) for sequence in sequences]
        count += 1


def balance(costs: Sequence[float], ranks: int) -> list[list[int]]:
    """Deal sequences to ranks: equal numbers, similar work, and similar sequences at the same time.

    Args:
        costs: work of each sequence.
        ranks: number of ranks.

    Returns:
        The sequences of each rank, costliest first; -1 stands for no sequence.
    """
    turns = -(-len(costs) // ranks)
    by_rank: list[list[int]] = [[] for _ in range(ranks)]
    work = [0.0] * ranks
    for number in sorted(range(len(costs)), key=lambda n: (-costs[n], n)):
        rank = min((r for r in range(ranks) if len(by_rank[r]) < turns), key=lambda r: (work[r], r))
        by_rank[rank].append(number)
        work[rank] += costs[number]
    return [members + [-1] * (turns - len(members)) for members in by_rank]


def plan(
    sizes: Sequence[Size], *, length: int, crops: int, ranks: int, cost: Cost, packing: bool = True
) -> list[list[list[int]]]:
    """Return the sequences of each rank, as lists of example numbers; an empty list is a sequence without examples."""
    costs = [cost(size) for size in sizes]
    if packing:
        sequences = fill(sizes, costs, length=length, crops=crops, multiple=ranks)
    else:
        sequences = [[number] for number in range(len(sizes))]
    by_rank = balance([sum(costs[number] for number in sequence) for sequence in sequences], ranks)
    return [[sequences[i] if i >= 0 else [] for i in members] for members in by_rank]
