"""The prompts of step benchmarks: Molmo's own, and one that describes the actions to any model."""

import re
from collections.abc import Mapping, Sequence

from molmo_agent.data.readers.steps.step import Kind
from molmo_agent.model.prompts import android_prompt

_END = "x and y are percent of the image's width and height, from its left and top edge."
# How an action is written, by its type.
_FORMS: Mapping[Kind, str] = {
    "click": "Click(x, y)",
    "long press": "Long Press(x, y)",
    "scroll": "Scroll up, Scroll down, Scroll left or Scroll right (down shows what is below)",
    "type": "Type TEXT",
    "open app": "Open App NAME",
    "enter": "Press Enter",
    "back": "Navigate Back",
    "home": "Navigate Home",
    "recent": "Press Recent",
    "wait": "Wait",
    "complete": "Task Complete",
    "impossible": "Task Impossible",
}


def _phone(*kinds: Kind) -> str:
    """Return the prompt of a benchmark that has these types of actions."""
    forms = "\n".join(_FORMS[kind] for kind in kinds)
    return (
        "You operate a phone. The image is its screen. Task: {task}\n{previous}"
        f"Reply with the next action alone, in one of these forms:\n{forms}\n{_END}"
    )


AITW_PROMPT = _phone("click", "scroll", "type", "enter", "back", "home", "complete", "impossible")
"""Of AITW and AITZ; the task and the previous actions are filled in."""
ODYSSEY_PROMPT = _phone(
    *("click", "long press", "scroll", "type"), *("back", "home", "recent", "complete", "impossible")
)
ANDROID_PROMPT = _phone("click", "long press", "scroll", "type", "open app", "back", "home", "wait")
PAGE_PROMPT = (
    "You operate a web browser. The image shows a part of the page. Task: {task}\n{previous}Reply with the next action "
    f"alone, in one of these forms:\nClick(x, y)\nType(x, y) TEXT\nSelect(x, y) OPTION\n{_END}"
)

PROMPTS = ("described", "molmo")
_MAX_PREVIOUS = 4


def described(template: str, task: str, previous: Sequence[str] = ()) -> str:
    """Return a prompt that describes the actions; at most the last four previous actions are in it.

    Args:
        template: one of the prompts above.
        task: the instruction.
        previous: the recorded actions before this one.
    """
    lines = "".join(f"- {action}\n" for action in previous[-_MAX_PREVIOUS:])
    values = {"task": task, "previous": f"Previous actions:\n{lines}" if lines else ""}
    # Not str.format, and in one pass: tasks and typed texts may hold braces.
    return re.sub(r"\{(task|previous)\}", lambda name: values[name[1]], template)


def phone_prompt(prompt: str, template: str, task: str, previous: Sequence[str] = ()) -> str:
    """Return the prompt of a step on a phone.

    Args:
        prompt: one of :data:`PROMPTS`; "molmo" is the prompt of AndroidControl's high-level form, which has no history.
        template: the described prompt of the benchmark.
        task: the instruction.
        previous: the recorded actions before this one.

    Raises:
        ValueError: the task is no text.
    """
    if not isinstance(task, str) or not task.strip():
        raise ValueError(f"expected the task as text, got {task!r:.80}")
    task = task.strip()
    return android_prompt("hl", goal=task) if prompt == "molmo" else described(template, task, previous)
