"""A phone on which another app comes to the front while a person is asked, a model thinks, or a text is typed."""

from typing import Any

import pytest
from adb_device import AdbDevice

from molmo_agent.actions import Action, Back, Click, Drag, Home, Key, LongPress, Scroll, Type
from molmo_agent.envs.android.env import Android
from molmo_agent.errors import EnvError, RunStopped, ScreenChanged
from molmo_agent.geometry import Box, Point
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.screen_changes import Settle
from molmo_agent.testing import ScriptedDecisions

pytest_plugins = ("adb_fixtures",)
pytest.importorskip("adbutils", reason="needs the extra 'android'")
# adbutils leaves a socket open where a connection fails.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")

MIDDLE = Point(0.5, 0.5)
ACTIONS = [Click(MIDDLE), LongPress(MIDDLE), Drag(MIDDLE, Point(0.5, 0.2)), Scroll("down"), Type("Ada"), Back()]
NO_WAIT = Settle(reaction_s=0.0, quiet_s=0.0, large_quiet_s=0.0, watch_s=0.0, hover_s=0.0)


def other_app(device: AdbDevice) -> None:
    device.phone.launch(device.phone.app("Notes"))


def run(env: Android, actions: list[Action], **guards: Any) -> list[str | None]:
    """Return the kinds of the refusals, None for what was sent."""
    episode = rollout(ScriptedDecisions(actions), env, "do it", settle=NO_WAIT, guards=Guards(**guards))
    return [step.refused and step.refused.kind for step in episode][: len(actions)]


def test_another_app_in_front_after_the_answer_gets_nothing(device: AdbDevice) -> None:
    for action in (Click(MIDDLE), Type("Ada"), Back()):
        device.phone.home()
        device.system.log.clear()

        def ask(decision: Any, observation: Any, why: str) -> bool:
            other_app(device)
            return True

        assert run(Android(), [action], confirm="always", ask=ask) == ["changed"]
        assert device.system.inputs() == []


def test_another_app_in_front_since_the_observation_gets_nothing_without_a_loop_either(device: AdbDevice) -> None:
    env = Android()
    env.reset()
    other_app(device)
    for action in (*ACTIONS, Key(("enter",))):
        with pytest.raises(
            ScreenChanged, match=r"notes/.Main is in front, and was .*Launcher in the observation: observe"
        ):
            env.step(action)
    assert device.system.inputs() == []
    env.step(Home())
    assert [words[-1] for words in device.system.inputs()] == ["KEYCODE_HOME"]


def in_a_note(device: AdbDevice) -> Android:
    other_app(device)
    device.phone.go("Notes", "note")
    device.phone.focus = "Text"
    env = Android()
    env.reset()
    return env


@pytest.mark.parametrize("text", ["abcdefghij" * 60, "abc\n" * 4])
def test_an_app_that_comes_to_the_front_in_the_middle_of_a_text_does_not_get_the_rest(
    device: AdbDevice, text: str
) -> None:
    env = in_a_note(device)

    def interrupt(argv: list[str]) -> None:
        if argv[0] == "input" and len(device.system.inputs("text")) == 1:
            device.phone.home()

    device.system.hook = interrupt
    with pytest.raises(
        EnvError, match=r"Launcher came to the front in the middle of a text for .*: the rest was not typed"
    ):
        env.step(Type(text))
    assert len(device.system.inputs("text")) <= 2


def test_a_stop_in_the_middle_of_a_text_or_a_long_scroll_ends_it(device: AdbDevice) -> None:
    for action, kind in ((Type("abcdefghij" * 60), "text"), (Scroll("down", 20), "swipe")):
        env = in_a_note(device)
        device.system.log.clear()
        with pytest.raises(RunStopped, match="kill switch"):
            run(env, [action], stop=lambda kind=kind: len(device.system.inputs(kind)) >= 1)
        assert len(device.system.inputs(kind)) == 1


def test_a_scroll_of_the_middle_counts_where_the_finger_goes(device: AdbDevice) -> None:
    middle, corner = Box(0.3, 0.3, 0.7, 0.7), Box(0.9, 0.9, 1, 1)
    assert run(Android(), [Scroll("down")], deny=(middle,)) == ["region"]
    assert device.system.inputs() == []
    assert run(Android(), [Scroll("down", 2), Home(), Back()], deny=(corner,)) == [None, "region", "region"]
    assert [words[0] for words in device.system.inputs()] == ["swipe"]
