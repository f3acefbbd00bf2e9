"""Readers of chart question data sets: ChartQA, DVQA, FigureQA, PlotQA; see ``academic.py``."""

from typing import Any

from molmo_agent.data.formats.json_array import JsonArray
from molmo_agent.data.formats.parquet import shards
from molmo_agent.data.options import json_file, options_of, required_path
from molmo_agent.data.readers.academic import one_question, open_files, open_hub, texts
from molmo_agent.data.readers.annotated import Annotated, ParsedRecord, RecordList
from molmo_agent.data.source import Source
from molmo_agent.errors import UsageError

# Weights of human and machine questions in training, so that both kinds contribute equally.
_HUMAN, _MACHINE = 7398, 20901
_WEIGHTS = {"human": 2 * _MACHINE / (_HUMAN + _MACHINE), "augmented": 2 * _HUMAN / (_HUMAN + _MACHINE)}


def chart_qa(source: Source) -> Annotated:
    """Read ChartQA: ``train/train_human.json``, ``train/train_augmented.json``, images in ``train/png/``.

    Or the hub's shards with image, query, label and human_or_machine. Options: ``split``, ``weighted`` (human
    questions weigh 1.48 and generated ones 0.52, so that both kinds contribute equally).
    """
    splits = ("train", "validation", "test")
    options = options_of(source, {"split": "train", "weighted": True}, {"split": splits})
    path, split = required_path(source), "val" if options["split"] == "validation" else options["split"]
    hub = bool(shards(path, split))

    def parse(number: int, record: Any) -> ParsedRecord:
        # The hub's class label: 0 is human, 1 machine.
        kind = ("human", "augmented")[record["human_or_machine"]]
        question = one_question(
            f"chart-qa/{split}/{number}",
            {"question": record["query"]},
            "chart_qa",
            answers=texts(record["label"]),
            extra={"group": kind},
        )
        image = str(number) if hub else f"{split}/png/{record['imgname']}"
        return ParsedRecord(image, (question,), weight=_WEIGHTS[kind] if options["weighted"] else 1.0)

    if hub:
        return open_hub(source, split, ("query", "label", "human_or_machine"), parse)
    entries: list[Any] = []
    for number, kind in enumerate(("human", "augmented")):
        file = path / split / f"{split}_{kind}.json"
        records = json_file(file)
        if not isinstance(records, list):
            raise UsageError(f"expected a list of objects in {file}, got {type(records).__name__}")
        entries += [row | {"human_or_machine": number} if isinstance(row, dict) else row for row in records]
    return open_files(source, RecordList(f"{split}_human.json and {split}_augmented.json", entries), parse)


def dvqa(source: Source) -> Annotated:
    """Read DVQA: ``train_qa.json``, ``val_easy_qa.json``, ``val_hard_qa.json``, images in ``images/``.

    Options: ``split`` ("train", "val_easy", "val_hard").
    """
    split = options_of(source, {"split": "train"}, {"split": ("train", "val_easy", "val_hard")})["split"]

    def parse(number: int, record: Any) -> ParsedRecord:
        name = f"dvqa/{split}/{record.get('question_id', number)}"
        question = one_question(name, record, "dv_qa", answers=texts([record["answer"]]))
        return ParsedRecord(f"images/{record['image']}", (question,))

    return open_files(source, JsonArray(required_path(source) / f"{split}_qa.json"), parse, grouped=True)


def _plots(source: Source, name: str, style: str, folder: str, file: str) -> Annotated:
    def parse(number: int, record: Any) -> ParsedRecord:
        fields = {"question": record["question_string"]}
        question = one_question(f"{name}/{folder}/{number}", fields, style, answers=texts(record.get("answer")))
        return ParsedRecord(f"{folder}/png/{record['image_index']}.png", (question,))

    records = JsonArray(required_path(source) / folder / file, "qa_pairs")
    return open_files(source, records, parse, grouped=True)


def figure_qa(source: Source) -> Annotated:
    """Read FigureQA: ``train1/qa_pairs.json``, images in ``train1/png/``; other splits likewise.

    Answers are the published 0 and 1 as text. Options: ``split`` ("train1", "validation1", "validation2",
    "no_annot_test1", "no_annot_test2").
    """
    splits = ("train1", "validation1", "validation2", "no_annot_test1", "no_annot_test2")
    split = options_of(source, {"split": "train1"}, {"split": splits})["split"]
    return _plots(source, "figure-qa", "figure_qa", split, "qa_pairs.json")


def plot_qa(source: Source) -> Annotated:
    """Read PlotQA: ``train/qa_pairs_V2.json``, images in ``train/png/``; other splits likewise.

    Options: ``split``, ``version`` ("V2", "V1": fewer questions).
    """
    choices = {"split": ("train", "validation", "test"), "version": ("V1", "V2")}
    options = options_of(source, {"split": "train", "version": "V2"}, choices)
    return _plots(source, "plot-qa", "plot_qa", options["split"], f"qa_pairs_{options['version']}.json")
