"""Tasks on a simulated phone: instructions that name every step, and the tests of their success."""

import copy
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from molmo_agent.envs.android.gestures import scroll_swipes
from molmo_agent.envs.drawing import words
from molmo_agent.envs.sim_phone.draw import draw
from molmo_agent.envs.sim_phone.locate import locate
from molmo_agent.envs.sim_phone.pages import HOURS, MINUTES
from molmo_agent.envs.sim_phone.state import DOCK_SIZE, Phone
from molmo_agent.envs.sim_phone.touch import enter_text, long_press, swipe, tap

_MOST_NOTCHES = 60
_TEXTS = (
    "Buy oat milk and bread",
    "Call the dentist at nine",
    "Return the blue book",
    "Water the plants",
    "Ask about the keys",
)
_WISHES = ("Running late, sorry!", "See you on Friday", "Can you bring the charger?", "Thank you so much")


@dataclass(frozen=True, slots=True)
class Goal:
    """An instruction and the test of its success."""

    instruction: str
    is_reached: Callable[[Phone], bool]


class _NoWay(Exception):
    """An element that a task needs is not visible, or not unique, on this phone."""


@dataclass(slots=True)
class _Walk:
    """Executes a task on a copy of the phone and records each step as a phrase."""

    phone: Phone
    phrases: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.phone = copy.deepcopy(self.phone)

    def tap(self, phrase: str, verb: str = "tap", *, long: bool = False) -> None:
        x, y = self._find(phrase)
        (long_press if long else tap)(self.phone, x, y)
        self.phrases.append(f"{verb} {phrase}")

    def type(self, text: str, into: str) -> None:
        try:
            spot = self._find(into)
        except _NoWay:
            if self.phone.focus is None:
                raise
            # Held sideways, the keyboard leaves hardly any room: put it away first.
            self.phone.back()
            self.phrases.append("go back")
            spot = self._find(into)
        tap(self.phone, *spot)
        enter_text(self.phone, text)
        self.phrases.append(f'type "{text}" into {into}')

    def drag(self, start: str, end: str) -> None:
        swipe(self.phone, *self._find(start), *self._find(end))
        self.phrases.append(f"drag {start} to {end}")

    def _find(self, phrase: str) -> tuple[int, int]:
        """Return the position of what a phrase names, scrolling down until it is visible."""
        if (spot := self._locate_one(phrase)) is not None:
            return spot
        last_offset = -1
        for notches in range(1, _MOST_NOTCHES):
            ahead = copy.deepcopy(self)
            for move in scroll_swipes("down", notches, self.phone.size):
                swipe(ahead.phone, *move)
            offset = ahead.phone.top.offset if ahead.phone.top else -1
            if offset == last_offset:  # the end of the page
                break
            last_offset = offset
            if (spot := ahead._locate_one(phrase)) is not None:
                self.phone = ahead.phone
                self.phrases.append(f"scroll down {notches}")
                return spot
        raise _NoWay(phrase)

    def _locate_one(self, phrase: str) -> tuple[int, int] | None:
        boxes = locate(draw(self.phone).screen, phrase)
        if len(boxes) > 1:
            raise _NoWay(f"{phrase} is not the only one")
        return (int(boxes[0][0] + boxes[0][2]) // 2, int(boxes[0][1] + boxes[0][3]) // 2) if boxes else None

    def goal(self, is_reached: Callable[[Phone], bool]) -> Goal:
        return Goal(", then ".join(self.phrases), is_reached)


def make_goal(family: str, phone: Phone, rng: random.Random) -> Goal | None:
    """Return a goal of a family on a phone; None if the phone has no element for it. May open pages of the phone."""
    try:
        return FAMILIES[family](phone, rng)
    except _NoWay:
        return None


def _shows(phone: Phone, app: str, page: str = "main", about: str = "") -> bool:
    top = phone.top
    return top is not None and (top.app.label, top.page, top.about) == (app, page, about)


def _open_app(phone: Phone, rng: random.Random) -> Goal:
    label = rng.choice(phone.apps[:-DOCK_SIZE]).label
    walk = _Walk(phone)
    walk.tap(f'the "{label}" app', "open")
    return walk.goal(lambda phone: _shows(phone, label))


def _launch_app(phone: Phone, rng: random.Random) -> Goal:
    label = rng.choice(phone.apps).label
    return Goal(f"launch {label}", lambda phone: _shows(phone, label))


def _toggle_setting(phone: Phone, rng: random.Random) -> Goal:
    walk = _Walk(phone)
    walk.tap('the "Settings" app', "open")
    label = rng.choice(list(phone.switches))
    page = {"Dark theme": "Display", "Auto-rotate": "Display", "Vibrate on touch": "Sound"}.get(label)
    if page:
        walk.tap(f'"{page}"')
    walk.tap(f'the "{label}" switch')
    goal = phone.switches | {label: not phone.switches[label]}
    return walk.goal(lambda phone: phone.switches == goal)


def _set_level(phone: Phone, rng: random.Random) -> Goal:
    walk = _Walk(phone)
    label = rng.choice(list(phone.levels))
    walk.tap('the "Settings" app', "open")
    walk.tap('"Display"' if label == "Brightness" else '"Sound"')
    end = rng.choice(("left", "right"))
    slider = f'the "{label}" slider'
    walk.drag(f"the handle of {slider}", f"the {end} end of {slider}")

    def is_reached(phone: Phone) -> bool:
        return phone.levels[label] > 0.93 if end == "right" else phone.levels[label] < 0.07

    return walk.goal(is_reached)


def _open_contact(phone: Phone, rng: random.Random) -> Goal:
    name = rng.choice(phone.contacts).name
    walk = _Walk(phone)
    walk.tap('the "Contacts" app', "open")
    walk.tap(f'"{name}"')
    return walk.goal(lambda phone: _shows(phone, "Contacts", "contact", name))


def _write_note(phone: Phone, rng: random.Random) -> Goal:
    title, text = words.pseudo_word(rng, "train"), rng.choice(_TEXTS)
    if not title.isalnum():
        raise _NoWay(title)
    walk = _Walk(phone)
    walk.tap('the "Notes" app', "open")
    walk.tap('the "New note" button')
    walk.type(title, 'the "Title" field')
    walk.type(text, 'the "Text" field')
    walk.tap('the "Save" button')
    return walk.goal(lambda phone: any((note.title, note.body) == (title, text) for note in phone.notes))


def _delete_note(phone: Phone, rng: random.Random) -> Goal:
    title = rng.choice(phone.notes).title
    walk = _Walk(phone)
    walk.tap('the "Notes" app', "open")
    walk.tap(f'"{title}"', "long-press", long=True)
    walk.tap('the "Delete" menu item')
    walk.tap('the "Delete" button')
    remaining = {note.title for note in phone.notes} - {title}
    return walk.goal(lambda phone: {note.title for note in phone.notes} == remaining)


def _set_alarm(phone: Phone, rng: random.Random) -> Goal:
    hour, minute = rng.choice(HOURS), rng.choice(MINUTES)
    time = f"{hour}:{minute}"
    if any(alarm.time == time for alarm in phone.alarms):
        raise _NoWay(time)
    walk = _Walk(phone)
    walk.tap('the "Clock" app', "open")
    walk.tap('the "Add alarm" button')
    walk.tap(f'"{hour}"')
    walk.tap(f'":{minute}"')
    walk.tap('the "Save" button')
    return walk.goal(lambda phone: any(alarm.time == time and alarm.on for alarm in phone.alarms))


def _toggle_alarm(phone: Phone, rng: random.Random) -> Goal:
    alarm_time = rng.choice(phone.alarms).time
    walk = _Walk(phone)
    walk.tap('the "Clock" app', "open")
    walk.tap(f'the "{alarm_time}" switch')
    goal = [(alarm.time, alarm.on != (alarm.time == alarm_time)) for alarm in phone.alarms]
    return walk.goal(lambda phone: [(alarm.time, alarm.on) for alarm in phone.alarms] == goal)


def _send_message(phone: Phone, rng: random.Random) -> Goal:
    name, text = rng.choice(phone.threads).name, rng.choice(_WISHES)
    walk = _Walk(phone)
    walk.tap('the "Messages" app', "open")
    walk.tap(f'"{name}"')
    walk.type(text, 'the "Message" field')
    walk.tap('the "Send" button')

    def is_reached(phone: Phone) -> bool:
        return all((thread.messages[-1] == (True, text)) == (thread.name == name) for thread in phone.threads)

    return walk.goal(is_reached)


def _add_to_cart(phone: Phone, rng: random.Random) -> Goal:
    name = rng.choice(phone.products).name
    walk = _Walk(phone)
    walk.tap('the "Shop" app', "open")
    walk.tap(f'"{name}"')
    walk.tap('the "Add to cart" button')
    return walk.goal(lambda phone: phone.cart == [name])


def _enter_an_app(phone: Phone, rng: random.Random) -> tuple[str, str, str]:
    where: Sequence[tuple[str, str, str]] = (
        ("Settings", "display", ""),
        ("Contacts", "contact", rng.choice(phone.contacts).name),
        ("Shop", "product", rng.choice(phone.products).name),
        ("Messages", "thread", rng.choice(phone.threads).name),
    )
    app, page, about = rng.choice(where)
    phone.launch(phone.app(app))
    phone.go(app, page, about)
    return app, page, about


def _go_home(phone: Phone, rng: random.Random) -> Goal:
    _enter_an_app(phone, rng)
    return Goal("go home", lambda phone: phone.top is None)


def _go_back(phone: Phone, rng: random.Random) -> Goal:
    app, _, _ = _enter_an_app(phone, rng)
    return Goal("go back", lambda phone: _shows(phone, app))


FAMILIES: dict[str, Callable[[Phone, random.Random], Goal]] = {
    "open-app": _open_app,
    "launch-app": _launch_app,
    "toggle-setting": _toggle_setting,
    "set-level": _set_level,
    "open-contact": _open_contact,
    "write-note": _write_note,
    "delete-note": _delete_note,
    "set-alarm": _set_alarm,
    "toggle-alarm": _toggle_alarm,
    "send-message": _send_message,
    "add-to-cart": _add_to_cart,
    "go-home": _go_home,
    "go-back": _go_back,
}
"""Families of tasks; each raises _NoWay if the phone has no element for it."""
WITHOUT_POINTS = frozenset({"launch-app", "go-home", "go-back"})
"""Families that need no pointing; a seed never draws them, a name does."""
