"""Under what a question is counted: how it tells what is meant and, where it reads a text, what kind of thing that is.

Knows questions and nothing of answers.
"""

from collections.abc import Iterable

from molmo_agent.synthetic.referring.names import Question

MADE_UP, ELSEWHERE = "none: made up", "none: on another screen"
"""Of questions with nothing to point at: for a label, colour, form or kind that is made up, or for another screen's."""

LOOKS, TEXTS, REST = "shapes, icons, check boxes", "text-labelled widgets", "the rest"
GROUPS = (LOOKS, TEXTS, REST)
"""What categories are summed up in; nothing to point at belongs to none of them."""

GROUPS_NOTE = (
    f"{LOOKS.capitalize()}: drawings told by colour, shape, size or letter, images, the buttons of windows, check "
    f"boxes, radio buttons and switches. {TEXTS.capitalize()}: buttons, links, fields, tabs, ... by the text on them. "
    f"{REST.capitalize()}: plain text, and what is told by its kind, place, order or neighbour, several things and "
    "their number."
)

_TEXT = "by text: "
# Told by a text, but a small mark or a drawing is what has to be found.
_MARKS = tuple(_TEXT + kind for kind in ("checkbox", "radio button", "switch", "letter"))
_DRAWN = ("by colour", "by shape", "by size", "by picture", "window button")
_NAMES = {
    "icon": "by picture",
    "window-button": "window button",
    "word": _TEXT + "plain text",
    "look": "by kind",
    "place": "by place",
    "order": "by order",
    "neighbour": "by neighbour",
    "text-radio": _TEXT + "radio button",
    "text-dropdown": _TEXT + "drop-down",
    "text-taskbar_item": _TEXT + "task bar item",
}


def category_of(question: Question) -> str:
    """Return what a question is counted under; of drawings the least common of size, colour and shape that it tells."""
    if question.category in ("shape", "letter"):
        told = question.label.split()
        for attribute, value in (("size", question.element.size), ("colour", question.element.color)):
            if value in told:
                return f"by {attribute}"
        return "by shape"
    kind = question.category.removeprefix("text-")
    plain = kind if kind == question.category else _TEXT + kind.replace("_", " ")
    return _NAMES.get(question.category, plain)


def group_of(category: str) -> str | None:
    """Return the group of a category; None where there is nothing to point at."""
    if category in (MADE_UP, ELSEWHERE):
        return None
    if category in (*_DRAWN, *_MARKS):
        return LOOKS
    return TEXTS if category.startswith(_TEXT) and category != _NAMES["word"] else REST


def in_order(categories: Iterable[str]) -> list[str]:
    """Return each category once, group by group."""
    places: dict[str | None, int] = {group: number for number, group in enumerate(GROUPS)}
    return sorted(set(categories), key=lambda name: (places.get(group_of(name), len(GROUPS)), name))
