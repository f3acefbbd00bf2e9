"""One phone over adb: select it, run commands on it, and explain failures.

Commands are lists of arguments. Every argument is quoted for the phone's shell, so no text can become a command.
"""

import contextlib
import importlib
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from molmo_agent.child_environment import private_variables_hidden
from molmo_agent.errors import EnvError, MissingExtraError, UnknownNameError, UsageError

# What a state of adb's list means, and what to do about it.
_STATES = {
    "unauthorized": "does not trust this computer: unlock it and accept 'Allow USB debugging?' on its screen",
    "authorizing": "is asking whether to trust this computer: unlock it and accept 'Allow USB debugging?'",
    "offline": "is offline: unplug it and plug it in again (over the network: adb disconnect, then adb connect)",
    "no": "may not be used by this account (no permissions): add a udev rule for it, or run `adb kill-server` and "
    "start the server as a user who may",
}
_NO_DEVICE = (
    "no phone is connected: plug one in with USB debugging on (Settings, About phone, tap the build number seven "
    "times; then Developer options), or `adb connect HOST:PORT`; `adb devices` lists what is there"
)


@dataclass(frozen=True, slots=True)
class Answer:
    """The output and exit status of a command."""

    out: bytes
    errors: bytes
    status: int

    @property
    def text(self) -> str:
        """The standard output as text."""
        return self.out.decode("utf-8", "replace")

    @property
    def all_text(self) -> str:
        """Output and errors as text, for messages and for commands that mix them up."""
        return (self.out + self.errors).decode("utf-8", "replace").strip()


def load_adbutils() -> Any:
    """Import adbutils.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        return importlib.import_module("adbutils")
    except ImportError as error:
        raise MissingExtraError("a phone over adb", "android") from error


def quote(*arguments: str) -> str:
    """Return arguments as one line for the phone's shell, in which each of them is one word whatever it contains.

    Raises:
        ValueError: an argument holds a zero character, where a command would end.
    """
    if any("\0" in argument for argument in arguments):
        raise ValueError("a command can hold no zero character")
    return " ".join(map(shlex.quote, arguments))


class Device:
    """A connected phone.

    Args:
        serial: its name in `adb devices`; None: the one in ANDROID_SERIAL, or the only phone.

    Raises:
        MissingExtraError: adbutils is not installed.
        UsageError: there are several phones and no serial, or no phone with the serial.
        EnvError: there is no phone, or it cannot be used in its present state; the message gives the reason.
    """

    def __init__(self, serial: str | None = None) -> None:
        self._adbutils = load_adbutils()
        # Made here and not at import: it reads ANDROID_ADB_SERVER_PORT.
        self._client = self._adbutils.AdbClient()
        with self._server():
            states = self._states()
        self.serial = _choose(serial, states)
        self._require_ready(states[self.serial])
        self._device = self._client.device(self.serial)
        with self._report_loss("asking what it can do"):
            features = self._device.get_features()
        if "shell_v2" not in features.split(","):
            raise EnvError(f"the phone {self.serial!r} is too old: Android 7 or newer is needed")

    def run(self, *arguments: str, timeout_s: float = 15.0) -> Answer:
        """Run a command.

        Raises:
            EnvError: the phone is gone or did not answer in time; whether it executed the command is unknown.
        """
        return self.script(quote(*arguments), what=arguments[0], timeout_s=timeout_s)

    def script(self, line: str, *, what: str, timeout_s: float = 15.0) -> Answer:
        """Run a line of the phone's shell that is a constant of this package or made with :func:`quote`.

        Args:
            line: the line.
            what: its name in error messages.
            timeout_s: how long it may take.

        Raises:
            EnvError: as :meth:`run`.
        """
        with self._report_loss(f"running {what}"):
            answer = self._device.shell2(line, timeout=timeout_s, encoding=None, v2=True)
        return Answer(answer.stdout, answer.stderr, answer.returncode)

    def _states(self) -> dict[str, str]:
        return {info.serial: info.state for info in self._client.list()}

    def _require_ready(self, state: str) -> None:
        if state == "device":
            return
        why = _STATES.get(state, f"is in the state {state!r}: start Android on it")
        raise EnvError(f"the phone {self.serial!r} {why}")

    @contextlib.contextmanager
    def _server(self) -> Iterator[None]:
        """Report failures of the adb server itself; adbutils starts the server if it does not run.

        That server outlives this process, and gets no secrets.
        """
        try:
            with private_variables_hidden():
                yield
        except (self._adbutils.AdbError, OSError, subprocess.SubprocessError) as error:
            raise EnvError(
                f"the adb server cannot be reached or started ({error}): try `adb start-server`; "
                "ANDROID_ADB_SERVER_PORT chooses another port"
            ) from error

    @contextlib.contextmanager
    def _report_loss(self, doing: str) -> Iterator[None]:
        """Report why a phone does not answer; adbutils starts the server again if it ended."""
        try:
            with private_variables_hidden():
                yield
        except (self._adbutils.AdbError, OSError, EOFError) as error:
            with self._server():
                state = self._states().get(self.serial, "")
            if state and state != "device":
                self._require_ready(state)
            reason = "did not answer in time" if state else "is gone: it was unplugged or switched off"
            raise EnvError(
                f"the phone {self.serial!r} {reason} while {doing} ({error or type(error).__name__}); whether that "
                "was carried out is not known. Look at the phone, connect it and start again"
            ) from error


def _choose(serial: str | None, states: dict[str, str]) -> str:
    serial = serial or os.environ.get("ANDROID_SERIAL") or None
    if serial is not None:
        if serial not in states:
            raise UnknownNameError("phone", serial, states)
        return serial
    if not states:
        raise EnvError(_NO_DEVICE)
    if len(states) > 1:
        states_text = ", ".join(f"{name} ({state})" for name, state in sorted(states.items()))
        raise UsageError(f"{len(states)} phones are connected: {states_text}; choose one with --serial")
    return next(iter(states))
