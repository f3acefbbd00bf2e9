"""Goal and screenshot -> action text -> action, by AndroidControl's four questions; independent of envs, stateless.

``hl`` and ``hl_cot`` ask with the goal alone. AndroidControl has no word for "finished", so with them an episode ends
by the env's verdict or a limit. ``ll`` and ``hl_ll`` ask with one step at a time; the steps come from the task,
split as for pointing, and after the last one the policy reports success.

A reply that is not exactly one action, or a point outside the screen, ends the episode; the result holds the reply. The
same image would give the same reply again.
"""

import time
from collections.abc import Callable, Sequence
from typing import get_args

from molmo_agent.actions import Done, points_of
from molmo_agent.episode import Decision, LabelledPoint, Observation, PointResult, PointStatus, Step, Task
from molmo_agent.errors import PointTextError, UsageError
from molmo_agent.interfaces import Answerer, PointingModel, model_traits
from molmo_agent.model.prompts import AndroidForm, android_prompt
from molmo_agent.policies.android_actions import OutOfScreen, read_action
from molmo_agent.policies.instructions.splitter import split_instruction
from molmo_agent.policies.pointing import progress

MAX_NEW_TOKENS = 96
"""Enough for the longest answers: a plan, or a text to type."""


def split_steps(instruction: str) -> Sequence[str]:
    """Split a task into steps, each in the words of the task."""
    return [step.text for step in split_instruction(instruction)]


class AndroidControlPolicy:
    """Follows a goal, or one step after the other, on a phone.

    Args:
        model: answers a question about an image in words.
        form: which of the four questions.
        steps: splits a task into steps, for the forms that ask with a step.

    Raises:
        UsageError: the model only points.
    """

    def __init__(
        self,
        model: PointingModel | Answerer,
        form: AndroidForm = "hl",
        *,
        steps: Callable[[str], Sequence[str]] = split_steps,
    ) -> None:
        # Raises at once for an unknown form.
        android_prompt(form, goal="goal", step="step")
        self.name = f"android_control({model.name}, {form})"
        self._model, self._form, self._steps = _answerer(model), form, steps

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        """Decide the next action.

        Raises:
            UsageError: the form asks with steps, and the task cannot be split into any.
            ModelError: the model failed.
        """
        step = ""
        if self._form in ("ll", "hl_ll"):
            steps = self._steps(task.instruction)
            num_done, refusals = progress(history)
            if num_done >= len(steps):
                return Decision(action=Done(True, f"{num_done} of {len(steps)} steps carried out"))
            step = steps[num_done]
            if refusals:  # the same question would get the same answer
                return Decision(action=Done(False, f"could not {step!r}: {refusals[-1].refused}"), instruction=step)
        question = android_prompt(self._form, goal=task.instruction, step=step)
        start = time.perf_counter()
        (reply,) = self._model.answer_batch([observation.image], [question], max_new_tokens=MAX_NEW_TOKENS)
        took = time.perf_counter() - start
        try:
            parsed = read_action(reply)
        except PointTextError as error:
            status: PointStatus = "out_of_range" if isinstance(error, OutOfScreen) else "unparsed"
            result = PointResult(status=status, reply=reply, latency_s=took)
            return Decision(action=Done(False, f"no action: {error}"), instruction=step, result=result)
        points = tuple(map(LabelledPoint, points_of(parsed.action)))
        # Only an answer with a point has a PointResult.
        answer = PointResult(status="ok", reply=reply, points=points, latency_s=took) if points else None
        return Decision(action=parsed.action, instruction=parsed.plan or step, result=answer)


def load(model: PointingModel | Answerer, form: AndroidForm = "hl") -> AndroidControlPolicy:
    """Make the policy for :func:`molmo_agent.registry.load_policy`.

    Raises:
        UsageError: the model only points, or there is no such form.
    """
    if form not in get_args(AndroidForm):
        raise UsageError(f"expected the form {', '.join(get_args(AndroidForm))}, got {form!r}")
    return AndroidControlPolicy(model, form)


def _answerer(model: PointingModel | Answerer) -> Answerer:
    """Return the model that answers in words: this one, or the one that it wraps."""
    answerer = model if isinstance(model, Answerer) else model_traits(model).answerer
    if answerer is None:
        raise UsageError(
            f"the policy 'android-control' needs a model that answers in words, such as a checkpoint; {model.name!r} "
            "only points"
        )
    return answerer
