"""How well a model does AndroidControl's steps, under every published rule side by side."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_agent.interfaces import PointingModel
from molmo_agent.model.prompts import AndroidForm, android_prompt
from molmo_agent.train.data.android_control import AndroidStep, PercentBox
from molmo_agent.train.metrics.android_control import RULES, read_action, score
from molmo_agent.train.metrics.interval import wilson


@dataclass(frozen=True, slots=True)
class Answered:
    """A step and what the model said."""

    row: str
    gold: str
    box: PercentBox | None
    answer: str

    def right(self, rule: str) -> bool:
        """Tell whether the answer is right under a rule."""
        return score(self.gold, self.box, self.answer, rule)


def answer_steps(
    steps: Iterable[AndroidStep], model: PointingModel, form: AndroidForm, told: Callable[[Answered], None] | None = None
) -> list[Answered]:
    """Ask a model about each step, its screenshot and nothing else.

    Args:
        steps: from :class:`~molmo_agent.train.data.android_control.AndroidControl`.
        model: passes a question on as it is and keeps its reply, such as ``load_model(name, question="{}")``.
        form: which of the four questions.
        told: called after each step.
    """
    answered = []
    for step in steps:
        question = android_prompt(form, goal=step.goal, step=step.instruction)
        reply = model.point(step.image(), question).reply
        one = Answered(step.row, step.target_action(), step.target_box(), reply)
        answered.append(one)
        if told:
            told(one)
    return answered


def summary(answered: list[Answered]) -> dict[str, Any]:
    """Return, by rule, how many answers are right of all and of each kind of action, with 95 % Wilson intervals."""

    def share(members: list[Answered], rule: str) -> dict[str, Any]:
        right = sum(one.right(rule) for one in members)
        low, high = wilson(right, len(members))
        return {"right": right, "n": len(members), "share": right / max(len(members), 1), "low": low, "high": high}

    kinds: dict[str, list[Answered]] = {}
    for one in answered:
        action = read_action(one.gold)
        kinds.setdefault(action.kind if action else "unknown", []).append(one)
    unread = sum(read_action(one.answer) is None for one in answered)
    return {
        "steps": len(answered),
        "answers that are no action": unread,
        "rules": {
            rule: {"all": share(answered, rule), **{kind: share(members, rule) for kind, members in kinds.items()}}
            for rule in RULES
        },
    }


def write(answered: list[Answered], path: Path) -> None:
    """Write the summary and every answer as JSON."""
    rows = [
        {"row": one.row, "gold": one.gold, "box": one.box, "answer": one.answer}
        | {rule: one.right(rule) for rule in RULES}
        for one in answered
    ]
    path.write_text(json.dumps({"summary": summary(answered), "answers": rows}, indent=1, ensure_ascii=False) + "\n")
