"""Many episodes at once: the loop of ``loop.py`` in several envs, whose questions meet in one call of the model.

Each env has a thread of its own. A thread that asks the model waits until every other one asks too or has no episode
left; then all questions are answered by one ``point_batch``. So a batch holds questions of live episodes only, in the
order of the episodes, and what is in it depends on the episodes alone, not on how fast the threads are.

Envs that compute act one after the other: threads that compete for the interpreter take twice as long. An env that
mostly waits for something outside of this process (a browser, a phone) says so with
``traits = EnvTraits(waits_outside=True)``, and acts while others do.
"""

import contextlib
import dataclasses
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from molmo_agent.actions import Done
from molmo_agent.episode import Decision, Image, Observation, PointResult, Step, Task, Trajectory
from molmo_agent.errors import ModelError, MolmoAgentError, RunStopped, UsageError
from molmo_agent.interfaces import Env, ModelTraits, PointingModel, Policy, env_traits, model_traits, policy_traits
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.screen_changes import AT_ONCE, Settle


def episode_seed(seed: int, index: int) -> int:
    """Return the seed of an episode: 31 bits that depend on both numbers and on nothing else."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0] >> 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeResult:
    """What came of one episode; holds no times, so that it is the same wherever it was run."""

    index: int
    seed: int
    instruction: str
    # None where the env cannot tell.
    success: bool | None
    # Decisions but for the claim to have finished.
    steps: int
    reward: float
    # Why it ended, for people.
    ended: str
    # Success weighted by path length (Anderson et al. 2018), where the env tells it.
    spl: float | None = None
    # How the model's answers turned out: status -> how many.
    statuses: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """The episodes in their order, and what it took to run them."""

    episodes: tuple[EpisodeResult, ...]
    # One entry per call of the model: (questions in it, seconds).
    calls: tuple[tuple[int, float], ...] = ()
    seconds: float = 0.0
    # What could not be recorded of episodes that came to their end, with their numbers.
    problems: tuple[str, ...] = ()


class Seat:
    """A pointing model for one env, whose questions wait for those of the others. Made by :func:`roll_out`."""

    def __init__(self, meeting: "_Meeting", name: str, traits: ModelTraits) -> None:
        self.name = name
        # What it can do beyond pointing is the model's: nobody else may ask it meanwhile.
        self.traits = dataclasses.replace(traits, answerer=None, reserve_images=None)
        self.statuses: Counter[str] = Counter()
        self._meeting = meeting
        # Held while this env acts; None for an env that acts while others do.
        self.turn: threading.Lock | None = None
        # The number of the episode that asks; set before each.
        self.episode = 0

    def point(self, image: Image, instruction: str, *, max_points: int | None = None) -> PointResult:
        """Wait for the others, and answer.

        Raises:
            RunStopped: the run was stopped meanwhile.
        """
        if self.turn is not None:
            self.turn.release()
        try:
            result = self._meeting.ask(self.episode, image, instruction).at_most(max_points)
        finally:
            if self.turn is not None:
                self.turn.acquire()
        self.statuses[result.status] += 1
        return result

    def point_batch(self, images: Sequence[Image], instructions: Sequence[str]) -> list[PointResult]:
        """Answer one after the other."""
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]


MakePolicy = Callable[[Env, PointingModel], Policy]
"""Makes the policy of one env; the model to give it is the env's seat, which an oracle leaves empty."""


def roll_out(
    make_env: Callable[[], Env],
    make_policy: MakePolicy,
    model: PointingModel,
    *,
    episodes: int | Sequence[int],
    seed: int = 0,
    num_envs: int = 1,
    guards: Guards | None = None,
    settle: Settle = AT_ONCE,
    options: dict[str, Any] | None = None,
    record: Callable[[int], Recorder | None] = lambda index: None,
    told: Callable[[EpisodeResult], object] = lambda result: None,
) -> BatchResult:
    """Run episodes of the env's own tasks; the results do not depend on ``num_envs``.

    An instruction that the policy cannot follow is an episode without success that says so.

    Args:
        make_env: makes an env; called once per thread, in it, and closed there. See above for ``waits_outside``.
        make_policy: see :data:`MakePolicy`.
        model: answers all questions of a round in one call, in the calling thread.
        episodes: how many, or which ones by number.
        seed: together with its number decides an episode, see :func:`episode_seed`.
        num_envs: how many envs there are at a time.
        guards: limits of each episode.
        settle: how to wait for the screen.
        options: passed to every ``env.reset``.
        record: makes the recorder of an episode by its number.
        told: hears of each episode as it ends, one at a time.

    Raises:
        UsageError: the env has no tasks of its own, or a number makes no sense.
        EnvError: an env failed; the message names the episode.
        ModelError: the model failed.
        RunStopped: Ctrl-C, once all envs are closed.
    """
    numbers = list(range(episodes)) if isinstance(episodes, int) else list(episodes)
    if not numbers or num_envs < 1:
        raise UsageError(f"expected at least 1 episode and 1 env, got {len(numbers)} and {num_envs}")
    began, num_seats = time.perf_counter(), min(num_envs, len(numbers))
    meeting = _Meeting(num_seats)
    batch = _Batch(
        make_env=make_env,
        make_policy=make_policy,
        meeting=meeting,
        waiting=iter(numbers),
        seed=seed,
        guards=dataclasses.replace(guards or Guards(max_seconds=86_400.0), stop=meeting.stopped),
        settle=settle,
        options=options,
        record=record,
        told=told,
    )
    seats = [Seat(meeting, model.name, model_traits(model)) for _ in range(num_seats)]
    threads = [threading.Thread(target=batch.play, args=(seat,), name=f"env-{i}") for i, seat in enumerate(seats)]
    calls: list[tuple[int, float]] = []
    try:
        for thread in threads:
            thread.start()
        while questions := meeting.questions():
            start = time.perf_counter()
            answers = _answers(model, questions)
            calls.append((len(questions), time.perf_counter() - start))
            meeting.answer(answers)
    except KeyboardInterrupt as interrupt:
        raise RunStopped(f"stopped by the user (Ctrl-C) after {len(batch.results)} episodes") from interrupt
    finally:
        meeting.stop()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    if batch.failures:
        number = min(batch.failures)
        error = batch.failures[number]
        if isinstance(error, MolmoAgentError):
            error.args = (f"episode {number}: {error}",)
        raise error
    return BatchResult(
        episodes=tuple(batch.results[number] for number in numbers),
        calls=tuple(calls),
        seconds=time.perf_counter() - began,
        problems=tuple(batch.problems),
    )


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """What the threads of :func:`roll_out` share, and what comes of their episodes."""

    make_env: Callable[[], Env]
    make_policy: MakePolicy
    meeting: "_Meeting"
    # Numbers of the episodes that nobody has taken yet.
    waiting: Iterator[int]
    seed: int
    guards: Guards
    settle: Settle
    options: dict[str, Any] | None
    record: Callable[[int], Recorder | None]
    told: Callable[[EpisodeResult], object]
    # Held by the env that acts.
    turn: threading.Lock = field(default_factory=threading.Lock)
    results: dict[int, EpisodeResult] = field(default_factory=dict)
    failures: dict[int, BaseException] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def play(self, seat: Seat) -> None:
        """Run episodes in one env until none is left; what fails ends the whole batch."""
        seat.turn = self.turn
        self.turn.acquire()
        try:
            with contextlib.ExitStack() as closing:
                env: Env | None = None
                for number in _one_by_one(self.waiting, self.meeting):
                    seat.episode, seat.statuses = number, Counter()
                    if env is None:
                        env = self.make_env()
                        closing.callback(env.close)
                        if env_traits(env).waits_outside:
                            seat.turn = None
                            self.turn.release()
                    self._play_episode(seat, env, number)
        except RunStopped:
            pass  # whoever stopped the run says why
        except BaseException as error:
            self.failures.setdefault(seat.episode, error)
            self.meeting.stop()
        finally:
            if seat.turn is not None:
                self.turn.release()
            self.meeting.leave()

    def _play_episode(self, seat: Seat, env: Env, number: int) -> None:
        seed = episode_seed(self.seed, number)
        episode = rollout(
            _Willing(self.make_policy(env, seat)),
            env,
            guards=self.guards,
            recorder=self.record(number),
            settle=self.settle,
            seed=seed,
            options=self.options,
        )
        for _ in episode:
            pass
        with self.meeting.lock:
            self.results[number] = _result(number, seed, episode.trajectory, seat.statuses)
            if episode.record_problem:
                self.problems.append(f"episode {number}: {episode.record_problem}")
            self.told(self.results[number])


def _answers(model: PointingModel, questions: Sequence[tuple[Image, str]]) -> list[PointResult]:
    """Ask the model once.

    Raises:
        ModelError: it failed, or did not answer every question.
    """
    try:
        answers = model.point_batch([image for image, _ in questions], [text for _, text in questions])
    except MolmoAgentError:
        raise
    except Exception as error:
        raise ModelError(f"the model {model.name!r} failed: {type(error).__name__}: {error}") from error
    if len(answers) != len(questions):
        raise ModelError(f"expected {len(questions)} answers of the model {model.name!r}, got {len(answers)}")
    return answers


def _one_by_one(waiting: Iterator[int], meeting: "_Meeting") -> Iterator[int]:
    """Take the next episode that nobody has, until there is none or the run is stopped."""
    while not meeting.stopped():
        with meeting.lock:
            number = next(waiting, None)
        if number is None:
            return
        yield number


def _result(number: int, seed: int, trajectory: Trajectory, statuses: Counter[str]) -> EpisodeResult:
    steps = trajectory.steps
    # The claim to have finished comes last and measures nothing.
    spl = next((step.info["spl"] for step in reversed(steps) if step.info.get("spl") is not None), None)
    return EpisodeResult(
        index=number,
        seed=seed,
        instruction=trajectory.task.instruction,
        success=trajectory.success,
        steps=sum(not isinstance(step.action, Done) for step in steps),
        reward=float(sum(step.reward for step in steps)),
        ended=trajectory.ended,
        spl=None if spl is None else float(spl),
        statuses=dict(sorted(statuses.items())),
    )


class _Willing:
    """A policy that gives up on an instruction that it cannot follow, instead of ending the whole run."""

    def __init__(self, policy: Policy) -> None:
        self.name, self.traits, self._policy = policy.name, policy_traits(policy), policy

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        try:
            return self._policy.act(task, observation, history)
        except UsageError as error:
            return Decision(action=Done(False, f"cannot follow the instruction: {error}"))


class _Meeting:
    """Where threads wait with their questions until all that still play have one."""

    def __init__(self, players: int) -> None:
        self.lock = threading.Lock()
        self._changed = threading.Condition(self.lock)
        # Threads that are neither waiting for an answer nor gone.
        self._busy = players
        self._asked: dict[int, tuple[Image, str]] = {}
        self._answers: dict[int, PointResult] = {}
        self._stopped = False

    def ask(self, episode: int, image: Image, instruction: str) -> PointResult:
        with self._changed:
            self._asked[episode] = (image, instruction)
            self._busy -= 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: episode in self._answers or self._stopped)
            if episode not in self._answers:
                # It counts as busy again until it leaves.
                self._busy += 1
                self._asked.pop(episode, None)
                raise RunStopped("the run was stopped")
            return self._answers.pop(episode)

    def questions(self) -> list[tuple[Image, str]]:
        """Wait until nobody is busy, and return the questions in the order of their episodes; none at the end."""
        with self._changed:
            # Who waited when the run was stopped takes its question back.
            self._changed.wait_for(lambda: self._busy == 0 and not (self._stopped and self._asked))
            return [self._asked[episode] for episode in sorted(self._asked)]

    def answer(self, answers: Sequence[PointResult]) -> None:
        with self._changed:
            self._answers.update(zip(sorted(self._asked), answers, strict=True))
            self._busy += len(self._asked)
            self._asked.clear()
            self._changed.notify_all()

    def leave(self) -> None:
        with self._changed:
            self._busy -= 1
            self._changed.notify_all()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def stopped(self) -> bool:
        return self._stopped
