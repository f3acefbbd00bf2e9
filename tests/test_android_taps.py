"""Taps of a phone: two of one action are a double tap, two of two actions never are."""

import time

import pytest
from adb_device import AdbDevice

from molmo_agent.actions import Click
from molmo_agent.envs.android import input as android_input
from molmo_agent.envs.android.device import Device
from molmo_agent.envs.android.env import Android
from molmo_agent.envs.android.input import PhoneInput
from molmo_agent.errors import EnvError
from molmo_agent.geometry import Point

pytest_plugins = ("adb_fixtures",)
pytest.importorskip("adbutils", reason="needs the extra 'android'")
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")

# How long `input` takes to start on the phone of a test: longer than any double tap, and than a slow test machine.
START_S = 3.0


def arrivals(device: AdbDevice) -> list[float]:
    """Note when each tap arrives."""
    times: list[float] = []
    device.system.hook = lambda argv: times.append(time.monotonic()) if argv[:2] == ["input", "tap"] else None
    return times


@pytest.mark.parametrize("count", [2, 3])
def test_the_start_of_the_phones_program_does_not_come_between_the_taps(device: AdbDevice, count: int) -> None:
    env = Android()
    env.reset()
    device.input_start_s, device.lines[:] = START_S, []
    times = arrivals(device)
    env.step(Click(Point(0.5, 0.5), count=count))
    assert device.system.inputs() == [["tap", "135", "240"]] * count
    # In one line of shell, and not one after the other.
    assert sum("input tap" in line for line in device.lines) == 1
    assert times[-1] - times[0] < START_S


def test_a_single_tap_needs_nothing_in_the_background(device: AdbDevice) -> None:
    env = Android()
    env.reset()
    device.lines.clear()
    env.step(Click(Point(0.25, 0.5)))
    assert [line for line in device.lines if "input" in line] == ["input tap 67 240"]


@pytest.mark.parametrize("counts", [(1, 1), (2, 1), (1, 2)], ids=["two_taps", "tap_after_double", "double_after_tap"])
def test_taps_of_two_actions_wait_until_they_cannot_be_a_double_tap(
    device: AdbDevice, monkeypatch: pytest.MonkeyPatch, counts: tuple[int, int]
) -> None:
    """The phone's own limit is 0.3 s."""
    clock = [100.0]
    monkeypatch.setattr(android_input.time, "monotonic", lambda: clock[0])
    waits: list[float] = []
    phone = PhoneInput(Device(), waits.append)
    phone.tap((50, 60), counts[0])
    clock[0] += 0.1
    phone.tap((50, 60), counts[1])
    assert waits == [pytest.approx(0.3)]
    clock[0] += 9
    phone.tap((50, 60))
    assert waits[1:] == [0.0]


def test_a_double_tap_that_the_phone_rejects_is_an_error(device: AdbDevice) -> None:
    env = Android()
    env.reset()
    text = b"java.lang.SecurityException: Injecting to another application requires INJECT_EVENTS permission\n"
    device.system._input = lambda *words: (255, b"", text)  # type: ignore[method-assign]
    with pytest.raises(EnvError, match=r"rejected the input: java.lang.SecurityException.*'USB debugging"):
        env.step(Click(Point(0.5, 0.5), count=2))
