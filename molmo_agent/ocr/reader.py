"""The text readers by name. Loads no engine until one is asked for."""

import importlib
from collections.abc import Mapping, Sequence
from typing import Any

from molmo_agent.episode import Image
from molmo_agent.errors import UnknownNameError
from molmo_agent.screen_text import Line, TextReader

# Name -> ("module:attribute", one line for people).
READERS: Mapping[str, tuple[str, str]] = {
    "rapidocr": ("molmo_agent.ocr.rapid:RapidReader", "PP-OCR on the CPU; its models come with the package"),
    "tesseract": ("molmo_agent.ocr.tesseract:TesseractReader", "the tesseract program, where it is installed"),
    "windows": ("molmo_agent.ocr.system_engines:WindowsReader", "the engine of Windows 10 and 11 (pip install winocr)"),
    "macos": ("molmo_agent.ocr.system_engines:MacReader", "the engine of macOS (pip install ocrmac)"),
}


def load_reader(name: str = "rapidocr", **options: Any) -> TextReader:
    """Make a text reader by its name. Images that resemble the last ones are read only where they differ.

    Args:
        name: one of ``READERS``.
        options: passed to the engine.

    Raises:
        UnknownNameError: no such reader; the nearest names are offered.
        UsageError: its program or package is not installed.
    """
    if name not in READERS:
        raise UnknownNameError("text reader", name, READERS)
    module, attribute = READERS[name][0].split(":")
    make = getattr(importlib.import_module(module), attribute)
    incremental: Any = importlib.import_module("molmo_agent.ocr.incremental")
    reader: TextReader = incremental.IncrementalReader(make(**options))
    return reader


class LazyReader:
    """A text reader whose engine is loaded when the first image is read: most runs type nothing.

    Args:
        name: one of ``READERS``.
    """

    def __init__(self, name: str = "rapidocr") -> None:
        self.name = name
        self._reader: TextReader | None = None

    def read(self, image: Image) -> Sequence[Line]:
        """Read an RGB uint8 image of shape (height, width, 3); lines from top to bottom.

        Raises:
            ModelError: the engine failed.
            UnknownNameError: no such reader.
            UsageError: its program or package is not installed.
        """
        if self._reader is None:
            self._reader = load_reader(self.name)
        return self._reader.read(image)
