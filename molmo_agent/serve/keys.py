"""Names of keys as other programs write them: ``ctrl+s``, ``Page_Down``, ``ARROWLEFT``, ``Control_L+c``."""

import re
from collections.abc import Sequence

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.keys import read_chord

_ARROW = re.compile(r"arrow_?(left|right|up|down)", re.IGNORECASE)
_SIDED = re.compile(r"(control|ctrl|shift|alt|meta|super|win|cmd)_?(?:l|left)", re.IGNORECASE)
# X11's names of signs.
_SIGNS = {
    "plus": "+",
    "minus": "-",
    "comma": ",",
    "period": ".",
    "slash": "/",
    "backslash": "\\",
    "semicolon": ";",
    "apostrophe": "'",
    "equal": "=",
    "grave": "`",
    "prior": "pageup",
    "next": "pagedown",
}
# Most characters of a name of keys.
MAX_LENGTH = 60


def read_keys(keys: str | Sequence[str]) -> tuple[str, ...]:
    """Return the keys of a chord under the names that actions use.

    Args:
        keys: ``ctrl+shift+t``, or its parts. A single letter or digit is that key.

    Raises:
        UsageError: it names no key.
    """
    parts = [keys] if isinstance(keys, str) else list(keys)
    if not parts or sum(map(len, parts)) > MAX_LENGTH or not all(parts):
        raise UsageError(f"expected keys such as 'ctrl+s' or 'enter', got {str(keys)[:80]!r}")
    if len(parts) == 1 and len(parts[0]) == 1:
        return (" ".join(parts).lower(),) if parts[0] != " " else ("space",)
    names = [_plain(name) for part in parts for name in _split(part)]
    chord = read_chord("+".join(names)) or read_chord(f"the {'+'.join(names)} key")
    if not chord:
        raise UsageError(f"{'+'.join(parts)!r} names no key; keys are named like 'ctrl+s', 'enter', 'page down', 'f5'")
    # "ctrl+ctrl+a" holds one key.
    return tuple(dict.fromkeys(chord))


def _split(part: str) -> list[str]:
    """Split ``ctrl+s`` at the joints; the last sign may be a plus itself."""
    if part == "+":
        return ["+"]
    head, plus, last = part.rpartition("+")
    if plus and not last:
        # "ctrl++"
        return [*filter(None, head.rstrip("+").split("+")), "+"]
    return part.split("+")


def _plain(name: str) -> str:
    if arrow := _ARROW.fullmatch(name):
        return arrow[1].lower()
    if sided := _SIDED.fullmatch(name):
        return sided[1].lower()
    return _SIGNS.get(name.lower(), name)
