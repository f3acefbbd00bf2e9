"""Programs that are started get no secrets and no keys: what a program inherits, it can show, store and send."""

import ast
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import molmo_agent
from molmo_agent.child_environment import child_environment, is_private, private_variables_hidden

SHOW = "import os; print(dict(os.environ))"
PACKAGE = Path(molmo_agent.__file__).parent
PRIVATE = {
    "MOLMO_SECRET_PASSWORD": "tr0ub4dor",
    "MOLMO_SECRET_pin": "1234567890",
    "MOLMO_API_KEY": "own-1",
    "OPENAI_API_KEY": "sk-2",
    "OPENAI_ADMIN_KEY": "sk-3",
    "OPENAI_ORG_ID": "org-4",
    "ANTHROPIC_API_KEY": "sk-5",
    "GEMINI_API_KEY": "sk-6",
    "AWS_SECRET_ACCESS_KEY": "aws-7",
    "HF_TOKEN": "hf-8",
}
PUBLIC = ["PATH", "HOME", "DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS", "SSH_AUTH_SOCK", "LANG", "KEYBOARD"]
# It starts a process of this package, which asks a served model and needs its key; that process starts the programs.
OWN_PROCESSES = {"evaluation/own_process.py"}
# Names in a call that stand for an environment without secrets: one kept from before, or nothing of this process.
WITHOUT_SECRETS = {"self._environment", "SANDBOX_ENVIRONMENT"}
# It replaces itself inside the sandbox, whose environment it has.
IN_THE_SANDBOX = {"sandbox/launcher.py"}


@pytest.fixture
def private_variables(monkeypatch):
    for name, value in PRIVATE.items():
        monkeypatch.setenv(name, value)


def test_names_of_secrets_and_keys_are_recognized():
    assert [name for name in PRIVATE if not is_private(name)] == []
    assert [name for name in PUBLIC if is_private(name)] == []


@pytest.mark.usefixtures("private_variables")
def test_a_child_sees_none_of_them_and_the_rest():
    env = child_environment(EXTRA="yes")
    shown = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True, env=env).stdout
    assert [value for value in PRIVATE.values() if value in shown] == []
    assert "'EXTRA': 'yes'" in shown
    assert os.environ["PATH"] in shown


@pytest.mark.usefixtures("private_variables")
def test_hidden_variables_come_back_also_after_an_error():
    def look_up():
        with private_variables_hidden():
            return os.environ["MOLMO_API_KEY"]

    with pytest.raises(KeyError, match="MOLMO_API_KEY"):
        look_up()
    assert {name: os.environ[name] for name in PRIVATE} == PRIVATE
    with private_variables_hidden():
        shown = subprocess.run([sys.executable, "-c", SHOW], capture_output=True, text=True, check=True).stdout
    assert [value for value in PRIVATE.values() if value in shown] == []


def test_every_program_that_is_started_gets_an_environment_of_its_own():
    found, wrong = 0, []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not (
                isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("subprocess.", "os.spawn", "os.exec"))
            ):
                continue
            found += 1
            environment = next((ast.unparse(word.value) for word in node.keywords if word.arg == "env"), "none given")
            if (
                "child_environment(" not in environment
                and environment not in WITHOUT_SECRETS
                and name not in OWN_PROCESSES | IN_THE_SANDBOX
            ):
                wrong.append(f"{name}:{node.lineno} starts a program with env: {environment}")
    assert found > 15
    assert wrong == []


@pytest.mark.usefixtures("private_variables")
def test_the_program_of_a_run_its_screen_and_its_window_manager_see_no_secret(tmp_path):
    pytest.importorskip("Xlib", reason="Xlib comes with pyautogui on Linux only")
    from molmo_agent.cli.start_program import started
    from molmo_agent.envs.desktop.virtual_display import VirtualDisplay

    for program in ("Xvfb", "openbox", "xterm"):
        if not shutil.which(program):
            pytest.skip(f"needs {program}")
    file = tmp_path / "seen"
    with (
        VirtualDisplay(300, 200) as display,
        started(f"xterm -e sh -c 'env > {file}.part; mv {file}.part {file}; cat'"),
    ):
        deadline = time.monotonic() + 60
        while not file.exists():
            assert time.monotonic() < deadline, "the program did not write its environment"
            time.sleep(0.05)
        processes = [process.pid for process in (display._server, display._manager)]
        seen = [file.read_bytes(), *(Path(f"/proc/{number}/environ").read_bytes() for number in processes)]
    assert all(b"PATH=" in environment for environment in seen)
    assert [value for value in PRIVATE.values() for text in seen if value.encode() in text] == []
