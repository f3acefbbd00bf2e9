"""Input on X11: keys where the keyboard layout has them, and pasted text where keys would change on their way.

pyautogui assumes the American layout and drops other characters. So keys are pressed by their keycodes, as the
layout, the active group and Caps Lock require now. Text is pasted as one piece where a program could add to what is
typed or replace it: an input method, an editor that indents, an office program that corrects. The old content of the
clipboard is restored. What can be neither typed nor pasted is refused.
"""

import re
import time
from collections.abc import Sequence
from typing import Any

import Xlib.X

from molmo_agent.actions import Button
from molmo_agent.envs.desktop import x11
from molmo_agent.envs.desktop.input import FINGER_S, KEY_PAUSE_S, PyAutoGuiInput
from molmo_agent.envs.desktop.x11_keys import clipboard
from molmo_agent.envs.desktop.x11_keys.clipboard import CLIPBOARD, PRIMARY, Pasteboard, Taken
from molmo_agent.envs.desktop.x11_keys.input_method import active_input_method
from molmo_agent.envs.desktop.x11_keys.keyboard import Keyboard, Stroke, means_keys
from molmo_agent.envs.desktop.x11_keys.programs import focused_program
from molmo_agent.envs.desktop.x11_keys.xkb import Xkb
from molmo_agent.envs.desktop.x11_pointer import double_click_s, physical_button
from molmo_agent.errors import ActionRefused, EnvError

_INDENTED = re.compile(r"^[ \t]", re.MULTILINE)

# Enough for one paste; a longer text is cut into several.
_PASTE_CHARS = 40_000
_LOGICAL_BUTTONS = {"left": 1, "middle": 2, "right": 3}
_WHEEL_UP, _WHEEL_DOWN, _WHEEL_LEFT, _WHEEL_RIGHT = 4, 5, 6, 7
# Among keycodes.
_A_BUTTON = 0
# Programs without a setting of their own go up to half a second.
_DOUBLE_CLICK_S = 0.5


class X11Input(PyAutoGuiInput):
    """Pointer and keyboard of an X server."""

    def __init__(self, gui: Any, display: Any) -> None:
        super().__init__(gui)
        # Our own connection: pyautogui's is busy with its own replies.
        self._display = display
        with x11.exchange(display):
            self._xkb = Xkb(display)
        # Clients that did not take a paste.
        self._untaken: set[int] = set()
        # Keycodes that each held key of a chord put down.
        self._down: dict[str, tuple[int, ...]] = {}
        # The physical button that was pressed for each logical one.
        self._pressed: dict[Button, int] = {}
        # Where the pointer was sent last; None while buttons are to act wherever it is.
        self._place: tuple[int, int] | None = None

    def break_off(self) -> None:
        """Let a call to a server that does not answer end, from another thread."""
        for display in self._connections():
            x11.break_off(display)

    def is_display_lost(self) -> bool:
        """Return whether an exchange with the server broke off."""
        return any(map(x11.is_broken, self._connections()))

    def _connections(self) -> tuple[Any, Any]:
        return self._display, self._gui.platformModule._display

    def is_lost(self, error: Exception) -> bool:
        """Return whether an error means that the X server is gone."""
        return x11.is_lost(error)

    # --- What others left behind ----------------------------------------------------------------------------------

    def release_leftovers(self) -> None:
        """Release the keys and buttons that a killed program left down, and latched modifiers. Locks stay.

        Raises:
            EnvError: a key or button is still down, or a modifier is locked: that is a person's doing.
        """
        super().release_leftovers()
        with self._translate_errors():
            locked = Keyboard(self._xkb).locked_commands()
        if locked:
            raise EnvError(
                f"locked on the keyboard (sticky keys): {', '.join(locked)}. Text would become shortcuts. "
                "Press the key until it is off, and start again"
            )

    def _release_everything(self) -> list[str]:
        """Release all that a program can have pressed, and return the names of what is still down."""
        with self._translate_errors():
            for keycode in self._held_by_anyone():
                if keycode != _A_BUTTON:
                    self._send(Xlib.X.KeyRelease, keycode)
            # All of them: the server names the first five only. To release a button that is up does nothing.
            for button in range(1, len(self._display.get_pointer_mapping()) + 1):
                self._send(Xlib.X.ButtonRelease, button)
            self._xkb.clear_latches()
            self._display.sync()
            still = self._held_by_anyone()
            keyboard = Keyboard(self._xkb)
            return ["a mouse button" if keycode == _A_BUTTON else keyboard.name(keycode) for keycode in still]

    def _held_by_anyone(self) -> list[int]:
        """Return the keycodes that are down, modifiers last, and ``_A_BUTTON`` if a mouse button is."""
        keymap = self._display.query_keymap()
        keycodes = [8 * i + bit for i, byte in enumerate(keymap) for bit in range(8) if byte >> bit & 1]
        modifiers = self._xkb.keymap().modifiers if keycodes else {}
        buttons = self._display.screen().root.query_pointer().mask >> 8 & 0x1F
        return [*sorted(keycodes, key=lambda keycode: modifiers.get(keycode, 0)), *([_A_BUTTON] if buttons else [])]

    # --- Pointer --------------------------------------------------------------------------------------------------

    def move(self, x: int, y: int) -> None:
        """Move the pointer; with a button held this drags."""
        with self._translate_errors():
            self._gui.moveTo(x, y)
        self._place = x, y

    def _send_button(self, kind: int, button: int) -> None:
        """Send a button in one piece with the pointer's place, so that no other program can move it in between."""
        if self._place is not None:
            x, y = self._place
            self._display.xtest_fake_input(Xlib.X.MotionNotify, x=x, y=y)
        self._send(kind, button)

    def _button_event(self, button: Button, down: bool, nth: int) -> None:
        self._gui.failSafeCheck()
        if down:
            self._pressed[button] = self._physical(_LOGICAL_BUTTONS[button], button)
        physical = self._pressed.get(button)
        if physical:
            self._send_button(Xlib.X.ButtonPress if down else Xlib.X.ButtonRelease, physical)
            self._display.sync()

    def _physical(self, logical: int, name: str) -> int:
        physical = physical_button(self._display, logical)
        if physical is None:
            raise ActionRefused(f"no button of the mouse is mapped to {name!r}: check `xmodmap -pp` and `xinput`")
        return physical

    def scroll(self, right: int, down: int) -> None:
        """Turn the wheel by notches."""
        with self._translate_errors():
            for notches, back, forth in ((down, _WHEEL_UP, _WHEEL_DOWN), (right, _WHEEL_LEFT, _WHEEL_RIGHT)):
                for _ in range(abs(notches)):
                    self._gui.failSafeCheck()
                    physical = self._physical(forth if notches > 0 else back, "the wheel")
                    self._send_button(Xlib.X.ButtonPress, physical)
                    self._send_button(Xlib.X.ButtonRelease, physical)
                    self._display.sync()
                    self.between_events()

    def release_all(self) -> None:
        """Release every button and key, wherever the pointer is."""
        self._place = None
        super().release_all()

    def double_click_s(self) -> float:
        """Return how long after a press another one at the same place would make a double click."""
        with self._translate_errors():
            return max(double_click_s(self._display) or 0.0, _DOUBLE_CLICK_S)

    # --- Keys -----------------------------------------------------------------------------------------------------

    def key_names(self, keys: Sequence[str]) -> list[str]:
        """Return this platform's names of the keys of a chord.

        Raises:
            ActionRefused: this keyboard has no such key, or the key would enter something else.
        """
        names = [self.canonical_name(key) for key in keys]
        shortcut = means_keys(names)
        with self._translate_errors():
            keyboard = Keyboard(self._xkb)
            for key, name in zip(keys, names, strict=True):
                if _stroke(keyboard, name, shortcut) is None:
                    if len(name) > 1 or shortcut:
                        raise self.no_such_key(key)
                    raise ActionRefused(
                        f"no key enters {name!r} with the present keyboard layout; "
                        f"to enter the character, type {name!r} as text"
                    )
                if len(name) == 1 and name != " " and not shortcut and (method := active_input_method(self._display)):
                    raise ActionRefused(
                        f"the input method {method!r} may change the key {name!r}: switch it off and start again, "
                        f"or, to enter the character, type {name!r} as text"
                    )
        return names

    def _key_event(self, key: str, down: bool) -> None:
        self._gui.failSafeCheck()
        if not down:
            self._lift(key)
            return
        keyboard = Keyboard(self._xkb)
        stroke = _stroke(keyboard, key, means_keys(self._held_keys))
        if stroke is None:
            raise self.no_such_key(key)
        self._put_down(key, stroke)

    def _put_down(self, name: str, stroke: Stroke) -> None:
        held = {keycode for keycodes in self._down.values() for keycode in keycodes}
        keycodes = (*(keycode for keycode in stroke.modifiers if keycode not in held), stroke.keycode)
        # Recorded first, as for buttons.
        self._down[name] = keycodes
        for keycode in keycodes:
            self._send(Xlib.X.KeyPress, keycode)
        self._display.sync()

    def _lift(self, name: str) -> None:
        for keycode in reversed(self._down.get(name, ())):
            self._send(Xlib.X.KeyRelease, keycode)
        self._display.sync()
        self._down.pop(name, None)

    def _send(self, kind: int, detail: int) -> None:
        self._display.xtest_fake_input(kind, detail)

    # --- Text -----------------------------------------------------------------------------------------------------

    def split_text(self, text: str) -> list[str]:
        """Split text into pieces: one for each line end and tab that is to be a key, and what is between.

        Several lines for a program that takes a paste stay together, because an editor adds blanks to a line after
        Enter. Line ends around them are keys, unless the text is indented.
        """
        with self._translate_errors():
            program = focused_program(self._display) if "\n" in text else None
        is_indented = _INDENTED.search(text)
        body = text.strip("\n")
        if not (program and program.takes_lines and ("\n" in body or is_indented)):
            return super().split_text(text)
        if is_indented:
            return [text]
        before, _, after = text.partition(body)
        return [*before, body, *after]

    def type_line(self, text: str) -> None:
        """Enter a piece of text where the keyboard focus is.

        Raises:
            ActionRefused: the text can be neither typed nor pasted unchanged. The message says why, and never holds
                the text, which may be a password.
            EnvError: somebody holds a key that makes shortcuts of the text.
        """
        with self._translate_errors():
            program = focused_program(self._display)
            method = active_input_method(self._display)
            keyboard = Keyboard(self._xkb)
        typable = all(keyboard.enter(char) or char in "\n\t" for char in text)
        if typable and not method and not program.changes(text):
            self._type(text)
            return
        if program.is_remote:
            num_pasted, reason = 0, "the focused program shows the screen of another machine"
        else:
            num_pasted, reason = self._paste(text, program.is_terminal, bool(method))
        rest = text[num_pasted:]
        if not rest:
            return
        if method:
            raise ActionRefused(
                f"the input method {method!r} may change what is typed, and the text could not be pasted: {reason}. "
                "Switch the input method off and start again"
            )
        if not typable:
            raise ActionRefused(
                "the text has characters that this keyboard layout has no keys for, and it could not be pasted: "
                f"{reason}"
            )
        self._type(rest)

    def _type(self, text: str) -> None:
        """Press the keys of a text."""
        with self._translate_errors():
            keyboard = Keyboard(self._xkb)
        for i, char in enumerate(text):
            self.between_events()
            with self._translate_errors():
                self._gui.failSafeCheck()
                keyboard = self._checked(keyboard, f"{i} of {len(text)} characters were typed")
                name = {"\n": "enter", "\t": "tab"}.get(char, char)
                stroke = _stroke(keyboard, name, shortcut=False)
                if stroke is None:
                    raise ActionRefused(
                        f"the keyboard layout changed while typing: {i} of {len(text)} characters were typed"
                    )
                self._held_keys.append(name)
                self._put_down(name, stroke)
            time.sleep(KEY_PAUSE_S)
            self.key_up(name)

    def _checked(self, keyboard: Keyboard, progress: str) -> Keyboard:
        """Return the keyboard as it is now; wait for a person who holds a modifier."""
        deadline = time.monotonic() + FINGER_S
        state = self._xkb.state()
        while state.mods & ~state.locked:
            if time.monotonic() > deadline:
                raise EnvError(f"somebody holds a key such as Ctrl or Shift, which changes what is typed; {progress}")
            time.sleep(0.02)
            state = self._xkb.state()
        return keyboard if state == keyboard.state else Keyboard(self._xkb)

    def _paste(self, text: str, is_terminal: bool, keys_come_late: bool) -> tuple[int, str]:
        """Paste text and return how many characters the focused program took, and why not all."""
        with self._translate_errors():
            # A terminal pastes what is selected, or the clipboard.
            pasteboard = Pasteboard(self._display, *([CLIPBOARD, PRIMARY] if is_terminal else [CLIPBOARD]))
            if not pasteboard.save():
                return 0, "the clipboard holds something that cannot be saved. Install xclip: apt-get install xclip"
            has_v = Keyboard(self._xkb).enter("v") is not None
        # Where the layout has no V at the moment, not all programs know Ctrl+V.
        chord = ("ctrl", "v") if has_v and not is_terminal else ("shift", "insert")
        num_sent = 0
        is_taken = True
        try:
            if self._untaken & pasteboard.suspects():
                # Keys of an earlier paste may wait in a program: they would paste this text, too.
                self._await_response(pasteboard)
            while num_sent < len(text):
                part = text[num_sent : num_sent + _PASTE_CHARS]
                self.between_events()
                with self._translate_errors():
                    pasteboard.offer(part)
                is_taken = False
                self._chord(*chord)
                taken = self._await_reader(pasteboard, keys_come_late)
                if taken is Taken.BUSY:
                    raise ActionRefused(f"the focused program {taken.value}: wait until it does, and start again")
                if taken is Taken.OTHER:
                    raise ActionRefused(
                        f"the focused program {taken.value}, such as a clipboard manager: whether the text arrived is "
                        "not known. Look at the screen; close the clipboard manager and start again"
                    )
                if taken is Taken.NO:
                    return num_sent, f"the focused program {taken.value} after {'+'.join(chord).title()}"
                is_taken = True
                num_sent += len(part)
        finally:
            with self._translate_errors():
                if not is_taken:
                    self._untaken |= pasteboard.suspects()
                # A program may have an earlier paste before it still.
                pasteboard.close(self._untaken & pasteboard.suspects())
        return num_sent, ""

    def _await_response(self, pasteboard: Pasteboard) -> None:
        """Wait until the focused program responds.

        Raises:
            ActionRefused: it does not; no key was sent, which it would carry out later.
        """
        deadline = time.monotonic() + clipboard.BUSY_S
        while True:
            with self._translate_errors():
                self._gui.failSafeCheck()
                if pasteboard.focus_answers():
                    return
            if time.monotonic() > deadline:
                raise ActionRefused(
                    f"the focused program {Taken.BUSY.value}: nothing was sent. Wait until it does, and start again"
                )

    def _await_reader(self, pasteboard: Pasteboard, keys_come_late: bool) -> Taken:
        with self._translate_errors():
            pasteboard.start_wait(keys_come_late)
        while True:
            with self._translate_errors():
                self._gui.failSafeCheck()
                taken = pasteboard.poll()
            if taken:
                return taken

    def _chord(self, *keys: str) -> None:
        for key in keys:
            self.key_down(key)
        for key in reversed(keys):
            self.key_up(key)


def _stroke(keyboard: Keyboard, name: str, shortcut: bool) -> Stroke | None:
    """Return the keys for a key's name; None if this keyboard has none."""
    if len(name) > 1:
        return keyboard.named(name)
    return keyboard.shortcut(name) if shortcut else keyboard.enter(name)
