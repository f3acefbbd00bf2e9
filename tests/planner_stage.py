"""A planner on a server of this machine that plays a part, for tests of the planner policy."""

import itertools
import json
from collections.abc import Callable, Sequence

from molmo_agent.episode import Image
from molmo_agent.geometry import Box
from molmo_agent.policies.instructions.splitter import split_instruction
from molmo_agent.policies.planner.briefing import Briefing, Budget, PlannerReply
from molmo_agent.screen_text import Line, Word


def call(name: str, **arguments) -> str:
    """Return a tool call as a model writes it."""
    return json.dumps({"name": name, "arguments": arguments})


def task_of(body: dict) -> str:
    """Return the task that a request holds."""
    first = next(message for message in body["messages"] if message["role"] == "user")["content"]
    text = first if isinstance(first, str) else first[-1]["text"]
    return text.removeprefix("Task of the user: ").partition("\n\n")[0]


def said(body: dict) -> list[str]:
    """Return what the planner answered before."""
    return [message["content"] for message in body["messages"] if message["role"] == "assistant"]


def report(body: dict) -> str:
    """Return what the planner is told now."""
    content = body["messages"][-1]["content"]
    return content if isinstance(content, str) else content[-1]["text"]


def follows_the_task(body: dict) -> str:
    """Name the task's steps one after the other, as a model that reads it well."""
    parts = [text for text, _ in itertools.groupby(step.text for step in split_instruction(task_of(body)))]
    number = len(said(body))
    return parts[number] if number < len(parts) else "done"


class Scripted:
    """A planner without a server: gives prepared replies, then gives up."""

    name = "scripted"
    reads_words = False

    def __init__(self, replies: Sequence[str] | Callable[[Briefing], str], *, tokens: int = 0, budget=None) -> None:
        self._replies, self._tokens, self.budget = replies, tokens, budget or Budget()
        self.briefings: list[Briefing] = []

    def propose(self, briefing: Briefing) -> PlannerReply:
        """Return the reply whose turn it is."""
        self.briefings.append(briefing)
        if callable(self._replies):
            return PlannerReply(text=self._replies(briefing), tokens=self._tokens)
        number = len(briefing.talks)
        text = self._replies[number] if number < len(self._replies) else call("give_up", reason="the script is over")
        return PlannerReply(text=text, tokens=self._tokens)


class Shows:
    """A text reader that reads the same words on every screen, or what a function says."""

    name = "shows"

    def __init__(self, *texts: str) -> None:
        self.texts: Sequence[str] = texts

    def read(self, image: Image) -> tuple[Line, ...]:
        """Return the words, one line each, from top to bottom."""
        lines = []
        for number, text in enumerate(self.texts):
            box = Box(0.1, min(0.05 * number, 0.94), 0.4, min(0.05 * number + 0.04, 0.98))
            lines.append(Line(tuple(Word(word, box) for word in text.split()), box, 0.9))
        return tuple(lines)


def points_at(**places: tuple[float, float]):
    """Return a locate function for the oracle: a word of the target -> its place."""

    def locate(phrase: str) -> list[Box]:
        for word, (x, y) in places.items():
            if word.lower() in phrase.lower():
                return [Box(x - 0.01, y - 0.01, x + 0.01, y + 0.01)]
        return []

    return locate
