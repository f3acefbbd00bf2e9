"""Read mutated files of each kind, and collect what ends in anything but a result or an error of this package."""

import contextlib
import json
import random
import shutil
import traceback
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from file_mutations import damage, damaged

from molmo_agent.actions import Click, Done, Drag, Type
from molmo_agent.episode import Decision, LabelledPoint, PointResult
from molmo_agent.errors import MolmoAgentError
from molmo_agent.geometry import Point
from molmo_agent.model.checkpoints.untrusted import check_checkpoint
from molmo_agent.pointers.profile import PROFILE_FILE, PointingProfile, read_profile
from molmo_agent.rollout.lerobot import export_lerobot
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.recorder import Recorder
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.rollout.trajectory import load_trajectory
from molmo_agent.rollout.viewer import render_frames, render_html
from molmo_agent.testing import ScriptedDecisions, ToyEnv
from molmo_agent.train.checkpoint import RunFolder
from molmo_agent.train.recipe import load, to_yaml

RECIPE = (
    "model: nano\nmixture:\n  - {kind: chat, path: x.jsonl, rate: 2.0}\noptimizer:\n  llm: {peak: 1e-5}\nsteps: 5\n"
)


def outcomes(
    number: int, calls: Sequence[Callable[[], object]], expected: tuple[type[Exception], ...]
) -> Iterable[str]:
    """Yield a line for each call that raises another exception than the expected ones."""
    for call in calls:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                call()
        except expected as error:
            if "\n" in str(error):
                yield f"mutation {number}: an error of several lines: {error!r:.200}"
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            yield f"mutation {number}: {error!r:.160} at {place.filename}:{place.lineno}"


def mutate(
    folder: Path,
    names: Sequence[str],
    count: int,
    seed: int,
    calls: Sequence[Callable[[], object]],
    *,
    change: Callable[[bytes, random.Random], bytes] = damaged,
    expected: tuple[type[Exception], ...] = (MolmoAgentError,),
) -> list[str]:
    """Damage one of the named files at a time, ``count`` times; return the lines of :func:`outcomes`."""
    rng = random.Random(seed)
    originals = {name: (folder / name).read_bytes() for name in names}
    problems: list[str] = []
    for number in range(count):
        name = names[number % len(names)]
        (folder / name).write_bytes(change(originals[name], rng))
        problems += (f"{name}, {line}" for line in outcomes(number, calls, expected))
        (folder / name).write_bytes(originals[name])
    return problems


def mutate_trajectories(tmp_path: Path, count: int, seed: int) -> list[str]:
    """Record a run, and read its mutations in every way."""
    folder, point = tmp_path / "run", Point(0.4, 0.6)
    result = PointResult(status="ok", reply="r", points=(LabelledPoint(point),), confidence=0.5)
    decisions: list[Any] = [
        Decision(action=Click(point), instruction="click it", result=result),
        *(Drag(point, Point(0.1, 0.1)), Type("x"), Done()),
    ]
    list(rollout(ScriptedDecisions(decisions), ToyEnv(64, 48, clicks=9), settle=AT_ONCE, recorder=Recorder(folder)))

    def export() -> None:
        shutil.rmtree(tmp_path / "exported", ignore_errors=True)
        export_lerobot([folder], tmp_path / "exported")

    calls = [lambda: load_trajectory(folder), lambda: render_html(folder), lambda: render_frames(folder, 80), export]
    return mutate(folder, ["steps.jsonl", "meta.json", "result.json", "000000.png"], count, seed, calls)


def mutate_profiles(tmp_path: Path, count: int, seed: int) -> list[str]:
    """Read mutated pointing profiles."""
    PointingProfile(window=(640, 480), canvases=((64, 64),), remark="r", min_confidence=0.5).write(tmp_path)
    return mutate(tmp_path, [PROFILE_FILE], count, seed, [lambda: read_profile(tmp_path)])


def mutate_checkpoints(model: Path, tmp_path: Path, count: int, seed: int) -> list[str]:
    """Check mutated configs and headers of weights; a name that is not expected is a ValueError here."""
    folder = shutil.copytree(model, tmp_path / "mutated")
    names = ["config.json", "tokenizer_config.json", "processor_config.json"]
    calls = [lambda: check_checkpoint(folder)]
    expected = (ValueError, OSError)
    problems = mutate(folder, names, count, seed, calls, expected=expected)

    def change_header(data: bytes, rng: random.Random) -> bytes:
        length = 8 + int.from_bytes(data[:8], "little")
        return damage(data[:length], rng) + data[length:]

    return problems + mutate(folder, ["model.safetensors"], count, seed, calls, change=change_header, expected=expected)


def mutate_recipes(tmp_path: Path, count: int, seed: int) -> list[str]:
    """Read mutated recipes and overrides."""
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    rng = random.Random(seed)

    def override() -> None:
        text = damage(b"optimizer.llm.peak=[1e-5, {a: 'b'}]", rng).decode("utf-8", "replace")
        with contextlib.suppress(MolmoAgentError):
            load(str(tmp_path / "whole.yaml"), [text])

    (tmp_path / "whole.yaml").write_text(RECIPE)
    return mutate(tmp_path, [path.name], count, seed, [lambda: load(str(path)), override], change=damage)


def mutate_runs(tmp_path: Path, count: int, seed: int) -> list[str]:
    """Resume folders of runs with mutated text files."""
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    config, folder = load(str(tmp_path / "recipe.yaml")), tmp_path / "run"
    (folder / "step-000005").mkdir(parents=True)
    (folder / "config.yaml").write_text(to_yaml(config))
    (folder / "latest").write_text("step-000005")
    (folder / "step-000005" / "meta.json").write_text('{"step": 5}')
    metrics = "".join(json.dumps({"step": n, "loss": 1.0, "rates": {"llm": 0.1}}) + "\n" for n in range(1, 6))
    (folder / "metrics.jsonl").write_text(metrics)

    def resume() -> None:
        run = RunFolder(folder, config)
        try:
            run.forget_after(run.step)
        finally:
            run.close()

    return mutate(folder, ["config.yaml", "latest", "step-000005/meta.json", "metrics.jsonl"], count, seed, [resume])
