"""Write files whole or not at all, and never through a symbolic link.

A run folder, a checkpoint or a data set may come from somebody else, with links named like the files that a program
writes there. And a process may be killed, or a disk fill up, in the middle of a file.

    whole_file, write_whole    a new file beside the target replaces it at the end: a reader sees the old or the new
                               content, also after a power failure, and a link is replaced instead of followed
    append_line                one whole line at the end of a file; what a full disk left of it is taken back
    open_to_append             a file to append text to
"""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_EXCLUSIVE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
_APPEND = os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
# Names below them, such as /dev/stdout, are streams of this process or devices: there is nothing to replace.
_STREAM_FOLDERS = ("/dev", "/proc")


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yield a path beside ``path`` to write to; it replaces ``path`` at the end, and is removed after an error.

    The file gets the permissions of the one that it replaces, or those of any new file. /dev/stdout and the like are
    written directly.

    Raises:
        OSError: the file cannot be written completely, or there is a folder, a pipe or a device of this name.
    """
    path = Path(path)
    if path.is_absolute() and str(path).startswith(tuple(f"{folder}/" for folder in _STREAM_FOLDERS)):
        yield path
        return
    mode = _mode_of(path)
    # The suffix stays: writers of images choose the format by it.
    part = path.with_name(f".part-{secrets.token_hex(4)}{path.suffix[-20:]}")
    os.close(os.open(part, _EXCLUSIVE, 0o666 if mode is None else mode))
    try:
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: str | Path, content: str | bytes) -> None:
    r"""Write a file whole or not at all; text as UTF-8, where lone surrogates become escapes such as ``\udc80``.

    Raises:
        OSError: the file cannot be written completely, or there is a folder, a pipe or a device of this name.
    """
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with whole_file(path) as part:
        part.write_bytes(data)


def append_line(path: str | Path, line: str) -> None:
    """Append a line and its line feed to a file, or nothing.

    Raises:
        OSError: the file cannot be written to, is a symbolic link or no regular file; an incomplete line has been taken
            back.
    """
    data = line.encode("utf-8", "backslashreplace") + b"\n"
    descriptor = _open_to_append(Path(path))
    try:
        size = os.fstat(descriptor).st_size
        try:
            written = 0
            while written < len(data):
                written += os.write(descriptor, data[written:])
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


def open_to_append(path: str | Path) -> TextIO:
    """Open a file to append text in UTF-8, where lone surrogates become escapes.

    Raises:
        OSError: the file cannot be written to, or is a symbolic link or no regular file.
    """
    return os.fdopen(_open_to_append(Path(path)), "a", encoding="utf-8", errors="backslashreplace", newline="\n")


def _open_to_append(path: Path) -> int:
    if path.is_symlink():
        raise OSError(errno.ELOOP, "It is a symbolic link, which is not written through", str(path))
    _mode_of(path)
    return os.open(path, _APPEND, 0o666)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power failure, where the system can."""
    # Windows has no such thing, and some network file systems refuse it: the files themselves were synced.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _mode_of(path: Path) -> int | None:
    """Return the permissions of an existing file; None for a new one or a link.

    Raises:
        OSError: this is neither a file nor a link.
    """
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(status.st_mode):
        return None
    if not stat.S_ISREG(status.st_mode):
        is_folder = stat.S_ISDIR(status.st_mode)
        raise OSError(errno.EISDIR, "Is a directory" if is_folder else "It is a pipe or a device", str(path))
    return stat.S_IMODE(status.st_mode)
