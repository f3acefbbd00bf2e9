"""Reader of the clock benchmark: photographs of clocks from COCO, Open Images and films, with the time by hand.

``data/`` of the authors' repository (charigyang/itsabouttime) has ``coco_final.csv``, ``openimg_final.csv`` and
``movies_final.csv`` with the columns file_name, hour, minute and bbox_det (x, y, width, height of the detected clock in
pixels). The images are the data sets' own; those of the films are not published.
"""

import ast
import csv
import io
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.question import Question
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.episode import Image
from molmo_agent.errors import UsageError
from molmo_agent.images import read_image
from molmo_agent.parse import decode, read_bounded

QUESTION = "What time is being shown? Please respond only with the time as hours and minutes in HH:MM format."
"""The query that the paper puts to all models."""

# The set, its table, and where its images may be.
SETS = {
    "coco": ("coco_final.csv", ("coco", "COCO_train/trainval_images")),
    "openimages": ("openimg_final.csv", ("openimg", "OpenImages_train/data")),
    "movies": ("movies_final.csv", ("movies", "ClockMovies/images")),
}
_COLUMNS = ("file_name", "hour", "minute", "bbox_det")
# The authors' margin around the detected clock, as a share of its size.
_MARGIN = 0.2


class ClockPhotos:
    """The questions of the sets whose table is there, grouped by set.

    Options: ``images`` (folder with the images of all sets, in folders or together; by default the tables' folder),
    ``form`` ("image": the whole image; "crop": the detected clock with the authors' margin).

    Raises:
        UsageError: no table is there, or one has other columns.
    """

    def __init__(self, source: Source) -> None:
        options = options_of(source, {"images": None, "form": "image"}, {"form": ("image", "crop")})
        path = required_path(source)
        folder = next(
            (one for one in (path, path / "data") if any((one / file).is_file() for file, _ in SETS.values())), None
        )
        if folder is None:
            names = ", ".join(file for file, _ in SETS.values())
            raise UsageError(f"expected {names} in {path}, found none of them")
        self.problems = Problems()
        # The names of sets without a table.
        self.missing = [name for name, (file, _) in SETS.items() if not (folder / file).is_file()]
        self._questions: list[Question] = []
        images = Path(options["images"] or path)
        for name, (file, places) in SETS.items():
            if name not in self.missing:
                find = partial(_find, images, places)
                self._read(name, folder / file, find, crop=options["form"] == "crop")

    def _read(self, name: str, table: Path, find: Callable[[str], Path], *, crop: bool) -> None:
        rows = csv.DictReader(io.StringIO(decode(read_bounded(table), where=table), newline=""))
        if absent := [column for column in _COLUMNS if column not in (rows.fieldnames or ())]:
            raise UsageError(f"expected the columns {', '.join(_COLUMNS)} in {table}, but there is no {absent[0]}")
        for number, row in enumerate(rows, 2):
            try:
                self._questions.append(_question(name, row, find, crop=crop))
            except ValueError as error:
                self.problems.add(Problem(file=table.name, reason=str(error), record=number))

    def questions(self) -> list[Question]:
        """Return the questions, set by set, in the order of the tables."""
        return self._questions


def _question(name: str, row: dict[str, Any], find: Callable[[str], Path], *, crop: bool) -> Question:
    file = row["file_name"]
    if not file or Path(file).name != file:
        raise ValueError(f"expected the name of a file, got {file!r}")
    hour, minute = _whole("hour", row["hour"], 12), _whole("minute", row["minute"], 60)
    box = _box(row["bbox_det"]) if crop else None
    return Question(
        # The films' file names tell the time: they name the question and are never part of the prompt.
        id=f"clocks/{name}/{file}",
        style="clocks",
        text=QUESTION,
        # 12:60 is 12:00, as in the authors' code.
        answers=(f"{hour}:{minute % 60:02d}",),
        image=partial(_open, find, file, box),
        extra={"group": name},
    )


def _whole(name: str, text: str | None, most: int) -> int:
    value = (text or "").strip()
    if not (value.isascii() and value.isdecimal() and int(value) <= most):
        raise ValueError(f"expected a whole number from 0 to {most} as {name}, got {text!r}")
    return int(value)


def _box(text: str | None) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(value) for value in ast.literal_eval(text or ""))
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"expected [x, y, width, height] as bbox_det, got {(text or '')[:60]!r}") from error
    if not (width > 0 and height > 0):
        raise ValueError(f"expected a box with an area as bbox_det, got {text!r}")
    return x, y, width, height


def _find(images: Path, places: tuple[str, ...], file: str) -> Path:
    """Return the path of an image; in the first place if it is nowhere."""
    candidates = [images / place / file for place in places] + [images / file]
    return next((path for path in candidates if path.is_file()), candidates[0])


def _open(find: Callable[[str], Path], file: str, box: tuple[float, float, float, float] | None) -> Image:
    image = read_image(find(file))
    return image if box is None else crop_clock(image, box)


def crop_clock(image: Image, box: tuple[float, float, float, float]) -> Image:
    """Return the square around a clock with the authors' margin, cut at the edges of the image.

    Args:
        image: (height, width, 3).
        box: x, y, width, height in pixels.

    Raises:
        ValueError: the box is outside of the image.
    """
    x, y, width, height = box
    rows, columns = image.shape[:2]
    # The margin mixes the two sides as the authors' code does.
    left, right = int(max(0, x - _MARGIN * width)), int(min(columns, x + width + _MARGIN * height))
    top, bottom = int(max(0, y - _MARGIN * width)), int(min(rows, y + height + _MARGIN * height))
    half = max(bottom - top, right - left) // 2
    across, down = (left + right) // 2, (top + bottom) // 2
    cut = image[
        max(0, down - half) : max(0, min(rows, down + half)),
        max(0, across - half) : max(0, min(columns, across + half)),
    ]
    if cut.size == 0:
        raise ValueError(f"the box {box} is outside of the image of {columns} x {rows} pixels")
    return cut
