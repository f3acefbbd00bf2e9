"""Screens as they may also be seen: stretched a little, or through one window of a larger screen.

Letters that are wider, narrower or softer than any font that is drawn with make reading depend less on the fonts. And
what the rest of a screen shows is not in a window: a large screen is read window by window
(:mod:`molmo_agent.pointers.windowed`), every question in every window. So a model has to learn what a window's border
does to things, and to say of most windows that there are none.
"""

from dataclasses import replace
from random import Random

import numpy as np
from PIL import Image as PILImage

from molmo_agent.envs.drawing.annotated_screen import PixelBox, Screen, TextRun
from molmo_agent.pointers.windowed import windows_of
from molmo_agent.synthetic.pointing_places import place_to_point
from molmo_agent.synthetic.recorded_screens import RecordedScreen
from molmo_agent.synthetic.referring.matching import Scene
from molmo_agent.synthetic.referring.names import Question, plain_name
from molmo_agent.synthetic.referring.questions import ask

# Most questions about what lies elsewhere: each window has about as many of its own.
_MOST = 8
# Without a name: what is told by nothing outside of itself.
_OWN = ("look", "shape", "letter", "window-button")


def resized(screen: Screen, width: int, height: int) -> Screen:
    """Return a screen at another size, with its truth; the aspect ratio may change.

    Args:
        screen: image and ground truth.
        width: pixels.
        height: pixels.
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


def cut(screen: Screen, view: PixelBox) -> Screen:
    """Return a part of a screen with its truth; what the border cuts is there, but visible only if its words are whole.

    Args:
        screen: image and ground truth.
        view: (left, top, right, bottom), whole pixels of the image.
    """
    left, top, right, bottom = view
    texts = tuple(part for run in screen.texts if (part := _readable(run, view)))
    read = {plain_name(run.text) for run in texts}
    elements = []
    for element in screen.elements:
        x0, y0, x1, y1 = element.box
        box = (max(x0, left) - left, max(y0, top) - top, min(x1, right) - left, min(y1, bottom) - top)
        if box[0] >= box[2] or box[1] >= box[3]:
            continue
        whole = left <= x0 and top <= y0 and x1 <= right and y1 <= bottom
        # A check box's words, or a window's title, may be cut where the thing itself is not.
        named = element.text and plain_name(element.label) in read
        clipped = replace(element, box=box, visible=element.visible, text=named)
        # Of a wide row its words are enough.
        if not whole and not (named and place_to_point(Screen(screen.image, (), texts), clipped) != box):
            clipped = replace(clipped, visible=False)
        elements.append(clipped)
    image = screen.image[int(top) : int(bottom), int(left) : int(right)].copy()
    image.flags.writeable = False
    return Screen(image, tuple(elements), texts)


def _readable(run: TextRun, view: PixelBox) -> TextRun | None:
    """Return the characters of a line that a view shows whole; None without any."""
    left, top, right, bottom = view
    indices = [i for i in range(len(run.text)) if left <= run.edges[i] and run.edges[i + 1] <= right]
    if not indices or run.top < top or run.bottom > bottom:
        return None
    first, end = indices[0], indices[-1] + 1
    part = TextRun(run.text[first:end], run.edges[first : end + 1], run.top, run.bottom)
    return part.transform(-left, -top)


def look_through_window(screen: Screen, rng: Random, window: tuple[int, int]) -> RecordedScreen:
    """Return one of the windows of a large screen, with questions about what is elsewhere on it.

    Args:
        screen: image and ground truth.
        rng: where chance comes from.
        window: (width, height) of the windows that the screen is read in, pixels.
    """
    height, width = screen.image.shape[:2]
    left, top, right, bottom = map(float, rng.choice(windows_of(width, height, window)).steps[0].values)
    view = left, top, right, bottom
    part = cut(screen, view)
    scene = Scene(part)
    absent = [
        elsewhere
        for question in ask(screen, rng, none=0, several=0)
        if (elsewhere := _elsewhere(question, scene, view))
    ]
    return RecordedScreen(screen=part, questions=tuple(absent[:_MOST]))


def _elsewhere(question: Question, scene: Scene, view: PixelBox) -> Question | None:
    """Return a question about a whole screen as one that a view has no answer to; None where it may have one."""
    left, top, right, bottom = view
    x0, y0, x1, y1 = question.element.box
    outside = x1 <= left or right <= x0 or y1 <= top or bottom <= y0
    is_absent = not scene.shows(question.label) if question.named else question.category in _OWN
    return replace(question, elements=(), category="absent", named=False) if outside and is_absent else None
