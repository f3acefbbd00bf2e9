"""Use a part of a data set: without its hold-out set, or a share drawn at random."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from molmo_agent.data.row import Row
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.errors import UsageError

if TYPE_CHECKING:
    from molmo_agent.data.row import Rows


class Part:
    """A selection of another data set's rows."""

    def __init__(self, rows: "Rows", numbers: Sequence[int]) -> None:
        self.problems: Problems = rows.problems
        self._rows, self._numbers = rows, numbers

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self._numbers)

    def row(self, number: int, seed: int) -> Row:
        """Return a row."""
        return self._rows.row(self._numbers[number], seed)


def hold_out(rows: "Rows", every: int, *, held_out: bool) -> Part:
    """Return every nth row, or the others. Appending rows to the data set moves no row between the two.

    Args:
        rows: a data set with an end.
        every: n, at least 2.
        held_out: return the hold-out set.

    Raises:
        UsageError: there are fewer rows than that.
    """
    if len(rows) < every:
        amount = f"found {len(rows)}" if len(rows) else "this data set is infinite"
        raise UsageError(
            f"expected at least {every} images, to hold every {every}th out of training and score it before and "
            f"after, but {amount}; add images, set hold_out=2 of this data set, or 0 to train on all"
        )
    numbers = range(len(rows))
    return Part(rows, [number for number in numbers if ((number + 1) % every == 0) == held_out])


def some_of(rows: "Rows", *, share: float | None = None, count: int | None = None, draw: int = 0) -> Part:
    """Return a random part of a data set, in the order of the data set.

    Every row has a random number of its own, and those with the smallest are taken. So the same rows are drawn on every
    machine and at every start, a larger part holds all of a smaller one, and appended rows replace only a few.

    Args:
        rows: a data set with an end.
        share: fraction of the rows, at least one row.
        count: number of rows; all if there are fewer. Either this or ``share``.
        draw: another number draws other rows.

    Raises:
        UsageError: the data set is infinite.
    """
    if not len(rows):
        raise UsageError("expected a data set with an end to take a part of, but this one is infinite; remove 'share'")
    wanted = max(round(len(rows) * share), 1) if share is not None else count
    chosen = np.argsort(_random_numbers(len(rows), draw), kind="stable")[:wanted]
    return Part(rows, np.sort(chosen).tolist())


def _random_numbers(count: int, seed: int) -> "np.ndarray[tuple[int], np.dtype[np.uint64]]":
    """Return a random number for each of 0 .. count - 1 that depends on nothing but it and the seed (splitmix64)."""
    with np.errstate(over="ignore"):
        value = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        value += np.uint64(seed) * np.uint64(0xD1342543DE82EF95)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
        return value ^ (value >> np.uint64(31))
