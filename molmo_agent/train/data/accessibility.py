"""Android's accessibility forests: what is on a screen, where and of which kind. Reads the messages; decides nothing.

Numbers of fields: the published ``android_env`` message definitions.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from molmo_agent.train.data.protobuf import expect_bytes, fields, signed

PixelBox = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels."""

_TEXTS = {3: "class_name", 6: "package", 7: "text", 10: "resource"}
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
_LISTED = ("isCheckable", "isChecked", "isClickable", "isLongClickable", "isScrollable", "isSelected")


@dataclass(frozen=True, slots=True)
class Node:
    """One element."""

    # Left, top, right, bottom; None where the message does not say, which it does not for a zero.
    bounds: tuple[int | None, int | None, int | None, int | None]
    class_name: str
    package: str | None
    text: str
    resource: str
    flags: frozenset[str]

    @property
    def visible(self) -> bool:
        """Whether people can see it, by its own account."""
        return "isVisible" in self.flags

    @property
    def box(self) -> PixelBox:
        """Where it is; what is not said is zero."""
        left, top, right, bottom = (edge or 0 for edge in self.bounds)
        return left, top, right, bottom


def _node(data: bytes) -> Node:
    texts = dict.fromkeys(_TEXTS.values(), "")
    seen: set[int] = set()
    flags = set()
    edges: list[int | None] = [None] * 4
    for number, kind, value in fields(data):
        seen.add(number)
        if number == 2:
            for edge, _, place in fields(expect_bytes(number, kind, value)):
                if 1 <= edge <= 4 and isinstance(place, int):
                    edges[edge - 1] = signed(place)
        elif number in _TEXTS:
            texts[_TEXTS[number]] = expect_bytes(number, kind, value).decode()
        elif number in _FLAGS and value:
            flags.add(_FLAGS[number])
    package = texts["package"] if 6 in seen else None
    left, top, right, bottom = edges
    return Node(
        bounds=(left, top, right, bottom),
        class_name=texts["class_name"],
        package=package,
        text=texts["text"],
        resource=texts["resource"],
        flags=frozenset(flags),
    )


def read_forest(data: bytes) -> list[list[Node]]:
    """Return the nodes of each window.

    Raises:
        ValueError: these bytes are no forest.
    """
    windows = []
    for number, kind, value in fields(data):
        if number != 1:
            continue
        nodes = []
        for part, part_kind, content in fields(expect_bytes(number, kind, value)):
            if part == 11:
                tree = fields(expect_bytes(part, part_kind, content))
                nodes += [_node(expect_bytes(n, k, v)) for n, k, v in tree if n == 1]
        windows.append(nodes)
    return windows


def visible_nodes(windows: Sequence[Sequence[Node]]) -> Iterator[Node]:
    """Yield what can be seen, window by window."""
    return (node for nodes in windows for node in nodes if node.visible)


def reference_boxes(windows: Sequence[Sequence[Node]], width: int, height: int) -> list[PixelBox]:
    """Return the boxes that the authors' code considers: an absent right or bottom edge is the screen's.

    (A zero is not written, so an element that ends at zero becomes as wide as the screen there.)
    """
    return [
        (
            node.box[0],
            node.box[1],
            width if node.bounds[2] is None else node.box[2],
            height if node.bounds[3] is None else node.box[3],
        )
        for node in visible_nodes(windows)
        if any(node.bounds)
    ]


def reduced_text(windows: Sequence[Sequence[Node]]) -> str:
    """Return the authors' short text of a forest: one line per element, by package.

    Of elements with the same text in a window the first alone counts, visible or not; all without text are one.

    Raises:
        ValueError: a visible element without a package.
    """
    packages: dict[str, list[str]] = {}
    for nodes in windows:
        said: set[str] = set()
        for node in nodes:
            if node.text in said:
                continue
            said.add(node.text)
            if not node.visible:
                continue
            if node.package is None:
                raise ValueError(f"the element {node.text!r} has no package")
            packages.setdefault(node.package, []).append(_line(node))
    return "\n".join("\n".join([package, *lines, ""]) for package, lines in packages.items())


def _line(node: Node) -> str:
    left, top, right, bottom = node.box
    parts = [f"center=[{int((left + right) / 2)},{int((top + bottom) / 2)}]", f"size=[{right - left},{bottom - top}]"]
    if node.text:
        parts.append(f"text={node.text}")
    elif node.resource:
        parts.append("resource=" + re.sub(r"com\..*?:id/", "", node.resource))
    if node.class_name.endswith("Switch"):
        parts.append("text=Switch")
    if "isEditable" in node.flags:
        parts.append("EditableText")
    listed = [flag for flag in _LISTED if flag in node.flags]
    if listed:
        parts.append(str(listed))
    return "\t" + ", ".join(parts)
