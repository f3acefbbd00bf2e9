import pytest

from molmo_agent.actions import Click, Done, Drag, Key, PointAt, Type, Wait
from molmo_agent.episode import Decision, LabelledPoint, PointResult, Refusal
from molmo_agent.errors import RunStopped, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.rollout.guards import Guards, risk
from molmo_agent.testing import ToyEnv

MIDDLE = Point(0.5, 0.5)
SCREEN = ToyEnv().reset(seed=0)[0]


def decided(action, instruction="", result=None):
    return Decision(action=action, instruction=instruction, result=result)


def test_without_rules_everything_passes():
    assert Guards().refusal(decided(Click(MIDDLE)), SCREEN) is None


@pytest.mark.parametrize("status", ["none", "unparsed", "out_of_range", "refused"])
@pytest.mark.parametrize(
    "action", [Click(MIDDLE), PointAt((MIDDLE,)), Drag(MIDDLE, MIDDLE), Type("x"), Key(("enter",))]
)
def test_no_answer_but_ok_becomes_an_action_whatever_a_policy_makes_of_it(status, action):
    decision = decided(action, result=PointResult(status=status, reply="?"))
    assert f"status '{status}'; only 'ok' becomes an action" in Guards().refusal(decision, SCREEN).text


@pytest.mark.parametrize("action", [PointAt(()), Wait(0), Done(False)])
def test_doubt_may_still_wait_give_up_or_point_at_nothing(action):
    assert Guards().refusal(decided(action, result=PointResult(status="none", reply="There are none.")), SCREEN) is None


@pytest.mark.parametrize(
    ("action", "reason"),
    [
        (Click(Point(0.3, 0.3)), ""),
        (Click(Point(0.2, 0.2)), ""),
        (Click(Point(0.9, 0.9)), "outside the allowed regions 0.2,0.2,0.6,0.6"),
        (Drag(Point(0.3, 0.3), Point(0.9, 0.3)), r"(0.900, 0.300) is outside"),
        (Click(Point(0.5, 0.5)), "inside the denied region 0.45,0.45,0.55,0.55"),
        (Type("no place"), "they go to the focused field, whose place is not known"),
    ],
)
def test_regions(action, reason):
    guards = Guards(allow=(Box(0.2, 0.2, 0.6, 0.6),), deny=(Box(0.45, 0.45, 0.55, 0.55),))
    refusal = guards.refusal(decided(action), SCREEN)
    assert reason in str(refusal or "")
    assert bool(reason) == bool(refusal)


@pytest.mark.parametrize(
    ("action", "instruction", "why"),
    [
        (Click(MIDDLE), "click Delete everything", "'Delete' may not be undone"),
        (Click(MIDDLE), "press the Pay now button", "'Pay now'"),
        (Click(MIDDLE), "click Send", "'Send'"),
        (Click(MIDDLE), "click the sender's name", ""),
        (Click(MIDDLE), "click Save", ""),
        (Type("{{PASSWORD}}"), "type it", "types a secret"),
        (Type("sudo rm -rf /"), "type it", "'sudo'"),
        (Key(("alt", "F4")), "", "alt+f4 can close a window or program"),
        (Key(("F4", "alt")), "", "can close"),
        (Key(("ctrl", "s")), "save", ""),
        (Wait(1), "delete", ""),
        (Done(), "delete", ""),
    ],
)
def test_risks(action, instruction, why):
    found = risk(decided(action, instruction))
    assert why in found
    assert bool(why) == bool(found)


def test_the_whole_instruction_counts_where_the_policy_names_no_part():
    assert risk(decided(Click(MIDDLE)), "delete the file")
    assert not risk(decided(Click(MIDDLE), "click File"), "click File, then click Delete")


def test_what_the_model_says_it_points_at_counts():
    result = PointResult(status="ok", reply="", points=(LabelledPoint(MIDDLE, "the Buy button"),))
    assert "'Buy'" in risk(decided(Click(MIDDLE), "click it", result))


@pytest.mark.parametrize(("confirm", "asked"), [("always", 2), ("risky", 1), ("never", 0)])
def test_a_person_is_asked_as_often_as_wanted(confirm, asked):
    questions = []

    def ask(decision, observation, why):
        questions.append(why)
        return False

    guards = Guards(confirm=confirm, ask=ask)
    refusals = [guards.refusal(decided(Click(MIDDLE), text), SCREEN) for text in ("click Save", "click Delete")]
    assert len(questions) == asked
    assert refusals.count(Refusal("unconfirmed", "not confirmed by the user")) == asked


def test_nobody_is_asked_about_what_another_rule_refuses_or_what_sends_nothing():
    guards = Guards(confirm="always", ask=lambda *_: pytest.fail("asked"), deny=(Box(0, 0, 1, 1),))
    assert guards.refusal(decided(Click(MIDDLE)), SCREEN)
    assert guards.refusal(decided(Wait(1)), SCREEN) is None


def test_a_yes_lets_the_action_pass():
    assert Guards(confirm="always", ask=lambda *_: True).refusal(decided(Click(MIDDLE)), SCREEN) is None


def test_the_kill_switch_ends_the_run():
    Guards(stop=lambda: False).check_stop()
    with pytest.raises(RunStopped, match="kill switch"):
        Guards(stop=lambda: True).check_stop()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
        ({"max_seconds": 0}, "max_seconds must be a number of seconds > 0, got 0"),
        ({"max_seconds": float("nan")}, "max_seconds must be a number of seconds > 0, got nan"),
        ({"confirm": "often"}, "confirm must be one of always, risky, never, got 'often'"),
        ({"confirm": "always"}, "needs a function that asks"),
    ],
)
def test_senseless_guards_are_refused(values, message):
    with pytest.raises(UsageError, match=message):
        Guards(**values)
