"""Augment screens: stretch them a little, or crop one window out of a larger screen.

Stretched letters are wider, narrower or softer than those of any font, so that reading depends less on the fonts.
Windows matter because a large screen is read window by window (:mod:`molmo_agent.pointers.windowed`), with every
question in every window: a model must learn what a window's border cuts off, and that most windows do not contain the
target.
"""

from dataclasses import replace
from random import Random

import numpy as np
from PIL import Image as PILImage

from molmo_agent.envs.drawing.annotated_screen import PixelBox, Screen, TextRun
from molmo_agent.pointers.windowed import windows_of
from molmo_agent.synthetic.recorded_screens import RecordedScreen
from molmo_agent.synthetic.referring.matching import Scene
from molmo_agent.synthetic.referring.names import Question, plain_name
from molmo_agent.synthetic.referring.questions import ask
from molmo_agent.synthetic.target_boxes import target_box

# Maximum number of questions about targets elsewhere on the screen; a window has about as many targets of its own.
_MAX_ABSENT = 8
# Categories without a name whose expressions refer to nothing outside of the target.
_SELF_CONTAINED = ("look", "shape", "letter", "window-button")


def resize_screen(screen: Screen, width: int, height: int) -> Screen:
    """Return a screen at another size, with its ground truth; the aspect ratio may change.

    Args:
        screen: image and ground truth.
        width: new width in pixels.
        height: new height in pixels.
    """
    old_height, old_width = screen.image.shape[:2]
    across, down = width / old_width, height / old_height
    image = np.array(PILImage.fromarray(screen.image).resize((width, height), PILImage.Resampling.LANCZOS))
    image.flags.writeable = False
    elements = []
    for element in screen.elements:
        left, top, right, bottom = element.box
        elements.append(replace(element, box=(left * across, top * down, right * across, bottom * down)))
    texts = tuple(run.transform(0, 0, across=across, down=down) for run in screen.texts)
    return Screen(image, tuple(elements), texts)


def crop_screen(screen: Screen, view: PixelBox) -> Screen:
    """Return a part of a screen with its ground truth.

    Elements that the border cuts are included, but visible only if their label is complete.

    Args:
        screen: image and ground truth.
        view: (left, top, right, bottom), whole pixels of the image.
    """
    left, top, right, bottom = view
    texts = tuple(part for run in screen.texts if (part := _readable(run, view)))
    visible_names = {plain_name(run.text) for run in texts}
    elements = []
    for element in screen.elements:
        x0, y0, x1, y1 = element.box
        box = (max(x0, left) - left, max(y0, top) - top, min(x1, right) - left, min(y1, bottom) - top)
        if box[0] >= box[2] or box[1] >= box[3]:
            continue
        whole = left <= x0 and top <= y0 and x1 <= right and y1 <= bottom
        # The border may cut a check box's label, or a window's title, but not the element itself.
        has_label = element.text and plain_name(element.label) in visible_names
        element_clip = replace(element, box=box, visible=element.visible, text=has_label)
        # For a wide row, its label is enough.
        if not whole and not (has_label and target_box(Screen(screen.image, (), texts), element_clip) != box):
            element_clip = replace(element_clip, visible=False)
        elements.append(element_clip)
    image = screen.image[int(top) : int(bottom), int(left) : int(right)].copy()
    image.flags.writeable = False
    return Screen(image, tuple(elements), texts)


def _readable(run: TextRun, view: PixelBox) -> TextRun | None:
    """Return the characters of a line that a view shows completely; None if there are none."""
    left, top, right, bottom = view
    indices = [i for i in range(len(run.text)) if left <= run.edges[i] and run.edges[i + 1] <= right]
    if not indices or run.top < top or run.bottom > bottom:
        return None
    first, end = indices[0], indices[-1] + 1
    part = TextRun(run.text[first:end], run.edges[first : end + 1], run.top, run.bottom)
    return part.transform(-left, -top)


def look_through_window(screen: Screen, rng: Random, window: tuple[int, int]) -> RecordedScreen:
    """Return a random window of a large screen, with questions about targets elsewhere on the screen.

    Args:
        screen: image and ground truth.
        rng: source of randomness.
        window: (width, height) in pixels of the windows in which the screen is read.
    """
    height, width = screen.image.shape[:2]
    left, top, right, bottom = map(float, rng.choice(windows_of(width, height, window)).steps[0].values)
    view = left, top, right, bottom
    part = crop_screen(screen, view)
    scene = Scene(part)
    absent = [
        elsewhere
        for question in ask(screen, rng, none=0, several=0)
        if (elsewhere := _elsewhere(question, scene, view))
    ]
    return RecordedScreen(screen=part, questions=tuple(absent[:_MAX_ABSENT]))


def _elsewhere(question: Question, scene: Scene, view: PixelBox) -> Question | None:
    """Return a screen's question as one with an absent target in a view; None if the target may be visible there."""
    left, top, right, bottom = view
    x0, y0, x1, y1 = question.element.box
    outside = x1 <= left or right <= x0 or y1 <= top or bottom <= y0
    is_absent = not scene.shows(question.label) if question.named else question.category in _SELF_CONTAINED
    return replace(question, elements=(), category="absent", named=False) if outside and is_absent else None
