"""Compute the share of each data set in a mixture."""

from collections.abc import Sequence

from molmo_agent.errors import UsageError
from molmo_agent.train.config import TrainConfig


def mixture_weights(config: TrainConfig, sizes: Sequence[int]) -> tuple[float, ...]:
    """Return the weights of a mixture's data sets, relative to each other.

    In a group they are proportional to the square roots of sizes, so that large data sets do not dominate small ones
    (docs/reference/training.md#mixture). Outside of groups they are the rates.

    Args:
        config: mixture and groups.
        sizes: number of rows of each data set; 0 for an infinite one.

    Raises:
        UsageError: an infinite data set in a group has no size.
    """
    roots = []
    for number, (source, rows) in enumerate(zip(config.mixture, sizes, strict=True)):
        size = rows if source.size is None else source.size
        if source.group is not None and size == 0:
            raise UsageError(
                f"the data set {source.kind!r} is infinite, so its share of the group {source.group!r} is unknown: "
                f"set mixture.{number}.size"
            )
        roots.append(size**0.5)
    totals = {
        name: sum(root for source, root in zip(config.mixture, roots, strict=True) if source.group == name)
        for name in config.groups
    }
    return tuple(
        source.rate if source.group is None else config.groups[source.group] * root / totals[source.group]
        for source, root in zip(config.mixture, roots, strict=True)
    )
