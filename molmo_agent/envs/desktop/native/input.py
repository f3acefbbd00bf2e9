"""Input on macOS and Windows: pyautogui, except for what it gets wrong there, which uses the system's own interface.

macOS: pyautogui's double clicks are two single clicks, its keys assume the American layout, its sideways wheel turns in
one direction only. Windows: its wheel counts in 120ths of a notch and never turns sideways, and its keys are limited to
the current code page. Windows' own interface presses physical buttons, which the user may have swapped.
Text goes as Unicode events on both: independent of the layout, and without touching the clipboard.
"""

import ctypes
import importlib
import sys
import time
from typing import Any

from molmo_agent.actions import Button
from molmo_agent.envs.desktop.input import PyAutoGuiInput
from molmo_agent.errors import EnvError

# The virtual key codes of macOS.
_NUM_MAC_KEYS = 128
# macOS counts the wheel in lines; a notch of a mouse wheel scrolls three of them elsewhere.
_LINES_PER_NOTCH = 3
_PAUSE_S = 0.005


class MacInput(PyAutoGuiInput):
    """Pointer and keyboard of macOS, by Quartz where pyautogui falls short."""

    system_key = adding_key = "command"

    def __init__(self, gui: Any, quartz: Any = None) -> None:
        super().__init__(gui)
        # pyobjc, which pyautogui needs on macOS.
        self._quartz = quartz or importlib.import_module("Quartz")

    def _button_event(self, button: Button, down: bool, nth: int) -> None:
        quartz, gui = self._quartz, self._gui
        gui.failSafeCheck()
        number, name = {
            gui.LEFT: (quartz.kCGMouseButtonLeft, "Left"),
            gui.MIDDLE: (quartz.kCGMouseButtonCenter, "Other"),
            gui.RIGHT: (quartz.kCGMouseButtonRight, "Right"),
        }[gui.LEFT if button == "left" else gui.RIGHT if button == "right" else gui.MIDDLE]
        kind = getattr(quartz, f"kCGEvent{name}Mouse{'Down' if down else 'Up'}")
        event = quartz.CGEventCreateMouseEvent(None, kind, self.position(), number)
        # Programs go by this number, not by the time between clicks.
        quartz.CGEventSetIntegerValueField(event, quartz.kCGMouseEventClickState, nth)
        quartz.CGEventPost(quartz.kCGHIDEventTap, event)
        time.sleep(_PAUSE_S)

    def _release_everything(self) -> list[str]:
        """Release all that is down, and return what is still down."""
        quartz, session = self._quartz, self._quartz.kCGEventSourceStateCombinedSessionState
        buttons = {0: ("Left", quartz.kCGMouseButtonLeft), 1: ("Right", quartz.kCGMouseButtonRight), 2: ("Other", 2)}

        def down_keys() -> list[int]:
            return [code for code in range(_NUM_MAC_KEYS) if quartz.CGEventSourceKeyState(session, code)]

        def down_buttons() -> list[int]:
            return [number for number in buttons if quartz.CGEventSourceButtonState(session, number)]

        with self._translate_errors():
            for code in down_keys():
                quartz.CGEventPost(quartz.kCGHIDEventTap, quartz.CGEventCreateKeyboardEvent(None, code, False))
            for number in down_buttons():
                name, button = buttons[number]
                kind = getattr(quartz, f"kCGEvent{name}MouseUp")
                event = quartz.CGEventCreateMouseEvent(None, kind, self.position(), button)
                quartz.CGEventPost(quartz.kCGHIDEventTap, event)
            time.sleep(_PAUSE_S)
            return [f"key {code}" for code in down_keys()] + [f"mouse button {n}" for n in down_buttons()]

    def scroll(self, right: int, down: int) -> None:
        """Turn the wheel by notches."""
        quartz = self._quartz
        with self._translate_errors():
            for _ in range(max(abs(right), abs(down))):
                self._gui.failSafeCheck()
                # Positive is up and left. One event per notch: the system answers larger numbers with acceleration.
                lines = [-_LINES_PER_NOTCH * (n > 0) + _LINES_PER_NOTCH * (n < 0) for n in (down, right)]
                event = quartz.CGEventCreateScrollWheelEvent(None, quartz.kCGScrollEventUnitLine, 2, *lines)
                quartz.CGEventPost(quartz.kCGHIDEventTap, event)
                right -= (right > 0) - (right < 0)
                self.between_events()
                down -= (down > 0) - (down < 0)
                time.sleep(_PAUSE_S)

    def type_line(self, text: str) -> None:
        """Enter text as Unicode events, one character each."""
        quartz = self._quartz
        with self._translate_errors():
            for char in text:
                self.between_events()
                self._gui.failSafeCheck()
                for down in (True, False):
                    event = quartz.CGEventCreateKeyboardEvent(None, 0, down)
                    # Counted in UTF-16 units, two for an emoji.
                    quartz.CGEventKeyboardSetUnicodeString(event, len(char.encode("utf-16-le")) // 2, char)
                    quartz.CGEventPost(quartz.kCGHIDEventTap, event)
                time.sleep(_PAUSE_S)


# The part of Windows' INPUT structure that keyboard and mouse events need; the layout is the system's.
class _KeyboardInput(ctypes.Structure):
    _fields_ = (
        ("wVk", ctypes.c_ushort),
        ("wScan", ctypes.c_ushort),
        ("dwFlags", ctypes.c_uint32),
        ("time", ctypes.c_uint32),
        ("dwExtraInfo", ctypes.c_size_t),
    )


class _MouseInput(ctypes.Structure):
    _fields_ = (
        ("dx", ctypes.c_int32),
        ("dy", ctypes.c_int32),
        ("mouseData", ctypes.c_uint32),
        ("dwFlags", ctypes.c_uint32),
        ("time", ctypes.c_uint32),
        ("dwExtraInfo", ctypes.c_size_t),
    )


class _Event(ctypes.Union):
    _fields_ = (("mouse", _MouseInput), ("keyboard", _KeyboardInput))


class WindowsEvent(ctypes.Structure):
    """Windows' INPUT."""

    _fields_ = (("type", ctypes.c_uint32), ("event", _Event))


_MOUSE, _KEYBOARD = 0, 1
_EXTENDED, _KEY_UP, _UNICODE = 0x0001, 0x0002, 0x0004
_WHEEL, _SIDE_WHEEL, _NOTCH = 0x0800, 0x1000, 120
# Physical button -> (its key code, the flag that presses it, the flag that releases it).
_BUTTONS = {"left": (0x01, 0x0002, 0x0004), "right": (0x02, 0x0008, 0x0010), "middle": (0x04, 0x0020, 0x0040)}
# The extra buttons: key code -> the number in an event.
_EXTRA_BUTTONS, _EXTRA_UP = {0x05: 1, 0x06: 2}, 0x0100
_ARE_BUTTONS_SWAPPED = 23
# Key codes from here on are keys; below are buttons.
_FIRST_KEY, _LAST_KEY = 0x08, 0xFE
# Page keys, arrows, Insert, Delete, system keys, divide, Num Lock, right Ctrl and right Alt: those that were added
# to the first keyboard need a flag.
_EXTENDED_KEYS = frozenset({*range(0x21, 0x29), 0x2D, 0x2E, 0x5B, 0x5C, 0x5D, 0x6F, 0x90, 0xA3, 0xA5})
_IS_DOWN = 0x8000


def _mouse_event(flags: int, data: int = 0) -> WindowsEvent:
    return WindowsEvent(_MOUSE, _Event(mouse=_MouseInput(mouseData=data & 0xFFFFFFFF, dwFlags=flags)))


def _key_event(**values: int) -> WindowsEvent:
    return WindowsEvent(_KEYBOARD, _Event(keyboard=_KeyboardInput(**values)))


class WindowsInput(PyAutoGuiInput):
    """Pointer and keyboard of Windows, by SendInput where pyautogui falls short."""

    def __init__(self, gui: Any, user32: Any = None) -> None:
        super().__init__(gui)
        self._user32 = user32 or importlib.import_module("ctypes").windll.user32

    def _send(self, events: list[WindowsEvent]) -> None:
        self._gui.failSafeCheck()
        block = (WindowsEvent * len(events))(*events)
        num_sent = self._user32.SendInput(len(events), block, ctypes.sizeof(WindowsEvent))
        if num_sent != len(events):
            raise EnvError(
                "Windows refused the input: the window in front probably runs as administrator. "
                "Run this program as administrator too, or use another window"
            )

    def _button_event(self, button: Button, down: bool, nth: int) -> None:
        other = {"left": "right", "right": "left", "middle": "middle"}
        physical = other[button] if self._user32.GetSystemMetrics(_ARE_BUTTONS_SWAPPED) else button
        _, press, release = _BUTTONS[physical]
        self._send([_mouse_event(press if down else release)])

    def double_click_s(self) -> float:
        """Return the user's setting."""
        return float(self._user32.GetDoubleClickTime()) / 1000

    def _release_everything(self) -> list[str]:
        """Release all that is down, and return the names of what is still down."""
        with self._translate_errors():
            held = self._down_codes()
            events = [_mouse_event(release) for code, _, release in _BUTTONS.values() if code in held]
            events += [_mouse_event(_EXTRA_UP, number) for code, number in _EXTRA_BUTTONS.items() if code in held]
            events += [
                _key_event(wVk=code, dwFlags=_KEY_UP | (_EXTENDED if code in _EXTENDED_KEYS else 0))
                for code in held
                if code >= _FIRST_KEY
            ]
            if events:
                self._send(events)
                time.sleep(_PAUSE_S)
            still = self._down_codes()
            return [f"key {code:#04x}" if code >= _FIRST_KEY else "a mouse button" for code in still]

    def _down_codes(self) -> list[int]:
        codes = [*(code for code, _, _ in _BUTTONS.values()), *_EXTRA_BUTTONS, *range(_FIRST_KEY, _LAST_KEY + 1)]
        return [code for code in codes if self._user32.GetAsyncKeyState(code) & _IS_DOWN]

    def scroll(self, right: int, down: int) -> None:
        """Turn the wheel by notches."""
        with self._translate_errors():
            for notches, wheel in ((-down, _WHEEL), (right, _SIDE_WHEEL)):
                for _ in range(abs(notches)):
                    amount = _NOTCH if notches > 0 else -_NOTCH
                    self._send([_mouse_event(wheel, amount)])
                    time.sleep(_PAUSE_S)
                    self.between_events()

    def type_line(self, text: str) -> None:
        """Enter text as Unicode events, one UTF-16 unit each."""
        with self._translate_errors():
            for char in text:
                self.between_events()
                units = memoryview(char.encode("utf-16-le")).cast("H")
                events = [_key_event(wScan=unit, dwFlags=_UNICODE | up) for unit in units for up in (0, _KEY_UP)]
                self._send(events)
                time.sleep(_PAUSE_S)


def check_permissions(platform: str = sys.platform) -> None:
    """Ask macOS whether we may record the screen and send input; elsewhere there is nothing to ask.

    Raises:
        EnvError: a permission is missing; the message names the setting that grants it.
    """
    if platform != "darwin":
        return
    frameworks = "/System/Library/Frameworks/{0}.framework/{0}"
    graphics = ctypes.CDLL(frameworks.format("CoreGraphics"))
    services = ctypes.CDLL(frameworks.format("ApplicationServices"))
    # The question about the screen came with macOS 10.15, as did the permission.
    may_record = getattr(graphics, "CGPreflightScreenCaptureAccess", None)
    for is_allowed, pane, what in (
        (may_record, "Screen & System Audio Recording", "captures would show the wallpaper only"),
        (services.AXIsProcessTrusted, "Accessibility", "clicks and keys would be dropped"),
    ):
        if is_allowed is None:
            continue
        is_allowed.restype = ctypes.c_bool
        if not is_allowed():
            raise EnvError(
                f"macOS does not allow this program {pane!r}, so {what}: in System Settings > Privacy & Security "
                f"> {pane} switch on the terminal (or editor) that you start it from, and restart that"
            )
