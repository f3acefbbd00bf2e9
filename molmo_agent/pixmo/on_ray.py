"""Makes shards on a Ray cluster. All nodes must reach the folder."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import ray

from molmo_agent.pixmo.shards import Make, Shard, Written


def make_shards_on_ray(make: Make, shards: Iterable[Shard], address: str | None = None) -> Iterator[Written]:
    """Make the shards that do not exist yet, one task for each; the files are those that one process makes."""
    if not ray.is_initialized():
        ray.init(address, log_to_driver=False)
    missing = [shard for shard in shards if not Path(shard.path).exists()]
    task = ray.remote(make_one)
    for waiting in [task.remote(make, shard) for shard in missing]:
        yield ray.get(waiting)


def make_one(make: Make, shard: Shard) -> Written:
    """Make one shard: what a task runs."""
    return make(shard)
