"""Reader of images with transcripts of spoken descriptions, for scoring captions.

Either PixMo-Cap's files, of which the held-out images are read, or a JSONL file, with the images beside it::

    {"image": "1.png", "transcripts": ["A red car in front of ...", "I see a street with ..."]}

``id`` is optional (else the line's number).
"""

from functools import partial
from pathlib import Path
from typing import Any

from molmo_agent.data.formats.json_lines import json_rows
from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.question import Question
from molmo_agent.data.readers.annotated import Annotated
from molmo_agent.data.readers.pixmo import cap
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.images import read_image

_KEYS = ("id", "image", "transcripts")


class DescribedImages:
    """Requests for a caption of each image; its transcripts are the question's answers.

    Options: ``images`` (folder of PixMo-Cap's images), ``hint`` (length hint of the prompt, in units of 15 characters;
    None asks without a hint).

    Raises:
        UsageError: the files are missing or unreadable.
    """

    def __init__(self, source: Source) -> None:
        options = options_of(source, {"images": None, "hint": None})
        path, self._hint = required_path(source), options["hint"]
        self._lines: list[Question] = []
        self._captions: Annotated | None = None
        if path.suffix == ".jsonl":
            self.problems = Problems()
            self._read_lines(path)
        else:
            pixmo = {"mode": "captions", "part": "validation", "images": options["images"]}
            self._captions = cap(Source(kind="pixmo_cap", path=str(path), options=pixmo))
            self.problems = self._captions.problems

    def _read_lines(self, path: Path) -> None:
        for number, line in json_rows(path, "descriptions", self.problems):
            try:
                image, transcripts, name = _validate(line)
            except ValueError as error:
                self.problems.add(Problem(file=path.name, reason=str(error), record=number))
                continue
            self._lines.append(
                Question(
                    id=name or f"line {number}",
                    style="long_caption",
                    text="",
                    answers=transcripts,
                    image=partial(read_image, path.parent / image),
                    extra={"hint": self._hint},
                )
            )

    def questions(self) -> list[Question]:
        """Return the requests in the order of the files; images without transcripts are left out."""
        if self._captions is None:
            return self._lines
        return [
            Question(
                id=question.id,
                style="long_caption",
                text="",
                answers=tuple(question.extra["transcripts"]),
                size=question.size,
                image=question.image,
                extra={"hint": self._hint},
            )
            for question in self._captions.questions()
            if question.extra["transcripts"]
        ]


def _validate(line: Any) -> tuple[str, tuple[str, ...], str]:
    if not isinstance(line, dict):
        raise ValueError("expected an object with 'image' and 'transcripts'")
    if unknown := line.keys() - set(_KEYS):
        raise ValueError(f"unknown key {min(unknown)!r}; known: {', '.join(_KEYS)}")
    if not isinstance(line.get("image"), str) or not line["image"].strip():
        raise ValueError(f"expected a text as 'image', got {line.get('image')!r}")
    transcripts = line.get("transcripts")
    if not isinstance(transcripts, list) or not all(isinstance(text, str) for text in transcripts):
        raise ValueError(f"expected a list of texts as 'transcripts', got {transcripts!r}")
    transcripts = tuple(text for text in transcripts if text.strip())
    if not transcripts:
        raise ValueError("expected at least one transcript; without one a caption cannot be scored")
    return line["image"], transcripts, str(line.get("id", ""))
