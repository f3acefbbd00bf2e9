"""Whether a step did what can be seen of it: clicks, drags and typed text change the screen, and text can be read.

Keys, scrolling, waiting and moving may leave the screen as it is, so nothing is required of them.
"""

import re
from collections.abc import Sequence

import numpy as np

from molmo_agent.actions import Click, Drag, LongPress, Type, points_of
from molmo_agent.episode import Effect, Image, Step
from molmo_agent.policies.progress import Progress
from molmo_agent.policies.typed_text import MIN_CHARACTERS, arrived, readable_part
from molmo_agent.risk import risky_word
from molmo_agent.screen_text import TextReader

_NO_CHANGE = "nothing on the screen changed"
_ONLY_CARET = "nothing but a caret changed"
# A change that is narrower than this is a blinking caret, not a text of several characters.
_CARET_PX = 6
# A check box or switch changes where it was clicked.
_TICK = re.compile(r"(?:tick|untick|check|uncheck|toggle|(?:turn|switch) (?:on|off))(?!\w)", re.IGNORECASE)
# A second click would undo a first one that was noticed late.
_UNDOES_ITSELF = re.compile(
    rf"{_TICK.pattern}|(?:enable|disable|expand|collapse|select|play|pause)(?!\w)", re.IGNORECASE
)


def effect_with_looks(step: Step, looks: Sequence[Step]) -> Effect:
    """Return the effect of a step, or what changed during the first wait after it if that is more."""
    effects = {step.effect, looks[0].effect if looks else step.effect}
    order: tuple[Effect, ...] = ("changed", "changed_elsewhere", "unchanged")
    return next((effect for effect in order if effect in effects), step.effect)


def doubt_about(
    step: Step, looks: Sequence[Step], history: Sequence[Step], after: Image, reader: TextReader | None
) -> str:
    """Return what is missing of the effect of a step that was sent, or an empty string.

    Args:
        step: the step.
        looks: the waits after it, up to the image.
        history: the steps of the run up to this one at least.
        after: the screen after it; RGB uint8 of shape (height, width, 3).
        reader: reads the screen after typing; None: only the place of the change counts.

    Raises:
        ModelError: the reader failed.
    """
    if step.dry_run or step.effect == "unknown":
        return ""
    effect = effect_with_looks(step, looks)
    match step.action:
        case Click() | LongPress() | Drag() if effect == "unchanged":
            return _NO_CHANGE
        case Click() if effect == "changed_elsewhere" and _TICK.match(step.decision.instruction):
            return "nothing changed near it"
        case Type(text=text):
            return _doubt_about_text(text, step, effect, _click_before(step, history), after, reader)
        case _:
            return ""


def _doubt_about_text(
    text: str, step: Step, effect: Effect, click: Step | None, after: Image, reader: TextReader | None
) -> str:
    if effect == "unchanged":
        return _NO_CHANGE
    if len(text.strip()) >= MIN_CHARACTERS and 0 < _changed_width(step.observation.image, after) <= _CARET_PX:
        return _ONLY_CARET
    is_visible = False
    if reader is not None and (part := readable_part(text, step.decision.instruction)):
        is_visible = arrived(part, reader.read(step.observation.image), reader.read(after))
        if not is_visible:
            return "the typed text is not visible"
    # A click without effect, into a field that had the focus, does not show where the text belongs.
    knows_field = click is None or click.effect != "unchanged"
    if effect == "changed_elsewhere" and (knows_field or not is_visible):
        return "the screen changed only far from the field"
    return ""


def _changed_width(before: Image, after: Image) -> int:
    """Return the width in pixels of the part that differs; 0 for equal images, and those of different sizes."""
    if before.shape != after.shape:
        return 0
    columns = np.flatnonzero((before != after).any(axis=(0, 2)))
    return int(columns[-1] - columns[0] + 1) if len(columns) else 0


def _click_before(step: Step, history: Sequence[Step]) -> Step | None:
    """Return the click into the field, for the same words as the typing."""
    for earlier in reversed(history[: step.index]):
        if earlier.decision.instruction != step.decision.instruction:
            return None
        if points_of(earlier.action):
            return earlier
    return None


def may_repeat(progress: Progress) -> bool:
    """Return whether the last step may be tried once more: a plain click without effect that cannot do harm."""
    step = progress.last
    if step is None or progress.is_retry or progress.refusals:
        return False
    action, words = step.action, step.decision.instruction
    if not (isinstance(action, Click) and (action.button, action.count, action.held) == ("left", 1, ())):
        return False
    labels = [point.label or "" for point in step.decision.result.points] if step.decision.result else []
    return (
        effect_with_looks(step, progress.looks) == "unchanged"
        and not _UNDOES_ITSELF.match(words)
        and not any(map(risky_word, [words, *labels]))
    )
