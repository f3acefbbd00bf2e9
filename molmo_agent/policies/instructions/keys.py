"""Names of keys as people write them -> the names that actions use.

A sign is its own name: ``ctrl+.``, ``ctrl++``, ``ctrl+plus`` and ``ctrl and the plus key`` are chords.
"""

import difflib
import re
from collections.abc import Iterator

from molmo_agent.errors import UsageError

_MODIFIERS = {
    "ctrl": "ctrl",
    "control": "ctrl",
    "ctl": "ctrl",
    # As they are written on German and French keyboards.
    "strg": "ctrl",
    "umschalt": "shift",
    "maj": "shift",
    "⌃": "ctrl",
    "shift": "shift",
    "⇧": "shift",
    "alt": "alt",
    "option": "alt",
    "opt": "alt",
    "⌥": "alt",
    "altgr": "altgr",
    "alt gr": "altgr",
    "cmd": "cmd",
    "command": "cmd",
    "⌘": "cmd",
    "win": "win",
    "windows": "win",
    "super": "win",
    "meta": "win",
    "ctrl/cmd": "ctrl_or_cmd",
    "cmd/ctrl": "ctrl_or_cmd",
    "ctrl_or_cmd": "ctrl_or_cmd",
}
# Held keys that no program can press for a person: the keyboard itself handles them.
_NO_KEYS = ("fn", "hyper")
# Clear without the word "key".
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
    "back space": "backspace",
    "delete": "delete",
    "del": "delete",
    "insert": "insert",
    "home": "home",
    "end": "end",
    "page up": "pageup",
    "pageup": "pageup",
    "pgup": "pageup",
    "pg up": "pageup",
    "page down": "pagedown",
    "pagedown": "pagedown",
    "pgdn": "pagedown",
    "pgdown": "pagedown",
    "pg dn": "pagedown",
    "caps lock": "capslock",
    "capslock": "capslock",
    "num lock": "numlock",
    "numlock": "numlock",
    "scroll lock": "scrolllock",
    "scrolllock": "scrolllock",
    "print screen": "printscreen",
    "printscreen": "printscreen",
    "prtsc": "printscreen",
    "prtscn": "printscreen",
    "prt sc": "printscreen",
    **{way: way for way in ("up", "down", "left", "right")},
    **{f"{way} arrow": way for way in ("up", "down", "left", "right")},
    **{f"arrow {way}": way for way in ("up", "down", "left", "right")},
    **{f"cursor {way}": way for way in ("up", "down", "left", "right")},
    **{f"f{number}": f"f{number}" for number in range(1, 25)},
    **{f"{pad} {number}": f"num{number}" for pad in ("numpad", "keypad", "kp") for number in range(10)},
    **{f"{pad} enter": "enter" for pad in ("numpad", "keypad", "kp")},
}
# Keys beside a modifier or the word "key" only: a calculator has a button "plus", a player one called "Pause".
_WORDS_FOR_KEYS = {
    "plus": "+",
    "minus": "-",
    "hyphen": "-",
    "dash": "-",
    "period": ".",
    "dot": ".",
    "full stop": ".",
    "comma": ",",
    "semicolon": ";",
    "colon": ":",
    "slash": "/",
    "forward slash": "/",
    "backslash": "\\",
    "question mark": "?",
    "exclamation mark": "!",
    "exclamation point": "!",
    "apostrophe": "'",
    "single quote": "'",
    "quote": '"',
    "double quote": '"',
    "quotation mark": '"',
    "backtick": "`",
    "backquote": "`",
    "grave": "`",
    "tilde": "~",
    "caret": "^",
    "underscore": "_",
    "equal": "=",
    "equals": "=",
    "asterisk": "*",
    "star": "*",
    "hash": "#",
    "pound": "#",
    "number sign": "#",
    "at sign": "@",
    "ampersand": "&",
    "percent": "%",
    "dollar": "$",
    "pipe": "|",
    "vertical bar": "|",
    "less than": "<",
    "greater than": ">",
    "left bracket": "[",
    "right bracket": "]",
    "bracketleft": "[",
    "bracketright": "]",
    "left brace": "{",
    "right brace": "}",
    "left parenthesis": "(",
    "right parenthesis": ")",
    "print": "printscreen",
    "prior": "pageup",
    "next": "pagedown",
    "ins": "insert",
    "break": "pause",
    "pause": "pause",
    "menu": "menu",
    "context menu": "menu",
    "volume up": "volumeup",
    "volume down": "volumedown",
    "mute": "mute",
    "play/pause": "playpause",
    "→": "right",
    "←": "left",
    "↑": "up",
    "↓": "down",
    "⏎": "enter",
    "↵": "enter",
    "⇥": "tab",
    "⎋": "escape",
    "⌫": "backspace",
    "⌦": "delete",
}
# A letter after one of these, without a sign between them, still means keys; "Option A" and "Windows 11" do not.
_CLEAR = frozenset({"ctrl", "ctl", "control", "strg", "alt", "shift", "cmd", "command", "win", "super"})
_SYMBOLS = "⌃⇧⌥⌘"

_WORDS = "|".join(re.escape(name) for name in sorted(_MODIFIERS, key=len, reverse=True) if name not in _SYMBOLS)
_NAME = rf"(?:{_WORDS}|{'|'.join(_NO_KEYS)})(?!\w)|[{_SYMBOLS}]"
JOIN = r"\s*[+＋\-‐‑–−]\s*"
"""A pattern for what joins the keys of a chord."""

MODIFIERS = rf"(?<!\w)(?:{_WORDS})(?!\w)(?:{JOIN}(?:{_WORDS})(?!\w)){{0,4}}"
"""A pattern for modifiers, one or several: ``ctrl``, ``Ctrl + Shift``."""

_HELD = re.compile(
    rf"(?:(?P<side>left|right)\s+)?(?P<name>{_NAME})(?:\s+key)?"
    rf"(?:{JOIN}|\s+plus\s+(?=\S)|\s+and\s+|(?P<loose>\s+)|(?<=[{_SYMBOLS}])(?=\S))"
)
_CHORD = re.compile(
    r"(?:the\s+)?(?P<noun>(?:(?:keyboard\s+)?shortcut|(?:key\s*)?combination|key\s?combo|hot\s?key|keys?)\s+)?(?P<keys>.{1,60}?)"
    r"(?P<word>\s+(?:keys?|(?:keyboard\s+)?shortcut|(?:key\s*)?combination|key\s?combo|hot\s?key))?"
    r"(?P<where>\s+on\s+(?:the|your|my)\s+keyboard)?",
    re.DOTALL,
)
_LAST = re.compile(r"(?:the\s+)?(?:(?:letter|digit|number)\s+)?(.*?)(?:\s+(?:key|sign))?", re.DOTALL)
# "ctrl+,": a sign that is a key, where a comma, a semicolon or a quote would mean something else.
_SIGN = re.compile(
    rf"(?:{MODIFIERS}(?:{JOIN}|\s+and\s+)|[{_SYMBOLS}](?:{JOIN})?)(?P<after>[^\w\s{_SYMBOLS}])"
    r"|(?<!\w)the\s+(?P<before>[^\w\s])\s+key(?!\w)",
    re.IGNORECASE,
)
_CLOSING = {'"': '"', "'": "'", "`": "`", "“": "”", "‘": "’"}


def read_modifiers(text: str) -> tuple[str, ...]:
    """Return the modifiers that a phrase of the pattern :data:`MODIFIERS` names."""
    return tuple(_MODIFIERS[name] for name in re.split(JOIN, text.lower()))


def signs_that_are_keys(text: str) -> Iterator[int]:
    """Yield the positions of signs that name a key: of the comma in ``ctrl+,`` and in ``the , key``."""
    for match in _SIGN.finditer(text):
        start = match.start("after" if match["after"] else "before")
        sign, rest = text[start], text[start + 1 :]
        quotes_something = sign in _CLOSING and (rest[:1].isalnum() or rest[1:2] == _CLOSING[sign])
        if not quotes_something and not text.startswith("{{", start):
            yield start


def read_chord(text: str) -> tuple[str, ...]:
    """Return the keys that a phrase names, or an empty tuple if it names something else.

    ``ctrl+s``, ``Ctrl - Shift - T``, ``ctrl and s``, ``Enter``, ``the page down key``. A single letter, digit or sign
    counts as a key only beside a modifier or the word "key": "press 5" may well mean a button of a calculator on the
    screen.

    Raises:
        UsageError: it is a chord, but its last part names no key; the message suggests the nearest names.
    """
    match = _CHORD.fullmatch(" ".join(text.lower().split()))
    if match is None:
        return ()
    keys, is_named_key = match["keys"], bool(match["noun"] or match["word"] or match["where"])
    held, names, is_joined, position = [], [], False, 0
    while modifier := _HELD.match(keys, position):
        names.append(modifier["name"])
        held.append(_sided(modifier["side"], modifier["name"]))
        is_joined |= modifier["loose"] is None
        position = modifier.end()
    last = keys[position:]
    key = _key(last, is_named_key or bool(held))
    if not held:
        return (key,) if key else ()
    if key and not set(names) & set(_NO_KEYS):
        # "the Shift tab" is a tab.
        is_loose = not text.lower().startswith("the ") and (set(names) <= _CLEAR or last in _NAMED)
        is_chord = is_joined or is_named_key or is_loose
        return (*held, key) if is_chord else ()
    # "Alt text", "Shift-work" and "Control panel" are words; "alt+text" and "ctrl text" are chords with a mistake.
    if {"+", "＋"} & set(keys[:position]) or {"ctrl", "ctl"} & set(names) or (is_joined and len(names) > 1):
        raise UsageError(_no_such_key(text, last, names))
    return ()


def _sided(side: str | None, name: str) -> str:
    key = _MODIFIERS.get(name, name)
    return f"{key}right" if side == "right" else key


def _key(name: str, is_key: bool) -> str:
    """Return the key of a name, or an empty string; ``is_key`` means that the other words make it one."""
    name = re.sub(r"(?<=\w)[_-](?=\w)", " ", name)
    if side := re.fullmatch(rf"(?:(left|right) )?({_WORDS}|[{_SYMBOLS}])(?: ([lr]))?", name):
        return _sided("right" if side[1] == "right" or side[3] == "r" else None, side[2])
    if name in _NAMED:
        return _NAMED[name]
    match = _LAST.fullmatch(name)
    if match is None or not is_key:
        return ""
    name = match[1]
    if name in _NAMED or name in _WORDS_FOR_KEYS:
        return _NAMED.get(name) or _WORDS_FOR_KEYS[name]
    return name if len(name) == 1 and name.isprintable() and name != " " else ""


def _no_such_key(text: str, last: str, names: list[str]) -> str:
    for name in names:
        if name in _NO_KEYS:
            return f"{text!r}: no program can press the key {name!r}; name the keys that it stands for"
    if not last:
        return f"{text!r} names no key after the last sign; say for example: press ctrl+s, press ctrl++"
    near = difflib.get_close_matches(last, [*_NAMED, *_WORDS_FOR_KEYS, *_MODIFIERS], n=3)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else "."
    return (
        f"{text!r}: there is no key {last!r}{hint} Keys are named like ctrl+s, ctrl+., alt+page down. "
        f'Put a label in quotes: click "{text}"'
    )
