"""``agent rollout``: the model beside its baselines, every episode in a file, films, data sets, workers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from molmo_agent.cli import rollout as cli_rollout
from molmo_agent.cli.rollout import RolloutRequest, play, play_all, rollout_request, summary
from molmo_agent.errors import EnvError, UnknownNameError, UsageError
from molmo_agent.pointers.image_cache import ImageCache
from molmo_agent.rollout.batch import BatchResult, EpisodeResult, episode_seed
from molmo_agent.rollout.film import find_ffmpeg, write_film
from molmo_agent.rollout.ray_map import map_on_ray
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.testing import ToyEnv


def request(tmp_path, **changes):
    """Return a request for a few toy episodes whose results go into a file of the test's folder."""
    return RolloutRequest(
        **{"env": "toy", "model": "random", "episodes": 4, "out": tmp_path / "results.json", **changes}
    )


def read(tmp_path):
    return json.loads((tmp_path / "results.json").read_text())


def test_the_command_prints_a_table_and_writes_every_episode(tmp_path):
    command = [sys.executable, "-m", "molmo_agent", "rollout", "--env", "sim-desktop", "--model", "centre"]
    command += ["--family", "click-button", "--episodes", "3", "--num-envs", "2", "--record", "runs", "--seed", "7"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "COLUMNS": "120"}, timeout=280
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [line[0] for line in lines[2:5]] == ["centre", "oracle", "random"]
    assert lines[3][1:5] == ["100.0%", "43.8%", "-", "100.0%"]
    assert "sim-desktop (click-button), 3 episodes, seed 7" in done.stdout
    (path,) = (tmp_path / "runs" / "rollouts").glob("*-sim-desktop-centre.json")
    told = json.loads(path.read_text())
    assert (told["schema"], told["complete"], told["seed"]) == ("molmo-agent-rollouts", True, 7)
    oracle = told["rows"][1]
    assert [episode["seed"] for episode in oracle["results"]] == [episode_seed(7, index) for index in range(3)]
    assert all(episode["success"] for episode in oracle["results"])
    assert [folder.name for folder in sorted((tmp_path / "runs").glob("0*"))] == ["00000", "00001", "00002"]


def test_the_numbers_of_envs_and_episodes_change_no_episode(tmp_path):
    few, many = (play(request(tmp_path, num_envs=number, seed=3), "random", range(9)) for number in (1, 4))
    assert few.episodes == many.episodes
    assert play(request(tmp_path, seed=3), "random", [8]).episodes == few.episodes[8:]


@pytest.mark.slow
def test_nano_answers_the_same_alone_and_among_others(tmp_path):
    results = [
        play(request(tmp_path, env="sim-desktop", num_envs=number, seed=1), "nano", range(3)) for number in (1, 3)
    ]
    assert results[0].episodes == results[1].episodes
    assert sum(count for count, _ in results[1].calls) >= 3


def test_json_rows_come_one_a_line(tmp_path, capsys):
    assert rollout_request(request(tmp_path, as_json=True)) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["model"] for row in rows] == ["random", "oracle", "centre"]
    assert rows[1]["success"] == 1.0
    assert [row["questions"] for row in rows] == [4, 0, 4]
    assert "results" not in rows[0]


class Unseeing(ToyEnv):
    """Gives no boxes away."""

    locate = None  # type: ignore[assignment]

    def step(self, action):
        self.actions.append(action)
        return self.observe(), 0.0, False, False, {}


def test_an_env_that_does_not_know_its_target_gets_no_oracle_row_and_unknown_success_is_told(
    tmp_path, capsys, monkeypatch
):
    class Quiet(Unseeing):
        def reset(self, *, seed=None, options=None):
            observation, info = super().reset(seed=seed, options=options)
            return observation, {"instruction": info["instruction"]}

    monkeypatch.setattr(cli_rollout, "load_env", lambda name: Quiet())
    assert rollout_request(request(tmp_path, model="centre")) == 0
    out = capsys.readouterr().out
    assert "oracle" not in out
    assert "centre: the env could not tell success in 4 of 4 episodes" in out
    assert [row["success"] for row in read(tmp_path)["rows"]] == [None, None]


def test_what_the_figures_leave_out_is_told(tmp_path, capsys, monkeypatch):
    script = tmp_path / "answers.json"
    script.write_text("{}")
    assert rollout_request(request(tmp_path, model=f"scripted:{script}")) == 0
    assert "of 4 answers 4 none" in " ".join(capsys.readouterr().out.split())

    class Vague(ToyEnv):
        def reset(self, *, seed=None, options=None):
            observation, info = super().reset(seed=seed, options=options)
            return observation, {**info, "instruction": "unless it rains, click it"}

    monkeypatch.setattr(cli_rollout, "load_env", lambda name: Vague())
    assert rollout_request(request(tmp_path, out=tmp_path / "vague.json")) == 0
    assert "random: 4 instructions could not be followed; they count as failures" in capsys.readouterr().out


def test_what_was_finished_before_a_failure_is_kept(tmp_path, capsys, monkeypatch):
    class Failing(ToyEnv):
        def reset(self, *, seed=None, options=None):
            if seed == episode_seed(0, 3):
                raise EnvError("the phone is gone")
            return super().reset(seed=seed, options=options)

    monkeypatch.setattr(cli_rollout, "load_env", lambda name: Failing())
    with pytest.raises(EnvError, match="episode 3: the phone is gone"):
        rollout_request(request(tmp_path))
    assert "what was finished until then:" in capsys.readouterr().out
    told = read(tmp_path)
    assert told["complete"] is False
    assert [episode["index"] for episode in told["rows"][0]["results"]] == [0, 1, 2]


def test_requests_that_make_no_sense_are_told(tmp_path):
    for changes, message in (
        ({"episodes": 0}, "--episodes, --workers and --num-envs must be at least 1, got 0, 1 and 1"),
        ({"video": "gif"}, "--video needs --record FOLDER: it is made of what was recorded"),
        ({"lerobot": tmp_path / "set"}, "--lerobot needs --record FOLDER"),
        ({"record": tmp_path}, "exists already and is not overwritten: name another"),
        ({"video": "avi", "record": tmp_path / "r"}, "unknown video 'avi': .*known: gif, mp4"),
        ({"env": "toi"}, "unknown env 'toi': did you mean toy"),
        ({"model": "ranbom"}, "unknown model 'ranbom': did you mean random"),
        ({"out": Path("/proc/none/results.json")}, "cannot write /proc/none/results.json"),
    ):
        with pytest.raises(UsageError, match=message):
            rollout_request(request(tmp_path, **changes))


def episode(**values):
    given = {"index": 0, "seed": 0, "instruction": "", "success": False, "steps": 2, "reward": 0.0, "ended": ""}
    return EpisodeResult(**{**given, **values})


def test_the_summary_is_what_its_episodes_say():
    episodes = (
        episode(success=True, spl=0.5, statuses={"ok": 3}),
        episode(success=False, spl=0.0, steps=4, statuses={"ok": 1, "none": 1}),
        # It gave up before its first step: no way, no success.
        episode(success=False, spl=None, steps=0),
        episode(success=None),
    )
    calls = ((3, 0.1), (2, 0.3), (1, 0.2))
    told = summary("m", BatchResult(episodes=episodes, calls=calls, seconds=4.0))
    assert (told["judged"], told["successes"], told["success"]) == (3, 1, 1 / 3)
    assert told["interval"] == pytest.approx([0.0615, 0.7923], abs=1e-4)
    assert told["spl"] == pytest.approx(0.5 / 3)
    assert (told["mean_steps"], told["steps_per_s"], told["questions"], told["calls"]) == (2.0, 2.0, 6, 3)
    assert (told["p50_s"], told["p95_s"]) == pytest.approx((0.2, 0.29))
    assert told["answers"] == {"ok": 4, "none": 1}
    assert summary("m", BatchResult(episodes=episodes[:1]))["steps_per_s"] is None


def test_a_image_cache_grows_with_the_envs_and_never_shrinks():
    cache = ImageCache(images=2, crops=64)
    cache.reserve_images(16)
    assert (cache.prefixes.size, cache.features.size) == (16, 512)
    cache.reserve_images(4)
    assert (cache.prefixes.size, cache.features.size) == (16, 512)


# --- Films and data sets ---------------------------------------------------------------------------------------------


def test_films_and_a_data_set_are_made_of_what_is_recorded(tmp_path, capsys):
    wanted = request(tmp_path, model="centre", record=tmp_path / "runs", video="gif", lerobot=tmp_path / "set")
    assert rollout_request(wanted) == 0
    with Image.open(tmp_path / "runs" / "00003" / "trajectory.gif") as film:
        assert film.n_frames >= 2
    assert json.loads((tmp_path / "set" / "meta" / "info.json").read_text())["total_episodes"] == 4
    assert f"{tmp_path / 'set'}: 4 episodes with 4 frames; 4 steps that sent nothing are left out" in " ".join(
        capsys.readouterr().out.split()
    )


@pytest.fixture
def recorded(tmp_path):
    play(request(tmp_path, record=tmp_path / "runs"), "random", range(1))
    return tmp_path / "runs" / "00000"


def program(folder, text):
    path = folder / "ffmpeg"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_an_mp4_is_written_by_ffmpeg_frame_by_frame(tmp_path, recorded, monkeypatch):
    program(tmp_path, f'cat > "{tmp_path}/pixels"; echo "$@" > "{tmp_path}/words"; touch "$(eval echo \\${{$#}})"')
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    path = write_film(recorded, "mp4")
    assert path == recorded / "trajectory.mp4"
    assert path.exists()
    words = (tmp_path / "words").read_text().split()
    width, height = map(int, words[words.index("-s") + 1].split("x"))
    size = (tmp_path / "pixels").stat().st_size
    assert size % (width * height * 3) == 0
    assert size // (width * height * 3) >= 2


def test_a_failing_ffmpeg_is_told_with_its_words(tmp_path, recorded, monkeypatch):
    program(tmp_path, "cat > /dev/null; echo 'Unknown encoder libx264' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(EnvError, match=r"ffmpeg could not write .*trajectory.mp4: Unknown encoder libx264"):
        write_film(recorded, "mp4")


def test_a_missing_ffmpeg_is_told_before_anything_is_run(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    monkeypatch.setattr(cli_rollout.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        UsageError, match=r"--video mp4 needs ffmpeg on PATH or the package imageio-ffmpeg; .*--video gif"
    ):
        rollout_request(request(tmp_path, video="mp4", record=tmp_path / "runs"))
    assert not (tmp_path / "runs").exists()
    with pytest.raises(UnknownNameError, match="unknown video 'webm'"):
        write_film(tmp_path, "webm")


def test_the_ffmpeg_of_a_package_will_do(tmp_path, monkeypatch):
    (tmp_path / "imageio_ffmpeg.py").write_text("def get_ffmpeg_exe():\n    return '/opt/ffmpeg'\n")
    monkeypatch.setenv("PATH", "")
    monkeypatch.syspath_prepend(tmp_path)
    assert find_ffmpeg() == "/opt/ffmpeg"


# --- Workers ---------------------------------------------------------------------------------------------------------


def test_workers_need_ray(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UsageError, match=r"more workers than one needs the extra 'train'"):
        rollout_request(request(tmp_path, workers=2))


@pytest.mark.dependencies
@pytest.mark.slow
def test_any_number_of_workers_on_ray_gives_the_same_episodes(tmp_path):
    import ray

    alone = play_all(request(tmp_path, seed=3, episodes=7), "random")
    ray.init("local", num_cpus=2, include_dashboard=False, object_store_memory=200 * 2**20, log_to_driver=False)
    try:
        shared = play_all(request(tmp_path, seed=3, episodes=7, workers=2, num_envs=2), "random")
        assert shared.episodes == alone.episodes
        assert sum(count for count, _ in shared.calls) == 7

        def fail(item):
            raise EnvError(f"no phone {item}")

        with pytest.raises(EnvError, match=r"^no phone 1$"):
            map_on_ray(fail, [1])

        with pytest.raises(UsageError, match="unknown model 'ranbom': did you mean random"):
            play_all(request(tmp_path, model="ranbom", workers=2), "ranbom")

        def die(item):
            os._exit(1)

        with pytest.raises(EnvError, match=r"a worker died \(out of memory\?\): .*; use fewer workers than 1"):
            map_on_ray(die, [1])
        assert ray.is_initialized()
    finally:
        ray.shutdown()


def test_a_film_that_fails_is_reported_after_the_table_and_changes_no_exit_code(tmp_path, capsys, monkeypatch):
    def fail(folder, kind):
        if folder.name == "00001":
            raise RuntimeError("raqm_layout() failed.")
        return write_film(folder, kind)

    monkeypatch.setattr(cli_rollout, "write_film", fail)
    assert rollout_request(request(tmp_path, record=tmp_path / "runs", video="gif")) == 0
    out, err = capsys.readouterr()
    assert "every episode:" in out
    failed = tmp_path / "runs" / "00001"
    assert f"agent: cannot write the film of {failed}: RuntimeError: raqm_layout() failed.; its page" in err
    made = [path.parent.name for path in sorted((tmp_path / "runs").glob("*/trajectory.gif"))]
    assert made == ["00000", "00002", "00003"]


def test_a_film_that_cannot_be_written_is_named(tmp_path):
    assert rollout_request(request(tmp_path, record=tmp_path / "runs", episodes=1)) == 0
    (tmp_path / "runs" / "00000" / "trajectory.gif").mkdir()
    with pytest.raises(UsageError, match=r"cannot write the film .*trajectory\.gif: Is a directory"):
        write_film(tmp_path / "runs" / "00000", "gif")


def test_figures_are_printed_even_if_they_cannot_be_written(tmp_path, capsys):
    with pytest.raises(UsageError, match=r"cannot write /proc/none/results\.json"):
        rollout_request(request(tmp_path, out=Path("/proc/none/results.json")))
    assert "centre" in capsys.readouterr().out


def test_a_failure_is_not_hidden_by_a_file_that_cannot_be_written(tmp_path, capsys, monkeypatch):
    class Failing(ToyEnv):
        def step(self, action):
            raise EnvError("the device is gone")

    # One env to ask for the oracle, then one a model.
    made = iter([ToyEnv, ToyEnv, *[Failing] * 9])
    monkeypatch.setattr(cli_rollout, "load_env", lambda name: next(made)())
    with pytest.raises(EnvError, match="the device is gone"):
        rollout_request(request(tmp_path, out=Path("/proc/none/results.json")))
    assert "agent: cannot write /proc/none/results.json" in " ".join(capsys.readouterr().err.split())


def test_text_that_is_no_markup_and_no_unicode_is_printed_and_written(tmp_path, capsys, monkeypatch):
    class Odd(ToyEnv):
        def reset(self, *, seed=None, options=None):
            observation, info = super().reset(seed=seed, options=options)
            return observation, {**info, "instruction": 'type "\ud800\x1b[31m"'}

    script = tmp_path / "[b]answers.json"
    script.write_text("{}")
    monkeypatch.setattr(cli_rollout, "load_env", lambda name: Odd())
    assert rollout_request(request(tmp_path, model=f"scripted:{script}", env="[/red]\x1b[2J")) == 0
    out = capsys.readouterr().out
    assert "[/red]\\x1b[2J" in out
    assert "\x1b" not in out
    assert read(tmp_path)["rows"][0]["results"][0]["instruction"] == 'type "\ud800\x1b[31m"'


def test_a_record_that_is_not_complete_is_reported_and_counts_nothing_less(tmp_path, capsys, monkeypatch):
    write = Recorder._write

    def full(self, name, data):
        if name == "result.json" and self.folder.name == "00002":
            raise EnvError("cannot write result.json: No space left on device")
        write(self, name, data)

    monkeypatch.setattr(Recorder, "_write", full)
    assert rollout_request(request(tmp_path, record=tmp_path / "runs")) == 0
    problem = "agent: a record is not complete: episode 2: cannot write result.json: No space left on device"
    assert problem in " ".join(capsys.readouterr().err.split())
    assert len(read(tmp_path)["rows"][0]["results"]) == 4
