"""Reader of a user's own runs: the instructions and points of steps that are known to have worked.

A step is used if its run succeeded or reported no result, the action was sent, the screen changed at its point, and
no part of the image is covered. Other steps with a point are skipped and reported with the reason.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from molmo_agent.actions import PointAt, action_from_dict, points_of
from molmo_agent.data.options import options_of, required_path
from molmo_agent.data.row import Conversation, Row, Target
from molmo_agent.data.source import Source
from molmo_agent.data.unusable_rows import ROW_ERRORS, Problem, Problems, reason_of
from molmo_agent.episode import Image
from molmo_agent.errors import UsageError
from molmo_agent.geometry import Point
from molmo_agent.images import read_image
from molmo_agent.point_text.parse import format_points
from molmo_agent.policies.instructions.splitter import split_instruction
from molmo_agent.rollout.trajectory import TrajectoryFolder, read_folder


class TrajectoryRows:
    """The images of trajectory folders, each with all instructions that have a point on it.

    The prompt is the whole instruction or its target alone, as policies use, chosen at random. The path is one
    trajectory folder, or a folder of them.
    """

    def __init__(self, source: Source) -> None:
        options_of(source, {})
        path = required_path(source)
        folders = [path] if (path / "meta.json").is_file() else sorted(p.parent for p in path.glob("*/meta.json"))
        if not folders:
            raise UsageError(f"expected a trajectory folder, or a folder of them, at {path}; found no meta.json")
        self.problems = Problems()
        self._folders: dict[str, TrajectoryFolder] = {}
        self._rows: dict[tuple[str, str], tuple[dict[str, Any], list[tuple[str, str, tuple[Point, ...]]]]] = {}
        for folder in folders:
            self._read(folder)
        self._keys = list(self._rows)
        if not self._rows:
            raise UsageError(f"no step of {path} can be used; {self.problems.summary()}")

    def _read(self, path: Path) -> None:
        try:
            folder = read_folder(path)
        except UsageError as error:
            self.problems.add(Problem(file=path.name, reason=str(error)))
            return
        for note in folder.notes:
            self.problems.add(Problem(file=path.name, reason=note))
        failed = folder.result is not None and folder.result.get("success") is False
        self._folders[path.name] = folder
        for number, line in enumerate(folder.lines):
            try:
                pointing = _pointed_at(line)
                if pointing is None:
                    continue
                reason = "the run did not achieve its task" if failed else _doubt(line)
                if reason:
                    raise ValueError(reason)
                image = line["observation"]
                key = path.name, str(image["file"])
                if key not in self._rows:
                    folder.png(image)
                    self._rows[key] = image, []
                self._rows[key][1].append(pointing)
            except ROW_ERRORS as error:
                row = line.get("instruction")
                name = row if isinstance(row, str) else None
                self.problems.add(Problem(file=path.name, reason=reason_of(error), record=number, row=name))

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self._keys)

    def row(self, number: int, seed: int) -> Row:
        """Return an image with its instructions and points."""
        key = self._keys[number]
        observation, pointings = self._rows[key]
        rng = np.random.RandomState(seed & 0xFFFFFFFF)
        conversations = tuple(
            Conversation(
                turns=((instruction, target)[rng.randint(0, 2)], format_points("molmo", points, target)),
                style="pointing",
                target=Target(instruction=target, points=points),
            )
            for instruction, target, points in pointings
        )

        def image() -> Image:
            return read_image(self._folders[key[0]].png(observation))

        size = int(observation["width"]), int(observation["height"])
        return Row(conversations=conversations, size=size, image=image, name="/".join(key))


def _pointed_at(line: Mapping[str, Any]) -> tuple[str, str, tuple[Point, ...]] | None:
    """Return the instruction, its target and its points; None for a step without a point."""
    action = action_from_dict(line["action"])
    points = points_of(action)
    if not points:
        return None
    if len(points) > 1 and not isinstance(action, PointAt):
        # A drag: it is unknown which of its points the instruction means.
        return None
    instruction = line["instruction"]
    if not isinstance(instruction, str) or not instruction.strip():
        raise ValueError("the step has a point but no instruction")
    return instruction, _target(instruction), points


def _target(instruction: str) -> str:
    """Return the target of an instruction, as a pointing policy would ask for it; if unclear, the whole instruction."""
    try:
        targets = [target for step in split_instruction(instruction) for target in step.targets]
    except UsageError:
        return instruction
    return targets[0] if len(targets) == 1 else instruction


def _doubt(line: Mapping[str, Any]) -> str:
    """Return why a step is not known to have worked; empty if it is."""
    if line["refused"]:
        return f"it was rejected: {line['refused']}"
    if line["dry_run"]:
        return "it was a dry run"
    if line["observation"].get("covered"):
        return "part of the image is covered to hide a secret"
    if line["effect"] != "changed" and line["action"]["type"] != "PointAt":
        return f"its effect is unconfirmed: the screen was {line['effect'].replace('_', ' ')}"
    return ""
