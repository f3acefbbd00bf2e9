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
- A point that was not sent because the screen changed: the model is asked again about the new screen. If it gives the
  same place although something else is shown there now, the policy gives up.
- On a screen that changes by itself, ``none`` and an uncertain point may only mean that the target is not there yet.
  With ``patience_s`` the policy waits and looks again, in growing pauses, before it gives up or leaves an uncertain
  point to the guards.

Effects. Clicks, drags and typed text must have a visible effect (:mod:`molmo_agent.policies.verification`), else the
policy ends with ``Done(success=False)`` and names the step. On a screen that changes only through actions the other
steps are carried out first, because the env may know better. With ``patience_s`` the policy waits for the effect, in
growing pauses, and what builds on it is not sent before: no Enter after a text that did not arrive, no text while the
window that it is for has not opened (:mod:`molmo_agent.policies.readiness`) or after another one took the keyboard. A
plain click without effect is repeated once, if the same target is still at the same place and no word suggests that
this may do harm; a key never.
"""

import itertools
import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from molmo_agent.actions import Done, Type, Wait
from molmo_agent.episode import Decision, Image, LabelledPoint, Observation, PointResult, Step, Task
from molmo_agent.geometry import Point
from molmo_agent.interfaces import PointingModel, PolicyTraits, model_traits
from molmo_agent.policies.altered_text import ALTERED
from molmo_agent.policies.instructions.splitter import SubStep, split_instruction
from molmo_agent.policies.instructions.substep import as_check_box, as_field
from molmo_agent.policies.progress import (
    SAME_PLACE,
    Progress,
    look_for_effect,
    looks_again,
    looks_for_effect,
    progress,
    read_progress,
    same_place,
)
from molmo_agent.policies.readiness import must_stop, obstacle_to
from molmo_agent.policies.same_target import doubt_about_place
from molmo_agent.policies.verification import doubt_about, effect_with_looks, is_tick, may_repeat, was_undone
from molmo_agent.screen_text import TextReader

__all__ = ["PATIENCE_S", "WORDINGS", "PointingPolicy", "progress"]

WORDINGS = ("{}", "Where is {}", "Click {}")
"""The questions for a target: first the target alone, then in other words."""

PATIENCE_S = 5.0
"""Seconds for which a target, or the effect of a step, is waited for on a screen that changes by itself."""

_TICKS = re.compile(r"(?:please\s+)?(?:un)?(?:tick|check)\s", re.IGNORECASE)
# The first pause before looking again; each further one is twice as long.
_FIRST_PAUSE_S = 0.4
# The same for the effect of a step.
_EFFECT_PAUSE_S = 1.0


class PointingPolicy:
    """Follows instructions of the kind ``click X, type "Y" into Z, then press Enter``.

    Args:
        model: points at the targets; its confidence threshold becomes the policy's.
        splitter: splits an instruction into sub-steps.
        wordings: the questions for a target, ``{}`` in its place. A sub-step without a usable point is tried once with
            each of them.
        patience_s: how long a target is waited for if the model does not see it, or is not sure of it. 0 is right where
            the screen changes through actions alone; :data:`PATIENCE_S` suits others.
        reader: reads whether typed text arrived, where the model has no reader of its own; None: only pixels tell.

    Raises:
        ValueError: there are no wordings, one has no room for the target, or the patience is negative.
    """

    def __init__(
        self,
        model: PointingModel,
        splitter: Callable[[str], Sequence[SubStep]] = split_instruction,
        *,
        wordings: Sequence[str] = WORDINGS,
        patience_s: float = 0.0,
        reader: TextReader | None = None,
    ) -> None:
        if not wordings or not all("{}" in wording for wording in wordings):
            raise ValueError(f"expected wordings with {{}} for the target, at least one, got {list(wordings)}")
        if not patience_s >= 0:
            raise ValueError(f"patience_s must be a number of seconds >= 0, got {patience_s!r}")
        self.name = f"pointing({model.name})"
        traits = model_traits(model)
        self.traits = PolicyTraits(min_confidence=traits.min_confidence, reader=traits.reader)
        self._model, self._splitter, self._wordings = model, splitter, tuple(wordings)
        self._reader, self._patience_s, self._knows_fields = traits.reader or reader, patience_s, traits.knows_fields

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        """Decide the next action.

        Raises:
            UsageError: the instruction contains no action, or an ambiguous one.
            ModelError: the model failed.
        """
        steps = self._steps(task)
        now = read_progress(history, retries=self._patience_s > 0)
        decision = self._verify(steps, now, observation, history)
        if decision is not None:
            return decision
        if now.num_done >= len(steps):
            return self._finish(steps, history, observation)
        step, refusals, looks = steps[now.num_done], now.refusals, now.target_looks
        hopeless = not step.targets or len(refusals) >= len(self._wordings)
        last = refusals[-1].refused if refusals else None
        if last and (hopeless or last.kind == "unsure"):
            return _give_up(step, f"it was refused: {last}")
        if not step.targets:
            return Decision(action=step.action(), instruction=step.text)
        pause_s = 0.0 if refusals else self._pause_s(looks)
        if pause_s and looks and np.array_equal(looks[-1].observation.image, observation.image):
            # The same image would give the same answer.
            return Decision(action=Wait(pause_s), instruction=step.text, result=looks[-1].decision.result)
        result, reason = self._locate(observation.image, step, skip=len(refusals))
        if pause_s and ((result.status == "none" and reason) or self._is_unsure(result)):
            return Decision(action=Wait(pause_s), instruction=step.text, result=result)
        if reason:
            return _give_up(step, reason + _for_so_long(looks), result)
        points = [candidate.point for candidate in result.points]
        # Several points may mark one place; the first one is used.
        action = step.action(points if step.gesture == "point" else points[: len(step.targets)])
        if any(same_place(action, earlier.action) for earlier in refusals):
            return _give_up(step, f"asked again, the same place was found, and it was refused: {last}")
        if doubt := doubt_about_place(action, now.forestalled, observation.image, self._reader, step.targets):
            return _give_up(step, doubt, result)
        return Decision(action=action, instruction=step.text, result=result)

    def _steps(self, task: Task) -> Sequence[SubStep]:
        """Split the instruction; where a model tells widgets from labels, ask for fields and check boxes by kind."""
        steps = self._splitter(task.instruction)
        if not self._knows_fields:
            return steps
        asked = []
        for number, step in enumerate(steps):
            if _is_for_typing(steps, number):
                step = replace(step, targets=tuple(map(as_field, step.targets)))
            elif step.gesture == "click" and _TICKS.match(step.text):
                step = replace(step, targets=tuple(map(as_check_box, step.targets)))
            asked.append(step)
        return asked

    def _verify(
        self, steps: Sequence[SubStep], now: Progress, observation: Observation, history: Sequence[Step]
    ) -> Decision | None:
        """Return what to do about a missing effect of the last step, or None to go on."""
        if now.last is None or self._patience_s == 0 or now.target_looks:
            # A target is looked for only once the effect was there.
            return None
        step, looks = steps[min(now.num_done, len(steps)) - 1], now.effect_looks
        following = steps[now.num_done] if now.num_done < len(steps) else None
        doubt = ""
        if following is None or not (following.gesture == "type" and "click" in step.gesture):
            doubt = doubt_about(now.last, looks, history, observation.image, self._reader)
        obstacle = "" if doubt or following is None else obstacle_to(step, following, now.last, looks, observation)
        if not (doubt or obstacle):
            return None
        if pause_s := self._pause_s(looks, _EFFECT_PAUSE_S):
            return look_for_effect(pause_s, step.text, doubt or obstacle)
        if obstacle and following is not None:
            # Where nothing else speaks against it the text is typed: whether it arrives is seen before the next step.
            return _give_up(following, obstacle) if must_stop(step, obstacle, now.last, looks) else None
        if may_repeat(now):
            result, reason = self._locate(observation.image, step, skip=0)
            if not reason:
                action = step.action([candidate.point for candidate in result.points[: len(step.targets)]])
                if same_place(action, now.last.action):
                    return Decision(action=action, instruction=step.text, result=result)
        if now.is_retry:
            doubt += ", even after a second click"
        elif now.refusals:
            doubt += f", and a second click was refused: {now.refusals[-1].refused}"
        return _no_effect(step.text, doubt)

    def _finish(self, steps: Sequence[SubStep], history: Sequence[Step], observation: Observation) -> Decision:
        """End the run after the last sub-step, without success where one of them had no effect."""
        sent = [(i, step) for i, step in enumerate(history) if not (step.refused or looks_again(step))]
        active = [(i, step) for i, step in sent if not isinstance(step.action, Wait)]
        idle = {i: step for i, step in active if effect_with_looks(step, _looks_after(i, history)) == "unchanged"}
        for i, step in active:
            if self._patience_s > 0 and is_tick(step) and not step.dry_run:
                after = history[i + 1].observation if i + 1 < len(history) else observation
                if i + 1 == len(history):
                    return look_for_effect(_EFFECT_PAUSE_S, step.decision.instruction, "it may not stay")
                if was_undone(step, after.image, observation.image):
                    return _no_effect(step.decision.instruction, "it did not stay")
        if self._patience_s == 0:
            # No retries and no waits: the steps that were sent are the sub-steps.
            for number, (i, step) in enumerate(sent[: len(steps)]):
                after = history[i + 1].observation if i + 1 < len(history) else observation
                if not _is_for_typing(steps, number) and (
                    doubt := doubt_about(step, (), history, after.image, self._reader)
                ):
                    return _no_effect(steps[number].text, doubt)
        if idle and len(idle) == len(active):
            return Decision(action=Done(False, "every step was carried out, but nothing on the screen changed"))
        # Typing tells about the click into its field.
        untold = idle.keys() - {i for (i, one), (_, other) in itertools.pairwise(active) if _types_into(one, other)}
        words = ", ".join(repr(idle[i].decision.instruction) for i in sorted(untold))
        note = f"; nothing changed after {words}" if words else ""
        return Decision(action=Done(True, f"{len(steps)} of {len(steps)} steps carried out{note}"))

    def _pause_s(self, looks: Sequence[Step], first_s: float = _FIRST_PAUSE_S) -> float:
        """Return the seconds until the next look; 0 when the patience is at its end."""
        if looks and (looks[-1].refused or looks[-1].dry_run):
            return 0.0
        return max(0.0, round(min(first_s * 2 ** len(looks), self._patience_s - _waited_s(looks)), 3))

    def _is_unsure(self, result: PointResult) -> bool:
        confidence, threshold = result.confidence, self.traits.min_confidence
        return result.status == "ok" and confidence is not None and threshold is not None and confidence < threshold

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
                words = " ".join(result.reply.split())[:160]
                reason = f"the model gave no usable point for {target!r} ({result.status}): it replied {words!r}"
        return result, reason


def _places(points: Sequence[LabelledPoint]) -> list[Point]:
    """Return the points that are not close to an earlier one."""
    places: list[Point] = []
    for candidate in points:
        if all(candidate.point.distance(place) > SAME_PLACE for place in places):
            places.append(candidate.point)
    return places


def _is_for_typing(steps: Sequence[SubStep], number: int) -> bool:
    """Return whether a sub-step is a click, and the next one types."""
    return "click" in steps[number].gesture and number + 1 < len(steps) and steps[number + 1].gesture == "type"


def _types_into(click: Step, typed: Step) -> bool:
    """Return whether two steps are the halves of ``type "Ada" into Name``."""
    same = click.decision.instruction == typed.decision.instruction
    return same and isinstance(typed.action, Type) and not isinstance(click.action, Type)


def _looks_after(index: int, history: Sequence[Step]) -> tuple[Step, ...]:
    """Return the waits for the effect of a step."""
    return tuple(itertools.takewhile(looks_for_effect, history[index + 1 :]))


def _no_effect(words: str, doubt: str) -> Decision:
    what = "went wrong" if doubt.startswith(ALTERED) else "had no effect"
    return Decision(action=Done(False, f"{words!r} {what}: {doubt}"), instruction=words)


def _waited_s(looks: Sequence[Step]) -> float:
    return sum(look.action.duration_s for look in looks if isinstance(look.action, Wait))


def _for_so_long(looks: Sequence[Step]) -> str:
    return f", after looking for {_waited_s(looks):.1f} s" if looks else ""


def _give_up(step: SubStep, reason: str, result: PointResult | None = None) -> Decision:
    return Decision(action=Done(False, f"could not {step.text!r}: {reason}"), instruction=step.text, result=result)
