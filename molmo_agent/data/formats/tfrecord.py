"""Read TFRecord files, compressed or not, without TensorFlow: framing and checksums only.

A record is its length (8 bytes), a checksum of these 8 bytes, the payload and a checksum of the payload; checksums are
masked CRC-32C.
"""

import importlib
import struct
import zlib
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from molmo_agent.data.unusable_rows import Problem, Problems

_CHUNK = 1 << 20
# Uncompressed bytes between two resume points of a compressed file; each takes about 40 KB.
_SPAN = 1 << 24
_GZIP = b"\x1f\x8b"
MAX_RECORD_BYTES = 256_000_000
"""A longer record ends the reading: a few compressed kilobytes could fill the memory."""


def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _table()


def plain_crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of some bytes, in plain Python: about ten megabytes a second."""
    crc, table = 0xFFFFFFFF, _TABLE
    for byte in data:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _fastest() -> Callable[[bytes], int]:
    try:
        value: Callable[[bytes], int] = importlib.import_module("google_crc32c").value
    except ImportError:
        return plain_crc32c
    return value


crc32c = _fastest()
"""The library's function if it is installed (extra ``train``), else :func:`plain_crc32c`."""


def mask_crc(crc: int) -> int:
    """Return a checksum in its stored form, rotated and shifted."""
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class Record:
    """One payload and its position."""

    index: int
    offset: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Mark:
    """A position at which reading can resume."""

    # Offset in the uncompressed stream, then in the file.
    offset: int
    place: int
    # Decompressor state at that position.
    unzip: Any


class _Stream:
    """The uncompressed bytes of a file from a mark to its end or to the first damage."""

    def __init__(self, file: BinaryIO, mark: Mark | None = None, marks: list[Mark] | None = None) -> None:
        self._file, self._ready = file, bytearray()
        # Compressed bytes that were read from the file but not decompressed yet.
        self._waiting = b""
        self.compressed = file.read(2) == _GZIP
        self._place, self._position = (mark.place, mark.offset) if mark else (0, 0)
        file.seek(self._place)
        self._unzip: Any = mark.unzip.copy() if mark else zlib.decompressobj(wbits=31)
        # Collects new marks; None for none.
        self._marks = marks
        # Why reading stopped before the end of the file.
        self.fault: str | None = None

    def _mark(self) -> None:
        if self._marks is not None and (not self._marks or self._position - self._marks[-1].offset >= _SPAN):
            self._marks.append(Mark(self._position, self._place, self._unzip.copy()))

    def _more(self) -> bytes:
        """Return the next uncompressed bytes, at most ``_CHUNK``; none at the end or after a fault."""
        if not self.compressed:
            chunk = self._file.read(_CHUNK)
            self._place += len(chunk)
            return chunk
        while self.fault is None:
            chunk = self._waiting or self._file.read(_CHUNK)
            if not chunk:
                if not self._unzip.eof:
                    self.fault = "the compressed stream is truncated: the download is incomplete"
                break
            if self._unzip.eof:
                # Streams may follow one another; zeros fill up the last one.
                if not chunk.strip(b"\0"):
                    self._waiting = b""
                    continue
                self._unzip = zlib.decompressobj(wbits=31)
            try:
                more = self._unzip.decompress(chunk, _CHUNK)
            except zlib.error as error:
                self.fault = f"the compressed stream is damaged ({error})"
                break
            rest = self._unzip.unused_data if self._unzip.eof else self._unzip.unconsumed_tail
            self._place += len(chunk) - len(rest)
            self._waiting = rest
            if more:
                return more
        return b""

    def take(self, count: int) -> bytes:
        """Return ``count`` bytes, fewer at the end."""
        while len(self._ready) < count and self.fault is None:
            self._mark()
            more = self._more()
            if not more:
                break
            self._ready += more
            self._position += len(more)
        data = bytes(self._ready[:count])
        del self._ready[:count]
        return data

    def skip(self, count: int) -> None:
        """Skip ``count`` bytes, fewer at the end."""
        if not self.compressed:
            self._place, self._position = self._place + count, self._position + count
            self._file.seek(self._place)
            return
        while count > 0 and (left_out := self.take(min(count, _CHUNK))):
            count -= len(left_out)


def record_at(path: Path, offset: int, marks: list[Mark]) -> bytes:
    """Return the payload of the record at an offset of the uncompressed stream, after checking its checksums.

    Args:
        path: the file.
        offset: of the :class:`Record`.
        marks: from :func:`read_records`, or empty at first: those that are missing before the record are added. A
            compressed file is thus decompressed at most once as far as its last record that is read.

    Raises:
        ValueError: the record is no longer there.
    """
    before = bisect_right(marks, offset, key=lambda mark: mark.offset)
    mark = marks[before - 1] if before else None
    with path.open("rb") as file:
        stream = _Stream(file, mark, marks)
        stream.skip(offset - (mark.offset if mark else 0))
        head = stream.take(12)
        if len(head) == 12 and mask_crc(crc32c(head[:8])) == struct.unpack("<I", head[8:])[0]:
            body = stream.take(min(struct.unpack("<Q", head[:8])[0], MAX_RECORD_BYTES) + 4)
            if len(body) > 4 and mask_crc(crc32c(body[:-4])) == struct.unpack("<I", body[-4:])[0]:
                return body[:-4]
    raise ValueError(f"{path.name} at byte {offset}: the record has changed; was the file replaced?")


def read_records(path: Path, problems: Problems, marks: list[Mark] | None = None) -> Iterator[Record]:
    """Yield the records of a file whose checksums match.

    A payload with a wrong checksum is reported and skipped. A corrupt length, or one beyond MAX_RECORD_BYTES, is
    reported and ends the reading, since the next record cannot be located. A file is complete only if it ends at the
    end of a record.

    Args:
        path: the file.
        problems: collects the damage.
        marks: collects the positions that :func:`record_at` needs.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if size == 0:
            problems.add(Problem(file=path.name, reason="the file is empty; fetch it again"))
            return
        stream = _Stream(file, marks=marks)
        index = offset = 0
        while True:
            head = stream.take(12)
            if not head and stream.fault is None:
                if index == 0:
                    problems.add(Problem(file=path.name, reason="the file is complete but has no record"))
                return

            def report(reason: str, index: int | None = index, offset: int | None = offset) -> None:
                problems.add(Problem(file=path.name, reason=reason, record=index, offset=offset))

            if len(head) < 12:
                report(stream.fault or "the record is truncated in its header; fetch the file again")
                return
            (length, length_crc) = struct.unpack("<QI", head)
            if mask_crc(crc32c(head[:8])) != length_crc:
                if index == 0 and not stream.compressed:
                    begins = head[:8].hex(" ")
                    report(f"neither gzip nor TFRecord (begins with {begins}): a failed download?", None, None)
                else:
                    report("the checksum of the record's length is wrong; later records cannot be located")
                return
            if length > MAX_RECORD_BYTES:
                report(f"expected a record of at most {MAX_RECORD_BYTES:,} bytes, got {length:,}; the rest is not read")
                return
            body = stream.take(length + 4)
            if len(body) < length + 4:
                message = f"the record should have {length} bytes, but the file ends before; fetch it again"
                report(stream.fault or message)
                return
            payload = body[:-4]
            if mask_crc(crc32c(payload)) != struct.unpack("<I", body[-4:])[0]:
                report("the checksum of the record's content is wrong; the record is skipped")
            else:
                yield Record(index, offset, payload)
            index, offset = index + 1, offset + 16 + length
