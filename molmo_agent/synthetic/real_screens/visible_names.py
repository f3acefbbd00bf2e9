"""Whether the name of an element stands on it as text, so that elements with only an icon can be told from the others.

The accessibility tree does not say it: a tool bar without texts has the same names as one with them. So the elements
are read with an OCR engine, and what that does not settle counts as unknown.
"""

import difflib
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from molmo_agent.episode import Image
from molmo_agent.errors import EnvError
from molmo_agent.synthetic.real_screens.element import RealElement

REMEDY = "pip install rapidocr onnxruntime"
# An element with nothing but an icon is about as wide as it is high.
_WIDEST_ICON = 2.2
_HIGHEST_ICON_PX = 72
# Below it the engine guesses.
_SURE = 0.8
# Other elements always show their names, and of a field the name stands beside it.
_PERHAPS_ICONS = ("button", "radio", "link", "tab", "menu")
# Buttons of tool bars that stay pressed call themselves check boxes or radio buttons; a box that one ticks is smaller.
_PERHAPS_BUTTONS = ("checkbox", "radio")
_SMALLEST_BUTTON_PX = 22


class NameReader:
    """Reads single elements with rapidocr, each picture of one only once.

    Raises:
        EnvError: rapidocr is not installed.
    """

    def __init__(self) -> None:
        try:
            import rapidocr
        except ImportError as error:
            raise EnvError(f"recording programs needs rapidocr to tell icons from texts: {REMEDY}") from error
        logging.getLogger("RapidOCR").setLevel(logging.ERROR)
        # One thread: a recording runs beside other work for a long time.
        self._engine: Any = rapidocr.RapidOCR(
            params={"EngineConfig.onnxruntime.intra_op_num_threads": 1, "Global.log_level": "error"}
        )
        self._cache: dict[bytes, list[tuple[str, float]]] = {}

    def read(self, crop: Image) -> list[tuple[str, float]]:
        """Return what one line of the crop may say with a confidence; once for all of it, once for its lower part."""
        key = crop.tobytes() + str(crop.shape).encode()
        if key not in self._cache:
            lower = crop[int(0.55 * len(crop)) :]
            parts = [crop] if len(crop) < 32 else [crop, lower]
            replies: list[tuple[Any, Any]] = []
            for part in parts:
                result = self._engine(np.ascontiguousarray(part[..., ::-1]), use_det=False, use_cls=False)
                replies += zip(result.txts or (), result.scores or (), strict=True)
            self._cache[key] = [(str(text), float(score)) for text, score in replies]
        return self._cache[key]

    def mark(self, elements: Sequence[RealElement], image: Image, scale: int = 1) -> list[RealElement]:
        """Return the elements with ``has_text`` filled in.

        Args:
            elements: with boxes in pixels of the image.
            image: (height, width, 3) uint8 RGB.
            scale: pixels per unit of the programs.
        """
        marked = []
        for element in elements:
            left, top, width, height = element.box
            has_text: bool | None = True
            is_square = _SMALLEST_BUTTON_PX * scale <= height and width <= 1.7 * height
            if element.kind in _PERHAPS_ICONS or (element.kind in _PERHAPS_BUTTONS and is_square):
                lines = self.read(image[top : top + height, left : left + width])
                has_text = name_is_on(element.name, (width, height), lines, scale)
            kind = "button" if element.kind in _PERHAPS_BUTTONS and has_text is False else element.kind
            marked.append(replace(element, kind=kind, has_text=has_text))
        return marked


def name_is_on(name: str, size: tuple[int, int], lines: Sequence[tuple[str, float]], scale: int = 1) -> bool | None:
    """Tell whether an element's name stands on it; None if that is uncertain.

    Args:
        name: the element's.
        size: (width, height) of the element in pixels.
        lines: what an engine has read on it, with confidences.
        scale: pixels per unit of the programs.
    """
    if any(is_readable(name, text) for text, _ in lines):
        return True
    width, height = size
    is_small = height <= _HIGHEST_ICON_PX * scale and width <= _WIDEST_ICON * height
    has_words = any(score > _SURE and len(_letters(text)) > 2 for text, score in lines)
    # "7" on a calculator's key is a text that the engine misses now and then.
    return False if is_small and not has_words and len(name) > 2 else None


def is_readable(name: str, text: str) -> bool:
    """Tell whether a name is in a text that was read, give or take a misread letter."""
    wanted, present = _letters(name), _letters(text)
    if not wanted:
        return False
    if wanted in present:
        return True
    matcher = difflib.SequenceMatcher(None, wanted, present, autojunk=False)
    shared = sum(block.size for block in matcher.get_matching_blocks() if block.size > 1)
    return shared >= 0.7 * len(wanted) and len(wanted) > 3


def _letters(text: str) -> str:
    return "".join(character for character in text.casefold() if character.isalnum())
