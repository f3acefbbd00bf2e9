"""Print the accessibility trees of all programs on the session bus as JSON; run by the system's Python.

It imports nothing of this package: gi.repository.Atspi comes with Debian's python3-gi, not with pip. Used by
``session.py``. Boxes are [x, y, width, height] in the units of the toolkit, which are pixels except on scaled displays.
"""

import json
import sys
from typing import Any

# Of a list with more entries, those at the front: a table of all characters has 60,000.
MAX_CHILDREN = 300
MAX_NODES = 6000
MAX_NAME = 200


def read_all() -> list[dict[str, Any]]:
    """Return the nodes that are showing, parents before children."""
    import gi

    gi.require_version("Atspi", "2.0")
    from gi.repository import Atspi, GLib

    Atspi.set_timeout(1500, 5000)
    nodes: list[dict[str, Any]] = []

    def states_of(node: Any) -> list[str]:
        return [state.value_nick for state in node.get_state_set().get_states()]

    def box_of(node: Any) -> list[int] | None:
        component = node.get_component_iface()
        if component is None:
            return None
        extents = component.get_extents(Atspi.CoordType.SCREEN)
        return [extents.x, extents.y, extents.width, extents.height]

    def label_of(node: Any) -> str:
        for relation in node.get_relation_set() or ():
            if relation.get_relation_type() == Atspi.RelationType.LABELLED_BY and relation.get_n_targets():
                return (relation.get_target(0).get_name() or "")[:MAX_NAME]
        return ""

    def visit(node: Any, parent: int, pid: int, toolkit: str) -> None:
        if node is None or len(nodes) >= MAX_NODES:
            return
        try:
            states = states_of(node)
            role = node.get_role_name()
            if parent >= 0 and "showing" not in states:
                return
            entry = {"id": len(nodes), "parent": parent, "pid": pid, "toolkit": toolkit, "role": role}
            entry |= {"name": (node.get_name() or "")[:MAX_NAME], "states": states, "box": box_of(node)}
            entry["description"] = (node.get_description() or "")[:MAX_NAME]
            if role in ("text", "entry", "password text", "spin button", "combo box", "document text"):
                entry["label"] = label_of(node)
                entry["placeholder"] = (node.get_attributes() or {}).get("placeholder-text", "")[:MAX_NAME]
            nodes.append(entry)
            for number in range(min(node.get_child_count(), MAX_CHILDREN)):
                visit(node.get_child_at_index(number), entry["id"], pid, toolkit)
        except GLib.Error:
            # A program that closes a window or does not answer: the rest of the screen is still good.
            return

    desktop = Atspi.get_desktop(0)
    for number in range(desktop.get_child_count()):
        try:
            program = desktop.get_child_at_index(number)
            if program is None:
                continue
            toolkit = f"{program.get_toolkit_name()} {program.get_toolkit_version()}"
            for window in range(program.get_child_count()):
                child = program.get_child_at_index(window)
                if child is not None and "showing" in states_of(child):
                    visit(child, -1, child.get_process_id(), toolkit)
        except GLib.Error:
            continue
    return nodes


if __name__ == "__main__":
    json.dump(read_all(), sys.stdout)
