"""Operations on whole windows: bring forward, close, minimise, maximise, move, open."""

from molmo_agent.envs.sim_desktop.state import Desktop, Widget, Window


def bring_forward(desktop: Desktop, window: Window) -> None:
    """Put a window above all others."""
    desktop.windows.remove(window)
    desktop.windows.append(window)


def title_button(desktop: Desktop, part: str, window: Window) -> None:
    """Carry out "close", "minimize" or "maximize" (and back again)."""
    if part == "close":
        desktop.windows.remove(window)
        if desktop.focus in window.widgets:
            desktop.focus = None
    elif part == "minimize":
        window.minimized = True
    elif window.restore_box is None:
        middle = (window.box[0] + window.box[2]) // 2
        window.restore_box, window.box = window.box, desktop.area_at(middle)
    else:
        window.box, window.restore_box = window.restore_box, None


def move_window(desktop: Desktop, window: Window, dx: int, dy: int) -> None:
    """Move a window; a part of its title bar stays on the desktop, so that it can be moved back."""
    left, top, right, bottom = window.box
    bar = desktop.look.bar_height
    dy = min(max(dy, -top), desktop.height - bar - top)
    dx = min(max(dx, 2 * bar - right), desktop.width - 2 * bar - left)
    window.box = (left + dx, top + dy, right + dx, bottom + dy)


def open_document(desktop: Desktop, title: str, icon: str | None = None) -> None:
    """Open a window for a document, or bring the one that is open to the front."""
    existing = next((w for w in desktop.windows if w.title == title and w.has_frame), None)
    if existing is not None:
        existing.minimized = False
        bring_forward(desktop, existing)
        return
    look, (left, top, right, bottom) = desktop.look, desktop.area
    width, height = min(look.u(300), right - left), min(look.u(200), bottom - top)
    step = look.u(18) * (len(desktop.windows) % 4)
    x = min(left + (right - left - width) // 2 + step, right - width)
    y = min(top + (bottom - top - height) // 3 + step, bottom - height)
    window = Window(title, (x, y, x + width, y + height), icon=icon)
    letters = look.text
    size = letters.width(title)
    window.widgets.append(Widget("text", title, (look.pad, look.pad, look.pad + size, look.pad + letters.height)))
    desktop.windows.append(window)
