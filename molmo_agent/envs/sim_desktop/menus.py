"""Menus that open over the desktop: their items, and the effect of choosing one."""

from collections.abc import Sequence

from molmo_agent.envs.sim_desktop.draw_widgets import Target
from molmo_agent.envs.sim_desktop.events import Event
from molmo_agent.envs.sim_desktop.state import Desktop, OpenMenu, Widget, Window
from molmo_agent.envs.sim_desktop.windows import open_document, title_button

_EDITING = ["Cut", "Copy", "Paste", "-", "Select all"]
_WINDOW = ["Minimize", "Maximize", "-", "Close"]
_DESKTOP = ["New folder", "Paste", "-", "Refresh"]
_OBJECT = ["Open", "Copy", "-", "Properties"]


def open_menu(
    items: Sequence[str],
    at: tuple[int, int],
    *,
    what: str,
    owner: Widget | None = None,
    window: Window | None = None,
    target: Target | None = None,
) -> OpenMenu:
    """Return a menu that belongs to no menu bar, its top left corner at a position in pixels."""
    if target is not None:
        owner, window = target.widget, target.window
    return OpenMenu(list(items), at, owner or Widget("menu", "", (0, 0, 0, 0)), window, what=what)


def context_items(target: Target | None) -> list[str]:
    """Return the items of the context menu of a target."""
    if target is None:
        return _DESKTOP
    if target.widget is not None:
        return _EDITING if target.widget.kind == "field" else _OBJECT
    return _WINDOW if target.part in ("title", "task") else _OBJECT


def choose(desktop: Desktop, menu: OpenMenu, item: str) -> list[Event]:
    """Choose an entry of a menu that was open; the menu is closed already."""
    events = [Event("pressed", "menu_item", item)]
    owner, window = menu.owner, menu.window
    if menu.what == "choices" and isinstance(owner, Widget):
        owner.value = item
        return [*events, Event("chosen", "dropdown", owner.label)]
    if menu.what == "start":
        open_document(desktop, item)
    elif menu.what == "context" and isinstance(owner, Widget):
        if owner.kind == "field":
            edit(desktop, owner, item)
        elif window is not None and item in _WINDOW and owner.kind == "menu":
            title_button(desktop, item.lower(), window)
        elif item == "Open" and owner in desktop.icons:
            open_document(desktop, owner.label, owner.icon)
            events.append(Event("opened", "icon", owner.label))
        elif item == "Copy":
            desktop.clipboard = owner.label
    return events


def edit(desktop: Desktop, field: Widget, command: str) -> list[Event]:
    """Carry out "Cut", "Copy", "Paste" or "Select all" in a field."""
    if command == "Select all":
        field.all_selected = bool(field.value)
    elif command in ("Cut", "Copy"):
        # Passwords are never copied out of a field.
        if field.all_selected and not field.secret:
            desktop.clipboard = field.value
            if command == "Cut":
                return replace_selection(field, "")
    elif command == "Paste":
        return replace_selection(field, desktop.clipboard)
    return []


def replace_selection(field: Widget, text: str) -> list[Event]:
    """Replace the selection by text, or insert it at the caret."""
    if field.all_selected:
        field.value, field.caret, field.all_selected = "", 0, False
    field.value = field.value[: field.caret] + text + field.value[field.caret :]
    field.caret += len(text)
    return [Event("typed", "field", field.label)]
