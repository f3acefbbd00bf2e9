"""Every example is run as its first lines say."""

import subprocess
import sys
from pathlib import Path

import pytest
from desktop_screen import needs

EXAMPLES = Path(__file__).parents[1] / "examples"


@needs("mousepad", "dbus-run-session", "Xvfb", "openbox", "xclip")
def test_a_real_editor_saves_what_was_typed_and_clicked(tmp_path: Path) -> None:
    gif = tmp_path / "note.gif"
    command = [sys.executable, str(EXAMPLES / "edit_a_note.py"), "--gif", str(gif)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the file holds 'Grüße aus Zürich: 2 < 3, 你好!'" in done.stdout
    assert gif.stat().st_size > 1000


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_model_plays_gymnasium_envs_side_by_side() -> None:
    out = run("gym_rollout.py", "--env", "MolmoAgent/PointTarget-v0", "--model", "centre", "--episodes", "6")
    assert "MolmoAgent/PointTarget-v0 with centre:" in out
    assert int(out.split(" of ")[1].split()[0]) >= 6


def test_families_are_shared_out_and_the_oracle_does_them_all() -> None:
    rows = [line.split() for line in run("ray_rollout.py", "--episodes", "2").splitlines()]
    assert rows[0] == ["of", "2", "oracle", "random"]
    assert {row[1] for row in rows[1:]} == {"2"}
    assert len(rows) == 7


def test_a_policy_of_ones_own_is_compared_with_the_usual_one() -> None:
    usual, own = run("write_a_policy.py", "--model", "centre", "--episodes", "2").splitlines()
    assert usual.startswith("PointingPolicy: 0 of 2 done, 2 wrong clicks")
    assert own.startswith("TwiceAsked: 0 of 2 done, 2 wrong clicks")


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_explains_itself(path: Path) -> None:
    done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert f"python examples/{path.name}" in done.stdout
