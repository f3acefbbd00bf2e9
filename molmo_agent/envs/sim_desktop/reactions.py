"""What happens on the simulated desktop when something is pressed, typed or turned; knows no tasks."""

from dataclasses import dataclass

from molmo_agent.actions import Direction
from molmo_agent.envs.sim_desktop.draw import Drawing
from molmo_agent.envs.sim_desktop.draw_widgets import Target
from molmo_agent.envs.sim_desktop.state import Desktop, OpenMenu, Widget, Window


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a user did to the desktop, as tasks count it."""

    # "pressed", "opened", "closed", "typed", "moved" ...
    what: str
    # Kind of the element: "button", "shape", "window_close" ...
    kind: str
    label: str


def click(desktop: Desktop, drawing: Drawing, x: float, y: float, count: int = 1) -> list[Event]:
    """Press and release at a position in pixels."""
    target = drawing.hit(x, y)
    was_open, desktop.menu = desktop.menu, None
    if target is None:
        desktop.focus = None
        return []
    modal = next((w for w in reversed(desktop.windows) if w.modal and not w.minimized), None)
    if modal is not None and target.window is not modal and target.part != "menu_item":
        return []
    if target.window is not None and target.part != "task":
        _raise(desktop, target.window)
    match target.part:
        case "widget":
            assert target.widget is not None
            return _press(desktop, drawing, target, x, y)
        case "item":
            assert target.widget is not None
            target.widget.selected = target.label
            return [Event("pressed", "list_item", target.label)]
        case "close" | "minimize" | "maximize":
            assert target.window is not None
            _title_button(desktop, target.part, target.window)
            return [Event("pressed", f"window_{target.part}", target.label)]
        case "menu":
            assert target.window is not None
            menu = next(m for m in target.window.menus if m.label == target.label)
            if was_open is None or was_open.owner is not menu:
                desktop.menu = OpenMenu(menu.items, _below(drawing, "menu", target.label), menu, target.window)
            return [Event("pressed", "menu", target.label)]
        case "menu_item":
            if was_open is not None and isinstance(was_open.owner, Widget):
                was_open.owner.value = target.label
            return [Event("pressed", "menu_item", target.label)]
        case "task":
            assert target.window is not None
            target.window.minimized = not target.window.minimized and target.window is desktop.front()
            if not target.window.minimized:
                _raise(desktop, target.window)
            return [Event("pressed", "taskbar_item", target.label)]
        case "desktop":
            assert target.widget is not None
            for icon in desktop.icons:
                icon.checked = icon is target.widget
            events = [Event("pressed", "icon", target.label)]
            return [*events, Event("opened", "icon", target.label)] if count > 1 else events
        case "tray" | "start":
            return [Event("pressed", "icon", target.label)]
        case _:
            return []


def _press(desktop: Desktop, drawing: Drawing, target: Target, x: float, y: float) -> list[Event]:
    widget, window = target.widget, target.window
    assert widget is not None
    if not widget.enabled:
        return []
    desktop.focus = widget if widget.kind == "field" else None
    if widget.kind == "checkbox":
        widget.checked = not widget.checked
    elif widget.kind in ("radio", "tab") and window is not None:
        for other in window.widgets:
            if other.kind == widget.kind and other.group == widget.group:
                other.checked = other is widget
    elif widget.kind == "field":
        widget.caret, widget.all_selected = len(widget.value), False
    elif widget.kind == "slider":
        left, _, right, _ = _box(drawing, widget)
        widget.level = min(max((x - left) / max(right - left, 1), 0.0), 1.0)
    elif widget.items and widget.kind not in ("list", "table"):
        desktop.menu = OpenMenu(widget.items, _below(drawing, widget.kind, widget.label), widget, window)
    return [Event("pressed", widget.kind, widget.label)]


def _box(drawing: Drawing, widget: Widget) -> tuple[float, float, float, float]:
    """Return where a widget was drawn, pixels."""
    for element, owner in zip(drawing.screen.elements, drawing.owners, strict=True):
        if owner is not None and owner.widget is widget:
            return element.box
    raise AssertionError(f"{widget.kind} {widget.label!r} reacted but was not drawn")


def _below(drawing: Drawing, kind: str, label: str) -> tuple[int, int]:
    for element in drawing.screen.elements:
        if element.kind == kind and element.label == label:
            return int(element.box[0]), int(element.box[3])
    return 0, 0


def _raise(desktop: Desktop, window: Window) -> None:
    desktop.windows.remove(window)
    desktop.windows.append(window)


def _title_button(desktop: Desktop, part: str, window: Window) -> None:
    if part == "close":
        desktop.windows.remove(window)
        if desktop.focus in window.widgets:
            desktop.focus = None
    elif part == "minimize":
        window.minimized = True
    elif window.restore is None:
        window.restore, window.box = window.box, desktop.area
    else:
        window.box, window.restore = window.restore, None


def drag(desktop: Desktop, drawing: Drawing, start: tuple[float, float], end: tuple[float, float]) -> list[Event]:
    """Press at ``start``, move to ``end`` and release, pixels: moves windows by their title and sliders."""
    target = drawing.hit(*start)
    if target is None:
        return []
    if target.part == "title" and target.window is not None and target.window.restore is None:
        _raise(desktop, target.window)
        dx, dy = round(end[0] - start[0]), round(end[1] - start[1])
        left, top, right, bottom = target.window.box
        # A window never leaves the screen by its title bar: it could not be fetched back.
        dy = min(max(dy, -top), desktop.height - 20 - top)
        target.window.box = (left + dx, top + dy, right + dx, bottom + dy)
        return [Event("moved", "window", target.window.title)]
    if target.widget is not None and target.widget.kind == "slider" and target.widget.enabled:
        first, _, last, _ = _box(drawing, target.widget)
        target.widget.level = min(max((end[0] - first) / max(last - first, 1), 0.0), 1.0)
        return [Event("moved", "slider", target.widget.label)]
    return []


def scroll(desktop: Desktop, drawing: Drawing, x: float, y: float, direction: Direction, notches: int) -> None:
    """Turn the wheel over a position in pixels: a list under it moves by rows."""
    target = drawing.hit(x, y)
    if target is None or target.widget is None or not target.widget.row_height:
        return
    widget = target.widget
    step = {"down": notches, "up": -notches}.get(direction, 0)
    count = len(widget.items) or len(widget.columns)
    widget.offset = min(max(widget.offset + step, 0), max(count - widget.rows, 0))


def type_text(desktop: Desktop, text: str) -> list[Event]:
    """Enter text into the field that has the keyboard; without one it goes nowhere."""
    field = desktop.focus
    if field is None:
        return []
    if field.all_selected:
        field.value, field.caret, field.all_selected = "", 0, False
    field.value = field.value[: field.caret] + text + field.value[field.caret :]
    field.caret += len(text)
    return [Event("typed", "field", field.label)]


def press_keys(desktop: Desktop, keys: tuple[str, ...]) -> list[Event]:
    """Press a key or a chord."""
    field = desktop.focus
    match keys:
        case ("escape",) | ("esc",):
            desktop.menu = None
            return []
        case ("tab",):
            return _next_field(desktop)
        case ("enter",) | ("return",):
            front = desktop.front()
            default = next((w for w in front.shown() if w.kind == "button" and w.primary), None) if front else None
            return [Event("pressed", "button", default.label)] if default is not None and default.enabled else []
        case ("ctrl", "a") | ("cmd", "a") if field is not None:
            field.all_selected = True
        case ("backspace",) | ("delete",) if field is not None and field.all_selected:
            field.value, field.caret, field.all_selected = "", 0, False
        case ("backspace",) if field is not None and field.caret:
            field.value = field.value[: field.caret - 1] + field.value[field.caret :]
            field.caret -= 1
        case ("delete",) if field is not None:
            field.value = field.value[: field.caret] + field.value[field.caret + 1 :]
        case ("left",) if field is not None:
            field.caret = max(field.caret - 1, 0)
        case ("right",) if field is not None:
            field.caret = min(field.caret + 1, len(field.value))
        case ("home",) if field is not None:
            field.caret = 0
        case ("end",) if field is not None:
            field.caret = len(field.value)
    return []


def _next_field(desktop: Desktop) -> list[Event]:
    front = desktop.front()
    fields = [w for w in front.shown() if w.kind == "field" and w.enabled] if front else []
    if fields:
        after = fields.index(desktop.focus) + 1 if desktop.focus in fields else 0
        desktop.focus = fields[after % len(fields)]
        desktop.focus.caret = len(desktop.focus.value)
    return []
