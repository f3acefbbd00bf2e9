"""Keys and chords that only move, select, edit or show something; any other may close, delete, send or run."""

_NAMES = {
    "control": "ctrl",
    "ctl": "ctrl",
    "ctrl_or_cmd": "ctrl",
    "command": "cmd",
    "super": "win",
    "windows": "win",
    "meta": "win",
    "option": "alt",
    "return": "enter",
    "esc": "escape",
    "del": "delete",
    "pgup": "pageup",
    "page_up": "pageup",
    "pgdn": "pagedown",
    "pgdown": "pagedown",
    "page_down": "pagedown",
    "plus": "+",
    "minus": "-",
    "=": "+",
    "arrowup": "up",
    "arrowdown": "down",
    "arrowleft": "left",
    "arrowright": "right",
}
_ARROWS = ("up", "down", "left", "right", "home", "end", "pageup", "pagedown")
_HARMLESS = frozenset(
    frozenset(chord.split("+") if chord[-1] != "+" else [*chord[:-2].split("+"), "+"])
    for chord in (
        *_ARROWS,
        *(
            f"{held}+{arrow}"
            for arrow in _ARROWS
            for held in ("ctrl", "shift", "ctrl+shift", "cmd", "cmd+shift", "win")
        ),
        *("alt+left", "alt+right", "alt+up", "alt+down", "alt+home"),
        *[
            "tab",
            "shift+tab",
            "escape",
            "backspace",
            "ctrl+backspace",
            "alt+backspace",
            "insert",
            "f1",
            "f2",
            "f3",
            "shift+f3",
            "f5",
            "f6",
            "f11",
            "f12",
        ],
        *[
            "capslock",
            "numlock",
            "scrolllock",
            "printscreen",
            "volumeup",
            "volumedown",
            "volumemute",
            "mute",
            "playpause",
        ],
        *[
            "alt",
            "win",
            "menu",
            "ctrl",
            "shift",
            "alt+tab",
            "alt+shift+tab",
            "ctrl+tab",
            "ctrl+shift+tab",
            "cmd+tab",
            "win+tab",
        ],
        *(
            f"{held}+{key}"
            for held in ("ctrl", "cmd")
            for key in [
                "a",
                "b",
                "c",
                "f",
                "g",
                "i",
                "l",
                "n",
                "o",
                "r",
                "s",
                "t",
                "u",
                "v",
                "x",
                "y",
                "z",
                "+",
                "-",
                "0",
            ]
        ),
        *(f"{held}+{number}" for held in ("ctrl", "cmd", "alt") for number in range(1, 10)),
        *(f"{held}+shift+{key}" for held in ("ctrl", "cmd") for key in ["z", "t", "f", "g", "s", "+"]),
        *(f"{held}+pageup" for held in ("ctrl",)),
        *[
            "ctrl+e",
            "ctrl+p",
            "cmd+p",
            "ctrl+h",
            "cmd+space",
            "win+d",
            "win+e",
            "win+s",
            "cmd+,",
            "ctrl+,",
            "ctrl+pagedown",
        ],
        *(f"{number}" for number in range(10)),
        *(f"num{number}" for number in range(10)),
        *["+", "-", "*", "/", ".", ",", "%", "(", ")"],
    )
)
_ENTER = frozenset({"enter", "space"})
# Unlike others, these are known to do harm; the reason given to a person says what.
_HARMFUL = {
    frozenset(chord.split("+")): what
    for what, chords in {
        "can close a window or program": "alt+f4 ctrl+f4 ctrl+w ctrl+q ctrl+shift+w ctrl+shift+q cmd+w cmd+q "
        "cmd+shift+w win+q",
        "can delete something": "delete shift+delete ctrl+delete ctrl+shift+delete ctrl+d cmd+delete cmd+backspace "
        "cmd+shift+backspace ctrl+shift+backspace f8 cmd+alt+backspace",
        "can send or run something": "ctrl+enter cmd+enter alt+enter shift+enter ctrl+shift+enter alt+s win+r",
        "can lock the screen or end the session": "ctrl+alt+delete win+l ctrl+alt+l ctrl+alt+backspace "
        "cmd+shift+q cmd+ctrl+q ctrl+cmd+q power sleep ctrl+alt+f1 ctrl+alt+f2",
        "can stop or start programs": "ctrl+shift+escape cmd+alt+escape alt+f2 ctrl+alt+t",
    }.items()
    for chord in chords.split()
}


def _normal(keys: tuple[str, ...]) -> frozenset[str]:
    return frozenset(_NAMES.get(key.lower(), key.lower()) for key in keys)


def activates(keys: tuple[str, ...]) -> bool:
    """Return whether a key alone presses what has the focus: Enter and Space."""
    chord = _normal(keys)
    return len(chord) == 1 and chord <= _ENTER


def danger_of_chord(keys: tuple[str, ...]) -> str:
    """Return what makes pressing keys together risky, or an empty string; Enter and Space depend on the screen."""
    chord, written = _normal(keys), "+".join(keys)
    if chord in _HARMFUL:
        return f"{written} {_HARMFUL[chord]}"
    if chord in _HARMLESS or activates(keys):
        return ""
    return f"what {written} does is not known"
