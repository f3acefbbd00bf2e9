"""Screens of real programs with what was asked about them: written once, read by any step of a curriculum.

A folder holds ``pictures/`` and ``screens.jsonl``, one screen a line, in the order in which they were recorded::

    {"picture": "pictures/000000.png",
     "questions": [{"text": "the OK button", "label": "ok", "box": [10, 20, 60, 40]}],
     "elements": [{"kind": "button", "label": "OK", "box": [10, 20, 60, 40], "text": true}],
     "texts": [{"text": "OK", "edges": [30, 36, 42], "top": 22, "bottom": 36}]}

Boxes are (left, top, right, bottom), all numbers are pixels of the picture. ``elements`` and ``texts`` may be left out.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from PIL import Image as PILImage

from molmo_agent.envs.drawing.annotated_screen import Element, PixelBox, Screen, TextRun
from molmo_agent.errors import UsageError
from molmo_agent.images import read_image
from molmo_agent.synthetic.referring.names import Question

FILE = "screens.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedScreen:
    """A screen and the questions that were asked about it."""

    screen: Screen
    questions: tuple[Question, ...]


class Recorder:
    """Writes screens into a folder, each as soon as it is seen; an interrupted recording goes on where it stopped.

    Raises:
        UsageError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            (folder / "pictures").mkdir(parents=True, exist_ok=True)
            # Bytes: what a killed recording left half written may end within a character.
            before = (folder / FILE).read_bytes() if (folder / FILE).exists() else b""
            self._file = (folder / FILE).open("a", encoding="utf-8")
            self._file.truncate(before.rfind(b"\n") + 1)
        except OSError as error:
            raise UsageError(f"cannot record into {folder}: {error.strerror}; choose another folder") from error
        self.count = before.count(b"\n")

    def add(self, recorded: RecordedScreen) -> None:
        """Write one screen."""
        name = f"pictures/{self.count:06}.png"
        PILImage.fromarray(recorded.screen.image).save(self._folder / name)
        line = {
            "picture": name,
            "questions": [
                {"text": question.text, "label": question.label, "box": question.element.box, "named": question.named}
                for question in recorded.questions
            ],
            "elements": [_short(element) for element in recorded.screen.elements],
            "texts": [asdict(run) for run in recorded.screen.texts],
        }
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()
        self.count += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _short(element: Element) -> dict[str, Any]:
    """Return an element without what it does not say, nor what its line in the file does."""
    return {
        name: value
        for name, value in asdict(element).items()
        if name not in ("id", "visible") and value not in (None, "")
    }


class RecordedScreens:
    """The screens of a folder; one is read when it is asked for.

    Raises:
        UsageError: there is no such folder, it is empty, or a line of it is no screen.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            # What follows the last line is half of one: the recording was killed, or goes on.
            self._lines = (folder / FILE).read_bytes().split(b"\n")[:-1]
        except OSError as error:
            raise UsageError(f"expected recorded screens at {folder / FILE}, but reading it failed: {error}") from error
        if not self._lines:
            raise UsageError(f"expected recorded screens in {folder / FILE}, but it is empty")

    def __len__(self) -> int:
        """Return the number of screens."""
        return len(self._lines)

    def __getitem__(self, number: int) -> RecordedScreen:
        """Read one screen.

        Raises:
            UsageError: its line is none, or its picture cannot be read.
        """
        try:
            entry = json.loads(self._lines[number])
            image = read_image(self._folder / entry["picture"])
            elements = tuple(_element(found, index) for index, found in enumerate(entry.get("elements", ())))
            questions = tuple(_question(found, len(elements)) for found in entry["questions"])
            texts = tuple(
                TextRun(run["text"], tuple(run["edges"]), run["top"], run["bottom"]) for run in entry.get("texts", ())
            )
        except (ValueError, TypeError, KeyError) as error:
            raise UsageError(
                f"expected a recorded screen in line {number + 1} of {self._folder / FILE}, got {error!r}; "
                "record it again, or remove the line"
            ) from error
        image.flags.writeable = False
        return RecordedScreen(screen=Screen(image, elements, texts), questions=questions)


def _box(numbers: Sequence[float]) -> PixelBox:
    left, top, right, bottom = (float(number) for number in numbers)
    if not (left < right and top < bottom):
        raise ValueError(f"a box without area: {list(numbers)}")
    return left, top, right, bottom


def _element(entry: Mapping[str, Any], number: int) -> Element:
    return Element(
        **{**entry, "id": number, "box": _box(entry["box"]), "visible": True, "label": entry.get("label", "")}
    )


def _question(entry: Mapping[str, Any], number: int) -> Question:
    target = Element(id=number, kind="target", label=entry["label"], box=_box(entry["box"]), visible=True, text=True)
    return Question((target,), entry["text"], entry["label"], "recorded", named=entry.get("named", True))


@lru_cache(maxsize=4)
def open_recorded(folder: str) -> RecordedScreens:
    """Open a folder once per process."""
    return RecordedScreens(Path(folder))
