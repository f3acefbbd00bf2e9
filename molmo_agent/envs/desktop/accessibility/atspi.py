"""Names of elements on Linux, from the accessibility bus (AT-SPI) that GTK, Qt, Firefox, Chromium and others answer on.

The window under a place is found by its process and title. From there the tree is walked down through what shows and
contains the place, a level at a time. Each toolkit counts positions in its own way: from the corner of the window, its
frame or the screen, and on HiDPI screens two pixels as one. So the box that the window itself has there decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from molmo_agent.envs.desktop.accessibility.atspi_bus import (
    REGISTRY,
    Bus,
    Node,
    accessibility_address,
    child_at,
    children_of,
    extents_of,
    process_of,
    property_of,
    role_of,
    states_of,
)
from molmo_agent.envs.desktop.accessibility.names import Place, shortened
from molmo_agent.episode import ElementRole, ScreenElement

_ROLES: dict[str, ElementRole] = {
    **dict.fromkeys(("push button", "button", "push button menu", "button menu"), "button"),
    **dict.fromkeys(("check box", "radio button", "toggle button", "switch", "toggle switch"), "check box"),
    **dict.fromkeys(("check menu item", "radio menu item"), "check box"),
    **dict.fromkeys(("entry", "text", "password text", "spin button", "editbar", "document text"), "field"),
    **dict.fromkeys(("terminal", "slider", "scroll bar", "date editor"), "field"),
    **dict.fromkeys(("menu", "combo box"), "menu"),
    "page tab": "tab",
    **dict.fromkeys(("menu item", "tearoff menu item", "link", "list item", "tree item", "table cell"), "text"),
    **dict.fromkeys(("icon", "desktop icon", "column header", "table column header", "table row header"), "text"),
}
# What names an element that has no name of its own.
_LABELS = frozenset(("label", "static", "image", "icon", "heading", "paragraph", "section", "text leaf"))
# The number of the state "showing".
_SHOWING = 25
# What holds elements that lie outside of it, as a tab holds its page in GTK.
_HOLDERS = frozenset(("page tab",))
# Of an element with more children, only the one at the place is asked for.
_MANY = 60
_MOST_NODES, _DEEPEST = 400, 40
# How far two sizes of one window may differ: by rounding, and by a border.
_OFF = 0.01, 4
_NO_NODE = "/org/a11y/atspi/null"
# (left, top, width, height) in a program's own units.
_Box = tuple[int, int, int, int]


@dataclass(slots=True)
class _Found:
    """An element that shows, on the way to the place."""

    node: Node
    # Empty for one that does not contain the place itself.
    role: str
    parent: "_Found | None" = None
    name: str = ""
    description: str = ""
    box: _Box = (0, 0, 0, 0)


class AtspiNames:
    """Reads the names at a place.

    Args:
        address: of the accessibility bus, as the X display names it; empty: not named there.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._bus: Bus | None = None

    def elements(self, place: Place, deadline: float) -> Sequence[ScreenElement]:
        """Return the named elements at a place; those that were read until the deadline.

        Raises:
            OSError, RuntimeError, ValueError: the bus is gone, or what comes from it is damaged.
        """
        if self._bus is None:
            address = accessibility_address(self._address, deadline)
            if not address:
                return ()
            self._bus = Bus(address)
        return _Walk(self._bus, deadline).elements(place)

    def close(self) -> None:
        """Disconnect; safe to call twice."""
        if self._bus is not None:
            self._bus.close()
        self._bus = None


class _Walk:
    """One question about one place."""

    def __init__(self, bus: Bus, deadline: float) -> None:
        self._bus, self._deadline = bus, deadline
        self._seen: set[Node] = set()

    def elements(self, place: Place) -> list[ScreenElement]:
        windows = [window for program in self._programs(place) for window in self._windows(program)]
        titled = [window for window in windows if place.title and window.name == place.title]
        elements: list[ScreenElement] = []
        for window in titled or windows:
            point = _in_window(place, window.box)
            if point is not None:
                ends = self._descend(window, point)
                elements += [element for end in ends if (element := _element(end, window.name)) is not None]
        return list(dict.fromkeys(elements))

    def _programs(self, place: Place) -> list[Node]:
        """Return the programs of the window's process; all of them where the process is not known."""
        programs = _nodes(self._ask([children_of(REGISTRY)])[0])
        if not place.pid:
            return programs if place.title else []
        processes = self._ask([process_of(program) for program in programs])
        same = [program for program, process in zip(programs, processes, strict=True) if process == place.pid]
        # A program in a container numbers its processes in its own way: its title must do.
        return same or (programs if place.title else [])

    def _windows(self, program: Node) -> list[_Found]:
        return self._read(_nodes(self._ask([children_of(program)])[0])[:_MANY], None, None)

    def _descend(self, window: _Found, point: tuple[int, int]) -> list[_Found]:
        """Return the ends of all ways down through what contains a point in the window."""
        level, ends = [window], []
        for _ in range(_DEEPEST):
            below: list[_Found] = []
            counts = self._ask([property_of(found.node, "ChildCount") for found in level])
            few = [_number(_value(count)) <= _MANY for count in counts]
            questions = [
                children_of(found.node) if is_few else child_at(found.node, *point)
                for found, is_few in zip(level, few, strict=True)
            ]
            for found, answer in zip(level, self._ask(questions), strict=True):
                nodes = [node for node in _nodes(answer) if node not in self._seen]
                children = self._read(nodes[: max(0, _MOST_NODES - len(self._seen))], found, point)
                below += children
                if not children:
                    ends.append(found)
            if not below:
                return ends
            level = below
        return ends + level

    def _read(self, nodes: Sequence[Node], parent: _Found | None, point: tuple[int, int] | None) -> list[_Found]:
        """Return what of some nodes shows and contains a point; for None, the windows."""
        self._seen.update(nodes)
        shows = self._ask([question(node) for node in nodes for question in (states_of, extents_of, role_of)])
        found = []
        for number, node in enumerate(nodes):
            states, box, role = shows[3 * number : 3 * number + 3]
            if not _is_showing(states) or not _is_box(box) or not isinstance(role, str):
                continue
            left, top, width, height = box
            if point is None:
                found.append(_Found(node, "", box=box))
            elif left <= point[0] < left + width and top <= point[1] < top + height:
                found.append(_Found(node, role, parent))
            elif role in _HOLDERS:
                # Its own name is not that of what it holds.
                found.append(_Found(node, "", parent))
        texts = self._ask([property_of(one.node, name) for one in found for name in ("Name", "Description")])
        for number, one in enumerate(found):
            one.name, one.description = (shortened(_value(text)) for text in texts[2 * number : 2 * number + 2])
        return found

    def _ask(self, questions: Sequence[Any]) -> list[Any]:
        return self._bus.ask(questions, self._deadline) if questions else []


def _element(end: _Found, window: str) -> ScreenElement | None:
    """Return the innermost element that reacts to a click on the way to an end; named by a label in it if need be."""
    label, one = "", end
    while one is not None:
        role = _ROLES.get(one.role)
        if role is not None:
            name = one.name or label
            has_words = name or one.description
            return (
                ScreenElement(role=role, name=name, description=one.description, window=window) if has_words else None
            )
        if one.role in _LABELS:
            label = label or one.name
        parent = one.parent
        if parent is None:
            break
        one = parent
    return ScreenElement(role="text", name=label, window=window) if label else None


def _in_window(place: Place, box: _Box) -> tuple[int, int] | None:
    """Return a place in the coordinates of a program's window; None where the window is another one.

    Programs tell the box of their window with or without its frame, from its own corner or the screen's, and in units
    of one pixel or more.
    """
    fits = []
    for rectangle in (place.inner, place.outer):
        if rectangle is None or min(box[2:]) < 1:
            continue
        across, down = (side_px / side for side_px, side in zip(rectangle[2:], box[2:], strict=True))
        share, pixels = _OFF
        if across >= 1 - share and abs(across - down) <= max(share * across, pixels / min(box[2:])):
            point = int(box[0] + (place.x - rectangle[0]) / across), int(box[1] + (place.y - rectangle[1]) / across)
            fits.append((abs(across - down), point))
    return min(fits)[1] if fits else None


def _nodes(answer: Any) -> list[Node]:
    """Return the nodes of an answer: one as (program, path), or a list of them."""
    pairs = [answer] if isinstance(answer, tuple) else answer if isinstance(answer, list) else []
    return [
        Node(*pair)
        for pair in pairs
        if isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(part, str) for part in pair)
        if pair[1] != _NO_NODE and pair[0]
    ]


def _value(answer: Any) -> Any:
    """Return the value of a variant, (signature, value)."""
    return answer[1] if isinstance(answer, tuple) and len(answer) == 2 else None


def _number(value: Any) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def _is_showing(states: Any) -> bool:
    return isinstance(states, list) and bool(states) and isinstance(states[0], int) and bool(states[0] >> _SHOWING & 1)


def _is_box(box: Any) -> bool:
    return isinstance(box, tuple) and len(box) == 4 and all(isinstance(side, int) for side in box)
