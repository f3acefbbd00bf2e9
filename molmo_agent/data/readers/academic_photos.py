"""Readers of photograph question data sets: VQA v2, OK-VQA, A-OKVQA, TallyQA; see ``academic.py``."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from molmo_agent.data.formats.json_array import JsonArray
from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.readers.academic import SPLITS, choice, one_question, open_files, short, texts
from molmo_agent.data.readers.annotated import Annotated, ParsedRecord, required_texts
from molmo_agent.data.source import Source


@dataclass(frozen=True)
class _JoinedRecords:
    """Questions and annotations from two files, joined by ``question_id``."""

    questions: JsonArray
    answers: JsonArray | None
    # From question to position in the annotations.
    places: dict[int, int]

    @property
    def name(self) -> str:
        return self.questions.name

    def scan(self) -> Iterator[tuple[int, Any]]:
        if self.answers is not None:
            self.places.update((answer["question_id"], number) for number, answer in self.answers.scan())
        for number, question in self.questions.scan():
            yield number, self._with(question)

    def get(self, number: int) -> Any:
        return self._with(self.questions.get(number))

    def _with(self, question: Any) -> Any:
        if self.answers is None:
            return question
        place = self.places.get(question["question_id"])
        return question | ({"unanswered": True} if place is None else self.answers.get(place))


def _vqa(source: Source, style: str, questions: str, answers: str, field: str) -> Annotated:
    options = options_of(source, {"split": "train", "grouped": True}, {"split": SPLITS})
    path, split = required_path(source), options["split"]
    part = {"train": "train2014", "validation": "val2014", "test": "test2015"}[split]
    annotations = None if split == "test" else JsonArray(path / answers.format(part), "annotations")
    records = _JoinedRecords(JsonArray(path / questions.format(part), "questions"), annotations, {})

    def parse(number: int, record: Any) -> ParsedRecord:
        if "unanswered" in record:
            raise ValueError(f"the question {record['question_id']} has no annotation")
        replies = texts([answer[field] for answer in record.get("answers", ())])
        kind = {"answer_type": record.get("answer_type"), "question_id": record["question_id"]}
        question = one_question(f"{style}/{record['question_id']}", record, style, answers=replies, extra=kind)
        return ParsedRecord(f"{part}/COCO_{part}_{record['image_id']:012d}.jpg", (question,))

    return open_files(source, records, parse, grouped=options["grouped"])


def vqa2(source: Source) -> Annotated:
    """Read VQA v2: ``v2_OpenEnded_mscoco_train2014_questions.json``, ``v2_mscoco_train2014_annotations.json``.

    The images are COCO's, in ``train2014/``, ``val2014/`` and ``test2015/``. Options: ``split``, ``grouped`` (all
    questions about an image in a row).
    """
    questions, answers = "v2_OpenEnded_mscoco_{}_questions.json", "v2_mscoco_{}_annotations.json"
    return _vqa(source, "vqa2", questions, answers, "answer")


def ok_vqa(source: Source) -> Annotated:
    """Read OK-VQA: ``OpenEnded_mscoco_train2014_questions.json``, ``mscoco_train2014_annotations.json``.

    The images are COCO's, in ``train2014/`` and ``val2014/``; the answers are the raw ones. Options: ``split``,
    ``grouped``.
    """
    ungrouped = {"grouped": False, **source.options}
    source = Source(kind=source.kind, path=source.path, options=ungrouped)
    questions, answers = "OpenEnded_mscoco_{}_questions.json", "mscoco_{}_annotations.json"
    return _vqa(source, "okvqa", questions, answers, "raw_answer")


def tally_qa(source: Source) -> Annotated:
    """Read TallyQA: ``train.json``, ``test.json``; COCO's images and Visual Genome's.

    They are in ``train2014/``, ``val2014/``, ``VG_100K/`` and ``VG_100K_2/``. Options: ``split`` ("train", "test").
    """
    split = options_of(source, {"split": "train"}, {"split": ("train", "test")})["split"]

    def parse(number: int, record: Any) -> ParsedRecord:
        simple = {"simple": record.get("issimple")}
        name = f"tally-qa/{record['question_id']}"
        question = one_question(name, record, "tally_qa", answers=texts([record["answer"]]), extra=simple)
        return ParsedRecord(required_texts(record, "image"), (question,))

    return open_files(source, JsonArray(required_path(source) / f"{split}.json"), parse, grouped=True)


def a_okvqa(source: Source) -> Annotated:
    """Read A-OKVQA: ``aokvqa_v1p0_train.json``, ``..._val.json``, ``..._test.json``.

    COCO's images are in ``train2017/``, ``val2017/`` and ``test2017/``. Options: ``form`` ("mc": multiple choice;
    "da": direct answer, for which validation and test skip the questions marked as difficult), ``split``.
    """
    options = options_of(source, {"form": "mc", "split": "train"}, {"form": ("mc", "da"), "split": SPLITS})
    form, split = options["form"], options["split"]
    style = f"a_okvqa_{form}"

    def parse(number: int, record: Any) -> ParsedRecord | None:
        if form == "da" and split != "train" and record["difficult_direct_answer"]:
            return None
        name = f"a-okvqa-{form}/{record['question_id']}"
        if form == "da":
            question = one_question(name, record, style, answers=texts(record.get("direct_answers")))
        else:
            question = choice(name, record, style, record["choices"], record.get("correct_choice_idx"))
        return ParsedRecord(f"{short(split)}2017/{record['image_id']:012d}.jpg", (question,))

    return open_files(source, JsonArray(required_path(source) / f"aokvqa_v1p0_{short(split)}.json"), parse)
