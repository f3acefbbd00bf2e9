"""Reads again only what changed: most screenshots differ from the one before in a small part."""

import threading
from collections import deque
from collections.abc import Sequence

import numpy as np

from molmo_agent.episode import Image
from molmo_agent.geometry import Box
from molmo_agent.images import PixelBox, changed_part
from molmo_agent.screen_text import Line, TextReader, Word, reading_order

# Images whose lines are remembered: before and after a click, a menu that opens and closes.
REMEMBERED = 6
# A changed part is read with this much around it, and at least this large, so that its text is detected as before.
_AROUND, _AT_LEAST = 24, 560
# Above this share of the image, all of it is read.
_LARGE = 0.6


class IncrementalReader:
    """A text reader that remembers the last images, and reads only where a new one differs from the nearest of them.

    Args:
        inner: reads images and parts of images.
    """

    def __init__(self, inner: TextReader) -> None:
        self.inner, self.name = inner, inner.name
        self._recent: deque[tuple[Image, Sequence[Line]]] = deque(maxlen=REMEMBERED)
        self._lock = threading.Lock()

    def read(self, image: Image) -> Sequence[Line]:
        """Read an RGB uint8 image of shape (height, width, 3); lines from top to bottom.

        Raises:
            ModelError: the engine failed.
        """
        with self._lock:
            nearest: tuple[PixelBox, Sequence[Line]] | None = None
            for earlier, lines in self._recent:
                if earlier.shape != image.shape:
                    continue
                part = changed_part(earlier, image)
                if part is None:
                    return lines
                if nearest is None or _area(part) < _area(nearest[0]):
                    nearest = part, lines
            lines = self.inner.read(image) if nearest is None else self._read_part(image, *nearest)
            # A copy: the caller may write to its array, which would make this one look the same as the next.
            self._recent.append((image.copy() if image.flags.writeable else image, lines))
            return lines

    def _read_part(self, image: Image, part: PixelBox, lines: Sequence[Line]) -> Sequence[Line]:
        height, width = image.shape[:2]
        boxes = [_to_pixels(line.box, width, height) for line in lines]
        part = _grown(part, boxes, width, height)
        if _area(part) > _LARGE * width * height:
            return self.inner.read(image)
        left, top, right, bottom = part
        crop = np.ascontiguousarray(image[top:bottom, left:right])
        unchanged = [line for line, box in zip(lines, boxes, strict=True) if not _overlap(box, part)]
        return reading_order(unchanged + [_moved(line, part, width, height) for line in self.inner.read(crop)])


def _grown(part: PixelBox, lines: Sequence[PixelBox], width: int, height: int) -> PixelBox:
    """Return the part with some space around it, cutting through no line."""
    left, top, right, bottom = part
    across = max(_AROUND, (_AT_LEAST - (right - left)) // 2)
    down = max(_AROUND, (_AT_LEAST - (bottom - top)) // 2)
    part = (max(left - across, 0), max(top - down, 0), min(right + across, width), min(bottom + down, height))
    while True:
        crossed = [box for box in lines if _overlap(box, part)]
        larger = (
            min([part[0], *(box[0] for box in crossed)]),
            min([part[1], *(box[1] for box in crossed)]),
            max([part[2], *(box[2] for box in crossed)]),
            max([part[3], *(box[3] for box in crossed)]),
        )
        if larger == part:
            return part
        part = larger


def _overlap(first: PixelBox, second: PixelBox) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _area(part: PixelBox) -> int:
    return (part[2] - part[0]) * (part[3] - part[1])


def _to_pixels(box: Box, width: int, height: int) -> PixelBox:
    return round(box.left * width), round(box.top * height), round(box.right * width), round(box.bottom * height)


def _moved(line: Line, part: PixelBox, width: int, height: int) -> Line:
    """Return a line of a part as a line of the whole image."""
    left, top, right, bottom = part

    def whole(box: Box) -> Box:
        return Box.from_pixels(
            left + box.left * (right - left),
            top + box.top * (bottom - top),
            left + box.right * (right - left),
            top + box.bottom * (bottom - top),
            width,
            height,
        )

    return Line(tuple(Word(word.text, whole(word.box)) for word in line.words), whole(line.box), line.confidence)
