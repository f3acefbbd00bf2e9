"""The loop: observe, decide, guard, hover, act, settle, compare, record. The sole owner of an episode's history.

``for step in rollout(policy, env, "click Save"): ...`` yields every step as it happens; afterwards the same object
holds the ``trajectory``. An action that a guard, the env or a missing secret refuses is not sent: it becomes a step
with ``refused`` set, and the policy sees it in its history. A record that cannot be written does not change the
episode: ``record_problem`` names the cause.
"""

import dataclasses
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

from molmo_agent.actions import (
    Action,
    Click,
    Done,
    Drag,
    LongPress,
    Move,
    Type,
    Wait,
    describe,
    points_of,
)
from molmo_agent.episode import Decision, Effect, Observation, Step, Task, Trajectory
from molmo_agent.errors import ActionRefused, MolmoAgentError, RunStopped, UsageError
from molmo_agent.geometry import Point
from molmo_agent.interfaces import Env, Policy, env_traits, policy_traits
from molmo_agent.interrupts import TimeLimitPassed, interrupts_first
from molmo_agent.rollout.clearance import Clearance, OutOfTime
from molmo_agent.rollout.cover import SecretCover
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.repeats import stuck
from molmo_agent.rollout.screen_changes import AT_ONCE, ScreenWatch, Settle
from molmo_agent.rollout.secrets import types_secret

_Outcome = tuple[Observation, float, bool, bool, dict[str, Any]]


def _stopped_by(interrupt: KeyboardInterrupt) -> str:
    """Return what stopped the run: Ctrl-C, or the signal that the interrupt names."""
    return f"stopped by the user ({str(interrupt) or 'Ctrl-C'})"


class Rollout(Iterator[Step]):
    """One episode in progress: iterate over its steps, then read its ``trajectory``. Made by :func:`rollout`."""

    def __init__(
        self,
        policy: Policy,
        env: Env,
        task: Task | str | None,
        guards: Guards,
        recorder: Recorder | None,
        settle: Settle,
        seed: int | None,
        options: dict[str, Any] | None,
    ) -> None:
        self._policy, self._env, self._recorder = policy, env, recorder
        self._guards = guards
        self._settle, self._secrets, self._dry_run = settle, guards.secrets, guards.dry_run
        self._cover = SecretCover(guards.secrets)
        self._seed, self._options = seed, options
        # Of an episode that continues with the screen as it is: what was seen of it.
        self._resumed: Observation | None = None
        self._hovers = env_traits(env).live and Move in env.capabilities and settle.hover_s > 0
        self._caller_task = Task(task) if isinstance(task, str) else task
        self._task = self._caller_task or Task("")
        self._steps: list[Step] = []
        self._success: bool | None = None
        # Whether the task is the env's own: its verdict is not about any other instruction.
        self._is_env_task = False
        self._end_reason = ""
        self._last: Observation | None = None
        self._watch = ScreenWatch(env.observe, settle)
        # Its time begins with the episode.
        self._clearance: Clearance | None = None
        self._generator = self._run()

    def __iter__(self) -> "Rollout":
        return self

    def __next__(self) -> Step:
        return next(self._generator)

    def close(self) -> None:
        """End the episode early; the record is kept. The env stays open."""
        self._generator.close()

    def stop(self, interrupt: KeyboardInterrupt | None = None) -> None:
        """End the episode as Ctrl-C does, for an interrupt in the caller's code.

        Args:
            interrupt: what the caller caught; it may name a signal.

        Raises:
            RunStopped: once the env is closed and the record finished; not at the time limit, where episodes just end.
        """
        try:
            self._generator.throw(interrupt or KeyboardInterrupt())
        except (StopIteration, TimeLimitPassed):
            # At its time limit an episode ends as it does by itself.
            return
        except KeyboardInterrupt as unheeded:
            # The episode had not started, or was about to end.
            self._close_env()
            raise RunStopped(_stopped_by(unheeded)) from unheeded

    def resume_from(self, seen: Observation, cover: SecretCover) -> None:
        """Begin with the screen as it is: the env is neither reset nor closed, and its own end ends nothing.

        For callers who run several tasks in one env, before the first step. ``guards.before`` holds their last steps.

        Args:
            seen: what the first decision is based on. An action whose target has changed since is refused.
            cover: covers the secrets that earlier tasks typed, too.
        """
        self._resumed, self._cover = seen, cover

    @property
    def trajectory(self) -> Trajectory:
        """The steps up to now."""
        return Trajectory(self._task, tuple(self._steps), self._success, self._end_reason)

    @property
    def record_problem(self) -> str:
        """Why the record is not complete; empty if it is."""
        return "" if self._recorder is None else self._recorder.problem

    def _run(self) -> Generator[Step, None, None]:
        crash: BaseException | None = None
        try:
            with interrupts_first():
                yield from self._episode()
        except TimeLimitPassed:
            self._end_reason = self._limit_reached()
        except KeyboardInterrupt as interrupt:
            self._end_reason = _stopped_by(interrupt)
            self._close_env()
            raise RunStopped(self._end_reason) from interrupt
        except RunStopped as stop:
            self._secrets.scrub_error(stop)
            self._end_reason = str(stop) or "stopped by the user"
            self._close_env()
            raise
        except GeneratorExit:
            self._end_reason = "left by the caller before its end"
            raise
        except MolmoAgentError as error:
            # A printed error must not contain a secret.
            self._secrets.scrub_error(error)
            self._end_reason = f"{type(error).__name__}: {error}"
            raise
        except BaseException as error:
            self._end_reason = f"crashed with {type(error).__name__}: {self._secrets.scrub(str(error))}"
            crash = self._secrets.scrub_error(error)
            if crash is error:
                raise
        finally:
            if self._clearance is not None:
                self._clearance.end()
            if self._recorder is not None:
                self._recorder.finish(self._last, success=self._success, ended=self._end_reason)
        if crash is not None:
            # Raised here, where the exception that cannot be scrubbed is not its context.
            raise crash

    def _episode(self) -> Generator[Step, None, None]:
        clearance = self._clearance = Clearance(self._env, self._guards, self._watch, self._steps)
        if self._resumed is None:
            self._last, info = self._env.reset(seed=self._seed, options=self._options)
        else:
            self._last, info = self._resumed, {}
        self._task = self._caller_task or Task(str(info.get("instruction", "")))
        if not self._task.instruction.strip():
            raise UsageError(f"the env {self._env.name!r} has no task of its own: pass one with task=")
        self._is_env_task = self._caller_task is None or self._caller_task.instruction == info.get("instruction")
        self._learn_success(info)
        self._secrets.require(self._task.instruction)
        if self._recorder is not None:
            self._recorder.start(self._describe_run(), self._secrets.scrub)
        while not self._end_reason:
            self._guards.check_stop()
            if len(self._steps) >= self._guards.max_steps:
                self._end_reason = f"the limit of {self._guards.max_steps} steps is reached"
            elif clearance.is_late():
                self._end_reason = self._limit_reached()
            else:
                try:
                    step, self._last = self._step(self._last, clearance)
                except OutOfTime as cut:
                    self._end_reason = str(cut)
                    return
                self._end_reason = self._why_over(step)
                yield step

    def _close_env(self) -> None:
        """Close the env of a run that was stopped; one that was started by the caller stays open."""
        if self._resumed is None:
            self._env.close()

    def _step(self, observation: Observation, clearance: Clearance) -> tuple[Step, Observation]:
        """Make one step; return it with the newest observation."""
        times: dict[str, float] = {}
        mark = time.perf_counter()

        def lap(part: str) -> None:
            nonlocal mark
            now, wait_s = time.perf_counter(), self._watch.take_wait_s()
            times[part] = times.get(part, 0.0) + now - mark - wait_s
            if wait_s:
                times["wait"] = times.get("wait", 0.0) + wait_s
            mark = now

        index = len(self._steps)
        clearance.check.look()
        # The env's own image is for comparisons only: it may show a secret.
        shown = self._cover.show(observation)
        if self._recorder is not None:
            self._recorder.observe(index, shown)
        lap("record")
        decision = self._secrets.scrub(self._policy.act(self._task, shown, tuple(self._steps)))
        lap("policy")
        refused = clearance.refusal(decision, observation, shown, self._task.instruction)
        lap("guard")

        step = Step(index=index, observation=shown, decision=decision, refused=refused, dry_run=self._dry_run)
        # `Done` is a claim, not an input: only an env that scores it receives it, and only about its own episode.
        is_scored = Done in self._env.capabilities and self._resumed is None
        silent = isinstance(decision.action, Done) and not is_scored
        newest = None
        if not (refused or self._dry_run or silent):
            try:
                step, newest = self._send(step, observation, clearance, lap)
            except ActionRefused as error:
                step = dataclasses.replace(step, refused=clearance.as_refusal(error))
                lap("act")
            except BaseException as error:
                # A part of it may have been sent, so the step is recorded.
                lap("act")
                failure = {"error": self._secrets.scrub(f"{type(error).__name__}: {error}")}
                self._record(dataclasses.replace(step, info=failure, times_s=times))
                raise
        if newest is None:
            # A person may have changed a live screen meanwhile; the next decision needs the current one.
            newest = observation if silent else self._env.observe()
            if step.refused and step.refused.kind == "changed":
                newest = self._watch.settle(newest.image, newest, reacts=False)
            lap("capture")
        # The dictionary is shared on purpose: the time that recording takes is added afterwards.
        step = dataclasses.replace(step, times_s=times)
        self._record(step)
        lap("record")
        return step, newest

    def _send(
        self, step: Step, seen: Observation, clearance: Clearance, lap: Callable[[str], None]
    ) -> tuple[Step, Observation]:
        """Send the action of a step, unless the screen changed; return the step with its effect, and the newest screen.

        Raises:
            ActionRefused: it was not sent.
        """
        action = step.action
        # Captured again, because models take seconds: changes in that time are not an effect of the action.
        before = clearance.last_look(action, seen)
        self._watch.idle(seen.image, before.image)
        window = clearance.check.window_at(action, seen)
        lap("capture")
        # Before the first letter: an env that fails halfway has typed a part of it.
        self._cover.before(action, before.image)
        if self._recorder is not None and types_secret(action):
            self._recorder.cover_changes_since(before.image)
        before, outcome = self._act(action, seen, before, clearance)
        lap("act")
        newest, reward, terminated, truncated, info = outcome
        if not (terminated or truncated):
            newest = self._watch.settle(before.image, newest, reacts=not isinstance(action, Wait))
        lap("settle")
        effect: Effect
        points, is_text = self._place(step.decision)
        effect, newest = self._watch.effect(points, before.image, newest, is_text=is_text)
        self._learn_success(info)
        lap("compare")
        step = dataclasses.replace(
            step,
            effect=effect,
            reward=float(reward),
            terminated=bool(terminated),
            truncated=bool(truncated),
            info=self._secrets.scrub({**info, **({} if window is None else {"window": window})}),
        )
        return step, newest

    def _act(
        self, action: Action, seen: Observation, before: Observation, clearance: Clearance
    ) -> tuple[Observation, _Outcome]:
        """Execute an action; return the screen just before it, and what the env returned.

        Where there is a pointer, it is moved there first: a highlight under it is not an effect of the click.
        """
        reward = 0.0
        if self._hovers and isinstance(action, Click | LongPress | Drag):
            first, reward, terminated, truncated, info = self._env.step(Move(points_of(action)[0]))
            if terminated or truncated:
                return before, (first, reward, terminated, truncated, info)
            before = self._watch.hover(before.image, first)
            clearance.check_limits()
            clearance.check.confirm_windows(points_of(action), seen)
        if isinstance(action, Wait):
            # The run ends before that.
            action = Wait(min(action.duration_s, clearance.remaining_s()))
        newest, last_reward, terminated, truncated, info = self._env.step(self._secrets.reveal(action))
        return before, (newest, reward + last_reward, terminated, truncated, info)

    def _place(self, decision: Decision) -> tuple[tuple[Point, ...], bool]:
        """Return the points where an action is expected to change the screen, and whether text is to appear there.

        Text appears in the field that was clicked for the same part of the instruction, and a policy that waits for the
        effect of a step looks there.
        """
        is_text = isinstance(decision.action, Type)
        if isinstance(decision.action, Type | Wait) and decision.instruction:
            for step in reversed(self._steps):
                if step.decision.instruction != decision.instruction:
                    break
                if points := points_of(step.action):
                    return points, is_text
                is_text = is_text or isinstance(step.action, Type)
        return points_of(decision.action), is_text

    def _record(self, step: Step) -> None:
        self._steps.append(step)
        if self._recorder is not None:
            self._recorder.write(step)

    def _learn_success(self, info: dict[str, Any]) -> None:
        if self._is_env_task and (verdict := info.get("is_success")) is not None:
            self._success = bool(verdict)

    def _limit_reached(self) -> str:
        return f"the limit of {self._guards.max_seconds:g} seconds is reached"

    def _why_over(self, step: Step) -> str:
        if isinstance(step.action, Done):
            return f"the policy says: {describe(step.action)}"
        if self._resumed is None and (step.terminated or step.truncated):
            return "the env ended the episode" + (" at its own limit" if step.truncated and not step.terminated else "")
        return stuck(self._steps)

    def _describe_run(self) -> dict[str, Any]:
        guards = {
            field.name: getattr(self._guards, field.name)
            for field in dataclasses.fields(self._guards)
            if field.name not in ("ask", "stop", "secrets", "dry_run", "reader", "before")
        }
        return {
            "task": {"instruction": self._task.instruction, "data": self._task.data},
            "env": self._env.name,
            "policy": self._policy.name,
            "seed": self._seed,
            "options": self._options or {},
            "dry_run": self._dry_run,
            "guards": guards,
        }


def rollout(
    policy: Policy,
    env: Env,
    task: Task | str | None = None,
    *,
    guards: Guards | None = None,
    recorder: Recorder | None = None,
    settle: Settle | None = None,
    seed: int | None = None,
    options: dict[str, Any] | None = None,
) -> Rollout:
    """Roll out a policy in an env, one step per iteration.

    The env is reset when the first step is asked for. It is closed here only when the user stops the run; otherwise it
    stays open and belongs to the caller.

    Args:
        policy: decides the actions.
        env: executes them.
        task: what to do; None: the env's own task. The env's verdict counts only for its own task.
        guards: limits, regions, confirmation, secrets, dry run and kill switch. Where they leave ``min_confidence``
            open, the policy's threshold counts; 0 accepts every point.
        recorder: writes the trajectory folder.
        settle: how to wait for the screen; None: until it is still if the env's traits say that it is ``live``, else
            :data:`molmo_agent.rollout.screen_changes.AT_ONCE`.
        seed: passed to ``env.reset``.
        options: passed to ``env.reset``.

    Raises:
        UsageError: there is no task, or it asks for a secret that is not allowed.
        RunStopped: the user stopped the run; the env is closed.
        MolmoAgentError: the env or the model failed; the trajectory until then is kept.
    """
    guards, settle = with_defaults(policy, env, guards, settle)
    return Rollout(policy, env, task, guards, recorder, settle, seed, options)


def with_defaults(policy: Policy, env: Env, guards: Guards | None, settle: Settle | None) -> tuple[Guards, Settle]:
    """Return guards and waits as they count for a policy and an env: what is open is what their traits say."""
    guards, traits = guards or Guards(), policy_traits(policy)
    if guards.min_confidence is None:
        guards = dataclasses.replace(guards, min_confidence=traits.min_confidence)
    if guards.reader is None:
        guards = dataclasses.replace(guards, reader=traits.reader)
    if settle is None:
        settle = Settle() if env_traits(env).live else AT_ONCE
    return guards, settle
