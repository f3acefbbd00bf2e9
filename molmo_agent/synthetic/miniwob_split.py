"""MiniWoB++'s click tasks in two lists: training tasks and hold-out tasks."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files

SEED = 2**30
"""In evaluation, episode n of a list has the seed SEED + n; training uses smaller seeds."""


LISTS = ("trained", "never_trained")


def task_lists() -> Mapping[str, Sequence[str]]:
    """Return the tasks by list: those allowed in training, and those excluded from it."""
    text = (files("molmo_agent.synthetic") / "miniwob_split.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return {name: tuple(content[name]) for name in LISTS}
