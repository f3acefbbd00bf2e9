"""AndroidControl's steps as questions: screenshot and goal only."""

import re
from collections.abc import Iterator
from typing import get_args

from molmo_agent.data.android_control.episodes import AndroidControl, AndroidStep, Split
from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.question import Question
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.model.prompts import AndroidForm, android_prompt


class AndroidQuestions:
    """A question per step. Options: ``form`` ("hl"), ``split`` ("test"), ``subsplit``.

    Raises:
        UnknownNameError: the form or the split does not exist.
        UsageError: the folder is unreadable.
    """

    def __init__(self, source: Source) -> None:
        choices = {"form": get_args(AndroidForm), "split": get_args(Split)}
        options = options_of(source, {"form": "hl", "split": "test", "subsplit": None}, choices)
        self._form: AndroidForm = options["form"]
        self._reader = AndroidControl(required_path(source), options["split"], subsplit=options["subsplit"])

    @property
    def problems(self) -> Problems:
        """The unreadable records of the last pass."""
        return self._reader.problems

    def questions(self) -> Iterator[Question]:
        """Yield the steps in the order of the shards."""
        return (_question(step, self._form) for step in self._reader)


def _question(step: AndroidStep, form: AndroidForm) -> Question:
    return Question(
        id=step.row,
        style="android_control",
        text=android_prompt(form, goal=step.goal, step=step.instruction),
        answers=(step.target_action(),),
        size=step.size(),
        image=step.image,
        extra={"box": step.target_box(), "reference": _reference(step)},
    )


def _reference(step: AndroidStep) -> dict[str, str] | None:
    """Return action and box as the authors' code does; None if it fails."""
    try:
        box = step.target_box(reference_quirks=True)
        action = step.target_action(reference_quirks=True)
    except (re.error, ValueError):  # the app's name is not a valid pattern, or an element has no package
        return None
    return {"action": action, "box": "" if box is None else str(list(box))}
