"""Files with a model's replies in the form that the servers of benchmarks with unpublished answers expect."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from molmo_agent.data.question import Question
from molmo_agent.evaluation.metrics import clean_answer, select_option
from molmo_agent.evaluation.predict import Record
from molmo_agent.files import write_whole
from molmo_agent.model.prompts import LETTERS

SUBMISSION_FILE = "submission.json"

_Pairs = Sequence[tuple[Record, Question]]


def _number(question: Question) -> int | str:
    """Return the published id of a question, which ends our id."""
    name = question.id.partition("/")[2]
    return int(name) if name.isascii() and name.isdecimal() else name


def _list_of(key: str) -> Callable[[_Pairs], Any]:
    return lambda pairs: [
        {key: _number(question), "answer": clean_answer(record["reply"])} for record, question in pairs
    ]


def _a_okvqa(pairs: _Pairs) -> dict[str, dict[str, str]]:
    """Return the option's text of a multiple choice, the first option if the reply chooses none, or the answer."""
    result = {}
    for record, question in pairs:
        text = clean_answer(record["reply"])
        if question.options:
            whole = [option.strip().lower() for option in question.options]
            choice = whole.index(text.lower()) if whole.count(text.lower()) == 1 else None
            if choice is None:
                choice = select_option(text, list(LETTERS[: len(question.options)]))
            result[str(_number(question))] = {"multiple_choice": question.options[choice or 0]}
        else:
            result[str(_number(question))] = {"direct_answer": text}
    return result


FORMS: Mapping[str, Callable[[_Pairs], Any]] = {
    "vqa2": _list_of("question_id"),
    "doc_qa": _list_of("questionId"),
    "info_qa": _list_of("questionId"),
    "a_okvqa_mc": _a_okvqa,
    "a_okvqa_da": _a_okvqa,
}
"""Benchmark -> the content of its server's file.

VQA v2: a list of question_id and answer. DocVQA and InfographicVQA: a list of questionId and answer. A-OKVQA: an object
from question_id to multiple_choice or direct_answer; its server takes one object with both.
"""


def write_submission(
    name: str, records: Sequence[Record], questions: Callable[[], Iterable[Question]], folder: Path
) -> tuple[Path, int] | None:
    """Write ``submission.json`` if replies have no score; return its path and how many questions have no reply.

    Args:
        name: of the benchmark.
        records: of the run.
        questions: returns all questions of the split; called only if they are needed.
        folder: of the run.

    Returns:
        None if all replies are scored, or the benchmark has no server.
    """
    kept = {record["id"]: record for record in records if "skipped" in record and "reply" in record}
    if not kept or name not in FORMS:
        return None
    asked = list(questions())
    pairs = [(kept[question.id], question) for question in asked if question.id in kept]
    write_whole(folder / SUBMISSION_FILE, json.dumps(FORMS[name](pairs)) + "\n")
    return folder / SUBMISSION_FILE, len(asked) - len(pairs)
