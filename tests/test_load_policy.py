"""One way to build what acts: the policy, the model made careful, and the threshold on its way to the guards."""

import dataclasses
import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from molmo_agent import load_model, load_policy
from molmo_agent.actions import Click, Done, PointAt, Wait
from molmo_agent.cli import run as cli_run
from molmo_agent.cli.app import app
from molmo_agent.cli.run import Request, run_request
from molmo_agent.episode import LabelledPoint, PointResult, Task
from molmo_agent.errors import UnknownNameError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.interfaces import (
    EnvTraits,
    ModelTraits,
    PolicyTraits,
    env_traits,
    model_traits,
    only_points,
    policy_traits,
)
from molmo_agent.pointers.baselines import CentrePointer, ScriptedPointer, ScriptedPolicy
from molmo_agent.pointers.careful import careful
from molmo_agent.pointers.windowed import WindowedPointer
from molmo_agent.pointers.wrapped import innermost
from molmo_agent.pointers.zoom import ZoomPointer
from molmo_agent.policies.android_control import AndroidControlPolicy
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.policies.waypoints import WaypointPolicy
from molmo_agent.rollout.batch import BatchConfig, roll_out
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.testing import ToyEnv


class Doubtful(CentrePointer):
    """Points at the middle with a confidence of 0.2, and answers in words."""

    name = "doubtful"

    def __init__(self, **traits):
        self.traits = ModelTraits(answerer=self, **traits)
        self.questions = 0

    def point(self, image, instruction, *, max_points=None):
        self.questions += 1
        points = (LabelledPoint(Point(0.5, 0.5)),)
        return PointResult(status="ok", reply="", points=points, confidence=0.2).at_most(max_points)

    def answer_batch(self, images, questions, *, max_new_tokens):
        return ["Click(50.0, 50.0)" for _ in questions]


class Steered(ToyEnv):
    capabilities = frozenset({Click, PointAt, Wait})


def test_the_env_decides_the_policy_where_nothing_else_does():
    assert isinstance(load_policy(model="centre"), PointingPolicy)
    assert isinstance(load_policy(model="centre", env=ToyEnv()), PointingPolicy)
    assert only_points(Steered())
    assert isinstance(load_policy(model="centre", env=Steered()), WaypointPolicy)
    assert isinstance(load_policy("pointing", "centre", Steered()), PointingPolicy)


@pytest.mark.parametrize("written", ["android-control", "android_control"])
def test_a_checkpoint_decides_the_policy_that_it_was_trained_for(written):
    policy = load_policy(model=Doubtful(policy=written, form="ll"))
    assert isinstance(policy, AndroidControlPolicy)
    assert policy.name == "android_control(doubtful, ll)"
    assert load_policy(model=Doubtful(policy=written, form="ll"), form="hl_cot").name.endswith("hl_cot)")
    assert load_policy("android-control", Doubtful()).name.endswith("hl)")
    assert AndroidControlPolicy(WindowedPointer(Doubtful(), (64, 48))).name.endswith("hl)"), "the model inside answers"
    assert isinstance(load_policy("pointing", Doubtful(policy=written, form="ll")), PointingPolicy)


def test_the_oracle_asks_the_env():
    env = ToyEnv()
    going = rollout(load_policy(model="oracle", env=env), env, settle=AT_ONCE, seed=0)
    assert len(list(going)) == 1
    assert going.trajectory.success


def test_what_does_not_fit_together_is_reported():
    with pytest.raises(UnknownNameError, match="unknown policy 'pointin': did you mean pointing"):
        load_policy("pointin", "centre")
    with pytest.raises(
        UsageError, match=r"'android-control' needs a model that answers in words, .*'centre' only points"
    ):
        load_policy("android-control", "centre")
    with pytest.raises(UsageError, match="the policy 'pointing' has no option 'form'"):
        load_policy("pointing", "centre", form="hl")
    with pytest.raises(UsageError, match="expected the form ll, hl_ll, hl, hl_cot, got 'cot'"):
        load_policy("android-control", Doubtful(), form="cot")
    with pytest.raises(UsageError, match=r"min_confidence must be in \[0, 1\], got 2"):
        load_policy(model="centre", min_confidence=2)


def test_a_model_is_made_careful_once():
    model = Doubtful(min_confidence=0.5, window=(64, 48))
    zooming = careful(model)
    assert isinstance(zooming, ZoomPointer)
    assert isinstance(zooming.inner, WindowedPointer)
    assert innermost(zooming) is model
    assert careful(zooming) is zooming
    assert careful(zooming, 0.5) is zooming
    other = careful(zooming, 0.0)
    assert (other.inner, model_traits(other).min_confidence) == (zooming.inner, 0.0)
    assert model_traits(zooming) == dataclasses.replace(model.traits, window=None, zooms=True)
    plain = CentrePointer()
    assert careful(plain) is plain
    assert model_traits(careful(plain, 0.3)).min_confidence == 0.3


def sent(policy, **guards):
    env = ToyEnv(width=400, height=400)
    env.reset(seed=0)
    list(rollout(policy, env, "click the square", guards=Guards(max_steps=2, **guards), settle=AT_ONCE))
    return len(env.actions)


@pytest.mark.parametrize(
    ("least", "guards", "clicks"),
    [
        (None, {}, 0),
        (0.0, {}, 1),
        (0.1, {}, 1),
        (0.9, {}, 0),
        (None, {"min_confidence": 0.0}, 1),
        (0.0, {"min_confidence": 0.3}, 0),
    ],
)
def test_the_guards_take_the_threshold_of_the_policy_unless_they_have_their_own(least, guards, clicks):
    assert sent(load_policy(model=Doubtful(min_confidence=0.5), min_confidence=least), **guards) == clicks


def test_a_policy_made_by_hand_hands_the_threshold_on_too():
    assert sent(PointingPolicy(Doubtful(min_confidence=0.5))) == 0
    assert sent(PointingPolicy(Doubtful())) == 1


def test_the_threshold_holds_in_batches_of_episodes():
    def successes(model, **options):
        result = roll_out(
            lambda: ToyEnv(side_px=119),
            lambda env, seat: load_policy("pointing", seat, env),
            careful(model, **options),
            episodes=2,
            config=BatchConfig(num_envs=2),
        )
        assert all("answers in words" not in episode.ended for episode in result.episodes)
        return sum(bool(episode.success) for episode in result.episodes)

    model = Doubtful(min_confidence=0.5)
    assert successes(model) == 0
    assert model.questions == 4, "each was asked about, and looked at closer, once"
    assert successes(Doubtful(min_confidence=0.5), min_confidence=0.0) == 2


def test_whatever_has_no_traits_has_the_defaults():
    class Words(CentrePointer):
        def answer_batch(self, images, questions, *, max_new_tokens):
            return list(questions)

    words = Words()
    assert model_traits(CentrePointer()) == ModelTraits()
    assert model_traits(words).answerer is words
    assert policy_traits(ScriptedPolicy([])) == PolicyTraits()
    assert not env_traits(ToyEnv()).waits_outside
    assert np.isclose(model_traits(Doubtful(raw_confidence=lambda sure: sure / 2)).raw_confidence(0.5), 0.25)


def test_the_loop_of_the_readme_runs_and_stops_where_agent_run_would(tmp_path, capsys):
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    (block,) = [block for block in text.split("```python")[1:] if "rollout(" in block]
    script = tmp_path / "loop.py"
    script.write_text(block.partition("```")[0])
    scope = runpy.run_path(str(script))
    assert "click" in capsys.readouterr().out
    assert policy_traits(scope["policy"]).min_confidence == model_traits(load_model("nano")).min_confidence > 0


def test_agent_run_takes_the_policy_and_its_form(tmp_path, capsys, monkeypatch):
    env = ToyEnv(side_px=119)
    monkeypatch.setattr(cli_run, "load_env", lambda name, **options: env)
    monkeypatch.setattr(cli_run, "load_model", lambda name, env: Doubtful())
    task = "please and thank you, if possible"
    wanted = Request(
        env="toy",
        model="doubtful",
        policy="android-control",
        form="hl",
        task=task,
        out=tmp_path / "run",
        max_steps=1,
    )
    run_request(wanted)
    assert [type(action) for action in env.actions] == [Click]
    assert json.loads((tmp_path / "run" / "meta.json").read_text())["policy"] == "android_control(doubtful, hl)"
    with pytest.raises(UsageError, match="the policy 'waypoints' has no option 'form'"):
        run_request(dataclasses.replace(wanted, policy="waypoints", out=tmp_path / "other"))
    with pytest.raises(UsageError, match="cannot follow 'if possible': conditions"):
        run_request(dataclasses.replace(wanted, policy="pointing", form=None, out=tmp_path / "third"))


def test_agent_policies_lists_them():
    lines = CliRunner().invoke(app, ["policies", "--json"]).stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines] == [
        *("pointing", "waypoints", "planner", "native", "android-control")
    ]


@pytest.mark.parametrize(("live", "waits"), [(True, 1), (False, 0)])
def test_on_a_live_env_the_policy_waits_for_targets(live, waits):
    env = ToyEnv()
    env.traits = EnvTraits(live=live)
    policy = load_policy("pointing", ScriptedPointer({}), env)
    decision = policy.act(Task("click Save"), env.reset(seed=0)[0], ())
    assert isinstance(decision.action, Wait) == bool(waits)
    impatient = load_policy("pointing", ScriptedPointer({}), env, patience_s=0)
    assert isinstance(impatient.act(Task("click Save"), env.observe(), ()).action, Done)


def test_an_env_that_cannot_wait_is_not_waited_for():
    env = ToyEnv()
    env.traits, env.capabilities = EnvTraits(live=True), env.capabilities - {Wait}
    policy = load_policy("pointing", ScriptedPointer({}), env)
    assert isinstance(policy.act(Task("click Save"), env.reset(seed=0)[0], ()).action, Done)
