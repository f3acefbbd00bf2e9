"""Writes rows as Parquet shards, each whole or not at all; existing shards are kept, so that a run can be resumed.

Work is spread by a :data:`Mapper`: one process, several, or Ray. The results come in order and do not depend on it.
"""

import importlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from molmo_agent.errors import MissingExtraError, UsageError
from molmo_agent.files import whole_file


@dataclass(frozen=True, slots=True)
class Shard:
    """A part of a data set: the file, and the seeds of its rows."""

    path: str
    seeds: range


@dataclass(frozen=True, slots=True)
class Written:
    """What came of a shard: the number of its rows, and why seeds have none or took several attempts."""

    shard: Shard
    rows: int
    rejected: tuple[str, ...]


Make = Callable[[Shard], Written]
"""Makes one shard, anywhere: in this process, in another one, on another machine."""


def shards_of(folder: Path, split: str, first: int, count: int, rows: int) -> list[Shard]:
    """Return the shards of ``count`` rows from a seed on, named as the readers expect.

    Raises:
        UsageError: there is nothing to make.
    """
    if count < 1 or rows < 1 or first < 0:
        raise UsageError(
            f"expected at least 1 row, 1 row in a shard and a seed of at least 0, got {count}, {rows}, {first}"
        )
    starts = range(first, first + count, rows)
    return [
        Shard(
            str(folder / "data" / f"{split}-{i:05d}-of-{len(starts):05d}.parquet"),
            range(start, min(start + rows, first + count)),
        )
        for i, start in enumerate(starts)
    ]


def write_rows(path: str | Path, rows: Sequence[dict[str, Any]]) -> None:
    """Write rows as one Parquet file.

    Raises:
        UsageError: the extra is missing.
        OSError: the file cannot be written completely.
    """
    try:
        arrow, parquet = (importlib.import_module(name) for name in ("pyarrow", "pyarrow.parquet"))
    except ImportError as error:
        raise MissingExtraError("writing Parquet files", "train") from error
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as part:
        parquet.write_table(arrow.Table.from_pylist(list(rows)), part, row_group_size=100)


class Mapper(Protocol):
    """Calls a function with each item, anywhere, and yields the results in the order of the items."""

    def __call__(self, function: Callable[[Any], Any], items: Sequence[Any], /) -> Iterable[Any]:
        """Yield the results; the function and the items must be picklable."""
        ...


def mapper(jobs: int = 1, *, ray: bool = False) -> Mapper:
    """Return what spreads work over this process, several processes, or Ray.

    Raises:
        UsageError: the number of processes is below 1.
        MissingExtraError: Ray is not installed.
    """
    if jobs < 1:
        raise UsageError(f"expected --jobs of at least 1, got {jobs}")
    if not ray:
        return partial(_map_here, jobs)
    try:
        from molmo_agent.pixmo.on_ray import map_on_ray
    except ImportError as error:
        raise MissingExtraError("making data with Ray", "train") from error
    return map_on_ray


def _map_here(jobs: int, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
    if jobs == 1 or len(items) <= 1:
        yield from map(function, items)
        return
    # Not by fork: it copies the locks of threads, such as those of NumPy, as they are.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(function, items)


def make_shards(make: Make, shards: Iterable[Shard], spread: Mapper = map) -> Iterator[Written]:
    """Make the shards that do not exist yet, in order.

    Args:
        make: makes one shard.
        shards: what to make.
        spread: where; the files are the same anywhere.
    """
    yield from spread(make, [shard for shard in shards if not os.path.exists(shard.path)])


def batches(items: Sequence[Any], size: int) -> list[Sequence[Any]]:
    """Return items in batches for a :data:`Mapper`, so that the call of a process costs little beside its work."""
    return [items[start : start + size] for start in range(0, len(items), size)]
