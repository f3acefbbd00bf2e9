"""A keyboard of our own: the American layout with a key added for every other character that a text needs.

Compositors that take a keymap from a program use it for that program's keys alone, whatever the layout and the locks of
the user's keyboard are. So any text can be typed.
"""

from collections.abc import Iterable

from molmo_agent.envs.desktop.wayland.keys import char_keysym

# Keysym -> evdev's number of the key. Programs may go by the number, so keys are where they always are.
_CODES = {
    0xFF1B: 1,
    0xFF08: 14,
    0xFF09: 15,
    0xFF0D: 28,
    0xFFE3: 29,
    0xFFE1: 42,
    0xFFE2: 54,
    0xFFE9: 56,
    0xFFE5: 58,
    0xFF7F: 69,
    0xFF14: 70,
    0xFFE4: 97,
    0xFF61: 99,
    0xFFEA: 100,
    0xFF50: 102,
    0xFF52: 103,
    0xFF55: 104,
    0xFF51: 105,
    0xFF53: 106,
    0xFF57: 107,
    0xFF54: 108,
    0xFF56: 109,
    0xFF63: 110,
    0xFFFF: 111,
    0x1008FF12: 113,
    0x1008FF11: 114,
    0x1008FF13: 115,
    0xFF13: 119,
    0xFFEB: 125,
    0xFFEC: 126,
    0xFF67: 127,
    0x1008FF26: 158,
    0x1008FF27: 159,
    0x1008FF17: 163,
    0x1008FF14: 164,
    0x1008FF16: 165,
    0x1008FF29: 173,
    **{0xFFBD + n: 58 + n for n in range(1, 11)},
    **{0xFFC8: 87, 0xFFC9: 88},
    **{0xFFBD + n: 170 + n for n in range(13, 25)},
}
# The first key of a row, its characters without and with Shift.
_ROWS = (
    (2, "1234567890-=", "!@#$%^&*()_+"),
    (16, "qwertyuiop[]", "QWERTYUIOP{}"),
    (30, "asdfghjkl;'`", 'ASDFGHJKL:"~'),
    (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    (57, " ", " "),
)
_SHIFT = 42
_XKB_OFFSET = 8
# XKB's modifiers -> the keys that set them.
_MODIFIERS = {"Shift": (42, 54), "Lock": (58,), "Control": (29, 97), "Mod1": (56, 100), "Mod4": (125, 126)}
_LAYOUT = {
    char: (_SHIFT, first + i) if chars is upper and char != " " else (first + i,)
    for first, lower, upper in _ROWS
    for chars in (upper, lower)
    for i, char in enumerate(chars)
}
_FREE = sorted({*range(1, 248)} - {*_CODES.values()} - {keys[-1] for keys in _LAYOUT.values()})
# The characters beyond ASCII that fit at one time.
CAPACITY = len(_FREE)


class VirtualKeymap:
    """The keys of the keyboard as it is now."""

    def __init__(self) -> None:
        self._extra: dict[str, int] = {}

    def add(self, chars: Iterable[str]) -> bool:
        """Give every character a key; return whether the keymap has changed by that.

        Args:
            chars: printable characters, at most ``CAPACITY`` different ones beyond ASCII.
        """
        wanted = {char for char in chars if char not in _LAYOUT}
        assert len(wanted) <= CAPACITY
        missing = sorted(wanted - self._extra.keys())
        if not missing:
            return False
        if len(self._extra) + len(missing) > CAPACITY:
            self._extra.clear()
            missing = sorted(wanted)
        free = [code for code in _FREE if code not in self._extra.values()]
        self._extra.update(zip(missing, free, strict=False))
        return True

    def char_keys(self, char: str) -> tuple[int, ...]:
        """Return the keys that enter a character that was added or is in ASCII; the last one is the key itself."""
        return (self._extra[char],) if char in self._extra else _LAYOUT[char]

    def keysym_keys(self, keysym: int) -> tuple[int, ...] | None:
        """Return the key with a keysym that enters no character; None if there is none."""
        return (_CODES[keysym],) if keysym in _CODES else None

    def text(self) -> bytes:
        """Return the XKB keymap."""
        symbols = {code: [keysym] for keysym, code in _CODES.items()}
        for first, lower, upper in _ROWS:
            for i, pair in enumerate(zip(lower, upper, strict=True)):
                symbols[first + i] = [char_keysym(char) for char in pair]
        symbols.update((code, [char_keysym(char)]) for char, code in self._extra.items())
        codes = "".join(f"<K{code}> = {code + _XKB_OFFSET};\n" for code in sorted(symbols))
        keys = "".join(
            f"key <K{code}> {{ [ {', '.join(hex(keysym) for keysym in keysyms)} ] }};\n"
            for code, keysyms in sorted(symbols.items())
        )
        modifiers = "".join(
            f"modifier_map {name} {{ {', '.join(f'<K{code}>' for code in members)} }};\n"
            for name, members in _MODIFIERS.items()
        )
        return (
            "xkb_keymap {\n"
            f'xkb_keycodes "virtual" {{ minimum = 8; maximum = 255;\n{codes}}};\n'
            'xkb_types "virtual" { include "complete" };\n'
            'xkb_compatibility "virtual" { include "complete" };\n'
            f'xkb_symbols "virtual" {{\n{keys}{modifiers}}};\n'
            "};\n"
        ).encode()
