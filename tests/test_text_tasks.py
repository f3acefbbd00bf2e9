"""Text benchmarks: files in every published layout, answers in replies, and when two formulas are the same."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import text_files
from text_files import write_lines, write_parquet

from molmo_agent.data.readers.text_tasks.tasks import last_boxed, open_text_questions
from molmo_agent.errors import DataError
from molmo_agent.evaluation.texts.answers import formula_of, letter_of, number_of, same_formula
from molmo_agent.evaluation.texts.tasks import TASKS, find_tasks, prompt_of, protocols_of


def read(name: str, folder: Path, shots: int = 0) -> Any:
    return open_text_questions(name, folder, shots=shots)


def facts(name: str, folder: Path, shots: int = 0) -> list[tuple[Any, ...]]:
    """Return what the copies of a benchmark have in common."""
    opened = read(name, folder, shots)
    assert opened.problems.entries == []
    return [(one.text, one.options, one.answers, one.extra["group"]) for one in opened.questions()]


def test_every_copy_of_a_benchmark_gives_the_same_questions(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    one = "-00000-of-00001.parquet"
    text_files.mmlu_csv(tmp_path / "csv")
    text_files.mmlu_csv(tmp_path / "tar" / "data")
    for split, count in (("test", 2), ("dev", 5)):
        write_parquet(tmp_path / "hub" / "all" / f"{split}{one}", text_files.mmlu_rows(split, count))
        for subject in text_files.SUBJECTS:
            rows = [row for row in text_files.mmlu_rows(split, count) if row["subject"] == subject]
            write_parquet(tmp_path / "by_subject" / subject / f"{split}{one}", rows)
    # Sorted by the subjects' folders, as the files of the authors are.
    expected = sorted(facts("mmlu", tmp_path / "csv", 5), key=lambda row: row[3])
    assert expected[0][3] == "animal sounds"
    for copy in ("tar", "hub", "by_subject"):
        assert sorted(facts("mmlu", tmp_path / copy, 5), key=lambda row: row[3]) == expected, copy

    write_lines(tmp_path / "gsm" / "grade_school_math" / "data" / "test.jsonl", text_files.gsm8k_rows(3))
    write_parquet(tmp_path / "gsm_hub" / "main" / f"test{one}", text_files.gsm8k_rows(3))
    assert facts("gsm8k", tmp_path / "gsm") == facts("gsm8k", tmp_path / "gsm_hub")
    assert facts("gsm8k", tmp_path / "gsm")[0][2] == ("1,002",)

    text_files.math_folder(tmp_path / "math")
    write_parquet(tmp_path / "math_hub" / "algebra" / f"test{one}", text_files.math_rows(3))
    rows = [row | {"answer": r"\frac{1}{2}", "unique_id": "test/algebra/1.json"} for row in text_files.math_rows(1)]
    write_lines(tmp_path / "math_500" / "test.jsonl", rows)
    assert facts("math", tmp_path / "math", 4) == facts("math", tmp_path / "math_hub")
    assert read("math", tmp_path / "math_500").questions()[0].answers == (r"\frac{1}{2}",)
    # The twelfth file comes after the second.
    assert [one.id for one in read("math", tmp_path / "math", 4).solved[""]][:3] == [
        f"math/algebra/{n}" for n in range(3)
    ]

    write_lines(tmp_path / "arc" / "ARC-V1" / "ARC-Challenge" / "ARC-Challenge-Test.jsonl", text_files.arc_rows(3))
    write_parquet(tmp_path / "arc_hub" / "ARC-Challenge" / f"test{one}", text_files.arc_rows(3, hub=True))
    assert facts("arc-c", tmp_path / "arc") == facts("arc-c", tmp_path / "arc_hub")
    assert {row[2] for row in facts("arc-c", tmp_path / "arc")} == {("B",)}

    write_lines(tmp_path / "code" / "data" / "HumanEval.jsonl.gz", text_files.human_eval_rows())
    write_lines(tmp_path / "code_text" / "HumanEval.jsonl", text_files.human_eval_rows())
    write_parquet(tmp_path / "code_hub" / "openai_humaneval" / f"test{one}", text_files.human_eval_rows())
    assert facts("humaneval", tmp_path / "code") == facts("humaneval", tmp_path / "code_text")
    assert facts("humaneval", tmp_path / "code") == facts("humaneval", tmp_path / "code_hub")

    write_parquet(tmp_path / "pro" / "data" / f"test{one}", text_files.mmlu_pro_rows(4))
    (first, *_) = facts("mmlu-pro", tmp_path / "pro")
    assert first == ("Which is 0?", ("0", "1", "2", "3", "4", "5"), ("A",), "sums")


def test_shards_have_names_of_their_own(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    for number in range(2):
        path = tmp_path / "main" / f"test-{number:05d}-of-00002.parquet"
        write_parquet(path, text_files.gsm8k_rows(2))
    assert [one.id for one in read("gsm8k", tmp_path).questions()] == ["gsm8k/0", "gsm8k/1", "gsm8k/1-0", "gsm8k/1-1"]


def test_rows_that_cannot_be_used_are_named_and_the_rest_is_read(tmp_path: Path) -> None:
    good = text_files.gsm8k_rows(1)[0]
    bad: list[Any] = [3, {}, {"question": "?", "answer": "no mark"}, {"question": " ", "answer": "#### 3"}, None]
    opened = read("gsm8k", write_lines(tmp_path / "gsm" / "test.jsonl", [*bad, good]).parent)
    assert len(opened.questions()) == 1
    reasons = "\n".join(map(str, opened.problems.entries))
    for words in ("expected an object, got int", "there is no question", "expected #### and a number", "record 3"):
        assert words in reasons

    row = text_files.arc_rows(1)[0]
    bad = [row | {"answerKey": "D"}, row | {"answerKey": 7}, row | {"question": {"stem": "?", "choices": []}}]
    opened = read("arc-c", write_lines(tmp_path / "arc" / "ARC-Challenge-Test.jsonl", [*bad, row]).parent)
    assert len(opened.questions()) == 1
    assert "expected an answer among A, B, C, got 'D'" in str(opened.problems.entries[0])
    assert "expected 2 to 26 options, got 0" in str(opened.problems.entries[2])

    row = text_files.human_eval_rows()[0]
    bad = [row | {"entry_point": "add)\nimport os"}, row | {"test": ""}]
    opened = read("humaneval", write_lines(tmp_path / "he" / "HumanEval.jsonl", [*bad, row]).parent)
    assert len(opened.questions()) == 1
    assert "expected the name of a function" in str(opened.problems.entries[0])

    folder = text_files.mmlu_csv(tmp_path / "mmlu")
    (folder / "test" / "broken_test.csv").write_text("only,three,cells\nq,a,b,c,d,E\nq,a,b,c,d,D\n")
    opened = read("mmlu", folder)
    assert len(opened.questions()) == 5
    assert "expected 6 cells (question, A, B, C, D, answer), got 3" in str(opened.problems.entries[0])


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = write_lines(tmp_path / "a" / "HumanEval.jsonl.gz", text_files.human_eval_rows()).read_bytes()
    cases = {whole[:-20]: "is cut off; fetch it again", b"not gzip": "to be a gzip file"}
    for data, words in cases.items():
        (tmp_path / "a" / "HumanEval.jsonl.gz").write_bytes(data)
        assert words in str(read("humaneval", tmp_path / "a").problems.entries[0])
    (tmp_path / "a" / "HumanEval.jsonl.gz").write_bytes(whole + whole)
    assert len(read("humaneval", tmp_path / "a").questions()) == 4


def test_missing_files_and_too_few_solved_questions_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected the folder of gsm8k at .*no, found none"):
        read("gsm8k", tmp_path / "no")
    with pytest.raises(DataError, match=r"expected the questions of gsm8k in .*, as test.jsonl, .*; found none"):
        read("gsm8k", tmp_path)
    write_lines(tmp_path / "test.jsonl", text_files.gsm8k_rows(1))
    with pytest.raises(DataError, match=r"the solved questions of gsm8k, 5 of which stand before each question"):
        read("gsm8k", tmp_path, 5)
    write_lines(tmp_path / "train.jsonl", text_files.gsm8k_rows(4))
    with pytest.raises(DataError, match=r"expected 5 solved questions of gsm8k in .*, found 4"):
        read("gsm8k", tmp_path, 5)
    folder = text_files.mmlu_csv(tmp_path / "mmlu")
    (folder / "dev" / "animal_sounds_dev.csv").unlink()
    with pytest.raises(DataError, match=r"expected 5 solved questions of mmlu about animal sounds in .*, found 0"):
        read("mmlu", folder, 5)


def test_a_continued_prompt_has_the_solved_questions_of_its_subject_and_ends_before_the_answer(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    home = text_files.home(tmp_path)
    folders = {"mmlu": "mmlu", "mmlu-pro": "MMLU-Pro", "gsm8k": "gsm8k", "math": "MATH", "arc-c": "arc_c"}
    prompts = {}
    for name, folder in folders.items():
        task = TASKS[name]
        opened = read(name, home / folder, task.shots)
        question = opened.questions()[0]
        solved = (opened.solved.get("") or opened.solved[question.extra["group"]])[: task.shots]
        prompts[name] = prompt_of(task, "continue", question, solved)
        assert prompts[name].endswith(task.answer), name
        assert prompts[name].count(task.answer) == task.shots + 1, name
        alone = prompt_of(task, "chat", question, ())
        assert question.text in alone
        assert task.answer not in alone
        assert not question.options or all(f"{'ABCDEF'[n]}. {text}" in alone for n, text in enumerate(question.options))
    assert prompts["mmlu"].startswith("The following are multiple choice questions (with answers) about animal sounds.")
    assert "plain_sums" not in prompts["mmlu"]
    assert "A. 3\nB. 4\nC. 5\nD. 6\nAnswer: B\n\n" in prompts["mmlu"]
    assert "Answer: Let's think step by step. It is 0. The answer is (A).\n\n" in prompts["mmlu-pro"]
    assert "501 + 501 = 1002 pens.\n#### 1,002\n\n" in prompts["gsm8k"]
    assert "stone" not in prompts["arc-c"]
    assert prompts["arc-c"].count("Answer: a bird\n\n") == 25


def test_letters_are_read_where_the_reply_says_that_they_are_the_answer() -> None:
    strict = {
        "B": "B", "(C)": "C", "D.": "D", " **A** ": "A", "The answer is (C).": "C", "Answer: B": "B",
        "So the answer is B, not C.": "B", "The answer is A. Wait, the answer is **(D)**": "D", "answer: $C$": "C",
        "E": None, "The answer is (J).": None, "I think that B is right": None, "": None, "A dog": None,
        "Bananas": None, "answer is Different": None,
    }  # fmt: skip
    lenient = {"I think that B is right": "B", "A, B or C? It must be C": "C", "none of them": None, "It isn't": None}
    wrong = [(text, letter_of(text, 4, strict=True)) for text, want in strict.items()
             if letter_of(text, 4, strict=True) != want]  # fmt: skip
    wrong += [(text, letter_of(text, 4, strict=False)) for text, want in lenient.items()
              if letter_of(text, 4, strict=False) != want]  # fmt: skip
    assert wrong == []
    assert letter_of("The answer is (J)", 10, strict=True) == "J"


def test_numbers_are_read_behind_the_mark_or_at_the_end() -> None:
    cases: list[tuple[str, str | None, str | None]] = [
        ("She has 5.\n#### 1,002", "1002", "1002"),
        ("#### -3 apples, of 7", "-3", "7"),
        ("#### $18.50", "18.5", "18.5"),
        ("It costs $1,200.", None, "1200"),
        ("#### 3\n#### 4", "4", "4"),
        ("####", None, None),
        ("none", None, None),
        ("Half of it is .5", None, "0.5"),
        ("12 eggs. 6 left", None, "6"),
    ]
    wrong = []
    for text, strict, lenient in cases:
        for reading, want in ((True, strict), (False, lenient)):
            got = number_of(text, strict=reading)
            if got != (None if want is None else Decimal(want)):
                wrong.append((text, reading, got))
    assert wrong == []


def test_formulas_are_read_from_the_last_box_or_from_what_the_reply_calls_its_answer() -> None:
    assert last_boxed(r"\boxed{1} and \boxed{\frac{1}{2}}") == r"\frac{1}{2}"
    assert last_boxed(r"\fbox{a} \boxed 7 ") == "a"
    assert last_boxed(r"it is $\boxed 7$") == "7"
    assert last_boxed(r"\boxed{x_{1}") is None
    cases = [
        (r"so $\boxed{12}$.", "12", "12"),
        ("The final answer is $x^2$. I hope so.", None, "x^2"),
        ("The answer is 3.5. That is it.", None, "3.5"),
        ("we get $a$ and then $b+1$", None, "b+1"),
        ("nothing", None, None),
    ]
    assert [(formula_of(text, strict=True), formula_of(text, strict=False)) for text, *_ in cases] == [
        (strict, lenient) for _, strict, lenient in cases
    ]


def test_formulas_are_the_same_however_they_are_written_and_different_ones_are_not() -> None:
    same = [
        (r"\dfrac{1}{2}", r"\frac12"), (r"\frac{1}{2}", "1/2"), ("0.5", r"\frac{1}{2}"), (".5", "0.50"),
        (r"\text{ east }", "east"), (r"90^\circ", "90"), (r"90^{\circ}", "90"), (r"5\%", "5"), (r"\$32", "32"),
        ("x=4", "4"), (r"x\in[0,1)", "[0,1)"), (r"\left(1, 2\right)", "(1,2)"), ("1,234,567", "1234567"),
        (r"\sqrt2", r"\sqrt{2}"), (r"12\text{ cm}", "12"), ("7.", "7"), (r"-\frac{3}{6}", "-1/2"), (r"3\!4", "34"),
        (r"\frac{10}{5}", "2"), (r"\tfrac{a}{b}", r"\frac{a}{b}"), ("007", "7"),
    ]  # fmt: skip
    different = [
        ("1/2", "2/1"), ("(1,2)", "(2,1)"), ("1,2", "12"), ("x", "y"), ("", ""), (r"\frac{1}{0}", r"\frac{2}{0}"),
        ("0.33", "1/3"), ("-2", "2"), (r"\sqrt{2}", "2"), ("1e400", "2e400"), ("x^2", "x2"), ("10%", "0.1"),
    ]  # fmt: skip
    assert [pair for pair in same if not same_formula(*pair)] == []
    assert [pair for pair in different if same_formula(*pair)] == []


def test_long_replies_are_read_in_linear_time() -> None:
    for text in ("\\boxed{" * 50_000, "answer is " * 50_000, "1," * 100_000, "$" * 100_000, "A " * 100_000):
        letter_of(text, 4, strict=False)
        number_of(text, strict=False)
        formula_of(text, strict=False)
        same_formula(text, "1")


def test_protocols_of_other_forms_shots_and_readings_have_other_hashes() -> None:
    from molmo_agent.evaluation.grounding.protocols import identity

    hashes = set()
    count = 0
    for task in TASKS.values():
        for form in ("continue", "chat"):
            options = {"form": form, "shots": task.shots if form == "continue" else 0}
            for protocol in protocols_of(task, form, (1, 10)):
                hashes.add(identity(task.name, options, protocol)["hash"])
                count += 1
    assert len(hashes) == count


def test_tasks_are_found_by_any_usual_name() -> None:
    assert [task.name for task in find_tasks("MMLU_Pro, arc_c,humaneval,human-eval")] == [
        "mmlu-pro",
        "arc-c",
        "humaneval",
    ]
    with pytest.raises(DataError.__mro__[1], match="unknown text benchmark 'gsm9k'"):
        find_tasks("gsm9k")
    assert json.dumps(sorted(TASKS)) == '["arc-c", "gsm8k", "humaneval", "math", "mmlu", "mmlu-pro"]'
