"""Print what the keys of an XKB keymap give, as JSON; the keymap comes on standard input. Run as a process of its own.

libxkbcommon crashes on some damaged keymaps, and would take down with it who reads them. Needs the standard library
alone, so that it starts at once. Exit codes: 0; 2, the library cannot be loaded; 3, it rejects the keymap.
"""

import ctypes
import json
import sys
from typing import Any

NO_LIBRARY, REJECTED = 2, 3
# Wayland counts keys like evdev; XKB starts 8 later.
_XKB_OFFSET = 8
# Programs that run through Xwayland cannot receive keys beyond this one.
_LAST_KEYCODE = 255
_FIRST_KEYPAD, _LAST_KEYPAD = 0xFF80, 0xFFBD
_SHIFT, _LEVEL3_SHIFT = 0xFFE1, 0xFE03
# Real keyboards have up to four layouts; the library allows 32.
_MAX_LAYOUTS = 32

Strokes = dict[int, list[int]]
"""Code -> evdev's numbers of the keys, in the order in which they are pressed."""


def read_layouts(xkb: Any, text: bytes) -> list[tuple[Strokes, Strokes]] | None:
    """Return for each layout the strokes by code point and by keysym; None if the library rejects the keymap."""
    context = xkb.xkb_context_new(0)
    keymap = xkb.xkb_keymap_new_from_string(context, text, 1, 0)
    if not keymap:
        return None
    # -1, where a keymap lacks the modifier, gives a mask that no key has.
    shift, level3 = (1 << xkb.xkb_keymap_mod_get_index(keymap, name) % 64 for name in (b"Shift", b"Mod5"))
    layouts = []
    for layout in range(min(xkb.xkb_keymap_num_layouts(keymap), _MAX_LAYOUTS)):
        chars: Strokes = {}
        keysyms: Strokes = {}
        levels: dict[int, list[int]] = {0: []}
        # Without modifiers first: that finds the keys of the modifiers.
        _read_layout(xkb, keymap, layout, levels, chars, keysyms)
        shift_key, level3_key = keysyms.get(_SHIFT), keysyms.get(_LEVEL3_SHIFT)
        if shift_key:
            levels[shift] = shift_key
        if level3_key:
            levels[level3] = level3_key
        if shift_key and level3_key:
            levels[shift | level3] = shift_key + level3_key
        _read_layout(xkb, keymap, layout, levels, chars, keysyms)
        layouts.append((chars, keysyms))
    return layouts


def _read_layout(
    xkb: Any, keymap: Any, layout: int, levels: dict[int, list[int]], chars: Strokes, strokes: Strokes
) -> None:
    """Enter what the keys of a layout give with those modifiers (mask -> keys) held."""
    keysyms, masks = ctypes.POINTER(ctypes.c_uint32)(), (ctypes.c_uint32 * 16)()
    found: list[tuple[int, int, int, list[int]]] = []
    last = min(xkb.xkb_keymap_max_keycode(keymap), _LAST_KEYCODE)
    # Evdev's numbers begin with 0.
    for key in range(max(xkb.xkb_keymap_min_keycode(keymap), _XKB_OFFSET), last + 1):
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
                found.append((len(held), key, keysyms[0], [*held, key - _XKB_OFFSET]))
    # The fewest modifiers first: "1" without Shift, not "!" on another key with it.
    for _, _, keysym, stroke in sorted(found, key=lambda entry: entry[:2]):
        strokes.setdefault(keysym, stroke)
        code = xkb.xkb_keysym_to_utf32(keysym)
        if code and not _FIRST_KEYPAD <= keysym <= _LAST_KEYPAD:
            chars.setdefault(code, stroke)


def load_library() -> Any:
    """Load libxkbcommon; OSError if it is not there."""
    xkb = ctypes.CDLL("libxkbcommon.so.0")
    pointer = ctypes.c_void_p
    for function, arguments in (
        ("xkb_context_new", [ctypes.c_int]),
        ("xkb_keymap_new_from_string", [pointer, ctypes.c_char_p, ctypes.c_int, ctypes.c_int]),
    ):
        getattr(xkb, function).restype, getattr(xkb, function).argtypes = pointer, arguments
    for function in ("num_layouts", "min_keycode", "max_keycode"):
        getattr(xkb, f"xkb_keymap_{function}").argtypes = [pointer]
    xkb.xkb_keymap_num_layouts_for_key.argtypes = [pointer, ctypes.c_uint32]
    xkb.xkb_keymap_num_levels_for_key.argtypes = [pointer, ctypes.c_uint32, ctypes.c_uint32]
    xkb.xkb_keymap_mod_get_index.argtypes = [pointer, ctypes.c_char_p]
    by_level: list[Any] = [pointer, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32]
    xkb.xkb_keymap_key_get_syms_by_level.argtypes = [*by_level, pointer]
    xkb.xkb_keymap_key_get_mods_for_level.argtypes = [*by_level, pointer, ctypes.c_size_t]
    xkb.xkb_keysym_to_utf32.argtypes, xkb.xkb_keysym_to_utf32.restype = [ctypes.c_uint32], ctypes.c_uint32
    return xkb


def main() -> int:
    """Read, print, and return the exit code."""
    try:
        xkb = load_library()
    except OSError as error:
        print(error, file=sys.stderr)
        return NO_LIBRARY
    layouts = read_layouts(xkb, sys.stdin.buffer.read())
    if layouts is None:
        return REJECTED
    print(json.dumps([[list(chars.items()), list(keysyms.items())] for chars, keysyms in layouts]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
