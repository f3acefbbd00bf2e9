"""Pointer and keyboard of the compositors that let any program add devices: wlr-virtual-pointer, virtual-keyboard."""

import os
import pathlib
import time
from collections.abc import Callable, Sequence

from molmo_agent.actions import Button
from molmo_agent.envs.desktop.capture import Area
from molmo_agent.envs.desktop.wayland.common_input import CommonInput
from molmo_agent.envs.desktop.wayland.keys import parse_key
from molmo_agent.envs.desktop.wayland.typing_obstacles import input_method_obstacle
from molmo_agent.envs.desktop.wayland.virtual_keymap import CAPACITY, VirtualKeymap
from molmo_agent.envs.desktop.wayland.wire import WaylandConnection, socket_path
from molmo_agent.envs.desktop.wayland.wlroots import KEYBOARD, POINTER
from molmo_agent.errors import ActionRefused, EnvError

_BUTTONS: dict[Button, int] = {"left": 0x110, "right": 0x111, "middle": 0x112}
_VERTICAL, _HORIZONTAL, _WHEEL = 0, 1, 0
# What a notch is in the unit of touchpads, for programs that scroll by it.
_NOTCH = 15.0
_PAUSE_S = 0.004
# For programs to take over a new keymap or device.
_SETTLE_S = 0.1
# The requests of a virtual pointer.
_MOVE, _BUTTON, _FRAME, _SOURCE, _DISCRETE = 1, 2, 4, 5, 7
# The requests of a virtual keyboard.
_KEYMAP, _KEY, _MODIFIERS = 0, 1, 2
# The modifiers that a key sets while it is down, as bits of XKB.
_MASKS = {42: 1, 54: 1, 29: 4, 97: 4, 56: 8, 100: 8, 125: 64, 126: 64}


class WlrootsInput(CommonInput):
    """Sends input by a virtual pointer and keyboard and remembers what it holds down.

    Args:
        connection: the caller's.
        desktop: returns the smallest area that holds all monitors.
    """

    def __init__(self, connection: WaylandConnection, desktop: Callable[[], Area]) -> None:
        self._connection, self._desktop = connection, desktop
        # The position of the pointer cannot be read on Wayland, so no corner stops a run.
        self.corners: frozenset[tuple[int, int]] = frozenset()
        area = desktop()
        self._position = area.left + area.width // 2, area.top + area.height // 2
        self._held_buttons: list[Button] = []
        self._held_keys: list[int] = []
        self._left_down = _LeftDown()
        seats = connection.find("wl_seat")
        if not seats:
            raise EnvError("this Wayland session has no seat, so nobody can click in it. Start it with one")
        seat = connection.bind(seats[0], 1)
        pointers = connection.bind(connection.find(POINTER)[0], 1)
        self._pointer = connection.create(pointers, 0, seat, last=True)
        keyboards = connection.bind(connection.find(KEYBOARD)[0], 1)
        self._keyboard = connection.create(keyboards, 0, seat, last=True)
        self._keymap = VirtualKeymap()
        self._send_keymap()
        # A run that was killed leaves its button down: the compositor removes the device without releasing it.
        for button in self._left_down.names():
            self._point(_BUTTON, _BUTTONS[button], 0)
        self._left_down.write([])

    def _send_keymap(self) -> None:
        text = self._keymap.text() + b"\0"
        descriptor = os.memfd_create("molmo-agent-keymap", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, text)
            self._connection.send(self._keyboard, _KEYMAP, 1, len(text), descriptors=[descriptor])
            self._connection.roundtrip()
        finally:
            os.close(descriptor)
        time.sleep(_SETTLE_S)

    def _point(self, request: int, *values: int | float) -> None:
        self._connection.send(self._pointer, request, _now_ms(), *values)
        self._connection.send(self._pointer, _FRAME)
        self._connection.roundtrip()

    # --- Pointer --------------------------------------------------------------------------------------------------

    def position(self) -> tuple[int, int]:
        """Return where the pointer was put last; the middle of the desktop before that."""
        return self._position

    def move(self, x: int, y: int) -> None:
        """Move the pointer; with a button held this drags."""
        area = self._desktop()
        # The middle of the position, in halves: rounding must not end in the one beside it.
        self._point(_MOVE, 2 * (x - area.left) + 1, 2 * (y - area.top) + 1, 2 * area.width, 2 * area.height)
        self._position = x, y

    def press(self, button: Button, nth: int = 1) -> None:
        """Press a button where the pointer is."""
        self._held_buttons.append(button)
        self._left_down.write(self._held_buttons)
        self._point(_BUTTON, _BUTTONS[button], 1)

    def release(self, button: Button, nth: int = 1) -> None:
        """Release a button."""
        self._point(_BUTTON, _BUTTONS[button], 0)
        if button in self._held_buttons:
            self._held_buttons.remove(button)
        self._left_down.write(self._held_buttons)

    def scroll(self, right: int, down: int) -> None:
        """Turn the wheel by notches."""
        for axis, notches in ((_VERTICAL, down), (_HORIZONTAL, right)):
            for _ in range(abs(notches)):
                sign = 1 if notches > 0 else -1
                self._connection.send(self._pointer, _SOURCE, _WHEEL)
                self._point(_DISCRETE, axis, sign * _NOTCH, sign)
                time.sleep(_PAUSE_S)
                self.between_events()

    # --- Keyboard -------------------------------------------------------------------------------------------------

    def key_name(self, key: str) -> str:
        """Return a key as it is sent: the numbers of its keys, ``42 13`` with Shift.

        Raises:
            ActionRefused: there is no such key.
        """
        meaning = parse_key(key)
        if isinstance(meaning, str):
            if self._keymap.add(meaning):
                self._send_keymap()
            return " ".join(map(str, self._keymap.char_keys(meaning)))
        keys = self._keymap.keysym_keys(meaning)
        if keys is None:
            raise ActionRefused(f"the virtual keyboard has no key {key!r}: use another key, or the mouse")
        return " ".join(map(str, keys))

    def key_down(self, key: str) -> None:
        """Hold a key."""
        for number in map(int, key.split()):
            self._held_keys.append(number)
            self._key_event(number, 1)

    def key_up(self, key: str) -> None:
        """Release a key."""
        for number in reversed([*map(int, key.split())]):
            if number in self._held_keys:
                self._held_keys.remove(number)
            self._key_event(number, 0)

    def _key_event(self, number: int, state: int) -> None:
        self._connection.send(self._keyboard, _KEY, _now_ms(), number, state)
        if number in _MASKS:
            mask = 0
            for held in self._held_keys:
                mask |= _MASKS.get(held, 0)
            self._connection.send(self._keyboard, _MODIFIERS, mask, 0, 0, 0)
        self._connection.roundtrip()
        time.sleep(_PAUSE_S)

    def type_line(self, text: str) -> None:
        """Enter text where the keyboard focus is; characters without a key get one.

        Raises:
            ActionRefused: an input method would change the text.
        """
        # The locks of the user's keyboard do not apply to ours.
        if obstacle := input_method_obstacle():
            raise ActionRefused(obstacle)
        for start in range(0, len(text), CAPACITY):
            part = text[start : start + CAPACITY]
            if self._keymap.add(part):
                self._send_keymap()
            for char in part:
                self.between_events()
                name = " ".join(map(str, self._keymap.char_keys(char)))
                self.key_down(name)
                self.key_up(name)

    # --- The end --------------------------------------------------------------------------------------------------

    def release_all(self) -> None:
        """Release every button and key; a compositor that is gone holds none."""
        keys, buttons = self._held_keys[::-1], self._held_buttons[::-1]
        self._held_keys.clear()
        self._held_buttons.clear()
        try:
            for number in keys:
                self._key_event(number, 0)
            for button in buttons:
                self.release(button)
            self._left_down.write([])
        except EnvError:
            return

    def close(self) -> None:
        """Release everything and remove the devices; safe to call twice."""
        self.release_all()
        self._connection.close()


class _LeftDown:
    """The buttons that are down, in a file beside the compositor's socket: it outlives a run that is killed."""

    def __init__(self) -> None:
        socket = pathlib.Path(socket_path())
        self._path = socket.with_name(f"molmo-agent-{socket.name}-buttons")

    def names(self) -> list[Button]:
        """Return the buttons that the last run left down."""
        try:
            words = self._path.read_text(encoding="ascii").split()
        except (OSError, ValueError):
            return []
        return [button for button in _BUTTONS if button in words]

    def write(self, buttons: Sequence[Button]) -> None:
        """Note the buttons that are down."""
        try:
            if buttons:
                self._path.write_text(" ".join(buttons), encoding="ascii")
            else:
                self._path.unlink(missing_ok=True)
        except OSError as error:
            raise EnvError(
                f"the buttons that are held cannot be noted in {str(self._path)!r} ({error.strerror}), so they could "
                "not be released after a crash. Make room in that folder, or make it writable"
            ) from error


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000 & 0xFFFFFFFF
