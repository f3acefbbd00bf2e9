import dataclasses
import random

import numpy as np
import pytest

from molmo_agent.actions import Click, Done, Drag, Key, Move, OpenApp, PointAt, Type, Wait, points_of
from molmo_agent.episode import Decision, LabelledPoint, Observation, PointResult, Refusal, Task
from molmo_agent.errors import ActionRefused, EnvError, ModelError, RunStopped, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import EnvTraits
from molmo_agent.point_text.parse import parse_points
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.repeats import same_action
from molmo_agent.rollout.screen_changes import AT_ONCE, Settle
from molmo_agent.rollout.secrets import Secrets
from molmo_agent.testing import ScriptedDecisions, ScriptedModel, ToyEnv
from molmo_agent.transforms import ImageTransform

MIDDLE = Point(0.5, 0.5)
CORNER = Point(1.0, 1.0)


class Oracle:
    """Clicks the square of a ToyEnv until the history says that it was hit often enough."""

    name = "oracle"

    def __init__(self, env):
        self.env = env
        self.histories = []

    def act(self, task, observation, history):
        self.histories.append(history)
        box = self.env.locate(task.instruction)[0]
        result = PointResult(status="ok", reply="", points=(LabelledPoint(box.center),))
        return Decision(action=Click(box.center), instruction=task.instruction, result=result)


def run(policy, env, task=None, **options):
    episode = rollout(policy, env, task, settle=AT_ONCE, **options)
    return list(episode), episode.trajectory


def test_an_oracle_solves_the_toy_task_and_every_step_is_told():
    env = ToyEnv(clicks=3)
    policy = Oracle(env)
    steps, trajectory = run(policy, env, seed=4)
    assert [step.effect for step in steps] == ["changed"] * 3
    assert [len(history) for history in policy.histories] == [0, 1, 2]
    assert trajectory.success is True
    assert trajectory.task.instruction == "click the red square"
    assert trajectory.ended == "the env ended the episode"
    assert trajectory.steps == tuple(steps)
    assert steps[-1].terminated
    assert set(steps[0].times_s) == {"record", "policy", "guard", "capture", "act", "settle", "compare"}
    assert not env.closed


def test_the_same_seed_gives_the_same_episode():
    first, second = (run(Oracle(env), env, seed=9)[1] for env in (ToyEnv(clicks=5), ToyEnv(clicks=5)))
    assert [step.action for step in first.steps] == [step.action for step in second.steps]


def test_each_observation_is_what_the_previous_action_left():
    env = ToyEnv(clicks=2)
    steps, _ = run(Oracle(env), env, seed=0)
    assert not np.array_equal(steps[0].observation.image, steps[1].observation.image)


def test_a_task_that_nobody_gave_is_asked_for():
    env = ToyEnv()
    env.reset = lambda **_: (env.observe(), {})
    with pytest.raises(UsageError, match="has no task of its own: pass one with task="):
        run(Oracle(env), env)


def test_the_env_judges_only_its_own_task():
    env = ToyEnv()
    assert run(Oracle(env), env, "hit it")[1].success is None
    assert run(Oracle(env), env, Task("click the red square"))[1].success is True


def test_done_ends_the_run_and_reaches_only_envs_that_know_it():
    env = ToyEnv()
    _, trajectory = run(ScriptedDecisions([Done(False, "cannot see it")]), env)
    assert trajectory.ended == "the policy says: Give up: cannot see it"
    assert trajectory.success is False
    assert env.actions == []
    env.capabilities = env.capabilities | {Done}
    run(ScriptedDecisions([Done()]), env)
    assert env.actions == [Done()]


def test_the_limit_of_steps_ends_the_run():
    _, trajectory = run(ScriptedDecisions([Wait(n / 1000) for n in range(9)]), ToyEnv(), guards=Guards(max_steps=4))
    assert len(trajectory.steps) == 4
    assert trajectory.ended == "the limit of 4 steps is reached"


def test_the_limit_of_seconds_ends_the_run_and_a_late_decision_is_not_sent():
    class Slow(ScriptedDecisions):
        def act(self, task, observation, history):
            import time

            time.sleep(0.06)
            return super().act(task, observation, history)

    env = ToyEnv()
    _, trajectory = run(Slow([Click(MIDDLE)] * 5), env, guards=Guards(max_seconds=0.05))
    assert trajectory.ended == "the limit of 0.05 seconds is reached"
    (refused,) = (step.refused for step in trajectory.steps)
    assert refused == Refusal("deadline", "the limit of 0.05 seconds was reached before the input was sent")
    assert env.actions == []


def test_an_action_repeated_without_effect_is_visible_twice_and_ends_the_run_the_third_time():
    env = ToyEnv()
    wobbling = [Click(Point(0.99, 0.99 + n / 1000)) for n in range(6)]
    steps, trajectory = run(ScriptedDecisions(wobbling), env)
    assert [step.effect for step in steps] == ["unchanged"] * 3
    assert trajectory.ended.endswith("was repeated 3 times and nothing changed")


def test_waiting_and_alternating_are_no_loops():
    actions = [Wait(0.0)] * 5 + [Click(CORNER), Key(("tab",))] * 3
    _, trajectory = run(ScriptedDecisions(actions), ToyEnv())
    assert trajectory.ended == "the policy says: Done"


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        (Click(MIDDLE), Click(Point(0.505, 0.5)), True),
        (Click(MIDDLE), Click(Point(0.52, 0.5)), False),
        (Click(MIDDLE), Click(MIDDLE, count=2), False),
        (Click(MIDDLE), Click(MIDDLE, button="right"), False),
        (Drag(MIDDLE, CORNER), Drag(CORNER, MIDDLE), False),
        (PointAt((MIDDLE,)), PointAt((MIDDLE, CORNER)), False),
        (PointAt(()), PointAt(()), True),
        (Type("a"), Type("a"), True),
        (Type("a"), Type("b"), False),
        (Type("a"), Key(("a",)), False),
    ],
)
def test_sameness_forgives_a_wobble_and_nothing_else(first, second, same):
    assert same_action(first, second) is same


def test_an_action_that_the_env_cannot_execute_is_refused_unsent():
    env = ToyEnv()
    steps, trajectory = run(ScriptedDecisions([OpenApp("Mail")] * 4), env)
    assert steps[0].refused.text.startswith("the env 'toy' cannot execute OpenApp; it executes: Click, Drag, Key")
    assert trajectory.ended.startswith("Open Mail was refused 3 times: the env 'toy'")
    assert env.actions == []


def test_what_the_env_itself_refuses_becomes_a_refused_step_and_the_run_goes_on():
    env = ToyEnv()
    step = env.step

    def picky(action):
        if isinstance(action, Key):
            raise ActionRefused("no such key")
        return step(action)

    env.step = picky
    steps, trajectory = run(ScriptedDecisions([Key(("any",)), Type("x")]), env)
    assert [s.refused for s in steps] == [Refusal("env", "no such key"), None, None]
    assert trajectory.ended == "the policy says: Done"


def test_a_guard_refusal_reaches_the_history_and_not_the_env():
    env = ToyEnv()
    policy = Oracle(env)
    _, trajectory = run(policy, env, guards=Guards(deny=(Box(0, 0, 1, 1),)))
    assert "inside the denied region" in policy.histories[-1][0].refused.text
    assert len(trajectory.steps) == 3
    assert env.actions == []


def test_ten_thousand_doubtful_decisions_send_nothing():
    rng = random.Random(5)

    class Reckless:
        name = "reckless"

        def act(self, task, observation, history):
            point = Point(rng.random(), rng.random())
            status = rng.choice(["none", "unparsed", "out_of_range", "refused"])
            result = PointResult(status=status, reply=f"{rng.random()}")
            action = rng.choice([Click(point), Drag(point, MIDDLE), PointAt((point,)), Type("x"), Key(("enter",))])
            return Decision(action=action, result=result)

    env = ToyEnv(32, 24, side_px=4)
    total = 0
    while total < 10_000:
        steps, _ = run(Reckless(), env, guards=Guards(max_steps=200))
        total += len(steps)
        assert all(step.refused for step in steps)
    assert env.actions == []


def test_a_dry_run_decides_and_checks_but_sends_nothing():
    env = ToyEnv()
    decisions = ScriptedDecisions([Click(MIDDLE), Type("x"), OpenApp("Mail")])
    steps, trajectory = run(decisions, env, guards=Guards(dry_run=True))
    assert env.actions == []
    assert all(step.dry_run for step in steps)
    assert [bool(step.refused) for step in steps] == [False, False, True, False]
    assert trajectory.ended == "the policy says: Done"
    assert trajectory.success is False


def test_a_dry_run_of_a_policy_that_waits_for_an_effect_ends():
    env = ToyEnv()
    _, trajectory = run(Oracle(env), env, guards=Guards(dry_run=True))
    assert len(trajectory.steps) == 3


def test_a_secret_reaches_the_env_and_no_step():
    env = ToyEnv()
    secrets = Secrets({"PASSWORD": "hunter2!"})
    steps, _ = run(
        ScriptedDecisions([Type("my {{PASSWORD}}")]), env, "log in with {{PASSWORD}}", guards=Guards(secrets=secrets)
    )
    assert env.actions == [Type("my hunter2!")]
    assert "hunter2" not in repr(steps)


def test_a_task_with_a_secret_that_is_not_allowed_does_not_begin():
    env = ToyEnv()
    with pytest.raises(UsageError, match="may not type: allow it"):
        run(ScriptedDecisions([Click(MIDDLE)]), env, "type {{PASSWORD}}")
    assert env.actions == []


def test_a_model_that_asks_for_a_secret_of_its_own_is_refused():
    env = ToyEnv()
    steps, _ = run(
        ScriptedDecisions([Type("{{BANK_PIN}}")]), env, guards=Guards(secrets=Secrets({"PASSWORD": "hunter2!"}))
    )
    assert "may not type" in steps[0].refused.text
    assert env.actions == []


def test_secrets_in_an_env_message_are_scrubbed():
    env = ToyEnv()

    def step(action):
        raise ActionRefused(f"cannot type {action.text!r}")

    env.step = step
    steps, _ = run(ScriptedDecisions([Type("{{P}}")]), env, guards=Guards(secrets=Secrets({"P": "hunter2!"})))
    assert steps[0].refused == Refusal("env", "cannot type '{{P}}'")


def test_the_seeming_effect_of_a_refused_step_is_unknown():
    steps, _ = run(ScriptedDecisions([OpenApp("Mail")]), ToyEnv())
    assert steps[0].effect == "unknown"


@pytest.mark.parametrize("failure", [EnvError("the device is gone"), ModelError("no answer"), ValueError("a bug")])
def test_a_failing_env_ends_the_run_with_what_happened_on_record(failure):
    env = ToyEnv(clicks=9)
    step = env.step

    def failing(action):
        if len(env.actions) == 2:
            raise failure
        return step(action)

    env.step = failing
    episode = rollout(Oracle(env), env, settle=AT_ONCE)
    with pytest.raises(type(failure), match=str(failure)):
        list(episode)
    trajectory = episode.trajectory
    assert len(trajectory.steps) == 3
    assert trajectory.steps[2].info == {"error": f"{type(failure).__name__}: {failure}"}
    assert str(failure) in trajectory.ended


def test_an_error_that_quotes_what_was_typed_is_scrubbed_before_it_leaves():
    env = ToyEnv()

    def step(action):
        raise EnvError(f"lost the device while typing {action.text!r}")

    env.step = step
    policy = ScriptedDecisions([Type("{{P}}")])
    with pytest.raises(EnvError, match=r"while typing '{{P}}'") as caught:
        run(policy, env, guards=Guards(secrets=Secrets({"P": "hunter2!"})))
    assert "hunter2" not in str(caught.value)


def test_waiting_for_the_screen_is_told_apart_from_the_time_of_the_agent():
    episode = rollout(ScriptedDecisions([Click(CORNER)]), ToyEnv(), settle=Settle(reaction_s=0.05))
    step = next(episode)
    assert step.times_s["wait"] >= 0.05
    assert step.times_s["settle"] < step.times_s["wait"]
    episode.close()


def test_a_failing_policy_ends_the_run():
    class Broken:
        name = "broken"

        def act(self, task, observation, history):
            raise ModelError("the server does not answer")

    episode = rollout(Broken(), ToyEnv(), settle=AT_ONCE)
    with pytest.raises(ModelError):
        list(episode)
    assert episode.trajectory.ended == "ModelError: the server does not answer"


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), RunStopped("the failsafe corner")])
def test_a_user_who_stops_the_run_finds_the_env_closed(stop):
    env = ToyEnv()

    def step(action):
        raise stop

    env.step = step
    episode = rollout(Oracle(env), env, settle=AT_ONCE)
    with pytest.raises(RunStopped, match=r"stopped by the user \(Ctrl-C\)|the failsafe corner"):
        list(episode)
    assert env.closed
    assert episode.trajectory.ended


def test_the_kill_switch_is_heard_between_deciding_and_acting():
    env = ToyEnv()
    answers = iter([False, True])
    with pytest.raises(RunStopped, match="kill switch"):
        run(Oracle(env), env, guards=Guards(stop=lambda: next(answers)))
    assert env.actions == []
    assert env.closed


def test_an_interrupt_between_two_steps_ends_the_run_in_order():
    env = ToyEnv(clicks=5)
    episode = rollout(Oracle(env), env, settle=AT_ONCE)
    next(episode)
    with pytest.raises(RunStopped, match=r"stopped by the user \(Ctrl-C\)"):
        episode.stop()
    assert env.closed
    assert episode.trajectory.ended == "stopped by the user (Ctrl-C)"
    for early_or_late in (episode, rollout(Oracle(env), env)):
        with pytest.raises(RunStopped, match="stopped by the user"):
            early_or_late.stop()


def test_leaving_early_keeps_the_env_open():
    env = ToyEnv(clicks=5)
    episode = rollout(Oracle(env), env, settle=AT_ONCE)
    next(episode)
    episode.close()
    assert episode.trajectory.ended == "left by the caller before its end"
    assert not env.closed


def test_what_changes_while_the_model_thinks_is_no_effect_of_its_action():
    env = ToyEnv()
    env.advert = False
    observe = env.observe

    def with_advert():
        seen = observe()
        image = seen.image.copy()
        image[-30:, -30:] = 0 if env.advert else 255
        return dataclasses.replace(seen, image=image)

    env.observe = with_advert

    class Thinker(ScriptedDecisions):
        def act(self, task, observation, history):
            env.advert = True
            return super().act(task, observation, history)

    steps, _ = run(Thinker([Click(CORNER)]), env, seed=0)
    assert steps[0].effect == "unchanged"


def test_ten_thousand_garbage_replies_send_nothing():
    rng = random.Random(11)
    pieces = [
        "<point",
        ' x="',
        '" y="',
        "50.0",
        "101",
        "-3",
        "nan",
        "٣",
        ">",
        "</point>",
        "(0.5,",
        "[",
        "{",
        "none",
        "\n",
    ]
    replies = ["".join(rng.choices(pieces, k=rng.randrange(9))) for _ in range(20_000)]
    garbage = [reply for reply in replies if parse_points("molmo", reply).status != "ok"][:10_000]
    assert len(garbage) == 10_000
    env = ToyEnv(32, 24, side_px=4)
    model = ScriptedModel(garbage)
    while len(model.questions) < len(garbage):
        _, trajectory = run(PointingPolicy(model), env, 'click the red square, then type "x" into Name')
        assert trajectory.ended.startswith("the policy says: Give up: could not 'click the red square'")
    assert env.actions == []


# --- Screens that change by themselves --------------------------------------------------------------------------------


class Highlights(ToyEnv):
    """A live env: what is under the pointer is marked; a click does nothing, unless ``works``."""

    traits = EnvTraits(live=True)
    capabilities = ToyEnv.capabilities | {Move}

    def __init__(self, *, works=False, ends_on_move=False):
        super().__init__(640, 480)
        self.pointer, self.works, self.ends_on_move, self.clicked = None, works, ends_on_move, False

    def step(self, action):
        if points := points_of(action):
            self.pointer = points[0].to_pixels(640, 480)
        self.actions.append(action)
        self.clicked = self.clicked or (self.works and isinstance(action, Click))
        over = self.ends_on_move and isinstance(action, Move)
        return self.observe(), 0.25, over, False, {}

    def observe(self):
        image = np.full((480, 640, 3), 220, np.uint8)
        if self.pointer:
            x, y = self.pointer
            image[y - 10 : y + 10, x - 30 : x + 30] = 180
        if self.clicked:
            image[100:300] = 90
        return Observation(image, ImageTransform.identity(640, 480))


QUICK = Settle(reaction_s=0.05, quiet_s=0.02, large_quiet_s=0.02, watch_s=0, hover_s=0.06)


@pytest.mark.parametrize(("works", "effect"), [(False, "unchanged"), (True, "changed")])
def test_a_live_env_is_hovered_before_the_click_whose_effect_is_compared_with_that(works, effect):
    env = Highlights(works=works)
    (step, _) = rollout(ScriptedDecisions([Click(MIDDLE)]), env, "click it", settle=QUICK)
    assert env.actions == [Move(MIDDLE), Click(MIDDLE)]
    assert (step.action, step.effect, step.reward) == (Click(MIDDLE), effect, 0.5)


def test_what_is_no_press_at_a_point_is_not_hovered():
    env = Highlights()
    list(rollout(ScriptedDecisions([Type("x"), Move(MIDDLE), Key(("a",))]), env, "type it", settle=QUICK))
    assert env.actions == [Type("x"), Move(MIDDLE), Key(("a",))]


@pytest.mark.parametrize(
    ("env", "settle"),
    [(ToyEnv(), QUICK), (Highlights(), AT_ONCE)],
    ids=["not_live", "told_to_act_at_once"],
)
def test_where_nothing_is_highlighted_the_pointer_is_not_moved_first(env, settle):
    list(rollout(ScriptedDecisions([Click(CORNER)]), env, "click it", settle=settle))
    assert env.actions == [Click(CORNER)]


def test_an_episode_that_ends_while_hovering_gets_no_click():
    env = Highlights(ends_on_move=True)
    (step,) = rollout(ScriptedDecisions([Click(MIDDLE)]), env, "click it", settle=QUICK)
    assert env.actions == [Move(MIDDLE)]
    assert (step.terminated, step.reward) == (True, 0.25)


def test_hovering_that_is_refused_is_a_refused_step_without_a_click():
    env = Highlights()

    def step(action):
        raise ActionRefused("the window moved")

    env.step = step
    step, _ = rollout(ScriptedDecisions([Click(MIDDLE)]), env, "click it", settle=QUICK)
    assert step.refused == Refusal("env", "the window moved")


def test_the_kill_switch_is_heard_between_hovering_and_clicking():
    env = Highlights()
    with pytest.raises(RunStopped, match="kill switch"):
        list(
            rollout(
                ScriptedDecisions([Click(MIDDLE)]),
                env,
                "click it",
                settle=QUICK,
                guards=Guards(stop=lambda: bool(env.actions)),
            )
        )
    assert env.actions == [Move(MIDDLE)]


def test_how_to_wait_for_the_screen_follows_the_traits_of_the_env():
    def waited_s(env):
        step, _ = rollout(ScriptedDecisions([Key(("a",))]), env, "press it")
        return step.times_s.get("wait", 0.0)

    assert waited_s(Highlights()) > 0.7
    assert waited_s(ToyEnv()) < 0.01


@pytest.mark.parametrize(
    ("later", "effect"), [("type it", "changed_elsewhere"), ("another part", "changed"), ("", "changed")]
)
def test_text_is_expected_where_the_same_part_of_the_instruction_clicked(later, effect):
    class Writes(ToyEnv):
        text = 0

        def step(self, action):
            self.text += isinstance(action, Type)
            return self.observe(), 0.0, False, False, {}

        def observe(self):
            image = np.full((480, 640, 3), 220, np.uint8)
            image[0 : 10 * self.text] = 0
            return Observation(image, ImageTransform.identity(640, 480))

    click = Decision(action=Click(MIDDLE), instruction="type it")
    policy = ScriptedDecisions([click, Decision(action=Type("x"), instruction=later)])
    steps, _ = run(policy, Writes(), "type it")
    assert steps[1].effect == effect
