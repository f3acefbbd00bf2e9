"""Many episodes at once: the loop of ``loop.py`` in several envs, whose questions go to the model in one batch.

Each env has a thread of its own, and its policy a :class:`~molmo_agent.rollout.seats.Seat` in place of the model. A
thread that asks waits until every other thread asks too or has no episode left; then one call of the model answers all
pointing questions, another all questions in words. So a batch holds questions of live episodes only, in the order of
the episodes, and its content depends on the episodes alone, not on the speed of the threads.

Envs that compute act one after the other: threads that compete for the interpreter take twice as long. An env that
mostly waits for another process (a browser, a phone) declares ``traits =
EnvTraits(waits_outside=True)``, and acts at the same time as others.
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
from molmo_agent.episode import Decision, Observation, Step, Task, Trajectory
from molmo_agent.errors import MolmoAgentError, RunStopped, UsageError
from molmo_agent.interfaces import Env, PointingModel, Policy, env_traits, policy_traits
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.screen_changes import Settle
from molmo_agent.rollout.seats import Meeting, Seat, answer_questions


def episode_seed(seed: int, index: int) -> int:
    """Return the seed of an episode: 31 bits that depend on both numbers alone."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0] >> 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpisodeResult:
    """The outcome of one episode; holds no times, so that it is the same on every machine."""

    index: int
    seed: int
    instruction: str
    # None where the env has no verdict.
    success: bool | None
    # Decisions without the claim to have finished.
    steps: int
    reward: float
    # Why it ended, as text.
    ended: str
    # Success weighted by path length (Anderson et al. 2018), where the env reports it.
    spl: float | None = None
    # Statuses of the model's pointing answers: status -> how many.
    statuses: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """The episodes in their order, the calls of the model and the time."""

    episodes: tuple[EpisodeResult, ...]
    # One entry per call of the model: (questions in it, seconds).
    calls: tuple[tuple[int, float], ...] = ()
    seconds: float = 0.0
    # Episodes that ended but could not be recorded completely: number and reason.
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchConfig:
    """How the episodes of a batch are run."""

    # Envs at a time, each in a thread of its own; the results do not depend on it.
    num_envs: int = 1
    # Limits of each episode; the kill switch is the batch's own.
    guards: Guards = field(default_factory=lambda: Guards(max_seconds=86_400.0))
    # How to wait for the screen; None: as suits the env.
    settle: Settle | None = None
    # Passed to every `env.reset`.
    options: dict[str, Any] | None = None


MakePolicy = Callable[[Env, PointingModel], Policy]
"""Makes the policy of one env; the model to pass it is the env's seat, which an oracle does not use."""


def roll_out(
    make_env: Callable[[], Env],
    make_policy: MakePolicy,
    model: PointingModel,
    *,
    episodes: int | Sequence[int],
    seed: int = 0,
    config: BatchConfig | None = None,
    make_recorder: Callable[[int], Recorder | None] = lambda index: None,
    on_episode: Callable[[EpisodeResult], object] = lambda result: None,
) -> BatchResult:
    """Run episodes of the env's own tasks; the results do not depend on the number of envs.

    An instruction that the policy cannot follow gives a failed episode, with the reason in ``ended``.

    Args:
        make_env: makes an env; called once per thread, in it, and closed there. See above for ``waits_outside``.
        make_policy: see :data:`MakePolicy`.
        model: answers all questions of a round in one call per kind, in the calling thread.
        episodes: how many, or which ones by number.
        seed: together with its number decides an episode, see :func:`episode_seed`.
        config: number of envs, limits, waiting and the options of ``env.reset``; None: the defaults.
        make_recorder: makes the recorder of an episode by its number; None: the episode is not recorded.
        on_episode: called with the result of each episode as it ends, one at a time.

    Raises:
        UsageError: the env has no tasks of its own, or a number is out of range.
        EnvError: an env failed; the message names the episode.
        ModelError: the model failed.
        RunStopped: Ctrl-C, once all envs are closed.
    """
    config = config or BatchConfig()
    numbers = list(range(episodes)) if isinstance(episodes, int) else list(episodes)
    if not numbers or config.num_envs < 1:
        raise UsageError(f"expected at least 1 episode and 1 env, got {len(numbers)} and {config.num_envs}")
    start, num_seats = time.perf_counter(), min(config.num_envs, len(numbers))
    meeting = Meeting(num_seats)
    batch = _Batch(
        make_env=make_env,
        make_policy=make_policy,
        make_recorder=make_recorder,
        on_episode=on_episode,
        meeting=meeting,
        waiting=iter(numbers),
        seed=seed,
        config=dataclasses.replace(config, guards=dataclasses.replace(config.guards, stop=meeting.is_stopped)),
    )
    calls = batch.run([Seat(meeting, model) for _ in range(num_seats)], model)
    return BatchResult(
        episodes=tuple(batch.results[number] for number in numbers),
        calls=tuple(calls),
        seconds=time.perf_counter() - start,
        problems=tuple(batch.problems),
    )


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """What the threads of :func:`roll_out` share, and the results of their episodes."""

    make_env: Callable[[], Env]
    make_policy: MakePolicy
    make_recorder: Callable[[int], Recorder | None]
    on_episode: Callable[[EpisodeResult], object]
    meeting: Meeting
    # Numbers of the episodes that no thread has taken yet.
    waiting: Iterator[int]
    seed: int
    config: BatchConfig
    # Held by the env that acts.
    turn: threading.Lock = field(default_factory=threading.Lock)
    results: dict[int, EpisodeResult] = field(default_factory=dict)
    failures: dict[int, BaseException] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def run(self, seats: Sequence[Seat], model: PointingModel) -> list[tuple[int, float]]:
        """Run a thread per seat and answer their questions; return the calls of the model.

        Raises:
            RunStopped: Ctrl-C.
            MolmoAgentError: the model or an env failed.
        """
        threads = [threading.Thread(target=self.play, args=(seat,), name=f"env-{i}") for i, seat in enumerate(seats)]
        calls: list[tuple[int, float]] = []
        try:
            for thread in threads:
                thread.start()
            while questions := self.meeting.questions():
                answers, round_calls = answer_questions(model, questions)
                calls += round_calls
                self.meeting.answer(answers)
        except KeyboardInterrupt as interrupt:
            raise RunStopped(f"stopped by the user (Ctrl-C) after {len(self.results)} episodes") from interrupt
        finally:
            self.meeting.stop()
            for thread in threads:
                if thread.ident is not None:
                    thread.join()
        if self.failures:
            number = min(self.failures)
            error = self.failures[number]
            if isinstance(error, MolmoAgentError):
                error.args = (f"episode {number}: {error}",)
            raise error
        return calls

    def play(self, seat: Seat) -> None:
        """Run episodes in one env until none is left; an error ends the whole batch."""
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
            pass  # the thread that stopped the run reports why
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
            _NonRaisingPolicy(self.make_policy(env, seat)),
            env,
            guards=self.config.guards,
            recorder=self.make_recorder(number),
            settle=self.config.settle,
            seed=seed,
            options=self.config.options,
        )
        for _ in episode:
            pass
        with self.meeting.lock:
            self.results[number] = _result(number, seed, episode.trajectory, seat.statuses)
            if episode.record_problem:
                self.problems.append(f"episode {number}: {episode.record_problem}")
            self.on_episode(self.results[number])


def _one_by_one(waiting: Iterator[int], meeting: Meeting) -> Iterator[int]:
    """Take the next episode that no thread has, until none is left or the run is stopped."""
    while not meeting.is_stopped():
        with meeting.lock:
            number = next(waiting, None)
        if number is None:
            return
        yield number


def _result(number: int, seed: int, trajectory: Trajectory, statuses: Counter[str]) -> EpisodeResult:
    steps = trajectory.steps
    # The last step is the claim to have finished, which has no measurements.
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


class _NonRaisingPolicy:
    """Wraps a policy: an instruction that it cannot follow ends the episode, not the whole batch."""

    def __init__(self, policy: Policy) -> None:
        self.name, self.traits, self._policy = policy.name, policy_traits(policy), policy

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        try:
            return self._policy.act(task, observation, history)
        except UsageError as error:
            return Decision(action=Done(False, f"cannot follow the instruction: {error}"))
