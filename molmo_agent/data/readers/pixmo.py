"""Readers of the PixMo data sets: captions, questions, documents, clocks (points: ``pixmo_points.py``).

Each is a folder of Parquet shards, ``data/train-00000-of-00001.parquet``, or what ``datasets`` saves. Most of
them only list image URLs; the images are looked up in a :class:`~molmo_agent.data.images.store.ImageStore` at the
option ``images`` (by default ``images/`` in the data set's folder). Columns: docs/reference/data.md#pixmo and
the data sets' own cards.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from molmo_agent.data.conversations import conversation, worded_caption
from molmo_agent.data.formats.parquet import Table
from molmo_agent.data.images.checked import EmbeddedImages, FolderImages, StoredImages
from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.question import Question
from molmo_agent.data.readers.annotated import Annotated, Columns, DataSet, ParsedRecord, required_texts
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problems

CLOCK_QUESTION = "What time is being shown?"
"""The prompt of the style ``clocks``, in training and in the clock benchmark."""

_PARTS = ("train", "validation")
_MARK = re.compile(r"\[(USER|ASSISTANT)\]")


def web_table(source: Source, split: str, columns: Sequence[str]) -> tuple[Columns, StoredImages, Problems]:
    """Open a table with image URLs, and with ``image_sha256`` if published."""
    path, problems = required_path(source), Problems()
    table = Table(path, split, columns, problems)
    more = [name for name in ("image_sha256",) if name in table.columns]
    images = Path(source.options.get("images") or (path if path.is_dir() else path.parent) / "images")
    return Columns(table, (*columns, *more)), StoredImages(images), problems


def lists_of(value: Any, *names: str) -> list[list[Any]]:
    """Return the named lists of a repeated structure, which is a structure of lists or a list of structures."""
    if isinstance(value, Mapping):
        return [list(value[name] or ()) for name in names]
    return [[item[name] for item in value or ()] for name in names]


def cap(source: Source) -> Annotated:
    """Read PixMo-Cap: a long caption of each image and the transcripts of its descriptions.

    Options: ``mode`` ("transcript_and_caption": both, asked for by their styles alone, as in pre-training; "captions":
    the caption, asked for in words, as in fine-tuning; "caption" and "transcript": one of the two alone, asked for by
    its style), ``part`` ("train", or "validation": 2048 images), ``images``.
    """
    defaults = {"mode": "transcript_and_caption", "part": "train", "images": None}
    modes = ("transcript_and_caption", "captions", "caption", "transcript")
    options = options_of(source, defaults, {"mode": modes, "part": _PARTS})
    records, images, problems = web_table(source, "train", ("image_url", "caption", "transcripts"))
    mode = options["mode"]

    def parse(number: int, record: Any) -> ParsedRecord:
        url, caption = required_texts(record, "image_url", "caption")
        transcripts = tuple(text for text in record["transcripts"] or () if text.strip())
        caption_id = f"pixmo-cap/{number}"
        extra = {"transcripts": transcripts, "url": url}
        written = Question(id=caption_id, style="long_caption", text="", answers=(caption,), extra=extra)
        said = Question(id=f"{caption_id}/said", style="transcript", text="", answers=transcripts)
        if mode == "transcript" and not transcripts:
            raise ValueError("expected a transcript, got none")
        if mode == "transcript":
            return ParsedRecord(url, (said,))
        return ParsedRecord(url, (written, said) if mode == "transcript_and_caption" and transcripts else (written,))

    return Annotated(
        DataSet(
            path=required_path(source),
            records=records,
            parse=parse,
            images=images,
            part=options["part"],
            hold_out=2048,
            to_conversation=worded_caption if mode == "captions" else conversation,
        ),
        problems,
    )


def _questions_about_images(source: Source, name: str, style: str, columns: Sequence[str]) -> Annotated:
    options = options_of(source, {"part": "train", "images": None}, {"part": _PARTS})
    records, images, problems = web_table(source, "train", columns)
    if "messages" in records.table.columns:
        records = Columns(records.table, (*records.columns, "messages"))

    def parse(number: int, record: Any) -> ParsedRecord:
        url = required_texts(record, "image_url")
        turns = turns_of(record)
        question = Question(
            id=f"{name}/{number}", style=style, text=turns[0], answers=(turns[-1],), extra={"turns": turns, "url": url}
        )
        return ParsedRecord(url, (question,), record.get("image_sha256"))

    return Annotated(
        DataSet(
            path=required_path(source),
            records=records,
            parse=parse,
            images=images,
            part=options["part"],
            hold_out=2048,
        ),
        problems,
    )


def turns_of(record: Any) -> tuple[str, ...]:
    """Return question and answer in turn: from ``messages``, or from a question with speaker marks."""
    messages = record.get("messages")
    if messages:
        turns = [message.strip() for message in messages]
    else:
        question, answer = required_texts(record, "question", "answer")
        first, *marked = _MARK.split(question)
        if marked and (
            first.strip() or marked[0::2] != ["USER", "ASSISTANT"] * (len(marked) // 4) or marked[-1].strip()
        ):
            raise ValueError(f"expected [USER] and [ASSISTANT] in turn and the answer apart, got {question[:80]!r}")
        turns = [text.strip() for text in marked[1::2][:-1]] if marked else [question]
        turns.append(answer)
    if len(turns) % 2 or not all(turns):
        raise ValueError(f"expected questions and answers in turn, got {len(turns)} texts, some perhaps empty")
    return tuple(turns)


def ask_model_anything(source: Source) -> Annotated:
    """Read PixMo-AskModelAnything: human questions. Options: ``part`` (validation: 2048 images), ``images``."""
    columns = ("image_url", "image_sha256", "question", "answer")
    return _questions_about_images(source, "pixmo-ask-model-anything", "user_qa", columns)


def cap_qa(source: Source) -> Annotated:
    """Read PixMo-CapQA: conversations made from captions. Options: ``part`` (validation: 2048 images), ``images``.

    ``question`` has speaker marks, ``[USER] ... [ASSISTANT]``, and ends before ``answer``; a column ``messages``, if
    present, has the turns.
    """
    return _questions_about_images(source, "pixmo-cap-qa", "synthetic_qa", ("image_url", "question", "answer"))


def docs(source: Source) -> Annotated:
    """Read PixMo-Docs: generated charts, tables, diagrams and other documents; images are in the table.

    Options: ``type`` ("charts", "tables", "diagrams", "other"), ``split``, ``style`` (``pixmo_docs_<type>``; the
    released checkpoints knew them as scifi_charts, scifi_table, scifi_diagram and scifi_document).
    """
    kinds = ("charts", "tables", "diagrams", "other")
    options = options_of(source, {"type": "charts", "split": "train", "style": None}, {"type": kinds})
    path, problems = required_path(source), Problems()
    kind = options["type"]
    folder = path / kind if (path / kind).is_dir() else path
    table = Table(folder, options["split"], ("image", "image_id", "questions"), problems)
    style = options["style"] or f"pixmo_docs_{kind}"

    def parse(number: int, record: Any) -> ParsedRecord:
        texts, answers = lists_of(record["questions"], "question", "answer")
        if None in (*texts, *answers):
            raise ValueError(f"expected questions and answers, got a null among {len(texts)}")
        if not texts or len(texts) != len(answers):
            raise ValueError(f"expected as many answers as questions, got {len(answers)} for {len(texts)}")
        name = f"pixmo-docs-{kind}/{record['image_id']}"
        questions = tuple(
            Question(id=f"{name}/{i}", style=style, text=question, answers=(str(answer),))
            for i, (question, answer) in enumerate(zip(texts, answers, strict=True))
        )
        return ParsedRecord(str(number), questions)

    images = EmbeddedImages(folder, table)
    records = Columns(table, ("image_id", "questions"))
    return Annotated(DataSet(path=path, records=records, parse=parse, images=images), problems)


def clocks(source: Source) -> Annotated:
    """Read PixMo-Clocks: watch faces and the time they show.

    The hub has no images; they are looked for as ``<example_id>.png`` (or .jpg, ...) at the option ``images``.
    The answer is hour and minute; the training target is a sentence, with seconds if shown.
    Options: ``split``, ``images``.
    """
    options = options_of(source, {"split": "train", "images": None})
    path, problems = required_path(source), Problems()
    columns = ("example_id", "hour_visible", "minute_visible", "text")
    table = Table(path, options["split"], columns, problems)
    images = FolderImages(Path(options["images"] or path / "images"))

    def parse(number: int, record: Any) -> ParsedRecord:
        example, text = required_texts(record, "example_id", "text")
        hour, minute = int(record["hour_visible"]), int(record["minute_visible"])
        has_time = text[0].isdigit()
        question = Question(
            id=f"pixmo-clocks/{example}",
            style="clocks",
            text=CLOCK_QUESTION,
            answers=(f"{hour}:{minute:02d}" if has_time else text,),
            extra={"turns": (CLOCK_QUESTION, f"The time shown is {text}" if has_time else text)},
        )
        return ParsedRecord(example, (question,))

    records = Columns(table, columns)
    return Annotated(DataSet(path=path, records=records, parse=parse, images=images), problems)
