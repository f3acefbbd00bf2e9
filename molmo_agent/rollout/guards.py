"""The last checks before any input is sent: limits, regions, confirmation, a kill switch.

A guard never changes an action. It allows it, refuses it with a reason, or ends the run.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from molmo_agent.actions import Action, Done, PointAt, Wait, describe, points_of
from molmo_agent.episode import Decision, Observation, Refusal, Step
from molmo_agent.errors import RunStopped, UsageError
from molmo_agent.geometry import Box
from molmo_agent.ocr.reader import LazyReader
from molmo_agent.risk.judge import known_danger, why_ask
from molmo_agent.rollout.secrets import Secrets, types_secret
from molmo_agent.screen_text import TextReader

Confirm = Literal["always", "risky", "never"]

Ask = Callable[[Decision, Observation, str], bool]
"""Asks a person whether to execute a decision, given the observation and the reason for asking."""


def sends_input(action: Action) -> bool:
    """Return whether an action reaches the device: all but waiting, ending and pointing at nothing."""
    return not isinstance(action, Wait | Done) and action != PointAt(())


def risk(
    decision: Decision,
    instruction: str = "",
    observation: Observation | None = None,
    reader: TextReader | None = None,
    history: Sequence[Step] = (),
) -> str:
    """Return what makes a decision risky, or an empty string: see :func:`molmo_agent.risk.judge.why_ask`."""
    if types_secret(decision.action):
        return "it types a secret"
    return why_ask(decision, instruction, observation, reader, history)


@functools.cache
def _reader_of_the_package() -> TextReader:
    """Return one reader for all guards without their own: it remembers the last screens."""
    return LazyReader()


def _where(box: Box) -> str:
    return f"{box.left:g},{box.top:g},{box.right:g},{box.bottom:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """Limits of a run. Boxes are normalized boxes of the observation.

    Raises:
        UsageError: a limit is not positive, or confirmation is required without ``ask``.
    """

    max_steps: int = 30
    max_seconds: float = 600.0
    # Points must lie in one of these; empty: anywhere.
    allow: tuple[Box, ...] = ()
    # Points must lie in none of these.
    deny: tuple[Box, ...] = ()
    # When a person is asked before an input is sent.
    confirm: Confirm = "never"
    # A point with a lower confidence is sent only if a person confirms it; without `ask` it is refused.
    # None: the policy's own threshold, if it has one. 0 disables it; models without a confidence ignore it.
    min_confidence: float | None = None
    ask: Ask | None = None
    # Reads the words under and around a point for confirm="risky"; None: the policy's, else the one of the package.
    reader: TextReader | None = None
    # The values of {{NAME}} in typed text; any other secret is refused.
    secrets: Secrets = field(default_factory=Secrets)
    # Decide and check, send nothing.
    dry_run: bool = False
    # The kill switch: called before every decision and before every input; True ends the run.
    stop: Callable[[], bool] | None = None

    def __post_init__(self) -> None:
        if self.max_steps < 1:
            raise UsageError(f"max_steps must be at least 1, got {self.max_steps}")
        if not (math.isfinite(self.max_seconds) and self.max_seconds > 0):
            raise UsageError(f"max_seconds must be a number of seconds > 0, got {self.max_seconds}")
        if self.confirm not in get_args(Confirm):
            raise UsageError(f"confirm must be one of {', '.join(get_args(Confirm))}, got {self.confirm!r}")
        if self.min_confidence is not None and not 0 <= self.min_confidence <= 1:
            raise UsageError(f"min_confidence must be in [0, 1], got {self.min_confidence}")
        if self.confirm != "never" and self.ask is None:
            raise UsageError(f"confirm={self.confirm!r} needs a function that asks: pass ask=, or confirm='never'")

    def check_stop(self) -> None:
        """End the run if the kill switch is on.

        Raises:
            RunStopped: it is.
        """
        if self.stop is not None and self.stop():
            raise RunStopped("stopped by the kill switch")

    def refusal(
        self, decision: Decision, observation: Observation, instruction: str = "", history: Sequence[Step] = ()
    ) -> Refusal | None:
        """Return why an action may not be executed, or None when it may.

        The rules without interaction come first, so a person is asked only about input that would be sent.

        Args:
            decision: the action, and the part of the instruction and the answer that it is based on.
            observation: the screen that it refers to.
            instruction: the whole instruction.
            history: the steps before it.
        """
        return (
            self._doubt(decision)
            or self._outside(decision.action)
            or self._confirmation(decision, observation, instruction, history)
        )

    def _doubt(self, decision: Decision) -> Refusal | None:
        """Refuse every input that is based on an answer without a valid point."""
        result, action = decision.result, decision.action
        if result is None or result.status == "ok" or not sends_input(action):
            return None
        text = (
            f"{describe(action)} is based on an answer with the status {result.status!r}; only 'ok' becomes an action"
        )
        return Refusal("status", text)

    def _outside(self, action: Action) -> Refusal | None:
        for point in points_of(action):
            at = f"({point.x:.3f}, {point.y:.3f})"
            if self.allow and not any(box.contains(point) for box in self.allow):
                return Refusal("region", f"{at} is outside the allowed regions {' '.join(map(_where, self.allow))}")
            for box in self.deny:
                if box.contains(point):
                    return Refusal("region", f"{at} is inside the denied region {_where(box)}")
        return None

    def _low_confidence(self, decision: Decision) -> str:
        """Return the doubt as text if the model's confidence is below the threshold, else an empty string."""
        confidence = decision.result.confidence if decision.result else None
        if self.min_confidence is None or confidence is None or confidence >= self.min_confidence:
            return ""
        return f"the model's confidence is {confidence:.0%}, below the required {self.min_confidence:.0%}"

    def _confirmation(
        self, decision: Decision, observation: Observation, instruction: str, history: Sequence[Step]
    ) -> Refusal | None:
        if not sends_input(decision.action):
            return None
        doubt = self._low_confidence(decision)
        # Only for this is the screen read: the other questions are asked anyway.
        if self.confirm == "risky":
            risky = risk(decision, instruction, observation, self.reader or _reader_of_the_package(), history)
        else:
            risky = "it types a secret" if types_secret(decision.action) else known_danger(decision, instruction)
        if doubt and self.ask is None:
            return Refusal("unsure", f"{doubt} (min_confidence)")
        due = self.confirm == "always" or (self.confirm == "risky" and risky)
        if self.ask is None or not (due or doubt):
            return None
        if self.ask(decision, observation, "; ".join(filter(None, (doubt, risky)))):
            return None
        if doubt:
            return Refusal("unsure", f"{doubt}, and the user said no")
        return Refusal("unconfirmed", "not confirmed by the user")
