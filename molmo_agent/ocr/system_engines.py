"""Reads with the engine of the operating system, through small packages that call it.

Never run on these systems: the tests replace the packages.
"""

import importlib
from collections.abc import Sequence
from typing import Any

import PIL.Image

from molmo_agent.episode import Image
from molmo_agent.errors import ModelError, UsageError
from molmo_agent.geometry import Box
from molmo_agent.screen_text import Line, Word, box_around, reading_order


def _package(module: str, system: str) -> Any:
    name = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(
            f"expected the package {name!r}, which calls the text engine of {system}, but {error}; "
            f"on {system}: pip install {name}; elsewhere use the reader that comes with the package: rapidocr"
        ) from error


class WindowsReader:
    """Reads with the OCR engine of Windows 10 and 11 (Windows.Media.Ocr), through ``winocr``.

    Args:
        language: a tag such as "en" or "de-DE"; its language pack must be installed.

    Raises:
        UsageError: ``winocr`` is not installed.
    """

    name = "windows"

    def __init__(self, *, language: str = "en") -> None:
        self._winocr, self._language = _package("winocr", "Windows"), language

    def read(self, image: Image) -> Sequence[Line]:
        """Read an RGB uint8 image of shape (height, width, 3); lines from top to bottom.

        Raises:
            ModelError: the engine failed, or does not have the language.
        """
        height, width = image.shape[:2]
        try:
            result = self._winocr.recognize_pil_sync(PIL.Image.fromarray(image).convert("RGBA"), self._language)
        except Exception as error:  # whatever the Windows Runtime raises
            raise ModelError(f"expected the engine of Windows to read {self._language!r}, but {error}") from error
        lines = []
        for line in result["lines"]:
            words = []
            for word in line["words"]:
                x, y, across, down = (word["bounding_rect"][name] for name in ("x", "y", "width", "height"))
                words.append(Word(word["text"], Box.from_pixels(x, y, x + across, y + down, width, height)))
            if words:
                # The engine reports no confidence.
                lines.append(Line(tuple(words), box_around([word.box for word in words]), 1.0))
        return reading_order(lines)


class MacReader:
    """Reads with Apple's Vision framework, through ``ocrmac``. It reports lines only: words share a line's width.

    Args:
        language: a tag such as "en-US".

    Raises:
        UsageError: ``ocrmac`` is not installed.
    """

    name = "macos"

    def __init__(self, *, language: str = "en-US") -> None:
        self._ocr, self._language = _package("ocrmac.ocrmac", "macOS"), language

    def read(self, image: Image) -> Sequence[Line]:
        """Read an RGB uint8 image of shape (height, width, 3); lines from top to bottom.

        Raises:
            ModelError: the engine failed.
        """
        try:
            annotations = self._ocr.OCR(PIL.Image.fromarray(image), language_preference=[self._language]).recognize()
        except Exception as error:  # whatever Vision raises
            raise ModelError(f"expected the engine of macOS to read {self._language!r}, but {error}") from error
        lines = []
        for text, confidence, (x, y, across, down) in annotations:
            # Vision's origin is at the bottom left.
            box = Box.from_pixels(x, 1 - y - down, x + across, 1 - y, 1, 1)
            if text.strip():
                lines.append(Line(_spread(text, box), box, float(confidence)))
        return reading_order(lines)


def _spread(text: str, box: Box) -> tuple[Word, ...]:
    """Place the words of a line by their number of characters."""
    words, position, across = [], 0, (box.right - box.left) / len(text)
    for word in text.split():
        start = text.index(word, position)
        position = start + len(word)
        words.append(
            Word(word, Box(box.left + start * across, box.top, min(box.left + position * across, 1.0), box.bottom))
        )
    return tuple(words)
