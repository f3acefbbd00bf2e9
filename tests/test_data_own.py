"""A user's own runs as training data, and AndroidControl's steps read again from where they lie."""

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_data import laid_out, opened, turns

from molmo_agent.actions import Action, Click, Drag, PointAt, Type
from molmo_agent.data.android_control.episodes import AndroidControl
from molmo_agent.data.android_control.index import AndroidIndex
from molmo_agent.data.formats import tfrecord
from molmo_agent.data.unusable_rows import Problems
from molmo_agent.episode import Decision
from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.registry import load_env, load_model
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.testing import ScriptedDecisions, ToyEnv

GOLDEN = Path(__file__).parent / "golden" / "android_control"


def run(folder: Path, *decisions: tuple[Action, str], **options: Any) -> Path:
    policy = ScriptedDecisions([Decision(action=action, instruction=text) for action, text in decisions])
    list(rollout(policy, ToyEnv(), settle=AT_ONCE, recorder=Recorder(folder), **options))
    return folder


def test_what_was_found_in_a_run_that_worked_is_learned(tmp_path: Path) -> None:
    for seed in (0, 2):
        env = load_env("sim-desktop")
        policy = PointingPolicy(load_model("oracle", env=env))
        list(rollout(policy, env, settle=AT_ONCE, seed=seed, recorder=Recorder(tmp_path / str(seed))))
    data = opened("trajectories", tmp_path)
    assert data.problems.entries == []
    assert len(data) == 3
    asked = {turns(data, 1, seed)[0] for seed in range(10)}
    (answer,) = {answer for _, answer in asked}
    assert answer.startswith("<point x=")
    assert 'click the "Size" drop-down' in {question for question, _ in asked}
    assert len(asked) == 2
    row = data.row(1, 0)
    assert row.image is not None
    assert row.image().shape == (*(row.size or ())[::-1], 3)
    assert row.name == "2/000000.png"
    assert "drop-down" in laid_out(data, 1)[1]
    assert len(opened("trajectories", tmp_path / "0")) == 1


def edited(folder: Path, name: str, change: Any) -> None:
    lines = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    for line in lines:
        if line["instruction"] == name:
            change(line)
    (folder / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_what_is_not_known_to_have_worked_is_told_and_not_learned(tmp_path: Path) -> None:
    target = Point(0.7, 0.3)
    places = [Point(0.7, 0.1 * n) for n in range(6)]
    names = ("good", "idle", "shown", "covered", "refused", "gone")
    clicks = [(Click(place), name) for place, name in zip(places, names, strict=True)]
    others = [
        (Type("x"), "type"),
        (Click(target), ""),
        (Drag(target, places[0]), "drag"),
        (PointAt((target,)), "point"),
    ]
    folder = run(tmp_path / "run", *clicks, *others)
    result = json.loads((folder / "result.json").read_text())
    (folder / "result.json").write_text(json.dumps({**result, "success": None}))
    edited(folder, "good", lambda line: line.update(effect="changed"))
    edited(folder, "idle", lambda line: line.update(effect="changed_elsewhere"))
    edited(folder, "shown", lambda line: line.update(dry_run=True))
    edited(folder, "covered", lambda line: line["observation"].update(covered=0.1))
    edited(folder, "refused", lambda line: line.update(refused="outside"))
    edited(folder, "gone", lambda line: line.update(effect="changed", observation={"file": "9.png", "sha256": ""}))
    data = opened("trajectories", folder)
    found = {question for n in range(len(data)) for question, _ in turns(data, n)}
    assert found == {"good", "point"}
    told = data.problems.summary(20)
    for text in (
        "record 1 (idle): its effect is unconfirmed: the screen was changed elsewhere",
        "record 2 (shown): it was a dry run",
        "record 3 (covered): part of the image is covered to hide a secret",
        "record 4 (refused): it was rejected: outside",
        "record 5 (gone): the image",
        "record 7: the step has a point but no instruction",
    ):
        assert text in told.replace(" ()", "")
    assert len(data.problems.entries) == 6
    (folder / "result.json").write_text(json.dumps({**result, "success": False}))
    with pytest.raises(UsageError, match=r"(?s)no step of .* can be used; .*the run did not achieve its task"):
        opened("trajectories", folder)
    (folder / "result.json").unlink()
    assert "the run was cut off" in opened("trajectories", folder).problems.summary(20)
    (folder / "meta.json").write_text("{}")
    with pytest.raises(UsageError, match=r"(?s)no step of .*run: expected a trajectory folder"):
        opened("trajectories", folder)
    with pytest.raises(UsageError, match=r"expected a trajectory folder, or a folder of them, at .*nowhere; found no"):
        opened("trajectories", tmp_path / "nowhere")
    with pytest.raises(UnknownNameError, match="unknown option of 'trajectories' 'split': known: none"):
        opened("trajectories", folder, split="train")


def test_steps_read_again_are_those_that_were_read_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tfrecord, "_SPAN", 10_000)
    monkeypatch.setattr(tfrecord, "_CHUNK", 500)
    for split in ("train", "validation", "test"):
        reader = AndroidControl(GOLDEN, split)  # type: ignore[arg-type]
        steps, index = list(reader), AndroidIndex(reader)
        assert len(index) == len(steps) > 0
        assert max(len(marks) for marks in index._marks) > 3
        for number in np.random.default_rng(0).permutation(len(steps)):
            assert index.step(int(number)) == steps[number]


@pytest.mark.parametrize("compressed", [True, False])
def test_any_record_is_found_again_and_its_checksums_hold(
    compressed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tfrecord, "_SPAN", 20_000)
    monkeypatch.setattr(tfrecord, "_CHUNK", 700)
    path = tmp_path / "shard"
    whole = gzip.decompress((GOLDEN / "android_control-00000-of-00002").read_bytes())
    path.write_bytes(gzip.compress(whole) if compressed else whole)
    marks: list[tfrecord.Mark] = []
    records = list(tfrecord.read_records(path, Problems(), marks))
    assert (marks[0].offset, marks[0].place) == (0, 0)
    for record in reversed(records):
        assert tfrecord.record_at(path, record.offset, marks) == record.payload
    damaged = bytearray(whole)
    damaged[records[1].offset + 100] ^= 1
    path.write_bytes(gzip.compress(bytes(damaged)) if compressed else bytes(damaged))
    fresh: list[tfrecord.Mark] = []
    list(tfrecord.read_records(path, Problems(), fresh))
    for offset in (records[1].offset, 3, len(whole)):
        with pytest.raises(ValueError, match=rf"shard at byte {offset}: the record has changed"):
            tfrecord.record_at(path, offset, fresh)


def test_android_control_keeps_no_screenshots_in_memory() -> None:
    data = opened("android-control", GOLDEN)
    assert len(data) == len(list(AndroidControl(GOLDEN)))
    assert [len(turns(data, n)) for n in range(len(data))] == [4] * len(data)
    assert data._steps._episode.cache_info().maxsize == 8
    assert not any(isinstance(value, bytes) for place in data._steps._places for value in place)
    with pytest.raises(UnknownNameError, match="unknown option of 'android-control' 'form': did you mean forms"):
        opened("android-control", GOLDEN, form="hl")
