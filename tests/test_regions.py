"""Allowed and denied regions: the whole way of a drag counts, and input whose place is not known is asked about."""

import dataclasses
import random

import pytest
from test_changed_screens import QUICK, Board, Layered

from molmo_agent.actions import (
    Back,
    Click,
    Done,
    Drag,
    Home,
    Key,
    LongPress,
    Move,
    OpenApp,
    PointAt,
    Scroll,
    Type,
    Wait,
    strokes_of,
)
from molmo_agent.envs.sim_phone.phone import SimPhone
from molmo_agent.episode import ScreenWindow
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import KnowsPlaces
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.regions import outside
from molmo_agent.testing import ScriptedDecisions, ToyEnv

LEFT_HALF, BAR = Box(0, 0, 0.5, 1), Box(0.4, 0.4, 0.45, 0.6)
IN, OUT = Point(0.2, 0.5), Point(0.8, 0.5)


class Any(Board):
    """A board that executes everything."""

    capabilities = frozenset({Click, LongPress, Drag, Move, Scroll, Type, Key, OpenApp, Back, Home, Wait, PointAt})


def refusals(actions, env=None, **guards):
    """Return the kinds of the refusals, None for what was sent."""
    episode = rollout(ScriptedDecisions(actions), env or Any(), "do it", settle=QUICK, guards=Guards(**guards))
    steps = list(episode)
    return [step.refused.kind if step.refused else None for step in steps if not isinstance(step.action, Done)]


def test_a_drag_through_a_denied_region_is_refused_though_both_ends_are_beside_it():
    for start, end, denied in (
        (Point(0.2, 0.5), Point(0.6, 0.5), True),
        (Point(0.2, 0.2), Point(0.6, 0.8), True),
        (Point(0.42, 0.1), Point(0.42, 0.9), True),
        (Point(0.6, 0.4), Point(0.1, 0.4), True),
        (Point(0.2, 0.2), Point(0.6, 0.3), False),
        (Point(0.2, 0.61), Point(0.6, 0.61), False),
    ):
        text = outside(strokes_of(Drag(start, end)), (), (BAR,))
        assert bool(text) is denied, (start, end)
        assert not text or "crosses the denied region 0.4,0.4,0.45,0.6" in text


def test_a_drag_out_of_the_allowed_regions_and_back_in_is_refused():
    left, right, bridge = Box(0, 0, 0.3, 1), Box(0.7, 0, 1, 1), Box(0.3, 0.4, 0.7, 0.6)
    way = strokes_of(Drag(Point(0.1, 0.5), Point(0.9, 0.5)))
    assert outside(way, (left, right), ()) == (
        "the way from (0.100, 0.500) to (0.900, 0.500) leaves the allowed regions 0,0,0.3,1 0.7,0,1,1"
    )
    assert outside(way, (left, right, bridge), ()) == ""
    assert outside(strokes_of(Drag(Point(0.1, 0.9), Point(0.9, 0.9))), (left, right, bridge), ())


def test_ways_are_judged_as_their_points_are():
    rng = random.Random(5)

    def point():
        return Point(rng.random(), rng.random())

    def box():
        (left, right), (top, bottom) = (sorted((rng.random(), rng.random())) for _ in range(2))
        return Box(left, top, right, bottom)

    wrong = []
    for _ in range(400):
        start, end, boxes = point(), point(), [box(), box()]
        shares = [number / 200 for number in range(201)]
        way = [Point(start.x + (end.x - start.x) * s, start.y + (end.y - start.y) * s) for s in shares]
        meets = any(each.contains(step) for each in boxes for step in way)
        leaves = not all(any(each.contains(step) for each in boxes) for step in way)
        # Between two of the points a way may touch a corner, so only what the points show is compared.
        if meets and not outside([(start, end)], (), boxes):
            wrong.append(("deny", start, end, boxes))
        if leaves and not outside([(start, end)], boxes, ()):
            wrong.append(("allow", start, end, boxes))
    assert not wrong


PLACELESS = [Type("x"), Key(("enter",)), Key(("alt", "f4")), Scroll("down"), OpenApp("Mail"), Back(), Home()]


@pytest.mark.parametrize("regions", [{"allow": (LEFT_HALF,)}, {"deny": (BAR,)}])
def test_input_whose_place_is_not_known_is_refused_with_regions_and_sent_without(regions):
    for action in PLACELESS:
        env = Any()
        assert refusals([action], env, **regions) == ["region"], action
        assert env.actions == []
        assert refusals([action], env) == [None], action
        assert env.actions == [action]


def test_a_person_who_can_be_asked_decides_about_input_whose_place_is_not_known():
    for answer in (True, False):
        whys = []

        def ask(decision, observation, why, whys=whys, answer=answer):
            whys.append(why)
            return answer

        env = Any()
        kinds = refusals(PLACELESS, env, deny=(BAR,), ask=ask)
        assert kinds == [None if answer else "region"] * len(PLACELESS)
        assert env.actions == (PLACELESS if answer else [])
        assert len(whys) == len(PLACELESS)
        assert all("may reach beyond the allowed and denied regions: " in why for why in whys)


def test_the_reason_says_what_to_do():
    texts = {}
    for action in (*PLACELESS, Type("a\tb"), Type("a\nb")):
        episode = rollout(ScriptedDecisions([action]), Any(), "do it", settle=QUICK, guards=Guards(deny=(BAR,)))
        texts[action] = next(episode).refused.text
        episode.close()
    assert "Click into a field there first" in texts[Type("x")]
    assert "Click into a field there first" in texts[Key(("enter",))]
    assert "act on the whole window or desktop" in texts[Key(("alt", "f4"))]
    assert "Say where to scroll" in texts[Scroll("down")]
    assert "acts on the whole screen" in texts[Home()]
    for text in ("a\tb", "a\nb"):
        assert "Click into each field, then type" in texts[Type(text)]


def test_text_and_editing_keys_go_to_the_field_that_was_clicked_last_in_the_regions():
    for actions, last in (
        ([Click(IN), Type("x")], None),
        ([Click(IN), Type("x"), Key(("enter",))], None),
        ([LongPress(IN), Key(("ctrl", "a")), Type("x\n")], None),
        ([Click(IN), Wait(0), Type("x", replace=True)], None),
        ([Click(IN), Key(("shift", "end")), Key(("backspace",))], None),
        ([Click(IN), Key(("tab",)), Type("x")], "region"),
        ([Click(IN), Key(("enter",)), Type("x")], "region"),
        ([Click(IN), Type("a\n"), Type("x")], "region"),
        ([Click(IN), Scroll("down", point=IN), Type("x")], "region"),
        ([Click(IN, button="right"), Type("x")], "region"),
        ([Drag(IN, Point(0.3, 0.5)), Type("x")], "region"),
        ([Click(IN), Key(("alt", "tab"))], "region"),
        ([Click(IN), Key(("ctrl", "w"))], "region"),
        ([Click(IN), Key(("f5",))], "region"),
    ):
        assert refusals(actions, allow=(LEFT_HALF,))[-1] == last, actions


def test_text_is_not_sent_where_a_click_in_the_regions_gave_the_keyboard_to_another_window():
    editor, dialog = ScreenWindow(1, 0, 0, 320, 480), ScreenWindow(2, 400, 100, 600, 300)
    for window, last in ((1, None), (2, "region")):
        env = Layered(dialog, editor)
        env.capabilities = Any.capabilities
        env.info["window"] = 1
        step = env.step

        def focus(action, env=env, window=window, step=step):
            env.info["window"] = window
            return step(action)

        env.step = focus
        assert refusals([Click(IN), Type("x")], env, allow=(LEFT_HALF,))[-1] == last


def test_an_env_that_knows_where_its_field_is_decides():
    class Knows(Any):
        place = OUT

        def strokes(self, action):
            return ((self.place,),) if isinstance(action, Type | Scroll) else None

    env = Knows()
    assert isinstance(env, KnowsPlaces)
    assert refusals([Type("x"), Scroll("down")], env, allow=(LEFT_HALF,)) == ["region", "region"]
    env.place = IN
    assert refusals([Type("x"), Scroll("down"), Click(OUT)], env, allow=(LEFT_HALF,)) == [None, None, "region"]


def test_where_input_goes_is_looked_up_again_after_the_answer():
    class Knows(Any):
        places = (((IN,),),)

        def strokes(self, action):
            return self.places

    for moved_to, kind in ((((OUT,),), "region"), (None, "changed"), (((IN,),), None)):
        env = Knows()
        env.places = ((IN,),)

        def ask(decision, observation, why, env=env, moved_to=moved_to):
            env.places = moved_to
            return True

        assert refusals([Type("x")], env, allow=(LEFT_HALF,), confirm="always", ask=ask) == [kind]
        assert env.actions == ([] if kind else [Type("x")])


def test_a_scroll_on_a_phone_counts_where_the_finger_goes():
    phone = SimPhone()
    phone.reset(seed=0)
    bottom = Box(0, 0.7, 1, 1)
    # The finger goes up from the middle line to scroll down, and starts at the other side where there is no room.
    for action, meets in (
        (Scroll("down", 3), False),
        (Scroll("down", 6), True),
        (Scroll("up", 6), True),
        (Scroll("up", 3, Point(0.5, 0.5)), True),
        (Scroll("down", 3, Point(0.5, 0.1)), True),
        (Scroll("left", 3, Point(0.5, 0.3)), False),
    ):
        assert bool(outside(phone.strokes(action), (), (bottom,))) is meets, action
    assert phone.strokes(Click(IN)) is None


def test_regions_need_nothing_of_an_env_that_has_points_only():
    env = ToyEnv()
    guards = dataclasses.replace(Guards(), allow=(LEFT_HALF,))
    steps = list(rollout(ScriptedDecisions([Click(IN), Click(OUT)]), env, guards=guards))
    assert [step.refused.kind if step.refused else None for step in steps[:2]] == [None, "region"]
