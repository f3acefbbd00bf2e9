"""GUI-Odyssey: a JSON file for each episode; places on a grid of 1000 x 1000, scrolls as the finger moves."""

from functools import partial
from pathlib import Path
from typing import Any

from molmo_agent.data.options import json_file, options_of, required_path
from molmo_agent.data.question import Question
from molmo_agent.data.readers.grounding.items import Items, image_file
from molmo_agent.data.readers.grounding.targets import Edges, edges, numbers
from molmo_agent.data.readers.steps.prompts import ODYSSEY_PROMPT, PROMPTS, phone_prompt
from molmo_agent.data.readers.steps.questions import step_question
from molmo_agent.data.readers.steps.step import Act, Kind, Place, Step, view_direction
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.errors import UsageError

SPLITS = ("random", "task", "device", "app")
# Clicks on system buttons, and actions of their own, in both versions of the files.
_KEYS: dict[str, Kind] = {"KEY_HOME": "home", "KEY_BACK": "back", "KEY_APPSELECT": "recent"}
_KINDS: dict[str, Kind] = {
    "HOME": "home",
    "BACK": "back",
    "RECENT": "recent",
    "COMPLETE": "complete",
    "IMPOSSIBLE": "impossible",
    "INCOMPLETE": "impossible",
}
_GRID = 1000


def gui_odyssey(source: Source) -> Items:
    """Read GUI-Odyssey: ``annotations/``, ``screenshots/`` (also in subfolders) and ``splits/``.

    Options: ``split``: "random", "task", "device" or "app"; ``subsplit``: "test" or "train"; ``form``: "high", the
    task alone, or "low", the instruction of each step, which only the second version of the files has; ``prompt``, see
    :mod:`~molmo_agent.data.readers.steps.prompts`.

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such split, form or prompt.
    """
    options = options_of(
        source,
        {"split": "random", "subsplit": "test", "form": "high", "prompt": "described"},
        {"split": SPLITS, "subsplit": ("test", "train"), "form": ("high", "low"), "prompt": PROMPTS},
    )
    path, problems = required_path(source), Problems()
    file = path / "splits" / f"{options['split']}_split.json"
    listed = json_file(file)
    names = listed.get(options["subsplit"]) if isinstance(listed, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"expected the episodes of {options['subsplit']!r} in {file}")
    parts: list[Any] = []
    for name in names:
        part = f"annotations/{Path(name).name.removesuffix('.json')}.json"
        try:
            episode = json_file(path / part)
            steps, task = episode["steps"], episode["task_info"]
            facets = {"category": (str(task["category"]),)}
            parse = partial(_question, path / "screenshots", options, episode, facets, [])
            parts.append((part, iter(list(enumerate(steps))), parse))
        except (UsageError, KeyError, TypeError) as error:
            problems.add(Problem(file=part, reason=f"expected an episode with task_info and steps: {error}"))
    return Items(path.name, parts, problems)


def _question(
    screenshots: Path, options: Any, episode: Any, facets: Any, previous: list[str], number: int, record: Any
) -> Question:
    id_ = str(episode["episode_id"])
    act = _act(record["action"], record.get("info"))
    box = record.get("sam2_bbox")
    step = Step(
        act=act,
        episode=id_,
        number=record.get("step", number),
        length=len(episode["steps"]),
        targets=(_fractions(edges(box, "xyxy", name="'sam2_bbox'")),) if box else (),
        facets=facets,
    )
    task = episode["task_info"]["instruction"] if options["form"] == "high" else record["low_level_instruction"]
    text = phone_prompt(options["prompt"], ODYSSEY_PROMPT, task, previous)
    previous.append(act.words())
    image = image_file(screenshots, _beneath(screenshots, record["screenshot"]))
    return step_question(f"{id_}/{step.number}", text, step, image)


def _act(action: Any, info: Any) -> Act:
    if action in ("CLICK", "LONG_PRESS"):
        if isinstance(info, str) and info in _KEYS:
            return Act(kind=_KEYS[info])
        return Act(kind="click" if action == "CLICK" else "long press", place=_places(info, 1)[0])
    if action == "SCROLL":
        return Act(kind="scroll", direction=view_direction(*_places(info, 2)))
    if action in ("TYPE", "TEXT"):
        if not isinstance(info, str):
            raise ValueError(f"expected the typed text as 'info', got {info!r:.80}")
        return Act(kind="type", text=info)
    if action not in _KINDS:
        raise ValueError(f"expected an action of CLICK, SCROLL, TYPE, {', '.join(_KINDS)}, got {action!r:.40}")
    return Act(kind=_KINDS[action])


def _places(info: Any, count: int) -> list[Place]:
    if not isinstance(info, list) or len(info) != count:
        raise ValueError(f"expected {count} [x, y] as 'info', got {info!r:.80}")
    places = [numbers(place, "a place of 'info'", 2) for place in info]
    if any(not 0 <= side <= _GRID for place in places for side in place):
        raise ValueError(f"expected places of 0 to {_GRID} as 'info', got {info!r:.80}: other units?")
    return [(x / _GRID, y / _GRID) for x, y in places]


def _fractions(box: Edges) -> Edges:
    left, top, right, bottom = (side / _GRID for side in box)
    return left, top, right, bottom


def _beneath(folder: Path, name: Any) -> Any:
    """Return the name of a screenshot in the folder, or in the subfolder that holds it as it is unpacked."""
    if not isinstance(name, str) or (folder / name).is_file():
        return name
    subfolders = sorted(entry for entry in folder.iterdir() if entry.is_dir()) if folder.is_dir() else []
    return next((f"{sub.name}/{name}" for sub in subfolders if (sub / name).is_file()), name)
