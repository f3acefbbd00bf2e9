"""Recorded trajectories as a LeRobot data set, format v3.0; needs no env and no model.

The layout is that of ``lerobot.datasets`` for ``codebase_version`` "v3.0" and was checked against what its reader and
writer (dataset_metadata, dataset_writer, dataset_reader, io_utils, feature_utils) do in their public source, and
against published data sets' info.json. The statistics agree with its ``compute_stats`` of version 0.6.1.

    meta/info.json                             features, counts, path templates
    meta/stats.json                            min, max, mean, std, count, q01 ... q99 of each numeric feature
    meta/tasks.parquet                         task_index by instruction
    meta/episodes/chunk-000/file-000.parquet   one row per episode: its frames, its file, its stats
    data/chunk-000/file-000.parquet            one row per frame, one row group per episode, images as PNG

A frame is a step that was sent. ``action`` is (x, y, present) for each of the most points that a step has, in fractions
of the image, as in this package's gymnasium envs; ``step.action_json`` is the whole action with text and keys. Steps
have no fixed rate: ``fps`` is 1, so ``timestamp`` counts steps.
"""

import importlib
import json
import math
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from molmo_agent.actions import Action, Done, action_from_dict, points_of
from molmo_agent.errors import MissingExtraError, UsageError
from molmo_agent.files import write_whole
from molmo_agent.geometry import Point
from molmo_agent.images import read_image
from molmo_agent.rollout.trajectory import TrajectoryFolder, read_folder

VERSION = "v3.0"
_FPS = 1
_CHUNK = 1000
_FILE_MB = 100
_PATH = "chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_IMAGE = "observation.image"
# LeRobot's policies predict every feature whose name begins with "action"; text is none of them.
_ACTION_JSON = "step.action_json"
# Kind -> share of the values at or below it; pi0.5 and others normalize by them.
_QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}

_Episode = tuple[TrajectoryFolder, list[dict[str, Any]]]


def export_lerobot(folders: Sequence[str | Path], target: str | Path) -> str:
    """Write trajectory folders, in their order, into a new folder as one data set; return a summary.

    The folder is complete or absent.

    Raises:
        MissingExtraError: pyarrow or pandas is not installed.
        UsageError: the target exists or cannot be written, a trajectory is damaged, images differ in size, or there is
            nothing to write.
    """
    try:
        for name in ("pandas", "pyarrow", "pyarrow.parquet"):
            importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError("the LeRobot format", "train") from error
    target = Path(target)
    if target.exists():
        raise UsageError(f"{target} exists already and is not overwritten: name another folder")
    trajectories = [read_folder(folder) for folder in folders]
    episodes = [(folder, lines) for folder in trajectories if (lines := _sent_lines(folder))]
    if not episodes:
        raise UsageError(f"expected trajectories with at least one step that was sent, got none in {len(trajectories)}")
    part = target.with_name(f".part-{target.name}")
    try:
        shutil.rmtree(part, ignore_errors=True)
        num_frames = _write_data_set(episodes, part)
        os.replace(part, target)
    except OSError as error:
        raise UsageError(f"cannot write the LeRobot data set {target}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return _left_out(trajectories, len(episodes), num_frames)


def _write_data_set(episodes: Sequence[_Episode], target: Path) -> int:
    """Write the episodes into a new folder; return the number of frames."""
    import pandas
    import pyarrow as pa
    import pyarrow.parquet as pq

    width, height = _size(episodes)
    max_points = max(max(len(_points(line)) for _, lines in episodes for line in lines), 1)
    tasks = list(dict.fromkeys(_instruction(folder) for folder, _ in episodes))
    rows: list[dict[str, Any]] = []
    writer, file_index, size, first = None, 0, 0, 0
    try:
        for number, (folder, lines) in enumerate(episodes):
            table, stats = _frames(folder, lines, number, first, tasks.index(_instruction(folder)), max_points, pa)
            if writer is not None and size + table.nbytes > _FILE_MB << 20:
                writer.close()
                writer, file_index, size = None, file_index + 1, 0
            chunk = {"chunk_index": file_index // _CHUNK, "file_index": file_index % _CHUNK}
            if writer is None:
                path = target / "data" / _PATH.format(**chunk)
                path.parent.mkdir(parents=True, exist_ok=True)
                writer = pq.ParquetWriter(path, table.schema, compression="snappy")
            writer.write_table(table)
            size += table.nbytes
            row = {"episode_index": number, "tasks": [_instruction(folder)], "length": len(lines)}
            row |= {f"data/{key}": value for key, value in chunk.items()}
            row |= {"dataset_from_index": first, "dataset_to_index": first + len(lines)}
            row |= {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
            row |= {f"stats/{name}/{kind}": v.tolist() for name, its in stats.items() for kind, v in its.items()}
            rows.append(row | {"_stats": stats})
            first += len(lines)
    finally:
        if writer is not None:
            writer.close()
    totals = _merge([row.pop("_stats") for row in rows])
    path = target / "meta" / "episodes" / _PATH.format(chunk_index=0, file_index=0)
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    index = pandas.Index(tasks, name="task")
    pandas.DataFrame({"task_index": range(len(tasks))}, index=index).to_parquet(target / "meta" / "tasks.parquet")
    _write(target / "meta" / "stats.json", {n: {k: v.tolist() for k, v in its.items()} for n, its in totals.items()})
    info = {
        "codebase_version": VERSION,
        "robot_type": None,
        "total_episodes": len(episodes),
        "total_frames": first,
        "total_tasks": len(tasks),
        "chunks_size": _CHUNK,
        "data_files_size_in_mb": _FILE_MB,
        "video_files_size_in_mb": 200,
        "fps": _FPS,
        "splits": {"train": f"0:{len(episodes)}"},
        "data_path": f"data/{_PATH}",
        "video_path": None,
        "features": _features(width, height, max_points),
    }
    _write(target / "meta" / "info.json", info)
    return first


def _sent_lines(folder: TrajectoryFolder) -> list[dict[str, Any]]:
    """Return the lines of steps that reached the env: not refused, not a dry run, not the claim to have finished."""
    sent = []
    for number, line in enumerate(folder.lines):
        try:
            action = action_from_dict(line["action"])
            if not (line["refused"] or line["dry_run"] or isinstance(action, Done)):
                _check(line, action)
                sent.append(line)
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise UsageError(f"step {number} of {folder.path} is damaged: {error}") from error
    return sent


def _check(line: dict[str, Any], action: Action) -> None:
    """Check what is exported of a step.

    Raises:
        KeyError, TypeError, ValueError: a field is missing, or has another type or range.
    """
    sides, reward = (line["observation"]["width"], line["observation"]["height"]), line["reward"]
    if not all(type(side) is int and 0 < side < 2**16 for side in sides):
        raise ValueError(f"expected an image of whole pixels, got {sides!r:.80}")
    if type(reward) not in (int, float) or not abs(reward) < np.finfo(np.float32).max:
        raise ValueError(f"expected a finite reward, got {reward!r:.80}")
    ends = (line["terminated"], line["truncated"])
    if not all(type(end) is bool for end in ends):
        raise ValueError(f"expected terminated and truncated to be true or false, got {ends!r:.80}")
    if not all(isinstance(point, Point) for point in points_of(action)):
        raise ValueError(f"expected points of an action, got {action!r:.80}")


def _left_out(trajectories: Sequence[TrajectoryFolder], episodes: int, frames: int) -> str:
    steps = sum(len(folder.lines) for folder in trajectories)
    num_empty = len(trajectories) - episodes
    text = f"{episodes} episodes with {frames} frames"
    text += f"; {steps - frames} steps that sent nothing are left out" if steps > frames else ""
    return text + (f", and {num_empty} trajectories without any other" if num_empty else "")


def _size(episodes: Sequence[_Episode]) -> tuple[int, int]:
    sizes = {(line["observation"]["width"], line["observation"]["height"]) for _, lines in episodes for line in lines}
    if len(sizes) > 1:
        sizes_text = ", ".join(f"{width}x{height}" for width, height in sorted(sizes))
        raise UsageError(f"a LeRobot data set has images of one size, got {sizes_text}: export them separately")
    (width, height) = sizes.pop()
    return int(width), int(height)


def _points(line: dict[str, Any]) -> list[tuple[float, float]]:
    return [(point.x, point.y) for point in points_of(action_from_dict(line["action"]))]


def _instruction(folder: TrajectoryFolder) -> str:
    return _text(str(folder.meta["task"]["instruction"]))


def _text(text: str) -> str:
    """Return a text that Parquet can hold: half a surrogate pair becomes its escape, which is JSON too."""
    return text.encode("utf-8", "backslashreplace").decode()


def _features(width: int, height: int, max_points: int) -> dict[str, Any]:
    def scalar(dtype: str) -> dict[str, Any]:
        return {"dtype": dtype, "shape": [1], "names": None}

    names = [f"{name}_{number}" for number in range(1, max_points + 1) for name in ("x", "y", "present")]
    integers = ("frame_index", "episode_index", "index", "task_index")
    return {
        _IMAGE: {"dtype": "image", "shape": [height, width, 3], "names": ["height", "width", "channels"]},
        "action": {"dtype": "float32", "shape": [3 * max_points], "names": names},
        _ACTION_JSON: scalar("string"),
        "next.reward": scalar("float32"),
        "next.done": scalar("bool"),
        "timestamp": scalar("float32"),
        **{name: scalar("int64") for name in integers},
    }


def _frames(
    folder: TrajectoryFolder, lines: list[dict[str, Any]], episode: int, first: int, task: int, max_points: int, pa: Any
) -> tuple[Any, dict[str, dict[str, Any]]]:
    """Return an episode's table and the stats of its numeric features."""
    count = len(lines)
    actions = np.zeros((count, max_points, 3), np.float32)
    for row, line in zip(actions, lines, strict=True):
        for place, point in zip(row, _points(line), strict=False):
            place[:] = *point, 1.0
    pngs = [folder.png(line["observation"]) for line in lines]
    numbers = {
        "action": actions.reshape(count, -1),
        "next.reward": np.array([line["reward"] for line in lines], np.float32),
        "next.done": np.array([line["terminated"] or line["truncated"] for line in lines]),
        "timestamp": np.arange(count, dtype=np.float32) / _FPS,
        "frame_index": np.arange(count),
        "episode_index": np.full(count, episode),
        "index": np.arange(first, first + count),
        "task_index": np.full(count, task),
    }
    columns: dict[str, Any] = {
        # As the package `datasets` stores images.
        _IMAGE: pa.array(
            [{"bytes": png, "path": None} for png in pngs],
            pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        ),
        "action": pa.FixedSizeListArray.from_arrays(actions.reshape(-1), 3 * max_points),
        _ACTION_JSON: [_text(json.dumps(line["action"], ensure_ascii=False)) for line in lines],
    }
    columns |= {name: pa.array(values) for name, values in numbers.items() if name != "action"}
    stats = {name: _stats(values.reshape(count, -1).astype(np.float64)) for name, values in numbers.items()}
    stats[_IMAGE] = _image_stats(folder, pngs, (lines[0]["observation"]["height"], lines[0]["observation"]["width"]))
    return pa.table(columns), stats


def _stats(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return the stats of (frames, dimensions) values: (dimensions,) each, and ``count`` (1,)."""
    ordered = np.sort(values, axis=0)
    # The smallest value that enough values do not exceed, as LeRobot's own writer finds it in its histograms.
    quantiles = {kind: ordered[max(math.ceil(share * len(values)), 1) - 1] for kind, share in _QUANTILES.items()}
    moments = {"min": ordered[0], "max": ordered[-1], "mean": values.mean(0), "std": values.std(0)}
    return {**moments, "count": np.array([len(values)]), **quantiles}


def _image_stats(folder: TrajectoryFolder, pngs: Sequence[bytes], size: tuple[int, int]) -> dict[str, Any]:
    """Return the stats of all pixels per channel, in [0, 1]: (3, 1, 1) each, and ``count`` (1,), of images.

    Raises:
        UsageError: an image has another size (height, width) than its record.
    """
    counts = np.zeros((3, 256), np.int64)
    for png in pngs:
        image = read_image(png)
        if image.shape[:2] != size:
            raise UsageError(f"expected images of {size[1]}x{size[0]} px in {folder.path}, got {image.shape[1::-1]}")
        counts += [np.bincount(channel, minlength=256) for channel in image.reshape(-1, 3).T]
    levels, total, cumulated = np.arange(256) / 255, counts[0].sum(), counts.cumsum(axis=1)
    mean = counts @ levels / total
    stats = {
        "min": [levels[np.flatnonzero(channel)[0]] for channel in counts],
        "max": [levels[np.flatnonzero(channel)[-1]] for channel in counts],
        "mean": mean,
        "std": np.sqrt((counts * (levels - mean[:, None]) ** 2).sum(axis=1) / total),
    }
    for kind, share in _QUANTILES.items():
        stats[kind] = [levels[np.searchsorted(channel, share * total)] for channel in cumulated]
    per_channel: dict[str, Any] = {kind: np.reshape(values, (3, 1, 1)) for kind, values in stats.items()}
    return per_channel | {"count": np.array([len(pngs)])}


def _merge(each: list[dict[str, dict[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Return the stats of all frames from those of the episodes.

    A quantile is the mean of the episodes' quantiles, weighted by their frames, as LeRobot's own writer merges them.
    """
    totals = {}
    for name in each[0]:
        its = {kind: np.stack([stats[name][kind] for stats in each]) for kind in each[0][name]}
        weights = its["count"].reshape(-1, *[1] * (its["mean"].ndim - 1)) / its["count"].sum()
        mean = (its["mean"] * weights).sum(0)
        variance = ((its["std"] ** 2 + (its["mean"] - mean) ** 2) * weights).sum(0)
        bounds = {"min": its["min"].min(0), "max": its["max"].max(0)}
        quantiles = {kind: (its[kind] * weights).sum(0) for kind in _QUANTILES}
        totals[name] = {**bounds, "mean": mean, "std": np.sqrt(variance), "count": its["count"].sum(0), **quantiles}
    return totals


def _write(path: Path, content: Any) -> None:
    write_whole(path, json.dumps(content, indent=4, ensure_ascii=False) + "\n")
