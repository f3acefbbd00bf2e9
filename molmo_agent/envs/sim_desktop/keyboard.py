"""Reactions of the simulated desktop to text and keys."""

import unicodedata

from molmo_agent.envs.sim_desktop.draw import Drawing
from molmo_agent.envs.sim_desktop.events import Event, activate, press_widget
from molmo_agent.envs.sim_desktop.menus import edit, open_menu, replace_selection
from molmo_agent.envs.sim_desktop.reactions import below
from molmo_agent.envs.sim_desktop.state import Desktop, Widget, Window
from molmo_agent.envs.sim_desktop.windows import title_button

_FOCUSABLE = ("field", "button", "checkbox", "radio", "dropdown", "slider", "link", "tab", "list")
# Buttons that the Escape key stands for, in this order.
_ESCAPES = ("Cancel", "Close", "No", "Not now")
_CONTROL = ("ctrl", "cmd")


def type_text(desktop: Desktop, drawing: Drawing, text: str, *, replace: bool = False) -> list[Event]:
    """Enter text into the field with the keyboard focus, in place of what it holds if ``replace``.

    Without such a field it has no effect.

    A line break is the Enter key and a tabulator the Tab key, as on a keyboard; no key types any other control.
    """
    events: list[Event] = []
    part = ""
    if replace and desktop.focus is not None and desktop.focus.kind == "field" and desktop.focus.enabled:
        desktop.focus.all_selected = True
        events += replace_selection(desktop.focus, "")
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
    for character in f"{text}\0":
        if character not in "\n\t\0":
            part += character if unicodedata.category(character) != "Cc" else ""
            continue
        field = desktop.focus
        if part and field is not None and field.kind == "field" and field.enabled:
            events += replace_selection(field, part)
        part = ""
        if character != "\0":
            events += press_keys(desktop, drawing, ("enter" if character == "\n" else "tab",))
    return events


def press_keys(desktop: Desktop, drawing: Drawing, keys: tuple[str, ...]) -> list[Event]:
    """Press a key or a chord. Unassigned keys do nothing, as on a real desktop."""
    window = _active(desktop)
    widget = desktop.focus
    match keys:
        case ("escape",) | ("esc",):
            return _escape(desktop, window)
        case ("tab",) | ("shift", "tab"):
            _next(desktop, window, -1 if len(keys) > 1 else 1)
        case ("enter",) | ("return",):
            if widget is not None and widget.kind in ("button", "link", "dropdown"):
                return _press_focused(desktop, drawing, widget, window)
            default = (
                next((w for w in window.visible_widgets() if w.kind == "button" and w.primary), None)
                if window
                else None
            )
            return activate(desktop, default.label, window) if default is not None else []
        case ("space",) if widget is not None and widget.kind not in ("field", "list", "slider"):
            return _press_focused(desktop, drawing, widget, window)
        case ("alt", "f4") | ("ctrl", "w") if window is not None and "close" in window.buttons and window.has_frame:
            title_button(desktop, "close", window)
            return [Event("pressed", "window_close", window.title)]
        case _ if widget is not None and widget.kind == "field" and widget.enabled:
            return _edit_field(desktop, widget, keys)
        case ("left",) | ("right",) | ("up",) | ("down",) if widget is not None:
            _arrow(widget, keys[0])
    return []


def _active(desktop: Desktop) -> Window | None:
    """Return the window that gets the keys: the uppermost modal one, else the front one."""
    modal = next((w for w in reversed(desktop.windows) if w.modal and not w.minimized), None)
    return modal or desktop.front()


def _escape(desktop: Desktop, window: Window | None) -> list[Event]:
    if desktop.menu is not None:
        desktop.menu = None
        return []
    if window is None or not window.modal:
        return []
    for label in _ESCAPES:
        if events := activate(desktop, label, window):
            return events
    if "close" in window.buttons and window.has_frame:
        title_button(desktop, "close", window)
        return [Event("pressed", "window_close", window.title)]
    return []


def _press_focused(desktop: Desktop, drawing: Drawing, widget: Widget, window: Window | None) -> list[Event]:
    if not widget.enabled:
        return []
    if widget.kind == "dropdown" and widget.items:
        for element, owner in zip(drawing.screen.elements, drawing.owners, strict=True):
            if owner is not None and owner.widget is widget:
                desktop.menu = open_menu(widget.items, below(element.box), what="choices", owner=widget, window=window)
    return press_widget(desktop, widget, window)


def _next(desktop: Desktop, window: Window | None, step: int) -> None:
    """Move the keyboard focus to the next or previous widget of a window, cyclically."""
    order = [w for w in window.visible_widgets() if w.kind in _FOCUSABLE and w.enabled] if window else []
    if not order:
        return
    if desktop.focus in order:
        widget = order[(order.index(desktop.focus) + step) % len(order)]
    else:
        widget = order[0 if step > 0 else -1]
    desktop.focus = widget
    if widget.kind == "field":
        widget.caret, widget.all_selected = len(widget.value), bool(widget.value)


def _edit_field(desktop: Desktop, field: Widget, keys: tuple[str, ...]) -> list[Event]:
    match keys:
        case (control, "a") if control in _CONTROL:
            return edit(desktop, field, "Select all")
        case (control, "c") if control in _CONTROL:
            return edit(desktop, field, "Copy")
        case (control, "x") if control in _CONTROL:
            return edit(desktop, field, "Cut")
        case (control, "v") if control in _CONTROL:
            return edit(desktop, field, "Paste")
        case ("backspace",) | ("delete",):
            return _erase(field, keys[0])
        case ("space",):
            return replace_selection(field, " ")
        case (character,) if len(character) == 1:
            return replace_selection(field, character)
        case ("shift", character) if len(character) == 1:
            return replace_selection(field, character.upper())
        case ("left",) | ("right",) | ("home",) | ("end",):
            ends = {"home": 0, "end": len(field.value), "left": field.caret - 1, "right": field.caret + 1}
            field.caret = min(max(ends[keys[0]], 0), len(field.value))
            field.all_selected = False
    return []


def _erase(field: Widget, key: str) -> list[Event]:
    if field.all_selected:
        return replace_selection(field, "")
    if key == "backspace" and field.caret:
        field.value = field.value[: field.caret - 1] + field.value[field.caret :]
        field.caret -= 1
    elif key == "delete":
        field.value = field.value[: field.caret] + field.value[field.caret + 1 :]
    return [Event("typed", "field", field.label)]


def _arrow(widget: Widget, key: str) -> None:
    forward = 1 if key in ("right", "down") else -1
    if widget.kind == "slider" and widget.enabled:
        step = forward if key in ("left", "right") else -forward  # up is more
        widget.level = min(max(widget.level + 0.05 * step, 0.0), 1.0)
    elif widget.kind == "list" and widget.items:
        at = widget.items.index(widget.selected) if widget.selected in widget.items else -1
        at = min(max(at + forward, 0), len(widget.items) - 1)
        widget.selected = widget.items[at]
        widget.offset = min(max(widget.offset, at - widget.rows + 1), at)
