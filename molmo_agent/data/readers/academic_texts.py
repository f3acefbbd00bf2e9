"""Readers of scene-text and document question data sets: TextVQA, ST-VQA, DocVQA, InfographicVQA."""

from typing import Any

import numpy as np

from molmo_agent.data.formats.json_array import JsonArray
from molmo_agent.data.formats.parquet import shards
from molmo_agent.data.options import json_file, options_of, required_path
from molmo_agent.data.readers.academic import SPLITS, one_question, open_files, open_hub, short, texts
from molmo_agent.data.readers.annotated import Annotated, ParsedRecord, RecordList, required_texts
from molmo_agent.data.source import Source
from molmo_agent.errors import UsageError


def text_vqa(source: Source) -> Annotated:
    """Read TextVQA: ``TextVQA_0.5.1_train.json``; images in ``train_images/`` and ``test_images/``.

    Or the hub's shards with image, question, answers and question_id. Options: ``split``.
    """
    split = options_of(source, {"split": "train"}, {"split": SPLITS})["split"]
    path = required_path(source)
    hub = bool(shards(path, split))

    def parse(number: int, record: Any) -> ParsedRecord:
        name = f"text-vqa/{record['question_id']}"
        question = one_question(name, record, "text_vqa", answers=() if split == "test" else texts(record["answers"]))
        folder = "test_images" if split == "test" else "train_images"
        return ParsedRecord(str(number) if hub else f"{folder}/{record['image_id']}.jpg", (question,))

    if hub:
        return open_hub(source, split, ("question", "answers", "question_id"), parse)
    file = f"TextVQA_0.5.1_{short(split)}.json"
    return open_files(source, JsonArray(path / file, "data"), parse)


def doc_qa(source: Source) -> Annotated:
    """Read DocVQA (task 1): ``train_v1.0_withQT.json``, ``val_v1.0_withQT.json``, ``test_v1.0.json``.

    ``image`` is the path of the image (``documents/...``). Or the hub's shards with image, question, answers and
    questionId. Options: ``split``.
    """
    split = options_of(source, {"split": "train"}, {"split": SPLITS})["split"]
    path = required_path(source)
    hub = bool(shards(path, split))

    def parse(number: int, record: Any) -> ParsedRecord:
        name = f"doc-qa/{record['questionId']}"
        question = one_question(name, record, "doc_qa", answers=texts(record.get("answers")))
        return ParsedRecord(str(number) if hub else required_texts(record, "image"), (question,))

    if hub:
        return open_hub(source, split, ("question", "answers", "questionId"), parse)
    file = "test_v1.0.json" if split == "test" else f"{short(split)}_v1.0_withQT.json"
    return open_files(source, JsonArray(path / file, "data"), parse)


def info_qa(source: Source) -> Annotated:
    """Read InfographicVQA: ``infographicsVQA_train_v1.0.json``, ``..._val_v1.0_withQT.json``, ``..._test_v1.0.json``.

    Images are in ``images/``. Options: ``split``.
    """
    split = options_of(source, {"split": "train"}, {"split": SPLITS})["split"]
    file = f"infographicsVQA_{'val_v1.0_withQT' if split == 'validation' else f'{split}_v1.0'}.json"

    def parse(number: int, record: Any) -> ParsedRecord:
        name = f"info-qa/{record['questionId']}"
        question = one_question(name, record, "info_qa", answers=texts(record.get("answers")))
        return ParsedRecord(f"images/{required_texts(record, 'image_local_name')}", (question,))

    return open_files(source, JsonArray(required_path(source) / file, "data"), parse)


def _place(record: Any) -> float:
    """Return the number of a question; unusable records stand at the end, where they are reported."""
    number = record.get("question_id") if isinstance(record, dict) else None
    return number if type(number) is int else float("inf")


def st_vqa(source: Source) -> Annotated:
    """Read ST-VQA: ``train_task_3.json``, ``test_task_3.json``; ``file_path`` is the path of the image.

    Options: ``split``; validation is 1024 questions held out of a shuffled train split, as the authors
    of Molmo do.
    """
    split = options_of(source, {"split": "train"}, {"split": SPLITS})["split"]
    path = required_path(source) / f"{'test' if split == 'test' else 'train'}_task_3.json"
    data = json_file(path)
    if not isinstance(data, dict) or not isinstance(data.get("data"), list):
        raise UsageError(f"expected an array 'data' of objects in {path}, found none")
    entries = data["data"]
    if split != "test":
        entries = sorted(entries, key=_place)
        np.random.RandomState(63069).shuffle(entries)
        entries = entries[:1024] if split == "validation" else entries[1024:]

    def parse(number: int, record: Any) -> ParsedRecord:
        name = f"st-vqa/{record['question_id']}"
        question = one_question(name, record, "st_qa", answers=texts(record.get("answers")))
        return ParsedRecord(required_texts(record, "file_path"), (question,))

    return open_files(source, RecordList(path.name, entries), parse)
