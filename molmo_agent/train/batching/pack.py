"""Which examples share a sequence, and which rank computes it: a function of sizes. Knows no text and no tensors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Size:
    """What an example takes up."""

    tokens: int
    crops: int


Cost = Callable[[Size], float]
"""How much work an example is; examples of a sequence see nothing of each other, so theirs adds up."""


def fewest(sizes: Sequence[Size], *, length: int, crops: int) -> int:
    """Return about how few sequences can hold the examples: largest first, each into the fullest one where it fits."""
    room: list[tuple[int, int]] = []
    for size in sorted(sizes, key=lambda size: -size.tokens):
        fitting = [(tokens, i) for i, (tokens, left) in enumerate(room) if size.tokens <= tokens and size.crops <= left]
        if fitting:
            _, i = min(fitting)
        else:
            i = len(room)
            room.append((length, crops))
        room[i] = (room[i][0] - size.tokens, room[i][1] - size.crops)
    return len(room)


def fill(sizes: Sequence[Size], costs: Sequence[float], *, length: int, crops: int, multiple: int) -> list[list[int]]:
    """Put examples into as few sequences of as equal work as can be.

    Args:
        sizes: of the examples.
        costs: of the examples.
        length: most tokens of a sequence.
        crops: most crops of a sequence; an example with more gets one to itself.
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
            fitting = [
                i
                for i, (tokens, left) in enumerate(room)
                if not sequences[i] or (size.tokens <= tokens and size.crops <= left)
            ]
            if not fitting:
                break
            i = min(fitting, key=lambda i: (work[i], i))
            sequences[i].append(number)
            work[i] += costs[number]
            room[i] = (room[i][0] - size.tokens, room[i][1] - size.crops)
        else:
            return [sorted(sequence) for sequence in sequences]
        count += 1


def balance(costs: Sequence[float], ranks: int) -> list[list[int]]:
    """Deal sequences to ranks: equal numbers, nearly equal work, and each turn's sequences alike.

    Args:
        costs: work of each sequence.
        ranks: how many take part.

    Returns:
        For each rank its sequences, costliest first; -1 where a rank has nothing to do in a turn.
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
    """Return for each rank its sequences, as lists of example numbers; an empty list is a turn without work."""
    costs = [cost(size) for size in sizes]
    if packing:
        sequences = fill(sizes, costs, length=length, crops=crops, multiple=ranks)
    else:
        sequences = [[number] for number in range(len(sizes))]
    by_rank = balance([sum(costs[number] for number in sequence) for sequence in sequences], ranks)
    return [[sequences[i] if i >= 0 else [] for i in members] for members in by_rank]
