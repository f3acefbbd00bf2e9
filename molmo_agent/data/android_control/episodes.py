"""AndroidControl: episodes from its shards, the text of each action, and the box of a correct click.

Format and texts: docs/reference/data.md#androidcontrol. Errors of the authors' code are corrected here;
``reference_quirks`` reproduces them for comparison with published numbers.
"""

import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from molmo_agent.data.android_control.accessibility import (
    Node,
    PixelBox,
    read_forest,
    reduced_text,
    reference_boxes,
    visible_nodes,
)
from molmo_agent.data.formats.protobuf import feature_map
from molmo_agent.data.formats.tfrecord import Mark, read_records
from molmo_agent.data.unusable_rows import ROW_ERRORS, Problem, Problems, reason_of
from molmo_agent.episode import Image
from molmo_agent.errors import ImageError, UsageError
from molmo_agent.images import open_image, read_image, read_size
from molmo_agent.parse import load_json, read_json

Split = Literal["train", "validation", "test"]
PercentBox = tuple[float, float, float, float]
"""Left, top, right, bottom in percent of width and height; may reach beyond the screen."""

# The required parameters of each type of action.
_PARAMETERS: dict[str, dict[str, type | tuple[type, ...]]] = {
    "click": {"x": (int, float), "y": (int, float)},
    "long_press": {"x": (int, float), "y": (int, float)},
    "scroll": {"direction": str},
    "input_text": {"text": str},
    "open_app": {"app_name": str},
    "navigate_home": {},
    "navigate_back": {},
    "wait": {},
}
# Half the side, in pixels, of the square around a click that no element encloses.
_FALLBACK = 10
# Repetitions in an app's name that is searched as a regular expression: within brackets they may take exponential time,
# without ("c++ lab") each one multiplies the time by the length of the text.
_MAX_REPETITIONS, _MAX_IN_BRACKETS = 3, 1


@dataclass(frozen=True, slots=True)
class AndroidStep:
    """One screen with the instruction and the action on it."""

    episode_id: int
    number: int
    goal: str
    instruction: str
    action: dict[str, Any]
    png: bytes
    windows: list[list[Node]]

    @property
    def row(self) -> str:
        """The name of the step in reports."""
        return f"episode {self.episode_id}, step {self.number}"

    def image(self) -> Image:
        """Decode the screenshot to (height, width, 3) uint8."""
        return read_image(self.png)

    def size(self) -> tuple[int, int]:
        """Return (width, height) of the screenshot itself; the record's own values may be wrong."""
        return read_size(self.png)

    def off_screen(self) -> str:
        """Return why a click lies outside the screenshot; empty if it is inside or the action is none."""
        if self.action["action_type"] not in ("click", "long_press"):
            return ""
        (width, height), x, y = self.size(), self.action["x"], self.action["y"]
        if 0 <= x < width and 0 <= y < height:
            return ""
        return f"the click at ({x}, {y}) lies outside the screenshot of {width} x {height} pixels"

    def target_action(self, *, reference_quirks: bool = False) -> str:
        """Return the action as the model should write it, coordinates in percent."""
        return action_text(self.action, self.size(), reference_quirks=reference_quirks)

    def target_box(self, *, reference_quirks: bool = False) -> PercentBox | None:
        """Return the box of a correct click: the clicked element or the app's name; None for other actions."""
        box = target_pixels(self.action, self.windows, self.size(), reference_quirks=reference_quirks)
        return None if box is None else percent_box(box, self.size())


def check_action(action: Any) -> dict[str, Any]:
    """Return the action if its type is known and its parameters are complete.

    Raises:
        ValueError: the type is unknown or a parameter is missing.
    """
    kind = action.get("action_type") if isinstance(action, dict) else None
    if not isinstance(kind, str) or kind not in _PARAMETERS:
        raise ValueError(f"expected an action_type of {', '.join(_PARAMETERS)}, got {kind!r}")
    for name, types in _PARAMETERS[kind].items():
        if not isinstance(action.get(name), types) or isinstance(action.get(name), bool):
            raise ValueError(f"the action {kind} needs {name}, got {action.get(name)!r}")
    checked_action: dict[str, Any] = action
    return checked_action


def action_text(action: dict[str, Any], size: tuple[int, int], *, reference_quirks: bool = False) -> str:
    """Return an action as text, coordinates in percent with one decimal.

    Args:
        action: the JSON of the data set.
        size: (width, height) of the screenshot.
        reference_quirks: take coordinates of any type as they are printed ("12" is 12), leave negative, fractional and
            unreadable ones in pixels, and return "" for unknown actions.

    Raises:
        ValueError: the action is unknown or a parameter is missing.
    """
    if reference_quirks and "action_type" in action and action["action_type"] not in _PARAMETERS:
        return ""
    kind = action.get("action_type")
    if reference_quirks and kind in ("click", "long_press"):
        printed = _printed_point(action)
        name = "Click" if kind == "click" else "Long Press"
        # Matches a prefix: text after a closing bracket inside the coordinates is lost.
        whole = re.match(r"(\d+), (\d+)\)", f"{printed})")
        if whole is None:
            return f"{name}({printed})"
        x, y = int(whole[1]), int(whole[2])
        return f"{name}({round(x / size[0] * 100, 1)}, {round(y / size[1] * 100, 1)})"
    kind = check_action(action)["action_type"]
    if kind in ("click", "long_press"):
        name = "Click" if kind == "click" else "Long Press"
        return f"{name}({round(action['x'] / size[0] * 100, 1)}, {round(action['y'] / size[1] * 100, 1)})"
    texts = {
        "scroll": "Scroll {direction}",
        "input_text": "Type {text}",
        "open_app": "Open App {app_name}",
        "navigate_home": "Navigate Home",
        "navigate_back": "Navigate Back",
        "wait": "Wait",
    }
    return texts[kind].format(**action)


def _printed_point(action: dict[str, Any]) -> str:
    """Return a click's coordinates as the authors' code prints them, whatever their type.

    Raises:
        ValueError: x or y is absent.
    """
    for name in ("x", "y"):
        if name not in action:
            raise ValueError(f"the action {action['action_type']} needs {name}, got {action.get(name)!r}")
    return f"{action['x']}, {action['y']}"


def reference_point(action: dict[str, Any]) -> tuple[int, int]:
    """Return the pixel point (x, y) whose element the authors' code looks for: the first two runs of digits.

    Signs and decimal points separate runs, so (-4, 100) is (4, 100) and (10.5, 20) is (10, 5).

    Raises:
        ValueError: x or y is absent, or they have fewer than two runs of digits.
    """
    printed = _printed_point(action)
    numbers = [int(digits) for digits in re.findall(r"\d+", printed)]
    if len(numbers) < 2:
        raise ValueError(f"the action {action['action_type']} needs two numbers, got ({printed})")
    return numbers[0], numbers[1]


def percent_box(box: PixelBox, size: tuple[int, int]) -> PercentBox:
    """Return a box in percent of (width, height), with one decimal."""
    left, top, right, bottom = (round(edge / size[i % 2] * 100, 1) for i, edge in enumerate(box))
    return left, top, right, bottom


def target_pixels(
    action: dict[str, Any], windows: Sequence[Sequence[Node]], size: tuple[int, int], *, reference_quirks: bool = False
) -> PixelBox | None:
    """Return the box of a correct click in pixels; None if the action has none.

    Args:
        action: the JSON of the data set.
        windows: the elements on the screen.
        size: (width, height) of the screenshot.
        reference_quirks: take the narrowest element instead of the smallest, replace absent edges by the screen's, and
            find point and app name as the authors do (:func:`reference_point`, :func:`reference_app_box`).

    Raises:
        ValueError: with ``reference_quirks``, if the authors' code fails here.
    """
    kind = action.get("action_type")
    if kind == "open_app":
        name = action["app_name"]
        if reference_quirks:
            return reference_app_box(reduced_text(windows), name)
        boxes_with_name = (node.box for node in visible_nodes(windows) if node.text.casefold() == name.casefold())
        return next(boxes_with_name, None)
    if kind not in ("click", "long_press"):
        return None
    x, y = reference_point(action) if reference_quirks else (action["x"], action["y"])

    def extent(box: PixelBox) -> tuple[int, int]:
        return box[2] - box[0], box[3] - box[1]

    boxes = reference_boxes(windows, *size) if reference_quirks else [node.box for node in visible_nodes(windows)]
    around = [box for box in boxes if box[0] <= x <= box[2] and box[1] <= y <= box[3]]
    if reference_quirks:
        around.sort(key=extent)
    else:
        around = [box for box in around if min(extent(box)) > 0]
        around.sort(key=lambda box: extent(box)[0] * extent(box)[1])
    if around:
        return around[0]
    return (x - _FALLBACK, y - _FALLBACK, x + _FALLBACK, y + _FALLBACK)


def reference_app_box(text: str, name: str) -> PixelBox | None:
    """Find an app's name in a reduced text as the authors do: as a regular expression, as a prefix, in lower case.

    Raises:
        re.error: the name is in the text, but is not a valid regular expression.
        ValueError: it is one that could take for ever.
    """
    text = text.lower()
    if f"text={name}" not in text:
        return None
    if sum(map(name.count, "*+{")) > (_MAX_IN_BRACKETS if "(" in name else _MAX_REPETITIONS):
        raise ValueError(f"the app's name {name[:40]!r} repeats too much to be searched as a regular expression")
    pattern = rf"center=\[(\d+),(\d+)\],\s*size=\[(\d+),(\d+)\],\s*text={name}"
    match = re.search(pattern, text)
    if match is None:
        return None
    center_x, center_y, width, height = map(int, match.groups()[:4])
    return center_x - width // 2, center_y - height // 2, center_x + width // 2, center_y + height // 2


class AndroidControl:
    """The steps of a folder of shards.

    Args:
        folder: shards ``android_control-...``, ``splits.json`` and, for tests, ``test_subsplits.json``.
        split: which episodes.
        subsplit: for the test split, restricts the episodes to this one, such as "IDD", which the authors use;
            None: all.

    Raises:
        UsageError: the folder has no shards or lacks the split.
    """

    def __init__(self, folder: Path, split: Split = "train", *, subsplit: str | None = None) -> None:
        self.shards = sorted(path for path in folder.glob("android_control-*") if path.is_file())
        if not self.shards:
            raise UsageError(f"expected shards named android_control-... in {folder}, found none")
        self.ids = _ids(folder / "splits.json", split)
        if subsplit is not None:
            self.ids &= _ids(folder / "test_subsplits.json", subsplit)
        # Filled while reading.
        self.problems = Problems()

    def __iter__(self) -> Iterator[AndroidStep]:
        """Yield the steps, episode by episode, in the order of the shards; unreadable episodes go to ``problems``."""
        self.problems = Problems()
        episode_ids: set[int] = set()
        for shard in self.shards:
            for steps in read_episodes(shard, self.problems, episode_ids):
                if steps and steps[0].episode_id in self.ids:
                    yield from steps


def _ids(path: Path, name: str) -> set[int]:
    try:
        return set(read_json(path)[name])
    except (UsageError, KeyError, TypeError) as error:
        raise UsageError(f"expected the episodes of {name!r} in {path}, but reading them failed: {error!r}") from error


def read_episodes(shard: Path, problems: Problems, episode_ids: set[int]) -> Iterator[list[AndroidStep]]:
    """Yield the episodes of a shard as lists of steps.

    Args:
        shard: the file.
        problems: collects damaged records; incomplete episodes are skipped.
        episode_ids: ids of earlier episodes, also from other shards; a second record of an id is skipped.
    """
    for _, steps in located_episodes(shard, problems, episode_ids):
        yield steps


def located_episodes(
    shard: Path, problems: Problems, episode_ids: set[int], marks: list[Mark] | None = None
) -> Iterator[tuple[int, list[AndroidStep]]]:
    """Yield the episodes as :func:`read_episodes` does, each with the offset of its record.

    ``marks`` collects the positions that :func:`~molmo_agent.data.formats.tfrecord.record_at` needs to find them again.
    """
    for record in read_records(shard, problems, marks):
        row = None
        try:
            features = feature_map(record.payload)
            episode_id = _one(features, "episode_id", int)
            row = f"episode {episode_id}"
            if episode_id in episode_ids:
                raise ValueError("the episode occurs twice; counted once")
            steps = _episode(episode_id, features)
        except ROW_ERRORS as error:
            reason = reason_of(error) if not isinstance(error, UnicodeDecodeError) else "a text is not UTF-8"
            problems.add(Problem(file=shard.name, reason=reason, record=record.index, offset=record.offset, row=row))
            continue
        episode_ids.add(episode_id)
        yield record.offset, steps


def episode_of(payload: bytes) -> list[AndroidStep]:
    """Return the steps of a record that was readable before.

    Raises:
        ValueError: the record is not an episode.
    """
    features = feature_map(payload)
    return _episode(_one(features, "episode_id", int), features)


def _one(features: dict[str, Any], name: str, kind: type) -> Any:
    values = _many(features, name, kind)
    if len(values) != 1:
        raise ValueError(f"expected one {name}, got {len(values)}")
    return values[0]


def _many(features: dict[str, Any], name: str, kind: type) -> list[Any]:
    if name not in features:
        raise ValueError(f"the feature {name} is missing")
    values: list[Any] = features[name]
    if not all(isinstance(value, kind) for value in values):
        raise ValueError(f"expected {name} to hold {kind.__name__}, got {type(values[0]).__name__}")
    return values


def _episode(episode_id: int, features: dict[str, Any]) -> list[AndroidStep]:
    goal = _one(features, "goal", bytes).decode()
    screens, actions = _many(features, "screenshots", bytes), _many(features, "actions", bytes)
    instructions = _many(features, "step_instructions", bytes)
    forests = _many(features, "accessibility_trees", bytes)
    if not len(actions) == len(instructions) == len(screens) - 1 == len(forests) - 1:
        raise ValueError(
            f"expected one more screenshot and forest than actions and instructions, got {len(screens)} screenshots, "
            f"{len(forests)} forests, {len(actions)} actions, {len(instructions)} instructions"
        )
    steps = []
    for number, (action, instruction) in enumerate(zip(actions, instructions, strict=True)):
        try:
            # The checksums alone: decoding all screenshots would take hours.
            with open_image(io.BytesIO(screens[number])) as image:
                image.verify()
        except ImageError as error:
            raise ValueError(f"the screenshot of step {number} is not usable: {error}") from error
        # Every exception: decoders raise any class on damaged files.
        except Exception as error:
            raise ValueError(f"the screenshot of step {number} is not an image ({error})") from error
        try:
            checked = check_action(load_json(action, where="it"))
        except (ValueError, UsageError) as error:
            raise ValueError(f"the action of step {number} is not usable: {error}") from error
        try:
            windows = read_forest(forests[number])
        except ValueError as error:
            raise ValueError(f"the accessibility forest of step {number} is damaged: {error}") from error
        steps.append(AndroidStep(episode_id, number, goal, instruction.decode(), checked, screens[number], windows))
    return steps
