"""Signals that end a process: put off during a call that must not be cut, and enforced where nothing answers.

python-xlib keeps its locks when an exception passes through it: interrupted there, the very calls that are to release
the buttons would block for ever. So every call to a display runs inside of :func:`defer_interrupts`, and a signal that
arrives meanwhile counts at its end.

A command that acts on a device runs inside of :func:`ending_in_time`: a thread sees to it that the process has ended
two seconds after the first signal, or after its time limit, even if a driver or a model never returns.
"""

import contextlib
import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGBREAK")
ENDING_SIGNALS = tuple(getattr(signal, name) for name in _NAMES if hasattr(signal, name))
# Seconds after the first signal until a call to a display that does not return is broken off, until the main thread is
# not waited for any longer, and what the last steps may take then.
BREAK_OFF_S, GIVE_UP_S, LAST_STEPS_S = 0.5, 1.4, 0.3
_POLL_S = 0.05


class TimeLimitPassed(KeyboardInterrupt):
    """The time limit of a run has passed; raised in the main thread, wherever it is."""


class _Main:
    """What the main thread is in: used by its signal handlers and by the thread that watches it."""

    def __init__(self) -> None:
        # Calls that must not be cut, one inside of the other: when each began, and what makes it return.
        self.calls: list[tuple[float, Callable[[], object] | None]] = []
        # What was raised during such a call.
        self.pending: BaseException | None = None
        # Handlers of the program that uses this package, by signal, while `_defer` stands in for them.
        self.others: dict[int, Any] = {}
        self.watch: _Watch | None = None


_main = _Main()


def interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt with the name of a signal (none for Ctrl-C): its handler.

    Inside of :func:`ending_in_time` only the first one raises: the end has begun, and would be cut by another one.

    Raises:
        KeyboardInterrupt: at once, or at the end of a call that must not be cut.
        TimeLimitPassed: instead, at the end of a run's time.
    """
    watch = _main.watch
    if watch is not None:
        if watch.ends:
            return
        watch.ends = True
    if watch is not None and watch.is_limit_passed:
        _raise_later(TimeLimitPassed(watch.reason))
    else:
        _raise_later(KeyboardInterrupt(*([] if number == signal.SIGINT else [signal.Signals(number).name])))


def _raise_later(error: BaseException) -> None:
    """Raise an error, at the end of the present call if there is one."""
    if _main.calls:
        _main.pending = _main.pending or error
        return
    _main.pending = None
    raise error


@contextlib.contextmanager
def defer_interrupts(break_off: Callable[[], object] | None = None) -> Iterator[None]:
    """Delay Ctrl-C, and other signals that raise, until the end of one call to the display.

    Args:
        break_off: makes the call return with an error, where it may wait for something that never comes; called in
            another thread, some time after a signal.
    """
    # Signals reach the main thread only.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    replaced: list[int] = []
    # From here on nothing is raised by our handlers, so none of the following is skipped.
    _main.calls.append((time.monotonic(), break_off))
    try:
        _replace_others(replaced)
        yield
    finally:
        # First: whatever is raised after it skips nothing that matters.
        _main.calls.pop()
        for number in replaced:
            signal.signal(number, _main.others[number])
        if _main.pending is not None and not _main.calls:
            error, _main.pending = _main.pending, None
            raise error


def _replace_others(replaced: list[int]) -> None:
    """Replace handlers that are not ours, and note which: this package may be used by another program."""
    for number in ENDING_SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler) and handler not in (interrupt, _defer):
            _main.others[number] = handler
            replaced.append(number)
            signal.signal(number, _defer)


def _defer(number: int, frame: FrameType | None) -> None:
    """Call another program's handler; what it raises waits for the end of the present call."""
    try:
        _main.others[number](number, frame)
    except BaseException as error:
        _raise_later(error)


@contextlib.contextmanager
def interrupts_first() -> Iterator[None]:
    """Raise the interrupt that led to an error, where tidying up after it failed in turn: the user's stop comes first.

    A display that hangs answers nobody, and so not what restores the clipboard either.
    """
    try:
        yield
    except Exception as error:
        interrupt = _interrupt_behind(error)
        if interrupt is None:
            raise
        raise interrupt from None


def _interrupt_behind(error: BaseException) -> KeyboardInterrupt | None:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if isinstance(one, KeyboardInterrupt):
            return one
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            waiting += [one.__cause__, one.__context__]
    return None


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Raise KeyboardInterrupt when the process is told to end. A signal that is ignored, as by nohup, stays ignored."""
    old: dict[int, Any] = {}
    try:
        if threading.current_thread() is threading.main_thread():
            for number in ENDING_SIGNALS:
                if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                    old[number] = signal.signal(number, interrupt)
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def ending_in_time() -> Iterator[None]:
    """End the process within two seconds of the first signal, whatever the main thread is in.

    A signal raises KeyboardInterrupt once; later ones change nothing. If that does not lead out of the block in time,
    the calls to a display are broken off, then the last steps are taken and the process is ended with code 130 (1
    after the time limit). Outside of the main thread the block runs as it is.
    """
    if threading.current_thread() is not threading.main_thread() or _main.watch is not None:
        yield
        return
    with interrupting():
        watch = _Watch()
        try:
            _main.watch = watch
            yield
        finally:
            _main.watch = None
            watch.close()


@contextlib.contextmanager
def last_step(step: Callable[[str], object]) -> Iterator[None]:
    """Take a step even if the main thread never gets out of the block, in :func:`ending_in_time`.

    Args:
        step: is given the reason for the end, and called in another thread. The last one that was added comes first;
            together they have a part of a second.
    """
    steps = _main.watch.steps if _main.watch is not None else []
    steps.append(step)
    try:
        yield
    finally:
        steps.remove(step)


@contextlib.contextmanager
def time_limit(seconds: float, reason: str) -> Iterator[None]:
    """Raise TimeLimitPassed inside of the block after so many seconds, in :func:`ending_in_time`; elsewhere never."""
    watch = _main.watch
    if watch is None:
        yield
        return
    watch.start_limit(seconds, reason)
    try:
        yield
    finally:
        watch.end_limit()


class _Watch:
    """A thread that sees to it that the main thread ends in time after a signal or a time limit."""

    def __init__(self) -> None:
        # Whether the interrupt has been raised, or is about to be.
        self.ends = False
        # Why the run ends, when the last seconds began, and whether by the time limit.
        self.reason, self.is_limit_passed = "", False
        self.steps: list[Callable[[str], object]] = []
        self._began: float | None = None
        self._limit: tuple[float, str] | None = None
        self._done = threading.Event()
        # The system writes a byte here for each signal, also while the main thread is in code that never returns.
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._old_fd = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._old_alarm = signal.signal(signal.SIGALRM, interrupt) if hasattr(signal, "SIGALRM") else None
        self._thread = threading.Thread(target=self._run, name="ending in time", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._done.set()
        signal.set_wakeup_fd(self._old_fd)
        if self._old_alarm is not None:
            signal.signal(signal.SIGALRM, self._old_alarm)
        self._thread.join()
        self._reader.close()
        self._writer.close()

    def start_limit(self, seconds: float, reason: str) -> None:
        """Let the time limit be so many seconds from now."""
        self._limit = time.monotonic() + seconds, reason

    def end_limit(self) -> None:
        """Lift the time limit; if it has passed, the end that it began is over."""
        self._limit = None
        if self.is_limit_passed:
            self._began, self.is_limit_passed, self.ends = None, False, False

    def _run(self) -> None:
        while not self._done.is_set():
            if select.select([self._reader], [], [], _POLL_S)[0]:
                self._heed(self._reader.recv(4096))
            limit = self._limit
            if self._began is None and limit is not None and time.monotonic() >= limit[0]:
                self._began, self.reason, self.is_limit_passed = time.monotonic(), limit[1], True
                _wake_main_thread()
            if self._began is not None:
                self._enforce(time.monotonic() - self._began)

    def _heed(self, numbers: bytes) -> None:
        ours = [number for number in numbers if number in ENDING_SIGNALS and signal.getsignal(number) is interrupt]
        if ours and self._began is None:
            name = "Ctrl-C" if ours[0] == signal.SIGINT else signal.Signals(ours[0]).name
            self._began, self.reason = time.monotonic(), f"stopped by the user ({name})"

    def _enforce(self, waited_s: float) -> None:
        for began, break_off in list(_main.calls):
            if break_off is not None and time.monotonic() - began >= BREAK_OFF_S:
                # A connection that is closed already.
                with contextlib.suppress(OSError):
                    break_off()
        if waited_s >= GIVE_UP_S:
            self._give_up()

    def _give_up(self) -> None:
        """End the process without its main thread."""
        # In a thread: a step may wait for a pipe that nobody reads.
        steps = threading.Thread(target=self._take_last_steps, daemon=True)
        steps.start()
        steps.join(LAST_STEPS_S)
        if self._began is not None and not self._done.is_set():
            os._exit(1 if self.is_limit_passed else 130)

    def _take_last_steps(self) -> None:
        for step in reversed(self.steps):
            # Every exception: the steps after it matter as much, and nobody is left to tell.
            with contextlib.suppress(Exception):
                step(self.reason)


def _wake_main_thread() -> None:
    """Let the main thread call `interrupt`, also where it waits for the system."""
    if sys.platform == "win32":
        import _thread

        _thread.interrupt_main(signal.SIGINT)
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)


def _forget_watch() -> None:
    """Let a child that was forked without a new program handle its signals itself: the watch is the parent's."""
    if _main.watch is not None:
        _main.watch = None
        signal.set_wakeup_fd(-1)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_watch)


@contextlib.contextmanager
def kept_handlers() -> Iterator[dict[int, Any]]:
    """Restore at the end the handlers of signals that end a process, which Ray replaces; yield them by number.

    Outside of the main thread, which alone can set handlers, there are none.
    """
    in_main = threading.current_thread() is threading.main_thread()
    numbers = ENDING_SIGNALS if in_main else ()
    # None: it was set outside of Python, where it cannot be restored from.
    handlers = {number: handler for number in numbers if (handler := signal.getsignal(number)) is not None}
    try:
        yield handlers
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
