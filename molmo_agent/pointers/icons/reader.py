"""Read the icons of a screenshot once, and find icons by name as often as needed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from molmo_agent.geometry import Box
from molmo_agent.pointers.icons.classifier import IconClassifier, load_classifier, probabilities
from molmo_agent.pointers.icons.proposals import propose
from molmo_agent.pointers.icons.vocabulary import meanings_of

# Matches below this are not reported.
LEAST_PROBABILITY = 0.05


@dataclass(frozen=True, slots=True)
class IconMatch:
    """A region that may be the icon.

    Attributes:
        box: the visible part of the icon, normalized; the button around it is larger.
        probability: that the region shows an icon of the asked name, in [0, 1].
        meaning: of the vocabulary, the likeliest one of those the name has.
    """

    box: Box
    probability: float
    meaning: str


@dataclass(frozen=True, slots=True)
class IconScene:
    """The regions of one screenshot with the probabilities of their meanings.

    Attributes:
        boxes_px: (num_regions, 4), left, top, right, bottom in pixels.
        probabilities: (num_regions, num_classes); rows sum to 1.
        classes: the meaning of each column, with "other" and "none".
        width: of the screenshot, in pixels.
        height: of the screenshot, in pixels.
    """

    boxes_px: npt.NDArray[np.float64]
    probabilities: npt.NDArray[np.float32]
    classes: tuple[str, ...]
    width: int
    height: int

    def find(self, name: str) -> list[IconMatch]:
        """Find the icons that a name may mean.

        Args:
            name: as a person says it, without "the" and "icon": "Preferences".

        Returns:
            Matches at different places, the likeliest first; empty if the name is unknown or nothing resembles it.
        """
        weights = {meaning: weight for meaning, weight in meanings_of(name).items() if meaning in self.classes}
        if not weights or not len(self.boxes_px):
            return []
        columns = [self.classes.index(meaning) for meaning in weights]
        parts = self.probabilities[:, columns] * np.array([*weights.values()], np.float32)
        scores = np.minimum(parts.sum(1), 1.0)
        matches: list[IconMatch] = []
        taken: list[npt.NDArray[np.float64]] = []
        for number in np.argsort(-scores, kind="stable"):
            if scores[number] < LEAST_PROBABILITY:
                break
            box = self.boxes_px[number]
            if any(_same_place(box, other) for other in taken):
                continue
            taken.append(box)
            meaning = [*weights][int(parts[number].argmax())]
            left, top, right, bottom = map(float, box)
            place = Box.from_pixels(left, top, right, bottom, self.width, self.height)
            matches.append(IconMatch(place, float(scores[number]), meaning))
        return matches


def _same_place(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    """Tell whether the centre of one box lies in the other."""
    for inner, outer in ((one, other), (other, one)):
        x, y = (inner[:2] + inner[2:]) / 2
        if outer[0] <= x <= outer[2] and outer[1] <= y <= outer[3]:
            return True
    return False


class IconReader:
    """Finds icons on screenshots, on a CPU.

    Args:
        model: a classifier; by default the one of the package, loaded at the first use.
    """

    def __init__(self, model: IconClassifier | None = None) -> None:
        self._model = model

    def read(self, image: npt.NDArray[np.uint8], text_boxes: Sequence[Box] = ()) -> IconScene:
        """Classify every region of a screenshot that may be an icon.

        Args:
            image: (height, width, 3), RGB.
            text_boxes: lines of text that an OCR read, normalized: no icon is searched in them.

        Raises:
            ModelError: the package was installed without the weights.
        """
        model = self._model or load_classifier()
        boxes = propose(image, text_boxes)
        height, width = image.shape[:2]
        return IconScene(boxes, probabilities(model, image, boxes), model.classes, width, height)


def find_icon(image: npt.NDArray[np.uint8], name: str, text_boxes: Sequence[Box] = ()) -> list[IconMatch]:
    """Find the icons of a name on one screenshot; :class:`IconReader` reads it once for several names.

    Args:
        image: (height, width, 3), RGB.
        name: as a person says it, without "the" and "icon".
        text_boxes: lines of text that an OCR read, normalized.

    Returns:
        Matches, the likeliest first; empty if the name is unknown or nothing resembles it.
    """
    return IconReader().read(image, text_boxes).find(name)
