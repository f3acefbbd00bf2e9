"""Turn the records of a grounding benchmark into questions: files by name, images on demand, unique ids."""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.images.checked import EmbeddedImages
from molmo_agent.data.options import json_file
from molmo_agent.data.question import Question
from molmo_agent.data.readers.grounding.targets import Target
from molmo_agent.data.unusable_rows import ROW_ERRORS, NothingUsableError, Problem, Problems, reason_of
from molmo_agent.episode import Image
from molmo_agent.errors import ImageError, UsageError
from molmo_agent.images import read_image

Record = Mapping[str, Any]
Parse = Callable[[int, Any], "Question | None"]


class Items:
    """The questions of a benchmark; unusable records are reported in ``problems``.

    A repeated id gets a number, so that every record is asked: some benchmarks repeat ids, others name none.

    Args:
        what: names the data in errors.
        parts: (name of the file, its records, how to parse one). A parser returns None for records of another part.
        problems: those found earlier.

    Raises:
        NothingUsableError: no record is usable.
    """

    def __init__(
        self, what: str, parts: Sequence[tuple[str, Iterator[tuple[int, Any]], Parse]], problems: Problems
    ) -> None:
        self.problems = problems
        self._questions: list[Question] = []
        seen: Counter[str] = Counter()
        for name, records, parse in parts:
            for number, record in records:
                try:
                    if not isinstance(record, Mapping):
                        raise ValueError(f"expected an object, got {record!r:.80}")
                    question = parse(number, record)
                except ROW_ERRORS as error:
                    problems.add(Problem(file=name, reason=reason_of(error), record=number))
                    continue
                if question is None:
                    continue
                seen[question.id] += 1
                if seen[question.id] > 1:
                    question = replace(question, id=f"{question.id} #{seen[question.id]}")
                self._questions.append(question)
        if not self._questions:
            raise NothingUsableError(f"no record of {what}", problems)

    def __len__(self) -> int:
        """Return the number of usable questions."""
        return len(self._questions)

    def questions(self) -> list[Question]:
        """Return the questions in the order of the files."""
        return self._questions


def pointing_question(
    id_: str, instruction: Any, target: Target, image: Callable[[], Image], size: Any = None
) -> Question:
    """Return the question for the place of a target.

    Args:
        id_: of the record.
        instruction: the text that names the target.
        target: what is right.
        image: reads the image.
        size: the published [width, height], if the file states it; an image of another size is not used, because the
            numbers of the target refer to the published one.

    Raises:
        ValueError: the instruction is no text, or the size no pair of numbers.
    """
    if not isinstance(instruction, str) or not instruction.strip():
        raise ValueError(f"expected an instruction as text, got {instruction!r:.80}")
    if size is not None:
        if not isinstance(size, Sequence) or len(size) != 2 or not all(type(side) in (int, float) for side in size):
            raise ValueError(f"expected the image's size as [width, height], got {size!r:.80}")
        image = partial(_of_size, image, (int(size[0]), int(size[1])))
    return Question(id=id_, style="pointing", text=instruction.strip(), image=image, extra={"target": target})


def _of_size(read: Callable[[], Image], size: tuple[int, int]) -> Image:
    image = read()
    height, width = image.shape[:2]
    if (width, height) != size:
        raise ImageError(
            f"expected the published image of {size[0]} x {size[1]} pixels, got one of {width} x {height}; its boxes "
            "do not fit: fetch the original images"
        )
    return image


def file_records(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield (number, record) of a JSON list.

    Raises:
        UsageError: the file is missing or holds no list.
    """
    records = json_file(path)
    if not isinstance(records, list):
        raise UsageError(f"expected a list of records in {path}, got {type(records).__name__}")
    return iter(enumerate(records))


def table_records(
    folder: Path, split: str, columns: Sequence[str], problems: Problems, optional: Sequence[str] = ()
) -> tuple[Table, Iterator[tuple[int, Any]]]:
    """Return a table and (number, record) of its rows, without the images, which are read on demand.

    Raises:
        UsageError: the files or a column are missing.
    """
    table = Table(folder, split, columns, problems)
    images = ("image", "mask", "raw_image", "img", "screenshot", "depth_image", "depth")
    names = [name for name in (*columns, *(name for name in optional if name in table.columns)) if name not in images]
    return table, table.scan(names)


def embedded(folder: Path, table: Table, number: int, column: str = "image") -> Callable[[], Image]:
    """Return what reads the image of a row."""
    return partial(_embedded, EmbeddedImages(folder, table, column), number)


def _embedded(images: EmbeddedImages, number: int) -> Image:
    return read_image(images.data(str(number)))


def image_file(folder: Path, name: Any) -> Callable[[], Image]:
    """Return what reads an image file, also where an archive program has changed the letters of its name.

    Raises:
        ValueError: the name is no text, or leads out of the folder.
    """
    if not isinstance(name, str) or not name.strip():
        raise ValueError(f"expected the name of an image, got {name!r:.80}")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise ValueError(f"expected the name of an image inside of {folder.name}/, got {name!r}")
    return partial(_read_file, folder, name)


def _read_file(folder: Path, name: str) -> Image:
    return read_image(existing(folder, name))


def existing(folder: Path, name: str) -> Path:
    """Return the file of a name, composed (NFC), decomposed (NFD), or as a zip program without UTF-8 writes it."""
    path = folder
    for part in Path(name).parts:
        if (path / part).exists():
            path = path / part
            continue
        wanted = unicodedata.normalize("NFC", part)
        entries = sorted(path.iterdir()) if path.is_dir() else []
        path = next((entry for entry in entries if wanted in _readings(entry.name)), path / part)
    return path


def _readings(name: str) -> set[str]:
    """Return what the name of a file may stand for, composed."""
    readings = {name}
    for encoding in ("cp437", "latin-1"):
        try:
            readings.add(name.encode(encoding).decode("utf-8"))
        except UnicodeError:
            continue
    return {unicodedata.normalize("NFC", reading) for reading in readings}


def folder_beside(path: Path, *names: str) -> Path:
    """Return the first of several folders that exists, for copies that name it differently; else the first."""
    return next((path / name for name in names if (path / name).is_dir()), path / names[0])
