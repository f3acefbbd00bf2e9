"""The prompts of step benchmarks: Molmo's own, and one that describes the actions to any model."""

from collections.abc import Sequence

from molmo_agent.model.prompts import android_prompt

PHONE_PROMPT = """You operate a phone. The image is its screen. Task: {task}
{previous}Reply with the next action alone, in one of these forms:
Click(x, y)
Long Press(x, y)
Scroll up, Scroll down, Scroll left or Scroll right (down shows what is below)
Type TEXT
Open App NAME
Press Enter
Navigate Back
Navigate Home
Press Recent
Wait
Task Complete
Task Impossible
x and y are percent of the image's width and height, from its left and top edge."""

PAGE_PROMPT = """You operate a web browser. The image shows a part of the page. Task: {task}
{previous}Reply with the next action alone, in one of these forms:
Click(x, y)
Type(x, y) TEXT
Select(x, y) OPTION
x and y are percent of the image's width and height, from its left and top edge."""

PROMPTS = ("described", "molmo")
_MAX_PREVIOUS = 4


def described(template: str, task: str, previous: Sequence[str] = ()) -> str:
    """Return a prompt that describes the actions; at most the last four previous actions are in it.

    Args:
        template: :data:`PHONE_PROMPT` or :data:`PAGE_PROMPT`.
        task: the instruction.
        previous: the recorded actions before this one.
    """
    lines = "".join(f"- {action}\n" for action in previous[-_MAX_PREVIOUS:])
    # Not str.format: a task may hold braces.
    return template.replace("{previous}", f"Previous actions:\n{lines}" if lines else "").replace("{task}", task)


def phone_prompt(prompt: str, task: str, previous: Sequence[str] = ()) -> str:
    """Return the prompt of a step on a phone.

    Args:
        prompt: one of :data:`PROMPTS`; "molmo" is the prompt of AndroidControl's high-level form, which has no history.
        task: the instruction.
        previous: the recorded actions before this one.

    Raises:
        ValueError: the task is no text.
    """
    if not isinstance(task, str) or not task.strip():
        raise ValueError(f"expected the task as text, got {task!r:.80}")
    task = task.strip()
    return android_prompt("hl", goal=task) if prompt == "molmo" else described(PHONE_PROMPT, task, previous)
