"""What questions to a model use: seconds, tokens, passes. Models report each question; whoever measures collects.

A model reports with :func:`report_usage`, from any thread; nothing happens unless somebody collects.
"""

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """One question to a model; None is what the model or its server does not report."""

    # As it was put to the model, without its template.
    question: str
    # From the question to the answer; for questions that are decoded together, an equal share.
    seconds: float
    # Tokens of image and text that the answer depends on, cached ones included.
    tokens_in: int | None = None
    tokens_out: int | None = None
    # Forward passes through the decoder.
    passes: int | None = None


_COLLECTORS: list[list[Usage]] = []
_LOCK = threading.Lock()


def report_usage(usage: Usage) -> None:
    """Report one question to everyone who collects now."""
    with _LOCK:
        for collector in _COLLECTORS:
            collector.append(usage)


@contextlib.contextmanager
def collect_usage() -> Iterator[list[Usage]]:
    """Yield a list that all questions of this process are added to while the context is open."""
    collector: list[Usage] = []
    with _LOCK:
        _COLLECTORS.append(collector)
    try:
        yield collector
    finally:
        with _LOCK:
            # By identity: two empty lists are equal.
            _COLLECTORS[:] = [other for other in _COLLECTORS if other is not collector]
