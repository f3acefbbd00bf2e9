"""Where on a drawn element a point counts."""

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen
from molmo_agent.synthetic.referring.matching import gaps
from molmo_agent.synthetic.referring.names import Question, is_image, plain_name


def place_to_point(screen: Screen, element: Element) -> PixelBox:
    """Return where to point at an element, in pixels: at its label where that is drawn on it, else at the whole of it.

    A row of a list is pointed at where its words are, as a person would.
    """
    left, top, right, bottom = element.box
    for run in screen.texts:
        x0, y0, x1, y1 = run.box
        if run.text == element.label and left <= x0 and x1 <= right and top <= (y0 + y1) / 2 <= bottom:
            return x0, max(y0, top), x1, min(y1, bottom)
    return element.box


def place_to_look_first(screen: Screen, question: Question, place: PixelBox) -> PixelBox:
    """Return where to look before pointing at a place, in pixels: at what the question tells it by.

    A checkbox has its words beside it, an icon below, a window's button in the title; a neighbour is another thing.
    Mostly it is the place itself.
    """
    if question.beside is not None:
        return question.beside
    element = question.element
    if not question.named or place != element.box or is_image(element):
        return place
    name = plain_name(element.label)
    runs = [run.box for run in screen.texts if plain_name(run.text) == name]
    return min(runs, key=lambda box: _apart(box, place), default=place)


def _apart(a: PixelBox, b: PixelBox) -> float:
    """Return how far two boxes are apart; words stand on the line of what they name, rather than above it."""
    across, down = gaps(a, b)
    return across + 4 * down
