"""Spreads work over a Ray cluster. All nodes must reach the folders."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import ray


def map_on_ray(function: Callable[[Any], Any], items: Sequence[Any], address: str | None = None) -> Iterator[Any]:
    """Yield the results of a function, in the order of the items, one task for each.

    Args:
        function: what a task runs.
        items: its arguments.
        address: of the cluster, unless this process is connected to one; None: start one here.
    """
    if not ray.is_initialized():
        ray.init(address, log_to_driver=False)
    # Stored once, not with each task.
    shared = ray.put(function)
    for waiting in [_call.remote(shared, item) for item in items]:
        yield ray.get(waiting)


@ray.remote
def _call(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)
