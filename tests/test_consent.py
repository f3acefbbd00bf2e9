"""After every answer, of a person or a model: limits, kill switch and screen count again before anything is sent."""

import threading
import time
import types

import pytest
from rich.console import Console
from test_changed_patches import screen
from test_changed_screens import LEFT, MIDDLE, QUICK, Board, Thinker, cover, move_by

from molmo_agent.actions import Click, Done, Drag, Key, Type, Wait
from molmo_agent.cli.confirm import Asker
from molmo_agent.episode import Decision
from molmo_agent.errors import RunStopped, ScreenChanged
from molmo_agent.geometry import Point
from molmo_agent.interfaces import Interruptible
from molmo_agent.rollout import clearance
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.patches import differs, focus_moved
from molmo_agent.testing import ScriptedDecisions

ACTIONS = [Click(MIDDLE), Drag(LEFT, MIDDLE), Type("Ada"), Key(("enter",))]


def asking(*happenings):
    """Return a function that asks, and the list of what it was asked; something happens during each question."""
    left, questions = list(happenings), []

    def ask(decision, observation, why):
        questions.append(decision.action)
        if left:
            left.pop(0)()
        return True

    return ask, questions


def run(env, policy, **guards):
    episode = rollout(policy, env, "do it", settle=QUICK, guards=Guards(**guards))
    return list(episode), episode.trajectory


@pytest.mark.parametrize("action", ACTIONS)
def test_the_kill_switch_counts_after_the_answer_of_a_person_and_of_a_model(action):
    for asks in (True, False):
        env, stopped = Board(), []
        ask, questions = asking(lambda stopped=stopped: stopped.append(1))
        policy = ScriptedDecisions([action]) if asks else Thinker([action], {0: lambda s=stopped: s.append(1)})
        guards = {"confirm": "always", "ask": ask} if asks else {}
        with pytest.raises(RunStopped, match="stopped by the kill switch"):
            run(env, policy, stop=lambda stopped=stopped: bool(stopped), **guards)
        assert (env.actions, len(questions)) == ([], int(asks))


@pytest.fixture
def clock(monkeypatch):
    """The clock of the time limit: a list with the time."""
    now = [100.0]
    monkeypatch.setattr(clearance, "time", types.SimpleNamespace(monotonic=lambda: now[0]))
    return now


@pytest.mark.parametrize("action", ACTIONS)
def test_time_that_passes_while_a_person_thinks_counts(action, clock):
    env = Board()
    ask, questions = asking(lambda: clock.append(clock.pop() + 61))
    steps, trajectory = run(env, ScriptedDecisions([action]), confirm="always", ask=ask, max_seconds=60)
    assert env.actions == []
    assert questions == [action]
    assert steps[0].refused.kind == "deadline"
    assert steps[0].refused.text == "the limit of 60 seconds was reached before the input was sent"
    assert trajectory.ended == "the limit of 60 seconds is reached"


def test_a_person_is_not_asked_about_a_screen_that_is_gone():
    for change in (
        lambda env: cover(env),
        lambda env: move_by(env, 35, 0),
        lambda env: lambda: env.info.update(page="b"),
    ):
        env = Board()
        env.info["page"] = "a"
        ask, questions = asking()
        steps, _ = run(env, Thinker([Click(MIDDLE), Done()], {0: change(env)}), confirm="always", ask=ask)
        assert steps[0].refused.kind == "changed"
        assert (questions, env.actions) == ([], [])


def test_another_page_or_another_field_of_it_needs_another_answer():
    for action, key, text in (
        (Click(MIDDLE), "page", "the page went from 'a' to 'b' meanwhile"),
        (Type("Ada"), "page", "the page went from 'a' to 'b' meanwhile"),
        (Key(("enter",)), "field", "the focused field went from 'a' to 'b' meanwhile"),
        (Type("Ada"), "field", "the focused field went from 'a' to 'b' meanwhile"),
    ):
        env = Board()
        env.info[key] = "a"
        ask, questions = asking(lambda env=env, key=key: env.info.update({key: "b"}))
        steps, _ = run(env, ScriptedDecisions([action, action]), confirm="always", ask=ask)
        assert steps[0].refused.text == text
        assert questions == [action, action], "asked again, about the new screen"
        assert env.actions == [action]
    env = Board()
    env.info["field"] = "a"
    ask, _ = asking(lambda: env.info.update(field="b"))
    run(env, ScriptedDecisions([Click(MIDDLE)]), confirm="always", ask=ask)
    assert env.actions == [Click(MIDDLE)], "a click does not depend on the keyboard"


def test_the_field_that_was_clicked_must_still_look_so_when_text_comes():
    for change in (
        lambda env: cover(env),
        lambda env: cover(env, (230, 330, 20, 2), 0),
        lambda env: move_by(env, 20, 0),
    ):
        env = Board()
        ask, _ = asking(lambda: None, change(env))
        steps, _ = run(env, ScriptedDecisions([Click(MIDDLE), Type("Ada")]), confirm="always", ask=ask)
        assert env.actions == [Click(MIDDLE)]
        assert steps[1].refused.kind == "changed"


def test_a_label_that_only_flickers_back_is_not_what_a_person_agreed_to():
    shades = iter([220, 40] * 200)
    for asks in (True, False):
        env = Board()
        blink = cover(env, (232, 300, 16, 60), lambda _: next(shades))
        ask, _ = asking(blink)
        guards = {"confirm": "always", "ask": ask} if asks else {}
        policy = ScriptedDecisions([Click(MIDDLE)]) if asks else Thinker([Click(MIDDLE)], {0: blink})
        steps, _ = run(env, policy, **guards)
        assert bool(steps[0].refused) is asks


def test_another_label_in_other_colours_is_another_label_and_the_same_one_is_a_highlight():
    pairs = [
        ("Pay 10", "Pay 90"),
        ("On", "Off"),
        ("Save", "Send"),
        ("3 files", "8 files"),
        ("Keep", "Drop"),
        ("Ja", "Nu"),
    ]
    looks = [
        {},
        {"fill": (60, 110, 200), "ink": "white"},
        {"fill": (200, 40, 40), "ink": "white"},
        {"ink": (90, 90, 90)},
    ]
    wrong = []
    for before, after in pairs:
        for look in looks:
            if not differs(screen(label=before), screen(label=after, **look), MIDDLE, strict=True):
                wrong.append((before, after, look))
            if differs(screen(label=before), screen(label=before, **look), MIDDLE, strict=True):
                wrong.append((before, before, look))
    assert not wrong


def test_a_caret_that_comes_back_shows_that_the_field_has_the_focus():
    caret = ((30, -10, 31, 8), "black")
    with_caret, without = screen(label="", extra=[caret]), screen(label="")
    assert not focus_moved(with_caret, [without, with_caret, without], MIDDLE)
    assert focus_moved(with_caret, [without] * 5, MIDDLE)
    assert not focus_moved(without, [with_caret, without], MIDDLE)


class Typist(Board):
    """A board that types letter by letter, and asks in between whether to go on."""

    def __init__(self):
        super().__init__()
        self.letters, self.holding = "", False
        self.between_inputs = lambda holding: None

    def step(self, action):
        for letter in action.text if isinstance(action, Type) else "x":
            self.between_inputs(self.holding)
            self.letters += letter
        return super().step(action)


def test_a_stop_in_the_middle_of_a_text_ends_it():
    env = Typist()
    assert isinstance(env, Interruptible)
    with pytest.raises(RunStopped):
        run(env, ScriptedDecisions([Type("0123456789")]), stop=lambda: len(env.letters) >= 4)
    assert env.letters == "0123"
    env.between_inputs(False)


def test_time_that_is_over_in_the_middle_of_a_text_ends_it_but_not_a_drag(clock):
    for holding in (False, True):
        env = Typist()
        env.holding = holding
        observe = env.step

        def late(action, env=env, step=observe):
            if isinstance(action, Type):
                clock[0] += 61
            return step(action)

        env.step = late
        steps, trajectory = run(env, ScriptedDecisions([Wait(0), Type("0123")]), max_seconds=60)
        assert env.letters == ("x0123" if holding else "x")
        if not holding:
            assert trajectory.ended == "the limit of 60 seconds is reached"
            assert trajectory.steps[-1].info["error"] == "OutOfTime: the limit of 60 seconds is reached"
            assert [step.refused for step in steps] == [None], "what was partly sent is in the trajectory, not refused"


def test_an_env_that_says_that_its_screen_changed_is_looked_at_again():
    env = Board()
    step, changes = env.step, ["the window moved"]

    def moved(action):
        if changes:
            raise ScreenChanged(changes.pop())
        return step(action)

    env.step = moved
    steps, _ = run(env, ScriptedDecisions([Click(MIDDLE), Click(LEFT)]))
    assert (steps[0].refused.kind, steps[0].refused.text) == ("changed", "the window moved")
    assert env.actions == [Click(LEFT)]


def test_questions_of_several_runs_are_asked_one_after_the_other(monkeypatch):
    asked, overlaps = [], []

    def confirm(question, **options):
        asked.append(str(question))
        overlaps.append(len(asked) - len(answered))
        time.sleep(0.03)
        answered.append(1)
        return True

    answered = []
    monkeypatch.setattr("molmo_agent.cli.confirm.Confirm.ask", confirm)
    ask = Asker(Console(quiet=True))
    observation = Board().observe()
    threads = [
        threading.Thread(target=ask, args=(Decision(action=Click(Point(0.1 * i, 0.5))), observation, ""))
        for i in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(asked) == 6
    assert max(overlaps) == 1
