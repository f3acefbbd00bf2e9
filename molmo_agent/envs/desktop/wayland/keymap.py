"""Which key gives which character: the keyboard layouts of a Wayland session, read from the compositor.

A program without the keyboard focus learns the layouts, not which of them is active. So a key counts as certain only if
it gives the same in every layout.
"""

import ctypes
import os
from dataclasses import dataclass
from typing import Any

from molmo_agent.envs.desktop.wayland.wire import WaylandConnection, decode
from molmo_agent.errors import EnvError

_GET_KEYBOARD, _CAPABILITIES, _KEYMAP = 1, 0, 0
_KEYBOARD = 2
# Wayland counts keys like evdev; XKB starts 8 later.
_XKB_OFFSET = 8
# Programs that run through Xwayland cannot receive keys beyond this one.
_LAST_KEYCODE = 255
_FIRST_KEYPAD, _LAST_KEYPAD = 0xFF80, 0xFFBD
SHIFT, LEVEL3_SHIFT = 0xFFE1, 0xFE03


@dataclass(frozen=True, slots=True)
class Stroke:
    """A key and the modifiers to hold, as evdev numbers in the order in which they are pressed; the key is last."""

    keys: tuple[int, ...]


class Keymap:
    """The layouts of a keyboard.

    Args:
        text: an XKB keymap, as the compositor sends it.

    Raises:
        EnvError: libxkbcommon is missing or cannot read the keymap.
    """

    def __init__(self, text: bytes) -> None:
        xkb = _load_library()
        context = xkb.xkb_context_new(0)
        keymap = xkb.xkb_keymap_new_from_string(context, text, 1, 0)
        if not keymap:
            xkb.xkb_context_unref(context)
            raise EnvError("the keyboard layout of this session cannot be read: libxkbcommon rejects it. Update it")
        try:
            num_layouts = xkb.xkb_keymap_num_layouts(keymap)
            # Character or keysym -> stroke, for each layout.
            self._chars: list[dict[str, Stroke]] = [{} for _ in range(num_layouts)]
            self._keysyms: list[dict[int, Stroke]] = [{} for _ in range(num_layouts)]
            shift, level3 = (1 << xkb.xkb_keymap_mod_get_index(keymap, name) for name in (b"Shift", b"Mod5"))
            for layout in range(num_layouts):
                levels: dict[int, tuple[int, ...]] = {0: ()}
                # Without modifiers first: that finds the keys of the modifiers.
                self._read_layout(xkb, keymap, layout, levels)
                shift_key, level3_key = self._keysyms[layout].get(SHIFT), self._keysyms[layout].get(LEVEL3_SHIFT)
                if shift_key:
                    levels[shift] = shift_key.keys
                if level3_key:
                    levels[level3] = level3_key.keys
                if shift_key and level3_key:
                    levels[shift | level3] = shift_key.keys + level3_key.keys
                self._read_layout(xkb, keymap, layout, levels)
        finally:
            xkb.xkb_keymap_unref(keymap)
            xkb.xkb_context_unref(context)

    def _read_layout(self, xkb: Any, keymap: Any, layout: int, levels: dict[int, tuple[int, ...]]) -> None:
        """Enter what the keys of a layout give with those modifiers (mask -> keys) held."""
        keysyms, masks = ctypes.POINTER(ctypes.c_uint32)(), (ctypes.c_uint32 * 16)()
        chars, strokes = self._chars[layout], self._keysyms[layout]
        found: list[tuple[int, int, int, Stroke]] = []
        last = min(xkb.xkb_keymap_max_keycode(keymap), _LAST_KEYCODE)
        for key in range(xkb.xkb_keymap_min_keycode(keymap), last + 1):
            num_layouts = xkb.xkb_keymap_num_layouts_for_key(keymap, key)
            if not num_layouts:
                continue
            # A key with fewer layouts repeats them.
            own = layout % num_layouts
            for level in range(xkb.xkb_keymap_num_levels_for_key(keymap, key, own)):
                if xkb.xkb_keymap_key_get_syms_by_level(keymap, key, own, level, ctypes.byref(keysyms)) != 1:
                    continue
                num_masks = xkb.xkb_keymap_key_get_mods_for_level(keymap, key, own, level, masks, len(masks))
                held = next((levels[mask] for mask in masks[:num_masks] if mask in levels), None)
                if held is not None:
                    found.append((len(held), key, keysyms[0], Stroke((*held, key - _XKB_OFFSET))))
        # The fewest modifiers first: "1" without Shift, not "!" on another key with it.
        for _, _, keysym, stroke in sorted(found, key=lambda entry: entry[:2]):
            strokes.setdefault(keysym, stroke)
            code = xkb.xkb_keysym_to_utf32(keysym)
            if code and not _FIRST_KEYPAD <= keysym <= _LAST_KEYPAD:
                chars.setdefault(chr(code), stroke)

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
            keymaps.append(os.pread(descriptor, size, 0).rstrip(b"\0"))
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


def _load_library() -> Any:
    try:
        xkb = ctypes.CDLL("libxkbcommon.so.0")
    except OSError as error:
        raise EnvError(
            f"libxkbcommon, which reads keyboard layouts, cannot be loaded ({error}). Install it: "
            "apt-get install libxkbcommon0 (Fedora: dnf install libxkbcommon)"
        ) from error
    pointer = ctypes.c_void_p
    for function, arguments in (
        ("xkb_context_new", [ctypes.c_int]),
        ("xkb_keymap_new_from_string", [pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
    ):
        getattr(xkb, function).restype, getattr(xkb, function).argtypes = pointer, arguments
    for function in ("num_layouts", "min_keycode", "max_keycode", "unref"):
        getattr(xkb, f"xkb_keymap_{function}").argtypes = [pointer]
    xkb.xkb_context_unref.argtypes = [pointer]
    xkb.xkb_keymap_num_layouts_for_key.argtypes = [pointer, ctypes.c_uint32]
    xkb.xkb_keymap_num_levels_for_key.argtypes = [pointer, ctypes.c_uint32, ctypes.c_uint32]
    xkb.xkb_keymap_mod_get_index.argtypes = [pointer, ctypes.c_char_p]
    by_level: list[Any] = [pointer, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32]
    xkb.xkb_keymap_key_get_syms_by_level.argtypes = [*by_level, pointer]
    xkb.xkb_keymap_key_get_mods_for_level.argtypes = [*by_level, pointer, ctypes.c_size_t]
    xkb.xkb_keysym_to_utf32.argtypes, xkb.xkb_keysym_to_utf32.restype = [ctypes.c_uint32], ctypes.c_uint32
    return xkb
