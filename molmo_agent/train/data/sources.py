"""The data sets a mixture can name: each gives rows by number. What cannot be used is told, with its row.

A source has a length (0: without end) and a row for every (number, epoch, seed); the same three give the same row.
"""

import json
import random
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image as PILImage

from molmo_agent.episode import Image
from molmo_agent.errors import ImageError, UnknownNameError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.model.image_processor import load_image
from molmo_agent.model.prompts import AndroidForm, android_answer, android_prompt, wording
from molmo_agent.point_text import format_points
from molmo_agent.train.config import Source
from molmo_agent.train.data.android_control import AndroidControl, AndroidStep
from molmo_agent.train.data.problems import Problem, Problems
from molmo_agent.train.draw import draw
from molmo_agent.train.examples import Conversation, Row
from molmo_agent.train.phrases import ask_all


class Rows(Protocol):
    """Rows of a data set by number."""

    # What could not be used.
    problems: Problems

    def __len__(self) -> int:
        """Return how many rows there are; 0: without end."""
        ...

    def row(self, number: int, seed: int) -> Row:
        """Return a row; the seed decides everything random about it."""
        ...


class SimulatedDesktop:
    """Screens of the simulated desktop with a question about every element that can be told apart; without end.

    Options: ``width``, ``height``, ``split``, ``most`` questions of a screen.
    """

    def __init__(self, source: Source) -> None:
        options: dict[str, Any] = {"width": 640, "height": 480, "split": "train", "most": 40, **source.options}
        self._width, self._height = int(options["width"]), int(options["height"])
        self._split, self._most = options["split"], int(options["most"])
        self.problems = Problems()

    def __len__(self) -> int:
        """Without end."""
        return 0

    def row(self, number: int, seed: int) -> Row:
        """Draw a screen; one that has nothing to ask for is drawn again."""
        rng = random.Random(seed)
        while True:
            screen = draw(rng.getrandbits(31), None, width=self._width, height=self._height, split=self._split)
            questions = ask_all(screen.elements, rng)
            if questions:
                break
        height, width = screen.image.shape[:2]
        rng.shuffle(questions)
        conversations = []
        for question in questions[: self._most]:
            box = question.element.box
            center = Point((box[0] + box[2]) / 2 / width, (box[1] + box[3]) / 2 / height)
            answer = format_points("molmo", [center], question.label)
            conversations.append(Conversation(turns=(question.text, answer), style="demo"))
        return Row(
            conversations=tuple(conversations),
            size=(height, width),
            image=lambda: screen.image,
            name=f"simulated screen {number}",
        )


class PointsFile:
    """A user's own points: a JSONL file with ``image``, ``label`` and ``points`` a line, pictures beside it.

    ``points`` are [x, y] pairs, fractions of width and height in [0, 1]; an empty list says that there is none.
    ``question`` asks in the user's words. Lines about the same picture become annotations of one row.
    """

    def __init__(self, source: Source) -> None:
        path = _needed_path(source)
        self.problems = Problems()
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._folder = path.parent
        for number, line in enumerate(_lines(path, "points"), 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
                self._check(entry)
            except (ValueError, ImageError) as error:
                self.problems.add(Problem(file=path.name, reason=str(error), record=number))
                continue
            self._rows.setdefault(entry["image"], []).append(entry)
        self._pictures = list(self._rows)
        if not self._rows:
            raise UsageError(f"no line of {path} can be used; {self.problems.summary()}")

    def _check(self, entry: Any) -> None:
        if not isinstance(entry, dict) or not isinstance(entry.get("image"), str):
            raise ValueError("expected an object with 'image', 'label' and 'points'")
        if not isinstance(entry.get("label"), str) or not entry["label"].strip():
            raise ValueError("expected a 'label' that says what is pointed at")
        points = entry.get("points")
        if not isinstance(points, list):
            raise ValueError("expected 'points' to be a list of [x, y] in 0..1")
        for point in points:
            if (
                not isinstance(point, list)
                or len(point) != 2
                or not all(isinstance(v, int | float) and not isinstance(v, bool) and 0 <= v <= 1 for v in point)
            ):
                raise ValueError(f"the point {point!r} lies outside the picture; expected [x, y] in 0..1")
        _size_of(self._folder / entry["image"])

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self._pictures)

    def row(self, number: int, seed: int) -> Row:
        """Return a picture with everything that is pointed at on it."""
        name = self._pictures[number]
        path = self._folder / name
        rng = np.random.RandomState(seed & 0xFFFFFFFF)
        conversations = []
        for entry in self._rows[name]:
            question = entry.get("question") or wording("pointing", entry["label"], rng)
            answer = format_points("molmo", [Point(x, y) for x, y in entry["points"]], entry["label"].lower())
            conversations.append(Conversation(turns=(question, answer), style="pointing"))
        return Row(
            conversations=tuple(conversations), size=_size_of(path), image=lambda: load_image(path), name=str(path)
        )


class AndroidControlRows:
    """AndroidControl's steps, each asked in the four forms.

    Options: ``split`` ("train"), ``subsplit``, ``forms``.
    """

    def __init__(self, source: Source) -> None:
        options: dict[str, Any] = {"split": "train", "subsplit": None, "forms": ["ll", "hl_ll", "hl", "hl_cot"]}
        options |= source.options
        self._forms: list[AndroidForm] = options["forms"]
        reader = AndroidControl(_needed_path(source), options["split"], subsplit=options["subsplit"])
        self._steps: list[AndroidStep] = list(reader)
        self.problems = reader.problems
        if not self._steps:
            raise UsageError(f"no step of {source.path} can be used; {self.problems.summary()}")

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self._steps)

    def row(self, number: int, seed: int) -> Row:
        """Return a step."""
        step = self._steps[number]
        action = step.target_action()
        conversations = tuple(
            Conversation(
                turns=(
                    android_prompt(form, goal=step.goal, step=step.instruction),
                    " " + android_answer(form, action, step=step.instruction),
                ),
                style="android_control",
            )
            for form in self._forms
        )
        width, height = step.size()
        return Row(conversations=conversations, size=(height, width), image=step.image, name=step.row)


class ChatFile:
    """Text alone: a JSONL file with ``messages`` a line, alternating strings, a question first."""

    def __init__(self, source: Source) -> None:
        path = _needed_path(source)
        self.problems = Problems()
        self._rows: list[tuple[int, list[str]]] = []
        for number, line in enumerate(_lines(path, "conversations"), 1):
            try:
                messages = json.loads(line)["messages"]
                if len(messages) < 2 or len(messages) % 2 or not all(isinstance(m, str) and m for m in messages):
                    raise ValueError("expected 'messages' to be questions and answers in turn")
            except (ValueError, KeyError, TypeError) as error:
                self.problems.add(Problem(file=path.name, reason=str(error), record=number))
                continue
            self._rows.append((number, messages))
        if not self._rows:
            raise UsageError(f"no line of {path} can be used; {self.problems.summary()}")

    def __len__(self) -> int:
        """Return the number of conversations."""
        return len(self._rows)

    def row(self, number: int, seed: int) -> Row:
        """Return a conversation."""
        line, messages = self._rows[number]
        return Row(conversations=(Conversation(turns=tuple(messages), style="text"),), name=f"line {line}")


def _needed_path(source: Source) -> Path:
    if not source.path:
        raise UsageError(f"the data set {source.kind!r} needs a path; set it in the recipe, or with mixture.0.path=...")
    return Path(source.path)


def _lines(path: Path, what: str) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"expected a JSONL file of {what} at {path}, but: {error.strerror}") from error


def _size_of(path: Path) -> tuple[int, int]:
    """Return (height, width) of an upright picture, from its header alone where it is not turned."""
    try:
        with PILImage.open(path) as picture:
            if picture.getexif().get(0x0112, 1) == 1:
                return picture.height, picture.width
    except OSError as error:
        raise ImageError(f"{str(path)!r} is not a picture that can be read ({error})") from error
    image: Image = load_image(path)
    return image.shape[0], image.shape[1]


KINDS: Mapping[str, Callable[[Source], Rows]] = {
    "sim-desktop": SimulatedDesktop,
    "points": PointsFile,
    "android-control": AndroidControlRows,
    "chat": ChatFile,
}


def open_source(source: Source) -> Rows:
    """Open a data set.

    Raises:
        UnknownNameError: no such kind; the nearest are offered.
        UsageError: it has nothing that can be used.
    """
    if source.kind not in KINDS:
        raise UnknownNameError("data set", source.kind, KINDS)
    return KINDS[source.kind](source)
