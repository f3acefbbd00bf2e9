"""Split a data set into training rows and a hold-out set."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
