"""Captures of a phone's screen, complete and consistent with the status that the system reports."""

import io
import re
from dataclasses import dataclass

import numpy as np
import PIL.Image

from molmo_agent.envs.android.device import Device
from molmo_agent.episode import Image
from molmo_agent.errors import EnvError

# Filtered on the phone: the whole of it is hundreds of kilobytes.
_ASK = (
    "dumpsys power | grep mWakefulness=; "
    "dumpsys window | grep -E 'mCurrentFocus=|mDreamingLockscreen=|mShowingLockscreen=|^ *showing=| cur=[0-9]'; "
    "dumpsys display | grep -m 1 orientation="
)
# Captures to try while the screen turns or a capture is incomplete.
_TRIES = 3
# Share of a capture that is entirely black where a window keeps itself from being captured; bars may stay visible.
_BLACK_SHARE = 0.8
_SECURE_FLAG = 0x2000


@dataclass(frozen=True, slots=True)
class Status:
    """The status of the screen, as the system reports it."""

    # (width, height) in the present rotation, in the units of touches; None if not reported.
    size: tuple[int, int] | None
    # Quarter turns; None if not reported.
    rotation: int | None
    awake: bool
    locked: bool
    # The title of the window in front, "com.android.settings/.Settings"; empty while they change.
    focus: str

    @property
    def app(self) -> str:
        """The package in front; empty where none is."""
        return self.focus.partition("/")[0] if "/" in self.focus else ""


def read_status(device: Device) -> Status:
    """Query the phone for the status of its screen."""
    dump = device.script(_ASK, what="dumpsys").text

    def first(pattern: str) -> re.Match[str] | None:
        return re.search(pattern, dump, re.MULTILINE)

    size, rotation = first(r" cur=(\d+)x(\d+)"), first(r"orientation=(\d)")
    wakefulness, focus = first(r"mWakefulness=(\w+)"), first(r"mCurrentFocus=Window\{\S+ (?:u\d+ )?([^}]*)\}")
    title = focus[1].strip() if focus else ""
    locked = first(r"(?:mDreamingLockscreen|mShowingLockscreen|^ *showing)=true") is not None
    return Status(
        size=(int(size[1]), int(size[2])) if size else None,
        rotation=int(rotation[1]) if rotation else None,
        awake=wakefulness is None or wakefulness[1] == "Awake",
        locked=locked or "Keyguard" in title,
        focus=title,
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


def capture(device: Device) -> tuple[Image, Status]:
    """Return the image of the screen, (height, width, 3) uint8, and its status.

    Raises:
        EnvError: the screen is off or locked, the window in front may not be captured, or no whole image came.
    """
    for attempt in range(1, _TRIES + 1):
        status = read_status(device)
        require_usable(status, device.serial)
        answer = device.run("screencap", "-p")
        image = None
        try:
            image = _decode(answer.out)
        except (OSError, SyntaxError, ValueError) as error:
            if attempt == _TRIES or not answer.out:
                _explain(device, status, len(answer.out), answer.all_text if answer.status else str(error))
            continue
        height, width = image.shape[:2]
        if status.size is not None and (width > height) != (status.size[0] > status.size[1]) and width != height:
            continue  # the phone was turned in between
        if _black_share(image) >= _BLACK_SHARE:
            _check_black(device, status, image)
        return image, status
    raise EnvError(
        f"{_TRIES} captures of {device.serial!r} did not match its reported screen size: is it being rotated? "
        "Hold it still and start again"
    )


def _decode(out: bytes) -> Image:
    # Phones with several displays put a warning before the image.
    png = out[max(out.find(b"\x89PNG"), 0) :]
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
            flags = re.search(r"\bfl=(#?)([^\n}]*)", block)
            words = flags[2].split() if flags else []
            # Names since Android 9, a number before.
            if "SECURE" in words or (flags and flags[1] and int(words[0], 16) & _SECURE_FLAG):
                return True
    return False
