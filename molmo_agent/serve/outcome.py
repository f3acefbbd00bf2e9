"""The outcome of one request of another program, from the steps that were made for it."""

from dataclasses import dataclass
from typing import Literal

from molmo_agent.actions import Done, describe, points_of
from molmo_agent.episode import LabelledPoint, PointResult, Step, Trajectory
from molmo_agent.geometry import Point
from molmo_agent.rollout.guards import sends_input

Result = Literal["verified", "no_visible_change", "refused", "not_found", "ambiguous"]
"""``verified``: it was done, and its effect was seen. ``no_visible_change``: input was sent, and its effect was not
seen. ``refused``: a guard, a person, the env or the model declined. ``not_found``: the target is not on the screen.
``ambiguous``: several places fit. Of the last three, nothing more was sent than ``actions`` lists."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place that may be meant, as a normalized point of the whole screen."""

    point: Point
    # Confidence in [0, 1] that this place is meant; None where the model gives none.
    probability: float | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a request."""

    result: Result
    # The reason or the effect, and what to do next, as text.
    message: str
    # The inputs that were sent, in order.
    actions: tuple[str, ...] = ()
    # Where was acted, or where the target may be.
    candidates: tuple[Candidate, ...] = ()
    # (width, height) in pixels of the screen that was acted on.
    size: tuple[int, int] | None = None

    @property
    def is_sent(self) -> bool:
        """Whether any input reached the device."""
        return bool(self.actions)


def candidates_of(result: PointResult | None) -> tuple[Candidate, ...]:
    """Return the places of an answer with their probabilities.

    A confidence is that of the first point. Where it is so low that every point can have the same, the model shares its
    certainty among equal places.
    """
    if result is None:
        return ()
    shared = result.confidence is not None and result.confidence * len(result.points) <= 1

    def candidate(number: int, found: LabelledPoint) -> Candidate:
        return Candidate(found.point, result.confidence if number == 0 or shared else None, found.label)

    return tuple(candidate(number, found) for number, found in enumerate(result.points))


def was_sent(step: Step) -> bool:
    """Return whether the action of a step reached the device."""
    return step.refused is None and not step.dry_run and sends_input(step.action)


def outcome_of(trajectory: Trajectory) -> Outcome:
    """Return the outcome of an episode that is over.

    Args:
        trajectory: its steps. A policy that has finished ends with ``Done``; a limit may end an episode before.
    """
    steps = trajectory.steps
    sent = [step for step in steps if was_sent(step)]
    last = steps[-1] if steps else None
    actions = tuple(describe(step.action) for step in sent)
    size = last.observation.size if last else None
    done = last.action if last and isinstance(last.action, Done) else None
    answer = next((step.decision.result for step in reversed(steps) if step.decision.result), None)

    def outcome(result: Result, message: str, places: tuple[Candidate, ...]) -> Outcome:
        return Outcome(result=result, message=message, actions=actions, candidates=places, size=size)

    if last is not None and last.refused is not None:
        return outcome("refused", str(last.refused), candidates_of(answer))
    if done and done.success:
        # Only what was seen is verified. Without any change it is open what the input did.
        effects = {step.effect for step in sent}
        if not sent or effects & {"changed", "changed_elsewhere"}:
            return outcome("verified", _effect(sent), _acted_on(sent))
        return outcome(
            "no_visible_change", "it was sent, and nothing on the screen changed. Take a screenshot", _acted_on(sent)
        )
    message = done.message if done else trajectory.ended
    refusal = next((step.refused for step in reversed(steps) if step.refused), None)
    failed = last.decision.result if last and done else None
    if failed is not None and failed.status == "ok" and len(failed.points) > 1:
        return outcome("ambiguous", message, candidates_of(failed))
    if failed is not None and failed.status in ("none", "unparsed", "out_of_range"):
        return outcome("not_found", message, ())
    if refusal is not None or (failed is not None and failed.status == "refused") or not sent:
        return outcome("refused", message or str(refusal), candidates_of(answer))
    return outcome("no_visible_change", message, _acted_on(sent))


def _effect(sent: list[Step]) -> str:
    if not sent:
        return "nothing had to be sent"
    where = {"changed": "the screen changed there", "changed_elsewhere": "the screen changed elsewhere"}
    return where.get(sent[-1].effect, "the last input changed nothing, an earlier one did")


def _acted_on(sent: list[Step]) -> tuple[Candidate, ...]:
    places: dict[Point, Candidate] = {}
    for step in sent:
        result = step.decision.result
        for point in points_of(step.action):
            places[point] = Candidate(point, result.confidence if result else None)
    return tuple(places.values())
