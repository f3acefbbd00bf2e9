"""Events that tasks test for, and the effect of pressing a widget, by pointer or by key."""

from dataclasses import dataclass

from molmo_agent.envs.drawing.annotated_screen import PixelBox
from molmo_agent.envs.sim_desktop.state import Desktop, Widget, Window


@dataclass(frozen=True, slots=True)
class Event:
    """An action of the user on the desktop."""

    # "pressed", "right_pressed", "opened", "chosen", "typed", "moved".
    what: str
    # Kind of the element: "button", "shape", "window_close" ...
    kind: str
    label: str


def press_widget(desktop: Desktop, widget: Widget, window: Window | None) -> list[Event]:
    """Press a button, check box, radio button, tab, icon, link or shape."""
    if widget.kind == "checkbox":
        widget.checked = not widget.checked
    elif widget.kind in ("radio", "tab") and window is not None:
        for other in window.widgets:
            if other.kind == widget.kind and other.group == widget.group:
                other.checked = other is widget
    if widget.closes and window is not None and window in desktop.windows:
        desktop.windows.remove(window)
        desktop.focus = None
    return [Event("pressed", widget.kind, widget.label)]


def activate(desktop: Desktop, label: str, window: Window | None) -> list[Event]:
    """Press the button with a label in a window, as the keys Enter and Escape do."""
    button = window.find("button", label) if window is not None else None
    return press_widget(desktop, button, window) if button is not None and button.enabled else []


def set_level(widget: Widget, x: float, box: PixelBox) -> None:
    """Put the middle of a slider's handle at a horizontal position, pixels; ``box`` is where the slider is drawn."""
    handle = box[3] - box[1]
    widget.level = min(max((x - box[0] - handle / 2) / max(box[2] - box[0] - handle, 1), 0.0), 1.0)
