"""How a person would ask for an element of a screen by its name, never ambiguously; knows nothing of models.

Other ways to ask, and questions that have no answer or several, are in ``questions.py``.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox

# What people call each kind; the first is the plainest.
KIND_WORDS: dict[str, tuple[str, ...]] = {
    "button": ("button",),
    "checkbox": ("checkbox", "check box"),
    "radio": ("radio button", "option"),
    "field": ("field", "text field", "input", "text box"),
    "link": ("link",),
    "tab": ("tab",),
    "menu": ("menu",),
    "menu_item": ("menu item", "item"),
    "list_item": ("list item", "item"),
    "slider": ("slider",),
    "icon": ("icon",),
    "taskbar_item": ("task bar item",),
    "text": ("text", "label"),
    "window_title": ("title bar", "window title"),
    "dropdown": ("drop-down", "drop-down list", "select box"),
    "letter": ("letter",),
    "section": ("section", "section header"),
    "app": ("app",),
    "switch": ("switch", "toggle"),
    "row": ("row", "entry"),
    "person": ("contact", "person"),
    "card": ("card",),
    "chip": ("option", "choice"),
    "message": ("message",),
    "key": ("key",),
    "title": ("title",),
}
# Title-bar buttons are asked for by what they do to the window of a title.
WINDOW_VERBS = {"window_close": "close", "window_minimize": "minimize", "window_maximize": "maximize"}

# Whole questions around the noun phrase; "{}" alone is what the policy sends and therefore the most common.
QUESTIONS = ("{}",) * 12 + (
    "point to {}",
    "Point to {}",
    "click {}",
    "Click {}",
    "Click on {}",
    "press {}",
    "select {}",
    "Select {}",
    "Where is {}",
    "find {}",
)


# What people call an image whose name is no word for it.
IMAGE_WORDS = {
    "bubble": "speech bubble",
    "close": "x",
    "edit": "pencil",
    "erase": "backspace",
    "handset": "phone",
    "more": "three dots",
    "pin": "map pin",
    "send": "paper plane",
    "wifi": "Wi-Fi",
}


@dataclass(frozen=True, slots=True)
class Question:
    """A question about what a screen shows, mostly about one element."""

    # What is asked for; empty where the right answer is that there are none.
    elements: tuple[Element, ...]
    text: str
    # What the answer's alt text says.
    label: str
    # The category that evaluation counts it under.
    category: str
    # Whether the label is the element's own name, to be found where the element is.
    named: bool = True
    # Whether the answer says how many there are.
    counted: bool = False
    # The place, in pixels, of another thing that the question tells it by: "next to Save".
    beside: PixelBox | None = None

    @property
    def element(self) -> Element:
        """What is asked for; of several the first."""
        return self.elements[0]


def plain_name(text: str) -> str:
    """Return a name as it is compared: its case aside, and what a form puts behind it."""
    return text.casefold().rstrip(":* ")


def is_image(element: Element) -> bool:
    """Tell whether an element is known by its image alone."""
    if element.kind == "icon":
        return not element.text and element.label == element.shape
    return element.kind in ("button", "app") and not element.text and element.shape is not None


def image_word(element: Element) -> str:
    """Return what people call the image of an element that has one."""
    assert element.shape is not None
    return IMAGE_WORDS.get(element.shape, element.shape) if element.kind != "icon" else element.label


def can_be_named(element: Element, titles: set[str]) -> bool:
    """Tell whether what the element is called can be seen: on it, next to it, or in its window's title."""
    if element.kind in WINDOW_VERBS:
        return element.label in titles
    return element.kind == "shape" or element.text or is_image(element)


def category(element: Element) -> str:
    """Return the category that scores are reported by: ``shape``, ``icon``, ``text-button``, ``word``, ..."""
    if element.kind == "shape":
        return "shape"
    if element.kind in WINDOW_VERBS:
        return "window-button"
    if is_image(element):
        return "icon"
    if element.kind == "text":
        return "word"
    return f"text-{element.kind}"


def describe(element: Element) -> str:
    """Return what tells an element from others of its kind: its label, or size, colour and shape."""
    if element.kind == "shape":
        return " ".join(part for part in (element.size, element.color, element.shape) if part)
    return image_word(element) if is_image(element) else element.label


def noun_phrases(element: Element, rng: Random) -> list[str]:
    """Return ways to name an element, the most explicit first."""
    label = describe(element)
    if element.kind == "shape":
        color_shape = f"the {element.color} {element.shape}"
        return [f"the {element.size} {element.color} {element.shape}", color_shape, color_shape]
    if element.kind in WINDOW_VERBS:
        verb = WINDOW_VERBS[element.kind]
        return [f'the {verb} button of the "{label}" window', f'{verb} the "{label}" window']
    kind = rng.choice(KIND_WORDS[element.kind])
    if is_image(element):
        return [f"the {label} icon", f"the {label} icon", f"{label} icon", f"the {label} button"]
    return [f'the "{label}" {kind}', f'"{label}"', label, f"the {label} {kind}", f"{label} {kind}"]


def ask_all(elements: Sequence[Element], rng: Random) -> list[Question]:
    """Ask for every visible element that can be told apart from the others, one question each.

    An element whose label another visible element shares is asked for with its kind if that decides, else not at all.
    """
    titles = {element.label for element in elements if element.kind == "window_title" and element.text}
    visible = [element for element in elements if element.visible]
    labels = Counter(describe(element).casefold() for element in visible)
    kinds = Counter((element.kind, describe(element).casefold()) for element in visible)
    plain_shapes = Counter((element.color, element.shape) for element in visible if element.kind == "shape")
    questions = []
    for element in visible:
        name = describe(element).casefold()
        nameable = element.kind in {"shape", *KIND_WORDS, *WINDOW_VERBS} and can_be_named(element, titles)
        if not name or not nameable or kinds[element.kind, name] > 1:
            continue
        if is_image(element) and kinds["navigation", name]:
            continue  # a phone's back button and its app's are both "the back button"
        phrases = noun_phrases(element, rng)
        if element.kind == "shape":
            if plain_shapes[element.color, element.shape] > 1:
                phrases = phrases[:1]
        elif element.kind not in WINDOW_VERBS and labels[name] > 1:
            phrases = phrases[:1]
        text = rng.choice(QUESTIONS).format(rng.choice(phrases))
        questions.append(Question((element,), text, name, category(element)))
    return questions
