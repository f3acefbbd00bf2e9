"""Names of elements on Windows, from UI Automation.

Written to the system's documentation and tested with a stand-in for its interface; not run on Windows. It takes the
package comtypes.
"""

import importlib
import time
from collections.abc import Sequence
from typing import Any

from molmo_agent.envs.desktop.accessibility.names import Place, shortened
from molmo_agent.episode import ElementRole, ScreenElement

# Identifiers of control types.
_ROLES: dict[int, ElementRole] = {
    50000: "button",
    50031: "button",  # split button
    50002: "check box",
    50013: "check box",  # radio button
    50004: "field",
    50016: "field",  # spinner
    50015: "field",  # slider
    50030: "field",  # document
    50003: "menu",  # combo box
    50019: "tab",
    50005: "text",  # link
    50006: "text",  # image
    50007: "text",  # entry of a list
    50011: "text",  # entry of a menu
    50020: "text",
    50024: "text",  # entry of a tree
    50029: "text",  # cell
    50035: "text",  # header of a column
}
_TEXTS = (50006, 50020)
_WINDOW = 50032
_DEEPEST = 40


class UiaNames:
    """Reads the names at a place.

    Args:
        automation: the system's IUIAutomation; None: the real one.
        point: makes its POINT of x and y; None: the real one.
    """

    def __init__(self, automation: Any = None, point: Any = None) -> None:
        if automation is None:
            client = importlib.import_module("comtypes.client")
            library = client.GetModule("UIAutomationCore.dll")
            automation = client.CreateObject(library.CUIAutomation, interface=library.IUIAutomation)
            point = importlib.import_module("ctypes.wintypes").POINT
        self._automation, self._point = automation, point

    def elements(self, place: Place, deadline: float) -> Sequence[ScreenElement]:
        """Return the innermost element at a place that reacts to a click, with the title of its window."""
        element = self._automation.ElementFromPoint(self._point(place.x, place.y))
        walker = self._automation.ControlViewWalker
        found: tuple[ElementRole, str, str] | None = None
        label = window = ""
        for _ in range(_DEEPEST):
            if not element or time.monotonic() > deadline:
                break
            kind, name = element.CurrentControlType, shortened(element.CurrentName)
            if kind == _WINDOW:
                window = name
                break
            role = _ROLES.get(kind)
            if found is None and role is not None and kind not in _TEXTS:
                found = role, name or label, shortened(element.CurrentHelpText)
            elif found is None:
                label = label or (name if role else "")
            element = walker.GetParentElement(element)
        role, name, description = found or ("text", label, "")
        if not (name or description):
            return ()
        return (ScreenElement(role=role, name=name, description=description, window=window),)

    def close(self) -> None:
        """Hold nothing between two questions."""
