"""Terminals on X11, by the classes of their windows: they paste with Shift+Insert, and no key selects a field there.

Most have "term" in their names; the others are listed. Fields of other programs take Shift+Insert, too, so a program
that only sounds like a terminal gets its text all the same.
"""

import re

# In lower case.
# fmt: off
_OTHERS = frozenset({
    "alacritty", "blackbox", "com.mitchellh.ghostty", "com.raggesilver.blackbox", "contour", "dev.warp.warp", "evilvte",
    "foot", "ghostty", "guake", "havoc", "hyper", "kgx", "kitty", "konsole", "mrxvt", "org.gnome.console",
    "org.gnome.ptyxis", "org.kde.konsole", "ptyxis", "putty", "rio", "rxvt", "sakura", "st", "st-256color", "tabby",
    "terminator", "terminology", "termit", "termite", "tilda", "tilix", "tym", "urxvt", "warp", "yakuake", "zutty",
})
# fmt: on
_TERM = re.compile(r"(?:^|[._-])[a-z]*term(?:inal)?(?:$|[._+\d-])")


def is_terminal(name: str) -> bool:
    """Return whether a window class, in lower case, is that of a terminal."""
    return name in _OTHERS or _TERM.search(name) is not None
