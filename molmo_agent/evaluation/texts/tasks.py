"""The table of text benchmarks: how their questions are put, which answer counts, and under which names.

A prompt is put in one of two forms, which never compare. ``continue``: published solved questions stand before the
question, and a local model continues the text. ``chat``: the question alone, with the form that the answer shall have.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Literal

from molmo_agent.data.question import Question
from molmo_agent.errors import UnknownNameError
from molmo_agent.evaluation.grounding.protocols import Protocol
from molmo_agent.evaluation.texts.models import Form
from molmo_agent.evaluation.texts.programs import STOPS, TIME_LIMIT_S

Kind = Literal["options", "letter", "number", "formula", "program"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTask:
    """One benchmark."""

    name: str
    what: str
    # Names of its folder, besides its own.
    folders: tuple[str, ...]
    files: str
    # The task of lm-evaluation-harness; None: it has none that is safe to run.
    harness: str | None
    # How a continued text is scored; in a chat, "options" is the letter in the reply.
    kind: Kind
    # Solved questions before a continued text.
    shots: int
    max_new_tokens: int = 512
    # What the solved questions are called in the prompt.
    question: str = "Question: "
    answer: str = "\nAnswer:"
    # Whether the questions are grouped by subject, whose means are averaged by a protocol of its own.
    by_group: bool = False

    def kind_in(self, form: Form) -> Kind:
        """Return how an answer is scored."""
        return "letter" if form == "chat" and self.kind == "options" else self.kind

    @property
    def stops(self) -> tuple[str, ...]:
        """Where a continued text ends."""
        # The next question of a text that continues as it began.
        return STOPS if self.kind == "program" else (f"\n\n{self.question.strip() or 'Question:'}", "\n\n\n")


_MMLU_PRO_END = 'Think step by step, and end with "The answer is (X)", where X is the letter of an option.'

TASKS: Mapping[str, TextTask] = {
    task.name: task
    for task in (
        TextTask(
            name="mmlu",
            what="multiple choice from 57 subjects",
            folders=("MMLU",),
            files="test/*_test.csv and dev/*_dev.csv, or the hub's Parquet files",
            harness="mmlu",
            kind="options",
            shots=5,
            question="",
            by_group=True,
        ),
        TextTask(
            name="mmlu-pro",
            what="multiple choice with up to ten options and a chain of thought",
            folders=("MMLU-Pro",),
            files="test-*.parquet and validation-*.parquet",
            harness="mmlu_pro",
            kind="letter",
            shots=5,
            max_new_tokens=1024,
            by_group=True,
        ),
        TextTask(
            name="gsm8k",
            what="word problems whose answer is a number",
            folders=("GSM8K", "grade-school-math"),
            files="test.jsonl and train.jsonl, or the hub's Parquet files",
            harness="gsm8k",
            kind="number",
            shots=5,
        ),
        TextTask(
            name="math",
            what="competition problems whose answer is a formula",
            folders=("MATH", "hendrycks_math"),
            files="test/SUBJECT/*.json and train/SUBJECT/*.json, or the hub's Parquet files, or test.jsonl (MATH-500)",
            harness="minerva_math",
            kind="formula",
            shots=4,
            max_new_tokens=1024,
            question="Problem:\n",
            answer="\n\nSolution:",
            by_group=True,
        ),
        TextTask(
            name="arc-c",
            what="multiple choice from science exams",
            folders=("ARC", "ARC-Challenge"),
            files="ARC-Challenge-Test.jsonl and ARC-Challenge-Train.jsonl, or the hub's Parquet files",
            harness="arc_challenge",
            kind="options",
            shots=25,
        ),
        TextTask(
            name="humaneval",
            what="Python functions, run with their tests in a sandbox",
            folders=("HumanEval", "human-eval", "openai_humaneval"),
            files="HumanEval.jsonl.gz, or the hub's Parquet files",
            harness=None,
            kind="program",
            shots=0,
        ),
    )
}
"""The benchmarks by name."""


def find_tasks(names: str) -> list[TextTask]:
    """Return tasks by their names, separated by commas; capital letters, hyphens and underscores do not matter.

    Raises:
        UnknownNameError: there is no such task.
    """
    plain = {re.sub(r"[-_]", "", name): task for name, task in TASKS.items()}
    found: dict[str, TextTask] = {}
    for name in filter(None, (part.strip() for part in names.split(","))):
        task = plain.get(re.sub(r"[-_]", "", name.lower()))
        if task is None:
            raise UnknownNameError("text benchmark", name, TASKS)
        found[task.name] = task
    return [*found.values()]


def prompt_of(task: TextTask, form: Form, question: Question, solved: Sequence[Question]) -> str:
    """Return the prompt of a question.

    Args:
        task: the benchmark.
        form: how the model is asked.
        question: to be answered.
        solved: those that stand before it in a continued text.
    """
    if task.kind == "program":
        if form == "continue":
            return question.text
        return (
            "Complete this Python function. Answer with the whole function in one code block.\n\n"
            f"```python\n{question.text.rstrip()}\n```"
        )
    if form == "chat":
        return f"{_stated(question)}\n\n{_wish(task, question)}"
    head = ""
    if task.name.startswith("mmlu"):
        about = question.extra["group"]
        head = f"The following are multiple choice questions (with answers) about {about}."
        head += f" {_MMLU_PRO_END}\n\n" if task.kind == "letter" else "\n\n"
    # The options of ARC are compared as texts, and not shown.
    parts = [
        f"{task.question}{one.text if task.name == 'arc-c' else _stated(one)}{task.answer}"
        for one in (*solved, question)
    ]
    answers = [f" {_worked(task, one)}\n\n" for one in solved]
    return head + "".join(f"{part}{answer}" for part, answer in zip(parts, (*answers, ""), strict=True))


def _stated(question: Question) -> str:
    """Return a question with its options."""
    lines = [f"{letter}. {option}" for letter, option in zip(ascii_uppercase, question.options, strict=False)]
    return "\n".join([question.text, *lines])


def _worked(task: TextTask, question: Question) -> str:
    """Return the answer of a solved question."""
    if task.name == "arc-c":
        return question.options[question.extra["correct"]]
    return question.extra["worked"] or question.answers[0]


def _wish(task: TextTask, question: Question) -> str:
    """Return what a question of a chat says of its answer."""
    if task.kind == "options":
        return (
            f"Answer with the letter of the right option alone ({', '.join(ascii_uppercase[: len(question.options)])})."
        )
    if task.kind == "letter":
        return _MMLU_PRO_END
    if task.kind == "number":
        return "Think step by step, and end with #### and the number."
    return r"Think step by step, and end with the answer in \boxed{}."


def options_of(task: TextTask, question: Question) -> tuple[str, ...]:
    """Return the continuations whose likelihoods are compared."""
    if task.name == "arc-c":
        return tuple(f" {option}" for option in question.options)
    return tuple(f" {letter}" for letter in ascii_uppercase[: len(question.options)])


_RULES: Mapping[Kind, tuple[str, str]] = {
    "letter": ("the letter that the reply says is its answer", "also the last capital letter that stands alone"),
    "number": ("the number behind the last ####", "the last number"),
    "formula": (r"the formula in the last \boxed{}, written alike", "also what stands behind 'answer is'"),
}


def protocols_of(task: TextTask, form: Form, ks: Sequence[int] = (1,)) -> tuple[Protocol, ...]:
    """Return the ways in which answers become a number; the first one is the main one.

    Args:
        task: the benchmark.
        form: how the model is asked.
        ks: the numbers of programs of pass@k.
    """
    kind = task.kind_in(form)
    shots = f"{task.shots} solved questions, continued" if form == "continue" and task.shots else "no solved questions"
    prompt = f"{form}: {shots}"
    if kind == "program":
        return tuple(
            Protocol(
                name=f"pass@{k}",
                rule=f"unbiased pass@{k}; tests in the sandbox within {TIME_LIMIT_S:g} s",
                prompt=prompt,
                note="The authors' script allows 3 s.",
            )
            for k in ks
        )
    if kind == "options":
        rows = [Protocol(name="likelihood", rule="the most likely option", prompt=prompt)]
        if task.name == "arc-c":
            rows.append(
                Protocol(name="per-character", rule="the most likely option, per character of it", prompt=prompt)
            )
    else:
        strict, lenient = _RULES[kind]
        note = "The authors' script guesses where it finds no letter." if task.name == "mmlu-pro" else ""
        rows = [
            Protocol(name="strict", rule=strict, prompt=prompt, note=note),
            Protocol(name="lenient", rule=f"{strict}; {lenient}", reading="lenient", prompt=prompt, note=note),
        ]
    if task.by_group:
        first = rows[0]
        rows.append(Protocol(name="subjects", rule=first.rule, mean="subject", reading=first.reading, prompt=prompt))
    return tuple(rows)
