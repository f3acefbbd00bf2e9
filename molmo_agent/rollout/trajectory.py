"""Read a trajectory folder back, even that of a run that was killed. ``recorder.py`` writes it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from molmo_agent.actions import action_from_dict
from molmo_agent.episode import (
    Decision,
    Exchange,
    Image,
    LabelledPoint,
    Observation,
    Plan,
    PointResult,
    Refusal,
    Step,
    Task,
    Trajectory,
)
from molmo_agent.errors import DataError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.images import read_image
from molmo_agent.parse import json_lines, read_bounded, read_json
from molmo_agent.rollout.recorder import SCHEMA, SCHEMA_VERSION
from molmo_agent.transforms import ImageTransform


@dataclass(frozen=True, slots=True)
class TrajectoryFolder:
    """A trajectory folder on disk: its JSON; images are read on demand."""

    path: Path
    meta: dict[str, Any]
    # One entry per whole line of steps.jsonl.
    lines: tuple[dict[str, Any], ...]
    # None when the process was killed.
    result: dict[str, Any] | None
    # What is missing or damaged, as text.
    notes: tuple[str, ...]

    def png(self, record: Mapping[str, Any]) -> bytes:
        """Return the PNG file that a record names, checked against its sha256.

        Raises:
            UsageError: the file is missing, lies outside the folder or was changed.
        """
        name = record.get("file")
        if name is None:
            raise UsageError(f"an image of {self.path} could not be stored during the run")
        name = str(name)
        if Path(name).name != name or "\\" in name or "\0" in name or len(name) > 200:
            raise UsageError(f"expected an image's file name inside {self.path}, got {name!r}")
        path = self.path / name
        if path.is_symlink():
            raise UsageError(f"the image {path} is a link; images of a trajectory lie in its folder")
        if not path.exists():
            raise UsageError(f"the image {path} is missing")
        data = read_bounded(path)
        if hashlib.sha256(data).hexdigest() != record.get("sha256"):
            raise UsageError(f"the image {self.path / name} was changed after it was recorded: its sha256 differs")
        return data


def read_folder(path: str | Path) -> TrajectoryFolder:
    """Read a trajectory folder; that of a killed run is read up to its last complete step.

    Raises:
        UsageError: this is not a trajectory folder, or one of a newer version.
    """
    path = Path(path)
    meta = _json_file(path / "meta.json")
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
        raise UsageError(f"expected a trajectory folder (with a meta.json of {SCHEMA}), got {path}")
    if meta.get("schema_version") != SCHEMA_VERSION:
        raise UsageError(
            f"{path} has the schema version {meta.get('schema_version')!r}, this program reads {SCHEMA_VERSION}: "
            "use the version of molmo_agent named in its meta.json"
        )
    task = meta.get("task")
    if not isinstance(task, dict) or not isinstance(task.get("instruction"), str):
        raise UsageError(f"{path / 'meta.json'} is damaged: expected a task with an instruction, got {task!r:.80}")
    lines, notes = _lines(path / "steps.jsonl")
    result = _json_file(path / "result.json")
    if not isinstance(result, dict):
        result = None
        notes.append("the run was cut off: there is no result.json")
    return TrajectoryFolder(path, meta, tuple(lines), result, tuple(notes))


def _json_file(path: Path) -> Any:
    try:
        # Without a score, a confidence of a model is NaN.
        return read_json(path, nan=True)
    except DataError:
        return None


def _lines(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the whole lines of a file up to the first damaged one, and a note on that."""
    lines: list[dict[str, Any]] = []
    if not path.exists():
        return lines, []
    if not path.is_file():
        return lines, [f"{path.name} cannot be read: it is no regular file"]
    problem = "damaged"
    try:
        for _, line in json_lines(path, nan=True):
            if not isinstance(line, dict):
                break
            lines.append(line)
        else:
            return lines, []
    except DataError as error:
        if "cannot be read" in str(error):
            return lines, [str(error)]
        problem = "cut off"
    return lines, [f"line {len(lines) + 1} of {path.name} is {problem}; the lines after it are ignored"]


def _plan(record: dict[str, Any] | None) -> Plan | None:
    if record is None:
        return None
    return Plan(**{**record, "exchanges": tuple(Exchange(**exchange) for exchange in record["exchanges"])})


def _result(data: dict[str, Any] | None) -> PointResult | None:
    if data is None:
        return None
    points = tuple(LabelledPoint(Point(**item["point"]), item["label"], item["id"]) for item in data["points"])
    return PointResult(**{**data, "points": points})


def _pixels(folder: TrajectoryFolder, record: dict[str, Any]) -> Image:
    return read_image(folder.png(record))


def load_trajectory(path: str | Path) -> Trajectory:
    """Read a trajectory folder back as a ``Trajectory``, images included.

    Raises:
        UsageError: this is not a trajectory folder, or its content is damaged.
    """
    folder = read_folder(path)
    steps = []
    for line in folder.lines:
        try:
            record = line["observation"]
            values = {
                key: line[key]
                for key in Step.__dataclass_fields__
                if key in line and key not in ("observation", "refused")
            }
            steps.append(
                Step(
                    observation=Observation(
                        _pixels(folder, record), ImageTransform.from_dict(record["transform"]), record["info"]
                    ),
                    decision=Decision(
                        action=action_from_dict(line["action"]),
                        instruction=line["instruction"],
                        result=_result(line["result"]),
                        plan=_plan(line.get("plan")),
                    ),
                    # Old records have no kind.
                    refused=Refusal(line.get("refusal_kind") or "env", line["refused"]) if line["refused"] else None,
                    **values,
                )
            )
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise UsageError(f"step {len(steps)} of {folder.path} is damaged: {error}") from error
    task, result = folder.meta["task"], folder.result or {}
    return Trajectory(
        Task(task["instruction"], task.get("data", {})),
        tuple(steps),
        result.get("success"),
        result.get("ended") or "; ".join(folder.notes),
    )
