"""What can be asked on a simulated desktop, and how one tells that it was done; knows no pixels of any device."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from molmo_agent.envs.sim_desktop import words
from molmo_agent.envs.sim_desktop.draw import Drawing
from molmo_agent.envs.sim_desktop.reactions import Event
from molmo_agent.envs.sim_desktop.scene import Element


@dataclass(frozen=True, slots=True)
class Goal:
    """An instruction and the test that it was followed."""

    instruction: str
    reached: Callable[[Sequence[Event]], bool]


@dataclass(frozen=True, slots=True)
class Family:
    """One kind of task: which screens it is set on, which elements it asks for, in which words."""

    # A style of the sampler, None for any.
    style: str | None
    kinds: tuple[str, ...]
    # "{}" is the element's label, or the colour and the form of a shape.
    wording: str
    # The event that reaches the goal.
    what: str = "pressed"


FAMILIES: dict[str, Family] = {
    "click-shape": Family("shapes", ("shape",), "click the {}"),
    "click-button": Family(None, ("button",), 'click the "{}" button'),
    "click-icon": Family("desktop", ("icon",), "click the {} icon"),
    "click-link": Family("web", ("link",), 'click the "{}" link'),
    "click-checkbox": Family("form", ("checkbox",), 'click the "{}" checkbox'),
    "choose-radio": Family("form", ("radio",), 'select the "{}" option'),
    "switch-tab": Family("desktop", ("tab",), 'open the "{}" tab'),
    "pick-list-item": Family("desktop", ("list_item",), 'select "{}"'),
    "open-menu": Family("desktop", ("menu",), 'click the "{}" menu'),
    "close-window": Family("desktop", ("window_close",), 'click the close button of the "{}" window'),
    "fill-field": Family("form", ("field",), 'type "{text}" into the "{}" field', what="typed"),
}


def name_of(element: Element) -> str:
    """Return what an element is called in an instruction."""
    return f"{element.color} {element.shape}" if element.kind == "shape" else element.label


def candidates(drawing: Drawing, family: Family) -> list[Element]:
    """Return the visible elements of a family that can be named and told apart from all others."""
    seen = [element for element in drawing.screen.elements if element.visible]
    names = Counter(name_of(element).casefold() for element in seen)
    titles = {element.label for element in seen if element.kind == "window_title" and element.text}

    def nameable(element: Element) -> bool:
        if element.kind == "shape":
            return True
        if element.kind == "window_close":
            return element.label in titles
        if element.kind == "icon":
            return not element.text and element.label == element.shape
        return element.text

    def alone(element: Element) -> bool:
        if element.kind == "window_close":  # its window's title and its task bar item have the same name
            return sum(e.kind == element.kind and e.label == element.label for e in seen) == 1
        return names[name_of(element).casefold()] == 1

    return [
        element
        for element in seen
        if element.kind in family.kinds and element.state != "disabled" and nameable(element) and alone(element)
    ]


def make_goal(element: Element, family: Family, rng: Random) -> Goal:
    """Ask for an element."""
    text = words.person(rng)
    name = name_of(element)
    instruction = family.wording.replace("{text}", text).replace("{}", name)
    wanted = Event(family.what, element.kind, element.label)
    return Goal(instruction, lambda events: wanted in events)


def matching(elements: Sequence[Element], instruction: str) -> list[Element]:
    """Return the visible elements that an instruction names: those with the longest name in it, of a kind it names.

    Privileged: for oracles and metrics.
    """
    asked = instruction.casefold()
    words_of_kind = {
        "window_close": "close button",
        "checkbox": "checkbox",
        "radio": "option",
        "menu": "menu",
        "tab": "tab",
        "link": "link",
        "button": "button",
        "field": "field",
        "icon": "icon",
    }
    scored = []
    for element in elements:
        name = name_of(element).casefold()
        if element.visible and name and name in asked:
            named_kind = words_of_kind.get(element.kind, "\0") in asked
            scored.append(((named_kind, len(name)), element))
    if not scored:
        return []
    best = max(score for score, _ in scored)
    return [element for score, element in scored if score == best]
