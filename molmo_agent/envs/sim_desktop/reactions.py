"""Reactions of the simulated desktop to presses, drags and the wheel."""

from molmo_agent.actions import Direction
from molmo_agent.envs.drawing.annotated_screen import PixelBox
from molmo_agent.envs.sim_desktop.draw import Drawing, content_origin
from molmo_agent.envs.sim_desktop.draw_widgets import Target
from molmo_agent.envs.sim_desktop.events import Event, press_widget, set_level
from molmo_agent.envs.sim_desktop.menus import choose, context_items, open_menu
from molmo_agent.envs.sim_desktop.state import Desktop, OpenMenu, Widget, Window
from molmo_agent.envs.sim_desktop.windows import bring_forward, move_window, open_document, title_button

_Position = tuple[float, float]


def click(desktop: Desktop, drawing: Drawing, x: float, y: float, count: int = 1) -> list[Event]:
    """Press and release the left button at a position in pixels, ``count`` times."""
    target = drawing.hit(x, y)
    was_open, desktop.menu = desktop.menu, None
    if target is not None and target.part == "menu_item" and was_open is not None:
        return choose(desktop, was_open, target.label)
    if target is None:
        desktop.focus = None
        return []
    if target.part == "open_menu":  # the frame of a menu, or a line between its items
        desktop.menu = was_open
        return []
    if is_blocked(desktop, target):
        return []
    if target.window is not None and target.part != "task":
        bring_forward(desktop, target.window)
    match target.part:
        case "widget" | "scrollbar":
            return _press(desktop, drawing, target, x, y, count)
        case "item":
            assert target.widget is not None
            desktop.focus = target.widget
            target.widget.selected = target.label
            events = [Event("pressed", "list_item", target.label)]
            return [*events, Event("opened", "list_item", target.label)] if count > 1 else events
        case "close" | "minimize" | "maximize":
            assert target.window is not None
            title_button(desktop, target.part, target.window)
            return [Event("pressed", f"window_{target.part}", target.label)]
        case "title" if count > 1:
            assert target.window is not None
            title_button(desktop, "maximize", target.window)
        case "menu":
            assert target.window is not None
            menu = next(m for m in target.window.menus if m.label == target.label)
            if was_open is None or was_open.owner is not menu:
                at = below(box_of(drawing, target))
                desktop.menu = OpenMenu(menu.items, at, menu, target.window)
            return [Event("pressed", "menu", target.label)]
        case "task":
            assert target.window is not None
            hide = target.window is desktop.front()
            target.window.minimized = hide
            if not hide:
                bring_forward(desktop, target.window)
            return [Event("pressed", "taskbar_item", target.label)]
        case "desktop":
            return _press_icon(desktop, target, count)
        case "tray":
            return [Event("pressed", "icon", target.label)]
        case "start":
            titles = sorted(w.title for w in desktop.windows if w.in_taskbar and w.has_frame)
            if titles and (was_open is None or was_open.what != "start"):
                desktop.menu = open_menu(titles, (int(x), int(y)), what="start")
            return [Event("pressed", "icon", target.label)]
        case _:
            desktop.focus = None
    return []


def right_click(desktop: Desktop, drawing: Drawing, x: float, y: float) -> list[Event]:
    """Press the right button: opens the context menu of the target."""
    target = drawing.hit(x, y)
    desktop.menu = None
    if target is not None and is_blocked(desktop, target):
        return []
    if target is not None and target.window is not None and target.part != "task":
        bring_forward(desktop, target.window)
    if target is not None and target.widget is not None and target.widget.kind == "field":
        desktop.focus = target.widget
    desktop.menu = open_menu(context_items(target), (int(x), int(y)), what="context", target=target)
    return [Event("right_pressed", target.widget.kind if target and target.widget else "desktop", _label(target))]


def _label(target: Target | None) -> str:
    return target.label if target is not None else ""


def is_blocked(desktop: Desktop, target: Target) -> bool:
    """Return whether a modal window keeps a target from reacting."""
    modal = next((w for w in reversed(desktop.windows) if w.modal and not w.minimized), None)
    return modal is not None and target.window is not modal


def _press(desktop: Desktop, drawing: Drawing, target: Target, x: float, y: float, count: int) -> list[Event]:
    widget, window = target.widget, target.window
    assert widget is not None
    if not widget.enabled:
        return []
    desktop.focus = widget
    if widget.kind == "field":
        widget.all_selected = count > 1
        widget.caret = len(widget.value)
    elif widget.kind == "slider":
        set_level(widget, x, box_of(drawing, target))
    elif widget.kind == "list":
        if target.part == "scrollbar":
            _scroll_to(drawing, widget, window, y, desktop)
        return []
    elif widget.kind == "dropdown":
        if widget.items:
            box = box_of(drawing, target)
            desktop.menu = open_menu(widget.items, below(box), what="choices", owner=widget, window=window)
            desktop.menu.width = round(box[2] - box[0])
    else:
        return press_widget(desktop, widget, window)
    return [Event("pressed", widget.kind, widget.label)]


def _press_icon(desktop: Desktop, target: Target, count: int) -> list[Event]:
    assert target.widget is not None
    for icon in desktop.icons:
        icon.checked = icon is target.widget
    events = [Event("pressed", "icon", target.label)]
    if count < 2:
        return events
    open_document(desktop, target.label, target.widget.icon)
    return [*events, Event("opened", "icon", target.label)]


def box_of(drawing: Drawing, target: Target) -> PixelBox:
    """Return where the element of a target was drawn, pixels."""
    for element, owner in zip(drawing.screen.elements, drawing.owners, strict=True):
        same = owner is not None and (owner.part, owner.label) == (target.part, target.label)
        if same and owner is not None and owner.window is target.window and owner.widget is target.widget:
            return element.box
    raise AssertionError(f"{target.part} {target.label!r} reacted but was not drawn")


def below(box: PixelBox) -> tuple[int, int]:
    """Return the lower left corner of a box."""
    return int(box[0]), int(box[3])


def drag(desktop: Desktop, drawing: Drawing, start: _Position, end: _Position) -> list[Event]:
    """Press at ``start``, move to ``end`` and release, pixels: moves windows, sliders, scroll bars and icons."""
    target = drawing.hit(*start)
    if target is None or is_blocked(desktop, target):
        return []
    widget, window = target.widget, target.window
    dx, dy = round(end[0] - start[0]), round(end[1] - start[1])
    if target.part == "title" and window is not None:
        bring_forward(desktop, window)
        if window.restore_box is not None:
            return []
        move_window(desktop, window, dx, dy)
        return [Event("moved", "window", window.title)]
    if widget is None:
        return []
    if target.part == "desktop":
        left, top, right, bottom = widget.box
        widget.box = (left + dx, top + dy, right + dx, bottom + dy)
        return [Event("moved", "icon", widget.label)]
    if not widget.enabled or window is None:
        return []
    bring_forward(desktop, window)
    if widget.kind == "slider":
        desktop.focus = widget
        set_level(widget, end[0], box_of(drawing, target))
        return [Event("moved", "slider", widget.label)]
    if target.part == "scrollbar":
        _scroll_to(drawing, widget, window, end[1], desktop)
    return []


def _scroll_to(drawing: Drawing, widget: Widget, window: Window | None, y: float, desktop: Desktop) -> None:
    """Scroll a list so that the thumb of its scroll bar is around a height on the screen."""
    assert window is not None
    top = content_origin(window, desktop.look)[1] + widget.box[1]
    share = (y - top) / max(widget.height, 1)
    widget.offset = _within(round(share * len(widget.items) - widget.rows / 2), widget)


def _within(offset: int, widget: Widget) -> int:
    return min(max(offset, 0), max(len(widget.items) - widget.rows, 0))


def scroll(desktop: Desktop, drawing: Drawing, x: float, y: float, direction: Direction, notches: int) -> None:
    """Turn the wheel over a position in pixels: a list under it moves by rows, a slider by hundredths."""
    target = drawing.hit(x, y)
    if target is None or target.widget is None or is_blocked(desktop, target):
        return
    widget = target.widget
    if widget.kind == "list":
        widget.offset = _within(widget.offset + {"down": notches, "up": -notches}.get(direction, 0), widget)
    elif widget.kind == "slider" and widget.enabled:
        change = {"up": notches, "right": notches, "down": -notches, "left": -notches}[direction] / 100
        widget.level = min(max(widget.level + change, 0.0), 1.0)
