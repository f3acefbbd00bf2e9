"""Ask an X server about its keyboard by the XKB extension: the layout, the modifiers, what a person or a program holds.

The core protocol describes two groups of a layout and two levels of a key only, and names no latches or locks.
"""

import struct
from dataclasses import dataclass
from typing import Any

from Xlib.protocol import rq

from molmo_agent.errors import EnvError

SHIFT, LOCK, CONTROL = 1, 2, 4
_EXTENSION = "XKEYBOARD"
_CORE_KEYBOARD = 0x100
_KEY_TYPES, _KEY_SYMS, _MODIFIER_MAP = 1, 2, 4
# What a key does whose groups are fewer than the active one: bits 6 and 7 of its group information.
_CLAMP, _REDIRECT = 1, 2
_LATIN_1, _UNICODE = 0x100, 0x01000000
# The old keysyms of other alphabets are the characters of 8-bit encodings, in these ranges.
_OLD_KEYSYMS = {
    0x1: ("iso8859_2", 0xA1, 0xFF),
    0x2: ("iso8859_3", 0xA1, 0xFF),
    0x3: ("iso8859_4", 0xA2, 0xFF),
    0x5: ("iso8859_6", 0xAC, 0xF2),
    0x6: ("koi8_r", 0xC0, 0xFF),
    0x7: ("iso8859_7", 0xC1, 0xF9),
    0xC: ("iso8859_8", 0xE0, 0xFA),
    0xD: ("tis_620", 0xA1, 0xDA),
    0x13: ("iso8859_15", 0xBC, 0xBE),
}
# Except these.
_OTHER_KEYSYMS = {
    **dict(enumerate("ђѓёєѕіїјљњћќґўџ№ЂЃЁЄЅІЇЈЉЊЋЌҐЎЏ", start=0x6A1)),
    **{0x7D2: "Σ", 0x7D3: "", 0x7F2: "σ", 0x7F3: "ς"},
    0x20AC: "€",
}


class _Rest(rq.ValueField):
    """The undivided rest of a reply."""

    structcode = None

    def parse_binary_value(self, data: bytes, display: Any, length: Any, format: Any) -> tuple[bytes, bytes]:
        return bytes(data), b""


def _reply_request(minor: int, *fields: Any) -> type[Any]:
    """Return the class of an XKB request whose reply is given as bytes."""

    class Request(rq.ReplyRequest):
        _request = rq.Struct(rq.Card8("opcode"), rq.Opcode(minor), rq.RequestLength(), *fields)
        _reply = rq.Struct(
            rq.Pad(1), rq.Card8("device"), rq.Card16("sequence_number"), rq.Card32("length"), _Rest("rest")
        )

    return Request


_UseExtension = _reply_request(0, rq.Card16("major"), rq.Card16("minor"))
_GetState = _reply_request(4, rq.Card16("keyboard"), rq.Pad(2))
_GetMap = _reply_request(8, rq.Card16("keyboard"), rq.Card16("full"), rq.Pad(20))


class _LatchLockState(rq.Request):
    _request = rq.Struct(
        rq.Card8("opcode"),
        rq.Opcode(5),
        rq.RequestLength(),
        rq.Card16("keyboard"),
        rq.Pad(4),
        rq.Card8("affect_latches"),
        rq.Card8("latches"),
        rq.Pad(1),
        rq.Card8("latch_group"),
        rq.Int16("group_latch"),
    )


@dataclass(frozen=True, slots=True)
class State:
    """The state of the keyboard. ``mods``, ``latched`` and ``locked`` are masks; ``mods`` holds all that is active."""

    mods: int
    latched: int
    locked: int
    # From 0.
    group: int
    latched_group: int


@dataclass(frozen=True, slots=True)
class _KeyType:
    """How modifiers choose a level of a key: the level of each combination, and which modifiers stay unused there."""

    mask: int
    levels: dict[int, int]
    preserved: dict[int, int]


@dataclass(frozen=True, slots=True)
class _Key:
    """The keysyms of a key, by group and level."""

    groups: tuple[tuple[int, ...], ...]
    types: tuple[int, ...]
    out_of_range: int
    redirect: int

    def group(self, active: int) -> int:
        """Return which of its groups applies while a group is active."""
        count = len(self.groups)
        if active < count:
            return active
        if self.out_of_range & _REDIRECT:
            return self.redirect if self.redirect < count else 0
        return count - 1 if self.out_of_range & _CLAMP else active % count


class Xkb:
    """The XKB extension on one connection.

    Raises:
        EnvError: the server does not offer it.
    """

    def __init__(self, display: Any) -> None:
        self._display = display
        extension = display.query_extension(_EXTENSION)
        if extension is None:
            name = display.display.get_display_name()
            raise EnvError(f"the display {name!r} has no {_EXTENSION} extension, so its keyboard layout is unknown")
        self._opcode = extension.major_opcode
        self._ask(_UseExtension, major=1, minor=0)

    def _ask(self, request: type[Any], **values: int) -> bytes:
        rest: bytes = request(display=self._display.display, opcode=self._opcode, **values).rest
        return rest

    def state(self) -> State:
        """Return the state of the keyboard now."""
        rest = self._ask(_GetState, keyboard=_CORE_KEYBOARD)
        mods, _, latched, locked, group, _, _, latched_group = struct.unpack_from("=5B B h h", rest)
        return State(mods, latched, locked, group, latched_group)

    def clear_latches(self) -> None:
        """Undo latches: modifiers that were tapped and wait for the next key."""
        _LatchLockState(
            display=self._display.display,
            opcode=self._opcode,
            keyboard=_CORE_KEYBOARD,
            affect_latches=0xFF,
            latches=0,
            latch_group=1,
            group_latch=0,
        )

    def keymap(self) -> "Keymap":
        """Return the layout as it is now."""
        return Keymap(self._ask(_GetMap, keyboard=_CORE_KEYBOARD, full=_KEY_TYPES | _KEY_SYMS | _MODIFIER_MAP))


class Keymap:
    """A keyboard layout, read from the server's reply.

    Raises:
        EnvError: the reply is cut off, or a key has a type that is none of its types.
    """

    def __init__(self, reply: bytes) -> None:
        try:
            self._parse(reply)
        except (struct.error, IndexError) as error:
            raise EnvError(
                f"the X server's reply about its keyboard layout is damaged ({error}): start again"
            ) from error

    def _parse(self, reply: bytes) -> None:
        # The first 8 of 40 bytes are parsed already.
        num_types, first_key, num_keys, num_modifier_keys = reply[7], reply[9], reply[12], reply[25]
        self._reply, self._at = reply, 32
        self._types = [self._read_type() for _ in range(num_types)]
        self.keys = {first_key + i: self._read_key() for i in range(num_keys)}
        # Keycode -> mask.
        self.modifiers = {keycode: mask for keycode, mask in (self._read("BB") for _ in range(num_modifier_keys))}

    def _read(self, layout: str) -> tuple[int, ...]:
        values = struct.unpack_from(f"={layout}", self._reply, self._at)
        self._at += struct.calcsize(f"={layout}")
        return values

    def _read_type(self) -> _KeyType:
        mask, _, _, _, num_entries, has_preserved, _ = self._read("BBHBBBB")
        entries = [self._read("BBBBHH") for _ in range(num_entries)]
        kept = [self._read("BBH")[0] for _ in range(num_entries)] if has_preserved else [0] * num_entries
        active = [(mods, level, keep) for (on, mods, level, _, _, _), keep in zip(entries, kept, strict=True) if on]
        return _KeyType(mask, {mods: level for mods, level, _ in active}, {mods: keep for mods, _, keep in active})

    def _read_key(self) -> _Key:
        *types, info, width, num_syms = self._read("BBBBBBH")
        syms = self._read(f"{num_syms}I")
        groups = tuple(syms[i * width : (i + 1) * width] for i in range(info & 0xF))
        if any(self._types[kind : kind + 1] == [] for kind in types[: len(groups)]) or len(groups) > len(types):
            raise IndexError(f"a key has {len(groups)} groups of the types {types}, of {len(self._types)} types")
        return _Key(groups, tuple(types), info >> 6, info >> 4 & 3)

    def keysym(self, keycode: int, group: int, mods: int) -> int:
        """Return what a key gives while a group and modifiers (a mask) are active; 0 for nothing."""
        key = self.keys.get(keycode)
        if key is None or not key.groups:
            return 0
        group = key.group(group)
        kind = self._types[key.types[group]]
        used = mods & kind.mask
        level = kind.levels.get(used, 0)
        syms = key.groups[group]
        keysym = syms[level] if level < len(syms) else 0
        # Caps Lock that has not chosen the level makes a capital of what the level gives.
        lock_is_used = kind.mask & ~kind.preserved.get(used, 0) & LOCK
        if mods & LOCK and not lock_is_used:
            upper = character(keysym).upper()
            return to_keysym(upper) if len(upper) == 1 else keysym
        return keysym

    def find(self, keysyms: set[int]) -> int | None:
        """Return a key that gives one of these keysyms in any group and level; the lowest level first."""
        places = [
            (level, group, keycode)
            for keycode, key in self.keys.items()
            for group, syms in enumerate(key.groups)
            for level, keysym in enumerate(syms)
            if keysym in keysyms
        ]
        return min(places)[2] if places else None

    @property
    def num_groups(self) -> int:
        """The most groups that any key has."""
        return max((len(key.groups) for key in self.keys.values()), default=1)


def character(keysym: int) -> str:
    """Return the character that a keysym stands for, "" for none (a function key, an accent key)."""
    if 0x20 <= keysym <= 0x7E or 0xA0 <= keysym < _LATIN_1:
        return chr(keysym)
    if keysym & 0xFF000000 == _UNICODE:
        code = keysym & 0xFFFFFF
        return chr(code) if 0x20 <= code <= 0x10FFFF and not 0xD800 <= code < 0xE000 else ""
    if keysym in _OTHER_KEYSYMS:
        return _OTHER_KEYSYMS[keysym]
    encoding, first, last = _OLD_KEYSYMS.get(keysym >> 8, ("", 1, 0))
    if not first <= keysym & 0xFF <= last:
        return ""
    return bytes([keysym & 0xFF]).decode(encoding, errors="ignore")


def to_keysym(char: str) -> int:
    """Return a keysym of a character."""
    code = ord(char)
    return code if code < _LATIN_1 else _UNICODE | code
