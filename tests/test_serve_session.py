"""A screen in the hands of another program: outcomes, guards across requests, and what ends a session."""

import multiprocessing
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from molmo_agent.actions import Click, Drag, Key, Move, Type
from molmo_agent.envs.sim_desktop.desktop import SimDesktop
from molmo_agent.episode import LabelledPoint, PointResult
from molmo_agent.errors import ActionRefused, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import ModelTraits
from molmo_agent.pointers.baselines import OraclePointer, ScriptedPointer
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.secrets import Secrets
from molmo_agent.serve.desktop_lock import DesktopLock, device_of
from molmo_agent.serve.keys import read_keys
from molmo_agent.serve.outcome import candidates_of
from molmo_agent.serve.session import Session
from molmo_agent.testing import ToyEnv


class Answers:
    """A model with one prepared answer."""

    name = "answers"

    def __init__(self, *points, status="ok", confidence=None, min_confidence=None):
        labelled = tuple(LabelledPoint(Point(x, y)) for x, y in points)
        self.result = PointResult(status=status, reply="a reply", points=labelled, confidence=confidence)
        self.traits = ModelTraits(min_confidence=min_confidence, zooms=True)

    def point(self, image, instruction, *, max_points=None):
        return self.result

    def point_batch(self, images, instructions):
        return [self.result for _ in images]


def screen(family, seed=3, **size):
    """Return a simulated desktop, its instruction, and where its target is."""
    env = SimDesktop(max_steps=10_000, **size)
    _, info = env.reset(seed=seed, options={"task": family})
    return env, info["instruction"]


def session_of(env, model=None, family=None, seed=3, **guards):
    options = {"task": family} if family else None
    return Session(env, model or OraclePointer(env.locate), guards=Guards(**guards), seed=seed, options=options)


def button(seed=3, **guards):
    env, instruction = screen("click-button", seed)
    return env, session_of(env, family="click-button", seed=seed, **guards), instruction.removeprefix("click the ")


# --- Outcomes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [3, 8, 21])
def test_a_click_with_a_visible_effect_is_verified(seed):
    env, session, target = button(seed)
    outcome = session.click_on(target)
    assert (outcome.result, env.success, len(outcome.actions)) == ("verified", True, 1)
    assert outcome.size == (640, 480)
    assert outcome.candidates[0].point == env.locate(f"click the {target}")[0].center


@pytest.mark.parametrize("point", [(0.01, 0.99), (0.5, 0.999), (0.99, 0.5)])
def test_a_click_without_a_visible_effect_is_not_called_verified(point):
    toy = ToyEnv()
    assert session_of(toy, Answers(point)).click_on("the wall").result == "no_visible_change"


@pytest.mark.parametrize(
    ("model", "result", "places"),
    [
        (Answers(status="none"), "not_found", 0),
        (Answers(status="unparsed"), "not_found", 0),
        (Answers(status="out_of_range"), "not_found", 0),
        (Answers((0.2, 0.2), (0.8, 0.8)), "ambiguous", 2),
        (Answers((0.2, 0.2), (0.8, 0.8), (0.5, 0.1), confidence=0.3), "ambiguous", 3),
        (Answers(status="refused"), "refused", 0),
        (Answers((0.2, 0.2), confidence=0.4, min_confidence=0.9), "refused", 1),
    ],
)
def test_an_answer_that_is_no_sure_place_sends_nothing_and_says_why(model, result, places):
    env = SimDesktop(max_steps=100)
    outcome = session_of(env, model).click_on("Save")
    assert (outcome.result, outcome.actions, len(outcome.candidates)) == (result, (), places)
    assert outcome.message


def test_equal_places_share_the_confidence_and_a_list_has_that_of_its_first_point():
    equal = candidates_of(Answers((0.1, 0.1), (0.9, 0.9), confidence=0.5).result)
    first = candidates_of(Answers((0.1, 0.1), (0.9, 0.9), confidence=0.9).result)
    assert [place.probability for place in equal] == [0.5, 0.5]
    assert [place.probability for place in first] == [0.9, None]


@pytest.mark.parametrize("text", ["Ada", "büro 7", "a b  c"])
def test_typed_text_arrives_in_the_field_that_is_named(text):
    env, instruction = screen("fill-field", seed=5)
    target = instruction.rpartition(" into ")[2]
    outcome = session_of(env, family="fill-field", seed=5).type_into(target, text)
    assert outcome.result == "verified"
    assert len(outcome.actions) == 2
    assert repr(text) in repr(env._running().desktop)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda session: session.click_on("  "), "expected target in words"),
        (lambda session: session.drag("a", "\n"), "expected target in words"),
        (lambda session: session.click_on("x", button="right", count=2), "expected one click"),
        (lambda session: session.press_keys("nokey"), "names no key"),
        (lambda session: session.wait_for("x", timeout_s=1e9), "expected timeout_s between 0 and 120"),
    ],
)
def test_a_request_that_cannot_be_meant_is_a_usage_error(call, message):
    with pytest.raises(UsageError, match=message):
        call(session_of(SimDesktop(max_steps=100)))


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        ("ctrl+s", ("ctrl", "s")),
        ("Page_Down", ("pagedown",)),
        ("KP_Enter", ("enter",)),
        ("Control_L+c", ("ctrl", "c")),
        ("ctrl++", ("ctrl", "+")),
        (["CTRL", "ARROWLEFT"], ("ctrl", "left")),
        ("BackSpace", ("backspace",)),
        ("A", ("a",)),
        (" ", ("space",)),
        ("ctrl+ctrl+a", ("ctrl", "a")),
    ],
)
def test_keys_are_read_under_the_names_of_every_host(names, keys):
    assert read_keys(names) == keys


def test_what_names_no_keys_is_an_error_in_every_form():
    wrong = ["", "xyzzy", "ctrl+nope", [], ["ctrl", ""], "a" * 500, "please press enter now"]
    for names in wrong:
        with pytest.raises(UsageError, match="key"):
            read_keys(names)


# --- Guards -----------------------------------------------------------------------------------------------------------


def test_regions_hold_for_places_that_other_programs_choose():
    _env, session, _ = button(deny=(Box(0.5, 0, 1, 1),))
    inside = [Click(Point(0.7, 0.5)), Drag(Point(0.1, 0.5), Point(0.9, 0.5)), Move(Point(0.51, 0.1))]
    for action in inside:
        outcome = session.act(action)
        assert (outcome.result, outcome.actions) == ("refused", ())
        assert "denied region" in outcome.message
    assert session.act(Key(("alt", "f4"))).result == "refused"


def test_a_person_is_asked_about_each_input_and_no_means_no():
    asked = []

    def ask(decision, observation, why):
        asked.append(decision.instruction)
        return False

    env, session, target = button(confirm="always", ask=ask)
    outcome = session.click_on(target)
    assert (outcome.result, outcome.actions, env.success) == ("refused", (), False)
    assert asked[0] == f"click {target}"
    assert "not confirmed" in outcome.message


def test_the_guard_knows_what_an_earlier_request_typed():
    reasons = []

    def ask(decision, observation, why):
        reasons.append(why)
        return False

    env, instruction = screen("fill-field", seed=5)
    session = session_of(env, family="fill-field", seed=5)
    session.act(Click(env.locate(instruction)[0].center))
    session.act(Type("rm -rf notes"))
    blank = SimpleNamespace(name="blank", read=lambda image: [])
    session.guards = Guards(confirm="risky", ask=ask, reader=blank)
    assert session.act(Key(("enter",))).result == "refused"
    assert "rm -rf notes" in reasons[0]


def test_text_goes_to_the_field_that_an_earlier_request_clicked_and_stays_in_its_region():
    env, instruction = screen("fill-field", seed=5)
    field = env.locate(instruction)[0]
    session = session_of(env, family="fill-field", seed=5, allow=(field,))
    assert session.act(Type("x")).result == "refused"
    assert session.act(Click(field.center)).result != "refused"
    assert session.act(Type("Ada")).result == "verified"


def test_a_secret_is_typed_only_where_it_is_allowed_and_never_shown():
    env, instruction = screen("fill-field", seed=5)
    target = instruction.rpartition(" into ")[2]
    secrets = Secrets({"PIN": "834512967"})
    session = session_of(env, family="fill-field", seed=5, secrets=secrets)
    with pytest.raises(UsageError, match="OTHER"):
        session.type_into(target, "{{OTHER}}")
    outcome = session.type_into(target, "{{PIN}}")
    assert outcome.is_sent
    assert "834512967" not in repr(outcome)
    assert not np.array_equal(session.screenshot().image, env.observe().image)


def test_the_actions_of_a_session_have_a_limit_and_looking_has_none():
    _env, session, _target = button(max_steps=2)
    assert [session.press_keys("f5").result for _ in range(3)][-1] == "refused"
    assert "limit of 2 actions" in session.press_keys("f5").message
    assert session.screenshot().size == (640, 480)


def test_the_time_of_a_session_has_a_limit(monkeypatch):
    _env, session, target = button(max_seconds=50)
    session.screenshot()
    session._began -= 51
    assert "limit of 50 seconds" in session.click_on(target).message


def test_the_kill_switch_ends_the_session_for_good():
    stop = threading.Event()
    env, session, target = button(stop=stop.is_set)
    session.screenshot()
    stop.set()
    assert "kill switch" in session.click_on(target).message
    stop.clear()
    assert session.click_on(target).result == "refused"
    assert not env.success
    with pytest.raises(ActionRefused, match="the session is over"):
        session.screenshot()


def test_a_cancelled_request_sends_nothing_and_the_next_one_works():
    _env, session, target = button()
    session.screenshot()
    session.cancelled.set()
    outcome = session.click_on(target)
    assert (outcome.result, outcome.actions) == ("refused", ())
    assert "cancelled" in outcome.message
    session.cancelled = threading.Event()
    assert session.click_on(target).result == "verified"


def test_a_text_that_is_being_typed_stops_when_its_request_is_cancelled():
    _env, session, _ = button()
    typed = []

    class Slow(SimDesktop):
        between_inputs = staticmethod(lambda holding: None)

        def step(self, action):
            for letter in getattr(action, "text", ""):
                self.between_inputs(False)
                typed.append(letter)
                if len(typed) == 3:
                    session.cancelled.set()
            return super().step(action)

    slow = Slow(max_steps=100)
    session = session_of(slow, Answers((0.5, 0.5)))
    outcome = session.act(Type("abcdefgh"))
    assert typed == ["a", "b", "c"]
    assert "cancelled" in outcome.message


def test_two_requests_at_a_time_are_not_possible():
    _env, session, target = button()
    answers = []

    def stop():
        if not answers:
            answers.append(session.click_on(target))
        return False

    session.guards = Guards(stop=stop)
    session.click_on(target)
    assert answers[0].result == "refused"
    assert "another request is running" in answers[0].message


def test_a_place_that_changed_since_the_screenshot_is_not_clicked():
    class Live(ToyEnv):
        traits = SimpleNamespace(live=True, waits_outside=False)

    toy = Live()
    session = session_of(toy, Answers((0.5, 0.5)))
    seen = session.screenshot()
    toy.reset(seed=77)
    changed = np.argwhere((seen.image != toy.observe().image).any(axis=2))
    row, column = changed[len(changed) // 2]
    outcome = session.act(Click(Point.from_pixel(column, row, *seen.size)))
    assert (outcome.result, outcome.actions) == ("refused", ())
    assert "Take a screenshot" in outcome.message


def test_what_is_waited_for_is_found_or_the_time_passes():
    env = SimDesktop(max_steps=100)
    assert session_of(env, Answers((0.5, 0.5))).wait_for("x", timeout_s=0).result == "verified"
    assert session_of(env, Answers(status="none")).wait_for("x", timeout_s=0).result == "not_found"
    assert session_of(env, Answers(status="none")).wait_for("x", timeout_s=0, gone=True).result == "verified"
    unsure = Answers((0.5, 0.5), confidence=0.2, min_confidence=0.8)
    assert session_of(env, unsure).wait_for("x", timeout_s=0).result == "not_found"


def test_each_request_leaves_a_trajectory(tmp_path):
    env, _instruction = screen("click-button")
    session = Session(env, ScriptedPointer([]), record=tmp_path / "calls")
    session.press_keys("f5")
    session.click_on("nothing")
    assert sorted(path.name for path in (tmp_path / "calls").iterdir()) == ["0001", "0002"]
    assert (tmp_path / "calls" / "0002" / "result.json").exists()


def test_a_closed_session_refuses():
    _env, session, target = button()
    session.close()
    assert session.click_on(target).result == "refused"


# --- One program at a time --------------------------------------------------------------------------------------------


def _holds(name, folder, connection):
    lock = DesktopLock(name, folder)
    connection.send(lock.acquire())
    connection.recv()


@pytest.mark.parametrize("name", ["desktop :0", "desktop wayland-1", "phone emulator-5554"])
def test_a_device_that_another_process_drives_is_refused_until_that_one_ends(tmp_path, name):
    here, there = multiprocessing.get_context("spawn").Pipe()
    other = multiprocessing.get_context("spawn").Process(target=_holds, args=(name, tmp_path, there))
    other.start()
    assert here.recv() == ""
    lock = DesktopLock(name, tmp_path)
    assert lock.acquire() == f"process {other.pid}"
    assert DesktopLock("another screen", tmp_path).acquire() == ""
    env, _session, target = button()
    refused = Session(env, Answers((0.5, 0.5)), claim=lock.acquire).click_on(target)
    assert f"driven by process {other.pid}" in refused.message
    other.kill()
    other.join()
    assert lock.acquire() == ""
    lock.release()


def test_simulated_screens_need_no_lock():
    assert device_of("sim-desktop", {}) == device_of("miniwob", {}) == ""
    assert device_of("android", {"serial": "a"}) != device_of("android", {"serial": "b"})
