import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from molmo_agent.cli.app import app, exit_code
from molmo_agent.errors import EnvError, ModelError, RunStopped, UnknownNameError, UsageError


def agent(*arguments: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command as a person would, without a terminal."""
    return subprocess.run(
        [sys.executable, "-m", "molmo_agent", *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=280,
    )


TOY_RUN = ("run", "--env", "toy", "--model", "oracle", "--task", "click the red square")


def test_a_run_with_the_oracle_achieves_the_toy_task_and_leaves_a_page(tmp_path: Path) -> None:
    done = agent(*TOY_RUN, "--out", "run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "achieved" in done.stdout
    assert (tmp_path / "run" / "trajectory.html").exists()


def test_json_output_is_one_object_a_line(tmp_path: Path) -> None:
    done = agent(*TOY_RUN, "--json", "--out", "run", cwd=tmp_path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["step", "end"]
    assert lines[0]["action"]["type"] == "Click"
    assert lines[-1]["achieved"] is True


def test_a_task_that_is_not_achieved_exits_1(tmp_path: Path) -> None:
    done = agent(
        "run", "--env", "toy", "--model", "centre", "--task", "click the red square", "--seed", "3", cwd=tmp_path
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "not achieved" in done.stdout


def test_a_failed_run_names_the_step_and_the_picture_of_it(tmp_path: Path) -> None:
    # The screen of a step that changes nothing is stored once.
    arguments = ("run", "--env", "toy", "--model", "centre", "--seed", "3", "--task", "press tab, click the square")
    done = agent(*arguments, "--out", "run", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert f"failed at step 2 (click the square), screen: {Path('run', '000000.png')}" in " ".join(done.stdout.split())
    lines = [json.loads(line) for line in agent(*arguments, "--out", "two", "--json", cwd=tmp_path).stdout.splitlines()]
    assert (lines[-1]["failed_step"], lines[-1]["picture"]) == (1, str(Path("two", "000000.png")))
    assert (tmp_path / "two" / "000000.png").exists()


def test_a_dry_run_sends_nothing(tmp_path: Path) -> None:
    done = agent(*TOY_RUN, "--dry-run", "--json", cwd=tmp_path)
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert all(line["dry_run"] for line in lines if line["event"] == "step")
    assert lines[-1]["success"] in (False, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--env", "sim-desktp", "--task", "click Save"], "did you mean sim-desktop"),
        (["run", "--env", "toy", "--model", "nanno", "--task", "click Save"], "did you mean nano"),
        (["run", "--env", "toy", "--task", "please and thank you, if possible"], "agent:"),
        (["run", "--env", "desktop"], "a desktop has no task of its own"),
        (["run", "--env", "desktop", "--task", "click Save"], "asks at a terminal and there is none"),
        (["run", "--env", "toy", "--task", "click Save", "--region", "0,0,10,10"], "--region goes with --env desktop"),
        (["run", "--env", "toy", "--task", "click Save", "--allow-region", "0,0,2,1"], "is no region"),
        (["run", "--env", "toy", "--task", "click Save", "--deny-region", "left"], "as four numbers"),
        (["run", "--env", "toy", "--task", "click Save", "--start", "xcalc"], "--start goes with"),
        (["run", "--env", "toy", "--task", 'type "{{PIN}}" into Code', "--secret", "PIN"], "MOLMO_SECRET_PIN"),
        (["point", "nowhere.png", "the mugs"], "nowhere.png"),
        (["point", "notes.txt", "the mugs"], "notes.txt"),
        (["view", "nowhere"], "nowhere"),
    ],
)
def test_a_mistake_is_one_clear_message_and_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")
    done = agent(*arguments, cwd=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_missing_display_exits_3_and_offers_a_virtual_one(tmp_path: Path) -> None:
    arguments = ["run", "--env", "desktop", "--task", "click Save", "--confirm", "never", "--model", "centre"]
    done = agent(*arguments, cwd=tmp_path, env={"DISPLAY": "", "WAYLAND_DISPLAY": ""})
    assert done.returncode == 3, done.stderr
    assert "--virtual-display" in done.stderr


def test_point_draws_the_point_beside_the_picture_and_keeps_the_picture(tmp_path: Path) -> None:
    Image.fromarray(np.full((40, 60, 3), 250, np.uint8)).save(tmp_path / "desk.png")
    before = (tmp_path / "desk.png").read_bytes()
    done = agent("point", "desk.png", "the mugs", "--model", "centre", "--json", cwd=tmp_path)
    answer = json.loads(done.stdout)
    assert answer["points"][0]["pixel"] == [30, 20]
    with Image.open(tmp_path / "desk-points.png") as drawn:
        assert drawn.size[0] >= 60
    assert (tmp_path / "desk.png").read_bytes() == before
    again = agent("point", "desk.png", "the mugs", "--model", "centre", "--out", "desk.png", cwd=tmp_path)
    assert again.returncode == 2
    assert "would overwrite the input image" in again.stderr


def test_ctrl_c_exits_130_and_keeps_the_trajectory(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "molmo_agent", "run", "--env", "toy", "--model", "oracle", "--out", "run"]  # noqa: RUF005
        + ["--task", "wait 60 seconds, then click the red square"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "run" / "meta.json").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert agent("view", "run", cwd=tmp_path).returncode == 0


@pytest.mark.parametrize("command", ["run", "demo", "point", "view", "envs", "models", "policies", "rollout", "doctor"])
def test_every_command_explains_itself(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0
    assert "Usage" in shown.output


@pytest.mark.parametrize("command", ["envs", "models", "policies", "doctor"])
def test_lists_can_be_read_by_people_and_machines(command: str) -> None:
    assert CliRunner().invoke(app, [command]).exit_code == 0
    lines = CliRunner().invoke(app, [command, "--json"]).output.splitlines()
    assert all(json.loads(line)["name"] for line in lines)


def test_exit_codes_tell_whose_fault_it_was() -> None:
    assert exit_code(UsageError("")) == exit_code(UnknownNameError("env", "x", ["y"])) == 2
    assert exit_code(EnvError("")) == exit_code(ModelError("")) == 3
    assert exit_code(RunStopped("")) == 130


def test_ctrl_c_while_the_program_is_still_loading_shows_no_traceback(tmp_path: Path) -> None:
    script = "import os, signal; from molmo_agent import __main__\n" + (
        "import sys, importlib.abc\n"
        "class Interrupt(importlib.abc.MetaPathFinder):\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'molmo_agent.cli.app': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupt()); __main__.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert done.returncode == 130
    assert done.stderr == "agent: stopped\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_says_so_and_keeps_its_trajectory(number: int, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "molmo_agent",
        "run",
        "--env",
        "toy",
        "--model",
        "oracle",
        "--out",
        "run",
        "--json",
    ]
    task = "press tab, then wait 60 seconds, then click the red square"
    with subprocess.Popen(
        [*command, "--task", task], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    stopped_by = "Ctrl-C" if number == signal.SIGINT else "SIGTERM"
    assert f"agent: stopped by the user ({stopped_by})" in errors
    assert "agent view run" in errors
    assert "Traceback" not in errors
    steps = (tmp_path / "run" / "steps.jsonl").read_text().splitlines()
    assert [json.loads(line)["action"]["type"] for line in steps] in (["Key"], ["Key", "Wait"])
    assert json.loads((tmp_path / "run" / "result.json").read_text())["ended"] == f"stopped by the user ({stopped_by})"


def test_a_file_named_stop_ends_the_run(tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "molmo_agent",
        "run",
        "--env",
        "toy",
        "--model",
        "oracle",
        "--out",
        "run",
        "--json",
    ]
    task = "wait 0.1 seconds, then " * 100 + "click the red square"
    with subprocess.Popen(
        [*command, "--task", task, "--max-steps", "200"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        (tmp_path / "run" / "STOP").touch()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped by the kill switch" in errors


def test_the_users_own_task_may_name_a_secret_and_no_output_holds_it(tmp_path: Path) -> None:
    task = 'press tab, then type "{{PIN}}", then click the red square'
    arguments = ["run", "--env", "toy", "--model", "oracle", "--task", task, "--out", "run"]
    done = agent(*arguments, cwd=tmp_path, env={"MOLMO_SECRET_PIN": "98127-pin"})
    assert done.returncode in (0, 1), done.stderr
    assert "{{PIN}}" in done.stdout
    assert "98127-pin" not in done.stdout + done.stderr
    files = list((tmp_path / "run").iterdir())
    assert len(files) > 4
    assert '"Type"' in (tmp_path / "run" / "steps.jsonl").read_text()
    assert all(b"98127-pin" not in path.read_bytes() for path in files)


@pytest.mark.parametrize("name", ["points.unknown", "missing/points.png"])
def test_a_picture_that_cannot_be_written_is_a_clear_message(name: str, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30)).save(tmp_path / "desk.png")
    done = agent("point", "desk.png", "the mugs", "--model", "centre", "--out", name, cwd=tmp_path)
    assert done.returncode == 2
    assert "cannot write the image" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_unknown_option_exits_2_and_debug_shows_the_traceback(tmp_path: Path) -> None:
    assert agent("run", "--bogus", cwd=tmp_path).returncode == 2
    assert "Traceback" in agent("--debug", "view", "nowhere", cwd=tmp_path).stderr
