"""What is published is whole: the wheel runs in an environment of its own, outside of the checkout."""

import importlib.metadata
import os
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from packaging.requirements import Requirement
from PIL import Image

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.slow


def run(*command, cwd, codes=(0,), **variables):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "COV_"))} | variables
    done = subprocess.run([*map(str, command)], cwd=cwd, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode in codes, f"{' '.join(map(str, command))}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def tracked(tmp_path_factory):
    """A copy of what git does not ignore: leftovers of earlier builds in the checkout must not hide a missing file."""
    target = tmp_path_factory.mktemp("source")
    for name in run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0"):
        source = ROOT / name
        if name and (source.is_symlink() or source.exists()):
            copy = target / name
            copy.parent.mkdir(parents=True, exist_ok=True)
            if source.is_symlink():
                copy.symlink_to(os.readlink(source))
            else:
                copy.write_bytes(source.read_bytes())
    return target


@pytest.fixture(scope="module")
def built(tracked, tmp_path_factory):
    """The folder with the sdist, and with the wheel that was built from it."""
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", target, tracked, cwd=target)
    return target


def closure(*names):
    """The distributions that a plain installation brings: the requirements without extras, and theirs."""
    found, waiting = {}, [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        try:
            distribution = importlib.metadata.distribution(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform
        extras = found.setdefault(requirement.name.lower(), set())
        asked = {"", *requirement.extras} - extras
        extras |= asked
        for line in distribution.requires or [] if asked else []:
            inner = Requirement(line)
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in asked):
                waiting.append(inner)
    return sorted(found)


@pytest.fixture(scope="module")
def agent(built, tmp_path_factory):
    """The command of a fresh environment that holds the wheel and what it requires, nothing else."""
    home = tmp_path_factory.mktemp("home")
    venv.create(home / "env", symlinks=os.name != "nt")
    python = home / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    (wheel,) = built.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "--python", python)
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=home)
    (site,) = (home / "env").glob("**/site-packages")
    # Downloading torch again proves nothing: the requirements are linked from this environment, each by its own files.
    for name in closure("molmo-agent"):
        if name == "molmo-agent":
            continue
        for file in importlib.metadata.distribution(name).files or []:
            top = PurePosixPath(file).parts[0]
            source = Path(importlib.metadata.distribution(name).locate_file(top))
            if top not in ("..", "__pycache__") and source.exists() and not (site / top).exists():
                (site / top).symlink_to(source)
    return python.with_name("agent")


def test_wheel_and_sdist_hold_every_file_of_the_package_and_no_other(tracked, built):
    (wheel,) = built.glob("*.whl")
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    package = {name.relative_to(tracked).as_posix() for name in (tracked / "molmo_agent").rglob("*") if name.is_file()}
    information = {name for name in names if ".dist-info/" in name}
    assert names - information == package
    assert {PurePosixPath(name).name for name in information} >= {"METADATA", "LICENSE", "entry_points.txt"}
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        inside = {"/".join(PurePosixPath(member.name).parts[1:]) for member in archive if member.isfile()}
    assert inside >= package | {"LICENSE", "README.md", "pyproject.toml"}


def test_the_demo_runs_from_the_wheel(agent, tmp_path):
    # Without the real editor, for which there is no display: test_demo operates that.
    assert "achieved" in run(agent, "demo", "--out", tmp_path / "demo", cwd=tmp_path, PATH=str(agent.parent))
    assert (tmp_path / "demo" / "trajectory.html").exists()


def test_a_picture_is_pointed_at_from_the_wheel(agent, tmp_path):
    Image.fromarray(np.full((240, 320, 3), 200, np.uint8)).save(tmp_path / "grey.png")
    # 1: it sees none, which is right
    answer = run(agent, "point", "grey.png", "the OK button", "--json", cwd=tmp_path, codes=(0, 1))
    assert '"status": "' in answer


def test_the_suite_explains_itself_from_the_wheel(agent, tmp_path):
    assert "nano-suite" in run(agent, "eval", "nano-suite", "--help", cwd=tmp_path)


def test_a_recipe_trains_from_the_wheel(agent, tmp_path):
    run(agent, "train", "screens", "steps=1", "--out", tmp_path / "run", cwd=tmp_path)
    assert list((tmp_path / "run").rglob("*.safetensors"))


def test_the_doctor_of_the_wheel_finds_every_dependency_of_the_core(agent, tmp_path):
    report = run(agent, "doctor", "--json", cwd=tmp_path)
    assert '"name": "transformers", "ok": true' in report
    assert "untested" not in report
