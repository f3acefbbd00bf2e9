"""Which keys to press on an X server: for a character, for the key of a shortcut, for a key's name.

Two questions that differ on most keyboards: which keys *enter* a character now (with this layout, Caps Lock as it is),
and which key a *shortcut* means. Ctrl+S is the key with the S on it, whatever the key enters at the moment.
"""

from dataclasses import dataclass

import Xlib.XK

from molmo_agent.envs.desktop.x11_keys.xkb import CONTROL, LOCK, SHIFT, Keymap, Xkb, character

Xlib.XK.load_keysym_group("xf86")
Xlib.XK.load_keysym_group("xkb")
_KEYSYM_NAMES = {getattr(Xlib.XK, name): name[3:] for name in dir(Xlib.XK) if name.startswith("XK_")}

# Names of keys, as pyautogui has them -> keysyms, the first one that the keyboard has.
# fmt: off
_NAMED = {
    "enter": "Return", "esc": "Escape", "tab": "Tab", "backspace": "BackSpace", "delete": "Delete", "insert": "Insert",
    "home": "Home", "end": "End", "pageup": "Prior", "pagedown": "Next", "up": "Up", "down": "Down", "left": "Left",
    "right": "Right", "space": "space", "apps": "Menu", "printscreen": "Print", "pause": "Pause",
    "capslock": "Caps_Lock", "numlock": "Num_Lock", "scrolllock": "Scroll_Lock", "help": "Help",
    "shift": "Shift_L", "shiftleft": "Shift_L", "shiftright": "Shift_R",
    "ctrl": "Control_L", "ctrlleft": "Control_L", "ctrlright": "Control_R",
    "alt": "Alt_L Meta_L", "altleft": "Alt_L Meta_L", "altright": "Alt_R ISO_Level3_Shift",
    "win": "Super_L Meta_L Super_R", "winleft": "Super_L", "winright": "Super_R",
    "add": "KP_Add", "subtract": "KP_Subtract", "multiply": "KP_Multiply", "divide": "KP_Divide",
    "decimal": "KP_Decimal KP_Separator", **{f"num{n}": f"KP_{n}" for n in range(10)},
    **{f"f{n}": f"F{n}" for n in range(1, 25)},
    "volumeup": "XF86_AudioRaiseVolume", "volumedown": "XF86_AudioLowerVolume", "volumemute": "XF86_AudioMute",
    "playpause": "XF86_AudioPlay", "stop": "XF86_AudioStop", "nexttrack": "XF86_AudioNext",
    "prevtrack": "XF86_AudioPrev", "browserback": "XF86_Back", "browserforward": "XF86_Forward",
    "browserrefresh": "XF86_Refresh XF86_Reload", "browserhome": "XF86_HomePage", "browsersearch": "XF86_Search",
    "browserfavorites": "XF86_Favorites", "launchmail": "XF86_Mail",
}
# fmt: on

_SIDES = (("Alt", "Alt_L", "Alt_R"), ("Super", "Super_L", "Super_R"))

# Keys that make a shortcut of the other keys of a chord: then keys are meant, not characters.
COMMAND_KEYS = frozenset(
    {"ctrl", "alt", "win"} | {f"{key}{side}" for key in ("ctrl", "win") for side in ("left", "right")}
)
_SHIFT_KEYS = frozenset({"shift", "shiftleft", "shiftright"})

# Where the characters of an American keyboard are: the keycodes of all PC keyboards, row by row. For shortcuts on
# layouts without Latin letters, whose programs go by the same positions.
_AMERICAN = {
    char: first + i
    for first, row in ((10, "1234567890-="), (24, "qwertyuiop[]"), (38, "asdfghjkl;'`"), (51, "\\zxcvbnm,./"))
    for i, char in enumerate(row)
}

# Further keycodes belong to keys that only some keyboards have, such as one for a parenthesis alone.
_LAST_ORDINARY_KEY = 94


@dataclass(frozen=True, slots=True)
class Stroke:
    """A key, and the modifier keys (keycodes) to hold meanwhile."""

    keycode: int
    modifiers: tuple[int, ...] = ()


class Keyboard:
    """The keyboard as it is now: layout, active group, locks.

    Args:
        xkb: where to ask. Characters are entered with nothing but the locks active, as ``state`` lists them.
    """

    def __init__(self, xkb: Xkb) -> None:
        self.state = xkb.state()
        self._keymap: Keymap = xkb.keymap()
        shift, level3 = self._modifier_key("Shift_L", "Shift_R"), self._modifier_key("ISO_Level3_Shift")
        # The ways to choose a level of a key: modifier keys and what they add to the active modifiers.
        keys = {(): 0, (shift,): SHIFT, (level3,): self._mask(level3), (shift, level3): SHIFT | self._mask(level3)}
        self._levels = {tuple(k for k in held if k): mask for held, mask in keys.items() if all(held)}
        self._enters: dict[str, Stroke] | None = None

    def locked_commands(self) -> list[str]:
        """Return the keys that make shortcuts, and Shift, if they are locked down."""
        keys = {"Shift": SHIFT, "Ctrl": CONTROL}
        keys |= {name: self._mask(self._modifier_key(*keysyms)) for name, *keysyms in _SIDES}
        return [name for name, mask in keys.items() if self.state.locked & mask]

    def _modifier_key(self, *names: str) -> int:
        """Return a key of this name that is a modifier, 0 if there is none."""
        wanted = {Xlib.XK.string_to_keysym(name) for name in names}
        for keycode, key in sorted(self._keymap.keys.items()):
            if self._mask(keycode) and any(group and group[0] in wanted for group in key.groups):
                return keycode
        return 0

    def _mask(self, keycode: int) -> int:
        return self._keymap.modifiers.get(keycode, 0)

    def enter(self, char: str) -> Stroke | None:
        """Return what enters a character, in the active group and with the locks as they are; None if nothing does."""
        if self._enters is None:
            self._enters = self._by_character(self.state.group, self.state.locked)
        return self._enters.get(char)

    def shortcut(self, char: str) -> Stroke | None:
        """Return the key that a shortcut with this character means; None if the keyboard has none.

        The active group comes first, then the other ones: programs look there too. Caps Lock changes no shortcut.
        """
        if stroke := self._in_any_group(char):
            return stroke
        position = _AMERICAN.get(char)
        return Stroke(position) if position in self._keymap.keys else None

    def enters_anywhere(self, char: str) -> bool:
        """Return whether a key enters a character in one of the groups. Where none does, programs know no shortcut."""
        return self._in_any_group(char) is not None

    def _in_any_group(self, char: str) -> Stroke | None:
        locked = self.state.locked & ~(LOCK | SHIFT | CONTROL)
        active = self.state.group
        for group in (active, *(n for n in range(self._keymap.num_groups) if n != active)):
            if stroke := self._by_character(group, locked).get(char):
                return stroke
        return None

    def named(self, name: str) -> Stroke | None:
        """Return the key of a name; None if the keyboard has none."""
        for keysym in _NAMED.get(name, "").split():
            keycode = self._keymap.find({Xlib.XK.string_to_keysym(keysym)} - {0})
            if keycode:
                return Stroke(keycode)
        return None

    def name(self, keycode: int) -> str:
        """Return what is written on a key, for messages."""
        keysym = self._keymap.keysym(keycode, self.state.group, 0)
        return character(keysym).strip() or _KEYSYM_NAMES.get(keysym, f"key {keycode}")

    def _by_character(self, group: int, locked: int) -> dict[str, Stroke]:
        """Return the strokes of all characters: ordinary keys first, then those with the fewest modifiers."""
        strokes: dict[str, Stroke] = {}
        keycodes = sorted(self._keymap.keys)
        for is_ordinary in (True, False):
            for held, mask in self._levels.items():
                for keycode in keycodes:
                    if (keycode <= _LAST_ORDINARY_KEY) == is_ordinary:
                        keysym = self._keymap.keysym(keycode, group, locked | mask)
                        strokes.setdefault(character(keysym), Stroke(keycode, held))
        strokes.pop("", None)
        return strokes


def means_keys(keys: list[str]) -> bool:
    """Return whether a chord of these keys is a shortcut: its other keys are keys, not characters."""
    return bool(COMMAND_KEYS & set(keys)) or (bool(_SHIFT_KEYS & set(keys)) and len(keys) > 1)
