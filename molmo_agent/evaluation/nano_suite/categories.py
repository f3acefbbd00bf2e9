"""The category a question is scored under: how it identifies the target and, for texts, the kind of target."""

from collections.abc import Iterable

from molmo_agent.synthetic.referring.names import Question

MADE_UP, ELSEWHERE = "none: made up", "none: on another screen"
"""Categories of questions with an absent target: made up, or from another screen."""

LOOKS, TEXTS, REST = "shapes, icons, check boxes", "text-labelled widgets", "the rest"
GROUPS = (LOOKS, TEXTS, REST)
"""Groups of categories; absent targets belong to none."""

GROUPS_NOTE = (
    f"{LOOKS.capitalize()}: drawings identified by colour, shape, size or letter, images, window buttons, check "
    f"boxes, radio buttons and switches. {TEXTS.capitalize()}: buttons, links, fields, tabs, ... by the text on them. "
    f"{REST.capitalize()}: plain text, targets identified by kind, position, order or neighbour, several targets, and "
    "counting."
)

_TEXT = "by text: "
# Identified by a text, but the target is a small mark or a drawing.
_MARKS = tuple(_TEXT + kind for kind in ("checkbox", "radio button", "switch", "letter"))
_DRAWINGS = ("by colour", "by shape", "by size", "by picture", "window button")
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
    """Return the category of a question; for drawings, the rarest of size, colour and shape that it uses."""
    if question.category in ("shape", "letter"):
        words = question.label.split()
        for attribute, value in (("size", question.element.size), ("colour", question.element.color)):
            if value in words:
                return f"by {attribute}"
        return "by shape"
    kind = question.category.removeprefix("text-")
    plain = kind if kind == question.category else _TEXT + kind.replace("_", " ")
    return _NAMES.get(question.category, plain)


def group_of(category: str) -> str | None:
    """Return the group of a category; None if the target is absent."""
    if category in (MADE_UP, ELSEWHERE):
        return None
    if category in (*_DRAWINGS, *_MARKS):
        return LOOKS
    return TEXTS if category.startswith(_TEXT) and category != _NAMES["word"] else REST


def in_order(categories: Iterable[str]) -> list[str]:
    """Return each category once, group by group."""
    places: dict[str | None, int] = {group: number for number, group in enumerate(GROUPS)}
    return sorted(set(categories), key=lambda name: (places.get(group_of(name), len(GROUPS)), name))
