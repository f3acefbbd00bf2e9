"""What share of the examples each data set of a mixture gets, from the numbers of their rows."""

from collections.abc import Sequence

from molmo_agent.errors import UsageError
from molmo_agent.train.config import TrainConfig


def mixture_weights(config: TrainConfig, sizes: Sequence[int]) -> tuple[float, ...]:
    """Return the weights of a mixture's data sets, relative to each other.

    In a group they are as the square roots of sizes, so that small data sets are seen often and large ones do not drown
    them (docs/reference/training.md#mixture); outside of groups they are the rates.

    Args:
        config: mixture and groups.
        sizes: rows of each data set; 0 for one without end.

    Raises:
        UsageError: a data set without end is in a group, and no size is given for it.
    """
    roots = []
    for number, (source, rows) in enumerate(zip(config.mixture, sizes, strict=True)):
        size = rows if source.size is None else source.size
        if source.group is not None and size == 0:
            raise UsageError(
                f"the data set {source.kind!r} is without end, so its share of the group {source.group!r} is not "
                f"known: set mixture.{number}.size"
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
