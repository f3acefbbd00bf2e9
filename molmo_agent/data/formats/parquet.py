"""Read rows of Parquet files and of data sets saved as Arrow on demand; no whole table is loaded.

Both are untrusted. Arrow's own reader follows the offsets of a file wherever they lead, and a damaged one ends the
process; so each batch is validated in full before its first use.

Layouts: shards named for their split (``train-00000-of-00003.parquet``, in the folder or in ``data/``), a folder for
the split, one file, and the Arrow files that ``datasets`` saves (``train/data-00000-of-00002.arrow``).
"""

import importlib
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.errors import MissingExtraError, UsageError

# Blocks (row groups) whose columns stay in memory.
_MAX_BLOCKS = 4
# Rows decoded at once in a full scan.
_BATCH = 64


def shards(folder: Path, split: str, *, nested: bool = False) -> list[Path]:
    """Return the files of a split in order, possibly none; ``nested`` searches the subfolders."""
    if nested:
        return sorted(folder.glob(f"*/{split}-*.parquet"))
    if folder.is_file():
        return [folder]
    for base in (folder, folder / "data"):
        for pattern in (
            *(f"{split}-*.parquet", f"{split}.parquet", f"{split}/*.parquet", f"{split}/data-*.arrow"),
            *(f"{split}-*.arrow", f"*-{split}-*.arrow", f"*-{split}.arrow"),
        ):
            paths = sorted(base.glob(pattern))
            if paths:
                return paths
    saved = (folder / "state.json").is_file()
    return sorted(folder.glob("data-*.arrow")) if saved else []


def _arrow(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("reading Parquet and Arrow files", "train") from error


class _Shard:
    """One file, in blocks of rows."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parquet: Any = None
        if path.suffix == ".parquet":
            self._parquet = _arrow("pyarrow.parquet").ParquetFile(path)
            self.columns = list(self._parquet.schema_arrow.names)
            metadata = self._parquet.metadata
            self.rows = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
        else:
            arrow = _arrow("pyarrow")
            # Memory-mapped: the operating system loads only the pages in use.
            reader = arrow.ipc.open_stream(arrow.memory_map(str(path)))
            self._batches = list(reader)
            self._valid = [False] * len(self._batches)
            self.columns = list(reader.schema.names)
            self.rows = [batch.num_rows for batch in self._batches]
        if min(self.rows, default=0) < 0:
            raise ValueError(f"a block claims to have {min(self.rows)} rows")

    def block(self, number: int, columns: Sequence[str]) -> Any:
        if self._parquet is not None:
            return self._parquet.read_row_group(number, columns=list(columns), use_threads=False)
        return self._validated(number).select(list(columns))

    def _validated(self, number: int) -> Any:
        """Return a batch of an Arrow file whose lengths, offsets, indices and texts are checked."""
        batch = self._batches[number]
        if not self._valid[number]:
            batch.validate(full=True)
            self._valid[number] = True
        return batch

    def batches(self, number: int, columns: Sequence[str]) -> Iterator[Any]:
        if self._parquet is None:
            batch = self._validated(number).select(list(columns))
            for start in range(0, batch.num_rows, _BATCH):
                yield batch.slice(start, _BATCH)
            return
        yield from self._parquet.iter_batches(
            batch_size=_BATCH, row_groups=[number], columns=list(columns), use_threads=False
        )


class Table:
    """The rows of a split by number.

    Args:
        folder: of the data set, or one file.
        split: which rows.
        columns: the required columns.
        problems: collects the files that cannot be read.
        nested: the shards are in one subfolder per subject.

    Raises:
        UsageError: the file or a required column is missing.
        MissingExtraError: the library that reads Parquet is not installed.
    """

    def __init__(
        self, folder: Path, split: str, columns: Sequence[str], problems: Problems, *, nested: bool = False
    ) -> None:
        self._opened = (folder, split, tuple(columns), nested)
        arrow = _arrow("pyarrow")
        # Values of damaged files: texts that are not UTF-8, dates and numbers beyond those of Python.
        self._read_errors = (arrow.ArrowException, OSError, ValueError, ArithmeticError, LookupError, MemoryError)
        self._problems = problems
        paths = shards(folder, split, nested=nested)
        if not paths:
            raise UsageError(
                f"expected the split {split!r} at {folder}, as {split}-*.parquet there or in its folder data/, or as "
                f"{split}/data-*.arrow; found none"
            )
        self.name = f"{paths[0].name}" if len(paths) == 1 else f"{split} of {folder.name}"
        self._shards: list[_Shard] = []
        for path in paths:
            try:
                shard = _Shard(path)
            except self._read_errors as error:
                name = f"{folder.name}/{path.name}"
                problems.add(Problem(file=name, reason=f"the file cannot be read ({error}); fetch it again"))
                continue
            missing = [name for name in columns if name not in shard.columns]
            if missing:
                raise UsageError(
                    f"expected the column {missing[0]} in {path}, which has {', '.join(sorted(shard.columns))}"
                )
            self._shards.append(shard)
        if not self._shards:
            raise UsageError(f"no file of the split {split!r} at {folder} can be read; {problems.summary()}")
        self.columns = self._shards[0].columns
        self._blocks = [(shard, block) for shard in self._shards for block in range(len(shard.rows))]
        self._starts = [0]
        for shard, block in self._blocks:
            self._starts.append(self._starts[-1] + shard.rows[block])
        self._cache: OrderedDict[tuple[int, tuple[str, ...]], Any] = OrderedDict()
        self._lock = threading.Lock()

    def __getstate__(self) -> tuple[Path, str, tuple[str, ...], bool]:
        """Return what opens the table again: a worker on Ray gets no open file."""
        return self._opened

    def __setstate__(self, opened: tuple[Path, str, tuple[str, ...], bool]) -> None:
        """Open the table again; its problems are known already."""
        folder, split, columns, nested = opened
        self.__init__(folder, split, columns, Problems(), nested=nested)  # type: ignore[misc]

    def __len__(self) -> int:
        """Return the number of rows."""
        return self._starts[-1]

    def stamp(self, number: int) -> str:
        """Return a stamp that changes when the row's file changes."""
        shard, _ = self._blocks[self._place(number)]
        status = shard.path.stat()
        return f"{shard.path.name} {status.st_size} {status.st_mtime_ns}"

    def _place(self, number: int) -> int:
        return bisect_right(self._starts, number) - 1

    def row(self, number: int, columns: Sequence[str]) -> dict[str, Any]:
        """Return some columns of a row.

        Raises:
            ValueError: the row cannot be read.
        """
        key = (self._place(number), tuple(columns))
        shard, block = self._blocks[key[0]]
        try:
            # Several threads prepare batches, but a Parquet file has a single cursor.
            with self._lock:
                rows = self._cache.get(key)
                if rows is None:
                    rows = self._cache[key] = shard.block(block, columns)
                    if len(self._cache) > _MAX_BLOCKS:
                        self._cache.popitem(last=False)
                self._cache.move_to_end(key)
            row: dict[str, Any] = rows.slice(number - self._starts[key[0]], 1).to_pylist()[0]
        except self._read_errors as error:
            raise ValueError(f"row {number} of {shard.path.name} cannot be read ({error})") from error
        return row

    def scan(self, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield (number, some columns) of every row; unreadable blocks are reported and skipped."""
        for (shard, block), start in zip(self._blocks, self._starts, strict=False):
            number, end = start, start + shard.rows[block]
            try:
                for batch in shard.batches(block, columns):
                    for row in batch.to_pylist()[: end - number]:
                        yield number, row
                        number += 1
                if number < end:
                    raise ValueError("the block has fewer rows than it claims")
            except self._read_errors as error:
                reason = f"rows {number} to {end - 1} cannot be read ({error}); fetch the file again"
                self._problems.add(Problem(file=shard.path.name, reason=reason))
