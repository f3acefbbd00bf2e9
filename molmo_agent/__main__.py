"""``agent`` and ``python -m molmo_agent``: the front door, which signals close quietly even while it opens."""

import atexit
import contextlib
import os
import signal
import sys
from types import FrameType
from typing import Any

EXIT_STOPPED = 130


def _leave(number: int = 0, frame: FrameType | None = None) -> None:
    """Leave at once: before and after a command there is nothing to release, and only a traceback to show."""
    with contextlib.suppress(OSError):
        os.write(2, b"agent: stopped\n")
    os._exit(EXIT_STOPPED)


def _handle(numbers: list[int], handler: Any) -> None:
    for number in numbers:
        signal.signal(number, handler)


def _open_closed_streams() -> None:
    """Give a standard stream that is closed the null device.

    Files and sockets that are opened later would take its number, and get what is printed.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest free number.
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 - until the end


def _flush() -> None:
    """Write what is left; a reader that has gone is no error of the command."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # The interpreter would try again as it ends, and print a traceback.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def main() -> None:
    """Load the command line, then run it."""
    names = [name for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    # What is ignored, as by nohup or in the background of a shell, stays ignored.
    numbers = [number for number in numbers if signal.getsignal(number) is not signal.SIG_IGN]
    _handle(numbers, _leave)
    # Registered first, so called last: what the interpreter does after it would end by the signal itself.
    atexit.register(_handle, numbers, signal.SIG_IGN)
    _open_closed_streams()
    from molmo_agent.console import protect_streams

    protect_streams()
    from molmo_agent.cli import app as cli
    from molmo_agent.interrupts import interrupt

    is_stopped = False
    try:
        # From here on there may be a display, a pressed button, an open trajectory: these need an orderly end.
        _handle(numbers, interrupt)
        cli.main()
    except KeyboardInterrupt:
        # A second one, while the first one is being reported.
        is_stopped = True
    except SystemExit as end:
        is_stopped = end.code == EXIT_STOPPED
        if not is_stopped:
            raise
    finally:
        _handle(numbers, _leave)
        _flush()
    if is_stopped:
        # Python itself would end by the signal where the interrupt passed through `eval`, as in a named tuple's class.
        atexit._run_exitfuncs()
        os._exit(EXIT_STOPPED)


if __name__ == "__main__":
    main()
