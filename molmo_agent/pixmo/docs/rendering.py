"""What came of drawing a document: an image with the texts on it, or a problem."""

from dataclasses import dataclass, replace

import numpy as np

from molmo_agent.episode import Image
from molmo_agent.errors import DataError, ImageError
from molmo_agent.images.reading import read_image
from molmo_agent.parse import load_json
from molmo_agent.sandbox.bubblewrap import Outcome

_PNG = b"\x89PNG"
_MARGIN_PX = 16


@dataclass(frozen=True, slots=True)
class Text:
    """A text on a rendering, with its box (left, top, right, bottom) and font size in pixels."""

    text: str
    box: tuple[float, float, float, float]
    font_px: float


@dataclass(frozen=True, slots=True)
class Rendering:
    """What came of a program: an image with the texts on it, or a problem.

    Attributes:
        image: (height, width, 3) uint8; None with a problem.
        texts: the texts and their places; None if the renderer does not report them.
        problem: why there is no image; empty if there is one.
    """

    image: Image | None
    texts: tuple[Text, ...] | None
    problem: str


def with_texts(outcome: Outcome) -> Rendering:
    """Return the rendering of a program that printed its texts as a line of JSON, or null, and then a PNG."""
    line, _, png = outcome.output.partition(b"\n")
    texts = None
    if not outcome.problem:
        try:
            measured = load_json(line, where="the texts of the figure")
            texts = (
                measured
                if measured is None
                else tuple(
                    Text(str(text), (float(left), float(top), float(right), float(bottom)), float(size))
                    for text, left, top, right, bottom, size in measured
                )
            )
        except (DataError, TypeError, ValueError) as error:
            return Rendering(None, None, f"it printed no figure: {error}")
    return with_image(Outcome(png, outcome.problem, outcome.errors), texts)


def with_image(outcome: Outcome, texts: tuple[Text, ...] | None) -> Rendering:
    """Return the rendering of a program that printed a PNG."""
    if outcome.problem:
        return Rendering(None, None, outcome.problem)
    if not outcome.output.startswith(_PNG):
        last = outcome.errors.strip().rpartition("\n")[2]
        return Rendering(None, None, f"it printed no image{': ' + last[:200] if last else ''}")
    try:
        return Rendering(read_image(outcome.output), texts, "")
    except ImageError as error:
        return Rendering(None, None, f"its image cannot be read: {error}")


def trimmed(rendering: Rendering) -> Rendering:
    """Return a rendering without the empty space around it, but for a margin; what is cut off at an edge stays so."""
    image = rendering.image
    if image is None:
        return rendering
    drawn = (image != image[-1, -1]).any(axis=2)
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    if not len(rows):
        return rendering
    top, left = max(int(rows[0]) - _MARGIN_PX, 0), max(int(columns[0]) - _MARGIN_PX, 0)
    image = image[top : int(rows[-1]) + _MARGIN_PX + 1, left : int(columns[-1]) + _MARGIN_PX + 1]
    texts = rendering.texts and tuple(
        replace(text, box=(text.box[0] - left, text.box[1] - top, text.box[2] - left, text.box[3] - top))
        for text in rendering.texts
    )
    return replace(rendering, image=image, texts=texts)
