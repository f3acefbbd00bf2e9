"""Reactions of a simulated phone to touches, keys and text."""

import unicodedata

from molmo_agent.envs.sim_phone.commands import perform
from molmo_agent.envs.sim_phone.draw import draw
from molmo_agent.envs.sim_phone.draw_items import Touch
from molmo_agent.envs.sim_phone.layout import lay_out
from molmo_agent.envs.sim_phone.state import Phone

# Movements shorter than this, in units, are taps; presses longer than this, in milliseconds, are long presses.
_SLOP, _LONG_MS = 8, 400


def tap(phone: Phone, x: int, y: int) -> None:
    """Touch a position in pixels for a moment. A phone that sleeps or is locked does not react."""
    _touch(phone, x, y, long=False)


def long_press(phone: Phone, x: int, y: int) -> None:
    """Touch a position in pixels until a menu opens, where there is one; elsewhere nothing happens."""
    _touch(phone, x, y, long=True)


def _touch(phone: Phone, x: int, y: int, *, long: bool) -> None:
    if phone.asleep or phone.locked:
        return
    match draw(phone).hit(x, y):
        case ("key", str(name)):
            _screen_key(phone, name)
        case Touch(field=str(label)) if label:
            focus(phone, label)
        case Touch(slider=str(label), track=track) if label:
            _slide(phone, label, x, track)
        case Touch(press=press, hold=hold):
            command = hold if long else press
            if command:
                perform(phone, command, (x, y))


def swipe(phone: Phone, x0: int, y0: int, x1: int, y1: int, duration_ms: int = 300) -> None:
    """Touch at a position, move to another one and release, pixels."""
    if max(abs(x1 - x0), abs(y1 - y0)) < phone.look.u(_SLOP):
        _touch(phone, x0, y0, long=duration_ms >= _LONG_MS)
        return
    if phone.asleep:
        return
    _, height = phone.size
    up = y0 - y1 > phone.look.u(60)
    if phone.locked:
        phone.locked = not up
        return
    if not phone.look.buttons and up and y0 >= height - phone.look.navigation_height:
        phone.home()
        return
    target = draw(phone).hit(x0, y0)
    if isinstance(target, Touch) and target.slider:
        _slide(phone, target.slider, x1, target.track)
    elif phone.top is not None and phone.overlay is None:
        layout = lay_out(phone)
        assert layout is not None
        if layout.view[1] <= y0 < layout.view[3]:
            phone.top.offset += y0 - y1
            lay_out(phone)


def focus(phone: Phone, label: str) -> None:
    """Give a field the keyboard, and scroll so that the field can be seen above it."""
    phone.focus = label
    layout = lay_out(phone)
    if layout is None or phone.top is None:
        return
    for item, box in layout.items:
        if item.kind == "field" and item.label == label:
            below = max(box[3] - layout.view[3], 0)
            phone.top.offset += min(below, box[1] - layout.view[1])
            lay_out(phone)


def enter_text(phone: Phone, text: str) -> None:
    """Put text into the field that has the keyboard; without one it is lost, as on any phone.

    Line feeds are kept; no keyboard enters any other control.
    """
    text = "".join(character for character in text if character == "\n" or unicodedata.category(character) != "Cc")
    if phone.focus is not None and text:
        phone.fields[phone.focus] = phone.fields.get(phone.focus, "") + text


def press_key(phone: Phone, code: str) -> None:
    """Press a key by Android's name for it; keys without a meaning here do nothing."""
    name = code.removeprefix("KEYCODE_")
    match name:
        case "WAKEUP":
            phone.asleep = False
        case "SLEEP" | "POWER":
            phone.asleep = name == "SLEEP" or not phone.asleep
        case _ if phone.asleep or phone.locked:
            return
        case "BACK" | "ESCAPE":
            phone.back()
        case "HOME":
            phone.home()
        case "ENTER":
            _enter(phone)
        case "DEL" if phone.focus is not None:
            phone.fields[phone.focus] = phone.fields.get(phone.focus, "")[:-1]
        case "SPACE":
            enter_text(phone, " ")
        case "TAB":
            _next_field(phone)
        case _ if len(name) == 1:
            enter_text(phone, name.lower())


def _screen_key(phone: Phone, name: str) -> None:
    codes = {"backspace": "DEL", "enter": "ENTER", "space": "SPACE"}
    if name == "shift":
        phone.capitals = not phone.capitals
    elif name in codes:
        press_key(phone, codes[name])
    else:
        enter_text(phone, name.upper() if phone.capitals else name)
        phone.capitals = False


def _fields(phone: Phone) -> dict[str, int]:
    """Return the fields of the page in front and how many lines each has."""
    layout = lay_out(phone)
    items = [*layout.items, *layout.footer] if layout else []
    return {item.label: item.lines for item, _ in items if item.kind == "field"}


def _enter(phone: Phone) -> None:
    """Break the line of a long text, send a message, hide the keyboard elsewhere."""
    if phone.focus is None or phone.top is None:
        return
    if _fields(phone).get(phone.focus, 1) > 1:
        enter_text(phone, "\n")
    elif phone.focus == "Message":
        perform(phone, ("send", phone.top.about))
    else:
        phone.leave_field()


def _next_field(phone: Phone) -> None:
    labels = list(_fields(phone))
    if phone.focus in labels:
        focus(phone, labels[(labels.index(phone.focus) + 1) % len(labels)])


def _slide(phone: Phone, label: str, x: int, track: tuple[int, int]) -> None:
    phone.levels[label] = min(max((x - track[0]) / max(track[1] - track[0], 1), 0.0), 1.0)
