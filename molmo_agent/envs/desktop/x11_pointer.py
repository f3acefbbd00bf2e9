"""The mouse of an X server: which physical button to press for a logical one, and how fast a double click is."""

import struct
from typing import Any

import Xlib.error
import Xlib.X
from Xlib.protocol import rq

# The device that XTEST input comes from; servers since X.Org 1.7 create it under this number.
_XTEST_POINTER = 4
_INPUT_EXTENSION = "XInputExtension"
_DOUBLE_CLICK = "Net/DoubleClickTime"
_INTEGER, _STRING, _COLOR = 0, 1, 2


class _GetDeviceButtonMapping(rq.ReplyRequest):
    _request = rq.Struct(rq.Card8("opcode"), rq.Opcode(28), rq.RequestLength(), rq.Card8("device"), rq.Pad(3))
    _reply = rq.Struct(
        rq.Pad(2),
        rq.Card16("sequence_number"),
        rq.Card32("length"),
        rq.LengthOf("map", 1),
        rq.Pad(23),
        rq.List("map", rq.Card8Obj),
    )


def physical_button(display: Any, logical: int) -> int | None:
    """Return the button to press so that programs see ``logical`` (1 left, 2 middle, 3 right, 4-7 wheel).

    A press goes through two maps: that of the device, then that of the pointer. People swap buttons in either.
    None: no button is mapped to it.
    """
    pointer_map = list(display.get_pointer_mapping())
    device_map = _device_map(display) or list(range(1, len(pointer_map) + 1))
    for physical, through in enumerate(device_map, start=1):
        # 0 disables a button.
        if through and (pointer_map[through - 1] if through <= len(pointer_map) else through) == logical:
            return physical
    return None


def _device_map(display: Any) -> list[int]:
    extension = display.query_extension(_INPUT_EXTENSION)
    if extension is None:
        return []
    try:
        reply = _GetDeviceButtonMapping(display=display.display, opcode=extension.major_opcode, device=_XTEST_POINTER)
    except Xlib.error.XError:
        # No such device: an older server, on which presses go through the pointer's map alone.
        return []
    return list(reply.map)


def double_click_s(display: Any) -> float | None:
    """Return the longest time between the clicks of a double click, as the desktop's settings say; None: unknown."""
    owner = display.get_selection_owner(display.intern_atom(f"_XSETTINGS_S{display.get_default_screen()}"))
    if owner == Xlib.X.NONE:
        return None
    try:
        # In one piece: python-xlib joins no pieces of binary data.
        settings = owner.get_property(display.intern_atom("_XSETTINGS_SETTINGS"), Xlib.X.AnyPropertyType, 0, 1 << 20)
    except Xlib.error.BadWindow:
        return None
    # It decodes what happens to be UTF-8.
    data = settings.value if settings else b""
    milliseconds = parse_xsettings(data.encode() if isinstance(data, str) else bytes(data)).get(_DOUBLE_CLICK)
    return milliseconds / 1000 if isinstance(milliseconds, int) else None


def parse_xsettings(data: bytes) -> dict[str, int | bytes]:
    """Return the numbers and texts among the settings that a desktop announces to its programs."""
    settings: dict[str, int | bytes] = {}
    order = ">" if data[:1] == b"\x01" else "<"
    at = 12
    try:
        (count,) = struct.unpack_from(f"{order}I", data, 8)
        for _ in range(count):
            kind, name_length = struct.unpack_from(f"{order}BxH", data, at)
            name = data[at + 4 : at + 4 + name_length].decode(errors="replace")
            # After the name, padded to 4 bytes, comes a serial number.
            at += 4 + _padded(name_length) + 4
            if kind == _STRING:
                (length,) = struct.unpack_from(f"{order}I", data, at)
                settings[name] = data[at + 4 : at + 4 + length]
                at += 4 + _padded(length)
            elif kind == _INTEGER:
                (settings[name],) = struct.unpack_from(f"{order}i", data, at)
                at += 4
            elif kind == _COLOR:
                at += 8
            else:
                break
    except struct.error:
        # Cut off: what came before is valid.
        pass
    return settings


def _padded(length: int) -> int:
    return (length + 3) // 4 * 4
