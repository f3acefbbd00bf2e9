"""Which key gives which character: the keyboard layouts of a Wayland session, read from the compositor.

A program without the keyboard focus learns the layouts, not which of them is active. So a key counts as certain only if
it gives the same in every layout.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_agent.child_environment import child_environment
from molmo_agent.envs.desktop.wayland.keymap_reader import NO_LIBRARY, REJECTED
from molmo_agent.envs.desktop.wayland.wire import WaylandConnection, decode
from molmo_agent.errors import EnvError
from molmo_agent.parse import load_json

_GET_KEYBOARD, _CAPABILITIES, _KEYMAP = 1, 0, 0
_KEYBOARD = 2
_READER = Path(__file__).with_name("keymap_reader.py")
# Real ones have less than 200,000 bytes.
_MAX_BYTES, _READ_S = 4_000_000, 20.0


@dataclass(frozen=True, slots=True)
class Stroke:
    """A key and the modifiers to hold, as evdev numbers in the order in which they are pressed; the key is last."""

    keys: tuple[int, ...]


class Keymap:
    """The layouts of a keyboard.

    Args:
        text: an XKB keymap, as the compositor sends it.

    Raises:
        EnvError: libxkbcommon is missing, or cannot read the keymap; it may crash on a damaged one, in a process of its
            own.
    """

    def __init__(self, text: bytes) -> None:
        # Character or keysym -> stroke, for each layout.
        self._chars: list[dict[str, Stroke]] = []
        self._keysyms: list[dict[int, Stroke]] = []
        for chars, keysyms in _read_layouts(text):
            self._chars.append({chr(code): Stroke(tuple(keys)) for code, keys in chars})
            self._keysyms.append({keysym: Stroke(tuple(keys)) for keysym, keys in keysyms})

    def char_strokes(self, char: str) -> list[Stroke | None]:
        """Return the keys that give a character, one entry for each layout; None where it has none."""
        return [chars.get(char) for chars in self._chars]

    def keysym_strokes(self, keysym: int) -> list[Stroke | None]:
        """Return the keys that give a keysym, one entry for each layout; None where it has none."""
        return [strokes.get(keysym) for strokes in self._keysyms]

    def certain_stroke(self, char: str) -> Stroke | None:
        """Return the keys that give a character whichever layout is active; None if that depends on it."""
        strokes = set(self.char_strokes(char))
        return strokes.pop() if len(strokes) == 1 else None


def read_keymap() -> Keymap:
    """Ask the compositor for the keyboard layouts.

    Raises:
        EnvError: there is no compositor or no keyboard, or the layouts cannot be read.
    """
    connection = WaylandConnection()
    keymaps: list[bytes] = []

    def take_keymap(opcode: int, body: bytes) -> None:
        if opcode != _KEYMAP or not connection.descriptors:
            return
        descriptor, (_, size) = connection.descriptors.pop(0), decode("uu", body)
        try:
            # One byte more is enough to refuse it.
            keymaps.append(os.pread(descriptor, min(size, _MAX_BYTES + 1), 0).rstrip(b"\0"))
        except OSError as error:
            raise EnvError(f"the keyboard layout of this session cannot be read: {error.strerror}") from error
        finally:
            os.close(descriptor)

    def look_for_keyboard(opcode: int, body: bytes) -> None:
        if opcode == _CAPABILITIES and decode("u", body)[0] & _KEYBOARD:
            connection.create(seats[0], _GET_KEYBOARD, handler=take_keymap)

    seats: list[int] = []
    try:
        for entry in connection.find("wl_seat")[:1]:
            seats.append(connection.bind(entry, 4, look_for_keyboard))
        connection.roundtrip()
        connection.roundtrip()
    finally:
        connection.close()
    if not keymaps:
        raise EnvError("this Wayland session has no keyboard, not even a virtual one: connect a keyboard")
    return Keymap(keymaps[-1])


def _read_layouts(text: bytes) -> Any:
    """Return what ``keymap_reader.py`` says of a keymap."""
    problem = "the keyboard layout of this session cannot be read:"
    if len(text) > _MAX_BYTES:
        raise EnvError(f"{problem} it has {len(text):,} bytes, more than {_MAX_BYTES:,}. Choose another layout")
    try:
        done = subprocess.run(
            # Isolated: nothing of the user's folder or variables, and at once.
            [sys.executable, "-I", "-S", str(_READER)],
            input=text,
            capture_output=True,
            timeout=_READ_S,
            check=False,
            env=child_environment(),
        )
    except subprocess.TimeoutExpired as error:
        raise EnvError(f"{problem} libxkbcommon did not finish within {_READ_S:g} s. Choose another layout") from error
    if done.returncode == NO_LIBRARY:
        reason = done.stderr.decode(errors="replace").strip()
        raise EnvError(
            f"libxkbcommon, which reads keyboard layouts, cannot be loaded ({reason}). Install it: "
            "apt-get install libxkbcommon0 (Fedora: dnf install libxkbcommon)"
        )
    if done.returncode == REJECTED:
        raise EnvError(f"{problem} libxkbcommon rejects it. Update it")
    if done.returncode:
        raise EnvError(f"{problem} libxkbcommon crashed on it ({done.returncode}). Update it, or choose another layout")
    return load_json(done.stdout, where="the answer about the keyboard layout")
