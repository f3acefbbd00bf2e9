"""Whether a step did what can be seen of it: clicks, drags and typed text change the screen, and text can be read.

Keys, scrolling, waiting and moving may leave the screen as it is, so nothing is required of them.
"""

import re
from collections.abc import Sequence

import numpy as np

from molmo_agent.actions import Click, Drag, LongPress, Type, points_of
from molmo_agent.episode import Effect, Image, Step
from molmo_agent.geometry import Box
from molmo_agent.images import changed_part, different_pixels, pieces
from molmo_agent.policies.altered_text import alteration
from molmo_agent.policies.progress import ONLY_CLOSED, Progress
from molmo_agent.policies.typed_text import MAX_CHARACTERS, MIN_CHARACTERS, arrived, is_held, readable_part
from molmo_agent.policies.uncovered import hit_what_covered, only_closed
from molmo_agent.risk.commit_words import risky_word
from molmo_agent.screen_text import Line, TextReader

_NO_CHANGE = "nothing on the screen changed"
_ONLY_CARET = "nothing but a caret changed"
# A change that is narrower than this is a blinking caret, not a text of several characters.
_CARET_PX = 6
# A line of text is lower than this, and its letters are on average wider.
_LINE_PX, _LETTER_PX = 96, 3
# A change of more pieces is a window, not a row of signs.
_MAX_PIECES = 400
# A check box or switch changes where it was clicked.
_TICK = re.compile(
    r"(?:tick|untick|check|uncheck|toggle|flip|(?:turn|switch) (?:on|off)"
    r"|(?:put|place|add|remove|clear) (?:a|the) (?:check|tick|cross)\s?(?:mark)?)(?!\w)",
    re.IGNORECASE,
)
# Half the side of a check box with some space around it, and fewer different pixels than a tick has.
_BOX_PX, _FEW_PIXELS = 14, 8
# A switch stands at about the height of its label: within this share of the longer side of the screen.
_ROW_SHARE = 0.015
# A second click would undo a first one that was noticed late.
_UNDOES_ITSELF = re.compile(
    rf"{_TICK.pattern}|(?:enable|disable|expand|collapse|select|play|pause)(?!\w)", re.IGNORECASE
)


def effect_with_looks(step: Step, looks: Sequence[Step]) -> Effect:
    """Return the effect of a step, or what changed during the waits after it if that is more."""
    effects = {step.effect, *(look.effect for look in looks)}
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
        reader: reads the screen after typing, and where something closed; None: only pixels count.

    Raises:
        ModelError: the reader failed.
    """
    if step.dry_run or step.effect == "unknown":
        return ""
    effect = effect_with_looks(step, looks)
    match step.action:
        case Click() | LongPress() | Drag() if effect == "unchanged":
            return _NO_CHANGE
        case Click() if is_tick(step) and (effect == "changed_elsewhere" or not _row_changed(step, after)):
            return "nothing changed near it"
        case Click() | LongPress() if only_closed(step, history, after):
            return ONLY_CLOSED
        case Click() | LongPress() if reader is not None and hit_what_covered(step, after, reader):
            return ONLY_CLOSED
        case Type(text=text, replace=replace):
            click = _click_before(step, history)
            if effect == "unchanged" and not replace:
                return _NO_CHANGE
            part = readable_part(text, step.decision.instruction)
            lines = (reader.read(step.observation.image), reader.read(after)) if reader is not None and part else None
            if lines and (doubt := alteration(text, *lines, replace=replace)):
                return doubt
            if replace and (not text or (lines and click and is_held(part, points_of(click.action)[0], lines[1]))):
                # A field that was empty, or held this text already, looks as before.
                return ""
            return _doubt_about_text(text, step, effect, click, after, lines)
        case _:
            return ""


def _doubt_about_text(
    text: str,
    step: Step,
    effect: Effect,
    click: Step | None,
    after: Image,
    lines: tuple[Sequence[Line], Sequence[Line]] | None,
) -> str:
    if effect == "unchanged":
        return _NO_CHANGE
    before = step.observation.image
    width_px = _changed_width(before, after)
    if len(text.strip()) >= MIN_CHARACTERS and 0 < width_px <= _CARET_PX:
        return _ONLY_CARET
    is_visible = False
    if lines is not None:
        is_visible = arrived(readable_part(text, step.decision.instruction), *lines)
        if not (
            is_visible or shows_bullets(before, after, len(text)) or _is_unreadable(before, after, len(text), lines[1])
        ):
            return "the typed text is not visible"
    # A click without effect, into a field that had the focus, does not show where the text belongs.
    knows_field = click is None or click.effect != "unchanged"
    if effect == "changed_elsewhere" and (knows_field or not is_visible):
        return "the screen changed only far from the field"
    return ""


def shows_bullets(before: Image, after: Image, count: int) -> bool:
    """Return whether ``count`` equal signs appeared in a row, as fields show them for a hidden text."""
    if before.shape != after.shape or count < MIN_CHARACTERS:
        return False
    changes = pieces(different_pixels(before, after))
    if len(changes) > _MAX_PIECES:
        return False
    boxes = [(rows.start, rows.stop, columns.stop - columns.start) for rows, columns in changes]
    for top, bottom, width in set(boxes):
        row = [box for box in boxes if box[0] < bottom and top < box[1]]
        alike = sum(abs(box[0] - top) <= 1 and abs(box[1] - bottom) <= 1 and abs(box[2] - width) <= 1 for box in row)
        # The caret stands beside the signs, or touches the first one where it was and the last one where it is.
        if len(row) in (count, count + 1) and alike >= max(MIN_CHARACTERS, count - 2) and min(bottom - top, width) > 1:
            return True
    return False


def _is_unreadable(before: Image, after: Image, count: int, lines: Sequence[Line]) -> bool:
    """Return whether something as wide as the text appeared on one line in which the reader reads nothing at all."""
    if before.shape != after.shape:
        return False
    height, width = after.shape[:2]
    mask = different_pixels(before, after)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if (
        not len(rows)
        or rows[-1] - rows[0] >= _LINE_PX
        or columns[-1] - columns[0] < _LETTER_PX * min(count, MAX_CHARACTERS)
    ):
        return False
    part = Box.from_pixels(columns[0], rows[0], columns[-1] + 1, rows[-1] + 1, width, height)
    return not any(
        line.box.left < part.right
        and part.left < line.box.right
        and line.box.top < part.bottom
        and part.top < line.box.bottom
        for line in lines
    )


def _changed_width(before: Image, after: Image) -> int:
    """Return the width in pixels of the part that differs; 0 for equal images, and those of different sizes."""
    if before.shape != after.shape:
        return 0
    part = changed_part(before, after)
    return part[2] - part[0] if part else 0


def _click_before(step: Step, history: Sequence[Step]) -> Step | None:
    """Return the click into the field, for the same words as the typing."""
    for earlier in reversed(history[: step.index]):
        if earlier.decision.instruction != step.decision.instruction:
            return None
        if points_of(earlier.action):
            return earlier
    return None


def is_tick(step: Step) -> bool:
    """Return whether a step set a check box or a switch."""
    return isinstance(step.action, Click) and _TICK.match(step.decision.instruction) is not None


def _row_changed(step: Step, after: Image) -> bool:
    """Return whether anything changed at the height of a click: a neighbour that loses the focus does not count."""
    before = step.observation.image
    if before.shape != after.shape:
        return True
    height, width = after.shape[:2]
    reach = max(_BOX_PX, round(_ROW_SHARE * max(height, width)))
    rows = [point.to_pixels(width, height)[1] for point in points_of(step.action)]
    bands = [slice(max(0, row - reach), row + reach) for row in rows]
    return any(bool(different_pixels(before[band], after[band]).any()) for band in bands)


def was_undone(step: Step, after: Image, now: Image) -> bool:
    """Return whether a place looks again as before a step that had changed it.

    Args:
        step: a click.
        after: the screen after it.
        now: the present screen.
    """
    before = step.observation.image
    if not before.shape == after.shape == now.shape:
        return False
    height, width = now.shape[:2]
    for point in points_of(step.action):
        x, y = point.to_pixels(width, height)
        place = slice(max(0, y - _BOX_PX), y + _BOX_PX), slice(max(0, x - _BOX_PX), x + _BOX_PX)
        changes = [int(different_pixels(before[place], image[place]).sum()) for image in (after, now)]
        if changes[0] >= _FEW_PIXELS > changes[1]:
            return True
    return False


def may_repeat(progress: Progress) -> bool:
    """Return whether the last step may be tried once more: a plain click without effect that cannot do harm.

    One that only closed what lay over its target counts as one without effect.
    """
    step = progress.last
    if step is None or progress.is_retry or progress.refusals:
        return False
    action, words = step.action, step.decision.instruction
    if not (isinstance(action, Click) and (action.button, action.count, action.held) == ("left", 1, ())):
        return False
    labels = [point.label or "" for point in step.decision.result.points] if step.decision.result else []
    return (
        (effect_with_looks(step, progress.effect_looks) == "unchanged" or progress.only_closed)
        and not _UNDOES_ITSELF.match(words)
        and not any(map(risky_word, [words, *labels]))
    )
