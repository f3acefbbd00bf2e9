"""One data set of a mixture, as recipes write it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One data set of a mixture."""

    # The reader (see data/catalog.py), and the path of its files.
    kind: str
    path: str | None = None
    # Name of its loss; by default the kind.
    name: str | None = None
    # Mixture weight; the weights are normalized.
    rate: float = 1.0
    # Instead of a rate: a group of the config, whose weight is divided in proportion to the square roots of sizes.
    group: str | None = None
    # Number of rows it counts as in its group; by default its actual number. All rows are used either way.
    size: int | None = None
    # Only a part of the rows is used: a fraction of them ("share"), or this many ("rows"). The same rows are drawn at
    # every start; a larger part holds all of a smaller one, and another "draw" is another selection.
    share: float | None = None
    rows: int | None = None
    draw: int = 0
    # Every nth row is held out of training and scored afterwards (see data/hold_out.py); 0 disables this.
    hold_out: int = 0
    # Options of the reader.
    options: dict[str, Any] = field(default_factory=dict)
