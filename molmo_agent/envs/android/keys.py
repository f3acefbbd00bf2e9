"""Names of keys as actions use them -> Android's own names of keys."""

import difflib

from molmo_agent.errors import ActionRefused

_NAMES = {
    "enter": "ENTER",
    "return": "ENTER",
    "tab": "TAB",
    "space": "SPACE",
    "escape": "ESCAPE",
    "esc": "ESCAPE",
    "backspace": "DEL",
    "delete": "FORWARD_DEL",
    "insert": "INSERT",
    # Beginning and end of a line; the home screen is an action of its own.
    "home": "MOVE_HOME",
    "end": "MOVE_END",
    "pageup": "PAGE_UP",
    "pagedown": "PAGE_DOWN",
    "up": "DPAD_UP",
    "down": "DPAD_DOWN",
    "left": "DPAD_LEFT",
    "right": "DPAD_RIGHT",
    "ctrl": "CTRL_LEFT",
    "shift": "SHIFT_LEFT",
    "alt": "ALT_LEFT",
    "win": "META_LEFT",
    "cmd": "META_LEFT",
    "capslock": "CAPS_LOCK",
    "search": "SEARCH",
    "menu": "MENU",
    "recents": "APP_SWITCH",
    "volumeup": "VOLUME_UP",
    "volumedown": "VOLUME_DOWN",
    "mute": "VOLUME_MUTE",
    "playpause": "MEDIA_PLAY_PAUSE",
    "camera": "CAMERA",
    ",": "COMMA",
    ".": "PERIOD",
    "-": "MINUS",
    "=": "EQUALS",
    "/": "SLASH",
    "\\": "BACKSLASH",
    ";": "SEMICOLON",
    "'": "APOSTROPHE",
    "`": "GRAVE",
    "[": "LEFT_BRACKET",
    "]": "RIGHT_BRACKET",
    "@": "AT",
    "+": "PLUS",
    "*": "STAR",
    "#": "POUND",
    **{f"f{number}": f"F{number}" for number in range(1, 13)},
}


def keycode(key: str) -> str:
    """Return Android's name of a key: "KEYCODE_ENTER".

    Raises:
        ActionRefused: a phone has no such key; the message suggests the nearest names.
    """
    name = key if len(key) == 1 else key.lower().replace("_", "").replace("-", "").replace(" ", "")
    if name in _NAMES:
        return f"KEYCODE_{_NAMES[name]}"
    if len(name) == 1 and name.isascii() and name.isalnum():
        return f"KEYCODE_{name.upper()}"
    near = difflib.get_close_matches(name, _NAMES, n=3)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ActionRefused(f"a phone has no key {key!r}{hint} Keys are named one by one: ('enter',), ('ctrl', 'a')")
