"""Remember what a scan of large files found, so that they are read once and not at every start and by every rank.

An index is a hidden file beside the data; in a folder that cannot be written to, it is in the user's cache. It is valid
for files of the same names, sizes and times, and for the same version of the reader; anything else is scanned again.
It is written whole or not at all. Of several processes that need it at once, one scans and the others wait.
"""

import contextlib
import hashlib
import importlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from molmo_agent.console import warn
from molmo_agent.errors import DataError
from molmo_agent.files import write_whole
from molmo_agent.parse import read_json

SLOW_S = 10.0
"""A scan that took less is repeated at the next start instead of leaving a file in the user's folder."""
_VERSION = 1

_Found = TypeVar("_Found")


def remembered(
    files: Sequence[Path],
    *,
    name: str,
    version: Any,
    scan: Callable[[], Any],
    read: Callable[[Any], _Found],
    slow_s: float | None = None,
) -> _Found:
    """Return what ``scan`` finds in some files, from the index of an earlier scan if there is a valid one.

    Args:
        files: all files that the scan reads, at least one. They must be in one folder.
        name: of the data set, for the name of the index.
        version: plain data; an index of another version is not used. It must change with everything that the result
            depends on beside the files, such as options.
        scan: reads the files and returns plain data for JSON.
        read: turns plain data into the result. It must check what it reads, and raise a ValueError, LookupError or
            TypeError if that was not written by ``scan``: an index may be damaged, or come from somebody else.
        slow_s: scans that take longer are remembered; by default SLOW_S.
    """
    places = _places(files, name)
    stamp = _stamp(files, version)
    for place in places:
        with contextlib.suppress(_Unusable):
            return _read(place, stamp, read)
    with _alone(places) as target:
        # Another process may have finished it in the meantime.
        if target is not None:
            with contextlib.suppress(_Unusable):
                return _read(target, stamp, read)
        began = time.monotonic()
        content = scan()
        # Files that changed under the scan are scanned again next time.
        is_slow = time.monotonic() - began >= (SLOW_S if slow_s is None else slow_s)
        if target is not None and is_slow and _stamp(files, version) == stamp:
            _write(target, stamp, content, beside=target == places[0])
    return read(json.loads(json.dumps(content)))


class _Unusable(Exception):
    """There is no index, or not one for these files."""


def user_cache() -> Path:
    """Return the folder for data of this package that can be made again."""
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "molmo_agent" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "molmo_agent"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "molmo_agent"


def _places(files: Sequence[Path], name: str) -> list[Path]:
    """Return where an index may be: beside the files, then in the user's cache."""
    folder = files[0].parent
    which = hashlib.sha256("\0".join(path.name for path in files).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    whole = hashlib.sha256(str(folder.resolve()).encode("utf-8", "surrogatepass")).hexdigest()[:12]
    places = [folder / f".{name}-{which}.index.json"]
    # Without a home folder there is no user's cache.
    with contextlib.suppress(RuntimeError):
        places.append(user_cache() / "indexes" / f"{name}-{which}-{whole}.index.json")
    return places


def _stamp(files: Sequence[Path], version: Any) -> Any:
    """Return plain data that changes with the files and the reader."""
    states = [(path.name, path.stat()) for path in files]
    stamp = [_VERSION, version, [[name, state.st_size, state.st_mtime_ns] for name, state in states]]
    return json.loads(json.dumps(stamp))


def _read(place: Path, stamp: Any, read: Callable[[Any], _Found]) -> _Found:
    if not place.is_file():
        raise _Unusable
    try:
        index = read_json(place)
        if not isinstance(index, dict) or index.get("of") != stamp:
            raise _Unusable
        return read(index["found"])
    except (DataError, ValueError, LookupError, TypeError) as error:
        raise _Unusable from error


def _write(place: Path, stamp: Any, content: Any, *, beside: bool) -> None:
    try:
        write_whole(place, json.dumps({"of": stamp, "found": content}))
    except OSError as error:
        warn(f"the index {place} cannot be written ({error.strerror or error}): the files are read again next time")
        return
    if not beside:
        warn(f"the folder of the data cannot be written to; the index of its files is {place}")


@contextlib.contextmanager
def _alone(places: Sequence[Path]) -> Iterator[Path | None]:
    """Wait until no other process scans these files; yield where to write the index, None for nowhere."""
    for place in places:
        try:
            if place != places[0]:
                place.parent.mkdir(parents=True, exist_ok=True)
            lock = place.with_suffix(".lock")
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        except OSError:
            continue
        try:
            # A lock of the system ends with its process, however that ends.
            _lock(descriptor)
            yield place
        finally:
            # Removed while it is locked. A process that comes now may scan beside one that waited: the same work twice.
            with contextlib.suppress(OSError):
                lock.unlink()
            os.close(descriptor)
        return
    yield None


def _lock(descriptor: int) -> None:
    """Lock an open file, waiting for other processes; a file system without locks counts as locked.

    Then several processes may scan at once, and the last one's index, equal to the others, stays.
    """
    if sys.platform == "win32":
        msvcrt = importlib.import_module("msvcrt")
        while True:
            try:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
                return
            except PermissionError:
                time.sleep(0.5)
    fcntl = importlib.import_module("fcntl")
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX)
