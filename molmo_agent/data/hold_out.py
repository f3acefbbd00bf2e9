"""Some rows of a data set: those that are learned, or those that are kept from it to be asked for. Knows no models."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from molmo_agent.data.row import Row
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.errors import UsageError

if TYPE_CHECKING:
    from molmo_agent.data.row import Rows


class Part:
    """Rows of another data set, by their numbers there."""

    def __init__(self, rows: "Rows", numbers: Sequence[int]) -> None:
        self.problems: Problems = rows.problems
        self._rows, self._numbers = rows, numbers

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._numbers)

    def row(self, number: int, seed: int) -> Row:
        """Return a row."""
        return self._rows.row(self._numbers[number], seed)


def hold_out(rows: "Rows", every: int, *, kept: bool) -> Part:
    """Return every nth row, or the others; what is added behind the last row moves none of them.

    Args:
        rows: a data set with an end.
        every: n, at least 2.
        kept: return the rows that are kept from training.

    Raises:
        UsageError: there are not as many rows.
    """
    if len(rows) < every:
        found = f"found {len(rows)}" if len(rows) else "these are drawn without end"
        raise UsageError(
            f"expected at least {every} images, to keep every {every}th from training and ask for it before and "
            f"after, but {found}; add images, set hold_out=2 of this data set, or 0 to learn from all"
        )
    numbers = range(len(rows))
    return Part(rows, [number for number in numbers if ((number + 1) % every == 0) == kept])
