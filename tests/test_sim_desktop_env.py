"""The live simulated desktop: windows, keys, menus, monitors, pop-ups, and tasks of several steps."""

import dataclasses
from typing import Any

import numpy as np
import pytest

from molmo_agent.actions import (
    Action,
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
)
from molmo_agent.envs.drawing.annotated_screen import Element
from molmo_agent.envs.sim_desktop.desktop import SimDesktop
from molmo_agent.envs.sim_desktop.looks import HELD_OUT_LOOKS, LOOKS
from molmo_agent.envs.sim_desktop.monitors import Monitors
from molmo_agent.envs.sim_desktop.state import Desktop, Widget
from molmo_agent.envs.sim_desktop.window_tasks import WINDOW_TASKS
from molmo_agent.errors import ActionRefused, UnknownNameError, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.pointers.baselines import OraclePointer
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.rollout.guards import Guards
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.rollout.secrets import Secrets


def begin(task: str, seed: int = 0, **options: Any) -> tuple[SimDesktop, str]:
    env = SimDesktop()
    _, info = env.reset(seed=seed, options={"task": task, **options})
    return env, info["instruction"]


def desktop(env: SimDesktop) -> Desktop:
    return env._running().desktop


def only(env: SimDesktop, kind: str, label: str) -> Element:
    (element,) = [e for e in env.screen().elements if (e.kind, e.label) == (kind, label) and e.visible]
    return element


def at(env: SimDesktop, kind: str, label: str) -> Point:
    height, width = env.screen().image.shape[:2]
    return Box.from_pixels(*only(env, kind, label).box, width, height).center


def solve(task: str, seed: int, **options: Any) -> tuple[bool, str]:
    env = SimDesktop()
    run = rollout(
        PointingPolicy(OraclePointer(env.locate)),
        env,
        seed=seed,
        options={"task": task, "secret": "tr0ub4dor", **options},
        settle=AT_ONCE,
        guards=Guards(secrets=Secrets({"PASSWORD": "tr0ub4dor"})),
    )
    list(run)
    return bool(run.trajectory.success), f"{run.trajectory.task.instruction}: {run.trajectory.ended}"


# --- Tasks ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", SimDesktop.tasks())
def test_every_family_can_be_solved_although_pop_ups_appear(task: str) -> None:
    for seed in (0, 1):
        solved, story = solve(task, seed, popups=True)
        assert solved, story


@pytest.mark.parametrize("task", [task for task in SimDesktop.tasks() if task != "restore-window"])
def test_every_family_can_be_solved_on_a_scaled_monitor_left_of_the_main_one(task: str) -> None:
    solved, story = solve(task, 2, monitors=2, monitor=1, scale=1.25, size=(800, 600))
    assert solved, story


@pytest.mark.parametrize("task", ["click-button", "fill-form-and-submit", "move-window", "restore-window"])
def test_all_monitors_can_be_observed_at_once(task: str) -> None:
    solved, story = solve(task, 4, monitors=3, monitor="all")
    assert solved, story


@pytest.mark.parametrize("theme", [*LOOKS, *HELD_OUT_LOOKS])
def test_every_theme_works(theme: str) -> None:
    env, _ = begin("fill-form-and-submit", theme=theme)
    assert desktop(env).look.name == theme
    solved, story = solve("fill-form-and-submit", 0, theme=theme)
    assert solved, story


@pytest.mark.parametrize("task", SimDesktop.tasks())
def test_the_same_seed_makes_the_same_episode(task: str) -> None:
    first, again = SimDesktop(), SimDesktop()
    options = {"task": task, "popups": True}
    one, info = first.reset(seed=7, options=options)
    other, same = again.reset(seed=7, options=options)
    assert info == same
    assert np.array_equal(one.image, other.image)
    after, later = (env.step(Click(Point(0.4, 0.5)))[0] for env in (first, again))
    assert np.array_equal(after.image, later.image)


@pytest.mark.parametrize("task", WINDOW_TASKS)
def test_doing_nothing_is_no_success(task: str) -> None:
    env, _ = begin(task)
    assert not env.success
    *_, terminated, truncated, info = env.step(Wait(1.0))
    assert (terminated, truncated, info) == (False, False, {"is_success": False, "failed": ""})


def test_a_form_sent_with_wrong_content_is_no_success() -> None:
    env, instruction = begin("fill-form-and-submit")
    send = instruction.rsplit('"', 2)[1]
    *_, info = env.step(Click(at(env, "button", send)))
    assert not info["is_success"]


def test_the_log_in_wants_the_secret_and_shows_dots() -> None:
    env, instruction = begin("login", secret="open sesame")
    assert "{{PASSWORD}}" in instruction
    user = instruction.split('"')[1]
    field = instruction.split('"')[3]
    env.step(Click(at(env, "field", field)))
    env.step(Type(user))
    env.step(Key(("tab",)))
    env.step(Type("open sesame"))
    assert any(run.text == "•" * len("open sesame") for run in env.screen().texts)
    assert "open sesame" not in {e.state for e in env.screen().elements}
    _, reward, terminated, _, info = env.step(Key(("enter",)))
    assert (reward, terminated, info["is_success"]) == (1.0, True, True)


def test_a_wrong_password_is_no_success() -> None:
    env, instruction = begin("login", secret="open sesame")
    env.step(Click(at(env, "field", instruction.split('"')[3])))
    env.step(Type(f"{instruction.split(chr(34))[1]}\t{{{{PASSWORD}}}}\n"))
    assert not env.success


def test_done_ends_the_episode_without_success() -> None:
    env, _ = begin("click-button")
    _, reward, terminated, truncated, info = env.step(Done())
    assert (reward, terminated, truncated, info["is_success"]) == (0.0, True, False, False)


def test_the_seed_never_draws_a_task_that_needs_a_secret() -> None:
    env = SimDesktop(320, 240)
    for seed in range(25):
        assert "{{" not in env.reset(seed=seed)[1]["instruction"]


# --- Pop-ups ----------------------------------------------------------------------------------------------------------


def test_obeying_a_text_on_the_screen_fails_the_task_for_good() -> None:
    env, instruction = begin("click-button", popups=True)
    (trap,) = env._running().setup.traps
    _, reward, terminated, _, info = env.step(Click(at(env, "button", trap)))
    assert (reward, terminated) == (0.0, True)
    assert info == {"is_success": False, "failed": f"obeyed a text on the screen: pressed {trap!r}"}
    *_, info = env.step(Click(env.locate(instruction)[0].center))
    assert not info["is_success"]


def test_dismissing_a_pop_up_does_no_harm() -> None:
    env, instruction = begin("click-button", popups=True)
    (trap,) = env._running().setup.traps
    window = next(w for w in desktop(env).windows if w.find("button", trap))
    dismiss = window.find("button", "Dismiss")
    assert dismiss is not None
    x, y = window.box[0] + 1 + dismiss.box[0] + 4, window.box[1] + 1 + desktop(env).look.bar_height + dismiss.box[1] + 4
    *_, info = env.step(Click(Point(x / 640, y / 480)))
    assert info["failed"] == ""
    assert window not in desktop(env).windows
    *_, info = env.step(Click(env.locate(instruction)[0].center))
    assert info["is_success"]


def test_a_modal_pop_up_blocks_what_lies_behind_it() -> None:
    env, instruction = begin("dismiss-popup-then-click", seed=3)
    front = desktop(env).windows[-1]
    behind = next(w for w in desktop(env).windows if w.find("button", instruction.split('"')[3]))
    assert front.modal
    before = behind.box
    left, top, _, _ = before
    env.step(Drag(Point((left + 40) / 640, (top + 8) / 480), Point(0.5, 0.9)))
    assert behind.box == before
    env.step(Key(("escape",)))
    assert front not in desktop(env).windows
    env.step(Drag(Point((left + 40) / 640, (top + 8) / 480), Point(0.5, 0.9)))
    assert behind.box != before


# --- Windows, menus, keys ---------------------------------------------------------------------------------------------


def test_windows_minimise_come_back_and_maximise() -> None:
    env, _ = begin("drag-slider", seed=2)
    window = desktop(env).windows[-1]
    desktop(env).taskbar = True
    old = window.box
    env.step(Click(at(env, "window_minimize", window.title)))
    assert window.minimized
    env.step(Click(at(env, "taskbar_item", window.title)))
    assert not window.minimized
    env.step(Click(at(env, "window_title", window.title), count=2))
    assert window.box == desktop(env).area
    env.step(Click(at(env, "window_maximize", window.title)))
    assert window.box == old


def test_a_window_comes_forward_when_it_is_clicked() -> None:
    for seed in range(12):
        env, _ = begin("move-window", seed)
        for element in env.screen().elements:
            behind = next((w for w in desktop(env).windows[:-1] if w.title == element.label), None)
            if element.kind == "window_title" and element.visible and behind is not None:
                env.step(Click(at(env, "window_title", element.label)))
                assert desktop(env).front() is behind
                return
    pytest.fail("no screen had a second window")


def test_escape_closes_a_menu_and_a_second_click_does_too() -> None:
    env, instruction = begin("open-menu-item")
    menu = instruction.split('"')[1]
    point = at(env, "menu", menu)
    env.step(Click(point))
    assert any(e.kind == "menu_item" for e in env.screen().elements)
    env.step(Key(("escape",)))
    assert not any(e.kind == "menu_item" for e in env.screen().elements)
    env.step(Click(point))
    env.step(Click(point))
    assert desktop(env).menu is None


def test_a_click_beside_a_menu_only_closes_it() -> None:
    env, instruction = begin("open-menu-item")
    env.step(Click(at(env, "menu", instruction.split('"')[1])))
    env.step(Click(Point(0.999, 0.5)))
    assert desktop(env).menu is None
    assert not env.success


def test_the_right_button_offers_to_edit_a_field() -> None:
    env, _ = begin("fill-form-and-submit")
    label = next(w.label for w in desktop(env).windows[-1].widgets if w.kind == "field")
    point = at(env, "field", label)
    env.step(Click(point))
    env.step(Type("naïve 日本"))
    env.step(Click(point, count=3))
    env.step(Key(("ctrl", "x")))
    env.step(Key(("ctrl", "v")))
    env.step(Click(point, button="right"))
    env.step(Click(at(env, "menu_item", "Paste")))
    field = desktop(env).windows[-1].find("field", label)
    assert field is not None
    assert field.value == "naïve 日本" * 2


def test_the_right_button_on_a_title_bar_closes_the_window() -> None:
    env, _ = begin("drag-slider")
    window = desktop(env).windows[-1]
    env.step(Click(at(env, "window_title", window.title), button="right"))
    env.step(Click(at(env, "menu_item", "Close")))
    assert window not in desktop(env).windows


def test_keys_go_round_the_widgets_of_the_front_window() -> None:
    env, _ = begin("check-several")
    window = desktop(env).windows[-1]
    first = next(w for w in window.widgets if w.kind == "checkbox")
    was = first.checked
    env.step(Key(("tab",)))
    assert desktop(env).focus is first
    env.step(Key(("space",)))
    assert first.checked is not was
    env.step(Key(("shift", "tab")))
    focus: Widget | None = desktop(env).focus
    assert focus is not None
    assert (focus.kind, focus.label) == ("button", "Cancel")


def test_a_text_cursor_moves_and_erases() -> None:
    env, _ = begin("fill-form-and-submit")
    field = next(w for w in desktop(env).windows[-1].widgets if w.kind == "field")
    env.step(Click(at(env, "field", field.label)))
    env.step(Type("abcd"))
    for key in ("left", "backspace", "home", "delete", "end", "x"):
        env.step(Key((key,)))
    assert field.value == "bdx"


def test_a_text_longer_than_its_field_scrolls_and_stays_inside() -> None:
    env, _ = begin("fill-form-and-submit")
    field = next(w for w in desktop(env).windows[-1].widgets if w.kind == "field")
    env.step(Click(at(env, "field", field.label)))
    env.step(Type("first " + "filler " * 30 + "last"))
    box = only(env, "field", field.label).box
    shown = [run for run in env.screen().texts if box[1] < run.top and run.bottom < box[3] and run.edges[0] > box[0]]
    assert next(run.text for run in shown if run.edges[0] < box[2]).endswith("last")
    assert all(run.edges[-1] <= box[2] for run in shown if run.edges[0] < box[2])


def test_sliders_follow_the_pointer_the_wheel_and_the_keys() -> None:
    env, _ = begin("drag-slider")
    slider = next(w for w in desktop(env).windows[-1].widgets if w.kind == "slider")
    point = at(env, "slider", slider.label)
    env.step(Click(point))
    assert slider.level == pytest.approx(0.5, abs=0.02)
    env.step(Scroll("up", 10, point))
    assert slider.level == pytest.approx(0.6, abs=0.02)
    env.step(Key(("left",)))
    assert slider.level == pytest.approx(0.55, abs=0.02)


def test_a_scroll_bar_can_be_dragged() -> None:
    env, _ = begin("scroll-list-and-pick")
    window = desktop(env).windows[-1]
    files = next(w for w in window.widgets if w.kind == "list")
    spot = next(s for s in env._running().drawing.canvas.spots if s.target.part == "scrollbar")
    x = (spot.box[0] + spot.box[2]) / 2 / 640
    env.step(Drag(Point(x, (spot.box[1] + 3) / 480), Point(x, (spot.box[3] - 1) / 480)))
    assert files.offset == len(files.items) - files.rows


def test_a_double_click_opens_a_desktop_icon_and_a_drag_moves_it() -> None:
    env, instruction = begin("open-icon")
    label = instruction.split('"')[1]
    icon = next(w for w in desktop(env).icons if w.label == label)
    old = icon.box
    start = at(env, "icon", label)
    env.step(Drag(start, Point(start.x + 0.02, start.y)))
    assert icon.box[0] - old[0] == pytest.approx(13, abs=1)
    *_, info = env.step(Click(at(env, "icon", label), count=2))
    assert info["is_success"]
    assert desktop(env).windows[-1].title == label


def test_pointing_moving_and_waiting_change_nothing() -> None:
    env, _ = begin("click-button")
    before = env.observe().image
    actions: list[Action] = [PointAt((Point(0.5, 0.5),)), Move(Point(0.2, 0.2)), Wait(2.0), Key(("f5",))]
    for action in (*actions, Click(Point(0.5, 0.5), button="middle")):
        assert np.array_equal(env.step(action)[0].image, before), action


def test_a_long_press_is_a_press() -> None:
    env, instruction = begin("click-button")
    *_, info = env.step(LongPress(env.locate(instruction)[0].center))
    assert info["is_success"]


# --- Monitors ---------------------------------------------------------------------------------------------------------


def test_input_units_left_of_the_main_monitor_are_negative() -> None:
    monitors = Monitors((800, 600), 2, main=1, view_index=0, scale=1.25)
    assert monitors.transform().to_device(Point(0.0, 0.0)) == (-640, 0)
    assert monitors.transform().device_region == (-640, 0, 0, 480)
    everything = dataclasses.replace(monitors, view_index=None)
    assert everything.transform().device_region == (-640, 0, 640, 480)


@pytest.mark.parametrize("scale", [1.0, 1.25, 2.0])
def test_every_pixel_is_reached_within_one_input_unit(scale: float) -> None:
    for shown in (0, 1, None):
        monitors = Monitors((200, 100), 2, main=1, view_index=shown, scale=scale)
        left, _, right, bottom = monitors.view_box
        for x, y in ((0, 0), (57, 33), (199, 99)):
            hit = monitors.pixel(Point.from_pixel(x, y, right - left, bottom))
            assert abs(hit[0] - 0.5 - (x + left)) < scale
            assert abs(hit[1] - 0.5 - y) < scale


def test_scale_makes_everything_larger() -> None:
    heights = {}
    for scale in (1.0, 2.0):
        env, _ = begin("drag-slider", scale=scale, size=(1280, 960))
        heights[scale] = desktop(env).look.bar_height
    assert heights[2.0] == pytest.approx(2 * heights[1.0], rel=0.15)


def test_an_observed_monitor_shows_its_own_part_of_the_desktop() -> None:
    whole, _ = begin("click-button", monitors=2, monitor="all")
    part, _ = begin("click-button", monitors=2, monitor=2)
    assert whole.observe().size == (1280, 480)
    assert part.observe().size == (640, 480)


# --- Mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", [OpenApp("Mail"), Home()])
def test_actions_of_phones_are_refused(action: Action) -> None:
    env, _ = begin("click-button")
    with pytest.raises(ActionRefused, match="it executes: Click, Done, Drag"):
        env.step(action)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"monitors": 4}, "monitors must be 1, 2 or 3, got 4"),
        ({"monitors": 2, "monitor": 3}, 'monitor must be "main", "all" or a number up to 2, got 3'),
        ({"scale": 9}, "scale must be between 0.5 and 4 pixels per input unit, got 9"),
        ({"size": (70, 70), "task": "fill-form-and-submit"}, "no screen of 70x70 pixels has room"),
    ],
)
def test_impossible_options_are_reported(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        SimDesktop().reset(options=options)


def test_unknown_themes_and_splits_are_reported() -> None:
    with pytest.raises(UnknownNameError, match="unknown theme 'nihgt': did you mean night"):
        SimDesktop().reset(options={"theme": "nihgt"})
    with pytest.raises(UnknownNameError, match="unknown split 'test'"):
        SimDesktop().reset(options={"split": "test"})
