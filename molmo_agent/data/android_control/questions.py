"""AndroidControl's steps as questions: screenshot and goal, and what every rule of scoring needs."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import get_args

from molmo_agent.data.android_control.accessibility import visible_nodes
from molmo_agent.data.android_control.episodes import AndroidControl, AndroidStep, Split, target_pixels
from molmo_agent.data.android_control.step_lists import StepList
from molmo_agent.data.options import json_file, options_of, required_path
from molmo_agent.data.question import Question
from molmo_agent.data.readers.grounding.targets import Edges
from molmo_agent.data.readers.steps.prompts import ANDROID_PROMPT, described
from molmo_agent.data.readers.steps.step import Act, Kind, Step
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.errors import UsageError
from molmo_agent.model.prompts import AndroidForm, android_prompt

SUBSPLITS = ("IDD", "app_unseen", "task_unseen", "category_unseen")
_DESCRIBED = ("described", "described_ll")
_KINDS: dict[str, Kind] = {
    "click": "click",
    "long_press": "long press",
    "scroll": "scroll",
    "input_text": "type",
    "open_app": "open app",
    "navigate_home": "home",
    "navigate_back": "back",
    "wait": "wait",
}


class AndroidQuestions:
    """A question per step.

    Options: ``form``: Molmo's "ll", "hl_ll", "hl" and "hl_cot", or "described", which explains the actions to any
    model, and "described_ll", with the instruction of the step; ``split`` ("test"); ``subsplit``: only its episodes;
    ``steps``: a list of steps, see :mod:`~molmo_agent.data.android_control.step_lists`.

    Raises:
        UnknownNameError: the form or the split does not exist.
        UsageError: the folder or the list is unreadable.
    """

    def __init__(self, source: Source) -> None:
        choices = {"form": (*get_args(AndroidForm), *_DESCRIBED), "split": get_args(Split)}
        options = options_of(source, {"form": "hl", "split": "test", "subsplit": None, "steps": "all"}, choices)
        self._form: str = options["form"]
        folder = required_path(source)
        self._reader = AndroidControl(folder, options["split"], subsplit=options["subsplit"])
        self._steps = StepList(folder, options["steps"])
        self._subsplits = _subsplits(folder)
        self._missing: list[Problem] = []

    @property
    def problems(self) -> Problems:
        """The unreadable records of the last pass, and the steps of the list that were not found."""
        return Problems([*self._reader.problems.entries, *self._missing])

    def questions(self) -> Iterator[Question]:
        """Yield the steps in the order of the shards."""
        self._missing, listed = [], 0
        for episode_id, group in groupby(self._reader, key=lambda step: step.episode_id):
            steps = list(group)
            facets = {"subsplit": tuple(name for name in SUBSPLITS if episode_id in self._subsplits.get(name, ()))}
            acts = [_act(step) for step in steps]
            for number, step in enumerate(steps):
                if self._steps.has(episode_id, step.number):
                    listed += 1
                    yield _question(step, self._form, acts[: number + 1], len(steps), facets)
        self._missing = self._steps.missing(listed)


def _subsplits(folder: Path) -> dict[str, set[int]]:
    """Return the episodes of each of the four sub-splits; none without the file, which only tests have."""
    path = folder / "test_subsplits.json"
    if not path.is_file():
        return {}
    named = json_file(path)
    try:
        return {name: set(named[name]) for name in SUBSPLITS if name in named}
    except TypeError as error:
        raise UsageError(f"expected lists of episodes in {path}, but reading them failed: {error!r}") from error


def _act(step: AndroidStep) -> Act:
    action, (width, height) = step.action, step.size()
    kind = _KINDS[action["action_type"]]
    return Act(
        kind=kind,
        place=(action["x"] / width, action["y"] / height) if kind in ("click", "long press") else None,
        text=action.get("text", "") if kind == "type" else action["app_name"] if kind == "open app" else "",
        direction=action["direction"] if kind == "scroll" else "",
    )


def _question(
    step: AndroidStep, form: str, acts: Sequence[Act], length: int, facets: dict[str, tuple[str, ...]]
) -> Question:
    """Return the question for the last of some actions."""
    size = step.size()
    nodes = list(visible_nodes(step.windows))
    pixels = target_pixels(step.action, step.windows, size)
    recorded = Step(
        act=acts[-1],
        episode=f"episode {step.episode_id}",
        number=step.number,
        length=length,
        boxes=tuple(_fractions(node.box, size) for node in nodes),
        labels=tuple(f"{node.text}\n{node.description}" for node in nodes),
        targets=() if pixels is None else (_fractions(pixels, size),),
        facets=facets,
    )
    return Question(
        id=step.row,
        style="android_control",
        text=_prompt(step, form, [act.words() for act in acts[:-1]]),
        answers=(step.target_action(),),
        size=size,
        image=step.image,
        extra={"box": step.target_box(), "reference": _reference(step), "step": recorded},
    )


def _fractions(box: Sequence[float], size: tuple[int, int]) -> Edges:
    left, top, right, bottom = (edge / size[i % 2] for i, edge in enumerate(box))
    return left, top, right, bottom


def _prompt(step: AndroidStep, form: str, previous: Sequence[str]) -> str:
    if form in get_args(AndroidForm):
        return android_prompt(form, goal=step.goal, step=step.instruction)  # type: ignore[arg-type]
    task = f"{step.goal}\nThe next step: {step.instruction}" if form == "described_ll" else step.goal
    return described(ANDROID_PROMPT, task, previous)


def _reference(step: AndroidStep) -> dict[str, str] | None:
    """Return action and box as the authors' code does; None if it fails."""
    try:
        box = step.target_box(reference_quirks=True)
        action = step.target_action(reference_quirks=True)
    except (re.error, ValueError):  # the app's name is not a valid pattern, or an element has no package
        return None
    return {"action": action, "box": "" if box is None else str(list(box))}
