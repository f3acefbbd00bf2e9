"""Touches and keys on one display of a phone, as its own program ``input`` sends them."""

import time
from collections.abc import Callable, Sequence

from molmo_agent.envs.android.device import Device, quote
from molmo_agent.envs.android.displays import MAIN
from molmo_agent.errors import ActionRefused, EnvError

# Android takes two taps for a double tap if the second begins 40 to 300 ms after the first one ended. `input` itself
# may need longer than that to start, so that the taps of one start at the same time, shifted by this.
_BETWEEN_TAPS_S = 0.1
# From a touch until the phone has drawn what it makes of it.
_DRAWN_S = 0.1
# From here on two taps are two.
_APART_S = 0.4


class PhoneInput:
    """Sends touches and keys. Positions are pixels of the display in its present rotation.

    Args:
        device: the phone.
        sleep: waits for so many seconds.
    """

    display = MAIN
    """The id of the display that input goes to."""

    def __init__(self, device: Device, sleep: Callable[[float], None] = time.sleep) -> None:
        self._device, self._sleep = device, sleep
        self._last_tap_s: float | None = None
        self._usage: str | None = None

    def words(self, *words: str) -> tuple[str, ...]:
        """Return the command that sends one input to the display."""
        # Phones before Android 10 have one display and know no "-d".
        return ("input", *(() if self.display == MAIN else ("-d", str(self.display))), *words)

    def tap(self, place: tuple[int, int], count: int = 1) -> None:
        """Tap ``count`` times; taps of two calls never become a double tap.

        Raises:
            EnvError: the phone is gone or rejected the input.
        """
        if self._last_tap_s is not None:
            self._sleep(max(0.0, self._last_tap_s + _APART_S - time.monotonic()))
        tap = quote(*self.words("tap", *map(str, place)))
        # The phone's shell waits for those in the background; what they complain about comes all the same.
        line = f" & sleep {_BETWEEN_TAPS_S}; ".join([tap] * count) + ("; wait" if count > 1 else "")
        self._send(line)
        self._last_tap_s = time.monotonic()

    def swipe(self, start: tuple[int, int], end: tuple[int, int], duration_ms: int) -> None:
        """Move a finger from one position to another, or hold it on one.

        Raises:
            EnvError: as :meth:`tap`.
        """
        line = quote(*self.words("swipe", *map(str, (*start, *end, duration_ms))))
        self._send(line, seconds=duration_ms / 1000)

    def held_touch(self, place: tuple[int, int]) -> tuple[str, str]:
        """Return the lines of the phone's shell that put a finger down and take the touch back: it is no tap.

        Raises:
            EnvError: this phone cannot take a touch back.
        """
        if self._usage is None:
            self._usage = self._device.script("input", what="input").all_text
        if "CANCEL" not in self._usage:
            raise EnvError(
                f"the phone {self._device.serial!r} cannot take a touch back before it counts (Android 11 or newer can)"
            )
        down, cancel = (quote(*self.words("motionevent", kind, *map(str, place))) for kind in ("DOWN", "CANCEL"))
        return f"{down}; sleep {_DRAWN_S}", cancel

    def press(self, codes: Sequence[str]) -> None:
        """Press keys together, by Android's names: "KEYCODE_ENTER".

        Raises:
            ActionRefused: this phone can press one key at a time only.
            EnvError: as :meth:`tap`.
        """
        how = "keyevent" if len(codes) == 1 else "keycombination"
        if "Unknown command" in self._send(quote(*self.words(how, *codes))):
            raise ActionRefused(
                "this phone cannot press keys together (Android 12 or newer can): press them one by one"
            )

    def repeat(self, code: str, count: int) -> None:
        """Press a key ``count`` times in one command.

        Raises:
            EnvError: as :meth:`tap`.
        """
        self._send(quote(*self.words("keyevent", *[code] * count)), seconds=15.0)

    def _send(self, line: str, seconds: float = 0.0) -> str:
        """Send input; return the phone's answer."""
        answer = self._device.script(line, what=" ".join(line.split()[:2]), timeout_s=15.0 + seconds)
        if self.display != MAIN and "Unknown command: -d" in answer.all_text:
            raise ActionRefused(f"this phone cannot send input to display {self.display} (Android 10 or newer can)")
        if (answer.status or "Exception" in answer.all_text) and "Unknown command" not in answer.all_text:
            first_line = (answer.all_text.splitlines() or [f"exit status {answer.status}"])[0]
            hint = ""
            if "INJECT_EVENTS" in answer.all_text:
                hint = ". On Xiaomi, Oppo and others switch on 'USB debugging (security settings)' as well"
            raise EnvError(f"the phone {self._device.serial!r} rejected the input: {first_line}{hint}")
        return answer.all_text
