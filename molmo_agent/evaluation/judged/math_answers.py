"""MathVista as published: a judge extracts the answer from replies that are not an answer themselves."""

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from molmo_agent.data.question import Question
from molmo_agent.errors import UsageError
from molmo_agent.evaluation.judged.judge import Judge, UnreadableJudgement, judge_all, prompt_text
from molmo_agent.evaluation.metrics import MathVistaQuestion, extract_math_vista, math_vista, normalise_math_vista
from molmo_agent.evaluation.predict import Record
from molmo_agent.files import write_whole
from molmo_agent.parse import read_json

JUDGE_FILE = "judge.json"
"""In the folder of a run: the judge that extracted its answers."""

_FORMS = {
    "integer": "The answer is a whole number.",
    "float": "The answer is a decimal number.",
    "list": "The answer is a list in Python notation.",
    "text": "The answer is a word or a short phrase.",
}


def extract_answers(
    records: Sequence[Record],
    questions: Sequence[Question],
    judge: Judge,
    *,
    concurrency: int = 8,
    progress: Callable[[int], None] | None = None,
) -> list[Record]:
    """Return the records with scores of the extracted answers; an answer that cannot be extracted is skipped.

    Args:
        records: of MathVista.
        questions: of the same run.
        judge: asked for replies that are neither an option nor a number.
        concurrency: replies judged at the same time.
        progress: called with the number of finished records.

    Raises:
        ModelError: the judge cannot be reached, refuses, or the budget is spent.
    """
    by_id = {question.id: question for question in questions}
    work = partial(_extract, judge, by_id)
    result: list[Record] = []
    for record, answer in judge_all(work, records, concurrency):
        if isinstance(answer, UnreadableJudgement):
            result.append({"id": record["id"], "skipped": str(answer)})
        else:
            result.append(answer)
        if progress:
            progress(len(result))
    return result


def save_judge(folder: Path, judge: Judge, cache: Path) -> None:
    """Write the name of a run's judge and the folder of its replies, for :func:`saved_judge`."""
    write_whole(folder / JUDGE_FILE, json.dumps({"judge": judge.name, "cache": str(cache.resolve())}) + "\n")


def saved_judge(folder: Path) -> Judge | None:
    """Return the judge of a run, which repeats its cached replies and asks nothing; None if the run had none.

    What it did not reply to before is an :class:`UnreadableJudgement`.

    Raises:
        UsageError: the file that names it is damaged.
    """
    path = folder / JUDGE_FILE
    if not path.is_file():
        return None
    saved = read_json(path)
    if not (isinstance(saved, dict) and isinstance(name := saved.get("judge"), str) and "cache" in saved):
        raise UsageError(f'expected {path} to be like {{"judge": "URL#MODEL", "cache": "FOLDER"}}, got {saved!r:.80}')

    def ask(prompt: str, max_tokens: int) -> str:
        raise UnreadableJudgement(
            f"the reply of the judge {name} about it is not in {saved['cache']}; agent eval mathvista with --judge and "
            "--out of the run asks it again, and the model nothing"
        )

    return Judge(name, ask, Path(str(saved["cache"])))


def num_to_judge(records: Sequence[Record], questions: Sequence[Question]) -> int:
    """Return how many replies are neither an option nor a number, so that a judge would be asked about them."""
    by_id = {question.id: question for question in questions}
    return sum(
        "skipped" not in record and extract_math_vista(record["reply"], _details_of(by_id[record["id"]])) is None
        for record in records
    )


def _details_of(question: Question) -> MathVistaQuestion:
    kind: Any = question.extra.get("answer_type", "text")
    return MathVistaQuestion(
        question_type="multi_choice" if question.options else "free_form",
        answer_type=kind,
        choices=question.options,
        precision=question.extra.get("precision"),
    )


def _extract(judge: Judge, questions: dict[str, Question], record: Record) -> Record:
    if "skipped" in record:
        return record
    question = questions[record["id"]]
    details = _details_of(question)
    answer = extract_math_vista(record["reply"], details)
    if answer is None:
        answer = _ask(judge, question, record["reply"], details.answer_type)
    target = question.options[question.extra["correct"]] if question.options else question.answers[0]
    right = bool(answer) and math_vista(answer, target, details)
    official = normalise_math_vista(answer, details, reference_quirks=True) == target if answer else False
    return record | {
        "extracted": answer,
        "scores": {"right": right},
        "reference": {"right": official},
        "unparsed": not answer or normalise_math_vista(answer, details) is None,
    }


def _ask(judge: Judge, question: Question, reply: str, kind: str) -> str:
    """Return the answer in a reply; empty if there is none."""
    content: dict[str, Any] = {"question": question.text, "reply": reply}
    if question.options:
        content["options"] = dict(zip(ascii_uppercase, question.options, strict=False))
    form = "The answer is the letter of an option." if question.options else _FORMS.get(kind, _FORMS["text"])

    def read(value: Any) -> str:
        if not isinstance(value, dict) or set(value) != {"answer"}:
            raise ValueError('expected {"answer": ...}')
        answer = value["answer"]
        if answer is not None and not isinstance(answer, str):
            raise ValueError('expected a string or null as "answer"')
        return (answer or "").strip()

    return judge.judge(prompt_text("math_answer", form=form, text=json.dumps(content, ensure_ascii=False)), read)
