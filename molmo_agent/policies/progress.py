"""What the history says about an instruction's sub-steps: which are done, what was refused, what was waited for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from molmo_agent.actions import Action, Click, Wait, points_of
from molmo_agent.episode import Decision, PointResult, Step

# Two points closer than this (in fractions of the image) are the same place: models are not exact.
SAME_PLACE = 0.01
_FOR_EFFECT = "waiting for an effect: "
ONLY_CLOSED = "it only closed something that lay over or beside the target"
"""What is missing of a click that did not reach its target: see :mod:`molmo_agent.policies.uncovered`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The state of an instruction after some steps."""

    # Sub-steps whose action was sent.
    num_done: int = 0
    # The last step that was sent or decided in a dry run; None before the first.
    last: Step | None = None
    # Whether `last` was the second try of a click without effect.
    is_retry: bool = False
    # Since `last`: refused attempts at the next sub-step, attempts before which the screen changed, and waits to look
    # again, first for the effect of `last`, then for the next target.
    refusals: tuple[Step, ...] = ()
    forestalled: tuple[Step, ...] = ()
    looks: tuple[Step, ...] = ()

    @property
    def effect_looks(self) -> tuple[Step, ...]:
        """The waits for the effect of the last step."""
        return tuple(filter(looks_for_effect, self.looks))

    @property
    def only_closed(self) -> bool:
        """Whether the last step was seen to have closed only what lay over or beside its target."""
        return any(
            look.decision.result is not None and look.decision.result.reply == _FOR_EFFECT + ONLY_CLOSED
            for look in self.effect_looks
        )

    @property
    def target_looks(self) -> tuple[Step, ...]:
        """The waits for the next target."""
        return tuple(look for look in self.looks if not looks_for_effect(look))


def looks_again(step: Step) -> bool:
    """Return whether a step only waited to look again: such a step keeps the answer that was not usable yet."""
    return isinstance(step.action, Wait) and step.decision.result is not None


def look_for_effect(seconds: float, instruction: str, doubt: str) -> Decision:
    """Return the decision to wait for the effect of a step, and then to look again."""
    result = PointResult(status="none", reply=_FOR_EFFECT + doubt)
    return Decision(action=Wait(seconds), instruction=instruction, result=result)


def looks_for_effect(step: Step) -> bool:
    """Return whether a step waited for the effect of the one before."""
    return looks_again(step) and step.decision.result is not None and step.decision.result.reply.startswith(_FOR_EFFECT)


def is_forestalled(step: Step) -> bool:
    """Return whether a step was not sent because the screen had changed: it says nothing against its point."""
    return step.refused is not None and step.refused.kind == "changed"


def read_progress(history: Sequence[Step], *, retries: bool) -> Progress:
    """Read the state of an instruction from the steps so far.

    With ``retries``, a click that repeats one without effect, at the same place and for the same words, is its second
    try and completes no further sub-step: such a policy never continues to another click after a click without effect.
    """
    now = Progress()
    for step in history:
        if looks_again(step):
            now = replace(now, looks=(*now.looks, step))
        elif is_forestalled(step):
            now = replace(now, forestalled=(*now.forestalled, step))
        elif step.refused:
            now = replace(now, refusals=(*now.refusals, step))
        elif retries and _retries(now, step):
            now = Progress(num_done=now.num_done, last=step, is_retry=True)
        else:
            now = Progress(num_done=now.num_done + 1, last=step)
    return now


def progress(history: Sequence[Step]) -> tuple[int, tuple[Step, ...]]:
    """Return how many sub-steps were sent, and the refused attempts at the next one since then; no retries."""
    num_done, refusals = 0, []
    for step in history:
        if looks_again(step) or is_forestalled(step):
            continue
        if step.refused:
            refusals.append(step)
        else:
            num_done, refusals = num_done + 1, []
    return num_done, tuple(refusals)


def had_late_effect(progress: Progress) -> bool:
    """Return whether something changed while the effect of the last step was waited for."""
    return any(look.effect in ("changed", "changed_elsewhere") for look in progress.effect_looks)


def _retries(progress: Progress, step: Step) -> bool:
    last = progress.last
    return (
        last is not None
        and not progress.is_retry
        and (progress.only_closed or (last.effect == "unchanged" and not had_late_effect(progress)))
        and not progress.target_looks
        and isinstance(last.action, Click)
        and isinstance(step.action, Click)
        and step.decision.instruction == last.decision.instruction
        and same_place(step.action, last.action)
    )


def same_place(first: Action, second: Action) -> bool:
    """Return whether two actions have the same points, up to small differences."""
    old, new = points_of(first), points_of(second)
    return len(old) == len(new) and all(a.distance(b) <= SAME_PLACE for a, b in zip(old, new, strict=True))
