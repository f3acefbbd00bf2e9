"""AndroidControl's steps as training rows, each in four forms; episodes are read on demand."""

from molmo_agent.data.android_control.episodes import AndroidControl
from molmo_agent.data.android_control.index import AndroidIndex
from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.row import Conversation, Row
from molmo_agent.data.source import Source
from molmo_agent.errors import UsageError
from molmo_agent.model.prompts import AndroidForm, android_answer, android_prompt


class AndroidControlRows:
    """The steps of a split.

    Options: ``split`` ("train"), ``subsplit``, ``forms``.
    """

    def __init__(self, source: Source) -> None:
        forms = ["ll", "hl_ll", "hl", "hl_cot"]
        options = options_of(source, {"split": "train", "subsplit": None, "forms": forms})
        self._forms: list[AndroidForm] = options["forms"]
        reader = AndroidControl(required_path(source), options["split"], subsplit=options["subsplit"])
        self._steps = AndroidIndex(reader)
        self.problems = self._steps.problems
        if not len(self._steps):
            raise UsageError(f"no step of {source.path} can be used; {self.problems.summary()}")

    def __len__(self) -> int:
        """Return the number of steps."""
        return len(self._steps)

    def row(self, number: int, seed: int) -> Row:
        """Return a step."""
        step = self._steps.step(number)
        action = step.target_action()
        conversations = tuple(
            Conversation(
                turns=(
                    android_prompt(form, goal=step.goal, step=step.instruction),
                    android_answer(form, action, step=step.instruction),
                ),
                style="android_control",
            )
            for form in self._forms
        )
        return Row(conversations=conversations, size=step.size(), image=step.image, name=step.row)
