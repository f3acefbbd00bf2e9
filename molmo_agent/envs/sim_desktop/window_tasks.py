"""Tasks of several steps, on windows built for them: forms, log-ins, menus, lists, sliders, pop-ups."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from molmo_agent.envs.drawing import words
from molmo_agent.envs.drawing.canvas import IntBox
from molmo_agent.envs.sim_desktop.contents import Writer
from molmo_agent.envs.sim_desktop.events import Event
from molmo_agent.envs.sim_desktop.layout import Flow
from molmo_agent.envs.sim_desktop.popups import POPUPS, make_popup
from molmo_agent.envs.sim_desktop.state import Desktop, Menu, Widget, Window
from molmo_agent.envs.sim_desktop.tasks import Goal

_FIELDS = ("Name", "Email", "Company", "City", "Phone", "Street", "Country", "Subject", "Job title", "Notes")
_SENDING = ("Submit", "Send", "Save", "Apply", "Continue")
_BOXES = ("Newsletter", "Night light", "Auto save", "Location", "Bluetooth", "Show grid", "Sound", "Large icons")
_SLIDERS = ("Volume", "Brightness", "Speed", "Contrast", "Zoom")
_CHOICES = {
    "Country": ("France", "Germany", "Japan", "Kenya", "Brazil"),
    "Size": ("Small", "Medium", "Large"),
    "Delivery": ("Standard", "Express", "Overnight"),
}
_MENUS = {
    "File": ("New", "Open file", "Save as...", "Export as PDF", "Print"),
    "Edit": ("Undo", "Redo", "Find", "Replace all", "Select everything"),
    "View": ("Zoom in", "Zoom out", "Full screen", "Show ruler"),
    "Help": ("Contents", "Shortcuts", "About"),
}
_QUESTIONS = (
    ("Unsaved changes", "Do you want to keep your changes?", ("Keep", "Discard", "Cancel")),
    ("Delete file", "This cannot be undone. Go on?", ("Delete", "Cancel")),
    ("Connection lost", "The server does not answer.", ("Retry", "Abort")),
    ("Restart needed", "Restart to finish the update.", ("Restart now", "Later")),
)


@dataclass(frozen=True, slots=True)
class Stage:
    """The desktop and the random choices that a task is built from."""

    desktop: Desktop
    # Where on the desktop its windows go, pixels.
    area: IntBox
    writer: Writer
    rng: Random
    # The password that the log-in task expects.
    secret: str

    def flow(self, title: str, *, width: float = 280, height: float = 400) -> tuple[Window, Flow]:
        """Return a new window, not yet placed, and a column to fill it with; lengths at scale 1."""
        look = self.desktop.look
        left, top, right, bottom = self.area
        across, down = min(look.u(width), right - left), min(look.u(height), bottom - top)
        window = Window(title, (0, 0, across, down), icon="edit")
        flow = Flow(look, look.pad, look.pad, across - look.pad, down - look.bar_height - look.pad, window.widgets)
        return window, flow

    def place(self, window: Window, flow: Flow, *labels: str) -> None:
        """Put a filled window in front, as high as its content, and remove windows and icons with the same labels."""
        look, rng = self.desktop.look, self.rng
        height = flow.top + look.bar_height + (look.menu_height if window.menus else 0) + 2
        width = window.box[2]
        left, top, right, bottom = self.area
        x, y = rng.randint(left, right - width), rng.randint(top, max(bottom - height, top))
        window.box = (x, y, x + width, y + height)
        names = {label.casefold() for label in (*labels, window.title)}
        self.desktop.windows = [w for w in self.desktop.windows if not _labels(w) & names]
        self.desktop.icons = [w for w in self.desktop.icons if w.label.casefold() not in names]
        self.desktop.menu = None
        self.desktop.windows.append(window)


def _labels(window: Window) -> set[str]:
    labels = {window.title.casefold()}
    for widget in window.widgets:
        labels |= {widget.label.casefold(), *(item.casefold() for item in widget.items)}
    for menu in window.menus:
        labels |= {menu.label.casefold(), *(item.casefold() for item in menu.items)}
    return labels


def _is_last_press(label: str, events: Sequence[Event]) -> bool:
    return bool(events) and events[-1] == Event("pressed", "button", label)


def _fill_form(stage: Stage) -> Goal | None:
    rng = stage.rng
    labels = rng.sample(_FIELDS, rng.randint(2, 4))
    send = rng.choice(_SENDING)
    window, flow = stage.flow(rng.choice(("New contact", "Registration", "Order", "Feedback")))
    side = rng.choice(("left", "above"))
    width = max(flow.look.text.width(label) for label in labels)
    fields = [flow.field(label, side=side, label_width=width) for label in labels]
    if not all(fields) or not flow.buttons([send, "Cancel"], align="right", primary=0):
        return None
    stage.place(window, flow, *labels, send, "Cancel")
    values = {label: words.person(rng) if rng.random() < 0.6 else words.pseudo_word(rng) for label in labels}
    typing = ", ".join(f'type "{text}" into the "{label}" field' for label, text in values.items())

    def is_reached(desktop: Desktop, events: Sequence[Event]) -> bool:
        return _is_last_press(send, events) and all(f is not None and f.value == values[f.label] for f in fields)

    return Goal(f'{typing}, then click the "{send}" button', is_reached, window.box)


def _log_in(stage: Stage) -> Goal | None:
    rng = stage.rng
    window, flow = stage.flow(rng.choice(("Welcome back", "Sign in to continue", "Members")), width=260)
    name_label, send = rng.choice(("Username", "Email")), rng.choice(("Sign in", "Log in"))
    labels = (name_label, "Password", send)
    if window.title == "Sign in to continue":
        flow.text("Please identify yourself.")
    name = flow.field(name_label, side="above")
    password = flow.field("Password", side="above")
    if name is None or password is None:
        return None
    password.secret = True
    flow.box("checkbox", "Stay signed in")
    if not flow.buttons([send], primary=0):
        return None
    flow.links(["Lost it?"])
    stage.place(window, flow, *labels)
    user = words.pseudo_word(rng, "all").replace(" ", "")

    def is_reached(desktop: Desktop, events: Sequence[Event]) -> bool:
        return _is_last_press(send, events) and name.value == user and password.value == stage.secret

    text = f'type "{user}" into the "{name_label}" field, type "{{{{PASSWORD}}}}" into the "Password" field'
    return Goal(f'{text}, then click the "{send}" button', is_reached, window.box)


def _open_menu_item(stage: Stage) -> Goal | None:
    rng = stage.rng
    window, flow = stage.flow(rng.choice(("Editor", "Viewer", "Spreadsheet")), width=320)
    window.menus = [Menu(label, list(items)) for label, items in _MENUS.items()]
    look = flow.look
    if sum(look.text.width(label) + 2 * look.u(6) for label in _MENUS) > flow.width:
        return None
    for _ in range(4):
        flow.text(stage.writer.sentence(rng.randint(2, 5)))
    flow.top += look.u(60)
    menu = rng.choice(list(_MENUS))
    item = rng.choice(_MENUS[menu])
    stage.place(window, flow, *_MENUS, *(item for items in _MENUS.values() for item in items))
    goal = Event("pressed", "menu_item", item)
    return Goal(
        f'click the "{menu}" menu, then click "{item}"', lambda desktop, events: goal in events[-1:], window.box
    )


def _scroll_list(stage: Stage) -> Goal | None:
    rng = stage.rng
    window, flow = stage.flow(rng.choice(("Files", "Contacts", "Songs")), width=240)
    items = [stage.writer.item() for _ in range(rng.randint(18, 30))]
    widget = flow.list("list", items, rows=rng.randint(5, 8), icon=rng.choice(("file", None)))
    room = flow.width - flow.look.u(40)
    if widget is None or len({item.casefold() for item in items}) < len(items):
        return None
    later = [i for i in range(widget.rows + 1, len(items)) if flow.look.text.width(items[i]) < room]
    if not later:
        return None
    place = rng.choice(later)
    stage.place(window, flow, *items)
    # With another list on the desktop, "the list" would be ambiguous.
    stage.desktop.windows = [w for w in stage.desktop.windows if w is window or not _has_list(w)]
    notches = place - rng.randrange(widget.rows)
    item = items[place]

    def is_reached(desktop: Desktop, events: Sequence[Event]) -> bool:
        return widget.selected == item

    return Goal(f'scroll down {max(notches, 1)} in the list, then select "{item}"', is_reached, window.box)


def _has_list(window: Window) -> bool:
    return any(widget.kind == "list" for widget in window.widgets)


def _drag_slider(stage: Stage) -> Goal | None:
    rng = stage.rng
    window, flow = stage.flow("Controls", width=300)
    labels = rng.sample(_SLIDERS, rng.randint(1, 3))
    width = max(flow.look.text.width(label) for label in labels)
    sliders = [flow.slider(label, rng.uniform(0.3, 0.7), label_width=width) for label in labels]
    slider = rng.choice(sliders)
    if slider is None:
        return None
    stage.place(window, flow, *labels)
    end = rng.choice(("left", "right"))

    def is_reached(desktop: Desktop, events: Sequence[Event]) -> bool:
        return slider.level >= 0.93 if end == "right" else slider.level <= 0.07

    name = f'the "{slider.label}" slider'
    return Goal(f"drag the handle of {name} to the {end} end of {name}", is_reached, window.box)


def _close_dialog(stage: Stage) -> Goal | None:
    rng = stage.rng
    title, question, answers = rng.choice(_QUESTIONS)
    window, flow = stage.flow(title, width=320)
    if not flow.text(question) or not flow.buttons(answers, align="right", primary=0):
        return None
    window.modal, window.buttons = True, ("close",)
    for widget in window.widgets:
        widget.closes = widget.kind == "button"
    stage.place(window, flow, *answers)
    answer = rng.choice([w.label for w in window.widgets if w.kind == "button"])
    goal = Event("pressed", "button", answer)
    return Goal(f'click the "{answer}" button', lambda desktop, events: events[-1:] == [goal], window.box)


def _move_window(stage: Stage) -> Goal | None:
    rng = stage.rng
    window, flow = stage.flow(rng.choice(("Sticky note", "Calculator", "Player")), width=190)
    flow.text(stage.writer.sentence(3))
    flow.top += flow.look.u(40)
    stage.place(window, flow)
    left, top, right, bottom = stage.area
    row, side = rng.choice(("top", "bottom")), rng.choice(("left", "right"))

    def is_reached(desktop: Desktop, events: Sequence[Event]) -> bool:
        if not any(event.what == "moved" and event.label == window.title for event in events):
            return False
        x = ((window.box[0] + window.box[2]) / 2 - left) / (right - left)
        y = (window.box[1] - top) / (bottom - top)
        return (x < 0.35 if side == "left" else x > 0.65) and (y < 0.35 if row == "top" else y > 0.6)

    text = f'drag the title bar of the "{window.title}" window to the {row} {side} corner of the screen'
    return Goal(text, is_reached, window.box)


def _dismiss_popup(stage: Stage) -> Goal | None:
    rng = stage.rng
    window, flow = stage.flow(rng.choice(("Checkout", "Booking", "Profile")))
    labels = rng.sample(_SENDING, 3)
    flow.text(stage.writer.sentence(4))
    flow.box("checkbox", rng.choice(_BOXES))
    if not flow.buttons(labels):
        return None
    label = rng.choice([w.label for w in window.widgets if w.kind == "button"])
    kind = rng.choice(POPUPS)
    stage.place(window, flow, *labels, *kind.buttons)
    popup = make_popup(stage.desktop.look, stage.area, kind, rng, modal=True, clear_of=None)
    if popup is None:
        return None
    stage.desktop.windows.append(popup)

    def is_reached(desktop: Desktop, events: Sequence[Event]) -> bool:
        return popup not in desktop.windows and _is_last_press(label, events)

    a, b = window.box, popup.box
    around = (min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3]))
    return Goal(f'click the "{kind.buttons[0]}" button, then click the "{label}" button', is_reached, around)


def _check_several(stage: Stage) -> Goal | None:
    rng = stage.rng
    window, flow = stage.flow("Options", width=240)
    labels = rng.sample(_BOXES, rng.randint(3, 5))
    boxes = [flow.box("checkbox", label, checked=rng.random() < 0.3) for label in labels]
    send = rng.choice(_SENDING)
    if not all(boxes) or not flow.buttons([send, "Cancel"], primary=0):
        return None
    stage.place(window, flow, *labels, send, "Cancel")
    present = [box for box in boxes if box is not None]
    boxes_to_check = rng.sample(present, 2)
    goal = [box.checked != (box in boxes_to_check) for box in present]

    def is_reached(desktop: Desktop, events: Sequence[Event]) -> bool:
        return _is_last_press(send, events) and [box.checked for box in present] == goal

    clicks = ", ".join(f'click the "{box.label}" checkbox' for box in boxes_to_check)
    return Goal(f'{clicks}, then click the "{send}" button', is_reached, window.box)


def _choose(stage: Stage) -> Goal | None:
    rng = stage.rng
    window, flow = stage.flow("Shipping", width=280)
    widgets: list[Widget] = []
    for label, items in _CHOICES.items():
        widget = flow.field(label, side="left", label_width=flow.look.u(60), kind="dropdown", value=items[0])
        if widget is None:
            return None
        widget.items = list(items)
        widgets.append(widget)
    stage.place(window, flow, *_CHOICES, *(item for items in _CHOICES.values() for item in items))
    target = rng.choice(widgets)
    item = rng.choice(target.items[1:])
    return Goal(
        f'click the "{target.label}" drop-down, then click "{item}"',
        lambda desktop, events: target.value == item,
        window.box,
    )


def _restore_window(stage: Stage) -> Goal | None:
    rng = stage.rng
    if stage.area[0] != stage.desktop.area[0]:  # the task bar is on a monitor that is not observed
        return None
    window, flow = stage.flow(rng.choice(("Mail", "Music", "Clock")))
    flow.text(stage.writer.sentence(3))
    stage.place(window, flow)
    stage.desktop.taskbar = True
    window.minimized = True
    return Goal(f'click the "{window.title}" task bar item', lambda desktop, events: not window.minimized)


WINDOW_TASKS: dict[str, Callable[[Stage], Goal | None]] = {
    "fill-form-and-submit": _fill_form,
    "login": _log_in,
    "open-menu-item": _open_menu_item,
    "scroll-list-and-pick": _scroll_list,
    "drag-slider": _drag_slider,
    "close-dialog": _close_dialog,
    "move-window": _move_window,
    "dismiss-popup-then-click": _dismiss_popup,
    "check-several": _check_several,
    "choose-from-drop-down": _choose,
    "restore-window": _restore_window,
}
"""Builders of window and goal by family; they return None if the desktop has no room."""
