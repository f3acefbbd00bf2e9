"""Phones for tests: the adb server that users have, and our own daemon at the other end. Load it as a pytest plugin."""

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from adb_device import AdbDevice, adb_server

from molmo_agent.envs.sim_phone.content import make_phone


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    with adb_server() as client:
        yield client


@pytest.fixture
def connect(server: Any) -> Iterator[Any]:
    """Make phones that are connected, and take them away again."""
    made: list[AdbDevice] = []

    def connect(seed: int = 1, *, width: int = 270, height: int = 480, **options: Any) -> AdbDevice:
        device = AdbDevice(make_phone(seed, width, height), **options)
        made.append(device)
        said = server.connect(device.serial)
        assert device.serial in said
        return device

    yield connect
    for device in made:
        server.disconnect(device.serial)
        device.close()
        assert not device.failures
    gc.collect()


@pytest.fixture
def device(connect: Any) -> AdbDevice:
    return connect()
