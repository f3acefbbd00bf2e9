"""Whole contents through pipes to and from other programs, which may be slow or hang."""

import os
import select
import time


def write_all(descriptor: int, content: bytes, timeout_s: float) -> bool:
    """Write and close; return False if the reader closes its end or does not read in time."""
    deadline = time.monotonic() + timeout_s
    os.set_blocking(descriptor, False)
    try:
        while content:
            if not select.select([], [descriptor], [], max(0.0, deadline - time.monotonic()))[1]:
                return False
            content = content[os.write(descriptor, content) :]
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def read_all(descriptor: int, timeout_s: float) -> bytes | None:
    """Read until the end and close; None if the writer does not finish in time."""
    deadline, content = time.monotonic() + timeout_s, b""
    try:
        while select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))[0]:
            part = os.read(descriptor, 1 << 16)
            if not part:
                return content
            content += part
    finally:
        os.close(descriptor)
    return None
