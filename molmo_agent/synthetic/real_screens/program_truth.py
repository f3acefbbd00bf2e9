"""From the accessibility nodes of programs to the elements that are really visible on the screen.

A tree alone is not the truth: it has pages behind others, rows that are scrolled away, and windows below windows. So a
node counts only if it is enabled, lies within all scroll areas around it, and the window that the X server shows at
its centre and around it is its own.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from molmo_agent.synthetic.real_screens.element import (
    KINDS,
    RealElement,
    Rectangle,
    contains,
    inner_points,
    overlap,
)

# What cuts off the part of its children that does not fit.
_CLIPPING = ("scroll pane", "viewport", "frame", "window", "dialog", "table", "tree table", "tree", "list", "alert")
_SMALLEST_PX = 7
_LONGEST_NAME = 60
# Sum of the distances of four edges: a title bar, and shadows on all sides.
_FARTHEST_PX = 260
_POPUPS = ("popup menu", "menu", "menu item")


@dataclass(frozen=True, slots=True)
class XWindow:
    """A visible top-level window of the X server, frame included; ``popup``: the window manager leaves it alone."""

    box: Rectangle
    pid: int
    popup: bool
    title: str = ""


def stacking(display: Any) -> list[XWindow]:
    """Return the visible top-level windows, topmost first."""
    import Xlib.error
    import Xlib.X

    windows = []
    for window in reversed(display.screen().root.query_tree().children):
        try:
            attributes, area = window.get_attributes(), window.get_geometry()
            if attributes.map_state != Xlib.X.IsViewable or area.width < 3 or area.height < 3:
                continue
            pid = _property(display, window, "_NET_WM_PID", 2)
            title = _property(display, window, "_NET_WM_NAME", 2)
            # The frame that the window manager draws overrides redirection as well, but has no process of its own.
            popup = bool(attributes.override_redirect) and (
                bool(_property(display, window, "_NET_WM_PID", 0)) or not window.query_tree().children
            )
        except (Xlib.error.BadWindow, Xlib.error.BadDrawable):
            continue  # closed meanwhile
        box = area.x, area.y, area.width + 2 * area.border_width, area.height
        name = title.decode("utf-8", errors="replace") if isinstance(title, bytes) else str(title or "")
        windows.append(XWindow(box, int(pid[0]) if pid else 0, popup, name))
    return windows


def _property(display: Any, window: Any, name: str, depth: int) -> Any:
    """Return a property of a window or of one inside of it; None if there is none."""
    from molmo_agent.envs.desktop import x11

    value = x11.read_property(display, window, name)
    if value is not None or depth == 0:
        return value
    found = (_property(display, child, name, depth - 1) for child in window.query_tree().children)
    return next((value for value in found if value), None)


def elements_of(
    nodes: Sequence[Mapping[str, Any]], windows: Sequence[XWindow], size: tuple[int, int], scale: int = 1
) -> list[RealElement]:
    """Return the elements that can be seen and used, in the order of the tree; ``has_text`` is still unknown.

    Args:
        nodes: see ``atspi_reader.py``.
        windows: topmost first.
        size: (width, height) of the screen in pixels.
        scale: pixels per unit of the nodes' boxes.
    """
    matches: list[tuple[int, RealElement]] = []
    owners = match_windows(nodes, windows, scale)
    for node in nodes:
        element = _element(node, nodes, scale)
        if element is None or not contains((0, 0, *size), element.box):
            continue
        if _is_clipped(element.box, node, nodes, scale) or not _is_on_top(element.box, node, nodes, windows, owners):
            continue
        matches.append((node["id"], element))
    return _without_covered(_without_wrappers(matches, nodes))


def _element(node: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], scale: int) -> RealElement | None:
    kind = kind_of(node, nodes)
    if kind is None or node["box"] is None or not is_usable(node["states"]):
        return None
    name = name_of(node, kind)
    left, top, width, height = (scale * number for number in node["box"])
    if not name or min(width, height) < _SMALLEST_PX:
        return None
    return RealElement(
        role=node["role"],
        kind=kind,
        name=name,
        box=(left, top, width, height),
        states=tuple(node["states"]),
        has_text=None,
    )


def kind_of(node: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> str | None:
    """Return what people call a node; None if it is nothing that one clicks."""
    role, states = node["role"], node["states"]
    parent = nodes[node["parent"]]["role"] if node["parent"] >= 0 else ""
    kind = KINDS.get(role)
    if kind in ("menu", "menu_item"):
        return "menu" if parent == "menu bar" else "menu_item"
    if kind == "field" and ("multi-line" in states or "editable" not in states):
        return None
    if kind == "checkbox" and parent == "tool bar":
        return "button"
    if kind == "item" and parent in ("combo box",):
        return None
    return kind


def is_usable(states: Sequence[str]) -> bool:
    """Tell whether a node is visible and answers to a click."""
    return "showing" in states and "visible" in states and ("enabled" in states or "sensitive" in states)


def name_of(node: Mapping[str, Any], kind: str) -> str:
    """Return a node's name on one line; empty where it has none that a person could say."""
    names = [node["name"]]
    if kind in ("field", "dropdown"):
        names = [node.get("label", ""), node["name"], node.get("placeholder", "")]
    elif kind in ("button", "radio", "tab"):
        names.append(node["description"])
    for name in names:
        clean = clean_name(name)
        if clean:
            return clean
    return ""


def clean_name(name: str) -> str:
    """Return a name without markup, mnemonics and shortcuts; empty if it is too long or has no letter or digit."""
    name = re.sub(r"</?[a-zA-Z][^>]*>", "", name)
    name = re.sub(r"&(?=\w)", "", name)
    # "Save (Ctrl+S)", "Line (L)", "Square root [Ctrl+R]", a tooltip of several lines.
    shortcut = r"\s*[(\[](?:(?:Ctrl|Alt|Shift|Meta|F\d+)\b[^)\]]*|\S)[)\]]\s*$"
    name = re.sub(shortcut, "", name.strip().split("\n")[0])
    # Icons of a font are letters to the page, in the range that Unicode leaves for private use.
    name = re.sub(r"[\ue000-\uf8ff]", "", name)
    name = re.sub(r"\s+", " ", name).strip().rstrip(":").strip()
    # A tooltip that is a sentence describes more than it names, and "end_group" is for programmers.
    if len(name) > _LONGEST_NAME or not re.search(r"\w", name) or re.search(r'"|\w_\w', name):
        return ""
    return name


def _ancestors(node: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    result = []
    while node["parent"] >= 0:
        node = nodes[node["parent"]]
        result.append(node)
    return result


def _is_clipped(box: Rectangle, node: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], scale: int) -> bool:
    if node["role"] in _POPUPS and kind_of(node, nodes) == "menu_item":
        return False
    for outer in _ancestors(node, nodes):
        if outer["role"] in _CLIPPING and outer["box"] and min(outer["box"][2:]) > 0:
            left, top, width, height = (scale * number for number in outer["box"])
            if not contains((left, top, width, height), box, slack=3 * scale):
                return True
    return False


def match_windows(nodes: Sequence[Mapping[str, Any]], windows: Sequence[XWindow], scale: int = 1) -> dict[int, XWindow]:
    """Return which window of the X server each window of the trees is, by the id of its node.

    Some programs report a window with its frame, some without, some with its shadow. So those that fit best belong
    together, one to one.
    """
    pairs = []
    for node in nodes:
        if node["parent"] >= 0 or not node["box"]:
            continue
        left, top, width, height = (scale * number for number in node["box"])
        for place, window in enumerate(windows):
            if window.pid and window.pid != node["pid"]:
                continue
            x, y, w, h = window.box
            apart = abs(left - x) + abs(top - y) + abs(left + width - x - w) + abs(top + height - y - h)
            same_title = bool(node["name"]) and node["name"] == window.title
            # A tree that lies outside of its window is one of before the window was moved.
            if apart <= _FARTHEST_PX * scale and contains(window.box, (left, top, width, height), slack=4 * scale):
                pairs.append((not same_title, apart, place, node["id"]))
    owners: dict[int, XWindow] = {}
    taken = set()
    for _, _, place, node_id in sorted(pairs):
        if place not in taken and node_id not in owners:
            taken.add(place)
            owners[node_id] = windows[place]
    return owners


def _is_on_top(
    box: Rectangle,
    node: Mapping[str, Any],
    nodes: Sequence[Mapping[str, Any]],
    windows: Sequence[XWindow],
    owners: Mapping[int, XWindow],
) -> bool:
    """Tell whether the window at the element's points is the one that the node belongs to."""
    at_points = {next((w for w in windows if contains(w.box, (x, y, 1, 1))), None) for x, y in inner_points(box)}
    window = at_points.pop()
    if at_points or window is None or (window.pid and window.pid != node["pid"]):
        return False
    if not contains(window.box, box, slack=3):
        return False
    around = [node, *_ancestors(node, nodes)]
    if owners.get(around[-1]["id"]) is window:
        return kind_of(node, nodes) != "menu_item" or window.popup
    in_popup = kind_of(node, nodes) == "menu_item" or any(outer["role"] == "popup menu" for outer in around)
    return in_popup and window.popup


def _without_wrappers(
    matches: Sequence[tuple[int, RealElement]], nodes: Sequence[Mapping[str, Any]]
) -> list[RealElement]:
    """Drop what another element inside of it says again: the button in a combo box, the text in a list item."""
    by_id = dict(matches)
    dropped = set()
    for number, element in matches:
        for outer in _ancestors(nodes[number], nodes):
            wrapper = by_id.get(outer["id"])
            if wrapper is None:
                continue
            if wrapper.kind in ("dropdown", "header", "button", "tab", "field", "radio", "checkbox"):
                dropped.add(number)
            elif wrapper.name == element.name and wrapper.kind == element.kind:
                dropped.add(outer["id"])
    return [element for number, element in matches if number not in dropped]


def _without_covered(elements: Sequence[RealElement]) -> list[RealElement]:
    """Drop elements that lie across others of the same window: pages of a stack, a popover over a list."""
    result = []
    for number, element in enumerate(elements):
        area = element.box[2] * element.box[3]
        crossing = [
            other
            for place, other in enumerate(elements)
            if place != number
            and overlap(element.box, other.box) > 0.25 * min(area, other.box[2] * other.box[3])
            and not (element.kind == "item" and contains(element.box, other.box))
            and not (other.kind == "item" and contains(other.box, element.box))
        ]
        if not crossing:
            result.append(element)
    return result
