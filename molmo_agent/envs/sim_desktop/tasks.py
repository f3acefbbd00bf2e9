"""Tasks on a simulated desktop, and the tests of their success.

Two sources of tasks: one element of a sampled screen (this file), and windows made for a task (``window_tasks``).
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from molmo_agent.envs.drawing import words
from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen
from molmo_agent.envs.sim_desktop.events import Event
from molmo_agent.envs.sim_desktop.state import Desktop


@dataclass(frozen=True, slots=True)
class Goal:
    """An instruction and the test of its success."""

    instruction: str
    # Called after each step with the desktop and all events of the episode.
    is_reached: Callable[[Desktop, Sequence[Event]], bool]
    # Where the task takes place, pixels of the desktop; pop-ups that only disturb keep clear of it.
    place: PixelBox | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of task: the style of its screens, the kinds of its targets, the wording of its instruction."""

    # A style of the sampler, None for any.
    style: str | None
    kinds: tuple[str, ...]
    # "{}" is the element's label, or the colour and the form of a shape.
    wording: str
    # The event that reaches the goal.
    what: str = "pressed"
    # Targets show their label; False: targets are icons without one.
    has_label: bool = True


FAMILIES: dict[str, Family] = {
    "click-shape": Family("shapes", ("shape",), "click the {}"),
    "click-button": Family(None, ("button",), 'click the "{}" button'),
    "click-icon": Family("desktop", ("icon",), "click the {} icon", has_label=False),
    "click-link": Family("web", ("link",), 'click the "{}" link'),
    "click-checkbox": Family("form", ("checkbox",), 'click the "{}" checkbox'),
    "choose-radio": Family("form", ("radio",), 'select the "{}" option'),
    "switch-tab": Family("desktop", ("tab",), 'open the "{}" tab'),
    "pick-list-item": Family("desktop", ("list_item",), 'select "{}"'),
    "open-menu": Family("desktop", ("menu",), 'click the "{}" menu'),
    "close-window": Family("desktop", ("window_close",), 'click the close button of the "{}" window'),
    "fill-field": Family("form", ("field",), 'type "{text}" into the "{}" field', what="typed"),
    "open-icon": Family("desktop", ("icon",), 'double-click the "{}" icon', what="opened"),
}


def name_of(element: Element) -> str:
    """Return the name of an element in an instruction."""
    return f"{element.color} {element.shape}" if element.kind == "shape" else element.label


def candidates(screen: Screen, family: Family, opens: frozenset[str] = frozenset()) -> list[Element]:
    """Return the visible elements of a family that have a unique name.

    Args:
        screen: the observed screen.
        family: the family of the task.
        opens: labels of the desktop's icons, which open when they are double-clicked.
    """
    visible = [element for element in screen.elements if element.visible]
    names = Counter(name_of(element).casefold() for element in visible)
    titles = {element.label for element in visible if element.kind == "window_title" and element.text}

    def nameable(element: Element) -> bool:
        if element.kind == "shape":
            return True
        if element.kind == "window_close":
            return element.label in titles
        if family.what == "opened":
            return element.text and element.label in opens
        if not family.has_label:
            return not element.text and element.label == element.shape
        return element.text

    def alone(element: Element) -> bool:
        if element.kind == "window_close":  # its window's title and its task bar item have the same name
            return sum(e.kind == element.kind and e.label == element.label for e in visible) == 1
        return names[name_of(element).casefold()] == 1

    return [
        element
        for element in visible
        if element.kind in family.kinds and element.state != "disabled" and nameable(element) and alone(element)
    ]


def make_goal(element: Element, family: Family, rng: Random, place: PixelBox) -> Goal:
    """Return the goal of acting on an element; ``place`` is its box on the whole desktop."""
    text = words.person(rng)
    name = name_of(element)
    instruction = family.wording.replace("{text}", text).replace("{}", name)
    if family.what == "typed":
        return Goal(instruction, lambda desktop, events: _holds(desktop, element.label, text), place)
    event = Event(family.what, element.kind, element.label)
    return Goal(instruction, lambda desktop, events: event in events, place)


def _holds(desktop: Desktop, label: str, text: str) -> bool:
    fields = [w for window in desktop.windows for w in window.widgets if w.kind == "field" and w.label == label]
    return any(text in field.value for field in fields)
