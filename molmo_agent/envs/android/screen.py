"""Captures of a phone's screen, complete and consistent with the status that the system reports."""

import io
import re
from dataclasses import dataclass

import numpy as np
import PIL.Image

from molmo_agent.envs.android.device import Answer, Device, quote
from molmo_agent.envs.android.displays import ASK, MAIN, Display, choose_display, describe_displays, read_displays
from molmo_agent.episode import Image
from molmo_agent.errors import EnvError

_ASK = f"dumpsys power | grep mWakefulness=; {ASK}"
# Captures to try while the screen turns or a capture is incomplete.
_TRIES = 3
# Share of a capture that is entirely black where a window keeps itself from being captured; bars may stay visible.
_BLACK_SHARE = 0.8
_SECURE_FLAG = 0x2000
_PNG, _WARNING = b"\x89PNG", b"Multiple displays were found"


@dataclass(frozen=True, slots=True)
class Status:
    """The status of the phone and of one of its displays, as the system reports it."""

    display: Display
    # All of the phone's, virtual ones included.
    displays: tuple[Display, ...]
    awake: bool
    locked: bool

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height) in the present rotation, in the units of touches; None if not reported."""
        return self.display.size

    @property
    def rotation(self) -> int | None:
        """Quarter turns; None if not reported."""
        return self.display.rotation

    @property
    def focus(self) -> str:
        """The title of the window in front; empty while they change."""
        return self.display.focus

    @property
    def app(self) -> str:
        """The package in front; empty where none is."""
        return self.focus.partition("/")[0] if "/" in self.focus else ""


def read_status(device: Device, display: int | None = None) -> Status:
    """Query the phone for the status of one of its displays.

    Args:
        device: the phone.
        display: its id; None: the one that the user looks at.

    Raises:
        UsageError: the phone has no such display.
        EnvError: the phone is gone, or the display is off.
    """
    dump = device.script(_ASK, what="dumpsys").text
    displays = read_displays(dump)
    wakefulness = re.search(r"mWakefulness=(\w+)", dump)
    awake = wakefulness is None or wakefulness[1] == "Awake"
    # A phone that sleeps has every display off.
    chosen = choose_display(displays, display, device.serial) if awake else displays[MAIN]
    locked = re.search(r"(?:mDreamingLockscreen|mShowingLockscreen|^ *showing)=true", dump, re.MULTILINE) is not None
    return Status(
        display=chosen,
        displays=tuple(displays.values()),
        awake=awake,
        locked=locked or "Keyguard" in chosen.focus,
    )


def require_usable(status: Status, serial: str) -> None:
    """Reject a screen that is off or locked.

    Raises:
        EnvError: it is off or locked.
    """
    if not status.awake:
        raise EnvError(f"the screen of {serial!r} is off: nothing can be seen or touched. Switch it on and start again")
    if status.locked:
        raise EnvError(f"the phone {serial!r} is locked: unlock it and start again")


def capture(device: Device, display: int | None = None, *, before: str = "", after: str = "") -> tuple[Image, Status]:
    """Return the image of a display, (height, width, 3) uint8, and the status of the phone.

    Args:
        device: the phone.
        display: the id of the display; None: the one that the user looks at.
        before: a line of the phone's shell that it runs right before the image is taken.
        after: a line that it runs right after that.

    Raises:
        UsageError: the phone has no such display.
        EnvError: the screen is off or locked, the window in front may not be captured, or no whole image of that
            display came.
    """
    size = 0, 0
    for attempt in range(1, _TRIES + 1):
        status = read_status(device, display)
        require_usable(status, device.serial)
        answer = _screencap(device, status, before, after)
        image = None
        try:
            image = _decode(answer.out)
        except (OSError, SyntaxError, ValueError) as error:
            if attempt == _TRIES or not answer.out:
                _explain(device, status, len(answer.out), answer.all_text if answer.status else str(error))
            continue
        size = image.shape[1], image.shape[0]
        if not _fits(size, status):
            continue  # the phone was turned or folded in between, or this is another display
        if _black_share(image) >= _BLACK_SHARE:
            _check_black(device, status, image)
        return image, status
    raise _mismatch(device, status, size)


def _screencap(device: Device, status: Status, before: str, after: str) -> Answer:
    """Capture the display of a status.

    Without an id the phone captures whichever of its screens comes first, of a folded one perhaps the dark one.

    Raises:
        EnvError: it is none that can be captured by an id, as virtual ones.
    """
    if status.display.id != MAIN and not status.display.physical:
        raise EnvError(
            f"display {status.display.describe()} of {device.serial!r} cannot be captured over adb: only those with a "
            f"screen of their own can. The phone has {describe_displays(status.displays)}"
        )

    def take(*options: str) -> Answer:
        # Nothing but the image goes to the output.
        others = [line and f"{{ {line}; }} >&2" for line in (before, after)]
        lines = [others[0], quote("screencap", *options), others[1]]
        return device.script("; ".join(filter(None, lines)), what="screencap")

    by_id = ("-d", status.display.physical, "-p")
    if status.display.physical and len({display.physical for display in status.displays} - {""}) > 1:
        return take(*by_id)
    answer = take("-p")
    # A second screen may be known to the part that captures only.
    if status.display.physical and _WARNING in answer.out.partition(_PNG)[0] + answer.errors:
        return take(*by_id)
    return answer


def _fits(size: tuple[int, int], status: Status) -> bool:
    """Return whether a capture of this (width, height) can be one of the display of a status."""
    expected, pixels = status.display.size, status.display.pixels
    if expected is None or size in (expected, pixels):
        return True
    # Up to the rounding of a pixel. Where there are several displays, another one may have the same proportions.
    return len(status.displays) == 1 and abs(size[0] * expected[1] - size[1] * expected[0]) <= max(*size, *expected)


def _mismatch(device: Device, status: Status, size: tuple[int, int]) -> EnvError:
    expected, display = status.display.size, status.display
    if expected is None or size == expected[::-1]:
        return EnvError(
            f"{_TRIES} captures of {device.serial!r} did not match its reported screen size: is it being rotated? "
            "Hold it still and start again"
        )
    return EnvError(
        f"the capture of {device.serial!r} has {size[0]}x{size[1]} pixels, but its display {display.id} is "
        f"{expected[0]}x{expected[1]} in its present rotation: it shows another display, and touches would miss. "
        f"The phone has {describe_displays(status.displays)}. Disconnect the others, or choose a display by its id"
    )


def _decode(out: bytes) -> Image:
    # A phone with several screens puts a warning before the image, others put messages of their own there.
    png = out[max(out.find(_PNG), 0) :]
    with PIL.Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        image.load()  # an incomplete image is an error here, never padded
        return np.asarray(image.convert("RGB"))


def _explain(device: Device, status: Status, num_bytes: int, why: str) -> None:
    if _forbids_captures(device, status):
        raise _secure(device, status)
    if not num_bytes:
        raise EnvError(
            f"the phone {device.serial!r} gave an empty capture of {status.focus or 'its screen'} ({why}): the window "
            "may not allow captures. Close it and start again"
        )
    raise EnvError(
        f"the capture of {device.serial!r} broke off after {num_bytes} bytes ({why}): check the cable and start again"
    )


def _black_share(image: Image) -> float:
    # Every 8th pixel each way says enough.
    return float((image[::8, ::8].max(axis=2) == 0).mean())


def _check_black(device: Device, status: Status, image: Image) -> None:
    if _forbids_captures(device, status):
        raise _secure(device, status)
    if not image.any():
        raise EnvError(
            f"the capture of {device.serial!r} is entirely black although its screen is on, with "
            f"{status.focus or 'no window'} in front: there is nothing to act on. Look at the phone and start again"
        )


def _secure(device: Device, status: Status) -> EnvError:
    return EnvError(
        f"{status.app or 'the window in front'} on {device.serial!r} does not let its screen be captured "
        "(FLAG_SECURE), as banks and password fields do: only you can do this part. Leave that screen and start again"
    )


def _forbids_captures(device: Device, status: Status) -> bool:
    """Return whether a window of the app in front forbids captures by its flag."""
    title = status.app or status.focus
    windows = device.run("dumpsys", "window", "windows").text
    for block in re.split(r"^\s*Window #\d+ ", windows, flags=re.MULTILINE)[1:]:
        if title and title in block.split("\n", 1)[0]:
            # Names since Android 9, a number before.
            flags = re.search(r"\bfl=(?:#([0-9a-fA-F]{1,16})\b)?([^\n}]*)", block)
            if flags and ("SECURE" in flags[2].split() or int(flags[1] or "0", 16) & _SECURE_FLAG):
                return True
    return False
