"""Read Android's accessibility forests: the elements on a screen with their boxes, texts and flags.

Field numbers are those of the published ``android_env`` message definitions.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from molmo_agent.data.formats.protobuf import MAX_VALUES, expect_bytes, fields, signed

PixelBox = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

_TEXTS = {3: "class_name", 4: "description", 6: "package", 7: "text", 10: "resource"}
_FLAGS = {
    12: "isCheckable",
    13: "isChecked",
    14: "isClickable",
    15: "isEditable",
    19: "isLongClickable",
    21: "isScrollable",
    22: "isSelected",
    23: "isVisible",
}
_REPORTED_FLAGS = ("isCheckable", "isChecked", "isClickable", "isLongClickable", "isScrollable", "isSelected")


@dataclass(frozen=True, slots=True)
class Node:
    """One element."""

    # Left, top, right, bottom in pixels; None if absent from the message, as zeros usually are.
    bounds: tuple[int | None, int | None, int | None, int | None]
    class_name: str
    package: str | None
    text: str
    resource: str
    flags: frozenset[str]
    # What a screen reader says of an icon.
    description: str = ""

    @property
    def visible(self) -> bool:
        """Whether the element reports itself as visible."""
        return "isVisible" in self.flags

    @property
    def box(self) -> PixelBox:
        """The box of the element; absent edges are zero."""
        left, top, right, bottom = (edge or 0 for edge in self.bounds)
        return left, top, right, bottom


def _node(data: bytes) -> Node:
    texts = dict.fromkeys(_TEXTS.values(), "")
    flags = set()
    edges: list[int | None] = [None] * 4
    for number, kind, value in fields(data):
        if number == 2:
            for edge, _, place in fields(expect_bytes(number, kind, value)):
                if 1 <= edge <= 4 and isinstance(place, int):
                    edges[edge - 1] = signed(place)
        elif number in _TEXTS:
            texts[_TEXTS[number]] = expect_bytes(number, kind, value).decode()
        elif number in _FLAGS and value:
            flags.add(_FLAGS[number])
    left, top, right, bottom = edges
    return Node(
        bounds=(left, top, right, bottom),
        class_name=texts["class_name"],
        # An empty text is the same as none: a message leaves out its empty fields.
        package=texts["package"] or None,
        text=texts["text"],
        resource=texts["resource"],
        flags=frozenset(flags),
        description=texts["description"],
    )


def read_forest(data: bytes) -> list[list[Node]]:
    """Return the nodes of each window.

    Raises:
        ValueError: the bytes are not a valid forest, or there are more than MAX_VALUES windows or nodes.
    """
    windows: list[list[Node]] = []
    num_nodes = 0
    for number, kind, value in fields(data):
        if number != 1:
            continue
        nodes: list[Node] = []
        for part, part_kind, content in fields(expect_bytes(number, kind, value)):
            if part == 11:
                tree = fields(expect_bytes(part, part_kind, content))
                for n, k, v in tree:
                    if n == 1:
                        nodes.append(_node(expect_bytes(n, k, v)))
                        num_nodes += 1
                        _check_count(num_nodes)
        windows.append(nodes)
        _check_count(len(windows))
    return windows


def _check_count(count: int) -> None:
    if count > MAX_VALUES:
        raise ValueError(f"it has more than {MAX_VALUES} windows or nodes")


def visible_nodes(windows: Sequence[Sequence[Node]]) -> Iterator[Node]:
    """Yield the visible nodes, window by window."""
    return (node for nodes in windows for node in nodes if node.visible)


def reference_boxes(windows: Sequence[Sequence[Node]], width: int, height: int) -> list[PixelBox]:
    """Return the boxes that the authors' code considers: an absent right or bottom edge is the screen's.

    (Its reader drops zeros, written or not, so an element that ends at zero becomes as wide as the screen there.)
    """
    return [
        (
            node.box[0],
            node.box[1],
            node.box[2] or width,
            node.box[3] or height,
        )
        for node in visible_nodes(windows)
        if any(node.bounds)
    ]


def reduced_text(windows: Sequence[Sequence[Node]]) -> str:
    """Return the authors' short text of a forest: one line per element, by package.

    Only the first element with a text counts in each window, visible or not; all elements without text count as one,
    whatever their class, package and resource. The value "None" is dropped.

    Raises:
        ValueError: a flags element without a package.
    """
    packages: dict[str, list[str]] = {}
    for nodes in windows:
        texts: set[str] = set()
        for node in nodes:
            if node.text in texts:
                continue
            texts.add(node.text)
            if not node.visible:
                continue
            package = _text_or_empty(node.package)
            if not package:
                raise ValueError(
                    f"expected every flags element to name its package; the element with text {node.text!r}, resource "
                    f"{node.resource!r} has no package, and the authors' code fails on it"
                )
            packages.setdefault(package, []).append(_line(node))
    return "\n".join("\n".join([package, *lines, ""]) for package, lines in packages.items())


def _text_or_empty(value: str | None) -> str:
    """Return a value, or "" where the authors' code drops it."""
    return value if value is not None and value != "None" else ""


def _line(node: Node) -> str:
    left, top, right, bottom = node.box
    parts = [f"center=[{int((left + right) / 2)},{int((top + bottom) / 2)}]", f"size=[{right - left},{bottom - top}]"]
    # Not anchored to a domain: "telecom:id/call" becomes "telecall".
    resource = _text_or_empty(re.sub(r"com.*?id/", "", node.resource))
    if text := _text_or_empty(node.text):
        parts.append(f"text={text}")
    elif resource:
        parts.append(f"resource={resource}")
    # The class name decides, not the flags: SwitchCompat and AutoCompleteEditText count too.
    if "Switch" in node.class_name:
        parts.append("text=Switch")
    elif "Edit" in node.class_name:
        parts.append("EditableText")
    flags = [flag for flag in _REPORTED_FLAGS if flag in node.flags]
    if flags:
        parts.append(str(flags))
    return "\t" + ", ".join(parts)
