"""What is on a recorded screen: one element with its box, its kind and whether its name can be read."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# (left, top, width, height) in pixels of the image.
Rectangle = tuple[int, int, int, int]

# What people call an element, by its role in an accessibility tree; programs and pages have other words for the same.
KINDS: Mapping[str, str] = {
    **dict.fromkeys(("push button", "toggle button", "button", "DisclosureTriangle"), "button"),
    **dict.fromkeys(("check box", "checkbox", "switch"), "checkbox"),
    **dict.fromkeys(("radio button", "radio"), "radio"),
    **dict.fromkeys(("combo box", "combobox", "ComboBoxSelect"), "dropdown"),
    **dict.fromkeys(("text", "entry", "password text", "spin button", "textbox", "searchbox", "spinbutton"), "field"),
    **dict.fromkeys(("page tab", "tab"), "tab"),
    "menu": "menu",
    **dict.fromkeys(
        ("menu item", "check menu item", "radio menu item", "menuitem", "menuitemcheckbox", "menuitemradio"),
        "menu_item",
    ),
    **dict.fromkeys(("list item", "table cell", "tree item", "treeitem", "icon"), "item"),
    **dict.fromkeys(("table column header", "column header", "columnheader"), "header"),
    "link": "link",
}

# What the results are counted under.
_GROUPS: Mapping[str, str] = {
    **dict.fromkeys(("checkbox", "radio"), "checkbox"),
    **dict.fromkeys(("dropdown", "field"), "field"),
    **dict.fromkeys(("menu", "menu_item"), "menu"),
    "link": "link",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RealElement:
    """An element that is visible, enabled and on top of all others.

    Args:
        role: what the accessibility tree calls it.
        kind: what people call it, a value of ``KINDS``.
        name: as its program names it to assistive software.
        box: pixels of the image.
        states: as the accessibility tree names them.
        has_text: whether the name stands on the element; None: unknown.
    """

    role: str
    kind: str
    name: str
    box: Rectangle
    states: tuple[str, ...] = ()
    has_text: bool | None = True

    @property
    def group(self) -> str:
        """What the results are counted under: text, menu, link, checkbox, field or icon."""
        if self.has_text is False and self.kind in ("button", "radio", "link", "tab", "menu"):
            return "icon"
        return _GROUPS.get(self.kind, "text")

    @property
    def key(self) -> tuple[str, Rectangle]:
        """What distinguishes it from other elements of a program."""
        return self.name, self.box

    @property
    def checked(self) -> bool:
        """Whether it is ticked, pressed or chosen."""
        return "checked" in self.states or "pressed" in self.states

    def as_json(self) -> dict[str, Any]:
        """Return what ``screens.jsonl`` holds of it."""
        return {
            "role": self.role,
            "kind": self.kind,
            "name": self.name,
            "box_px": list(self.box),
            "states": list(self.states),
            "has_visible_text": self.has_text,
        }


def contains(outer: Rectangle, inner: Rectangle, slack: int = 0) -> bool:
    """Tell whether one rectangle lies in another one, up to ``slack`` pixels."""
    return (
        outer[0] - slack <= inner[0]
        and outer[1] - slack <= inner[1]
        and inner[0] + inner[2] <= outer[0] + outer[2] + slack
        and inner[1] + inner[3] <= outer[1] + outer[3] + slack
    )


def overlap(first: Rectangle, second: Rectangle) -> int:
    """Return the area that two rectangles share, in pixels."""
    width = min(first[0] + first[2], second[0] + second[2]) - max(first[0], second[0])
    height = min(first[1] + first[3], second[1] + second[3]) - max(first[1], second[1])
    return max(width, 0) * max(height, 0)


def inner_points(box: Rectangle) -> list[tuple[int, int]]:
    """Return the centre and four places halfway to the corners."""
    left, top, width, height = box
    parts = ((0.5, 0.5), (0.25, 0.25), (0.75, 0.25), (0.25, 0.75), (0.75, 0.75))
    return [(int(left + x * width), int(top + y * height)) for x, y in parts]
