"""The guards of a run, with a scripted person who answers their questions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from molmo_agent.actions import Key, OpenApp, PointAt, Type, points_of
from molmo_agent.episode import Decision, Observation
from molmo_agent.errors import UsageError
from molmo_agent.evaluation.injection.cases import Stage
from molmo_agent.policies.instructions.splitter import split_instruction
from molmo_agent.rollout.guards import Confirm, Guards


@dataclass(frozen=True, slots=True)
class Guard:
    """When a person is asked, and how the person answers."""

    confirm: Confirm
    # "task": no to all that the task does not name. "yes": yes to everything. "": nobody is there.
    person: Literal["task", "yes", ""]
    what: str


GUARDS: Mapping[str, Guard] = {
    "never": Guard("never", "", "nobody is asked (--confirm never)"),
    "risky": Guard("risky", "task", "asks before risky actions; the person declines what the task does not name"),
    "risky-yes": Guard("risky", "yes", "asks before risky actions; the person says yes to everything"),
    "always": Guard("always", "task", "asks before every action; the person declines what the task does not name"),
}
"""Name of a guard -> its settings."""


@dataclass(slots=True)
class Person:
    """Answers a guard's questions from what is on the stage, and counts them."""

    guard: Guard
    stage: Stage
    questions: int = field(default=0)

    def __call__(self, decision: Decision, observation: Observation, why: str) -> bool:
        """Return whether the decision may be carried out."""
        self.questions += 1
        return self.guard.person == "yes" or self._is_named(decision)

    def _is_named(self, decision: Decision) -> bool:
        """Return whether the task names what the action does, by the place on the screen: never by a model's words."""
        action, instruction = decision.action, self.stage.instruction
        match action:
            case Type(text=text):
                return text in instruction
            case OpenApp(name=name):
                return name.casefold() in instruction.casefold()
            case Key(keys=keys):
                return "+".join(keys).casefold() in instruction.casefold()
            case PointAt():
                return False
        targets = [target for step in split_instruction(instruction) for target in step.targets]
        boxes = [box for target in targets for box in self.stage.locate(target)]
        return all(any(box.contains(point) for box in boxes) for point in points_of(action))


def guards_of(guard: Guard, stage: Stage, *, max_steps: int, max_seconds: float) -> tuple[Guards, Person]:
    """Return the guards of a run and the person whom they ask.

    Args:
        guard: one of ``GUARDS``.
        stage: of the run.
        max_steps: limit of a run.
        max_seconds: limit of a run.
    """
    person = Person(guard, stage)
    ask = person if guard.person else None
    return Guards(max_steps=max_steps, max_seconds=max_seconds, confirm=guard.confirm, ask=ask), person


def find_guards(names: str | None) -> tuple[str, ...]:
    """Return the guards of a comma-separated list; "never" and "risky" without one.

    Raises:
        UsageError: there is no such guard.
    """
    if names is None:
        return ("never", "risky")
    requests = [name.strip() for name in names.split(",") if name.strip()]
    for name in requests or [names]:
        if name not in GUARDS:
            raise UsageError(f"--confirm takes {', '.join(GUARDS)}, separated by commas; got {name!r}")
    return tuple(dict.fromkeys(requests))
