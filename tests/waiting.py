"""Waiting for what something real does: a window, a file, a process, a server."""

import time
from collections.abc import Callable
from typing import TypeVar

# A machine under load takes its time, and success costs none.
PATIENCE_S = 60

Value = TypeVar("Value")


def wait_for(condition: Callable[[], Value], what: str = "the condition") -> Value:
    """Wait until a condition holds and return its value."""
    deadline = time.monotonic() + PATIENCE_S
    while not (result := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what} did not come within {PATIENCE_S} s")
        time.sleep(0.03)
    return result
