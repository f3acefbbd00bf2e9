"""A recorded step as a question to a model that answers in words."""

from collections.abc import Callable
from typing import Any

from molmo_agent.data.question import Question
from molmo_agent.data.readers.grounding.targets import Target
from molmo_agent.data.readers.steps.step import Step
from molmo_agent.episode import Image
from molmo_agent.geometry import Point

# Its prompts have no tag of a style, and its replies are actions.
STYLE = "android_control"


def step_question(id_: str, text: str, step: Step, image: Callable[[], Image]) -> Question:
    """Return the question for a step.

    Args:
        id_: of the step.
        text: the whole prompt.
        step: what was done.
        image: reads the screenshot.
    """
    extra: dict[str, Any] = {"step": step}
    if step.targets:
        # For drawing.
        extra["target"] = Target(kind="box", frame=step.frame, box=step.targets[0])
    points = (Point(*step.act.place),) if step.act.place and all(0 <= side <= 1 for side in step.act.place) else None
    return Question(
        id=id_, style=STYLE, text=text, answers=(step.act.words(),), points=points, image=image, extra=extra
    )
