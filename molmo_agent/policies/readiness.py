"""Whether the next input can be sent after a click, a shortcut or a text: the window that it is for may open late.

Text that is typed too early goes to the program that was clicked, where its letters are shortcuts and its spaces press
buttons. So something must show that a field is ready: words of the instruction that name a field, a caret, another
window with the keyboard, or a large change such as a dialog. Where the env names the window with the keyboard, text
and the keys after it go to the window that was clicked or typed into, never to one that took the keyboard meanwhile.
"""

import itertools
import re
from collections.abc import Sequence

from molmo_agent.actions import Action, Key, Type, points_of
from molmo_agent.episode import Observation, Step
from molmo_agent.images import Mask, blocks, caret_bars, different_pixels
from molmo_agent.policies.instructions.substep import SubStep, is_field
from molmo_agent.policies.verification import effect_with_looks

# A dialog, a page or a window changes this share of the screen away from the click, over so many blocks each way. What
# changes less is the frame of a button, or the row of a list.
_LARGE_SHARE, _BLOCK_PX, _LEAST_BLOCKS = 0.015, 16, 4
# What is closer to the click than this share of the longer side, or so many pixels, belongs to what was clicked.
_NEAR_SHARE, _NEAR_PX = 0.06, 112
# A white dialog on light grey differs by little more.
_FAINT = 4
# One caret that came, or one that moved.
_MAX_CARETS = 2
# What is clicked to open something else than a field.
_OPENS = re.compile(r"(?<!\w)(?:open|launch|start|run|new|create|add|compose|show)(?!\w)", re.IGNORECASE)
# Keys that only move the caret, select or edit: nothing opens.
_IN_PLACE = frozenset(
    {"home", "end", "left", "right", "up", "down", "pageup", "pagedown", "backspace", "delete", "insert", "space"}
    | {"shift", "a", "c", "x", "v", "z", "y", "b", "i", "u"}
)
_NOTHING_OPENED = "nothing that takes text opened"
_NOT_CLICKED = "the keyboard focus is in another window than the one that was clicked"
_FOCUS_LEFT = "another window than the one that was typed into has the keyboard focus"


def obstacle_to(step: SubStep, following: SubStep, sent: Step, looks: Sequence[Step], now: Observation) -> str:
    """Return why the next sub-step should not be sent yet, or an empty string.

    Args:
        step: the last sub-step.
        following: the next one.
        sent: the step that was sent for the last one.
        looks: the waits since.
        now: the present screen.
    """
    if sent.dry_run or sent.effect == "unknown":
        return ""
    if following.gesture == "type" and "click" in step.gesture:
        # In `type "Ada" into Name` the click is a part of the typing.
        if step.text == following.text or any(map(is_field, step.targets)):
            return _NOT_CLICKED if _has_left(sent.info.get("window"), now) else ""
        return _nothing_opened(sent, looks, now)
    if following.gesture in ("type", "key") and isinstance(sent.action, Type) and not sent.action.text.endswith("\n"):
        return _FOCUS_LEFT if _has_left(sent.info.get("window"), now) else ""
    if following.gesture == "type" and _may_open(sent.action) and effect_with_looks(sent, looks) == "unchanged":
        return _NOTHING_OPENED
    return ""


def must_stop(step: SubStep, obstacle: str, sent: Step, looks: Sequence[Step]) -> bool:
    """Return whether the next input would certainly go wrong while there is an obstacle."""
    if obstacle != _NOTHING_OPENED:
        return True
    is_click = not isinstance(sent.action, Key)
    return is_click and (effect_with_looks(sent, looks) == "unchanged" or _OPENS.search(step.text) is not None)


def _has_left(window: object, now: Observation) -> bool:
    """Return whether the keyboard focus is for certain in another window."""
    focused = now.info.get("window")
    return window is not None and focused is not None and window != focused


def _nothing_opened(click: Step, looks: Sequence[Step], now: Observation) -> str:
    focused = now.info.get("window")
    if focused is not None and focused not in (click.info.get("window"), click.observation.info.get("window")):
        return ""
    screens = [click.observation, *(look.observation for look in looks), now]
    opened = any(_opens_a_field(click, old, new) for old, new in itertools.pairwise(screens))
    return "" if opened else _NOTHING_OPENED


def _may_open(action: Action) -> bool:
    return isinstance(action, Key) and action.keys[-1] not in _IN_PLACE


def _opens_a_field(click: Step, before: Observation, after: Observation) -> bool:
    if before.size != after.size:
        return True
    carets = caret_bars(different_pixels(before.image, after.image))
    return 0 < len(carets) <= _MAX_CARETS or _is_large(click, different_pixels(before.image, after.image, _FAINT))


def _is_large(click: Step, mask: Mask) -> bool:
    """Return whether a window or the like changed, and not only what was clicked."""
    height, width = mask.shape
    reach = max(_NEAR_PX, round(_NEAR_SHARE * max(height, width)))
    far = mask.copy()
    for point in points_of(click.action):
        x, y = point.to_pixels(width, height)
        far[max(0, y - reach) : y + reach, max(0, x - reach) : x + reach] = False
    changed = blocks(far, _BLOCK_PX)
    spans = [int(changed.any(axis=axis).sum()) for axis in (0, 1)]
    return bool(changed.mean() >= _LARGE_SHARE and min(spans) >= _LEAST_BLOCKS)
