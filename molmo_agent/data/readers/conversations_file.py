r"""Reader of people's own pictures with questions, answers and captions, in the forms in which they have them.

A record (a line, an entry of a JSON list, a row of a table) has

- ``image`` or ``images`` (paths relative to the file; none: text alone), and one of
- ``messages`` or ``conversations``: questions and answers in turn, as texts, as ``{"role": "user", "content": ...}``,
  or as LLaVA's ``{"from": "human", "value": "<image>\n..."}``;
- ``question`` with ``answer`` (or ``answers``: one is drawn), or with ``points``;
- ``caption`` (or ``text``), alone or beside the others.

Optional: ``points`` ([x, y] pairs, fractions of width and height) that are the answer, or stand for the placeholders
``<|POINT|>`` in it; ``label``, what the points are; ``style``. A folder is read as pictures with captions: ``a.png``
beside ``a.txt``, or ``metadata.jsonl`` (``captions.jsonl``) with ``file_name`` and ``text``.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from molmo_agent.data.formats.parquet import shards
from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.readers.own_records import OwnRecords, Size, folder_of, open_records
from molmo_agent.data.row import Conversation, Target
from molmo_agent.data.source import Source
from molmo_agent.data.turns import turns_of, without_marks
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.errors import DataError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.model.prompts import TEXT_STYLE, best_answer, caption_wording, wording
from molmo_agent.parse import decode, read_bounded
from molmo_agent.point_text.parse import PLACEHOLDER, InlinePoints, format_inline_points, format_points

_KEYS = (
    "image", "images", "file_name", "messages", "conversations", "question", "answer", "answers", "caption", "text",
    "points", "label", "style",
)  # fmt: skip
_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_LISTS = ("metadata.jsonl", "captions.jsonl")
_MAX_CAPTION_BYTES = 1_000_000


def conversations(source: Source) -> OwnRecords:
    """Read a file or a folder of one's own conversations; see the module.

    Options: ``images``, the folder of relative paths (default: the file's); ``style`` of records without one (default:
    ``user_qa`` for answers, ``long_caption`` for captions, ``pointing`` for points).
    """
    options = options_of(source, {"images": None, "style": None})
    if options["style"] is not None and not isinstance(options["style"], str):
        raise UsageError(f"expected the option 'style' of {source.kind!r} to be a text, got {options['style']!r:.80}")
    path, problems = required_path(source), Problems()
    form = ConversationForm(options["style"])
    folder = folder_of(source, path)
    if path.is_dir():
        return _folder(path, form, folder if options["images"] else None, problems)
    return OwnRecords(open_records(path, "conversations", _KEYS, problems), form, folder, problems)


def _folder(path: Path, form: "ConversationForm", images: Path | None, problems: Problems) -> OwnRecords:
    """Read a folder by what is in it: a list of captions, text files beside pictures, or a table."""
    for listed in (part / name for part in (path, path / "train") for name in _LISTS):
        if listed.is_file():
            lines = open_records(listed, "captions", _KEYS, problems)
            return OwnRecords(lines, form, images or listed.parent, problems)
    if shards(path, "train"):
        return OwnRecords(open_records(path, "conversations", _KEYS, problems), form, images or path, problems)
    captions = _CaptionFiles(path, problems)
    if not captions.has_any:
        raise UsageError(
            f"expected pictures with captions in {path}: a.txt beside a.png, {' or '.join(_LISTS)} with 'file_name' "
            "and 'text', or Parquet files; found none"
        )
    return OwnRecords(captions, form, path, problems)


class _CaptionFiles:
    """Pictures of a folder, each with its caption in a text file of the same name."""

    def __init__(self, folder: Path, problems: Problems) -> None:
        self._folder, self._problems, self.name = folder, problems, folder.name
        paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _PICTURES)
        self._names = [path.relative_to(folder).as_posix() for path in paths]
        self.has_any = any(path.with_suffix(".txt").is_file() for path in paths)

    def scan(self) -> Iterator[tuple[int, Any]]:
        """Yield (number, record), counted from 1."""
        for number, name in enumerate(self._names, 1):
            try:
                record = self.get(number)
            except DataError as error:
                self._problems.add(Problem(file=name, reason=f"its caption cannot be read: {error}"))
                continue
            yield number, record

    def get(self, number: int) -> Any:
        """Return a picture's name and its caption.

        Raises:
            DataError: there is none, or it is unreadable.
        """
        name = self._names[number - 1]
        path = (self._folder / name).with_suffix(".txt")
        return {"image": name, "caption": decode(read_bounded(path, _MAX_CAPTION_BYTES), where=path).strip()}


class ConversationForm:
    """The records of :func:`conversations`.

    Args:
        style: of records without one; None: by what they hold.
    """

    def __init__(self, style: str | None = None) -> None:
        self._style = style

    def images(self, record: Any) -> tuple[Any, ...]:
        """Return the images of a record, in order."""
        if not isinstance(record, dict):
            raise ValueError(f"expected an object with an image and its texts, got {record!r:.80}")
        given = [record[name] for name in ("image", "images", "file_name") if record.get(name) is not None]
        if len(given) > 1:
            raise ValueError("expected one of 'image', 'images' and 'file_name', got several")
        if not given:
            return ()
        images = given[0] if isinstance(given[0], list) else [given[0]]
        if any(not image for image in images):
            raise ValueError(f"expected the path of an image, got {given[0]!r:.80}")
        return tuple(images)

    def conversations(
        self, record: Any, sizes: tuple[Size, ...], rng: np.random.RandomState
    ) -> tuple[Conversation, ...]:
        """Return the conversation of a record."""
        style = record.get("style") or self._style
        if style is not None and not isinstance(style, str):
            raise ValueError(f"expected a text as 'style', got {style!r:.80}")
        points = None if record.get("points") is None else fractions(record["points"])
        if points is not None and len(sizes) != 1:
            raise ValueError(f"expected one image for 'points', which are fractions of it, got {len(sizes)}")
        texts: list[tuple[tuple[str, ...], str]] = []
        messages = _given(record, "messages", "conversations")
        caption = _given(record, "caption") if sizes or messages is None else None
        in_words = "user_qa" if sizes else TEXT_STYLE
        if messages is not None:
            texts.append((turns_of(messages, len(sizes)), in_words))
        elif _given(record, "question", "answer", "answers") is not None:
            question = without_marks([_text(record.get("question"), "question")], len(sizes))[0]
            answer = _answer(record, rng)
            if answer is None and points is not None:
                return (_pointing(record, question, points, style),)
            if answer is None:
                raise ValueError("expected an 'answer' to the question, got none")
            texts.append(((question, answer), in_words))
        elif caption is None and points is not None:
            question = wording("pointing", _text(record.get("label"), "label"), rng)
            return (_pointing(record, question, points, style),)
        elif caption is None:
            caption = record.get("text")
        if caption is not None:
            texts.append(((caption_wording(rng), _text(caption, "caption")), "long_caption"))
        if not texts:
            keys = ", ".join(map(str, record)) or "none"
            raise ValueError(f"expected 'messages', 'question' and 'answer', or 'caption'; got the keys {keys:.120}")
        if points is not None:
            turns, kind = texts[0]
            texts[0] = (*turns[:-1], _inline(turns[-1], points, record)), kind
        return tuple(Conversation(turns=turns, style=style or kind) for turns, kind in texts)


def _answer(record: Mapping[str, Any], rng: np.random.RandomState) -> str | None:
    """Return the answer of a record, the most frequent of several; None without one."""
    given = _given(record, "answer", "answers")
    if not isinstance(given, list):
        return None if given is None else _text(given, "answer")
    if not given:
        raise ValueError("the list of answers is empty")
    return best_answer([_text(one, "answer") for one in given], rng)


def _pointing(record: Mapping[str, Any], question: str, points: tuple[Point, ...], style: str | None) -> Conversation:
    """Return a question whose answer is points alone."""
    label = _text(record.get("label") or question, "label")
    return Conversation(
        turns=(question, format_points("molmo", points, label.lower())),
        style=style or "pointing",
        target=Target(instruction=_text(record.get("question") or label, "question"), points=points),
    )


def _given(record: Mapping[str, Any], *names: str) -> Any:
    """Return the first of some values that is there; None if none is. Tables have all columns in every row."""
    return next((record[name] for name in names if record.get(name) is not None), None)


def _text(value: Any, name: str) -> str:
    if type(value) in (int, float):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"expected a text as {name!r}, got {value!r:.80}")
    if not value.strip():
        raise ValueError(f"the {name} is empty")
    return value


def _inline(text: str, points: tuple[Point, ...], record: Mapping[str, Any]) -> str:
    """Put points into an answer, one for each placeholder."""
    if text.count(PLACEHOLDER) != len(points):
        raise ValueError(
            f"expected {PLACEHOLDER} in the answer once for each of {len(points)} points, got it "
            f"{text.count(PLACEHOLDER)} times; leave the answer out if the points are the whole answer"
        )
    label = _text(record.get("label") or "point", "label")
    return format_inline_points("molmo", text, [InlinePoints((point,), label, label) for point in points])


def fractions(points: Any) -> tuple[Point, ...]:
    """Return [x, y] pairs in 0..1 as points.

    Raises:
        ValueError: they are something else.
    """
    if not isinstance(points, list):
        raise ValueError(f"expected 'points' to be a list of [x, y] in 0..1, got {points!r:.80}")
    for point in points:
        pair = isinstance(point, list) and len(point) == 2
        if not pair or not all(type(v) in (int, float) and 0 <= v <= 1 for v in point):
            raise ValueError(f"the point {point!r:.60} lies outside the image; expected [x, y] in 0..1")
    return tuple(Point(x, y) for x, y in points)
