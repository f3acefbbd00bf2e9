"""Put the questions of a text benchmark to a model, and score its answers: one record for each question."""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from molmo_agent.data.question import Question
from molmo_agent.errors import ModelError
from molmo_agent.evaluation.predict import Record
from molmo_agent.evaluation.results.costs import costs_of
from molmo_agent.evaluation.texts.answers import decimal, formula_of, letter_of, number_of, same_formula
from molmo_agent.evaluation.texts.models import Ask, Form, TextModel
from molmo_agent.evaluation.texts.programs import code_in, failures_of, pass_at_k, program_of
from molmo_agent.evaluation.texts.tasks import TextTask, options_of, prompt_of
from molmo_agent.interfaces import collect_usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How many programs are written for a problem, and how."""

    # Of each problem.
    samples: int = 1
    # 0: the most likely program.
    temperature: float = 0.0
    # The numbers k of pass@k; at most `samples`.
    ks: tuple[int, ...] = (1,)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextPredictor:
    """Loads a model and runs it on batches, in this process or on a worker."""

    # Makes the model; called once per worker.
    make: Callable[[], TextModel]
    task: TextTask
    form: Form
    # See TextQuestions.
    solved: Mapping[str, Sequence[Question]]
    sampling: Sampling = Sampling()

    def __call__(self) -> Callable[[Sequence[Question]], list[Record]]:
        """Load the model and return a function that answers a batch; its records have their ``cost``."""
        model = self.make()

        def work(questions: Sequence[Question]) -> list[Record]:
            began = time.perf_counter()
            with collect_usage() as usages:
                records = self._answer(model, questions)
            costs = {cost["id"]: cost for cost in costs_of(records, usages, time.perf_counter() - began)}
            return [record | {"cost": costs.get(record["id"])} for record in records]

        return work

    def _answer(self, model: TextModel, questions: Sequence[Question]) -> list[Record]:
        """Answer a batch; if that fails, each question by itself.

        Raises:
            ModelError: all questions fail.
        """
        try:
            return self._records(model, questions)
        except ModelError:
            if len(questions) == 1:
                raise
        records: list[Record] = []
        errors: list[ModelError] = []
        for question in questions:
            try:
                records += self._records(model, [question])
            except ModelError as error:
                errors.append(error)
                records.append({"id": question.id, "skipped": str(error)})
        if len(errors) == len(questions):
            raise errors[0]
        return records

    def _records(self, model: TextModel, questions: Sequence[Question]) -> list[Record]:
        prompts = [prompt_of(self.task, self.form, one, self._before(one)) for one in questions]
        kind = self.task.kind_in(self.form)
        if kind == "options":
            return [self._compared(model, *pair) for pair in zip(questions, prompts, strict=True)]
        samples = self.sampling.samples if kind == "program" else 1
        asks = [self._ask(question, number) for question in questions for number in range(samples)]
        texts = model.write([prompt for prompt in prompts for _ in range(samples)], asks)
        replies = [texts[start : start + samples] for start in range(0, len(texts), samples)]
        score = self._programs if kind == "program" else self._read
        scored = score(questions, replies)
        return [
            self._record(question, prompt, one) | self._cut(model, prompt)
            for question, prompt, one in zip(questions, prompts, scored, strict=True)
        ]

    def _before(self, question: Question) -> Sequence[Question]:
        if self.form == "chat" or not self.task.shots:
            return ()
        solved = self.solved.get("") or self.solved[question.extra["group"]]
        return solved[: self.task.shots]

    def _ask(self, question: Question, number: int) -> Ask:
        seed = int.from_bytes(hashlib.sha256(f"{question.id}\n{number}".encode()).digest()[:6], "big")
        is_program = self.task.kind == "program"
        return Ask(
            max_new_tokens=self.task.max_new_tokens,
            stops=self.task.stops if self.form == "continue" else (),
            temperature=self.sampling.temperature if is_program else 0.0,
            seed=seed,
        )

    def _cut(self, model: TextModel, prompt: str) -> Record:
        is_cut = self.form == "continue" and model.is_long(prompt, self.task.max_new_tokens)
        return {"cut": True} if is_cut else {}

    def _compared(self, model: TextModel, question: Question, prompt: str) -> Record:
        """Return the record of a multiple choice whose options are compared by their likelihoods."""
        options = options_of(self.task, question)
        values = model.likelihoods(prompt, options)
        best = max(range(len(values)), key=values.__getitem__)
        right = question.extra["correct"]
        scores = {"likelihood": best == right}
        if self.task.name == "arc-c":
            means = [value / len(option.strip()) for value, option in zip(values, options, strict=True)]
            scores["per-character"] = max(range(len(means)), key=means.__getitem__) == right
        one = {"reply": options[best].strip(), "scores": scores, "unread": [], "likelihoods": values}
        cut = {"cut": True} if model.is_long(prompt, max(map(len, options))) else {}
        return self._record(question, prompt, one) | cut

    def _read(self, questions: Sequence[Question], replies: Sequence[Sequence[str]]) -> list[Record]:
        """Return reply, scores and what could not be read of answers in words."""
        rows = []
        for question, (reply,) in zip(questions, replies, strict=True):
            scores, unread = {}, []
            for reading in ("strict", "lenient"):
                answer = self._answer_in(question, reply, strict=reading == "strict")
                scores[reading] = answer is not None and self._is_right(question, answer)
                unread += [reading] if answer is None else []
            rows.append({"reply": reply, "scores": scores, "unread": unread})
        return rows

    def _answer_in(self, question: Question, reply: str, *, strict: bool) -> str | Decimal | None:
        if question.options:
            return letter_of(reply, len(question.options), strict=strict)
        return (number_of if self.task.kind == "number" else formula_of)(reply, strict=strict)

    def _is_right(self, question: Question, answer: str | Decimal) -> bool:
        if isinstance(answer, Decimal):
            return answer == decimal(question.answers[0])
        return answer == question.answers[0] if question.options else same_formula(answer, question.answers[0])

    def _programs(self, questions: Sequence[Question], replies: Sequence[Sequence[str]]) -> list[Record]:
        """Run the programs of each problem in the sandbox; return replies, scores, and why programs failed."""
        whole = self.form == "chat"
        codes = [
            [code_in(reply, question.extra["entry_point"]) if whole else reply for reply in texts]
            for question, texts in zip(questions, replies, strict=True)
        ]
        jobs = [
            program_of(question, code, whole=whole)
            for question, texts in zip(questions, codes, strict=True)
            for code in texts
            if code is not None
        ]
        results = iter(failures_of(jobs))
        rows = []
        for texts, own in zip(replies, codes, strict=True):
            failures = ["no code in the reply" if code is None else next(results) for code in own]
            passed = failures.count("")
            rows.append(
                {
                    "reply": texts[0],
                    "replies": list(texts),
                    "failures": failures,
                    "scores": self._passes(len(texts), passed),
                    # A problem without one program.
                    "unread": ["strict"] if all(code is None for code in own) else [],
                }
            )
        return rows

    def _passes(self, n: int, passed: int) -> dict[str, bool | float]:
        if n == 1:
            return {"pass@1": passed == 1}
        return {f"pass@{k}": pass_at_k(n, passed, k) for k in self.sampling.ks}

    def _record(self, question: Question, prompt: str, one: Record) -> Record:
        group, is_unread = question.extra["group"], "strict" in one["unread"]
        main = next(iter(one["scores"].values()))
        expected = question.answers[0] if question.answers else question.extra["entry_point"]
        if question.options:
            expected += f". {question.options[question.extra['correct']]}"
        return {
            "id": question.id,
            "question": prompt,
            **one,
            "scores": one["scores"] | ({"subjects": main} if self.task.by_group else {}),
            "reference": {},
            "unparsed": is_unread,
            "groups": [group] if group else [],
            "facets": {"subject": [group]} if group else {},
            "answered": "wrong format" if is_unread else "wrong",
            "expected": expected,
            "points": [],
        }
