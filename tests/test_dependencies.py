"""Versions: what is installed is what the lock says, and what was never run is named before it fails."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from molmo_agent.cli import app as cli
from molmo_agent.dependencies import QUIET_VARIABLE, Dependency, dependencies, untested

ROOT = Path(__file__).parents[1]
LOCK = [Requirement(line) for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
# Of these a minor version has broken something, here or in a project like this one.
BREAK_IN_MINOR_VERSIONS = {
    "transformers",
    "ray",
    "gymnasium",
    "pillow",
    "mujoco",
    "peft",
    "mss",
    "adbutils",
    "openai",
} | {"rapidocr"}


def requirements(*words):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "requirements.py", *words], capture_output=True, text=True, check=False
    )


def test_the_direct_dependencies_of_this_package_are_installed_in_tested_versions():
    known = {item.name: item for item in dependencies()}
    assert known["numpy"].tested == ">=2"
    assert known["numpy"].installed == importlib.metadata.version("numpy")
    assert known["adbutils"].extra == "android"
    assert "pytest" not in known
    assert [name for name, item in known.items() if item.installed and not item.ok] == [] or os.environ[QUIET_VARIABLE]


def test_an_untested_version_is_one_line_with_what_was_tested_and_what_to_type(monkeypatch):
    monkeypatch.delenv(QUIET_VARIABLE, raising=False)
    tried = [
        Dependency("numpy", ">=2", "2.4"),
        Dependency("pillow", ">=11,<13.1", "13.1.0"),
        Dependency("transformers", ">=5,<5.25", "4.57.6"),
        Dependency("ray", ">=2.51", None, "train"),
    ]
    assert untested(tried) == (
        "untested versions: pillow 13.1.0 (tested: >=11,<13.1), transformers 4.57.6 (tested: >=5,<5.25); if anything "
        "fails: pip install 'pillow>=11,<13.1' 'transformers>=5,<5.25'"
    )
    assert untested(tried[:1]) is None
    monkeypatch.setenv(QUIET_VARIABLE, "1")
    assert untested(tried) is None


def test_the_command_line_says_it_once_on_stderr_and_goes_on(monkeypatch, capsys):
    monkeypatch.delenv(QUIET_VARIABLE, raising=False)
    monkeypatch.setattr(cli, "dependencies", lambda: [Dependency("pillow", "<13.1", "14.0")])
    monkeypatch.setattr(sys, "argv", ["agent", "models"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code in (0, None)
    out, err = capsys.readouterr()
    assert "nano" in out
    assert (
        err == "agent: untested versions: pillow 14.0 (tested: <13.1); if anything fails: pip install 'pillow<13.1'\n"
    )


def test_the_lock_pins_every_direct_dependency_within_its_range():
    pinned = {}
    for line in LOCK:
        (pin,) = line.specifier
        assert pin.operator == "==", line
        pinned.setdefault(line.name.lower(), set()).add(pin.version)
    for requirement in map(Requirement, requirements("ranges").stdout.splitlines()):
        for version in pinned[requirement.name.lower()]:
            assert requirement.specifier.contains(version), f"{requirement} but {version} in constraints.txt"


def test_the_lock_names_no_host_no_hash_and_no_build_of_one_device():
    text = (ROOT / "constraints.txt").read_text()
    for word in ("://", "--hash", "--index", "--find", "@", "+cpu", "+cu"):
        assert word not in text, word


@pytest.mark.skipif(QUIET_VARIABLE in os.environ, reason="this environment is not the locked one")
def test_what_is_installed_is_what_the_lock_says():
    # In a process of its own: some libraries bring others along and put them on the path.
    code = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()), sep='\\n')"
    listed = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True).stdout
    installed = {canonicalize_name(name): version for name, version in (line.split("==") for line in listed.split())}
    for line in LOCK:
        # What is not installed is of another platform, or of a build for another device.
        version = installed.get(canonicalize_name(line.name))
        if version and (line.marker is None or line.marker.evaluate()):
            assert line.specifier.contains(Version(version).public), f"{line.name} {version} is not {line}; make setup"


def test_libraries_that_break_in_minor_versions_have_an_upper_end_and_all_have_a_lower_one():
    for requirement in map(Requirement, requirements("ranges").stdout.splitlines()):
        operators = {bound.operator for bound in requirement.specifier}
        assert ">=" in operators, requirement
        assert ("<" in operators) == (requirement.name in BREAK_IN_MINOR_VERSIONS), requirement


def test_oldest_are_the_lower_ends_and_newest_have_none():
    oldest = dict(line.split("==", 1) for line in requirements("oldest", "torch==2.9").stdout.splitlines())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert oldest["pillow"] == "11"
    assert set(oldest) >= {Requirement(line).name for line in project["dependencies"]}
    # Extras that are asked for in two places come together.
    assert oldest["ray[data,serve,train]"] == "2.58"
    newest = requirements("newest", "torch==2.9").stdout.splitlines()
    assert [line for line in newest if set("<>=") & set(line.partition(";")[0])] == ["torch==2.9"]


def test_an_unknown_kind_of_versions_is_answered_with_the_known_ones():
    done = requirements("latest")
    assert done.returncode == 2
    assert done.stderr == "expected oldest, newest or ranges, got latest\n"


def old_python():
    """An interpreter that is too old, or None."""
    names = [f"python3.{minor}" for minor in range(10, 5, -1)]
    paths = [path for name in names if (path := shutil.which(name))]
    roots = Path.home() / ".pyenv" / "versions"
    paths += sorted(str(path) for minor in range(6, 11) for path in roots.glob(f"3.{minor}.*/bin/python"))
    for path in paths:
        if subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0:
            return path
    return None


@pytest.mark.skipif(old_python() is None, reason="no Python older than 3.11 is installed here")
def test_an_old_python_is_refused_by_the_package_and_by_make():
    python = old_python()
    package = subprocess.run(
        [python, "-c", "import molmo_agent"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert "molmo_agent needs Python 3.11 or newer, this is 3." in package.stderr
    setup = ["make", "setup", f"PYTHON={python}", "VENV=.no-such-environment"]
    made = subprocess.run(setup, cwd=ROOT, capture_output=True, text=True, check=False)
    assert made.returncode != 0
    assert "molmo_agent needs Python 3.11 or newer; " in made.stderr
    assert not (ROOT / ".no-such-environment").exists()


@pytest.fixture
def checkout(tmp_path):
    """A folder with the Makefile, and a Python whose environments hold a stand-in for pip that logs its arguments.

    While a file `offline` exists the stand-in fails; while one `kill` does, it is killed together with make.
    """
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    pip = tmp_path / "pip"
    pip.write_text(
        "#!/bin/sh\n"
        'echo "$PIP_CONSTRAINT $PIP_BUILD_CONSTRAINT $*" >> pip.log; echo half > .venv/package\n'
        'if [ -e kill ]; then kill -9 "$PPID"; ps -o ppid= -p "$PPID" | xargs kill -9; fi\n'
        "[ ! -e offline ]\n"
    )
    python = tmp_path / "python"
    python.write_text(
        '#!/bin/sh\n[ "$2" = venv ] || exec ' + sys.executable + ' "$@"\nmkdir -p "$3/bin" && cp pip "$3/bin/python"\n'
    )
    for program in (pip, python):
        program.chmod(0o755)
    return tmp_path


def setup(folder):
    return subprocess.run(["make", "setup", "PYTHON=./python"], cwd=folder, capture_output=True, text=True, check=False)


def test_the_lock_holds_for_what_is_installed_and_for_what_builds_it(checkout):
    assert setup(checkout).returncode == 0
    torch, rest = (checkout / "pip.log").read_text().splitlines()
    assert torch.startswith("constraints.txt constraints.txt -m pip install")
    assert torch.endswith(" torch==2.13.0")
    assert rest.startswith("constraints.txt constraints.txt -m pip install")
    assert rest.endswith(" -e .[dev]")
    setup(checkout)
    assert len((checkout / "pip.log").read_text().splitlines()) == 2, "an environment that is whole is left alone"


def test_a_new_lock_is_installed_into_the_environment_that_is_there(checkout):
    setup(checkout)
    (checkout / ".venv" / "mine").touch()
    later = (checkout / ".venv" / ".installed").stat().st_mtime + 5
    os.utime(checkout / "constraints.txt", (later, later))
    assert setup(checkout).returncode == 0
    assert len((checkout / "pip.log").read_text().splitlines()) == 4
    assert (checkout / ".venv" / "mine").exists()


def test_an_environment_in_which_pip_was_killed_is_made_anew(checkout):
    (checkout / "kill").touch()
    assert setup(checkout).returncode != 0
    assert (checkout / ".venv" / "package").exists()
    (checkout / "kill").unlink()
    (checkout / ".venv" / "broken").touch()
    done = setup(checkout)
    assert done.returncode == 0
    assert ".venv was left half-installed: making it anew" in done.stdout
    assert not (checkout / ".venv" / "broken").exists()


def test_without_a_network_the_step_that_needs_it_is_named(checkout):
    (checkout / "offline").touch()
    done = setup(checkout)
    assert done.returncode != 0
    assert "pip could not install the packages, see above. This step needs the package index" in done.stderr
    assert "Run the same command again" in done.stderr
    (checkout / "offline").unlink()
    assert setup(checkout).returncode == 0
