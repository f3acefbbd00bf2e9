"""MiniWoB++'s click tasks in two lists: those that a model may be trained on, and the others."""

import json
from collections.abc import Mapping, Sequence
from importlib.resources import files

SEED = 2**30
"""Episode n of a list has the seed SEED + n; what is trained on has to keep below."""


LISTS = ("trained", "never_trained")


def split() -> Mapping[str, Sequence[str]]:
    """Return the tasks by list: those that a model may have been trained on, and those that none is."""
    text = (files("molmo_agent.synthetic") / "miniwob_split.json").read_text(encoding="utf-8")
    content = json.loads(text)
    return {name: tuple(content[name]) for name in LISTS}
