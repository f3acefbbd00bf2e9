"""Names of elements on macOS, from its accessibility interface.

Written to the system's documentation and tested with a stand-in for its libraries; not run on macOS. The permission
that it takes is the one that input takes.
"""

import ctypes
import time
from collections.abc import Sequence
from typing import Any

from molmo_agent.envs.desktop.accessibility.names import LIMIT_S, Place, shortened
from molmo_agent.episode import ElementRole, ScreenElement

_ROLES: dict[str, ElementRole] = {
    "AXButton": "button",
    "AXMenuButton": "button",
    "AXCheckBox": "check box",
    "AXRadioButton": "check box",
    "AXSwitch": "check box",
    "AXTextField": "field",
    "AXTextArea": "field",
    "AXSlider": "field",
    "AXPopUpButton": "menu",
    "AXComboBox": "menu",
    "AXMenuBarItem": "menu",
    "AXTab": "tab",
    "AXLink": "text",
    "AXMenuItem": "text",
    "AXCell": "text",
    "AXRow": "text",
}
_LABELS = ("AXImage", "AXStaticText")
_UTF8 = 0x08000100
_LONGEST, _DEEPEST = 1024, 40
_FRAMEWORK = "/System/Library/Frameworks/{0}.framework/{0}"


class Attributes:
    """Reads attributes of accessible elements by the system's C libraries.

    Args:
        services: the library ApplicationServices; None: the real one.
        foundation: the library CoreFoundation; None: the real one.
    """

    def __init__(self, services: Any = None, foundation: Any = None) -> None:
        self._services = services or ctypes.CDLL(_FRAMEWORK.format("ApplicationServices"))
        self._foundation = foundation or ctypes.CDLL(_FRAMEWORK.format("CoreFoundation"))
        pointer, floats = ctypes.c_void_p, ctypes.c_float
        for library, name, result, arguments in (
            (self._services, "AXUIElementCreateSystemWide", pointer, ()),
            (self._services, "AXUIElementSetMessagingTimeout", ctypes.c_int32, (pointer, floats)),
            (self._services, "AXUIElementCopyElementAtPosition", ctypes.c_int32, (pointer, floats, floats, pointer)),
            (self._services, "AXUIElementCopyAttributeValue", ctypes.c_int32, (pointer, pointer, pointer)),
            (self._foundation, "CFStringCreateWithCString", pointer, (pointer, ctypes.c_char_p, ctypes.c_uint32)),
            (
                self._foundation,
                "CFStringGetCString",
                ctypes.c_bool,
                (pointer, ctypes.c_char_p, ctypes.c_long, ctypes.c_uint32),
            ),
            (self._foundation, "CFGetTypeID", ctypes.c_ulong, (pointer,)),
            (self._foundation, "CFStringGetTypeID", ctypes.c_ulong, ()),
            (self._foundation, "CFRelease", None, (pointer,)),
        ):
            call = getattr(library, name)
            call.restype, call.argtypes = result, arguments
        self._system = self._services.AXUIElementCreateSystemWide()
        # A program that hangs is not waited for.
        self._services.AXUIElementSetMessagingTimeout(self._system, LIMIT_S)

    def element_at(self, x: float, y: float) -> int | None:
        """Return the element at a position in points of the screen; the caller releases it."""
        element = ctypes.c_void_p()
        failed = self._services.AXUIElementCopyElementAtPosition(self._system, x, y, ctypes.byref(element))
        return None if failed else element.value

    def value(self, element: int, name: str) -> int | None:
        """Return an attribute; the caller releases it."""
        key = self._foundation.CFStringCreateWithCString(None, name.encode(), _UTF8)
        value = ctypes.c_void_p()
        failed = self._services.AXUIElementCopyAttributeValue(element, key, ctypes.byref(value))
        self._foundation.CFRelease(key)
        return None if failed else value.value

    def text(self, element: int, name: str) -> str:
        """Return an attribute that is a text; empty where it is none."""
        value = self.value(element, name)
        if not value:
            return ""
        buffer = ctypes.create_string_buffer(_LONGEST)
        is_text = self._foundation.CFGetTypeID(value) == self._foundation.CFStringGetTypeID()
        is_read = is_text and self._foundation.CFStringGetCString(value, buffer, _LONGEST, _UTF8)
        self.release(value)
        return shortened(buffer.value.decode("utf-8", errors="replace")) if is_read else ""

    def release(self, value: int) -> None:
        """Give back an element or a value."""
        self._foundation.CFRelease(value)


class AxNames:
    """Reads the names at a place.

    Args:
        attributes: reads the elements' attributes; None: those of the system.
    """

    def __init__(self, attributes: Attributes | None = None) -> None:
        self._attributes = attributes or Attributes()

    def elements(self, place: Place, deadline: float) -> Sequence[ScreenElement]:
        """Return the innermost element at a place that reacts to a click, with the title of its window."""
        read = self._attributes
        element = read.element_at(place.x, place.y)
        found: tuple[ElementRole, str, str] | None = None
        label = window = ""
        for _ in range(_DEEPEST):
            if element is None:
                break
            kind = read.text(element, "AXRole")
            name = read.text(element, "AXTitle") or read.text(element, "AXDescription")
            if kind == "AXWindow":
                window = name
            elif found is None and kind in _ROLES:
                found = _ROLES[kind], name or label, read.text(element, "AXHelp")
            elif found is None and kind in _LABELS:
                label = label or name or read.text(element, "AXValue")
            late = kind == "AXWindow" or time.monotonic() > deadline
            parent = None if late else read.value(element, "AXParent")
            read.release(element)
            element = parent
        if element is not None:
            read.release(element)
        role, name, description = found or ("text", label, "")
        if not (name or description):
            return ()
        return (ScreenElement(role=role, name=name, description=description, window=window),)

    def close(self) -> None:
        """Hold nothing between two questions."""
