"""One data set of a mixture, as recipes write it."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One data set of a mixture."""

    # Which reader (see train/data/sources.py), and where its files are.
    kind: str
    path: str | None = None
    # What its loss is called; by default the kind.
    name: str | None = None
    # Share of the examples; shares are relative to each other.
    rate: float = 1.0
    # Instead of a rate: one of the config's groups, whose share is divided by the square roots of sizes.
    group: str | None = None
    # How many rows it counts as in its group; by default as many as it has. All of them are used either way.
    size: int | None = None
    # Every nth row is kept from training and asked for afterwards (see train/held_out.py); 0: none is.
    hold_out: int = 0
    # What the reader takes besides.
    options: dict[str, Any] = field(default_factory=dict)
