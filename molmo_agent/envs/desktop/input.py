"""Pointer and keyboard. Positions are in the operating system's input units.

``PyAutoGuiInput`` is what X11, Windows and macOS share. What pyautogui gets wrong on one of them is corrected in that
platform's class (``x11_input``, ``native.input``).
"""

import contextlib
import difflib
import importlib
import os
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

from molmo_agent.actions import Button
from molmo_agent.envs.desktop.emergency_stop import emergency_stop
from molmo_agent.errors import ActionRefused, EnvError
from molmo_agent.interrupts import defer_interrupts

# Seconds between two keys: below this some toolkits lose one now and then.
KEY_PAUSE_S = 0.003

# How long a person may take to lift a finger, the one that started this run for example.
FINGER_S = 3.0

# Signs by the names that X11 and people give them.
_SIGNS = {
    "plus": "+", "minus": "-", "hyphen": "-", "dash": "-", "equal": "=", "equals": "=", "underscore": "_",
    "period": ".", "dot": ".", "comma": ",", "semicolon": ";", "colon": ":", "slash": "/", "backslash": "\\",
    "question": "?", "questionmark": "?", "exclam": "!", "apostrophe": "'", "quote": "'", "quotedbl": '"',
    "grave": "`", "backtick": "`", "backquote": "`", "tilde": "~", "numbersign": "#", "hash": "#", "percent": "%",
    "ampersand": "&", "asterisk": "*", "asterix": "*", "star": "*", "at": "@", "dollar": "$", "bar": "|", "pipe": "|",
    "bracketleft": "[", "leftbracket": "[", "bracketright": "]", "rightbracket": "]", "parenleft": "(",
    "parenright": ")", "braceleft": "{", "braceright": "}", "less": "<", "greater": ">",
}  # fmt: skip

# Other names of keys -> pyautogui's. "_", "-" and spaces inside of a name do not count: "Page_Up" is "pageup".
_SYNONYMS = {
    "return": "enter",
    "control": "ctrl",
    "escape": "esc",
    "del": "delete",
    "ins": "insert",
    "pgup": "pageup",
    "prior": "pageup",
    "pgdn": "pagedown",
    "next": "pagedown",
    "spacebar": "space",
    "bksp": "backspace",
    "prtsc": "printscreen",
    "contextmenu": "apps",
    "menu": "apps",
    "option": "alt",
    "opt": "alt",
    "altgr": "altright",
    **_SIGNS,
    **{f"arrow{way}": way for way in ("up", "down", "left", "right")},
    **{f"{way}arrow": way for way in ("up", "down", "left", "right")},
}

# All the same key: the one with the system's sign on it.
_SYSTEM_KEY = frozenset({"win", "windows", "super", "meta", "cmd", "command"})


class Input(Protocol):
    """Sends input and remembers what it holds down."""

    # The user stops the run by moving the pointer to one of these positions.
    corners: frozenset[tuple[int, int]]
    # Whether `position` is read from the system; else it is where the pointer was sent last.
    reads_position: bool
    # Called between two letters of a text and two notches of the wheel; what it raises ends them.
    between_events: Callable[[], object]

    def position(self) -> tuple[int, int]:
        """Return where the pointer is."""
        ...

    def move(self, x: int, y: int) -> None:
        """Move the pointer; with a button held this drags."""
        ...

    def press(self, button: Button, nth: int = 1) -> None:
        """Press a button where the pointer is; ``nth`` is 2 for the second press of a double click."""
        ...

    def release(self, button: Button, nth: int = 1) -> None:
        """Release a button."""
        ...

    def scroll(self, right: int, down: int) -> None:
        """Turn the wheel by notches; negative is left and up."""
        ...

    def double_click_s(self) -> float:
        """Return for how many seconds after a press another one at the same place counts as a double click."""
        ...

    def key_names(self, keys: Sequence[str]) -> list[str]:
        """Return the platform's names of the keys of a chord; raises ActionRefused if there is no such key."""
        ...

    def key_down(self, key: str) -> None:
        """Hold a key, by the name that ``key_names`` gave."""
        ...

    def key_up(self, key: str) -> None:
        """Release a key."""
        ...

    def split_text(self, text: str) -> list[str]:
        """Split text into pieces: one for each line end and tab that is to be a key, and what is between."""
        ...

    def type_line(self, text: str) -> None:
        """Enter a piece of text where the keyboard focus is; all of it, or raise."""
        ...

    def release_leftovers(self) -> None:
        """Release the keys and buttons that an earlier program left down; raises EnvError if that is impossible."""
        ...

    def release_all(self) -> None:
        """Release every button and key, wherever the pointer is."""
        ...

    def close(self) -> None:
        """Release everything and disconnect; safe to call twice."""
        ...


def load_pyautogui() -> Any:
    """Import pyautogui, which connects this process to the current display permanently.

    Raises:
        EnvError: it cannot be imported here, or it is connected to another display already.
    """
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        raise EnvError("pyautogui needs a display, but DISPLAY is not set; a virtual one is enough")
    is_imported = "pyautogui" in sys.modules or "mouseinfo" in sys.modules
    # Its mouse-position window, which we never open, ends the whole process where tkinter is not installed.
    without_window = contextlib.nullcontext() if is_imported else _hide_module("mouseinfo")
    try:
        with warnings.catch_warnings(), without_window:
            warnings.simplefilter("ignore")
            import pyautogui
    except (ImportError, AssertionError, KeyError, OSError) as error:
        raise EnvError(
            f"pyautogui cannot be used here ({type(error).__name__}: {error}). Run `agent doctor`"
        ) from error
    gui: Any = pyautogui
    display = getattr(getattr(gui, "platformModule", None), "_display", None)
    if display is not None and is_imported and not _is_alive(display):
        # The display that it was connected to has ended, as a virtual one does; it connects when it is loaded.
        display.display.socket.close()
        display = importlib.reload(gui.platformModule)._display
    if display is not None:
        wanted_display, actual_display = os.environ.get("DISPLAY", ""), display.get_display_name()
        if wanted_display != actual_display:
            raise EnvError(
                f"this process already sends its input to the display {actual_display!r} and cannot switch to "
                f"{wanted_display!r}: use one display per process, and start another process for the other one"
            )
    # Our own pace instead of 0.1 s after each call. The failsafe corner stays on, whatever a script set before.
    gui.PAUSE, gui.FAILSAFE = 0, True
    return gui


def _is_alive(display: Any) -> bool:
    """Return whether a connection to an X server still answers."""
    try:
        display.screen().root.query_pointer()
    except Exception:  # python-xlib raises TypeError and AttributeError too on a connection that is gone
        return False
    return True


@contextlib.contextmanager
def _hide_module(name: str) -> Iterator[None]:
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


class PyAutoGuiInput:
    """Input by pyautogui."""

    # pyautogui's names of the key with the system's sign on it, and of the one that adds to what is selected.
    system_key = "win"
    adding_key = "ctrl"
    reads_position = True

    def __init__(self, gui: Any) -> None:
        self._gui = gui
        self.between_events: Callable[[], object] = do_nothing
        self._held_buttons: list[Button] = []
        self._held_keys: list[str] = []

    @property
    def corners(self) -> frozenset[tuple[int, int]]:
        """The positions that pyautogui's own check takes for the user's stop."""
        return frozenset((int(x), int(y)) for x, y in self._gui.FAILSAFE_POINTS)

    @corners.setter
    def corners(self, positions: frozenset[tuple[int, int]]) -> None:
        self._gui.FAILSAFE_POINTS = list(positions)

    @contextlib.contextmanager
    def _translate_errors(self) -> Iterator[None]:
        """Translate the two errors that any call may raise: the user's emergency stop, and the loss of the display."""
        if self.is_display_lost():
            raise EnvError("the display is gone: an earlier input broke off. Start again")
        try:
            with defer_interrupts(self.break_off):
                yield
        except self._gui.FailSafeException as error:
            raise emergency_stop(self.position()) from error
        except Exception as error:
            if self.is_lost(error):
                cause = error.__context__ or error
                raise EnvError(f"the display is gone: input failed ({cause}). Start again") from error
            raise

    def break_off(self) -> None:
        """Let a call to a display that does not answer end, from another thread. Not every system needs it."""

    def is_display_lost(self) -> bool:
        """Return whether a call to the display broke off, so that no other one would return."""
        return False

    def is_lost(self, error: Exception) -> bool:
        """Return whether an error means that the display is gone."""
        return isinstance(error, OSError)

    def position(self) -> tuple[int, int]:
        """Return where the pointer is."""
        with self._translate_errors():
            x, y = self._gui.position()
        return int(x), int(y)

    def move(self, x: int, y: int) -> None:
        """Move the pointer; with a button held this drags."""
        with self._translate_errors():
            if self._held_buttons:
                # macOS wants events of their own for moves with a button down; elsewhere this is a move.
                button = self._button(self._held_buttons[-1])
                self._gui.dragTo(x, y, duration=0, button=button, mouseDownUp=False)
            else:
                self._gui.moveTo(x, y)

    def press(self, button: Button, nth: int = 1) -> None:
        """Press a button where the pointer is."""
        # Recorded first: releasing a button that is up is harmless, a button that stays down is not.
        self._held_buttons.append(button)
        with self._translate_errors():
            self._button_event(button, True, nth)

    def release(self, button: Button, nth: int = 1) -> None:
        """Release a button."""
        with self._translate_errors():
            self._button_event(button, False, nth)
        if button in self._held_buttons:
            self._held_buttons.remove(button)

    def _button(self, button: Button) -> str:
        # "left" means the main button, also where the user has swapped them.
        return str({"left": self._gui.PRIMARY, "middle": self._gui.MIDDLE, "right": self._gui.SECONDARY}[button])

    def _button_event(self, button: Button, down: bool, nth: int) -> None:
        (self._gui.mouseDown if down else self._gui.mouseUp)(button=self._button(button))

    def scroll(self, right: int, down: int) -> None:
        """Turn the wheel by notches."""
        with self._translate_errors():
            if down:
                self._gui.vscroll(-down)
            if right:
                self._gui.hscroll(right)

    def double_click_s(self) -> float:
        """Return for how many seconds after a press another one at the same place counts as a double click."""
        return 0.0

    def key_names(self, keys: Sequence[str]) -> list[str]:
        """Return the platform's names of the keys of a chord.

        Raises:
            ActionRefused: this keyboard has no such key; the message suggests the nearest names.
        """
        names = [self.canonical_name(key) for key in keys]
        for key, name in zip(keys, names, strict=True):
            if not self._gui.isValidKey(name):
                raise self.no_such_key(key)
        return names

    def canonical_name(self, key: str) -> str:
        """Return the one name of a key that has several."""
        name = key if len(key) == 1 else key.lower().replace("_", "").replace("-", "").replace(" ", "")
        own = {"ctrlorcmd": self.adding_key, **dict.fromkeys(_SYSTEM_KEY, self.system_key)}
        return own.get(name) or _SYNONYMS.get(name, name)

    def no_such_key(self, key: str) -> ActionRefused:
        """Return the error for a key that the keyboard does not have."""
        name = self.canonical_name(key)
        others = [other for other in (*self._gui.KEY_NAMES, *_SYNONYMS, *_SYSTEM_KEY) if other != name]
        near = difflib.get_close_matches(name, others, n=3)
        hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else "."
        return ActionRefused(
            f"this keyboard has no key {key!r}{hint} Keys are named one by one: ('ctrl', 's'), ('enter',)"
        )

    def key_down(self, key: str) -> None:
        """Hold a key."""
        self._held_keys.append(key)
        with self._translate_errors():
            self._key_event(key, True)
        time.sleep(KEY_PAUSE_S)

    def key_up(self, key: str) -> None:
        """Release a key."""
        with self._translate_errors():
            self._key_event(key, False)
        if key in self._held_keys:
            self._held_keys.remove(key)
        time.sleep(KEY_PAUSE_S)

    def _key_event(self, key: str, down: bool) -> None:
        (self._gui.keyDown if down else self._gui.keyUp)(key)

    def split_text(self, text: str) -> list[str]:
        """Split text into pieces: every line end and tab is a key, wherever the text came from."""
        return re.findall(r"[^\n\t]+|[\n\t]", text)

    def type_line(self, text: str) -> None:
        """Enter text where the keyboard focus is; each platform has its own way that loses no character."""
        raise NotImplementedError

    def release_leftovers(self) -> None:
        """Release the keys and buttons that a killed program left down.

        Raises:
            EnvError: one is still down: a person holds it.
        """
        deadline = time.monotonic() + FINGER_S
        while held := self._release_everything():
            if time.monotonic() > deadline:
                raise still_held(held)
            time.sleep(0.05)

    def _release_everything(self) -> list[str]:
        """Release all that is down, where the system can be asked; return the names of what is still down."""
        return []

    def release_all(self) -> None:
        """Release every button and key, even with the pointer in the failsafe corner."""
        if self.is_display_lost():
            # It holds no keys.
            return
        gui, keys, buttons = self._gui, self._held_keys[::-1], self._held_buttons[::-1]
        gui.FAILSAFE = False
        try:
            with defer_interrupts(self.break_off):
                for key in keys:
                    self._key_event(key, False)
                for button in buttons:
                    self._button_event(button, False, 1)
            self._held_keys.clear()
            self._held_buttons.clear()
        except Exception as error:
            # A lost display holds no keys.
            if not self.is_lost(error):
                raise
        finally:
            gui.FAILSAFE = True

    def close(self) -> None:
        """Release everything; pyautogui itself stays connected until the process ends."""
        self.release_all()


def do_nothing() -> None:
    """Let events follow each other."""


def still_held(names: Sequence[str]) -> EnvError:
    """Return the error for keys and buttons that stay down although they were released: a person holds them."""
    return EnvError(
        f"held down on the keyboard or mouse, and not by this program: {', '.join(names)}. Let go and start again"
    )
