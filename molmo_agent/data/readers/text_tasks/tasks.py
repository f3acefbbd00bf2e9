"""Readers of MMLU, MMLU-Pro, ARC, GSM8K, MATH and HumanEval: questions, and the solved ones that stand before them.

Every row becomes a :class:`Question` without an image. ``answers`` has the letter of a multiple choice, the number or
the formula; ``extra["worked"]`` a published solution in words, ``extra["group"]`` the subject.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from molmo_agent.data.question import Question
from molmo_agent.data.readers.text_tasks.files import Row, find_files, must_exist, name_of, needs, read_rows, text_of
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.errors import DataError

_NUMBER = re.compile(r"####\s*(\S.*?)\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where a benchmark's files are, and how a row becomes a question."""

    # Patterns of the files with the questions, and of those with the solved questions before them.
    test: tuple[str, ...]
    solved: tuple[str, ...] = ()
    # Of a Parquet file, and of a CSV file, which has no header.
    columns: tuple[str, ...]
    cells: tuple[str, ...] = ()
    read: Callable[[Row], Question]


@dataclass(frozen=True, slots=True)
class TextQuestions:
    """The questions of one benchmark."""

    listed: Sequence[Question]
    # Subject -> its solved questions in the published order; "" if they are for all subjects.
    solved: Mapping[str, Sequence[Question]] = field(default_factory=dict)
    problems: Problems = field(default_factory=Problems)

    def questions(self) -> Sequence[Question]:
        """Return the questions, file by file."""
        return self.listed


def open_text_questions(name: str, folder: Path, *, shots: int) -> TextQuestions:
    """Read a benchmark.

    Args:
        name: one of :data:`LAYOUTS`.
        folder: with its files.
        shots: the number of solved questions that stand before each question; 0 reads none.

    Raises:
        DataError: the files are missing, or there are fewer solved questions than that for a group.
    """
    if not folder.is_dir():
        raise DataError(f"expected the folder of {name} at {folder}, found none")
    layout, problems = LAYOUTS[name], Problems()
    paths = must_exist(find_files(folder, layout.test), f"the questions of {name}", folder, layout.test)
    listed = [*_questions(layout, paths, problems)]
    solved: dict[str, list[Question]] = {}
    if shots:
        what = f"the solved questions of {name}, {shots} of which stand before each question,"
        paths = must_exist(find_files(folder, layout.solved), what, folder, layout.solved)

        def group_of(question: Question) -> str:
            return question.extra["group"] if name in PER_GROUP else ""

        for question in _questions(layout, paths, problems):
            solved.setdefault(group_of(question), []).append(question)
        for group in dict.fromkeys(map(group_of, listed)):
            if (count := len(solved.get(group, ()))) < shots:
                about = f" about {group}" if group else ""
                raise DataError(f"expected {shots} solved questions of {name}{about} in {folder}, found {count}")
    return TextQuestions(listed, solved, problems)


def _questions(layout: Layout, paths: Sequence[Path], problems: Problems) -> Iterator[Question]:
    for path, number, row in read_rows(paths, problems, columns=layout.columns, cells=layout.cells):
        try:
            yield layout.read((path, number, row))
        except (ValueError, TypeError, LookupError) as error:
            problems.add(Problem(file=path.name, reason=str(error), record=number))


def _choice(
    task: str, id_: str, group: str, stem: Any, options: Any, answer: Any, *, worked: str = "", labels: Any = None
) -> Question:
    """Return a multiple choice; the answer is a number from 0, a letter, or one of the labels.

    Raises:
        ValueError: there are no options, or the answer is none of them.
    """
    if not isinstance(options, list):
        raise ValueError(f"expected a list of options, got {type(options).__name__}")
    texts = [f"{option}".strip() for option in options]
    if not 2 <= len(texts) <= len(ascii_uppercase):
        raise ValueError(f"expected 2 to {len(ascii_uppercase)} options, got {len(texts)}")
    names = [f"{label}" for label in (labels if labels is not None else ascii_uppercase[: len(texts)])]
    is_number = isinstance(answer, int) and not isinstance(answer, bool)
    index = answer if is_number else names.index(answer) if answer in names else -1
    if not 0 <= index < len(texts) or len(names) != len(texts):
        raise ValueError(f"expected an answer among {', '.join(names)}, got {answer!r}")
    return Question(
        id=f"{task}/{id_}",
        style=task,
        text=text_of(stem, "question").strip(),
        answers=(ascii_uppercase[index],),
        options=tuple(texts),
        extra={"group": group, "correct": index, "worked": worked},
    )


def _mmlu(row: Row) -> Question:
    path, number, cells = row
    if path.suffix == ".csv":
        subject = re.sub(r"_(test|dev|val)$", "", path.stem)
        stem, *options, answer = needs(cells, *_MMLU_CELLS)
    else:
        stem, options, answer = needs(cells, "question", "choices", "answer")
        subject = text_of(cells.get("subject") or path.parent.name, "subject")
    return _choice("mmlu", f"{subject}/{name_of(path, number)}", subject.replace("_", " "), stem, options, answer)


def _mmlu_pro(row: Row) -> Question:
    path, number, cells = row
    stem, options, answer, category = needs(cells, "question", "options", "answer", "category")
    # Short lists are filled up in some copies.
    if isinstance(options, list):
        options = [option for option in options if option != "N/A"]
    worked = re.sub(r"\AA:\s*", "", f"{cells.get('cot_content') or ''}".strip())
    id_ = f"{cells.get('question_id', name_of(path, number))}"
    return _choice("mmlu-pro", id_, category, stem, options, answer, worked=worked)


def _arc(row: Row) -> Question:
    path, number, cells = row
    stem, answer = needs(cells, "question", "answerKey")
    choices = cells.get("choices")
    if isinstance(stem, Mapping):
        stem, listed = needs(stem, "stem", "choices")
        choices = {key: [one[key] for one in listed] for key in ("text", "label")}
    texts, labels = needs(choices, "text", "label")
    return _choice("arc-c", f"{cells.get('id', name_of(path, number))}", "", stem, texts, answer, labels=labels)


def _gsm8k(row: Row) -> Question:
    path, number, cells = row
    text, solution = needs(cells, "question", "answer")
    found = _NUMBER.search(text_of(solution, "answer"))
    if found is None:
        raise ValueError("expected #### and a number at the end of the answer")
    # Calculations in << >> are for calculators, not for readers.
    worked = re.sub(r"<<[^<>]*>>", "", solution).strip()
    return Question(
        id=f"gsm8k/{name_of(path, number)}",
        style="gsm8k",
        text=text_of(text, "question").strip(),
        answers=(found[1],),
        extra={"group": "", "worked": worked},
    )


def _math(row: Row) -> Question:
    path, number, cells = row
    problem, solution = needs(cells, "problem", "solution")
    answer = cells.get("answer") or last_boxed(text_of(solution, "solution"))
    if not answer:
        raise ValueError(r"expected a solution with its answer in \boxed{}")
    subject = f"{cells.get('type') or cells.get('subject') or path.parent.name}"
    level = re.search(r"\d", f"{cells.get('level') or ''}")
    name = cells.get("unique_id") or (
        f"{path.parent.name}/{path.stem}" if path.suffix == ".json" else f"{subject}/{name_of(path, number)}"
    )
    return Question(
        id=f"math/{name}",
        style="math",
        text=text_of(problem, "problem").strip(),
        answers=(text_of(answer, "answer"),),
        extra={"group": subject, "worked": solution.strip(), "level": level[0] if level else ""},
    )


def last_boxed(text: str) -> str | None:
    r"""Return what the last \boxed{} of a text holds; None without one that is closed."""
    for opening in reversed([*re.finditer(r"\\(?:boxed|fbox)\s*\{", text)]):
        depth = 1
        for end in range(opening.end(), len(text)):
            depth += (text[end] == "{") - (text[end] == "}")
            if depth == 0:
                return text[opening.end() : end].strip()
        return None
    plain = re.findall(r"\\boxed\s+([^\s$]+)", text)
    return plain[-1] if plain else None


def _human_eval(row: Row) -> Question:
    path, number, cells = row
    prompt, tests, entry = needs(cells, "prompt", "test", "entry_point")
    if not text_of(entry, "entry_point").isidentifier():
        raise ValueError(f"expected the name of a function as 'entry_point', got {entry!r}")
    # As it stands: the program continues at its end.
    return Question(
        id=f"humaneval/{cells.get('task_id', name_of(path, number))}",
        style="humaneval",
        text=text_of(prompt, "prompt"),
        extra={"group": "", "tests": text_of(tests, "test"), "entry_point": entry},
    )


def _in(folders: Sequence[str], *names: str) -> tuple[str, ...]:
    """Return patterns of the names in each of the folders; "" is the benchmark's own."""
    return tuple(f"{folder}/{name}".lstrip("/") for name in names for folder in folders)


_MMLU_CELLS = ("question", "A", "B", "C", "D", "answer")
_HERE, _GSM, _ARC = ("", "data"), ("", "data", "grade_school_math/data"), ("", "ARC-Challenge", "*/ARC-Challenge")
PER_GROUP = frozenset({"mmlu", "mmlu-pro"})
"""Benchmarks whose solved questions are of the question's own subject."""

LAYOUTS: Mapping[str, Layout] = {
    "mmlu": Layout(
        test=_in(_HERE, "test/*_test.csv", "all/test-*.parquet", "*/test-*.parquet"),
        solved=_in(_HERE, "dev/*_dev.csv", "all/dev-*.parquet", "*/dev-*.parquet"),
        columns=("question", "choices", "answer"),
        cells=_MMLU_CELLS,
        read=_mmlu,
    ),
    "mmlu-pro": Layout(
        test=_in(_HERE, "test-*.parquet", "test.parquet", "test.jsonl"),
        solved=_in(_HERE, "validation-*.parquet", "validation.parquet", "validation.jsonl"),
        columns=("question", "options", "answer", "category"),
        read=_mmlu_pro,
    ),
    "gsm8k": Layout(
        test=_in(_GSM, "test.jsonl", "main/test-*.parquet", "test-*.parquet"),
        solved=_in(_GSM, "train.jsonl", "main/train-*.parquet", "train-*.parquet"),
        columns=("question", "answer"),
        read=_gsm8k,
    ),
    "math": Layout(
        test=_in(
            ("", "MATH"), "test/*/*.json", "*/test-*.parquet", "test-*.parquet", "data/test-*.parquet", "test.jsonl"
        ),
        solved=_in(("", "MATH"), "train/*/*.json", "*/train-*.parquet", "train-*.parquet", "data/train-*.parquet"),
        columns=("problem", "solution"),
        read=_math,
    ),
    "arc-c": Layout(
        test=_in(_ARC, "ARC-Challenge-Test.jsonl", "test-*.parquet"),
        solved=_in(_ARC, "ARC-Challenge-Train.jsonl", "train-*.parquet"),
        columns=("question", "answerKey"),
        read=_arc,
    ),
    "humaneval": Layout(
        test=_in(("", "data", "openai_humaneval"), "HumanEval.jsonl.gz", "HumanEval.jsonl", "test-*.parquet"),
        columns=("prompt", "test", "entry_point"),
        read=_human_eval,
    ),
}
"""Where the files of each benchmark are."""
