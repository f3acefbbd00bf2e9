"""Locate the element that a phrase names on the simulated desktop. Privileged: for oracles and metrics."""

import re

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen
from molmo_agent.envs.drawing.phrases import kind_in, named_elements, without_quotations
from molmo_agent.envs.sim_desktop.draw import Drawing
from molmo_agent.envs.sim_desktop.draw_widgets import Target
from molmo_agent.envs.sim_desktop.tasks import name_of

# Names of the kinds in instructions. Longer names are tried first: a "menu item" is no "menu".
_KIND_NAMES: tuple[tuple[str, str], ...] = (
    ("close button", "window_close"),
    ("minimize button", "window_minimize"),
    ("maximize button", "window_maximize"),
    ("title bar", "window_title"),
    ("task bar item", "taskbar_item"),
    ("menu item", "menu_item"),
    ("list item", "list_item"),
    ("check box", "checkbox"),
    ("checkbox", "checkbox"),
    ("drop-down", "dropdown"),
    ("option", "radio"),
    ("radio button", "radio"),
    ("slider", "slider"),
    ("field", "field"),
    ("button", "button"),
    ("link", "link"),
    ("menu", "menu"),
    ("icon", "icon"),
    ("tab", "tab"),
)
_CORNER = re.compile(r"(top|bottom) (left|right) corner of the screen")


def locate(drawing: Drawing, screen: Screen, phrase: str) -> list[PixelBox]:
    """Return the boxes, in pixels of the observed screen, of the elements that a phrase names; empty if none fits.

    It understands quoted labels with the name of a kind (``the "Save" button``), colours and shapes, bare labels,
    ``the close button of the "Notes" window``, ``the list``, ``the handle of the "Speed" slider`` and its ends, and
    the corners of the screen. Of several readings the one with the longest label and the named kind wins.

    Args:
        drawing: the whole desktop, for lists, which are no elements.
        screen: the observed part.
        phrase: an instruction or a part of one.
    """
    lower = phrase.casefold()
    if corner := _CORNER.search(lower):
        return [_corner(screen, corner[1] == "top", corner[2] == "left")]
    outside = without_quotations(phrase)
    if re.search(r"\blist\b(?! item)", outside):
        return _lists(drawing, screen)
    visible = [element for element in screen.elements if element.visible]
    matches = named_elements(phrase, visible, kind_in(phrase, _KIND_NAMES), name_of)
    if re.search(r"\bhandle of\b", outside):
        return [_handle(element) for element in matches]
    if end := re.search(r"\b(left|right) end of\b", outside):
        return [_end(element.box, end[1] == "left") for element in matches]
    return [element.box for element in matches]


def _corner(screen: Screen, top: bool, left: bool) -> PixelBox:
    height, width = screen.image.shape[:2]
    side_x, side_y = width * 0.12, height * 0.12
    x = 0 if left else width - side_x
    y = 0 if top else height - 2 * side_y  # above the task bar
    return x, y, x + side_x, y + side_y


def _lists(drawing: Drawing, screen: Screen) -> list[PixelBox]:
    """Return the boxes of the lists that can be seen, by way of the list items of each."""
    boxes: dict[int, PixelBox] = {}
    for element, element_in_view in zip(drawing.screen.elements, screen.elements, strict=True):
        owner = drawing.owners[element.id]
        if not isinstance(owner, Target) or owner.part != "item" or not element_in_view.visible:
            continue
        old, new = boxes.get(id(owner.widget), element_in_view.box), element_in_view.box
        boxes[id(owner.widget)] = (
            min(old[0], new[0]),
            min(old[1], new[1]),
            max(old[2], new[2]),
            max(old[3], new[3]),
        )
    return list(boxes.values())


def _handle(element: Element) -> PixelBox:
    left, top, right, bottom = element.box
    side = bottom - top
    level = float((element.state or "0%").rstrip("%")) / 100
    x = left + (right - left - side) * level
    return x, top, x + side, bottom


def _end(box: PixelBox, left: bool) -> PixelBox:
    side = box[3] - box[1]
    return (box[0], box[1], box[0] + side, box[3]) if left else (box[2] - side, box[1], box[2], box[3])
