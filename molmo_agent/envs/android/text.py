"""Enter text on a phone without losing a letter: plain letters as keys, other scripts through ADBKeyBoard.

`input text` can produce nothing but the keys of a plain keyboard, and drops or fails on the rest. Other text goes
through ADBKeyBoard (package com.android.adbkeyboard), where it is installed: it is switched on for the text, and the
user's keyboard is restored afterwards, also after an error. The name of the user's keyboard is first saved in a setting
on the phone, so that after a run that was killed the next run restores it.
"""

import base64
import re
import time
import unicodedata
from collections.abc import Callable

from molmo_agent.envs.android.device import Device
from molmo_agent.envs.android.input import PhoneInput
from molmo_agent.errors import ActionRefused, EnvError

KEYBOARD = "com.android.adbkeyboard/.AdbIME"
# A setting of our own on the phone: the user's keyboard while another one is in use.
NOTE = "molmo_agent_keyboard"

_CHUNK = 200
# So many letters in a row of what is typed are not by chance in a phone's answer.
_PIECE = 4
# How long the phone may take to change keyboards.
_SWITCH_S = 5.0
_ID = re.compile(r"[\w.]+/[\w.$]+")


def plain(text: str) -> bool:
    """Return whether a plain keyboard has keys for all of a text: printable ASCII."""
    return all(" " <= character <= "~" for character in text)


def input_text_arguments(text: str) -> list[str]:
    """Return what `input text` is to be called with, in turn, to enter a plain text.

    It reads "%s" as a blank and has no way to write these two characters as they are: they are sent one by one.
    """
    pieces = [piece for part in re.split(r"(?<=%)(?=s)", text) for piece in re.findall(rf".{{1,{_CHUNK}}}", part)]
    return [piece.replace(" ", "%s") for piece in pieces]


class PhoneText:
    """Enters text where the phone's keyboard focus is.

    Args:
        device: the phone.
        input: sends the keys of plain text.
        sleep: waits for so many seconds.
    """

    def __init__(self, device: Device, input: PhoneInput, sleep: Callable[[float], None] = time.sleep) -> None:
        self._device, self._input, self._sleep = device, input, sleep

    def check(self, text: str) -> None:
        """Reject a line of text that cannot be entered on this phone.

        Raises:
            ActionRefused: it cannot be entered, or the text holds a control character.
        """
        for character in text:
            if unicodedata.category(character) in ("Cc", "Cs"):
                raise ActionRefused(
                    f"text may hold line ends and tabs but no other control character, got {character!r}"
                )
        if plain(text):
            return
        if KEYBOARD not in self._device.run("ime", "list", "-a", "-s").text.split():
            other = next(character for character in text if not plain(character))
            raise ActionRefused(
                f"this phone accepts plain letters only, not {other!r}: install ADBKeyBoard on it "
                f"({KEYBOARD.partition('/')[0]}) to enter any script"
            )

    def enter(self, text: str, between: Callable[[], object] = lambda: None) -> None:
        """Enter one line of text that passed :meth:`check`, without any key after it.

        Args:
            text: the line.
            between: called between the parts of a long line; what it raises ends it.

        Raises:
            EnvError: the phone is gone or failed on the way.
        """
        if not plain(text):
            self._by_keyboard(text, between)
            return
        for number, argument in enumerate(input_text_arguments(text)):
            if number:
                between()
            self._run_checked(*self._input.words("text", argument), private=argument.replace("%s", " "))

    def restore(self) -> None:
        """Restore the user's keyboard, if a run that was killed left another one active."""
        note = self._setting(NOTE)
        if _ID.fullmatch(note):
            self._restore_keyboard(note)

    def _by_keyboard(self, text: str, between: Callable[[], object]) -> None:
        before = self._setting("default_input_method")
        if before == KEYBOARD:
            self._broadcast(text, between)
            return
        if not _ID.fullmatch(before):
            raise EnvError(f"expected the phone to name its keyboard, got {before!r}: choose one in its settings")
        enabled = KEYBOARD in self._device.run("ime", "list", "-s").text.split()
        self._run_checked("settings", "put", "secure", NOTE, before)
        try:
            if not enabled:
                self._run_checked("ime", "enable", KEYBOARD)
            self._run_checked("ime", "set", KEYBOARD)
            self._wait_for(KEYBOARD)
            self._broadcast(text, between)
        finally:
            self._restore_keyboard(before)
            if not enabled:
                self._device.run("ime", "disable", KEYBOARD)

    def _restore_keyboard(self, keyboard: str) -> None:
        self._run_checked("ime", "set", keyboard)
        self._device.run("settings", "delete", "secure", NOTE)

    def _wait_for(self, keyboard: str) -> None:
        """Wait until a keyboard is active, not only selected: text before that is lost."""
        ask = "dumpsys input_method | grep -E 'mCurId=|mCurMethodId=|mSelectedMethodId='"
        end = time.monotonic() + _SWITCH_S
        while keyboard not in self._device.script(ask, what="dumpsys").text:
            if time.monotonic() > end:
                raise EnvError(f"the keyboard {keyboard} did not take over within {_SWITCH_S:g} s; no text was sent")
            self._sleep(0.1)

    def _broadcast(self, text: str, between: Callable[[], object]) -> None:
        for start in range(0, len(text), _CHUNK):
            if start:
                between()
            piece = text[start : start + _CHUNK]
            part = base64.b64encode(piece.encode()).decode()
            self._run_checked("am", "broadcast", "-a", "ADB_INPUT_B64", "--es", "msg", part, private=piece)
        # It passes the text to the app shortly after the broadcast.
        self._sleep(0.2)

    def _setting(self, name: str) -> str:
        return self._device.run("settings", "get", "secure", name).text.strip()

    def _run_checked(self, *arguments: str, private: str = "") -> None:
        """Run a command.

        Args:
            arguments: the command.
            private: the part of the user's text that one of them holds, which may be a password.

        Raises:
            EnvError: it failed; the message holds the phone's answer, unless that repeats a part of the text.
        """
        answer = self._device.run(*arguments)
        if answer.status or "Exception" in answer.all_text or answer.all_text.startswith("Error"):
            first_line = (answer.all_text.splitlines() or [f"exit status {answer.status}"])[0]
            if private and _repeats(first_line, private, arguments[-1]):
                first_line = f"exit status {answer.status}; its answer repeats the text and is not shown"
            raise EnvError(f"{' '.join(arguments[:2])} failed on the phone {self._device.serial!r}: {first_line}")


def _repeats(line: str, *texts: str) -> bool:
    """Return whether a line holds some letters in a row of one of the texts, or the whole of a short one."""
    line = line.lower()
    pieces = (text[i : i + _PIECE].lower() for text in texts for i in range(max(1, len(text) - _PIECE + 1)))
    return any(piece.strip() and piece in line for piece in pieces)
