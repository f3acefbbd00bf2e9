"""One desktop, phone or simulated screen in the hands of another program: words or a place in, a checked action out.

What `agent run` does for the steps of a task is done here for one request at a time: the pointing policy finds the
target and verifies the effect, and the guards and the last look before an input are those of every episode. Adapters
(:mod:`molmo_agent.serve.mcp`, :mod:`molmo_agent.serve.hosts`) translate names and coordinates, and decide nothing.
"""

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from molmo_agent.actions import Action, Button, Direction, Done, Key, Scroll, Type, describe, points_of
from molmo_agent.episode import Observation, PointResult, Step, Task
from molmo_agent.errors import ActionRefused, RunStopped, UsageError
from molmo_agent.geometry import Point
from molmo_agent.interfaces import Env, KnowsPlaces, PointingModel, Policy, env_traits, model_traits, policy_traits
from molmo_agent.ocr.reader import LazyReader
from molmo_agent.pointers.careful import careful
from molmo_agent.policies.instructions.substep import Gesture, SubStep
from molmo_agent.registry import load_policy
from molmo_agent.rollout.cover import SecretCover
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import Rollout, with_defaults
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.screen_text import Line, TextReader
from molmo_agent.serve.given import GivenAction
from molmo_agent.serve.keys import read_keys
from molmo_agent.serve.outcome import Outcome, candidates_of, outcome_of, was_sent

# Decisions of one request: waits and second looks count.
_MAX_DECISIONS = 40
# How long one request may act, in seconds. Waiting for a target has a limit of its own.
_REQUEST_S = 120.0
# Steps of earlier requests that tell where the focus is and what was typed; each holds a screenshot.
_BEFORE = 8
# Between two looks at a screen that is waited for, in seconds.
_LOOK_S = 0.4
_CLICKS: dict[tuple[str, int], Gesture] = {
    ("left", 1): "click",
    ("left", 2): "double_click",
    ("left", 3): "triple_click",
    ("right", 1): "right_click",
    ("middle", 1): "middle_click",
}


class Session:
    """Requests of one program to one env. One request at a time; a second one meanwhile is refused.

    The caller owns the env: :meth:`close` closes it. All requests must come from one thread where the env needs that.

    Args:
        env: where the actions happen; it is reset at the first request.
        model: points at targets that are given in words; it needs none where all requests name places.
        guards: regions, confirmation, secrets, kill switch. ``max_steps`` limits the requests that act, ``max_seconds``
            the time since the first request.
        record: new folder for the trajectory of each request; None: nothing is written.
        claim: takes the device before the first request, and returns who has it otherwise.
        seed: of the env's reset.
        options: of the env's reset.
    """

    def __init__(
        self,
        env: Env,
        model: PointingModel,
        *,
        guards: Guards | None = None,
        record: Path | None = None,
        claim: Callable[[], str] = str,
        seed: int | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.env, self.guards = env, guards or Guards()
        self._model = careful(model, self.guards.min_confidence)
        self._reader: TextReader = self.guards.reader or model_traits(model).reader or LazyReader()
        self._plan: Sequence[SubStep] = ()
        self._policy = load_policy(
            "pointing", model, env, min_confidence=self.guards.min_confidence, splitter=lambda words: self._plan
        )
        self._record, self._claim = record, claim
        self._seed, self._options = seed, options
        self._cover = SecretCover(self.guards.secrets)
        self._turn = threading.Lock()
        # Cancels the present request; callers replace it for each of theirs.
        self.cancelled = threading.Event()
        self._began: float | None = None
        self._num_requests = 0
        self._before: tuple[Step, ...] = ()
        # What the other program saw last of the screen, and the pointer's place as far as it is known.
        self._seen: Observation | None = None
        self._pointer: Point | None = None
        self._ended = ""

    # --- Looking --------------------------------------------------------------------------------------------------

    def screenshot(self) -> Observation:
        """Return the screen as others may see it, secrets covered. It is what :meth:`act` is checked against.

        Raises:
            ActionRefused: another request is running, or the session is over.
            EnvError: the screen cannot be captured.
        """
        with self._request():
            return self._look()

    def point(self, target: str) -> tuple[PointResult, tuple[int, int]]:
        """Point at something without acting; return the answer, and (width, height) of the screen in pixels.

        Raises:
            ActionRefused: another request is running, or the session is over.
            ModelError: the model failed.
            UsageError: there are no words.
        """
        words = _words("target", target)
        with self._request():
            seen = self._look()
            result = self.guards.secrets.scrub(self._model.point(seen.image, words))
            return result, seen.size

    def read_text(self) -> tuple[Sequence[Line], tuple[int, int]]:
        """Return the lines of text on the screen, from top to bottom, and (width, height) of it in pixels.

        Raises:
            ActionRefused: another request is running, or the session is over.
            ModelError: the text reader failed.
        """
        with self._request():
            seen = self._look()
            return self.guards.secrets.scrub(list(self._reader.read(seen.image))), seen.size

    def wait_for(self, target: str, *, timeout_s: float = 10.0, gone: bool = False) -> Outcome:
        """Wait until something is on the screen, or is there no longer.

        Args:
            target: in words.
            timeout_s: how long to wait at most, in seconds.
            gone: wait until it is not there.

        Raises:
            ModelError: the model failed.
            UsageError: there are no words, or the time is negative.
        """
        words = _words("target", target)
        if not 0 <= timeout_s <= _REQUEST_S:
            raise UsageError(f"expected timeout_s between 0 and {_REQUEST_S:g} seconds, got {timeout_s}")
        try:
            with self._request():
                return self._await(words, timeout_s, gone)
        except ActionRefused as error:
            return _refused(error)

    def _await(self, words: str, timeout_s: float, gone: bool) -> Outcome:
        end, last, result = time.monotonic() + timeout_s, None, None
        while True:
            seen = self._look()
            if last is None or not np.array_equal(last.image, seen.image):
                last, result = seen, self.guards.secrets.scrub(self._model.point(seen.image, words))
            assert result is not None
            threshold = model_traits(self._model).min_confidence
            sure = result.status == "ok" and (result.confidence is None or result.confidence >= (threshold or 0))
            if (result.status == "none") if gone else sure:
                text = f"{words!r} is {'no longer' if gone else 'now'} on the screen"
                return Outcome(result="verified", message=text, candidates=candidates_of(result), size=seen.size)
            self._check_stop()
            if time.monotonic() >= end or not env_traits(self.env).live:
                still = "still on the screen" if gone else "not on the screen"
                text = f"{words!r} is {still}, as far as the model sees, after {timeout_s:g} s"
                return Outcome(result="not_found", message=text, candidates=candidates_of(result), size=seen.size)
            time.sleep(min(_LOOK_S, max(0.0, end - time.monotonic())))

    # --- Acting on words ------------------------------------------------------------------------------------------

    def click_on(self, target: str, *, button: Button = "left", count: int = 1, held: Sequence[str] = ()) -> Outcome:
        """Click on something that is given in words.

        Raises:
            UsageError: there are no words, no such click, or no such key to hold.
        """
        words = _words("target", target)
        if (button, count) not in _CLICKS:
            raise UsageError(f"expected one click, or two or three with the left button, got {count} with {button}")
        gesture = _CLICKS[button, count]
        text = f"{gesture.replace('_', '-')} {words}"
        keys = tuple(key for name in held for key in read_keys(name))
        return self._carry_out(SubStep(text=text, gesture=gesture, targets=(words,), held=keys))

    def type_into(self, target: str, text: str, *, replace: bool = True, press_enter: bool = False) -> Outcome:
        """Click into a field, type a text, and press Enter where that is asked for.

        Args:
            target: the field in words.
            text: what to type; ``{{NAME}}`` stands for a secret that the session may type.
            replace: the text replaces what the field holds.
            press_enter: press Enter afterwards, if the text has arrived.

        Raises:
            UsageError: there are no words.
        """
        words = _words("target", target)
        said = f'type "{text}" into {words}'
        steps = [
            SubStep(text=said, gesture="click", targets=(words,)),
            SubStep(text=said, gesture="type", value=text, replace=replace),
        ]
        if press_enter:
            steps.append(SubStep(text="press Enter", gesture="key", value="enter"))
        return self._carry_out(*steps)

    def scroll(self, direction: Direction, *, notches: int = 3, target: str | None = None) -> Outcome:
        """Scroll the view over something that is given in words, or over what the pointer is on."""
        targets = () if target is None else (_words("target", target),)
        where = f" over {targets[0]}" if targets else ""
        step = SubStep(
            text=f"scroll {direction}{where}", gesture="scroll", targets=targets, direction=direction, amount=notches
        )
        return self._carry_out(step)

    def drag(self, source: str, target: str) -> Outcome:
        """Drag from one thing to another, both given in words."""
        ends = (_words("source", source), _words("target", target))
        return self._carry_out(SubStep(text=f"drag {ends[0]} to {ends[1]}", gesture="drag", targets=ends))

    def press_keys(self, keys: str) -> Outcome:
        """Press a key or a chord, such as ``ctrl+s``.

        Raises:
            UsageError: there is no such key.
        """
        chord = read_keys(keys)
        return self._carry_out(SubStep(text=f"press {'+'.join(chord)}", gesture="key", value=" ".join(chord)))

    def _carry_out(self, *steps: SubStep) -> Outcome:
        try:
            with self._request():
                self._plan = steps
                said = ", then ".join(dict.fromkeys(step.text for step in steps))
                return self._roll(self._policy, said, self._observe())
        except ActionRefused as error:
            return _refused(error)

    # --- Acting at places -----------------------------------------------------------------------------------------

    def act(self, action: Action, words: str = "") -> Outcome:
        """Do one action whose place the caller has chosen on the last screenshot.

        If its target has changed since that screenshot, or since the last action if that was later, nothing is sent.

        Args:
            action: what to do, with normalized points of the screen.
            words: what it is for, as far as the caller knows.
        """
        try:
            with self._request():
                policy = GivenAction(action, words, reader=self._text_reader(), before=self._before)
                said = words.strip() or describe(action)
                return self._roll(policy, said, self._seen or self._observe())
        except ActionRefused as error:
            return _refused(error)

    @property
    def pointer(self) -> Point | None:
        """Where the pointer is; None where that is not known."""
        strokes = self.env.strokes(Scroll("down")) if isinstance(self.env, KnowsPlaces) and self._began else None
        return strokes[0][0] if strokes else self._pointer

    @property
    def seen(self) -> Observation | None:
        """The screen that the next :meth:`act` is checked against; None: the present one."""
        return self._seen

    def _text_reader(self) -> TextReader | None:
        return self._reader if env_traits(self.env).live else None

    # --- One request ----------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _request(self) -> Iterator[None]:
        """Hold the session for one request.

        Raises:
            ActionRefused: another one is running, another program has the device, or the session is over.
        """
        if not self._turn.acquire(blocking=False):
            raise ActionRefused("another request is running on this screen; wait for its answer, then ask again")
        try:
            if self._ended:
                raise ActionRefused(self._ended)
            if holder := self._claim():
                raise ActionRefused(f"this screen is driven by {holder}; end that, then ask again")
            self._check_stop()
            if self._began is None:
                self.env.reset(seed=self._seed, options=self._options)
                self._began = time.monotonic()
            elif self._remaining_s() <= 0:
                raise ActionRefused(self._time_over())
            yield
        except RunStopped as stop:
            if self.cancelled.is_set():
                raise ActionRefused("the request was cancelled; keys and buttons are released") from stop
            self._ended = f"the session is over: {stop}; start it again to go on"
            raise ActionRefused(self._ended) from stop
        finally:
            self._turn.release()

    def _roll(self, policy: Policy, words: str, seen: Observation) -> Outcome:
        self._num_requests += 1
        if self._num_requests > self.guards.max_steps:
            raise ActionRefused(f"the limit of {self.guards.max_steps} actions of this session is reached")
        guards = dataclasses.replace(
            self.guards,
            max_steps=_MAX_DECISIONS,
            max_seconds=min(_REQUEST_S, max(0.01, self._remaining_s())),
            stop=self._stops,
            before=self._before,
            reader=self.guards.reader or policy_traits(policy).reader,
        )
        guards, settle = with_defaults(policy, self.env, guards, None)
        recorder = None if self._record is None else Recorder(self._record / f"{self._num_requests:04d}")
        episode = Rollout(policy, self.env, Task(words), guards, recorder, settle, None, None)
        episode.resume_from(seen, self._cover)
        # Whatever happens, what was seen before is not what is there now.
        self._seen = None
        try:
            for _ in episode:
                pass
        finally:
            self._remember(episode.trajectory.steps)
        self._seen = self._observe()
        return self.guards.secrets.scrub(outcome_of(episode.trajectory))

    def _remember(self, steps: Sequence[Step]) -> None:
        kept = [step for step in steps if not isinstance(step.action, Done)]
        self._before = (*self._before, *kept)[-_BEFORE:]
        for step in kept:
            if was_sent(step) and not isinstance(step.action, Key | Type) and (points := points_of(step.action)):
                self._pointer = points[-1]

    def _observe(self) -> Observation:
        return self.env.observe()

    def _look(self) -> Observation:
        """Capture the screen, and return it as others may see it."""
        self._seen = self._observe()
        return self._cover.show(self._seen)

    def _remaining_s(self) -> float:
        spent = 0.0 if self._began is None else time.monotonic() - self._began
        return self.guards.max_seconds - spent

    def _time_over(self) -> str:
        return f"the limit of {self.guards.max_seconds:g} seconds of this session is reached; start it again to go on"

    def _stops(self) -> bool:
        return self.cancelled.is_set() or (self.guards.stop is not None and self.guards.stop())

    def _check_stop(self) -> None:
        if self._stops():
            raise RunStopped("stopped by the kill switch")

    def close(self) -> None:
        """Close the env; later requests are refused."""
        self._ended = self._ended or "the session is closed"
        self.env.close()


def _words(name: str, text: str) -> str:
    words = " ".join(text.split())
    if not words:
        raise UsageError(f"expected {name} in words, such as 'the Save button', got an empty text")
    return words


def _refused(error: ActionRefused) -> Outcome:
    return Outcome(result="refused", message=str(error))
