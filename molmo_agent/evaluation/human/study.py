"""What people compare: questions with the replies of several models, from run folders or a file of replies."""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from molmo_agent.episode import Image
from molmo_agent.errors import DataError, ImageError, UsageError
from molmo_agent.evaluation.benchmarks import find
from molmo_agent.evaluation.results.folder import ResultFolder, check_comparable, read_result_folder
from molmo_agent.images.reading import read_image
from molmo_agent.parse import json_lines

NO_CATEGORY = "uncategorized"
"""Of a question whose data names no category."""
# Models write points as tags around the words that they stand for.
_POINT_TAG = re.compile(r"</?points?(?=[\s/>])[^>]*(?:>|\Z)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyQuestion:
    """One question, with a reply of every model."""

    id: str
    category: str
    text: str
    # None: a question without an image.
    image: Callable[[], Image] | None
    # Model -> reply, points removed.
    replies: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """The questions of a study, its models, and how many questions were left out because a model has no reply."""

    questions: tuple[StudyQuestion, ...]
    models: tuple[str, ...]
    left_out: int = 0


def without_points(reply: str) -> str:
    """Return a reply without the tags of its points: annotators judge the words alone, as in the paper.

    Coordinates that are written as plain text remain, since they cannot be told from other numbers.
    """
    return _POINT_TAG.sub("", reply).strip()


def check_categories(study: Study, number: int) -> None:
    """Check that the questions have a number of categories, with equally many questions each.

    Raises:
        UsageError: a question has no category, there are more or fewer, or they differ in size.
    """
    counts = Counter(question.category for question in study.questions)
    if counts[NO_CATEGORY]:
        raise UsageError(
            f"expected a category for each question, got none for {counts[NO_CATEGORY]} of {len(study.questions)}; "
            'name it as "category", or leave --categories out'
        )
    if len(counts) != number or len(set(counts.values())) > 1:
        sizes = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
        raise UsageError(f"expected {number} categories with equally many questions, got {len(counts)}: {sizes}")


def read_study(paths: Sequence[Path]) -> Study:
    """Read a study from two or more result folders of ``agent eval``, or from one file of replies.

    Args:
        paths: the folders, or one .jsonl file with a line per question: ``id``, ``question``, ``replies`` (an object:
            model -> text), and optionally ``category`` and ``image`` (a path relative to the file).

    Raises:
        UsageError: a path has another form, or the folders were not made with the same questions.
        DataError: a file is damaged.
    """
    if len(paths) == 1 and paths[0].suffix == ".jsonl":
        study = _read_replies(paths[0])
    elif len(paths) >= 2:
        study = _read_folders(paths)
    else:
        names = ", ".join(map(str, paths)) or "nothing"
        raise UsageError(f"expected two or more result folders of agent eval, or one .jsonl of replies, got {names}")
    if not study.questions:
        raise UsageError("expected questions that every model has a reply to, got none")
    return study


def _read_folders(paths: Sequence[Path]) -> Study:
    # These import the models' libraries, which a file of replies does not need.
    from molmo_agent.evaluation.predict import prompt_of
    from molmo_agent.evaluation.run import open_questions

    folders = [read_result_folder(path) for path in paths]
    for other in folders[1:]:
        check_comparable(folders[0], other)
    names = _names_of(folders)
    settings = folders[0].settings
    name, benchmark = find(settings["benchmark"])
    options = {option: settings.get(option) for option in benchmark.options}
    ids = {id_ for folder in folders for id_ in folder.records}
    common = {id_ for id_ in ids if all("reply" in folder.records.get(id_, {}) for folder in folders)}
    questions: dict[str, StudyQuestion] = {}
    for question in open_questions(name, benchmark, Path(settings["data"]), options).questions():
        if question.id in common and question.id not in questions:
            records = [folder.records[question.id] for folder in folders]
            questions[question.id] = StudyQuestion(
                id=question.id,
                category=next(iter(records[0].get("groups", ())), NO_CATEGORY),
                text=prompt_of(question, benchmark.wording, tags=False),
                image=question.shown if question.image is not None else None,
                replies={model: without_points(record["reply"]) for model, record in zip(names, records, strict=True)},
            )
    return Study(questions=tuple(questions.values()), models=names, left_out=len(ids) - len(questions))


def _names_of(folders: Sequence[ResultFolder]) -> tuple[str, ...]:
    """Return a name per folder: the model's, or with the folder's where two runs are of one model."""
    models = [str(folder.settings["model"]) for folder in folders]
    names = [
        model if models.count(model) == 1 else f"{model} ({folder.path.resolve().name})"
        for model, folder in zip(models, folders, strict=True)
    ]
    if len(set(names)) < len(names):
        raise UsageError(f"expected different runs, got {', '.join(names)}: give each folder another name")
    return tuple(names)


def _read_replies(path: Path) -> Study:
    questions: list[StudyQuestion] = []
    models: dict[str, None] = {}
    ids: set[str] = set()
    for number, row in json_lines(path):
        question = _question_of(row, f"{path}, line {number}", path.parent)
        if question.id in ids:
            raise DataError(f"expected {path}, line {number} to have a new id, got {question.id!r} again")
        ids.add(question.id)
        questions.append(question)
        models |= dict.fromkeys(question.replies)
    if len(models) < 2:
        raise UsageError(f"expected replies of two or more models in {path}, got {', '.join(models) or 'none'}")
    complete = [question for question in questions if len(question.replies) == len(models)]
    ordered = [replace(one, replies={model: one.replies[model] for model in models}) for one in complete]
    return Study(questions=tuple(ordered), models=tuple(models), left_out=len(questions) - len(complete))


def _question_of(row: Any, where: str, folder: Path) -> StudyQuestion:
    if not isinstance(row, dict):
        raise DataError(f"expected {where} to be an object, got {type(row).__name__}")
    replies, image = row.get("replies"), row.get("image")
    if not isinstance(row.get("id"), str | int) or not isinstance(row.get("question"), str):
        raise DataError(f"expected {where} to have an id and a question, got the keys {', '.join(row) or 'none'}")
    if not isinstance(replies, dict) or not all(isinstance(reply, str) for reply in replies.values()):
        raise DataError(f"expected {where} to have replies, an object of model and text, got {replies!r:.80}")
    if image is not None and not isinstance(image, str):
        raise DataError(f"expected {where} to have the path of an image, got {image!r:.80}")
    if image is not None and not (folder / image).is_file():
        raise ImageError(f"expected the image of {where} at {folder / image}, but it does not exist")
    category = row.get("category")
    return StudyQuestion(
        id=str(row["id"]),
        category=str(category) if category else NO_CATEGORY,
        text=row["question"],
        image=partial(read_image, folder / image) if image is not None else None,
        replies={str(model): without_points(reply) for model, reply in replies.items()},
    )
