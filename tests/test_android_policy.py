"""AndroidControl's questions and answers: golden texts both ways, and whole tasks on the simulated phone."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from molmo_agent.actions import (
    Action,
    Back,
    Click,
    Done,
    Drag,
    Home,
    Key,
    LongPress,
    OpenApp,
    Scroll,
    Type,
    Wait,
)
from molmo_agent.cli import rollout as cli_rollout
from molmo_agent.cli.rollout import RolloutRequest, play
from molmo_agent.envs.sim_phone.phone import SimPhone
from molmo_agent.episode import Image
from molmo_agent.errors import PointTextError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.interfaces import Answerer
from molmo_agent.model.prompts import AndroidForm, android_answer, android_prompt
from molmo_agent.pointers.baselines import CentrePointer
from molmo_agent.policies.android_actions import OutOfScreen, PlannedAction, action_text, read_action
from molmo_agent.policies.android_control import AndroidControlPolicy, split_steps
from molmo_agent.policies.instructions.splitter import SubStep, split_instruction
from molmo_agent.rollout.batch import episode_seed
from molmo_agent.rollout.loop import Rollout, rollout
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.testing import check_policy

GOLDEN = json.loads(Path(__file__, "..", "golden", "android_control", "expected.json").resolve().read_text())
FORMS: tuple[AndroidForm, ...] = ("ll", "hl_ll", "hl", "hl_cot")


class ScriptedAnswers:
    """A stand-in for a model: gives prepared replies in turn, and keeps what it was asked."""

    name = "scripted"

    def __init__(self, *replies: str) -> None:
        self.asked: list[str] = []
        self._replies = replies

    def answer_batch(self, images: Sequence[Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        self.asked += questions
        return [self._replies[(len(self.asked) - 1) % len(self._replies)] for _ in questions]


class ScriptedExpert:
    """A stand-in for a model that has learned the task: looks up what is next and writes it as text."""

    name = "scripted"

    def __init__(self, env: SimPhone, form: AndroidForm) -> None:
        self.asked: list[str] = []
        self._env, self._form = env, form
        self._steps: list[SubStep] | None = None

    def answer_batch(self, images: Sequence[Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        self.asked += questions
        if self._steps is None:
            self._steps = list(split_instruction(self._env._running().goal.instruction))
        step = self._steps.pop(0)
        if step.gesture == "scroll" and self._form in ("hl", "hl_cot"):
            if self._env.locate(self._steps[0].targets[0]):
                step = self._steps.pop(0)
            else:
                self._steps.insert(0, step)
        action = step.action([self._env.locate(target)[0].center for target in step.targets])
        return [android_answer(self._form, action_text(action), step=step.text)]


def one_answer(reply: str, form: AndroidForm = "hl", task: str = "tap OK") -> Rollout:
    run = rollout(AndroidControlPolicy(ScriptedAnswers(reply), form), SimPhone(), task, settle=AT_ONCE)
    next(run)
    return run


# --- Text -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", GOLDEN["steps"], ids=lambda step: f"{step['episode_id']}-{step['step']}")
def test_golden_actions_are_read_and_written_again(step: dict[str, Any]) -> None:
    text, told = step["target_action"], step["action_json"]
    action = read_action(text).action
    assert action_text(action).rstrip() == text.rstrip()
    expected: dict[str, Callable[[], Action]] = {
        "scroll": lambda: Scroll(told["direction"], 5),
        "input_text": lambda: Type(told["text"]),
        "open_app": lambda: OpenApp(told["app_name"]),
        "navigate_home": Home,
        "navigate_back": Back,
        "wait": Wait,
    }
    if told["action_type"] in expected:
        assert action == expected[told["action_type"]]()
        return
    assert isinstance(action, LongPress if told["action_type"] == "long_press" else Click)
    width, height = step["image_size"]
    assert action.point.x * width == pytest.approx(told["x"], abs=0.0005 * width + 1e-9)
    assert action.point.y * height == pytest.approx(told["y"], abs=0.0005 * height + 1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("step", GOLDEN["steps"], ids=lambda step: f"{step['episode_id']}-{step['step']}")
def test_golden_questions_and_answers_of_the_four_forms(step: dict[str, Any], form: AndroidForm) -> None:
    golden = step["forms"][form]
    model = ScriptedAnswers(golden["target"])
    instruction = step["step_instruction"]
    policy = AndroidControlPolicy(model, form, steps=lambda task: [instruction])
    run = rollout(policy, SimPhone(), step["goal"], settle=AT_ONCE)
    decided = next(run)
    assert model.asked == [golden["prompt"]]
    assert decided.action == read_action(step["target_action"]).action
    assert decided.decision.instruction == ("" if form == "hl" else instruction)


@pytest.mark.parametrize(
    ("reply", "written"),
    [
        ("Click(0, 100)", PlannedAction(Click(Point(0.0, 1.0)))),
        (" CLICK( 45.5 ,84)\n", PlannedAction(Click(Point(0.455, 0.84)))),
        ("long press(35, 12)", PlannedAction(LongPress(Point(0.35, 0.12)))),
        ("open app google maps", PlannedAction(OpenApp("google maps"))),
        ("Type Action: now", PlannedAction(Type("Action: now"))),
        ("Type   two blanks", PlannedAction(Type("  two blanks"))),
        ("Plan: Tap the plus. Action: Click(5.0, 5.0)", PlannedAction(Click(Point(0.05, 0.05)), "Tap the plus.")),
        ("Plan: Say it Action: Type Action: go", PlannedAction(Type("Action: go"), "Say it")),
        ("Action: Wait", PlannedAction(Wait())),
    ],
)
def test_what_may_be_written_otherwise_is_read(reply: str, written: PlannedAction) -> None:
    assert read_action(reply) == written


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "Click",
        "Click(50.0)",
        "Click(x=50.0, y=85.0)",
        "Clicking at 50.0 and 85.0 now",
        "Click(50.0, 85.0) or Click(1.0, 1.0)",
        "Click(50.0, 85.0",
        "Click(nan, 5)",
        "Click(1e1, 5)",
        "Typewriter",
        "Type:hello",
        "scroll DOWN please",
        "Scroll the page down",
        "Scroll",
        "Open App",
        "Navigate Home now",
        "Plan: tap it",
        "Plan: tap it Action:",
        "Done",
    ],
)
def test_an_unparsable_reply_is_an_error_and_nothing_is_touched(reply: str) -> None:
    with pytest.raises(PointTextError, match=r"expected one of Click\(50.0, 7.3\), .* got ") as error:
        read_action(reply)
    assert error.value.reply == reply
    (step,) = one_answer(reply).trajectory.steps
    assert isinstance(step.action, Done)
    assert not step.action.success
    assert step.decision.result is not None
    assert (step.decision.result.status, step.decision.result.reply) == ("unparsed", reply)


@pytest.mark.parametrize(
    "reply", ["Click(-0.1, 5)", "Click(50.0, 100.1)", "Long Press(111.1, 0.2)", "Click(540, 1200)"]
)
def test_a_point_beyond_the_screen_is_no_place(reply: str) -> None:
    with pytest.raises(OutOfScreen, match="expected percents from 0 to 100, got"):
        read_action(reply)
    (step,) = one_answer(reply).trajectory.steps
    assert isinstance(step.action, Done)
    assert step.decision.result is not None
    assert step.decision.result.status == "out_of_range"


@pytest.mark.parametrize(
    "action",
    [Click(Point(0, 0), count=2), Click(Point(0, 0), button="right"), Drag(Point(0, 0), Point(1, 1)), Key(("a",))],
)
def test_what_android_control_has_no_words_for_is_not_written(action: Action) -> None:
    with pytest.raises(ValueError, match="AndroidControl has no words for"):
        action_text(action)


# --- The policy -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_it_is_a_policy(form: AndroidForm) -> None:
    model = ScriptedAnswers("Click(50.0, 50.0)")
    assert isinstance(model, Answerer)
    assert check_policy(AndroidControlPolicy(model, form)).action == Click(Point(0.5, 0.5))


def test_an_unknown_form_is_told_at_once() -> None:
    with pytest.raises(ValueError, match="expected one of the forms ll, hl_ll, hl, hl_cot, got 'cot'"):
        AndroidControlPolicy(ScriptedAnswers("Wait"), "cot")  # type: ignore[arg-type]


def test_steps_are_asked_for_one_by_one_and_then_it_is_done() -> None:
    model = ScriptedAnswers("Open App Clock", "Click(50.0, 20.0)")
    task = "open the Clock app, then tap the first alarm"
    run = rollout(AndroidControlPolicy(model, "ll"), SimPhone(), task, settle=AT_ONCE)
    steps = list(run)
    assert model.asked == ["low_level: open the Clock app", "low_level: tap the first alarm"]
    assert steps[-1].action == Done(True, "2 of 2 steps carried out")
    assert split_steps(task) == ["open the Clock app", "tap the first alarm"]


def test_a_step_that_was_refused_is_not_asked_for_again() -> None:
    model = ScriptedAnswers("Open App Nothing")
    *_, last = rollout(AndroidControlPolicy(model, "ll"), SimPhone(), "launch Nothing", settle=AT_ONCE)
    assert isinstance(last.action, Done)
    assert not last.action.success
    assert "unknown app 'Nothing'" in last.action.message
    assert len(model.asked) == 1


def expert_does(task: str, form: AndroidForm, seed: int) -> tuple[Rollout, ScriptedExpert]:
    env = SimPhone()
    model = ScriptedExpert(env, form)
    run = rollout(AndroidControlPolicy(model, form), env, seed=seed, options={"task": task}, settle=AT_ONCE)
    list(run)
    return run, model


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("task", ["launch-app", "set-alarm", "write-note", "delete-note", "send-message", "go-home"])
def test_tasks_of_several_steps_are_done_by_text_alone(task: str, form: AndroidForm) -> None:
    run, model = expert_does(task, form, 4)
    goal = run.trajectory.task.instruction
    assert run.trajectory.success, (goal, run.trajectory.ended)
    if form in ("hl", "hl_cot"):
        assert set(model.asked) == {android_prompt(form, goal=goal)}
    else:
        assert model.asked[0] == android_prompt(form, goal=goal, step=split_steps(goal)[0])


def test_with_the_goal_alone_it_scrolls_until_what_it_wants_is_there() -> None:
    run, _ = expert_does("open-contact", "hl", 1)
    written = [action_text(step.action) for step in run.trajectory.steps]
    assert written.count("Scroll down") > 1
    assert run.trajectory.success


class ScriptedPhoneModel(CentrePointer):
    """Points at the middle, and answers every question in words with the reply of a table; notes each call."""

    def __init__(self, replies: dict[str, str]) -> None:
        self.calls: list[list[str]] = []
        self._replies = replies

    def answer_batch(self, images: Sequence[Image], questions: Sequence[str], *, max_new_tokens: int) -> list[str]:
        self.calls.append(list(questions))
        return [self._replies[question] for question in questions]


@pytest.mark.parametrize("num_envs", [1, 3])
def test_agent_rollout_runs_the_policy_with_one_call_for_all_phones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_envs: int
) -> None:
    replies = {}
    for number in range(3):
        _, info = SimPhone().reset(seed=episode_seed(7, number), options={"task": "launch-app"})
        goal = info["instruction"]
        (step,) = split_instruction(goal)
        replies[android_prompt("hl", goal=goal)] = action_text(step.action())
    assert len(replies) > 1
    model = ScriptedPhoneModel(replies)
    monkeypatch.setattr(cli_rollout, "load_model", lambda name, env=None: model)
    request = RolloutRequest(
        env="sim-phone", model="phone", policy="android-control", family="launch-app", seed=7, num_envs=num_envs
    )
    result = play(request, "phone", range(3))
    assert [episode.success for episode in result.episodes] == [True] * 3
    assert [len(questions) for questions in model.calls] == ([3] if num_envs == 3 else [1] * 3)
    assert sum(count for count, _ in result.calls) == sum(map(len, model.calls))


def test_agent_rollout_reports_a_model_that_only_points(monkeypatch: pytest.MonkeyPatch) -> None:
    request = RolloutRequest(env="sim-phone", model="centre", policy="android-control")
    with pytest.raises(UsageError, match="needs a model that answers in words, such as a checkpoint; 'centre' only"):
        play(request, "centre", range(1))
