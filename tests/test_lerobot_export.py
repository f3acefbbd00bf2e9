"""A LeRobot data set of recorded trajectories: its layout, that nothing is lost, and what it refuses."""

import io
import json
import sys

import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest
from PIL import Image

from molmo_agent.actions import Click, Drag, Type, action_from_dict
from molmo_agent.errors import UsageError
from molmo_agent.geometry import Point
from molmo_agent.rollout import lerobot as lerobot_export
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.lerobot import export_lerobot
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.rollout.trajectory import load_trajectory
from molmo_agent.testing import ScriptedDecisions, ToyEnv

LEFT, RIGHT = Point(0.25, 0.5), Point(0.75, 0.125)
SCRIPTS = (
    ("click twice", [Click(LEFT), Click(RIGHT)]),
    ("drag and type", [Drag(LEFT, RIGHT), Type("Grüße <ok>")]),
    ("click twice", [Click(RIGHT)]),
)


def record(folder, task, actions, **how):
    env = ToyEnv(**how)
    list(rollout(ScriptedDecisions(actions), env, task, recorder=Recorder(folder), settle=AT_ONCE, seed=1))
    return folder


@pytest.fixture
def folders(tmp_path):
    return [record(tmp_path / str(number), task, actions) for number, (task, actions) in enumerate(SCRIPTS)]


def test_frames_are_the_steps_that_were_sent(tmp_path, folders):
    told = export_lerobot(folders, tmp_path / "set")
    assert told == "3 episodes with 5 frames; 3 steps that sent nothing are left out"
    table = pq.read_table(tmp_path / "set" / "data" / "chunk-000" / "file-000.parquet")
    frames = table.to_pylist()
    assert [frame["episode_index"] for frame in frames] == [0, 0, 1, 1, 2]
    assert [frame["frame_index"] for frame in frames] == [0, 1, 0, 1, 0]
    assert [frame["index"] for frame in frames] == [0, 1, 2, 3, 4]
    assert [frame["timestamp"] for frame in frames] == [0.0, 1.0, 0.0, 1.0, 0.0]
    assert [frame["task_index"] for frame in frames] == [0, 0, 1, 1, 0]
    assert frames[0]["action"] == [0.25, 0.5, 1, 0, 0, 0]
    assert frames[2]["action"] == [0.25, 0.5, 1, 0.75, 0.125, 1]
    assert frames[3]["action"] == [0, 0, 0, 0, 0, 0]
    assert action_from_dict(json.loads(frames[3]["step.action_json"])) == Type("Grüße <ok>")
    steps = load_trajectory(folders[0]).steps
    picture = np.asarray(Image.open(io.BytesIO(frames[1]["observation.image"]["bytes"])))
    assert np.array_equal(picture, steps[1].observation.image)
    # One row group per episode.
    assert pq.read_metadata(tmp_path / "set" / "data" / "chunk-000" / "file-000.parquet").num_row_groups == 3


def test_meta_says_what_lies_where(tmp_path, folders):
    export_lerobot(folders, tmp_path / "set")
    meta = tmp_path / "set" / "meta"
    info = json.loads((meta / "info.json").read_text())
    assert (info["codebase_version"], info["total_episodes"], info["total_frames"]) == ("v3.0", 3, 5)
    assert (info["total_tasks"], info["fps"], info["splits"]) == (2, 1, {"train": "0:3"})
    path = info["data_path"].format(chunk_index=0, file_index=0)
    columns = pq.read_schema(tmp_path / "set" / path).names
    assert set(columns) == set(info["features"])
    assert info["features"]["observation.image"]["shape"] == [120, 160, 3]
    assert info["features"]["action"]["names"][-3:] == ["x_2", "y_2", "present_2"]
    tasks = pandas.read_parquet(meta / "tasks.parquet")
    assert tasks.loc["drag and type"].task_index == 1
    rows = pq.read_table(meta / "episodes" / "chunk-000" / "file-000.parquet").to_pylist()
    assert [(row["dataset_from_index"], row["dataset_to_index"]) for row in rows] == [(0, 2), (2, 4), (4, 5)]
    assert [(row["length"], row["tasks"]) for row in rows][1] == (2, ["drag and type"])
    assert {(row["data/chunk_index"], row["data/file_index"]) for row in rows} == {(0, 0)}


def test_stats_are_those_of_all_frames(tmp_path, folders):
    export_lerobot(folders, tmp_path / "set")
    stats = json.loads((tmp_path / "set" / "meta" / "stats.json").read_text())
    frames = pq.read_table(tmp_path / "set" / "data").to_pylist()
    actions = np.array([frame["action"] for frame in frames])
    for kind, expected in (("mean", actions.mean(0)), ("std", actions.std(0)), ("min", actions.min(0))):
        np.testing.assert_allclose(stats["action"][kind], expected, atol=1e-12)
    assert stats["action"]["count"] == [5]
    pictures = [np.asarray(Image.open(io.BytesIO(f["observation.image"]["bytes"]))) / 255 for f in frames]
    seen = stats["observation.image"]
    assert np.shape(seen["mean"]) == (3, 1, 1)
    np.testing.assert_allclose(np.ravel(seen["mean"]), np.mean(pictures, (0, 1, 2)))
    np.testing.assert_allclose(np.ravel(seen["std"]), np.std(pictures, (0, 1, 2)))
    assert "step.action_json" not in stats
    rows = pq.read_table(tmp_path / "set" / "meta" / "episodes").to_pylist()
    assert rows[2]["stats/action/mean"] == [0.75, 0.125, 1, 0, 0, 0]


def test_large_data_sets_are_split_between_episodes(tmp_path, folders, monkeypatch):
    monkeypatch.setattr(lerobot_export, "_FILE_MB", 0)
    monkeypatch.setattr(lerobot_export, "_CHUNK", 2)
    export_lerobot(folders, tmp_path / "set")
    files = sorted(str(path.relative_to(tmp_path / "set" / "data")) for path in (tmp_path / "set").rglob("data/*/*"))
    assert files == ["chunk-000/file-000.parquet", "chunk-000/file-001.parquet", "chunk-001/file-000.parquet"]
    rows = pq.read_table(tmp_path / "set" / "meta" / "episodes").to_pylist()
    assert [(row["data/chunk_index"], row["data/file_index"]) for row in rows] == [(0, 0), (0, 1), (1, 0)]


def test_refused_steps_are_no_frames_and_what_is_lost_is_told(tmp_path):
    env = ToyEnv()
    guards = Guards(deny=(env.locate("")[0],))
    square = env.locate("")[0].center
    list(
        rollout(
            ScriptedDecisions([Click(square), Click(Point(1.0, 1.0))]),
            env,
            "click",
            recorder=Recorder(tmp_path / "0"),
            settle=AT_ONCE,
            guards=guards,
        )
    )
    record(tmp_path / "1", "nothing", [])
    told = export_lerobot([tmp_path / "0", tmp_path / "1"], tmp_path / "set")
    assert told.startswith("1 episodes with ")
    assert told.endswith("and 1 trajectories without any other")
    with pytest.raises(UsageError, match="expected trajectories with at least one step that was sent, got none in 1"):
        export_lerobot([tmp_path / "1"], tmp_path / "other")


def test_what_cannot_be_written_is_told(tmp_path, folders, monkeypatch):
    with pytest.raises(UsageError, match="exists already and is not overwritten: name another folder"):
        export_lerobot(folders, tmp_path)
    wide = record(tmp_path / "wide", "click", [Click(LEFT)], width=200)
    with pytest.raises(UsageError, match="has images of one size, got 160x120, 200x120: export them separately"):
        export_lerobot([*folders, wide], tmp_path / "set")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match="the LeRobot format needs the extra 'train'"):
        export_lerobot(folders, tmp_path / "set")


# --- Statistics and features as LeRobot's own code reads them ---------------------------------------------------------

KINDS = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}
SHARES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def exported(path, numbers_of_steps, **how):
    """Export episodes of so many random clicks; return the folder, its frames and its stats."""
    rng = np.random.default_rng(3)
    folders = [
        record(path / str(number), f"task {number % 2}", [Click(Point(*rng.random(2))) for _ in range(steps)], **how)
        for number, steps in enumerate(numbers_of_steps)
    ]
    export_lerobot(folders, path / "set")
    stats = json.loads((path / "set" / "meta" / "stats.json").read_text())
    return path / "set", pq.read_table(path / "set" / "data").to_pylist(), stats


@pytest.mark.parametrize("steps", [1, 2, 7, 30])
def test_quantiles_of_an_episode_are_values_of_its_frames(tmp_path, steps):
    _, frames, stats = exported(tmp_path, [steps])
    assert {name: set(its) for name, its in stats.items()} == dict.fromkeys(stats, KINDS)
    actions = np.array([frame["action"] for frame in frames])
    assert len(actions) == steps
    for kind, share in SHARES.items():
        for column, value in zip(actions.T, stats["action"][kind], strict=True):
            # At least this share of the values is not above it, and less than that is below it.
            assert np.mean(column <= value) >= share - 1e-12
            assert np.mean(column < value) < share
            assert value in column
    values = np.array([stats["action"][kind] for kind in ("min", *SHARES, "max")])
    assert (np.diff(values, axis=0) >= 0).all()


@pytest.mark.parametrize("steps", [[1, 9], [4, 4, 1], [2, 12, 5, 3]])
def test_quantiles_of_the_data_set_are_the_episodes_weighted_by_their_frames(tmp_path, steps):
    target, _, stats = exported(tmp_path, steps)
    rows = pq.read_table(target / "meta" / "episodes").to_pylist()
    for name in stats:
        for kind in SHARES:
            each = np.array([np.ravel(row[f"stats/{name}/{kind}"]) for row in rows])
            expected = np.average(each, axis=0, weights=[row["length"] for row in rows])
            np.testing.assert_allclose(np.ravel(stats[name][kind]), expected, atol=1e-12)


def test_image_stats_are_those_of_all_pixels_per_channel_in_unit_range(tmp_path):
    _, frames, stats = exported(tmp_path, [5], width=60, height=45)
    pixels = np.array([np.asarray(Image.open(io.BytesIO(f["observation.image"]["bytes"]))) for f in frames])
    channels = np.sort(pixels.reshape(-1, 3), axis=0) / 255
    its = stats["observation.image"]
    assert {np.shape(its[kind]) for kind in KINDS - {"count"}} == {(3, 1, 1)}
    assert its["count"] == [5]
    for kind, share in SHARES.items():
        np.testing.assert_allclose(np.ravel(its[kind]), channels[int(np.ceil(share * len(channels))) - 1])
    for kind, function in (("min", np.min), ("max", np.max), ("mean", np.mean), ("std", np.std)):
        np.testing.assert_allclose(np.ravel(its[kind]), function(channels, axis=0))


def test_a_policy_predicts_the_numbers_of_an_action_and_nothing_else(tmp_path):
    target, _, stats = exported(tmp_path, [2])
    features = json.loads((target / "meta" / "info.json").read_text())["features"]
    # LeRobot's rule: what begins with "action" is predicted, what begins with "observation" is seen.
    assert [name for name in features if name.startswith("action")] == ["action"]
    assert [name for name in features if name.startswith("observation")] == ["observation.image"]
    assert len(features["action"]["names"]) == features["action"]["shape"][0] == len(stats["action"]["q50"])
    assert features["observation.image"]["names"] == ["height", "width", "channels"]
    assert set(stats) == {name for name, feature in features.items() if feature["dtype"] != "string"}


@pytest.mark.parametrize(
    "text", ["half a pair \ud83d", "line\nend\t\x00", "\u202eright to left \U0001f469\u200d\U0001f680"]
)
def test_any_text_can_be_exported(tmp_path, text):
    folder = record(tmp_path / "0", f"type {text}", [Type(text)])
    export_lerobot([folder], tmp_path / "set")
    (frame,) = pq.read_table(tmp_path / "set" / "data").to_pylist()
    assert action_from_dict(json.loads(frame["step.action_json"])) == Type(text)
    (task,) = pandas.read_parquet(tmp_path / "set" / "meta" / "tasks.parquet").index
    assert task == f"type {text}".encode("utf-8", "backslashreplace").decode()


def test_a_damaged_trajectory_is_named_and_leaves_no_half_data_set(tmp_path, folders):
    path = folders[2] / "steps.jsonl"
    first, rest = path.read_text().split("\n", 1)
    path.write_text(first.replace('"Click"', '"Teleport"') + "\n" + rest)
    with pytest.raises(UsageError, match=r"step 0 of .*2 is damaged: expected an action type"):
        export_lerobot(folders, tmp_path / "set")
    (folders[1] / "000000.png").write_bytes(b"")
    with pytest.raises(UsageError, match="was changed after it was recorded"):
        export_lerobot(folders[:2], tmp_path / "set")
    assert not [path.name for path in tmp_path.iterdir() if "set" in path.name]


def test_a_target_that_cannot_be_written_is_named(tmp_path, folders):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"cannot write the LeRobot data set .*/file/set: Not a directory"):
        export_lerobot(folders, tmp_path / "file" / "set")
