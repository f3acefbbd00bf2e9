"""A screen that changes between the look of the model and the input: nothing is sent, the model looks again."""

import dataclasses

import numpy as np
import pytest

from molmo_agent.actions import Click, Done, Drag, Key, Move, Type, Wait
from molmo_agent.episode import LabelledPoint, Observation, PointResult, ScreenWindow
from molmo_agent.geometry import Point
from molmo_agent.interfaces import EnvTraits, WindowSystem
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.screen_changes import Settle
from molmo_agent.testing import ScriptedDecisions
from molmo_agent.transforms import ImageTransform

WIDTH, HEIGHT = 640, 480
MIDDLE, LEFT = Point(0.5, 0.5), Point(0.1, 0.2)
QUICK = Settle(reaction_s=0.02, quiet_s=0.01, large_quiet_s=0.01, watch_s=0.05, hover_s=0.0)
STRIPES = np.add.outer(np.arange(60), np.arange(200)) // 7 % 2 * 200


class Board:
    """A live env with a striped thing; ``boxes`` are painted over everything: (top, left, height, width) -> grey."""

    name = "board"
    traits = EnvTraits(live=True)
    capabilities = frozenset({Click, Drag, Key, Type, Wait})

    def __init__(self):
        self.actions, self.boxes, self.info, self.at, self.captures = [], {}, {}, (210, 220), 0

    def reset(self, *, seed=None, options=None):
        return self.observe(), {}

    def step(self, action):
        self.actions.append(action)
        return self.observe(), 0.0, False, False, {}

    def observe(self):
        self.captures += 1
        image = np.full((HEIGHT, WIDTH, 3), 220, np.uint8)
        top, left = self.at
        image[top : top + 60, left : left + 200] = STRIPES[..., None]
        for (top, left, height, width), grey in self.boxes.items():
            image[top : top + height, left : left + width] = grey(self.captures) if callable(grey) else grey
        return Observation(image, ImageTransform.identity(WIDTH, HEIGHT), dict(self.info))

    def close(self):
        pass


class Thinker(ScriptedDecisions):
    """Returns the scripted decisions; ``meanwhile`` maps the number of a decision to what happens during it."""

    def __init__(self, decisions, meanwhile):
        super().__init__(decisions)
        self.meanwhile, self.saw = meanwhile, []

    def act(self, task, observation, history):
        self.saw.append(observation)
        self.meanwhile.get(len(history), lambda: None)()
        return super().act(task, observation, history)


def run(env, policy, task="do it", **guards):
    episode = rollout(policy, env, task, settle=QUICK, guards=Guards(**guards))
    return list(episode), episode.trajectory.ended


def cover(env, box=(200, 200, 100, 250), grey=40):
    return lambda: env.boxes.update({box: grey})


def move_by(env, down, right):
    def move():
        env.at = (env.at[0] + down, env.at[1] + right)

    return move


CHANGES = {
    "a window over it": cover,
    "a small window over it": lambda env: cover(env, (225, 300, 30, 40)),
    "scrolled": lambda env: move_by(env, 35, 0),
    "a list that moved by a few pixels": lambda env: move_by(env, 3, 0),
    "gone": lambda env: cover(env, (0, 0, HEIGHT, WIDTH), 220),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("action", [Click(MIDDLE), Click(MIDDLE, button="right"), Drag(LEFT, MIDDLE)])
def test_what_comes_up_while_the_model_thinks_stops_the_input_and_the_model_looks_again(change, action):
    env = Board()
    policy = Thinker([action, Click(LEFT)], {0: change(env)})
    steps, ended = run(env, policy)
    assert env.actions == [Click(LEFT)]
    assert steps[0].refused.kind == "changed"
    assert "what is around (0.500, 0.500) changed since the model looked" in steps[0].refused.text
    assert not np.array_equal(policy.saw[0].image, policy.saw[1].image)
    assert ended == "the policy says: Done"


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_comes_up_while_a_person_is_asked_stops_the_input(change):
    env = Board()
    answers = iter([change(env), lambda: None])

    def ask(decision, observation, why):
        next(answers)()
        return True

    _, ended = run(env, ScriptedDecisions([Click(MIDDLE), Click(MIDDLE)]), confirm="always", ask=ask)
    assert env.actions == [Click(MIDDLE)], "the second answer is about the new screen"
    assert ended == "the policy says: Done"


def test_what_changes_elsewhere_or_blinks_or_plays_does_not_stop_the_input():
    for box, grey in [
        ((20, 400, 150, 200), 40),
        ((20, 400, 150, 200), lambda number: number * 37 % 251),
        ((225, 330, 18, 2), 0),
        ((180, 340, 100, 100), lambda number: number * 83 % 251),
        ((230, 310, 20, 20), lambda number: number * 83 % 251),
    ]:
        env = Board()
        env.boxes[box] = 220
        steps, _ = run(env, Thinker([Click(MIDDLE)], {0: cover(env, box, grey)}))
        assert env.actions == [Click(MIDDLE)], (box, steps[0].refused)


def test_a_popup_that_is_gone_again_does_not_stop_the_input():
    env = Board()
    greys = iter([40])
    run(env, Thinker([Click(LEFT)], {0: cover(env, (60, 30, 80, 80), lambda _: next(greys, 220))}))
    assert next(greys, None) is None, "it was seen once"
    assert env.actions == [Click(LEFT)]


def test_a_screen_that_changes_before_every_input_ends_the_run_after_three_looks():
    env = Board()
    shades = iter(range(10, 250, 40))
    policy = Thinker(
        [Click(MIDDLE), Click(Point(0.52, 0.5)), Click(Point(0.5, 0.52)), Click(MIDDLE)],
        {number: lambda: cover(env, grey=next(shades))() for number in range(9)},
    )
    steps, ended = run(env, policy)
    assert env.actions == []
    assert len(steps) == 3
    assert ended.startswith(
        "the screen changed before each of the last 3 inputs, so none was sent: what is around (0.5"
    )
    assert ended.endswith("Close what moves there, then start again")


def test_another_size_of_the_screen_is_a_changed_screen():
    env = Board()
    observe = env.observe

    def smaller():
        seen = observe()
        return dataclasses.replace(seen, image=seen.image[:400])

    steps, _ = run(env, Thinker([Click(MIDDLE)], {0: lambda: setattr(env, "observe", smaller)}))
    assert steps[0].refused.kind == "changed"
    assert "another size than in the observation" in steps[0].refused.text
    assert env.actions == []


@pytest.mark.parametrize("action", [Type("Ada"), Key(("enter",)), Click(LEFT)])
@pytest.mark.parametrize("windows", [("editor", "mail"), (17, 18), ("editor", None)])
def test_an_input_does_not_go_to_another_window_than_the_one_with_the_focus_when_the_model_looked(action, windows):
    env = Board()
    env.info["window"] = windows[0]
    steps, _ = run(env, Thinker([action, Wait(0)], {0: lambda: env.info.update(window=windows[1])}))
    assert env.actions == [Wait(0)]
    assert steps[0].refused.kind == "changed"
    assert f"the keyboard focus went from '{windows[0]}' to " in steps[0].refused.text


@pytest.mark.parametrize("action", [Type("Ada"), Key(("enter",))])
def test_a_dialog_stops_keys_where_no_window_has_a_name(action):
    env = Board()
    steps, _ = run(env, Thinker([action], {0: cover(env)}))
    assert steps[0].refused.text == "what is on the screen changed since the model looked"
    assert env.actions == []


def test_an_env_that_changes_through_actions_alone_is_not_checked():
    env = Board()
    env.traits = EnvTraits()
    run(env, Thinker([Click(MIDDLE)], {0: cover(env)}))
    assert env.actions == [Click(MIDDLE)]


class Layered(Board):
    """A board with windows, topmost first, that may look alike; 1 is the editor, 2 a dialog."""

    capabilities = Board.capabilities | {Move}

    def __init__(self, *windows):
        super().__init__()
        self.windows, self.activated, self.may_activate = list(windows), [], True

    def stacked_windows(self):
        return tuple(self.windows)

    def window_name(self, window):
        return {1: "Editor", 2: "Warning", 3: "Terminal"}[window]

    def activate_window(self, window):
        self.activated.append(window)
        if self.may_activate:
            self.info["window"] = window
        return self.may_activate


EDITOR, DIALOG = ScreenWindow(1, 100, 100, 600, 400), ScreenWindow(2, 250, 200, 400, 300)
MENU, BESIDE = ScreenWindow(7, 250, 200, 400, 300, popup=True), ScreenWindow(2, 0, 0, 90, 90)


@pytest.mark.parametrize(
    ("before", "after", "sent"),
    [
        ([EDITOR], [DIALOG, EDITOR], False),
        ([EDITOR], [MENU, EDITOR], False),
        ([MENU, EDITOR], [EDITOR], False),
        ([DIALOG, EDITOR], [EDITOR, DIALOG], False),
        ([EDITOR], [], False),
        ([EDITOR], [BESIDE, EDITOR], True),
        ([EDITOR], [EDITOR, DIALOG], True),
        ([MENU, EDITOR], [MENU, EDITOR, DIALOG], True),
    ],
)
def test_the_window_under_the_point_must_be_the_one_that_the_model_saw_even_if_both_look_alike(before, after, sent):
    env = Layered(*before)
    assert isinstance(env, WindowSystem)
    env.window_name = str
    steps, _ = run(env, Thinker([Click(MIDDLE)], {0: lambda: setattr(env, "windows", after)}))
    assert (Click(MIDDLE) in env.actions) is sent
    if not sent:
        assert steps[0].refused.kind == "changed"
        assert steps[0].refused.text.startswith("the window at (0.500, 0.500) is ")


def test_a_window_that_comes_up_while_the_pointer_moves_there_gets_no_click():
    env = Layered(EDITOR)
    step = env.step

    def moving(action):
        if isinstance(action, Move):
            env.windows.insert(0, DIALOG)
        return step(action)

    env.step = moving
    episode = rollout(ScriptedDecisions([Click(MIDDLE)]), env, "do it", settle=dataclasses.replace(QUICK, hover_s=0.01))
    steps = list(episode)
    assert env.actions == [Move(MIDDLE)]
    assert steps[0].refused.text == "the window at (0.500, 0.500) is 'Warning' and was 'Editor' when the model looked"


@pytest.mark.parametrize("action", [Click(MIDDLE), Type("Ada"), Key(("enter",))])
def test_the_answer_at_a_terminal_does_not_redirect_the_input_to_the_terminal(action):
    env = Layered(EDITOR)
    env.info["window"] = 1

    def ask(decision, observation, why):
        env.info["window"] = 3
        return True

    _, ended = run(env, ScriptedDecisions([action]), confirm="always", ask=ask)
    assert env.activated == [1]
    assert env.actions[-1] == action
    assert ended == "the policy says: Done"


def test_a_window_that_cannot_be_brought_back_after_the_answer_gets_no_text():
    env = Layered(EDITOR)
    env.info["window"], env.may_activate = 1, False

    def ask(decision, observation, why):
        env.info["window"] = 3
        return True

    steps, _ = run(env, ScriptedDecisions([Type("rm -r *\n"), Done()]), confirm="always", ask=ask)
    assert env.actions == []
    assert steps[0].refused.text == "the keyboard focus went from 'Editor' to 'Terminal' meanwhile"


def test_without_a_question_no_window_is_brought_back():
    env = Layered(EDITOR)
    env.info["window"] = 1
    run(env, Thinker([Type("Ada")], {0: lambda: env.info.update(window=3)}))
    assert env.activated == []
    assert env.actions == []


# --- The policy looks again -------------------------------------------------------------------------------------------


class Places:
    """A pointing model that gives the next place each time; meanwhile something may happen."""

    name = "places"

    def __init__(self, *places, meanwhile=()):
        self.places, self.meanwhile, self.asked = list(places), dict(enumerate(meanwhile)), []

    def point(self, image, instruction, *, max_points=None):
        self.meanwhile.get(len(self.asked), lambda: None)()
        place = self.places[min(len(self.asked), len(self.places) - 1)]
        self.asked.append(instruction)
        if place is None:
            return PointResult(status="none", reply="There are none.")
        return PointResult(status="ok", reply="", points=(LabelledPoint(place),))

    def point_batch(self, images, instructions):
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]


def test_the_model_is_asked_again_in_the_same_words_and_its_new_place_is_clicked():
    env = Board()
    model = Places(MIDDLE, LEFT, meanwhile=[move_by(env, 100, 0)])
    _, ended = run(env, PointingPolicy(model), "click Save")
    assert model.asked == ["Save", "Save"]
    assert env.actions == [Click(LEFT)]
    assert ended.startswith("the policy says: ")


def test_a_model_that_points_at_what_now_covers_its_target_is_not_believed():
    env = Board()
    _, ended = run(env, PointingPolicy(Places(MIDDLE, meanwhile=[cover(env)])), "click Save")
    assert env.actions == []
    reason = "what is shown there changed, yet the model points at the same place"
    assert ended == f"the policy says: Give up: could not 'click Save': {reason}"


def test_a_model_that_points_at_the_same_thing_in_other_colours_or_with_news_around_it_is_believed():
    for box, grey in [((205, 350, 70, 60), 40), ((150, 200, 55, 250), 90)]:
        env = Board()
        run(env, PointingPolicy(Places(Point(0.48, 0.5), meanwhile=[cover(env, box, grey)])), "click Save")
        assert env.actions == [Click(Point(0.48, 0.5))], box


def test_a_target_that_is_covered_and_free_again_is_clicked():
    env = Board()
    step = env.step

    def reacting(action):
        if isinstance(action, Wait):
            env.boxes.clear()
        elif isinstance(action, Click):
            env.at = (240, 220)
        return step(action)

    env.step = reacting
    model = Places(MIDDLE, None, MIDDLE, meanwhile=[cover(env)])
    steps, ended = run(env, PointingPolicy(model, patience_s=1.0), "click Save")
    assert [step.refused.kind for step in steps if step.refused] == ["changed"]
    assert [action for action in env.actions if not isinstance(action, Wait)] == [Click(MIDDLE)]
    assert ended == "the policy says: Done: 1 of 1 steps carried out"
