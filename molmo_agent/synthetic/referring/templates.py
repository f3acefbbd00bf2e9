"""Templates of questions and commands around a noun phrase."""

from random import Random

from molmo_agent.envs.drawing.annotated_screen import Element
from molmo_agent.envs.drawing.words import WordSplit, short_text
from molmo_agent.synthetic.referring.names import QUESTIONS, WINDOW_VERBS

# About half of the questions are the noun phrase alone, which is what the policy sends.
GENERAL = (
    *QUESTIONS,
    *("{}",) * 6,
    "Where is {}?",
    "tap {}",
    "Tap {}.",
    "Click {}.",
    "Click on {}.",
    "click on {}",
    "Press {}",
    "Please click {}",
    "Locate {}",
    "Find {}",
    "Show me {}",
    "Point at {}.",
)
TO_TYPE = (
    'type "{text}" into {}',
    "type {text} in {}",
    'Type "{text}" into {}.',
    'Enter "{text}" in {}',
    'enter "{text}" into {}',
    "write {text} into {}",
    'Fill in {} with "{text}".',
    "focus {}",
    "Focus into {}.",
    "Click into {}",
    "Put the cursor into {}",
)
# Commands for a kind of element.
BY_KIND: dict[str, tuple[str, ...]] = {
    "button": ("press {}", "Press {}.", "push {}"),
    "checkbox": ("tick {}", "Tick {}.", "check {}", "Check {}", "mark {}"),
    "radio": ("choose {}", "Choose {}.", "pick {}", "select {}"),
    "field": TO_TYPE,
    "link": ("follow {}", "open {}", "Open {}", "Click on {}."),
    "tab": ("switch to {}", "Switch to {}.", "open {}", "go to {}"),
    "dropdown": ("open {}", "Open {}", "expand {}"),
    "menu": ("open {}", "Open {}"),
    "menu_item": ("choose {}", "select {}"),
    "list_item": ("choose {}", "Choose {} from the list", "select {}"),
    "slider": ("drag {}", "move {}", "Adjust {}"),
    "section": ("expand {}", "Expand {}", "open {}"),
    "switch": ("toggle {}", "flip {}", "Turn {} on or off"),
    "app": ("open {}", "Open {}", "start {}", "launch {}"),
    "card": ("open {}",),
    "person": ("open {}", "choose {}"),
    "row": ("open {}", "choose {}"),
    "icon": ("press {}", "Press {}"),
}
# Commands for the buttons of a screen's only window.
CLOSING: dict[str, tuple[str, ...]] = {
    "window_close": (
        "close the dialog",
        "Close the dialog.",
        "close the window",
        "Close the dialog box",
        'the "x" button',
        'Close the window by clicking the "x".',
        "dismiss the dialog",
        "the close button",
    ),
    "window_minimize": ("minimize the window", "the minimize button"),
    "window_maximize": ("maximize the window", "the maximize button"),
}


def reword(text: str, rng: Random) -> str:
    """Return a question unchanged, or in the words that the policy uses to ask again."""
    return rng.choice((*("{}",) * 6, "Where is {}", "Click {}", "Click on {}")).replace("{}", text)


def fill_template(phrase: str, element: Element, rng: Random, split: WordSplit) -> str:
    """Return a question or command with a noun phrase, from a random template for the element's kind."""
    if phrase.split(" ", 1)[0] in WINDOW_VERBS.values():
        return phrase
    forms = BY_KIND.get(element.kind, ()) if rng.random() < 0.3 else GENERAL
    if element.state == "checked" and element.kind == "checkbox" and forms is not GENERAL:
        forms = ("untick {}", "uncheck {}", "Untick {}.")
    text = rng.choice(forms or GENERAL)
    return text.format(phrase, text=short_text(rng, split, 1))
