"""Phones for tests: an adb server of our own, and our own daemon at the other end of it."""

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from molmo_agent.errors import EnvError
from molmo_agent.evaluation.adb_phone.daemon import AdbDevice
from molmo_agent.evaluation.adb_phone.server import OwnAdbServer

__all__ = ["AdbDevice", "adb_server"]


@contextlib.contextmanager
def adb_server() -> Iterator[Any]:
    """Start an adb server of our own and yield its client; skip the test if it would see a real phone."""
    try:
        server = OwnAdbServer()
    except EnvError as error:
        if "plugged into this machine" not in str(error):
            raise
        pytest.skip(str(error))
    try:
        with server.used() as client:
            yield client
    finally:
        server.stop()
