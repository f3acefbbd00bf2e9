"""Names of keys as people write them, and the keysyms that Wayland uses for them."""

import difflib

from molmo_agent.errors import ActionRefused

# "_", "-" and spaces inside of a name, and its case, do not count: "Page_Up" is "pageup".
_KEYSYMS = {
    "backspace": 0xFF08,
    "tab": 0xFF09,
    "enter": 0xFF0D,
    "pause": 0xFF13,
    "scrolllock": 0xFF14,
    "esc": 0xFF1B,
    "home": 0xFF50,
    "left": 0xFF51,
    "up": 0xFF52,
    "right": 0xFF53,
    "down": 0xFF54,
    "pageup": 0xFF55,
    "pagedown": 0xFF56,
    "end": 0xFF57,
    "printscreen": 0xFF61,
    "insert": 0xFF63,
    "apps": 0xFF67,
    "numlock": 0xFF7F,
    "shift": 0xFFE1,
    "shiftleft": 0xFFE1,
    "shiftright": 0xFFE2,
    "ctrl": 0xFFE3,
    "ctrlleft": 0xFFE3,
    "ctrlright": 0xFFE4,
    "capslock": 0xFFE5,
    "alt": 0xFFE9,
    "altleft": 0xFFE9,
    "altright": 0xFFEA,
    "win": 0xFFEB,
    "winleft": 0xFFEB,
    "winright": 0xFFEC,
    "delete": 0xFFFF,
    "altgr": 0xFE03,
    **{f"f{n}": 0xFFBD + n for n in range(1, 25)},
    "volumedown": 0x1008FF11,
    "volumemute": 0x1008FF12,
    "volumeup": 0x1008FF13,
    "playpause": 0x1008FF14,
    "prevtrack": 0x1008FF16,
    "nexttrack": 0x1008FF17,
    "browserback": 0x1008FF26,
    "browserforward": 0x1008FF27,
    "browserrefresh": 0x1008FF29,
}
_SYNONYMS = {
    "return": "enter",
    "control": "ctrl",
    "controll": "ctrl",
    "controlr": "ctrlright",
    "ctrlorcmd": "ctrl",
    "escape": "esc",
    "del": "delete",
    "ins": "insert",
    "pgup": "pageup",
    "prior": "pageup",
    "pgdn": "pagedown",
    "next": "pagedown",
    "bksp": "backspace",
    "prtsc": "printscreen",
    "print": "printscreen",
    "menu": "apps",
    "contextmenu": "apps",
    "option": "alt",
    "opt": "alt",
    "altl": "alt",
    "shiftl": "shift",
    "shiftr": "shiftright",
    "windows": "win",
    "super": "win",
    "superl": "win",
    "meta": "win",
    "cmd": "win",
    "command": "win",
    **{f"arrow{way}": way for way in ("up", "down", "left", "right")},
    **{f"{way}arrow": way for way in ("up", "down", "left", "right")},
}
_CHARS = {"space": " ", "spacebar": " ", "plus": "+", "minus": "-", "comma": ",", "period": ".", "slash": "/"}


def char_keysym(char: str) -> int:
    """Return the keysym of a printable character: Latin-1 has its own, the others have their code point."""
    code = ord(char)
    return code if 0x20 <= code <= 0x7E or 0xA0 <= code <= 0xFF else 0x01000000 | code


def parse_key(key: str) -> str | int:
    """Return what a name of a key stands for: a character, or the keysym of a key without one.

    Raises:
        ActionRefused: there is no such key; the message suggests the nearest names.
    """
    if len(key) == 1:
        return key
    name = key.lower().replace("_", "").replace("-", "").replace(" ", "")
    name = _SYNONYMS.get(name, name)
    if name in _CHARS:
        return _CHARS[name]
    if name not in _KEYSYMS:
        near = difflib.get_close_matches(name, [*_KEYSYMS, *_SYNONYMS, *_CHARS], n=3)
        hint = f"; did you mean {' or '.join(repr(n) for n in near)}?" if near else ""
        raise ActionRefused(
            f"this keyboard has no key {key!r}{hint} Keys are named one by one: ('ctrl', 's'), ('enter',)"
        )
    return _KEYSYMS[name]
