"""`agent demo`: the simulated part decides; a real program is shown where a virtual display can be had."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from molmo_agent.cli import demo
from molmo_agent.cli.app import app
from molmo_agent.errors import EnvError

# python-xlib leaves sockets to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")


def show(out: Path, model: str = "oracle") -> tuple[int, str]:
    """Run the command in this process; return its exit code and output, in one line."""
    done = CliRunner().invoke(app, ["demo", "--model", model, "--out", str(out)])
    return done.exit_code, " ".join(done.output.split())


def test_without_xvfb_the_demo_is_the_simulated_desktop_and_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, output = show(tmp_path / "demo")
    assert code == 0, output
    assert "achieved" in output
    why = "it would open on your own screen" if not sys.platform.startswith("linux") else "apt-get install xvfb openbox"
    assert why in output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo"]


def test_a_demo_that_is_not_achieved_exits_1_whatever_the_real_program_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "why_no_real_program", lambda: None)
    monkeypatch.setattr(demo, "installed", lambda: demo.REAL_TASKS[0])
    monkeypatch.setattr(demo, "operate", lambda real, folder: real.saved)
    code, output = show(tmp_path / "demo", "centre")
    assert code == 1
    assert f"the saved file holds {demo.REAL_TASKS[0].saved!r}" in output


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        ("2 red apples", "the saved file holds '2 red apples'; expected '2 red pears, 3 green pears'"),
        (None, "no file was saved; expected '2 red pears, 3 green pears'"),
        (EnvError("Xvfb did not start"), "the real program could not be shown: Xvfb did not start"),
        (OSError(28, "No space left on device"), "the real program could not be shown: No space left on device"),
    ],
)
def test_a_real_program_that_fails_is_reported_and_does_not_fail_the_demo(
    outcome: str | Exception | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def operate(real: demo.RealTask, folder: Path) -> str | None:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(demo, "why_no_real_program", lambda: None)
    monkeypatch.setattr(demo, "installed", lambda: demo.REAL_TASKS[0])
    monkeypatch.setattr(demo, "operate", operate)
    code, output = show(tmp_path / "demo")
    assert code == 0, output
    assert message in output


@pytest.mark.parametrize(
    ("platform", "programs", "reason"),
    [
        ("darwin", {"Xvfb", "mousepad"}, "it would open on your own screen"),
        ("win32", set(), "it would open on your own screen"),
        ("linux", {"mousepad"}, "apt-get install xvfb openbox"),
        ("linux", {"Xvfb"}, "none of these is installed: mousepad, gedit (apt-get install mousepad)"),
        ("linux", {"Xvfb", "gedit"}, None),
    ],
)
def test_the_reason_why_no_real_program_is_shown(platform: str, programs: set[str], reason: str | None) -> None:
    given = demo.why_no_real_program(platform, lambda name: name if name in programs else None)
    assert given is None if reason is None else given is not None and reason in given


@pytest.mark.skipif(os.name != "posix", reason="the command is for Linux")
def test_the_program_starts_apart_from_the_session_of_the_person(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", "/their/settings")
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/their/sockets")
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/their/bus")
    program = tmp_path / "program"
    program.write_text('#!/bin/sh\nenv > "$1"\n')
    program.chmod(0o755)
    for which in (shutil.which, lambda name: None):
        command = demo.start_command(str(program), tmp_path, tmp_path / "list.txt", which)
        subprocess.run(shlex.split(command), check=True, capture_output=True, timeout=280)
        variables = dict(line.split("=", 1) for line in (tmp_path / "list.txt").read_text().splitlines() if "=" in line)
        assert variables["HOME"] == variables["XDG_RUNTIME_DIR"] == str(tmp_path)
        assert "XDG_CONFIG_HOME" not in variables
        assert variables["DBUS_SESSION_BUS_ADDRESS"] != "unix:path=/their/bus"
        assert variables["LC_ALL"] == "C.UTF-8"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_operates_a_real_editor_on_a_display_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if reason := demo.why_no_real_program():
        pytest.skip(reason)
    # Nothing answers there: whatever used the person's display would fail.
    monkeypatch.setenv("DISPLAY", ":4242")
    code, output = show(tmp_path / "demo")
    assert code == 0, output
    real = demo.installed()
    assert f"the saved file holds {real.saved!r}" in output
    assert (tmp_path / "demo" / "trajectory.html").exists()
    assert (tmp_path / f"demo-{real.program}" / "trajectory.html").exists()
    assert os.environ["DISPLAY"] == ":4242"
