"""Print what is showing on the session's accessibility bus as JSON; run by the system's Python.

It imports nothing of this package: gi.repository.Atspi comes with Debian's python3-gi, not with pip. One object per
node, parents before children: name, role, states, text (of fields) and box ([x, y, width, height] in screen pixels).
"""

import importlib
import json
import sys
from typing import Any

# Of a list with more entries, those at the front.
MAX_CHILDREN, MAX_NODES, MAX_TEXT = 200, 4000, 2000


def read_tree() -> list[dict[str, Any]]:
    """Return the nodes that are showing."""
    gi: Any = importlib.import_module("gi")
    gi.require_version("Atspi", "2.0")
    Atspi: Any = importlib.import_module("gi.repository.Atspi")
    GLib: Any = importlib.import_module("gi.repository.GLib")

    Atspi.set_timeout(2000, 5000)
    nodes: list[dict[str, Any]] = []

    def label_of(node: Any) -> str:
        for relation in node.get_relation_set() or ():
            if relation.get_relation_type() == Atspi.RelationType.LABELLED_BY and relation.get_n_targets():
                return relation.get_target(0).get_name() or ""
        return ""

    def visit(node: Any, depth: int) -> None:
        if node is None or len(nodes) >= MAX_NODES:
            return
        try:
            states = [state.value_nick for state in node.get_state_set().get_states()]
            if depth > 1 and "showing" not in states:
                return
            entry: dict[str, Any] = {"name": node.get_name() or "", "role": node.get_role_name(), "states": states}
            component, text = node.get_component_iface(), node.get_text_iface()
            if component is not None and depth > 0:
                extents = component.get_extents(Atspi.CoordType.SCREEN)
                entry["box"] = [extents.x, extents.y, extents.width, extents.height]
            if text is not None:
                entry["text"] = Atspi.Text.get_text(text, 0, min(Atspi.Text.get_character_count(text), MAX_TEXT))
            entry["label"] = label_of(node)
            nodes.append(entry)
            for number in range(min(node.get_child_count(), MAX_CHILDREN)):
                visit(node.get_child_at_index(number), depth + 1)
        except GLib.Error:
            # A program that closes a window or does not answer: the rest of the screen can still be read.
            return

    desktop = Atspi.get_desktop(0)
    for number in range(desktop.get_child_count()):
        visit(desktop.get_child_at_index(number), 0)
    return nodes


if __name__ == "__main__":
    json.dump(read_tree(), sys.stdout)
