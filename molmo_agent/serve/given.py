"""A policy that does one given action and looks at its effect: for programs that choose the place themselves."""

from collections.abc import Sequence

from molmo_agent.actions import Action, Done
from molmo_agent.episode import Decision, Observation, Step, Task
from molmo_agent.interfaces import PolicyTraits
from molmo_agent.policies.verification import doubt_about
from molmo_agent.screen_text import TextReader


class GivenAction:
    """Does the action, once. What was refused is not tried again: whoever chose it decides what is next.

    Args:
        action: what to do.
        words: what it is for, as far as the caller says so.
        reader: reads whether typed text arrived, and what guards have to know.
        before: the steps before it, which tell into which field text goes.
    """

    name = "given"

    def __init__(
        self, action: Action, words: str, *, reader: TextReader | None = None, before: Sequence[Step] = ()
    ) -> None:
        self._action, self._words, self._before = action, words, tuple(before)
        self._reader = reader
        self.traits = PolicyTraits(reader=reader)

    def act(self, task: Task, observation: Observation, history: Sequence[Step]) -> Decision:
        """Return the action, and afterwards whether its effect was seen.

        Raises:
            ModelError: the text reader failed.
        """
        if not history:
            return Decision(action=self._action, instruction=self._words)
        first = history[0]
        if first.refused is not None:
            advice = ". Take a screenshot, then decide again" if first.refused.kind == "changed" else ""
            return self._end(f"{first.refused}{advice}")
        return self._end(doubt_about(first, (), (*self._before, *history), observation.image, self._reader))

    def _end(self, doubt: str) -> Decision:
        return Decision(action=Done(not doubt, doubt), instruction=self._words)
