import numpy as np
import pytest

from molmo_agent.actions import Back, Click, Drag, Key, Scroll, Type
from molmo_agent.envs.drawing.fonts import FAMILIES as FONTS
from molmo_agent.envs.drawing.words import dictionary
from molmo_agent.envs.sim_desktop import SPLITS, sample_screen
from molmo_agent.envs.sim_desktop.desktop import SimDesktop
from molmo_agent.errors import ActionRefused, UnknownNameError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.pointers.baselines import CentrePointer, OraclePointer
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.rollout.secrets import Secrets
from molmo_agent.testing import check_env


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_seed_draws_the_same_screen(split: str) -> None:
    one, other = (sample_screen(11, split=split) for _ in range(2))  # type: ignore[arg-type]
    assert one.image.tobytes() == other.image.tobytes()
    assert one.elements == other.elements
    assert one.texts == other.texts
    assert not np.array_equal(one.image, sample_screen(12, split=split).image)  # type: ignore[arg-type]


@pytest.mark.parametrize("size", [(200, 200), (640, 480), (1280, 800), (375, 667)])
def test_visible_elements_lie_inside_screens_of_every_size(size: tuple[int, int]) -> None:
    width, height = size
    for seed in range(6):
        screen = sample_screen(seed, width=width, height=height)
        assert screen.image.shape == (height, width, 3)
        for element in screen.elements:
            if element.visible:
                left, top, right, bottom = element.box
                assert 0 <= left < right <= width
                assert 0 <= top < bottom <= height
        for run in screen.texts:
            assert len(run.edges) == len(run.text) + 1
            assert list(run.edges) == sorted(run.edges)


def test_text_edges_enclose_the_ink() -> None:
    checked = 0
    for seed in range(5):
        screen = sample_screen(seed, style="words")
        gray = screen.image.astype(int).sum(2)
        for run in screen.texts:
            left, right, top, bottom = int(run.edges[0]), int(run.edges[-1]), int(run.top), int(run.bottom)
            if left < 12 or right > 628 or not run.text.isalpha():
                continue
            patch = gray[top:bottom, left - 10 : right + 10]
            ground = np.bincount(patch.ravel()).argmax()
            inked = np.flatnonzero((abs(patch - ground) > 200).any(0))
            if len(inked) and (abs(patch[:, :6] - ground) < 60).all() and (abs(patch[:, -6:] - ground) < 60).all():
                assert inked[0] >= 10 - 3
                assert inked[-1] <= patch.shape[1] - 10 + 3
                checked += 1
    assert checked > 50


def test_held_out_fonts_and_words_are_apart() -> None:
    assert sum(font.held_out for font in FONTS.values()) >= 4
    assert sum(not font.held_out for font in FONTS.values()) >= 14
    assert not set(dictionary("train")) & set(dictionary("held_out"))
    assert len(dictionary("held_out")) > 100


def test_the_env_keeps_the_contract() -> None:
    check_env(SimDesktop())


@pytest.mark.parametrize("family", SimDesktop.tasks())
def test_an_oracle_solves_every_family(family: str) -> None:
    env = SimDesktop()
    for seed in range(3):
        run = rollout(
            PointingPolicy(OraclePointer(env.locate)),
            env,
            seed=seed,
            options={"task": family, "secret": "tr0ub4dor"},
            settle=AT_ONCE,
            guards=Guards(secrets=Secrets({"PASSWORD": "tr0ub4dor"})),
        )
        list(run)
        assert run.trajectory.success, (seed, run.trajectory.task.instruction, run.trajectory.ended)


def test_pointing_at_the_centre_is_near_chance() -> None:
    solved = 0
    for seed in range(20):
        env = SimDesktop()
        run = rollout(PointingPolicy(CentrePointer()), env, seed=seed, settle=AT_ONCE)
        list(run)
        solved += bool(run.trajectory.success)
    assert solved <= 4


def test_the_centre_of_every_visible_button_presses_that_button() -> None:
    pressed = 0
    for seed in range(8):
        env = SimDesktop()
        env.reset(seed=seed, options={"task": "click-button"})
        screen = env.screen()
        for element in screen.elements:
            if element.kind == "button" and element.visible and element.state != "disabled":
                env.reset(seed=seed, options={"task": "click-button"})
                env.step(Click(Point(element.center[0] / 640, element.center[1] / 480)))
                events = env._running().events
                assert [(e.kind, e.label) for e in events] == [("button", element.label)]
                pressed += 1
    assert pressed > 10


def field_of(env: SimDesktop) -> str:
    focus = env._running().desktop.focus
    assert focus is not None
    return focus.value


def test_fields_take_text_of_any_script_and_keys() -> None:
    env = SimDesktop()
    _, info = env.reset(seed=1, options={"task": "fill-field"})
    box = env.locate(info["instruction"])[0]
    env.step(Click(box.center))
    env.step(Key(("ctrl", "a")))
    env.step(Type("Ünïcode 日本"))
    assert field_of(env) == "Ünïcode 日本"
    env.step(Key(("backspace",)))
    env.step(Key(("home",)))
    env.step(Type(">"))
    assert field_of(env) == ">Ünïcode 日"


def test_typing_without_a_focused_field_changes_nothing() -> None:
    env = SimDesktop()
    before, _ = env.reset(seed=1, options={"task": "click-shape"})
    after, *_ = env.step(Type("lost"))
    assert np.array_equal(before.image, after.image)


def test_windows_move_by_their_title_and_close() -> None:
    env = SimDesktop()
    env.reset(seed=4, options={"task": "close-window"})
    window = env._running().desktop.windows[-1]
    old = window.box
    title = next(e for e in env.screen().elements if e.kind == "window_title" and e.label == window.title)
    start = Point(title.center[0] / 640, title.center[1] / 480)
    env.step(Drag(start, Point(min(start.x + 0.1, 1), min(start.y + 0.1, 1))))
    moved = env._running().desktop.windows[-1].box
    assert moved[0] - old[0] == pytest.approx(64, abs=1)
    assert moved[1] - old[1] == pytest.approx(48, abs=1)
    close = next(e for e in env.screen().elements if e.kind == "window_close" and e.label == window.title)
    if close.visible:
        env.step(Click(Point(close.center[0] / 640, close.center[1] / 480)))
        assert window not in env._running().desktop.windows


def test_a_list_scrolls_in_the_direction_of_the_wheel() -> None:
    for seed in range(30):
        env = SimDesktop()
        env.reset(seed=seed, options={"task": "pick-list-item"})
        desktop = env._running().desktop
        lists = [(w, x) for w in desktop.windows for x in w.widgets if x.row_height and len(x.items) > x.rows]
        for element in env.screen().elements:
            owner = next((x for _, x in lists if element.kind == "list_item" and element.label in x.items), None)
            if owner is not None and element.visible:
                place = Point(element.center[0] / 640, element.center[1] / 480)
                env.step(Scroll("down", 1, place))
                assert owner.offset == 1
                env.step(Scroll("up", 3, place))
                assert owner.offset == 0
                return
    pytest.fail("no screen had a list that is longer than its box")


def test_what_a_desktop_cannot_do_is_refused() -> None:
    env = SimDesktop()
    env.reset(seed=0)
    with pytest.raises(ActionRefused, match="cannot execute Back"):
        env.step(Back())


def test_mistakes_in_options_are_reported() -> None:
    env = SimDesktop()
    with pytest.raises(UsageError, match=r"call reset\(\) first"):
        env.observe()
    with pytest.raises(UnknownNameError, match="did you mean click-button"):
        env.reset(options={"task": "click-buton"})
    with pytest.raises(UsageError, match=r"takes the options task, size, .*; got colour"):
        env.reset(options={"colour": "red"})


def test_an_episode_without_success_is_truncated() -> None:
    env = SimDesktop(max_steps=2)
    env.reset(seed=0, options={"task": "click-button"})
    corner = Click(Point(0.999, 0.001))
    assert env.step(corner)[2:4] == (False, False)
    assert env.step(corner)[2:4] == (False, True)
