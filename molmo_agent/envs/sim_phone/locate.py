"""Locate the element that a phrase names on the simulated phone. Privileged: for oracles and metrics."""

import re

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen
from molmo_agent.envs.drawing.phrases import kind_in, named_elements, without_quotations

# Names of the kinds in instructions; the first match counts.
_KIND_NAMES: tuple[tuple[str, str], ...] = (
    ("menu item", "menu_item"),
    ("app", "app"),
    ("switch", "switch"),
    ("slider", "slider"),
    ("field", "field"),
    ("key", "key"),
    ("button", "button"),
    ("card", "card"),
)


def locate(screen: Screen, phrase: str) -> list[PixelBox]:
    """Return the boxes, in pixels, of the elements that a phrase names; empty if no visible element fits.

    It understands quoted labels with the name of a kind (``the "Save" button``), bare labels, ``the handle of the
    "Brightness" slider`` and its left or right end. Of several readings the one of the named kind and with the longest
    label wins.
    """
    outside = without_quotations(phrase)
    visible = [element for element in screen.elements if element.visible]
    matches = named_elements(phrase, visible, kind_in(phrase, _KIND_NAMES), lambda element: element.label)
    if re.search(r"\bhandle of\b", outside):
        return [_handle(element) for element in matches]
    if end := re.search(r"\b(left|right) end of\b", outside):
        return [_end(element.box, end[1] == "left") for element in matches]
    return [element.box for element in matches]


def _handle(element: Element) -> PixelBox:
    left, top, right, bottom = element.box
    side = bottom - top
    x = left + (right - left - side) * float((element.state or "0%").rstrip("%")) / 100
    return x, top, x + side, bottom


def _end(box: PixelBox, left: bool) -> PixelBox:
    side = box[3] - box[1]
    return (box[0], box[1], box[0] + side, box[3]) if left else (box[2] - side, box[1], box[2], box[3])
