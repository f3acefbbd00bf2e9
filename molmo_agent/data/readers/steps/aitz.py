"""Android in the Zoo: a JSON file and screenshots for each episode; boxes in pixels as y, x, height, width."""

from functools import partial
from pathlib import Path
from typing import Any

from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.question import Question
from molmo_agent.data.readers.grounding.items import Items, file_records, image_file
from molmo_agent.data.readers.grounding.targets import numbers
from molmo_agent.data.readers.steps.aitw import action_of, boxes_of, place_of_yx
from molmo_agent.data.readers.steps.prompts import AITW_PROMPT, PROMPTS, phone_prompt
from molmo_agent.data.readers.steps.questions import step_question
from molmo_agent.data.readers.steps.step import Act, Step, view_direction
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import Problem, Problems
from molmo_agent.errors import UsageError
from molmo_agent.parse import load_json

# Its authors call a gesture vertical if its height is at least this share of its width.
_VERTICAL_SHARE = 0.9


def aitz(source: Source) -> Items:
    """Read Android in the Zoo: ``SPLIT/SUBSET/EPISODE/EPISODE.json`` with the screenshots beside each file.

    Options: ``split`` ("test"); ``prompt``, see :mod:`~molmo_agent.data.readers.steps.prompts`.

    Raises:
        UsageError: the files are missing.
        UnknownNameError: no such split or prompt.
    """
    options = options_of(
        source, {"split": "test", "prompt": "described"}, {"split": ("train", "test"), "prompt": PROMPTS}
    )
    path, problems = required_path(source), Problems()
    root = path / options["split"]
    files = sorted(root.glob("*/*/*.json"))
    if not files:
        raise UsageError(f"expected {root}/SUBSET/EPISODE/EPISODE.json, found none")
    parts: list[Any] = []
    for file in files:
        try:
            records = list(file_records(file))
        except UsageError as error:
            problems.add(Problem(file=str(file.relative_to(root)), reason=f"{error}"))
            continue
        subset = file.parent.parent.name
        parse = partial(_question, file.parent, options["prompt"], subset, len(records), [])
        parts.append((str(file.relative_to(root)), iter(records), parse))
    return Items(path.name, parts, problems)


def _question(
    folder: Path, prompt: str, subset: str, length: int, previous: list[str], number: int, record: Any
) -> Question:
    touch, lift = (place_of_yx(record[f"result_{end}_yx"], f"result_{end}_yx") for end in ("touch", "lift"))
    act = action_of(record["result_action_type"], touch, lift, record.get("result_action_text") or "")
    if act.kind == "scroll":
        act = Act(kind="scroll", direction=view_direction(touch, lift, vertical_share=_VERTICAL_SHARE))
    positions = record.get("ui_positions") or "[]"
    rows = load_json(positions, where="the text of ui_positions") if isinstance(positions, str) else positions
    step = Step(
        act=act,
        episode=f"{subset}/{record['episode_id']}",
        number=record["step_id"],
        length=record.get("episode_length") or length,
        frame="pixels",
        boxes=boxes_of([side for row in rows for side in numbers(row, "a row of ui_positions", 4)]),
        facets={"subset": (subset,)},
    )
    # Paths in the files are those of the authors' machine.
    image = image_file(folder, Path(record["image_path"]).name)
    text = phone_prompt(prompt, AITW_PROMPT, record["instruction"], previous)
    previous.append(act.words())
    return step_question(f"{step.episode}/{step.number}", text, step, image)
