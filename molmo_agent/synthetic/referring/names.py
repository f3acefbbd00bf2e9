"""Unambiguous questions for an element of a screen by its name.

Other expressions, and questions with no target or several, are in ``questions.py``.
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
# Title-bar buttons are identified by what they do to the window with a title.
WINDOW_VERBS = {"window_close": "close", "window_minimize": "minimize", "window_maximize": "maximize"}

# Templates of questions around a noun phrase; "{}" is what the policy sends, and therefore the most frequent.
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


# Words for images whose names are not what people call them.
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
    """A question about a screen, mostly about one element."""

    # The targets; empty if the correct answer is "none".
    elements: tuple[Element, ...]
    text: str
    # Alt text of the answer.
    label: str
    # The category in evaluation.
    category: str
    # Whether the label is the element's own name, visible at the element.
    named: bool = True
    # Whether the answer states the number of targets.
    counted: bool = False
    # The box, in pixels, of a neighbour that the question mentions: "next to Save".
    beside: PixelBox | None = None

    @property
    def element(self) -> Element:
        """The first target."""
        return self.elements[0]


def plain_name(text: str) -> str:
    """Return a name in its form for comparisons: casefolded, without the colon or asterisk of a form's label."""
    return text.casefold().rstrip(":* ")


def is_image(element: Element) -> bool:
    """Return whether an element is identified by its image alone."""
    if element.kind == "icon":
        return not element.text and element.label == element.shape
    return element.kind in ("button", "app") and not element.text and element.shape is not None


def image_word(element: Element) -> str:
    """Return the common word for an element's image."""
    assert element.shape is not None
    return IMAGE_WORDS.get(element.shape, element.shape) if element.kind != "icon" else element.label


def can_be_named(element: Element, titles: set[str]) -> bool:
    """Return whether an element's name is visible: on it, next to it, or in its window's title."""
    if element.kind in WINDOW_VERBS:
        return element.label in titles
    return element.kind == "shape" or element.text or is_image(element)


def category(element: Element) -> str:
    """Return the category for scores: ``shape``, ``icon``, ``text-button``, ``word``, ..."""
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
    """Return what distinguishes an element from others of its kind: its label, or size, colour and shape."""
    if element.kind == "shape":
        return " ".join(part for part in (element.size, element.color, element.shape) if part)
    return image_word(element) if is_image(element) else element.label


def noun_phrases(element: Element, rng: Random) -> list[str]:
    """Return noun phrases for an element, the most explicit first."""
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
    """Return one question for every visible element with a unique expression.

    If another visible element has the same label, the question names the kind too; if the kind is also the same, the
    element is skipped.
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
