"""Whether an action may be sent: asked after the model, after a person, before and between inputs, always here.

Everything that takes time may make an answer stale: a model that thinks, a person who is asked, a long text. After each
of them the kill switch and the time limit count again, the screen is compared with the one that was seen and shown, and
the regions are checked for where the input would go now.
"""

import dataclasses
import time
from collections.abc import Sequence

from molmo_agent.actions import Action, Done
from molmo_agent.episode import Decision, Observation, Refusal, RefusalKind, Step
from molmo_agent.errors import ActionRefused, ScreenChanged
from molmo_agent.geometry import Stroke
from molmo_agent.interfaces import Env, Interruptible, KnowsNames
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.regions import clicked_field, strokes_now, typed_on
from molmo_agent.rollout.screen_changes import ScreenWatch
from molmo_agent.rollout.screen_check import ScreenCheck


class NotSent(ActionRefused):
    """An action that was cleared and is not sent for another reason, such as a time limit that passed since."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        super().__init__(refusal.text)


class OutOfTime(Exception):
    """The time limit was reached in the middle of an action."""


class Clearance:
    """Clears the actions of one episode.

    Args:
        env: where they are executed.
        guards: limits, regions and questions.
        watch: captures the env's screen.
        history: the steps of the episode; the caller appends to it.
    """

    def __init__(self, env: Env, guards: Guards, watch: ScreenWatch, history: Sequence[Step]) -> None:
        self._env, self._steps, self._ask = env, history, guards.ask
        self._guards = dataclasses.replace(guards, ask=self._ask_person) if guards.ask else guards
        self._deadline = time.monotonic() + guards.max_seconds
        self.check = ScreenCheck(env, watch)
        # What the present decision was made on.
        self._seen: Observation | None = None
        # Whether a person was asked about the present decision, and whether its place was known then.
        self._asked = self._has_place = False
        if isinstance(env, Interruptible):
            env.between_inputs = self.between_inputs

    def end(self) -> None:
        """Let the env act without this episode's limits again."""
        if isinstance(self._env, Interruptible):
            self._env.between_inputs = go_on

    @property
    def _history(self) -> Sequence[Step]:
        return (*self._guards.before, *self._steps)

    # --- The limits -----------------------------------------------------------------------------------------------

    def is_late(self) -> bool:
        """Return whether the time limit is reached; the time of a question counts."""
        return self.remaining_s() <= 0

    def remaining_s(self) -> float:
        """Return for how many seconds the episode may go on."""
        return max(0.0, self._deadline - time.monotonic())

    def check_limits(self) -> None:
        """Check before an input that the episode may go on.

        Raises:
            RunStopped: the kill switch is on.
            NotSent: the time is over.
        """
        self._guards.check_stop()
        if self.is_late():
            text = f"the limit of {self._guards.max_seconds:g} seconds was reached before the input was sent"
            raise NotSent(Refusal("deadline", text))

    def between_inputs(self, holding: bool = False) -> None:
        """Check in the middle of an action that it may go on.

        Args:
            holding: whether a button is down. Then the time limit waits until it is released: a drag that ends anywhere
                does more harm than one that ends late.

        Raises:
            RunStopped: the kill switch is on.
            OutOfTime: the time is over.
        """
        self._guards.check_stop()
        if not holding and self.is_late():
            raise OutOfTime(f"the limit of {self._guards.max_seconds:g} seconds is reached")

    # --- The decision ---------------------------------------------------------------------------------------------

    def refusal(self, decision: Decision, seen: Observation, shown: Observation, instruction: str) -> Refusal | None:
        """Return why an action is not sent. What needs no person comes first.

        Args:
            decision: the action, and what it is based on.
            seen: the env's own observation; it is only compared, because it may show a secret.
            shown: the same, covered: what the model saw and a person is shown.
            instruction: the whole instruction.

        Raises:
            RunStopped: the kill switch is on.
        """
        action, self._asked, self._seen = decision.action, False, seen
        try:
            self.check_limits()
            if type(action) not in self._env.capabilities and not isinstance(action, Done):
                able = ", ".join(sorted(cls.__name__ for cls in self._env.capabilities))
                text = f"the env {self._env.name!r} cannot execute {type(action).__name__}; it executes: {able}"
                return Refusal("unsupported", text)
            try:
                self._guards.secrets.reveal(action)
            except ActionRefused as error:
                return Refusal("secret", str(error))
            strokes = self._strokes(action, seen)
            self._has_place = strokes is not None
            names = self._env.elements_at if isinstance(self._env, KnowsNames) else None
            return self._guards.refusal(decision, shown, instruction, self._history, strokes=strokes, names=names)
        except ActionRefused as error:
            return self.as_refusal(error)

    def as_refusal(self, error: ActionRefused) -> Refusal:
        """Return the refusal that an error stands for."""
        if isinstance(error, NotSent):
            return error.refusal
        kind: RefusalKind = "changed" if isinstance(error, ScreenChanged) else "env"
        return Refusal(kind, self._guards.secrets.scrub(str(error)))

    def last_look(self, action: Action, seen: Observation) -> Observation:
        """Return the newest capture if an action still meets what was seen and shown, and may still be sent.

        Raises:
            ActionRefused: it does not, or may not.
            RunStopped: the kill switch is on.
        """
        now = self._env.observe()
        self.check.confirm_typed(action, typed_on(self._history), seen, now)
        field = clicked_field(seen, self._history)
        now = self.check.confirm(action, seen, now, asked=self._asked, field=field)
        self.check_limits()
        if self._guards.has_regions:
            strokes = self._strokes(action, now)
            if strokes is None and self._has_place:
                raise ScreenChanged("the focus or the pointer went elsewhere: where the input goes is no longer known")
            if refusal := self._guards.beyond_regions(strokes):
                raise NotSent(refusal)
        return now

    def _strokes(self, action: Action, now: Observation) -> list[Stroke] | None:
        return strokes_now(action, self._env, now, self._history) if self._guards.has_regions else None

    def _ask_person(self, decision: Decision, observation: Observation, why: str) -> bool:
        """Ask about a screen that is still there; the answer counts for it alone, and within the limits."""
        assert self._ask is not None
        assert self._seen is not None
        self.last_look(decision.action, self._seen)
        self._asked = True
        answer = self._ask(decision, observation, why)
        self.check_limits()
        return answer


def go_on(holding: bool = False) -> None:
    """Let an action go on."""
