"""Names that other packages add: a real package, with metadata as pip writes it, on the path."""

import json
import textwrap

import numpy as np
import pytest
from typer.testing import CliRunner

from molmo_agent import load_env, load_model, load_policy
from molmo_agent.cli.app import app
from molmo_agent.data.catalog import open_source
from molmo_agent.data.source import Source
from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.plugins import GROUPS, load_plugin, plugins
from molmo_agent.pointers.baselines import CentrePointer
from molmo_agent.pointers.nano import load_nano
from molmo_agent.testing import ToyEnv

ENTRIES = """
[molmo_agent.models]
corner = corner_pointer:Corner
nano = corner_pointer:Corner
broken = corner_pointer.missing:Model
[molmo_agent.envs]
small = corner_pointer:small
[molmo_agent.policies]
corner-only = corner_pointer:policy
[molmo_agent.readers]
corners = corner_pointer:read
"""
CODE = """
from molmo_agent.actions import Done
from molmo_agent.episode import Decision
from molmo_agent.pointers.baselines import CentrePointer
from molmo_agent.testing import ScriptedDecisions, ToyEnv


class Corner(CentrePointer):
    name = "corner"


def small(**options):
    return ToyEnv(64, 48, **options)


def policy(model, reason="no reason"):
    made = ScriptedDecisions([Decision(action=Done(False, reason))])
    made.name = f"corner-only({model.name})"
    return made


def read(source):
    return [source.kind]
"""


def install(folder, package, entries, code=""):
    """Write a package and its metadata as an installation leaves them."""
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(textwrap.dedent(entries))
    (folder / f"{package.replace('-', '_')}.py").write_text(code)


@pytest.fixture
def installed(tmp_path, monkeypatch):
    install(tmp_path / "site", "corner-pointer", ENTRIES, CODE)
    monkeypatch.syspath_prepend(tmp_path / "site")
    return tmp_path / "site"


@pytest.fixture
def names(installed):
    def of(command):
        lines = CliRunner().invoke(app, [command, "--json"]).stdout.splitlines()
        return {row["name"]: row["what"] for row in map(json.loads, lines)}

    return of


def test_models_envs_policies_and_readers_of_other_packages_have_names(installed):
    model = load_model("corner")
    assert model.name == "corner"
    assert model.point(np.zeros((4, 4, 3), np.uint8), "it").status == "ok"
    env = load_env("small", clicks=2)
    assert isinstance(env, ToyEnv)
    assert env.reset(seed=0)[0].size == (64, 48)
    policy = load_policy("corner-only", model, env, reason="because")
    assert policy.name == "corner-only(corner)"
    assert open_source(Source(kind="corners")) == ["corners"]


def test_they_are_listed_with_their_package_and_offered_for_typos(names):
    assert names("models")["corner"] == "of the package corner-pointer: corner_pointer:Corner"
    assert "small" in names("envs")
    assert [*names("policies")][-1] == "corner-only"
    for make, message in (
        (lambda: load_model("cornr"), "unknown model 'cornr': did you mean corner"),
        (lambda: load_env("smal"), "unknown env 'smal': did you mean small"),
        (lambda: load_policy("corner-onl", CentrePointer()), "unknown policy 'corner-onl': did you mean corner-only"),
        (lambda: open_source(Source(kind="corner")), "unknown data set 'corner': did you mean corners"),
    ):
        with pytest.raises(UnknownNameError, match=message):
            make()


def test_a_package_that_cannot_be_imported_is_named_and_breaks_no_other_name(names):
    message = (
        "the model 'broken' of the package 'corner-pointer' cannot be loaded from 'corner_pointer.missing:Model': "
        "ModuleNotFoundError: .*; update or uninstall that package"
    )
    with pytest.raises(UsageError, match=message) as caught:
        load_model("broken")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    assert load_model("corner").name == "corner"
    assert "broken" in names("models"), "listing imports no package"


def test_a_built_in_name_cannot_be_replaced(names):
    assert names("models")["nano"].startswith("the embedded Molmo")
    assert load_model("nano").name == load_nano().name
    assert "nano" not in plugins("model", ("nano",))


def test_a_name_in_two_packages_is_neither(installed, tmp_path, monkeypatch):
    install(tmp_path / "more", "another", "[molmo_agent.models]\ncorner = another:Corner\n")
    monkeypatch.syspath_prepend(tmp_path / "more")
    with pytest.raises(UsageError, match="in 2 packages, another and corner-pointer: uninstall all but one"):
        load_model("corner")


def test_an_entry_that_names_nothing_is_reported(tmp_path, monkeypatch):
    install(tmp_path, "odd", "[molmo_agent.envs]\nodd = odd:nothing\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"the env 'odd' of the package 'odd' cannot be loaded .*AttributeError"):
        load_plugin("env", "odd")


def test_every_group_has_its_name():
    assert {f"molmo_agent.{group}" for group in GROUPS.values()} == {
        f"molmo_agent.{name}" for name in ("models", "envs", "policies", "readers")
    }
