"""End a command that is asked to terminate as Ctrl-C would: buttons and keys are released, the record is closed."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

# kill, a closed terminal, and Ctrl-Break on Windows.
_NAMES = ("SIGTERM", "SIGHUP", "SIGBREAK")


@contextlib.contextmanager
def terminate_like_ctrl_c() -> Iterator[None]:
    """Raise KeyboardInterrupt when the process is told to end. A signal that is ignored, as by nohup, stays ignored."""
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    numbers = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in numbers:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in numbers:
            signal.signal(number, signal.SIG_DFL)


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt with the name of a signal: its handler.

    Raises:
        KeyboardInterrupt: always.
    """
    raise KeyboardInterrupt(signal.Signals(number).name)
