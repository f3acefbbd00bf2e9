"""The last checks before any input is sent: limits, regions, confirmation, a kill switch.

A guard never changes an action. It allows it, refuses it with a reason, or ends the run.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from molmo_agent.actions import Action, Done, PointAt, Wait, describe, strokes_of
from molmo_agent.episode import Decision, Observation, Refusal, RefusalKind, Step
from molmo_agent.errors import RunStopped, UsageError
from molmo_agent.geometry import Box, Stroke
from molmo_agent.ocr.reader import LazyReader
from molmo_agent.risk.judge import NamesAt, known_danger, why_ask
from molmo_agent.rollout.regions import outside, unknown_place
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
    names: NamesAt | None = None,
) -> str:
    """Return what makes a decision risky, or an empty string: see :func:`molmo_agent.risk.judge.why_ask`."""
    return _types_secret(decision) or why_ask(decision, instruction, observation, reader, history, names)


def _types_secret(decision: Decision) -> str:
    return "it types a secret" if types_secret(decision.action) else ""


@functools.cache
def _reader_of_the_package() -> TextReader:
    """Return one reader for all guards without their own: it remembers the last screens."""
    return LazyReader()


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """Limits of a run. Boxes are normalized boxes of the observation.

    Raises:
        UsageError: a limit is not positive, or confirmation is required without ``ask``.
    """

    max_steps: int = 30
    max_seconds: float = 600.0
    # What an action touches must lie in these, the whole way of a drag too; empty: anywhere.
    allow: tuple[Box, ...] = ()
    # It must meet none of these. Input whose place is not known is asked about, and refused without `ask`.
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
    # The last steps of earlier episodes on the same screen: they tell which field has the focus and what it holds.
    before: tuple[Step, ...] = ()
    # Decide and check, send nothing.
    dry_run: bool = False
    # The kill switch: called before and after every decision and question, and between inputs; True ends the run.
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

    @property
    def has_regions(self) -> bool:
        """Whether it matters where an action goes."""
        return bool(self.allow or self.deny)

    def refusal(
        self,
        decision: Decision,
        observation: Observation,
        instruction: str = "",
        history: Sequence[Step] = (),
        *,
        strokes: Sequence[Stroke] | None = None,
        names: NamesAt | None = None,
    ) -> Refusal | None:
        """Return why an action may not be executed, or None when it may.

        The order: is there a valid answer, is its place allowed, and last, does a person agree. So a person is asked
        only about input that would be sent.

        Args:
            decision: the action, and the part of the instruction and the answer that it is based on.
            observation: what the model saw, which a person is shown.
            instruction: the whole instruction.
            history: the steps before it.
            strokes: where the action touches the screen; None: as far as its points tell.
            names: returns what programs call what lies at a point; None: not known.
        """
        strokes = strokes_of(decision.action) if strokes is None else strokes
        return (
            self._no_answer(decision)
            or self.beyond_regions(strokes)
            or self._unconfirmed(decision, observation, instruction, history, strokes, names)
        )

    def _no_answer(self, decision: Decision) -> Refusal | None:
        """Refuse every input that is based on an answer without a valid point."""
        result, action = decision.result, decision.action
        if result is None or result.status == "ok" or not sends_input(action):
            return None
        text = (
            f"{describe(action)} is based on an answer with the status {result.status!r}; only 'ok' becomes an action"
        )
        return Refusal("status", text)

    def beyond_regions(self, strokes: Sequence[Stroke] | None) -> Refusal | None:
        """Refuse strokes that leave the allowed regions or meet a denied one; None is passed: it is asked about."""
        text = outside(strokes or (), self.allow, self.deny)
        return Refusal("region", text) if text else None

    def _unconfirmed(
        self,
        decision: Decision,
        observation: Observation,
        instruction: str,
        history: Sequence[Step],
        strokes: Sequence[Stroke] | None,
        names: NamesAt | None,
    ) -> Refusal | None:
        """Ask a person where that is due, and refuse what was declined or cannot be asked about."""
        if not sends_input(decision.action):
            return None
        doubts: dict[RefusalKind, str] = {"unconfirmed": decision.doubt, "unsure": self._low_confidence(decision)}
        if strokes is None and self.has_regions:
            doubts["region"] = unknown_place(decision.action)
        doubts = {kind: text for kind, text in doubts.items() if text}
        kind: RefusalKind = next(iter(doubts), "unconfirmed")
        if doubts and self.ask is None:
            return Refusal(kind, doubts[kind] + (" (min_confidence)" if kind == "unsure" else ""))
        risky = "" if self.ask is None else self._danger(decision, observation, instruction, history, names)
        due = self.confirm == "always" or (self.confirm == "risky" and risky)
        if self.ask is None or not (due or doubts):
            return None
        if self.ask(decision, observation, "; ".join(filter(None, (*doubts.values(), risky)))):
            return None
        return Refusal(kind, f"{doubts[kind]}, and the user said no" if doubts else "not confirmed by the user")

    def _low_confidence(self, decision: Decision) -> str:
        """Return the doubt as text if the model's confidence is below the threshold, else an empty string."""
        confidence = decision.result.confidence if decision.result else None
        if self.min_confidence is None or confidence is None or confidence >= self.min_confidence:
            return ""
        return f"the model's confidence is {confidence:.0%}, below the required {self.min_confidence:.0%}"

    def _danger(
        self,
        decision: Decision,
        observation: Observation,
        instruction: str,
        history: Sequence[Step],
        names: NamesAt | None,
    ) -> str:
        """Return what a person should know of an action; the screen is read only where a question depends on it."""
        if self.confirm == "risky":
            return risk(decision, instruction, observation, self.reader or _reader_of_the_package(), history, names)
        return _types_secret(decision) or known_danger(decision, instruction)
