"""Where the threads of a batch ask their model: a seat per env, and the meeting at which a round of questions is put.

A thread that asks waits until every other thread asks too, or has no episode left. Then the calling thread of
``batch.py`` takes all questions and answers them: pointing questions with one ``point_batch``, questions in words with
one ``answer_batch`` per length limit.
"""

import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from molmo_agent.episode import Image, PointResult
from molmo_agent.errors import ModelError, MolmoAgentError, RunStopped
from molmo_agent.interfaces import PointingModel, model_traits


@dataclass(frozen=True, slots=True)
class Question:
    """A question of one env about one image."""

    image: Image
    text: str
    # The most tokens of an answer in words; None: the answer is points.
    max_new_tokens: int | None = None


Answer = PointResult | str
"""A ``PointResult`` to a pointing question, the whole reply to one in words."""


class Seat:
    """A pointing model for one env, whose questions wait for those of the others. Made by ``roll_out``."""

    def __init__(self, meeting: "Meeting", model: PointingModel) -> None:
        self.name = model.name
        traits = model_traits(model)
        # Every other ability is the model's own: it answers one thread at a time.
        answerer = None if traits.answerer is None else _SeatAnswerer(self)
        self.traits = dataclasses.replace(traits, answerer=answerer, reserve_images=None)
        # Statuses of the pointing answers.
        self.statuses: Counter[str] = Counter()
        self._meeting = meeting
        # Held while this env acts; None for an env that acts while others do.
        self.turn: threading.Lock | None = None
        # The number of the episode that asks; set before each.
        self.episode = 0

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Wait for the other envs, and answer with points.

        Raises:
            RunStopped: the run was stopped meanwhile.
        """
        answer: PointResult = self.ask(Question(image, instruction))
        result = answer.at_most(max_points)
        self.statuses[result.status] += 1
        return result

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer one after the other."""
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]

    def ask(self, question: Question) -> Any:
        """Wait for the other envs, and return the :data:`Answer` of the question's kind.

        Raises:
            RunStopped: the run was stopped meanwhile.
        """
        if self.turn is not None:
            self.turn.release()
        try:
            return self._meeting.ask(self.episode, question)
        finally:
            if self.turn is not None:
                self.turn.acquire()


class _SeatAnswerer:
    """Answers in words from a seat. Apart from it, because only seats of models that answer in words have one."""

    def __init__(self, seat: Seat) -> None:
        self.name, self._seat = seat.name, seat

    def answer_batch(self, images: Sequence[Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """Answer one after the other, each in a round with the questions of the other envs."""
        return [
            self._seat.ask(Question(image, text, max_new_tokens)) for image, text in zip(images, questions, strict=True)
        ]


def answer_questions(
    model: PointingModel, questions: Sequence[Question]
) -> tuple[list[Answer], list[tuple[int, float]]]:
    """Answer a round with one call of the model per kind of question.

    Returns:
        The answers in the order of the questions, and for each call (number of questions, seconds).

    Raises:
        ModelError: the model failed, or did not answer every question.
    """
    kinds: dict[int | None, list[int]] = {}
    for number, question in enumerate(questions):
        kinds.setdefault(question.max_new_tokens, []).append(number)
    answers: dict[int, Answer] = {}
    calls: list[tuple[int, float]] = []
    for max_new_tokens, numbers in kinds.items():
        start = time.perf_counter()
        batch = _call(model, [questions[number] for number in numbers], max_new_tokens)
        calls.append((len(numbers), time.perf_counter() - start))
        answers.update(zip(numbers, batch, strict=True))
    return [answers[number] for number in range(len(questions))], calls


def _call(model: PointingModel, questions: Sequence[Question], max_new_tokens: int | None) -> Sequence[Answer]:
    """Call the model once.

    Raises:
        ModelError: it failed, or did not answer every question.
    """
    images, texts = [question.image for question in questions], [question.text for question in questions]
    answerer = None if max_new_tokens is None else model_traits(model).answerer
    answers: Sequence[Answer]
    try:
        if answerer is None or max_new_tokens is None:
            answers = model.point_batch(images, texts)
        else:
            answers = answerer.answer_batch(images, texts, max_new_tokens=max_new_tokens)
    except MolmoAgentError:
        raise
    except Exception as error:
        raise ModelError(f"the model {model.name!r} failed: {type(error).__name__}: {error}") from error
    if len(answers) != len(questions):
        raise ModelError(f"expected {len(questions)} answers of the model {model.name!r}, got {len(answers)}")
    return answers


class Meeting:
    """Where threads wait with their questions until every thread with an episode has one."""

    def __init__(self, players: int) -> None:
        self.lock = threading.Lock()
        self._condition = threading.Condition(self.lock)
        # Threads that neither wait for an answer nor have left.
        self._busy = players
        self._questions: dict[int, Question] = {}
        self._answers: dict[int, Answer] = {}
        self._is_stopped = False

    def ask(self, episode: int, question: Question) -> Answer:
        """Wait for the answer to the question of an episode.

        Raises:
            RunStopped: the run was stopped first.
        """
        with self._condition:
            self._questions[episode] = question
            self._busy -= 1
            self._condition.notify_all()
            self._condition.wait_for(lambda: episode in self._answers or self._is_stopped)
            if episode not in self._answers:
                # It counts as busy again until it leaves.
                self._busy += 1
                self._questions.pop(episode, None)
                raise RunStopped("the run was stopped")
            return self._answers.pop(episode)

    def questions(self) -> list[Question]:
        """Wait until no thread is busy, and return the questions in the order of their episodes; none at the end."""
        with self._condition:
            # Threads that waited when the run was stopped take their questions back.
            self._condition.wait_for(lambda: self._busy == 0 and not (self._is_stopped and self._questions))
            return [self._questions[episode] for episode in sorted(self._questions)]

    def answer(self, answers: Sequence[Answer]) -> None:
        """Hand out the answers, in the order of :meth:`questions`."""
        with self._condition:
            self._answers.update(zip(sorted(self._questions), answers, strict=True))
            self._busy += len(self._questions)
            self._questions.clear()
            self._condition.notify_all()

    def leave(self) -> None:
        """Take a thread that has no episode left out of the count."""
        with self._condition:
            self._busy -= 1
            self._condition.notify_all()

    def stop(self) -> None:
        """Stop the run: every thread that asks gets RunStopped."""
        with self._condition:
            self._is_stopped = True
            self._condition.notify_all()

    def is_stopped(self) -> bool:
        """Return whether the run was stopped."""
        return self._is_stopped
