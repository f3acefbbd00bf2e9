"""Every example is run as its first lines say."""

import subprocess
import sys
from pathlib import Path

import pytest
from desktop_screen import needs

EXAMPLES = Path(__file__).parents[1] / "examples"
pytestmark = [pytest.mark.slow, pytest.mark.dependencies]


@needs("mousepad", "dbus-run-session", "Xvfb", "openbox", "xclip")
def test_a_real_editor_saves_what_was_typed_and_clicked(tmp_path: Path) -> None:
    gif = tmp_path / "note.gif"
    command = [sys.executable, str(EXAMPLES / "edit_a_note.py"), "--gif", str(gif)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the file holds 'Grüße aus Zürich: 2 < 3, 你好!'" in done.stdout
    assert gif.stat().st_size > 1000


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
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


def test_a_robot_is_driven_by_pointing(tmp_path: Path) -> None:
    out = run("waypoint_pointing.py", "--seed", "13", "--gif", str(tmp_path / "drive.gif"))
    assert out.startswith("drive to the red barrel\n")
    assert "there, SPL " in out
    assert (tmp_path / "drive.gif").stat().st_size > 100_000


def test_a_robot_that_is_pointed_nowhere_says_that_it_is_not_there() -> None:
    command = [sys.executable, str(EXAMPLES / "waypoint_pointing.py"), "--model", "centre", "--max-steps", "2"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 1
    assert "not there, SPL 0.00" in done.stdout


def test_an_object_is_put_on_its_plate_by_pointing(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "pick_by_pointing.py"), "--gif", str(tmp_path / "pick.gif")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    if "MuJoCo cannot draw" in done.stderr:
        pytest.skip(done.stderr.splitlines()[-1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "on its plate, " in done.stdout
    assert (tmp_path / "pick.gif").stat().st_size > 50_000


def test_an_env_of_ones_own_is_played_by_models() -> None:
    assert run("write_an_env.py") == "oracle: 20 of 20\ncentre: 0 of 20\n"


def test_something_on_a_picture_is_pointed_at(tmp_path: Path) -> None:
    out = run("point_at_image.py", "--model", "centre", "--out", str(tmp_path / "pointed.png"))
    assert "0.500 0.500 (fractions of width and height)" in out
    assert (tmp_path / "pointed.png").exists()


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_explains_itself(path: Path) -> None:
    done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0
    assert f"python examples/{path.name}" in done.stdout
