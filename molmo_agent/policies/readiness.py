"""Whether text can be typed after a click or a shortcut: the window or field that it is for may open late.

Text that is typed too early goes to the program that was clicked, where its letters are shortcuts and its spaces press
buttons. So something must show that a field is ready: words of the instruction that name a field, a caret, another
window with the keyboard, or a large change such as a dialog.
"""

import re
from collections.abc import Sequence

from molmo_agent.actions import Key
from molmo_agent.episode import Observation, Step
from molmo_agent.images import caret_bars, changed_share, different_pixels
from molmo_agent.policies.instructions.substep import SubStep, names_a_field
from molmo_agent.policies.verification import effect_with_looks

# A change of this share of the screen is a dialog, a page or a window.
_LARGE_SHARE = 0.015
# One caret that came, or one that moved.
_MAX_CARETS = 2
# What is clicked to open something else than a field.
_OPENS = re.compile(r"(?<!\w)(?:open|launch|start|run|new|create|add|compose|show)(?!\w)", re.IGNORECASE)
# Keys that only move the caret or select: nothing opens.
_IN_PLACE = frozenset(
    {"home", "end", "left", "right", "up", "down", "pageup", "pagedown", "backspace", "delete", "insert", "space"}
)
_IN_PLACE_CHORDS = frozenset({"a", "c", "x", "v", "z", "y", "b", "i", "u"})
NOTHING_OPENED = "nothing that takes text opened"
_ELSEWHERE = "the keyboard focus is in another window than the one that was clicked"


def doubt_about_field(step: SubStep, click: Step, looks: Sequence[Step], now: Observation, same_words: bool) -> str:
    """Return why text should not be typed yet after a click, or an empty string.

    Args:
        step: the sub-step of the click.
        click: the step that was sent for it.
        looks: the waits since.
        now: the present screen.
        same_words: whether the click is part of the typing, as in ``type "Ada" into Name``: its target is a field.
    """
    if click.dry_run or click.effect == "unknown":
        return ""
    clicked, before, focused = (
        click.info.get("window"),
        click.observation.info.get("window"),
        now.info.get("window"),
    )
    if same_words or any(map(names_a_field, step.targets)):
        knows = clicked is not None and focused is not None
        return _ELSEWHERE if knows and focused != clicked else ""
    if focused is not None and focused not in (clicked, before):
        return ""
    screens = [look.observation for look in looks] + [now]
    if any(_opens_a_field(first, second) for first, second in zip([click.observation, *screens], screens, strict=False)):
        return ""
    return NOTHING_OPENED


def must_open(step: SubStep, click: Step, looks: Sequence[Step]) -> bool:
    """Return whether text would certainly go wrong after a click that seems to have opened nothing."""
    return effect_with_looks(click, looks) == "unchanged" or _OPENS.search(step.text) is not None


def awaits_window(step: Step) -> bool:
    """Return whether a step pressed keys that may open something, and nothing happened yet."""
    if not isinstance(step.action, Key) or step.effect != "unchanged":
        return False
    last = step.action.keys[-1]
    return not (last in _IN_PLACE or last in _IN_PLACE_CHORDS)


def focus_left(step: Step, now: Observation) -> str:
    """Return that another window has the keyboard than the one that text was typed into, or an empty string."""
    typed_into, focused = step.info.get("window"), now.info.get("window")
    if typed_into is None or focused is None or typed_into == focused:
        return ""
    return "another window than the one that was typed into has the keyboard focus"


def _opens_a_field(before: Observation, after: Observation) -> bool:
    if before.size != after.size:
        return True
    mask = different_pixels(before.image, after.image)
    return changed_share(mask) >= _LARGE_SHARE or 0 < len(caret_bars(mask)) <= _MAX_CARETS
