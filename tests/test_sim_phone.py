"""The simulated phone: its tasks can be done by pointing, its screens tell the truth, touches do what they should."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from molmo_agent.actions import (
    Action,
    Back,
    Click,
    Drag,
    Home,
    Key,
    LongPress,
    Move,
    OpenApp,
    Scroll,
    Type,
    Wait,
)
from molmo_agent.cli.app import app
from molmo_agent.envs.android.gestures import NOTCH, scroll_swipes
from molmo_agent.envs.drawing.annotated_screen import Element
from molmo_agent.envs.sim_phone import touch
from molmo_agent.envs.sim_phone.content import make_phone
from molmo_agent.envs.sim_phone.draw import draw
from molmo_agent.envs.sim_phone.phone import SimPhone
from molmo_agent.envs.sim_phone.sampling import sample_screen
from molmo_agent.envs.sim_phone.tasks import FAMILIES, WITHOUT_POINTS
from molmo_agent.errors import ActionRefused, UnknownNameError, UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import PointingModel
from molmo_agent.pointers.baselines import CentrePointer, OraclePointer
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.testing import check_env

POINTED = [family for family in FAMILIES if family not in WITHOUT_POINTS]


def begin(task: str = "go-home", seed: int = 0, **options: Any) -> SimPhone:
    env = SimPhone()
    env.reset(seed=seed, options={"task": task, **options})
    return env


def at_home(seed: int = 0, **options: Any) -> SimPhone:
    env = begin(seed=seed, **options)
    env.step(Home())
    return env


def solve(task: str, seed: int, model: PointingModel | None = None, **options: Any) -> tuple[bool, str]:
    env = SimPhone()
    run = rollout(
        PointingPolicy(model or OraclePointer(env.locate)),
        env,
        seed=seed,
        options={"task": task, **options},
        settle=AT_ONCE,
    )
    list(run)
    return bool(run.trajectory.success), f"{run.trajectory.task.instruction}: {run.trajectory.ended}"


def at(env: SimPhone, phrase: str) -> Point:
    (box,) = env.locate(phrase)
    return box.center


def do(env: SimPhone, *actions: Action | str) -> SimPhone:
    """Carry out actions; a phrase stands for a tap on what it names."""
    for action in actions:
        env.step(Click(at(env, action)) if isinstance(action, str) else action)
    return env


def seen(env: SimPhone, kind: str) -> list[Element]:
    return [element for element in env.screen().elements if element.kind == kind and element.visible]


# --- Tasks ------------------------------------------------------------------------------------------------------------


def test_it_is_an_env() -> None:
    check_env(SimPhone())


@pytest.mark.parametrize("task", FAMILIES)
def test_every_family_can_be_solved_by_who_knows_where_things_are(task: str) -> None:
    for seed in range(4):
        solved, story = solve(task, seed)
        assert solved, story


@pytest.mark.parametrize("task", FAMILIES)
@pytest.mark.parametrize(
    "options",
    [
        {"rotation": 1, "theme": "dark"},
        {"rotation": 3, "size": (411, 731)},
        {"size": (720, 1600), "theme": "light", "split": "held_out"},
        {"size": (240, 426)},
    ],
    ids=["landscape", "the other landscape", "large", "small"],
)
def test_every_family_can_be_solved_on_any_screen(task: str, options: dict[str, Any]) -> None:
    solved, story = solve(task, 5, **options)
    assert solved, story


def test_the_middle_of_the_screen_solves_next_to_nothing() -> None:
    solved = [solve(task, seed, CentrePointer())[0] for task in POINTED for seed in range(5)]
    assert sum(solved) <= 0.05 * len(solved)


@pytest.mark.parametrize("task", FAMILIES)
def test_doing_nothing_is_no_success(task: str) -> None:
    env = begin(task)
    *_, reward, terminated, truncated, info = env.step(Wait(0.0))
    assert (reward, terminated, truncated, info) == (0.0, False, False, {"is_success": False})


@pytest.mark.parametrize("task", FAMILIES)
def test_the_same_seed_makes_the_same_episode(task: str) -> None:
    first, again = SimPhone(), SimPhone()
    one, info = first.reset(seed=7, options={"task": task})
    other, same = again.reset(seed=7, options={"task": task})
    assert info == same
    assert np.array_equal(one.image, other.image)


def test_seeds_make_different_phones() -> None:
    pictures = {SimPhone().reset(seed=seed)[0].image.tobytes() for seed in range(6)}
    assert len(pictures) == 6


def test_a_wrong_setting_beside_the_right_one_is_no_success() -> None:
    env = begin("toggle-setting", 1)
    label = env._running().goal.instruction.rsplit('"', 2)[1]
    other = next(name for name in env.phone.switches if name != label)
    env.phone.switches[other] = not env.phone.switches[other]
    env.phone.switches[label] = not env.phone.switches[label]
    assert not env.step(Wait(0.0))[4]["is_success"]
    env.phone.switches[other] = not env.phone.switches[other]
    *_, info = env.step(Wait(0.0))
    assert info["is_success"]


def test_an_episode_has_an_end() -> None:
    env = SimPhone(max_steps=2)
    env.reset(options={"task": "open-contact"})
    assert env.step(Wait(0.0))[2:4] == (False, False)
    assert env.step(Wait(0.0))[2:4] == (False, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "open-ap"}, "unknown task family 'open-ap': did you mean open-app"),
        ({"theme": "drak"}, "unknown theme 'drak': did you mean dark"),
        ({"split": "test"}, "unknown split 'test': known: all, held_out, train"),
        ({"taks": "open-app"}, "unknown option of the simulated phone 'taks': did you mean task"),
    ],
)
def test_a_typo_in_an_option_is_answered_with_the_nearest_name(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UnknownNameError, match=message):
        SimPhone().reset(options=options)


def test_options_that_make_no_sense_are_reported() -> None:
    with pytest.raises(UsageError, match=r"size must be \(width, height\), each 200 pixels or more, got \(100, 640\)"):
        SimPhone().reset(options={"size": (100, 640)})
    with pytest.raises(UsageError, match="rotation must be 0, 1, 2 or 3 quarter turns, got 90"):
        SimPhone().reset(options={"rotation": 90})
    with pytest.raises(UsageError, match=r"call reset\(\) first"):
        SimPhone().observe()


# --- Truth ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rotation", [0, 1])
def test_boxes_are_on_the_screen_and_visible_ones_react_where_they_are(rotation: int) -> None:
    for seed in range(3):
        env = at_home(seed, rotation=rotation)
        for label in ("Settings", "Clock", "Contacts", "Notes", "Shop", "Messages", "Photos"):
            phone = env.phone
            phone.launch(next(app for app in [*phone.apps, phone.apps[0]] if app.label == label or label == "Photos"))
            drawing = draw(phone)
            height, width = drawing.screen.image.shape[:2]
            assert (width, height) == phone.size
            assert drawing.screen.elements
            for element, owner in zip(drawing.screen.elements, drawing.canvas.owners, strict=True):
                if element.visible:
                    left, top, right, bottom = element.box
                    assert 0 <= left < right <= width
                    assert 0 <= top < bottom <= height
                    if owner is not None and owner.press:
                        assert drawing.hit(*element.center).press == owner.press, element


def test_what_scrolls_behind_a_bar_is_not_visible() -> None:
    env = do(at_home(), 'the "Contacts" app', Scroll("down", 2))
    top = env.phone.look.status_height + env.phone.look.bar_height
    for element in env.screen().elements:
        if element.kind == "person" and element.visible:
            assert element.box[1] >= top


def test_a_label_in_quotes_is_meant_to_the_letter() -> None:
    env = do(at_home(), 'the "Shop" app')
    assert not env.locate('the "Add to cart" button')  # although there is a button called "Cart"
    assert len(env.locate('the "Cart" button')) == 1


# --- Touches ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["up", "down", "left", "right"])
@pytest.mark.parametrize("start", [None, (180, 20), (180, 320), (180, 600), (5, 100), (355, 500)])
@pytest.mark.parametrize("notches", [1, 3, 12])
def test_a_finger_moves_against_the_view_and_keeps_away_from_the_edges(
    direction: Any, start: tuple[int, int] | None, notches: int
) -> None:
    size = (360, 640)
    axis, sign = {"up": (1, 1), "down": (1, -1), "left": (0, 1), "right": (0, -1)}[direction]
    swipes = scroll_swipes(direction, notches, size, start)
    moved = 0
    for swipe in swipes:
        assert (swipe[axis + 2] - swipe[axis]) * sign > 0
        assert swipe[1 - axis] == swipe[3 - axis]
        for end in (swipe[axis], swipe[axis + 2]):
            assert 0.1 * size[axis] <= end <= 0.9 * size[axis]
        moved += abs(swipe[axis + 2] - swipe[axis])
    assert moved == round(notches * NOTCH * size[axis])


def test_scrolling_down_shows_what_lies_below() -> None:
    """Inverted scroll: the direction is the view's, as `actions.Direction` says."""
    env = do(at_home(), 'the "Contacts" app')
    first = seen(env, "person")[0].label
    do(env, Scroll("down", 5))
    assert env.phone.top is not None
    assert env.phone.top.offset == round(0.5 * 640)
    assert first not in [element.label for element in seen(env, "person")]
    do(env, Scroll("up", 5))
    assert seen(env, "person")[0].label == first


def test_scrolling_ends_with_the_content() -> None:
    env = do(at_home(), 'the "Contacts" app', Scroll("down", 60))
    assert seen(env, "person")[-1].label == env.phone.contacts[-1].name
    before = env.observe().image
    assert np.array_equal(do(env, Scroll("down", 5)).observe().image, before)


def test_text_goes_where_the_keyboard_is_and_nowhere_else() -> None:
    env = do(at_home(), 'the "Notes" app', 'the "New note" button', Type("lost"))
    assert "lost" not in env.phone.fields.values()
    do(env, 'the "Title" field', Type("Grüße 你好"), Key(("backspace",)))
    assert env.phone.fields["Title"] == "Grüße 你"
    do(env, Key(("tab",)), Type("a\nb"))
    assert env.phone.fields["Text"] == "a\nb"


def test_the_keys_on_the_screen_write() -> None:
    env = do(at_home(), 'the "Notes" app', 'the "New note" button', 'the "Title" field')
    do(env, 'the "shift" key', 'the "h" key', 'the "i" key', 'the "space" key', 'the "7" key', 'the "backspace" key')
    assert env.phone.fields["Title"] == "Hi "
    do(env, 'the "enter" key')
    assert env.phone.focus is None


def test_enter_sends_a_message_and_typing_alone_does_not() -> None:
    """Enter pressed unasked: typed text stays in the field until somebody sends it."""
    env = begin("send-message", 3)
    thread = env.phone.threads[0]
    env.phone.launch(env.phone.app("Messages"))
    env.phone.go("Messages", "thread", thread.name)
    do(env, Wait(0.0), 'the "Message" field', Type("on my way"))
    assert (True, "on my way") not in thread.messages
    do(env, Type("!\n"))
    assert thread.messages[-1] == (True, "on my way!")


def test_back_closes_what_is_uppermost() -> None:
    env = do(at_home(), 'the "Notes" app')
    title = seen(env, "card")[0].label
    do(env, LongPress(at(env, f'"{title}"')))
    assert [element.label for element in seen(env, "menu_item")] == ["Pin", "Share", "Delete"]
    do(env, Back())
    assert not seen(env, "menu_item")
    do(env, f'"{title}"', 'the "Text" field', Back())
    assert env.phone.focus is None
    assert env.phone.top is not None
    assert env.phone.top.page == "note"
    do(env, Back(), Back())
    assert env.phone.top is None
    do(env, Back())
    assert env.phone.top is None


def test_a_touch_outside_of_a_menu_closes_it_and_does_nothing_else() -> None:
    env = at_home()
    do(env, LongPress(at(env, 'the "Clock" app')), Click(Point(0.02, 0.99)))
    assert env.phone.overlay is None
    assert env.phone.top is None


def test_an_app_is_opened_by_its_name_and_a_wrong_one_is_answered_with_the_nearest() -> None:
    env = do(at_home(), OpenApp("settings"))
    assert env.observe().info == {"app": "Settings", "rotation": 0}
    with pytest.raises(ActionRefused, match="unknown app 'Setings': did you mean Settings"):
        env.step(OpenApp("Setings"))


def test_an_app_that_does_not_start_changes_nothing() -> None:
    env = at_home()
    env.phone.broken.add("com.android.deskclock")
    before = env.observe().image
    assert np.array_equal(do(env, 'the "Clock" app').observe().image, before)


def test_a_phone_that_sleeps_or_is_locked_does_not_react() -> None:
    phone = make_phone(1)
    phone.asleep = phone.locked = True
    assert not draw(phone).screen.image.any()
    touch.tap(phone, 180, 300)
    touch.press_key(phone, "KEYCODE_HOME")
    assert phone.asleep
    touch.press_key(phone, "KEYCODE_WAKEUP")
    assert "Swipe up to unlock" in [run.text for run in draw(phone).screen.texts]
    touch.tap(phone, 180, 300)
    assert phone.locked
    touch.swipe(phone, 180, 500, 180, 200)
    assert not phone.locked


def test_the_theme_follows_its_switch() -> None:
    env = do(at_home(theme="light"), 'the "Settings" app', Scroll("down", 2), '"Display"')
    bright = env.observe().image.mean()
    do(env, 'the "Dark theme" switch')
    assert env.observe().image.mean() < 0.4 * bright


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (Move(Point(0.5, 0.5)), "a phone has no pointer to move; it executes: Back, Click"),
        (Click(Point(0.5, 0.5), button="right"), "a finger has no right button; use LongPress"),
        (Click(Point(0.5, 0.5), held=("ctrl",)), "a phone has no keys to hold during a tap"),
        (Drag(Point(0.5, 0.5), Point(0.5, 0.1), button="middle"), "a finger has no middle button"),
        (Key(("entre",)), r"a phone has no key 'entre'; did you mean 'enter'"),
        (Key(("ß",)), "a phone has no key 'ß' Keys are named one by one"),
    ],
)
def test_what_no_finger_can_do_is_refused(action: Action, message: str) -> None:
    with pytest.raises(ActionRefused, match=message):
        at_home().step(action)


def test_a_screen_that_turned_while_the_model_was_thinking_is_looked_at_again() -> None:
    env = SimPhone()
    model = OraclePointer(env.locate)

    class Slow:
        name = "slow"

        def point(self, image: Any, instruction: str, *, max_points: int | None = None) -> Any:
            answer = model.point(image, instruction)
            if env.phone.rotation == 0:
                env.phone.rotation = 1
                env._running().drawing = draw(env.phone)
            return answer

        def point_batch(self, images: Any, instructions: Any) -> Any:
            raise NotImplementedError

    run = rollout(PointingPolicy(Slow()), env, seed=2, options={"task": "open-app"}, settle=AT_ONCE)
    steps = list(run)
    assert "the screen has another size than in the observation" in steps[0].refused.text
    assert run.trajectory.success


def test_it_runs_from_the_command_line(tmp_path: Any) -> None:
    from typer.testing import CliRunner

    command = ["run", "--env", "sim-phone", "--model", "oracle", "--family", "add-to-cart", "--seed", "1"]
    done = CliRunner().invoke(app, [*command, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert 'tap the "Add to cart" button' in done.output


def test_boxes_for_training_name_what_is_to_be_seen() -> None:
    env = do(at_home(), 'the "Settings" app')
    switches = {element.label: element for element in seen(env, "switch")}
    assert set(switches) >= {"Wi-Fi", "Bluetooth"}
    for label, element in switches.items():
        assert element.text
        assert element.state == ("on" if env.phone.switches[label] else "off")
        assert Box.from_pixels(*element.box, 360, 640).contains(at(env, f'the "{label}" switch'))


def test_screens_for_training_are_seeded_and_show_all_kinds_of_things() -> None:
    first, again = sample_screen(3), sample_screen(3)
    assert np.array_equal(first.image, again.image)
    assert first.elements == again.elements
    screens = [sample_screen(seed, 270, 480) for seed in range(40)]
    assert {screen.image.shape[:2] for screen in screens} == {(480, 270), (270, 480)}
    kinds = {element.kind for screen in screens for element in screen.elements if element.visible}
    assert kinds >= {"app", "switch", "field", "key", "card", "person", "button"}
    assert all(element.label for screen in screens for element in screen.elements)


def test_the_image_of_it_is_drawn_by_its_script(tmp_path: Path) -> None:
    script = Path(__file__).parents[1] / "docs" / "make_phone_picture.py"
    subprocess.run([sys.executable, script, "--out", tmp_path / "x.png"], check=True, timeout=280)
    with Image.open(tmp_path / "x.png") as drawn, Image.open(script.parent / "images" / "sim_phone.png") as shown:
        assert drawn.size == shown.size
        # Versions of Pillow round the edges of letters differently.
        assert np.abs(np.asarray(drawn, float) - np.asarray(shown)).mean() < 0.01
    assert (tmp_path / "x.png").stat().st_size < 150_000


def test_the_example_taps_the_target_of_its_instruction(tmp_path: Path) -> None:
    example = Path(__file__).parents[1] / "examples" / "android_tap.py"
    command = [sys.executable, str(example), 'the "Settings" app', "--out", str(tmp_path / "phone.png")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=280)
    assert "in front now: Settings" in done.stdout
    assert (tmp_path / "phone.png").exists()
