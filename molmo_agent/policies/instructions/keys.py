"""Names of keys as people write them -> the names that actions use."""

import re

_MODIFIERS = {
    "ctrl": "ctrl",
    "control": "ctrl",
    "shift": "shift",
    "alt": "alt",
    "option": "alt",
    "cmd": "cmd",
    "command": "cmd",
    "win": "win",
    "windows": "win",
    "super": "win",
    "meta": "win",
}
_NAMED = {
    "enter": "enter",
    "return": "enter",
    "tab": "tab",
    "escape": "escape",
    "esc": "escape",
    "space": "space",
    "spacebar": "space",
    "space bar": "space",
    "backspace": "backspace",
    "delete": "delete",
    "del": "delete",
    "insert": "insert",
    "home": "home",
    "end": "end",
    "page up": "pageup",
    "pageup": "pageup",
    "pgup": "pageup",
    "page down": "pagedown",
    "pagedown": "pagedown",
    "pgdn": "pagedown",
    "caps lock": "capslock",
    "print screen": "printscreen",
    **{way: way for way in ("up", "down", "left", "right")},
    **{f"{way} arrow": way for way in ("up", "down", "left", "right")},
    **{f"arrow {way}": way for way in ("up", "down", "left", "right")},
    **{f"f{number}": f"f{number}" for number in range(1, 25)},
}

MODIFIERS = rf"(?:{'|'.join(_MODIFIERS)})(?:\s*[+-]\s*(?:{'|'.join(_MODIFIERS)}))*"
"""A pattern for modifiers, one or several: ``ctrl``, ``Ctrl + Shift``."""


def read_modifiers(text: str) -> tuple[str, ...]:
    """Return the modifiers that a phrase of the pattern :data:`MODIFIERS` names."""
    return tuple(_MODIFIERS[name] for name in re.split(r"\s*[+-]\s*", text.lower()))


def read_chord(text: str) -> tuple[str, ...]:
    """Return the keys that a phrase names, or an empty tuple if it names something else.

    ``ctrl+s``, ``Ctrl - Shift - T``, ``Enter``, ``the page down key``. A single letter or digit counts as a key only
    beside a modifier or the word "key": "press 5" may well mean a button of a calculator on the screen.
    """
    words = re.fullmatch(r"(?:the\s+)?(.{1,40}?)(\s+keys?)?", text.strip().lower())
    if words is None:
        return ()
    phrase, has_key_word = " ".join(words[1].split()), bool(words[2])
    if phrase in _NAMED:
        return (_NAMED[phrase],)
    if phrase in _MODIFIERS:
        return (_MODIFIERS[phrase],)
    *held, last = re.split(r"(?<=[^\s+-])\s*[+-]\s*", phrase)
    modifiers = tuple(_MODIFIERS[key] for key in held if key in _MODIFIERS)
    if len(modifiers) != len(held) or not (held or has_key_word):
        return ()
    if last in _NAMED:
        return (*modifiers, _NAMED[last])
    return (*modifiers, last) if len(last) == 1 and last.isprintable() and last != " " else ()
