"""Pointer and keyboard through a portal session.

Keys are sent by their number where the layouts leave no doubt about it, else by their symbol, which the compositor
looks up in the active layout. It drops a symbol that the layout does not have, so text with such characters is pasted.
"""

import contextlib
import time
from collections.abc import Sequence

from molmo_agent.actions import Button
from molmo_agent.envs.desktop.capture import Area
from molmo_agent.envs.desktop.wayland.clipboard import PortalClipboard
from molmo_agent.envs.desktop.wayland.common_input import CommonInput
from molmo_agent.envs.desktop.wayland.keymap import Keymap, Stroke, read_keymap
from molmo_agent.envs.desktop.wayland.keys import char_keysym, parse_key
from molmo_agent.envs.desktop.wayland.portal import PortalSession
from molmo_agent.envs.desktop.wayland.typing_obstacles import typing_obstacle
from molmo_agent.errors import ActionRefused, EnvError, RunStopped

# evdev's numbers of the buttons.
_BUTTONS = {"left": 0x110, "right": 0x111, "middle": 0x112}
_VERTICAL, _HORIZONTAL = 0, 1
# Between two events: below this some toolkits lose one now and then.
_PAUSE_S = 0.004
# For programs to notice a new device.
_NEW_DEVICE_S = 0.2
# With one of these held a key means the key, not its character.
_COMMAND_KEYSYMS = frozenset({0xFFE3, 0xFFE4, 0xFFE9, 0xFFEA, 0xFFEB, 0xFFEC})


class PortalInput(CommonInput):
    """Sends input through a portal session and remembers what it holds down.

    Args:
        session: the permission.
        areas: where the shared monitors are on the desktop, in logical units, in the order of the session's streams.
        frame_sizes: the (width, height) of their images in pixels.
    """

    def __init__(self, session: PortalSession, areas: Sequence[Area], frame_sizes: Sequence[tuple[int, int]]) -> None:
        self._session, self._areas, self._frame_sizes = session, list(areas), list(frame_sizes)
        self._clipboard = PortalClipboard(session) if session.has_clipboard else None
        # The position of the pointer cannot be read on Wayland, so no corner stops a run.
        self.corners: frozenset[tuple[int, int]] = frozenset()
        self._position = areas[0].left + areas[0].width // 2, areas[0].top + areas[0].height // 2
        self._held_buttons: list[Button] = []
        # What is down, as arguments of the portal: ("Keycode", 30) or ("Keysym", 97).
        self._held_keys: list[tuple[str, int]] = []
        # Without a real mouse the compositor has a pointer only after the first event that we send, and programs need a
        # moment to notice it.
        session.notify("PointerMotion", "dd", 0.0, 0.0)
        time.sleep(_NEW_DEVICE_S)

    # --- Pointer --------------------------------------------------------------------------------------------------

    def position(self) -> tuple[int, int]:
        """Return where the pointer was put last; the middle of the first monitor before that.

        Raises:
            RunStopped: the user or the compositor ended the session.
        """
        self._session.check()
        return self._position

    def move(self, x: int, y: int) -> None:
        """Move the pointer; with a button held this drags.

        Raises:
            ActionRefused: no shared monitor is at that position.
        """
        for stream, area, (width, height) in zip(self._session.streams, self._areas, self._frame_sizes, strict=True):
            if area.contains(Area(x, y, 1, 1)):
                across, down = float(x - area.left), float(y - area.top)
                if self._session.is_mutter:
                    # It counts in the stream's pixels, contrary to the portal's documentation.
                    across, down = across * width / area.width, down * height / area.height
                self._session.notify("PointerMotionAbsolute", "udd", stream.node, across, down)
                self._position = x, y
                return
        areas = ", ".join(area.describe() for area in self._areas)
        raise ActionRefused(
            f"({x}, {y}) is on no shared monitor ({areas}): nothing was clicked. Share that monitor too"
        )

    def press(self, button: Button, nth: int = 1) -> None:
        """Press a button where the pointer is."""
        # Recorded first: releasing a button that is up is harmless, a button that stays down is not.
        self._held_buttons.append(button)
        self._session.notify("PointerButton", "iu", _BUTTONS[button], 1)

    def release(self, button: Button, nth: int = 1) -> None:
        """Release a button."""
        self._session.notify("PointerButton", "iu", _BUTTONS[button], 0)
        if button in self._held_buttons:
            self._held_buttons.remove(button)

    def scroll(self, right: int, down: int) -> None:
        """Turn the wheel by notches."""
        for axis, notches in ((_VERTICAL, down), (_HORIZONTAL, right)):
            for _ in range(abs(notches)):
                self._session.notify("PointerAxisDiscrete", "ui", axis, 1 if notches > 0 else -1)
                time.sleep(_PAUSE_S)
                self.between_events()

    # --- Keyboard -------------------------------------------------------------------------------------------------

    def _keymap(self) -> Keymap:
        try:
            return read_keymap()
        except EnvError:
            # Without a real keyboard the compositor has one only after the first key that we send.
            self._event(("Keysym", 0xFFE1), True)
            self._event(("Keysym", 0xFFE1), False)
            time.sleep(_NEW_DEVICE_S)
            return read_keymap()

    def key_name(self, key: str) -> str:
        """Return a key as it is sent: ``code:29``, ``code:42 code:13`` with Shift, ``sym:97``.

        ``only:30`` is a key that has this character in some of the layouts only: right for a shortcut, not for text.

        Raises:
            ActionRefused: this keyboard has no such key.
        """
        meaning, keymap = parse_key(key), self._keymap()
        if isinstance(meaning, int):
            strokes, keysym = keymap.keysym_strokes(meaning), meaning
        else:
            strokes, keysym = keymap.char_strokes(meaning), char_keysym(meaning)
        name = _name_stroke(strokes, keysym)
        if name is None:
            raise ActionRefused(
                f"no keyboard layout of this session has the key {key!r}: add a layout that has it in the settings, "
                "or use the mouse"
            )
        return name

    def key_down(self, key: str) -> None:
        """Hold a key.

        Raises:
            ActionRefused: the key would enter another character in one of the layouts, and which is active is unknown.
        """
        if key.startswith("only:") and not self._holds_command_key():
            raise ActionRefused(
                "only some of the keyboard layouts have this character, and which one is active cannot be read on "
                "Wayland: use `type`, which pastes it"
            )
        for part in key.split():
            kind, _, number = part.partition(":")
            event = ("Keysym" if kind == "sym" else "Keycode", int(number))
            self._held_keys.append(event)
            self._event(event, True)

    def key_up(self, key: str) -> None:
        """Release a key."""
        for part in reversed(key.split()):
            kind, _, number = part.partition(":")
            event = ("Keysym" if kind == "sym" else "Keycode", int(number))
            self._event(event, False)
            if event in self._held_keys:
                self._held_keys.remove(event)

    def _event(self, event: tuple[str, int], is_down: bool) -> None:
        kind, number = event
        self._session.notify(f"Keyboard{kind}", "iu", number, int(is_down))
        time.sleep(_PAUSE_S)

    def _holds_command_key(self) -> bool:
        keymap = self._keymap()
        command = {stroke.keys[-1] for keysym in _COMMAND_KEYSYMS for stroke in keymap.keysym_strokes(keysym) if stroke}
        return any(kind == "Keycode" and number in command for kind, number in self._held_keys)

    def type_line(self, text: str) -> None:
        """Enter text where the keyboard focus is: by keys that are certain, else by pasting it.

        Raises:
            ActionRefused: the keyboard layouts lack a character, and the text cannot be pasted.
        """
        keymap = self._keymap()
        strokes, obstacle = [keymap.certain_stroke(char) for char in text], typing_obstacle(text)
        if not obstacle and all(strokes):
            for stroke in strokes:
                assert stroke
                self._tap(" ".join(f"code:{key}" for key in stroke.keys))
        elif self._clipboard:
            self._clipboard.paste(text, self._press_paste)
        elif not obstacle and all(all(keymap.char_strokes(char)) for char in text):
            # Each layout has each character, on different keys: the compositor knows which one is active.
            for char in text:
                self._tap(f"sym:{char_keysym(char)}")
        else:
            # The message never holds the text: it may be a password.
            raise ActionRefused(
                obstacle
                or "the text has characters that not every keyboard layout of this session has, and this desktop has "
                "no Clipboard portal, as newer versions have, to paste them: nothing was typed. Add a layout that has "
                "them, or use an Xorg session"
            )

    def _tap(self, name: str) -> None:
        self.between_events()
        self.key_down(name)
        self.key_up(name)

    def _press_paste(self) -> None:
        names = [self.key_name("ctrl"), self.key_name("v")]
        for name in names:
            self.key_down(name)
        for name in reversed(names):
            self.key_up(name)

    # --- The end --------------------------------------------------------------------------------------------------

    def release_all(self) -> None:
        """Release every button and key. A session that has ended holds none: the portal has released them."""
        keys, buttons = self._held_keys[::-1], self._held_buttons[::-1]
        self._held_keys.clear()
        self._held_buttons.clear()
        for event in keys:
            with contextlib.suppress(RunStopped, EnvError):
                self._event(event, False)
        for button in buttons:
            with contextlib.suppress(RunStopped, EnvError):
                self.release(button)

    def close(self) -> None:
        """Release everything and end the session; safe to call twice."""
        if self._session.is_open:
            self.release_all()
        self._session.close()


def _name_stroke(strokes: list[Stroke | None], keysym: int) -> str | None:
    """Return how a key is sent, given the keys that have it in each layout; None if none has it."""
    known = [stroke for stroke in strokes if stroke]
    if not known:
        return None
    if len(known) == len(strokes) and len(set(known)) > 1:
        return f"sym:{keysym}"
    name = " ".join(f"code:{key}" for key in known[0].keys)
    return name if len(known) == len(strokes) else name.replace("code:", "only:", 1)
