"""Writes rows as Parquet shards, each whole or not at all; existing shards are kept, so that a run can be resumed."""

import importlib
import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def make_shards(make: Make, shards: Iterable[Shard], *, jobs: int = 1) -> Iterator[Written]:
    """Make the shards that do not exist yet, in order.

    Args:
        make: makes one shard; with several jobs it must be picklable.
        shards: what to make.
        jobs: number of processes; the files are the same for any number.
    """
    missing = [shard for shard in shards if not os.path.exists(shard.path)]
    if jobs <= 1 or len(missing) <= 1:
        yield from map(make, missing)
        return
    # Not by fork: it copies the locks of threads, such as those of NumPy, as they are.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(make, missing)
