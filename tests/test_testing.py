import dataclasses

import numpy as np
import pytest

from molmo_agent.actions import Click, OpenApp, PointAt, Wait
from molmo_agent.episode import Decision, PointResult
from molmo_agent.errors import ActionRefused
from molmo_agent.geometry import Point
from molmo_agent.testing import ScriptedDecisions, ScriptedModel, ToyEnv, check_env, check_model, check_policy

MIDDLE = Point(0.5, 0.5)
REPLY = '<point x="50.0" y="50.0" alt="it">it</point>'


def test_the_toy_target_moves_when_it_is_hit_and_only_then():
    env = ToyEnv(clicks=2)
    first, _ = env.reset(seed=1)
    target = env.locate("")[0]
    missed, reward, terminated, *_ = env.step(Click(Point(0.0, 1.0)))
    assert np.array_equal(first.image, missed.image)
    assert (reward, terminated) == (0.0, False)
    hit, reward, terminated, _, info = env.step(Click(target.center))
    assert not np.array_equal(first.image, hit.image)
    assert (reward, terminated, info) == (1.0, False, {"is_success": False})
    *_, terminated, _, info = env.step(Click(env.locate("")[0].center))
    assert terminated
    assert info == {"is_success": True}


def test_the_toy_env_is_the_same_for_the_same_seed():
    pictures = [ToyEnv().reset(seed=seed)[0].image for seed in (5, 5, 6)]
    assert np.array_equal(pictures[0], pictures[1])
    assert not np.array_equal(pictures[0], pictures[2])


def test_the_toy_env_refuses_what_it_cannot_do():
    with pytest.raises(ActionRefused, match="the toy env cannot execute OpenApp"):
        ToyEnv().step(OpenApp("Mail"))


def test_a_scripted_model_reads_its_replies_in_a_real_dialect():
    model = ScriptedModel([REPLY, "There are none.", "hm", "(0.25, 0.75)"])
    image = ToyEnv().reset(seed=0)[0].image
    assert [model.point(image, "it").status for _ in range(3)] == ["ok", "none", "unparsed"]
    assert model.questions == ["it"] * 3
    tuples = ScriptedModel(["[(0.25, 0.75), (0.5, 0.5)]"], dialect="tuple")
    assert tuples.point(image, "all", max_points=1).status == "unparsed"
    assert tuples.point(image, "all", max_points=2).points[0].point == Point(0.25, 0.75)


def test_the_fakes_keep_the_protocols():
    check_env(ToyEnv())
    check_policy(ScriptedDecisions([Click(MIDDLE)]))
    assert check_model(ScriptedModel([REPLY])).status == "ok"


def broken(**methods):
    """Return a ToyEnv with some of its methods replaced."""
    env = ToyEnv()
    for name, method in methods.items():
        setattr(env, name, method)
    return env


def shown(image):
    env = ToyEnv()
    seen = env.reset(seed=0)[0]
    return type(seen)(image, seen.transform), {}


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (object(), "expected name, capabilities, reset, step, observe and close, got object"),
        (broken(capabilities=frozenset({Click, int})), "capabilities must be action classes"),
        (broken(reset=lambda **_: shown(np.zeros((4, 4, 3)))), "images are uint8, got float64"),
        (broken(reset=lambda **_: shown(np.zeros((4, 4), np.uint8))), r"images are \(height, width, 3\), got \(4, 4\)"),
        (broken(reset=lambda **_: shown(np.zeros((4, 4, 4), np.uint8))), r"got \(4, 4, 4\)"),
        (broken(reset=lambda **_: (shown(np.zeros((4, 4, 3), np.uint8))[0], None)), "got NoneType"),
        (broken(reset=lambda **_: shown(np.zeros((4, 4, 3), np.uint8))), r"changed the size from \(4, 4\)"),
        (broken(observe=lambda: None), "expected an Observation, got NoneType"),
        (broken(step=lambda action: None), "yet step\\(\\) executed it; it must raise ActionRefused"),
    ],
)
def test_an_env_that_breaks_its_promises_is_told_which(env, message):
    with pytest.raises(AssertionError, match=message):
        check_env(env)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda answer: answer[:4], "step must return five values, got 4"),
        (lambda answer: (answer[0], None, *answer[2:]), "reward must be a float, got None"),
        (lambda answer: (*answer[:2], 1, *answer[3:]), "terminated must be a bool, got 1"),
        (lambda answer: (*answer[:3], None, answer[4]), "truncated must be a bool, got None"),
        (lambda answer: (*answer[:4], None), "info must be a dictionary, got NoneType"),
    ],
)
def test_what_step_returns_is_checked(change, message):
    env = ToyEnv()
    step = env.step
    env.step = lambda action: change(step(action))
    with pytest.raises(AssertionError, match=message):
        check_env(env)


class Policy:
    name = "under test"

    def __init__(self, act):
        self._act = act

    def act(self, task, observation, history):
        return self._act(observation)


TURNS = iter(range(9))


def wobbling(observation):
    return Decision(action=Wait(next(TURNS)))


def drawing(observation):
    observation.image[0, 0] = 0
    return Decision(action=Wait())


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (object(), "expected name and act, got object"),
        (Policy(lambda _: Click(MIDDLE)), "act must return a Decision, got Click"),
        (
            Policy(lambda _: Decision(action=PointAt((MIDDLE,)), result=PointResult(status="none", reply=""))),
            "an answer with the status 'none' became the points",
        ),
        (Policy(drawing), "must not draw on the observation"),
        (Policy(wobbling), "the same input gave Wait.* and then Wait"),
    ],
)
def test_a_policy_that_breaks_its_promises_is_told_which(policy, message):
    with pytest.raises(AssertionError, match=message):
        check_policy(policy)


def test_a_model_that_breaks_its_promises_is_told_which():
    with pytest.raises(AssertionError, match="expected name, point and point_batch, got object"):
        check_model(object())

    class Short(ScriptedModel):
        def point_batch(self, images, instructions):
            return []

    with pytest.raises(AssertionError, match="a batch of 2 gave 0 answers"):
        check_model(Short([REPLY]))
    with pytest.raises(AssertionError, match=r"alone .* in a batch"):
        check_model(ScriptedModel([REPLY, "hm", REPLY]))

    class Chatty(ScriptedModel):
        def point(self, image, instruction, *, max_points=None):
            return super().point(image, instruction)

    two = ['<points x1="1.0" y1="1.0" x2="9.0" y2="9.0" alt="a">a</points>']
    with pytest.raises(AssertionError, match="max_points=1 gave 2 points"):
        check_model(Chatty(two))
    assert len(check_model(ScriptedModel(two)).points) == 2

    class First(ScriptedModel):
        def point(self, image, instruction, *, max_points=None):
            result = super().point(image, instruction)
            return dataclasses.replace(result, points=result.points[:max_points])

    with pytest.raises(AssertionError, match=r"max_points=1 must give the whole answer .* got 'ok' with 1"):
        check_model(First(two))
