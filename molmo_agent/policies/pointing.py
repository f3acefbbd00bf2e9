"""Instruction -> sub-step -> point -> action, with any pointing model; independent of the env, without state.

Which sub-step is next is read from the history alone: every step that was sent, or decided in a dry run, completed one.

Uncertain answers. Only an answer with the status ``ok`` and one place for one target becomes an action.

- ``unparsed``, ``out_of_range``, or several places for one target: the policy asks again in other words, about the same
  image and within the same decision, so nothing reaches the device meanwhile. After the last wording it gives up:
  ``Done(success=False)`` with the reason.
- ``none`` and ``refused`` are answers: the policy gives up at once. Asking until a point comes back would invite
  a wrong one.
- A point that a guard, the env or the user refused: the next wording may lead elsewhere. The same place is not tried
  again, and whatever needs no point is not repeated.
- A point that was refused because the model is not sure enough of it ends the run: asking in other words would only
  select a point with a high confidence by chance.
- An action without visible effect is not repeated: it may have worked unseen (a field that had the focus), and doing it
  twice may do harm. If nothing at all changed from beginning to end, the policy does not claim success.
"""

from collections.abc import Callable, Sequence

from molmo_agent.actions import Action, Done, points_of
from molmo_agent.episode import Decision, Image, LabelledPoint, Observation, PointResult, Step, Task
from molmo_agent.geometry import Point
from molmo_agent.interfaces import PointingModel, PolicyTraits, model_traits
from molmo_agent.policies.instructions.splitter import SubStep, split_instruction

WORDINGS = ("{}", "Where is {}", "Click {}")
"""The questions for a target: first the target alone, then in other words."""

# Two points closer than this (in fractions of the image) are the same place: models are not exact.
SAME_PLACE = 0.01


class PointingPolicy:
    """Follows instructions of the kind ``click X, type "Y" into Z, then press Enter``.

    Args:
        model: points at the targets; its confidence threshold becomes the policy's.
        splitter: splits an instruction into sub-steps.
        wordings: the questions for a target, ``{}`` in its place. A sub-step without a usable point is tried once with
            each of them.
    """

    def __init__(
        self,
        model: PointingModel,
        splitter: Callable[[str], Sequence[SubStep]] = split_instruction,
        *,
        wordings: Sequence[str] = WORDINGS,
    ) -> None:
        if not wordings or not all("{}" in wording for wording in wordings):
            raise ValueError(f"expected wordings with {{}} for the target, at least one, got {list(wordings)}")
        self.name = f"pointing({model.name})"
        self.traits = PolicyTraits(min_confidence=model_traits(model).min_confidence)
        self._model, self._splitter, self._wordings = model, splitter, tuple(wordings)

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        """Decide the next action.

        Raises:
            UsageError: the instruction contains no action, or an ambiguous one.
            ModelError: the model failed.
        """
        steps = self._splitter(task.instruction)
        num_done, refusals = progress(history)
        if num_done >= len(steps):
            return Decision(action=_finish(history))
        step = steps[num_done]
        hopeless = not step.targets or len(refusals) >= len(self._wordings)
        last = refusals[-1].refused if refusals else None
        if last and (hopeless or last.kind == "unsure"):
            return _give_up(step, f"it was refused: {last}")
        if not step.targets:
            return Decision(action=step.action(), instruction=step.text)
        result, reason = self._locate(observation.image, step, skip=len(refusals))
        if reason:
            return _give_up(step, reason, result)
        points = [candidate.point for candidate in result.points]
        # Several points may mark one place; the first one is used.
        action = step.action(points if step.gesture == "point" else points[: len(step.targets)])
        if any(_same_place(action, earlier.action) for earlier in refusals):
            return _give_up(step, f"asked again, the same place was found, and it was refused: {last}")
        return Decision(action=action, instruction=step.text, result=result)

    def _locate(self, image: Image, step: SubStep, *, skip: int) -> tuple[PointResult, str]:
        """Find every target of a sub-step; return the answer, or the last one and why it is not usable."""
        results: list[PointResult] = []
        for target in step.targets:
            result, reason = self._ask(image, target, skip, several=step.gesture == "point")
            if reason:
                return result, reason
            results.append(result)
        if len(results) == 1:
            return results[0], ""
        # The confidence of a drag is that of its less certain end.
        confidences = [result.confidence for result in results if result.confidence is not None]
        return PointResult(
            status="ok",
            reply="\n".join(result.reply for result in results),
            points=tuple(result.points[0] for result in results),
            latency_s=sum(result.latency_s for result in results),
            confidence=min(confidences, default=None),
        ), ""

    def _ask(self, image: Image, target: str, skip: int, *, several: bool) -> tuple[PointResult, str]:
        """Ask for one target in one wording after another until there is an answer."""
        result, reason = PointResult(status="unparsed", reply=""), "it was not asked for"
        for wording in self._wordings[skip:]:
            # Not str.format: a target may hold braces, such as a {{SECRET}}.
            result = self._model.point(image, wording.replace("{}", target))
            if result.status == "ok":
                places = _places(result.points)
                if several or len(places) == 1:
                    return result, ""
                reason = f"{len(places)} places fit {target!r}; say which one is meant"
            elif result.status == "none":
                return (result, "") if several else (result, f"the model sees no {target!r}")
            elif result.status == "refused":
                return result, f"the model declines to point at {target!r}"
            else:
                reason = f"the model gave no usable point for {target!r} ({result.status})"
        return result, reason


def progress(history: Sequence[Step]) -> tuple[int, tuple[Step, ...]]:
    """Return how many sub-steps are done, and the refused attempts at the next one since then."""
    num_done, refusals = 0, []
    for step in history:
        if step.refused:
            refusals.append(step)
        else:
            num_done, refusals = num_done + 1, []
    return num_done, tuple(refusals)


def _places(points: Sequence[LabelledPoint]) -> list[Point]:
    """Return the points that are not close to an earlier one."""
    places: list[Point] = []
    for candidate in points:
        if all(candidate.point.distance(place) > SAME_PLACE for place in places):
            places.append(candidate.point)
    return places


def _same_place(first: Action, second: Action) -> bool:
    old, new = points_of(first), points_of(second)
    return len(old) == len(new) and all(a.distance(b) <= SAME_PLACE for a, b in zip(old, new, strict=True))


def _give_up(step: SubStep, reason: str, result: PointResult | None = None) -> Decision:
    return Decision(action=Done(False, f"could not {step.text!r}: {reason}"), instruction=step.text, result=result)


def _finish(history: Sequence[Step]) -> Done:
    executed = [step for step in history if not step.refused]
    idle = [step.decision.instruction for step in executed if step.effect == "unchanged"]
    if idle and len(idle) == len(executed):
        return Done(False, "every step was carried out, but nothing on the screen changed")
    note = f"; nothing changed after {', '.join(map(repr, idle))}" if idle else ""
    return Done(True, f"{len(executed)} of {len(executed)} steps carried out{note}")
