"""The check of a phone: nine touches, each looked for in the capture of the moment in which the finger is down.

Android's own "Pointer location" draws a line across the whole display and one down it, through the point where a touch
arrived. It is a developer option: what it was before is noted on the phone, and restored in the end.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from molmo_agent.actions import Home
from molmo_agent.envs.android.device import Device
from molmo_agent.envs.android.env import Android
from molmo_agent.envs.doctor import Check
from molmo_agent.envs.pointer_check.estimate import Sample, grid, judge
from molmo_agent.episode import Image
from molmo_agent.errors import EnvError
from molmo_agent.geometry import Point

SETTING = "pointer_location"
# A setting of our own on the phone: what the other one was while the check changes it.
NOTE = "molmo_agent_pointer_location"
BY_HAND = f"adb shell settings put system {SETTING} 0"

# How much a pixel of a line changes at least, of 255, and on which share of the display.
_CHANGED, _SHARE = 40, 0.6
# A line is one pixel wide, and lies between two where its position is a fraction.
_TOLERANCE_PX = 2
# The option takes a moment to be drawn, and captures of a screen in motion show no line.
_TRIES = 3


def open_phone(serial: str | None = None) -> Android:
    """Connect to a phone.

    Raises:
        MissingExtraError: adbutils is not installed.
        UsageError: there are several phones and no serial, or no phone with the serial.
        EnvError: there is no phone, or it cannot be used in its present state.
    """
    env = Android(serial)
    env.reset()
    return env


def check_phone(env: Android) -> Iterator[Check]:
    """Check the display that a phone's env acts on. The phone is at its home screen then.

    Raises:
        EnvError: the phone is gone, does not let its settings be changed, or cannot take a touch back.
    """
    with _shown_touches(env.device):
        # Where the fewest things react to a touch that is taken back.
        observation = env.step(Home())[0]
        size = observation.size
        marks = grid(size)
        samples = [Sample(mark, _find(env, Point.from_pixel(*mark, *size))) for mark in marks]
        # A long touch may have opened a menu.
        env.step(Home())
    verdict = judge(samples, size, _TOLERANCE_PX)
    what = f"{size[0]}x{size[1]} pixels in rotation {observation.info['rotation']}"
    if verdict.ok:
        yield Check("phone", True, f"{what}: all {len(samples)} marks were touched to the pixel")
        return
    remedy = verdict.remedy
    if not any(sample.arrived for sample in samples):
        remedy = "close what moves or covers the screen, look whether crossed lines show at a touch, and try again"
    yield Check("phone", False, f"{what}: {verdict.problem}", remedy)


@contextlib.contextmanager
def _shown_touches(device: Device) -> Iterator[None]:
    """Switch "Pointer location" on, and restore it, also what a check that was killed left on."""

    def setting(*words: str) -> str:
        answer = device.run("settings", *words)
        if answer.status or "Exception" in answer.all_text:
            first_line = (answer.all_text.splitlines() or [f"exit status {answer.status}"])[0]
            raise EnvError(
                f"the phone {device.serial!r} does not let its settings be changed: {first_line}. Switch on 'USB "
                "debugging (security settings)' as well, where there is such an option"
            )
        return answer.text.strip()

    before = setting("get", "secure", NOTE)
    if before not in ("0", "1"):
        before = "1" if setting("get", "system", SETTING) == "1" else "0"
        setting("put", "secure", NOTE, before)
    try:
        setting("put", "system", SETTING, "1")
        yield
    finally:
        setting("put", "system", SETTING, before)
        setting("delete", "secure", NOTE)


def _find(env: Android, point: Point) -> tuple[int, int] | None:
    """Return the pixel at which a touch arrives; None if its lines are not seen."""
    for _ in range(_TRIES):
        before = env.observe().image
        if crossing := find_crossing(before, env.capture_touch(point)):
            return crossing
    return None


def find_crossing(before: Image, after: Image) -> tuple[int, int] | None:
    """Return the pixel (x, y) where a new line across and a new line down an image cross; None if there are no two.

    Args:
        before: (height, width, 3) uint8.
        after: the same with the lines.
    """
    if before.shape != after.shape:
        return None
    changed = np.abs(after.astype(np.int16) - before).max(axis=2) >= _CHANGED
    x, y = _line(changed.mean(axis=0)), _line(changed.mean(axis=1))
    return None if x is None or y is None else (x, y)


def _line(shares: npt.NDArray[np.float64]) -> int | None:
    """Return the middle of the one thin line among rows or columns with these changed shares; None if there is none."""
    lines = np.flatnonzero(shares >= _SHARE)
    if not len(lines) or lines[-1] - lines[0] > max(2, len(shares) // 200):
        return None
    return int(lines[0] + lines[-1]) // 2
