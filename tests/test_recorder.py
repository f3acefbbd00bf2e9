import hashlib
import io
import json
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import PIL.Image
import pytest

from molmo_agent.actions import Click, Done, Type
from molmo_agent.episode import Decision, LabelledPoint, Observation, PointResult, Task
from molmo_agent.errors import EnvError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder, default_folder, encode_png, plain
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.rollout.secrets import Secrets
from molmo_agent.rollout.trajectory import load_trajectory, read_folder
from molmo_agent.testing import ScriptedDecisions, ToyEnv

MIDDLE = Point(0.5, 0.5)
PASSWORD = "hünter2!<&"


def record(folder, env=None, decisions=(), **options):
    env = env or ToyEnv()
    episode = rollout(ScriptedDecisions(decisions), env, settle=AT_ONCE, recorder=Recorder(folder), **options)
    list(episode)
    return episode.trajectory


class WritingEnv(ToyEnv):
    """Shows typed text as pixels, the way an open field does, and tells it in every place an env can tell."""

    def __init__(self):
        super().__init__(320, 240)
        self.text = ""

    def observe(self):
        seen = super().observe()
        for column, letter in enumerate(self.text.encode()):
            seen.image[200:210, 10 + 8 * column : 16 + 8 * column] = letter
        return Observation(seen.image, seen.transform, {"field": self.text})

    def step(self, action):
        if isinstance(action, Type):
            self.text += action.text
        observation, *rest, info = super().step(action)
        return observation, *rest, info | {"fields": {self.text: [self.text]}, "raw": repr(self.text)}


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (16, 31), (240, 320)])
def test_pictures_are_stored_losslessly(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(encode_png(image)))), image)


def test_a_trajectory_comes_back_as_it_was(tmp_path):
    result = PointResult(status="ok", reply='<point x="1">', points=(LabelledPoint(MIDDLE, "it", 3),), confidence=0.5)
    decisions = [Decision(action=Click(MIDDLE), instruction="click it", result=result), Type("Ägypten 日本 \ud800")]
    written = record(tmp_path / "run", decisions=decisions, seed=3)
    read = load_trajectory(tmp_path / "run")
    assert read.task == written.task
    assert read.success is False
    assert read.ended == "the policy says: Done"
    assert len(read.steps) == 3
    for old, new in zip(written.steps, read.steps, strict=True):
        assert np.array_equal(old.observation.image, new.observation.image)
        assert old.observation.transform == new.observation.transform
        assert old.decision == new.decision
        assert (old.effect, old.refused, old.info) == (new.effect, new.refused, new.info)


def test_the_folder_says_what_ran_and_names_pictures_with_their_sum(tmp_path):
    record(tmp_path / "run", decisions=[Click(MIDDLE)], seed=3, guards=Guards(max_steps=7))
    folder = read_folder(tmp_path / "run")
    assert folder.meta["schema"] == "molmo-agent-trajectory"
    assert folder.meta["schema_version"] == 1
    assert folder.meta["task"]["instruction"] == "click the red square"
    assert (folder.meta["env"], folder.meta["policy"], folder.meta["seed"]) == ("toy", "scripted", 3)
    assert folder.meta["guards"]["max_steps"] == 7
    assert set(folder.meta["versions"]) >= {"molmo_agent", "python", "numpy", "platform"}
    seen = folder.lines[0]["observation"]
    assert hashlib.sha256((tmp_path / "run" / seen["file"]).read_bytes()).hexdigest() == seen["sha256"]
    assert folder.notes == ()


def test_equal_pictures_are_stored_once(tmp_path):
    record(tmp_path / "run", decisions=[Type("x"), Type("y"), Type("z")])
    assert [path.name for path in sorted((tmp_path / "run").glob("*.png"))] == ["000000.png"]


def test_a_folder_is_never_overwritten(tmp_path):
    record(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}
    with pytest.raises(UsageError, match="exists already and is not overwritten"):
        Recorder(tmp_path / "run")
    late = Recorder(tmp_path / "late")
    (tmp_path / "late").mkdir()
    with pytest.raises(UsageError, match="exists already and is not overwritten"):
        list(rollout(ScriptedDecisions([]), ToyEnv(), recorder=late))
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "run").iterdir()}


def test_default_folders_are_dated_and_readable(tmp_path):
    first = default_folder('Click "Save as…", then /../ quit', tmp_path)
    assert re.fullmatch(r"\d{8}-\d{6}-click-save-as-then-quit", first.name)
    assert default_folder("日本", tmp_path).name.endswith("-task")


def test_runs_that_begin_in_the_same_second_get_a_folder_each(tmp_path):
    recorders = [Recorder(tmp_path / "new" / "20250131-184500-x", or_beside=True) for _ in range(12)]
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda recorder: recorder.start({"task": {"instruction": "x"}}, lambda value: value), recorders))
    for recorder in recorders:
        recorder.finish(None, success=None, ended="")
    names = sorted(recorder.folder.name.removeprefix("20250131-184500-x") for recorder in recorders)
    assert names == sorted(["", *(f"-{number}" for number in range(2, 13))])
    assert all((recorder.folder / "result.json").exists() for recorder in recorders)


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot create the trajectory folder"):
        record(tmp_path / "file" / "run")


def test_an_episode_that_never_began_leaves_no_folder(tmp_path):
    with pytest.raises(UsageError):
        record(tmp_path / "run", task="type {{PASSWORD}}")
    assert not (tmp_path / "run").exists()


def test_a_failed_run_is_readable_and_says_why(tmp_path):
    env = ToyEnv()

    def step(action):
        raise EnvError("the device is gone")

    env.step = step
    with pytest.raises(EnvError):
        record(tmp_path / "run", env, [Click(MIDDLE)])
    trajectory = load_trajectory(tmp_path / "run")
    assert trajectory.ended == "EnvError: the device is gone"
    assert trajectory.steps[0].info == {"error": "EnvError: the device is gone"}


def test_secrets_are_in_no_byte_of_the_folder_and_pictures_cover_what_typing_changed(tmp_path):
    env = WritingEnv()
    result = PointResult(status="ok", reply=f"I read {PASSWORD}", points=(LabelledPoint(MIDDLE, PASSWORD),))
    decisions = [
        Type("hello"),
        Type("{{PASSWORD}}"),
        Decision(action=Click(MIDDLE), instruction=f"click {PASSWORD}", result=result),
        Done(message=f"saw {PASSWORD}"),
    ]
    secrets = Secrets({"PASSWORD": PASSWORD})
    record(tmp_path / "run", env, decisions, task="type {{PASSWORD}}", guards=Guards(secrets=secrets))
    assert PASSWORD in env.text
    for path in (tmp_path / "run").iterdir():
        data = path.read_bytes()
        for form in (PASSWORD, json.dumps(PASSWORD)[1:-1], repr(PASSWORD)[1:-1]):
            assert form.encode() not in data, path.name
    read = load_trajectory(tmp_path / "run")
    assert read.steps[1].action == Type("{{PASSWORD}}")
    before, after = read.steps[1].observation.image, read.steps[2].observation.image
    letters = slice(10 + 8 * len("hello"), 10 + 8 * len("hello" + PASSWORD))
    assert len(np.unique(after[200:210, letters])) == 1, "the letters are covered by one grey"
    assert np.array_equal(before[:100], after[:100]), "what has not changed since is kept"
    assert read_folder(tmp_path / "run").lines[2]["observation"]["covered"] > 0


def test_a_secret_that_is_half_typed_when_the_env_fails_is_covered_too(tmp_path):
    env = WritingEnv()
    step = env.step

    def failing(action):
        step(Type(action.text[:5]))
        raise EnvError(f"lost the device at {action.text}")

    env.step = failing
    recorder = Recorder(tmp_path / "run")
    policy = ScriptedDecisions([Type("{{PASSWORD}}")])
    guards = Guards(secrets=Secrets({"PASSWORD": PASSWORD}))
    with pytest.raises(EnvError):
        list(rollout(policy, env, "x", settle=AT_ONCE, recorder=recorder, guards=guards))
    assert all(PASSWORD.encode() not in path.read_bytes() for path in (tmp_path / "run").iterdir())


def test_anything_in_info_can_be_written():
    values = {
        1: np.float32(0.5),
        "nan": float("nan"),
        "array": np.arange(3),
        "big": np.zeros((50, 50)),
        "set": {1},
        "object": Task,
        "point": MIDDLE,
    }
    assert json.loads(json.dumps(plain(values), allow_nan=False)) == {
        "1": 0.5,
        "nan": "nan",
        "array": [0, 1, 2],
        "big": "array of float64, shape (50, 50)",
        "set": [1],
        "object": repr(Task),
        "point": {"x": 0.5, "y": 0.5},
    }


def test_something_else_is_no_trajectory_folder(tmp_path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(UsageError, match="expected a trajectory folder"):
            read_folder(path)
    (tmp_path / "meta.json").write_text('{"schema": "molmo-agent-trajectory", "schema_version": 99}')
    with pytest.raises(UsageError, match="has the schema version 99, this program reads 1"):
        read_folder(tmp_path)


def test_damage_is_told(tmp_path):
    record(tmp_path / "run", decisions=[Click(MIDDLE)])
    lines = (tmp_path / "run" / "steps.jsonl").read_bytes()
    picture = (tmp_path / "run" / "000000.png").read_bytes()

    (tmp_path / "run" / "steps.jsonl").write_bytes(lines[:-20])
    assert read_folder(tmp_path / "run").notes == ("line 2 of steps.jsonl is cut off; the lines after it are ignored",)
    assert len(load_trajectory(tmp_path / "run").steps) == 1

    (tmp_path / "run" / "000000.png").write_bytes(picture + b"x")
    with pytest.raises(UsageError, match="was changed after it was recorded: its sha256 differs"):
        load_trajectory(tmp_path / "run")
    (tmp_path / "run" / "000000.png").unlink()
    with pytest.raises(UsageError, match="is missing"):
        load_trajectory(tmp_path / "run")
    (tmp_path / "run" / "steps.jsonl").write_bytes(lines.replace(b"000000.png", b"../../x.png"))
    with pytest.raises(UsageError, match="expected an image's file name inside"):
        load_trajectory(tmp_path / "run")
    (tmp_path / "run" / "000000.png").write_bytes(picture)
    (tmp_path / "run" / "steps.jsonl").write_bytes(lines.replace(b'"Click"', b'"Clack"'))
    with pytest.raises(UsageError, match=r"step 0 of .* is damaged: expected an action type"):
        load_trajectory(tmp_path / "run")


ENDLESS = """
import sys, time
from molmo_agent.actions import Wait
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.loop import rollout
from molmo_agent.testing import ScriptedDecisions, ToyEnv
steps = rollout(
    ScriptedDecisions([Wait(n / 10**6) for n in range(100000)]), ToyEnv(640, 480), settle=AT_ONCE,
    guards=Guards(max_steps=100000), recorder=Recorder(sys.argv[1]),
)
for step in steps:
    print(step.index, flush=True)
"""


def test_a_killed_run_leaves_a_readable_folder(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", ENDLESS, str(tmp_path / "run")], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            if int(line) == 5:
                os.kill(process.pid, signal.SIGKILL)
                break
    trajectory = load_trajectory(tmp_path / "run")
    assert len(trajectory.steps) >= 6, "every step that was seen is on disk"
    assert trajectory.success is None
    assert "the run was cut off" in trajectory.ended
