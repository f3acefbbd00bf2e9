"""The names at a place, read in a thread of their own: a program that hangs must not stall a run."""

import queue
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from molmo_agent.episode import ScreenElement

# A program that answers at all answers in a few milliseconds.
LIMIT_S = 0.3
# How much longer the answer is waited for: the reader keeps the limit itself where it can.
_SLACK_S = 0.1
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Place:
    """A position on the screen, and what the window system knows of the window there; in its input units."""

    x: int
    y: int
    # The process and the title of the window, where they are known.
    pid: int = 0
    title: str = ""
    # (left, top, width, height) of what the program draws in, and of the same with the frame around it.
    inner: tuple[int, int, int, int] | None = None
    outer: tuple[int, int, int, int] | None = None


class Reader(Protocol):
    """Reads the names of one operating system; used from one thread alone, which also makes it."""

    def elements(self, place: Place, deadline: float) -> Sequence[ScreenElement]:
        """Return the named elements at a place; those that were read until ``deadline`` (time.monotonic)."""
        ...

    def close(self) -> None:
        """Give back what it holds; safe to call twice."""
        ...


class Names:
    """Reads names within a time limit.

    Args:
        make: makes the reader, in the thread that uses it.
        limit_s: how long one question may take, in seconds.
    """

    def __init__(self, make: Callable[[], Reader], limit_s: float = LIMIT_S) -> None:
        self._make, self._limit_s = make, limit_s
        self._questions: queue.SimpleQueue[tuple[Place, float, queue.SimpleQueue[Sequence[ScreenElement]]] | None]
        self._questions = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        # Whether the thread waits for a question: while it does not, none is put.
        self._is_idle = threading.Event()

    def at(self, place: Place) -> Sequence[ScreenElement]:
        """Return the named elements at a place; none if nothing answers within the limit."""
        if self._thread is None:
            # A thread that hangs must not keep the process from its end.
            self._thread = threading.Thread(target=self._work, name="accessible names", daemon=True)
            self._is_idle.set()
            self._thread.start()
        if not self._is_idle.is_set() or not self._thread.is_alive():
            return ()
        self._is_idle.clear()
        answer: queue.SimpleQueue[Sequence[ScreenElement]] = queue.SimpleQueue()
        self._questions.put((place, time.monotonic() + self._limit_s, answer))
        try:
            return answer.get(timeout=self._limit_s + _SLACK_S)
        except queue.Empty:
            return ()

    def close(self) -> None:
        """End the thread, as soon as it is idle; safe to call twice."""
        self._questions.put(None)
        if self._thread is not None:
            self._thread.join(self._limit_s)

    def _work(self) -> None:
        reader: Reader | None = None
        while (question := self._questions.get()) is not None:
            place, deadline, answer = question
            elements: Sequence[ScreenElement] = ()
            try:
                reader = reader or self._make()
                elements = reader.elements(place, deadline)
            except Exception:
                # Whatever fails in a library or another program: the words on the screen are judged in any case, and
                # where there are no names, no question is answered by them. The next one starts anew.
                if reader is not None:
                    reader.close()
                reader = None
            self._is_idle.set()
            answer.put(elements)
        if reader is not None:
            reader.close()


def shortened(name: object) -> str:
    """Return a name on one line, as far as it can matter; empty for what is no text."""
    return " ".join(name.split())[:_LONGEST_NAME] if isinstance(name, str) else ""
