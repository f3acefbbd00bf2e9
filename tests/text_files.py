"""Small files of text benchmarks, written in the layouts that their authors publish. All questions are made here."""

import csv
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

SUBJECTS = ("plain_sums", "animal_sounds")
SUMS = [("What is 2 + 2?", ("3", "4", "5", "6"), 1), ("What is 1 + 1?", ("2", "3", "7", "8"), 0)]
ADD = 'def add(a, b):\n    """Return the sum."""\n'
ADD_TESTS = "def check(candidate):\n    assert candidate(2, 3) == 5\n    assert candidate(-1, 1) == 0\n"
TWICE = (
    "from typing import List\n\n\ndef helper(x):\n    return x\n\n\n"
    'def twice(xs: List[int]) -> List[int]:\n    """Return each number twice as large."""\n'
)
TWICE_TESTS = "def check(candidate):\n    assert candidate([1, 2]) == [2, 4]\n"


def write_lines(path: Path, rows: Sequence[Any]) -> Path:
    """Write JSON lines, compressed if the name ends in .gz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Write rows as a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([*rows]), path)
    return path


def mmlu_csv(folder: Path) -> Path:
    """Write MMLU as its authors' CSV files: two subjects with two questions and five solved ones."""
    for split, count in (("test", 2), ("dev", 5)):
        (folder / split).mkdir(parents=True, exist_ok=True)
        for subject in SUBJECTS:
            with (folder / split / f"{subject}_{split}.csv").open("w", newline="") as file:
                for number in range(count):
                    text, options, right = SUMS[number % 2]
                    csv.writer(file).writerow([f"{text} ({subject}, {split} {number})", *options, "ABCD"[right]])
    return folder


def mmlu_rows(split: str, count: int) -> list[dict[str, Any]]:
    """Return MMLU as the hub's rows."""
    return [
        {
            "question": f"{SUMS[number % 2][0]} ({subject}, {split} {number})",
            "subject": subject,
            "choices": list(SUMS[number % 2][1]),
            "answer": SUMS[number % 2][2],
        }
        for subject in SUBJECTS
        for number in range(count)
    ]


def mmlu_pro_rows(count: int) -> list[dict[str, Any]]:
    """Return MMLU-Pro as the hub's rows, with six options, one of them filled up."""
    return [
        {
            "question_id": number,
            "question": f"Which is {number}?",
            "options": ["0", "1", "2", "3", "4", "5", "N/A"],
            "answer": "ABCDEF"[number % 6],
            "answer_index": number % 6,
            "cot_content": f"A: Let's think step by step. It is {number}. The answer is ({'ABCDEF'[number % 6]}).",
            "category": "sums",
        }
        for number in range(count)
    ]


def gsm8k_rows(count: int) -> list[dict[str, Any]]:
    """Return GSM8K's rows."""
    return [
        {
            "question": f"Ann has {n} pens and buys {n} more. How many has she?",
            "answer": f"She has {n} + {n} = <<{n}+{n}={2 * n}>>{2 * n} pens.\n#### {2 * n:,}",
        }
        for n in range(501, 501 + count)
    ]


def math_rows(count: int) -> list[dict[str, Any]]:
    """Return MATH's rows."""
    return [
        {
            "problem": f"What is $1$ divided by ${n}$?",
            "level": "Level 1",
            "type": "Algebra",
            "solution": f"It is $\\frac{{1}}{{{n}}}$, so the answer is $\\boxed{{\\dfrac{{1}}{{{n}}}}}$.",
        }
        for n in range(2, 2 + count)
    ]


def math_folder(folder: Path) -> Path:
    """Write MATH as its authors' files, one problem each."""
    for split, count in (("test", 3), ("train", 12)):
        for number, row in enumerate(math_rows(count)):
            path = folder / split / "algebra" / f"{number}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(row))
    return folder


def arc_rows(count: int, *, hub: bool = False) -> list[dict[str, Any]]:
    """Return ARC's rows, whose labels are letters or numbers."""
    rows = []
    for number in range(count):
        labels = ["1", "2", "3"] if number % 2 else ["A", "B", "C"]
        texts = ["a stone", "a bird", "a cloud"]
        listed = [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
        stem: Any = f"What can sing? ({number})"
        row: dict[str, Any] = {"id": f"exam_{number}", "answerKey": labels[1]}
        if hub:
            row |= {"question": stem, "choices": {"text": texts, "label": labels}}
        else:
            row |= {"question": {"stem": stem, "choices": listed}}
        rows.append(row)
    return rows


def human_eval_rows() -> list[dict[str, Any]]:
    """Return two problems in HumanEval's form."""
    return [
        {
            "task_id": "Made/0",
            "prompt": ADD,
            "entry_point": "add",
            "canonical_solution": "    return a + b\n",
            "test": ADD_TESTS,
        },
        {
            "task_id": "Made/1",
            "prompt": TWICE,
            "entry_point": "twice",
            "canonical_solution": "    return [2 * x for x in xs]\n",
            "test": TWICE_TESTS,
        },
    ]


def home(folder: Path) -> Path:
    """Write all six benchmarks in a folder of their own each."""
    mmlu_csv(folder / "mmlu")
    write_parquet(folder / "MMLU-Pro" / "data" / "test-00000-of-00001.parquet", mmlu_pro_rows(3))
    write_parquet(folder / "MMLU-Pro" / "data" / "validation-00000-of-00001.parquet", mmlu_pro_rows(6))
    write_lines(folder / "gsm8k" / "test.jsonl", gsm8k_rows(3))
    write_lines(folder / "gsm8k" / "train.jsonl", gsm8k_rows(6))
    math_folder(folder / "MATH")
    write_lines(folder / "arc_c" / "ARC-Challenge-Test.jsonl", arc_rows(3))
    write_lines(folder / "arc_c" / "ARC-Challenge-Train.jsonl", arc_rows(25))
    write_lines(folder / "HumanEval" / "HumanEval.jsonl.gz", human_eval_rows())
    return folder
