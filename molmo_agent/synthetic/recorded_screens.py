"""Write and read recorded screens of real programs, with questions about them, for training.

A folder holds ``pictures/`` and ``screens.jsonl`` with one screen per line, in the order of recording::

    {"picture": "pictures/000000.png",
     "questions": [{"text": "the OK button", "label": "ok", "box": [10, 20, 60, 40]}],
     "elements": [{"kind": "button", "label": "OK", "box": [10, 20, 60, 40], "text": true}],
     "texts": [{"text": "OK", "edges": [30, 36, 42], "top": 22, "bottom": 36}]}

Boxes are (left, top, right, bottom); all numbers are image pixels. ``elements`` and ``texts`` are optional.
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
from molmo_agent.files import open_to_append
from molmo_agent.images import read_image
from molmo_agent.synthetic.referring.names import Question

FILE = "screens.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedScreen:
    """A screen and questions about it."""

    screen: Screen
    questions: tuple[Question, ...]


class Recorder:
    """Writes screens to a folder, one by one; an interrupted recording can be continued.

    Raises:
        UsageError: the folder is not writable.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            (folder / "pictures").mkdir(parents=True, exist_ok=True)
            # Read bytes: a truncated last line may end within a character.
            before = (folder / FILE).read_bytes() if (folder / FILE).exists() else b""
            self._file = open_to_append(folder / FILE)
            self._file.truncate(before.rfind(b"\n") + 1)
        except OSError as error:
            raise UsageError(f"cannot record into {folder}: {error.strerror}; choose another folder") from error
        self.count = before.count(b"\n")

    def add(self, recording: RecordedScreen) -> None:
        """Append a screen."""
        name = f"pictures/{self.count:06}.png"
        PILImage.fromarray(recording.screen.image).save(self._folder / name)
        line = {
            "picture": name,
            "questions": [
                {"text": question.text, "label": question.label, "box": question.element.box, "named": question.named}
                for question in recording.questions
            ],
            "elements": [_short(element) for element in recording.screen.elements],
            "texts": [asdict(run) for run in recording.screen.texts],
        }
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()
        self.count += 1

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _short(element: Element) -> dict[str, Any]:
    """Return an element's non-empty fields, without those that reading restores."""
    return {
        name: value
        for name, value in asdict(element).items()
        if name not in ("id", "visible") and value not in (None, "")
    }


class RecordedScreens:
    """The screens of a folder, each read on demand.

    Raises:
        UsageError: ``screens.jsonl`` is missing, unreadable or empty.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            # Ignore a truncated last line: the recording was interrupted, or is still running.
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
            UsageError: its line is not a valid screen, or its image cannot be read.
        """
        try:
            entry = json.loads(self._lines[number])
            image = read_image(self._folder / entry["picture"])
            elements = tuple(_element(record, index) for index, record in enumerate(entry.get("elements", ())))
            questions = tuple(_question(record, len(elements)) for record in entry["questions"])
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
def open_recorded_screens(folder: str) -> RecordedScreens:
    """Open a folder once per process."""
    return RecordedScreens(Path(folder))
