"""The way of docs/train.md from two released parts and one's own images to a model that answers, command by command."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_start_model import write_language, write_vision
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.pointers.profile import PROFILE_FILE

# torch warns of processes that are not there, and of names of its own.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")

ANDROID = Path(__file__).parent / "golden" / "android_control"
SHORT = ("batch=2", "precision=fp32", "activation_checkpointing=false", "length=900", "sharding=none")


def agent(*words: str) -> Any:
    return CliRunner().invoke(app, list(words), catch_exceptions=True)


def done(*words: str) -> Any:
    """Run a command that must succeed."""
    result = agent(*words)
    assert result.exit_code == 0, (words, result.output, result.exception)
    return result


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A start model in the folder in which the commands run."""
    monkeypatch.chdir(tmp_path)
    write_vision(tmp_path / "vision")
    write_language(tmp_path / "language")
    done(
        "start", "--vision", "vision", "--language", "language", "--out", "start", "--layers", "-1,-2", "--margins", "0"
    )
    return tmp_path / "start"


def write_pictures(count: int = 60) -> Path:
    """Write squares of several colors, with a caption and a question each."""
    colors = {"red": (200, 40, 40), "green": (40, 180, 60), "blue": (50, 70, 210)}
    rng, rows = np.random.default_rng(4), []
    for number in range(count):
        name = list(colors)[number % len(colors)]
        pixels = rng.integers(0, 30, (48, 64, 3)).astype(np.uint8)
        left, top = int(rng.integers(0, 40)), int(rng.integers(0, 24))
        pixels[top : top + 20, left : left + 20] = colors[name]
        Image.fromarray(pixels).save(f"{number}.png")
        rows.append({"image": f"{number}.png", "caption": f"a {name} square"})
        rows.append({"image": f"{number}.png", "question": "Which color?", "answer": name})
    Path("own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Path("own.jsonl")


@pytest.mark.timeout(300)  # on a loaded machine
def test_own_pictures_become_a_model_that_answers(start: Path) -> None:
    data = write_pictures()
    checked = done("data", "check", str(data), "--model", str(start))
    assert "120" in checked.output, "all rows can be used"
    done("train", "conversations", f"mixture.0.path={data}", f"model={start}", "steps=3", *SHORT, "validate.generate=1")
    records = [json.loads(line) for line in Path("runs/conversations/metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records] == [1, 2, 3]
    assert records[-1]["validation"]["examples"] > 0, "every tenth picture was kept from training"
    asked = agent("ask", "0.png", "Which color?", "--model", "runs/conversations/export", "--max-tokens", "4", "--json")
    # A model of three steps says anything, up to the limit: its answer is printed, and marked as cut off.
    answer = json.loads(asked.stdout[asked.stdout.index("{") :])
    assert answer["text"]
    assert asked.exit_code == int(answer["cut"])


@pytest.mark.timeout(300)
def test_a_model_of_android_control_is_a_policy_for_a_phone(start: Path) -> None:
    done("train", "android_control", f"mixture.0.path={ANDROID}", f"model={start}", "steps=1", *SHORT)
    profile = json.loads((Path("runs/android_control/export") / PROFILE_FILE).read_text())
    assert profile["policy"] == "android-control"
    played = agent(
        *("run", "--env", "sim-phone", "--policy", "android-control", "--model", "runs/android_control/export"),
        *("--max-steps", "1", "--confirm", "never", "--out", "played"),
    )
    # Its words after one step are no action: the run fails, and nothing is tapped.
    assert played.exit_code == 1, (played.output, played.exception)
    assert "failed at step 1" in played.output
    assert Path("played/trajectory.html").is_file()
