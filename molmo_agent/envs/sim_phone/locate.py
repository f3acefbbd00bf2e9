"""Where the thing that a phrase names is on the simulated phone. Privileged: for oracles and metrics."""

import re

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen

# What people call the kinds; the first that is found counts.
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
_QUOTED = re.compile(r'"([^"]+)"')


def locate(screen: Screen, phrase: str) -> list[PixelBox]:
    """Return the boxes, in pixels, of what a phrase names; empty if nothing that can be seen fits.

    Understood are quoted labels with the name of a kind (``the "Save" button``), bare labels, ``the handle of the
    "Brightness" slider`` and its left or right end. Of several readings the one of the named kind and with the longest
    label wins.
    """
    lower = phrase.casefold()
    outside = _QUOTED.sub(" ", lower)
    matches = _named(screen, lower, outside)
    if re.search(r"\bhandle of\b", outside):
        return [_handle(element) for element in matches]
    if end := re.search(r"\b(left|right) end of\b", outside):
        return [_end(element.box, end[1] == "left") for element in matches]
    return [element.box for element in matches]


def _named(screen: Screen, lower: str, outside: str) -> list[Element]:
    kind = next((kind for name, kind in _KIND_NAMES if re.search(rf"\b{name}\b", outside)), None)
    quoted = {text.casefold() for text in _QUOTED.findall(lower)}
    scored = []
    for element in screen.elements:
        name = element.label.casefold()
        # A label in quotes is meant to the letter: "Cart" is not "Add to cart".
        if element.visible and name and (name in quoted if quoted else name in lower):
            scored.append(((element.kind == kind, len(name)), element))
    if not scored:
        return []
    best = max(score for score, _ in scored)
    return [element for score, element in scored if score == best]


def _handle(element: Element) -> PixelBox:
    left, top, right, bottom = element.box
    side = bottom - top
    x = left + (right - left - side) * float((element.state or "0%").rstrip("%")) / 100
    return x, top, x + side, bottom


def _end(box: PixelBox, left: bool) -> PixelBox:
    side = box[3] - box[1]
    return (box[0], box[1], box[0] + side, box[3]) if left else (box[2] - side, box[1], box[2], box[3])
