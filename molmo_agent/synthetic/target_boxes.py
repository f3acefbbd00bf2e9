"""The boxes of an element that training points at and looks at."""

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen
from molmo_agent.synthetic.referring.matching import gaps
from molmo_agent.synthetic.referring.names import Question, is_image, plain_name


def target_box(screen: Screen, element: Element) -> PixelBox:
    """Return the box to point at, in pixels: the element's label if it is drawn on the element, else the whole element.

    So the model points at the text of a list row, as a person would.
    """
    left, top, right, bottom = element.box
    for run in screen.texts:
        x0, y0, x1, y1 = run.box
        if run.text == element.label and left <= x0 and x1 <= right and top <= (y0 + y1) / 2 <= bottom:
            return x0, max(y0, top), x1, min(y1, bottom)
    return element.box


def cue_box(screen: Screen, question: Question, target: PixelBox) -> PixelBox:
    """Return the box, in pixels, of what identifies a target in a question; mostly this is the target itself.

    The label of a checkbox is beside it, that of an icon below it, that of a window's button in the title bar. A
    neighbour is another element.

    Args:
        screen: image and ground truth.
        question: with one target.
        target: box of the target, from :func:`target_box`.
    """
    if question.beside is not None:
        return question.beside
    element = question.element
    if not question.named or target != element.box or is_image(element):
        return target
    name = plain_name(element.label)
    runs = [run.box for run in screen.texts if plain_name(run.text) == name]
    return min(runs, key=lambda box: _distance(box, target), default=target)


def _distance(a: PixelBox, b: PixelBox) -> float:
    """Return the distance of two boxes; vertical gaps count more, since a label is mostly beside its element."""
    across, down = gaps(a, b)
    return across + 4 * down
