"""The phone env over the real adb wire: the server and client that users have, our own daemon at the other end."""

import importlib
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adb_device import AdbDevice

from molmo_agent.actions import (
    Action,
    Back,
    Click,
    Direction,
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
from molmo_agent.cli.app import app as command_line
from molmo_agent.envs.android import apps as android_apps
from molmo_agent.envs.android import text as android_text
from molmo_agent.envs.android.apps import find_app
from molmo_agent.envs.android.device import Device, quote
from molmo_agent.envs.android.env import Android
from molmo_agent.envs.android.keys import keycode
from molmo_agent.envs.android.text import input_text_arguments
from molmo_agent.envs.doctor import diagnose
from molmo_agent.envs.sim_phone.draw import draw
from molmo_agent.envs.sim_phone.locate import locate
from molmo_agent.errors import ActionRefused, EnvError, MissingExtraError, UnknownNameError, UsageError
from molmo_agent.evaluation.adb_phone.shell import ADB_KEYBOARD, GBOARD, LAUNCHER
from molmo_agent.geometry import Box, Point
from molmo_agent.pointers.baselines import OraclePointer
from molmo_agent.policies.pointing import PointingPolicy
from molmo_agent.registry import load_env
from molmo_agent.rollout.loop import rollout
from molmo_agent.testing import check_env

pytest_plugins = ("adb_fixtures",)
adbutils = pytest.importorskip("adbutils", reason="needs the extra 'android'")
# adbutils leaves a socket open where a connection fails.
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")

HARM = ["; reboot", "$(reboot)", "`reboot`", "&& reboot", "| reboot", "'; reboot; '", '"; reboot; "', "\\", "> x", "*"]


@pytest.fixture
def env(device: AdbDevice) -> Android:
    env = Android()
    env.reset()
    device.system.log.clear()
    return env


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for less long for what will not happen."""
    monkeypatch.setattr(android_apps, "_APPEAR_S", 0.3)
    monkeypatch.setattr(android_text, "_SWITCH_S", 0.3)


def at(device: AdbDevice, phrase: str) -> Point:
    screen = draw(device.phone).screen
    (box,) = locate(screen, phrase)
    return Box.from_pixels(*box, screen.image.shape[1], screen.image.shape[0]).center


def write_into_a_note(device: AdbDevice, env: Android) -> None:
    device.phone.launch(device.phone.app("Notes"))
    device.phone.go("Notes", "note")
    device.phone.focus = "Text"
    env.observe()


def written(device: AdbDevice) -> str:
    return device.phone.fields.get("Text", "")


# --- Looking and touching ---------------------------------------------------------------------------------------------


def test_it_is_an_env(device: AdbDevice) -> None:
    check_env(load_env("android"))
    check_env(Android(device.serial))


def test_it_shows_what_the_phone_shows(device: AdbDevice, env: Android) -> None:
    observation = env.observe()
    assert np.array_equal(observation.image, draw(device.phone).screen.image)
    assert observation.info == {"app": LAUNCHER.partition("/")[0], "window": LAUNCHER, "rotation": 0}


def test_every_corner_and_pixel_is_hit_exactly(device: AdbDevice, env: Android) -> None:
    device.phone.locked = False
    for point, pixel in (
        (Point(0, 0), (0, 0)),
        (Point(1, 1), (269, 479)),
        (Point.from_pixel(123, 45, 270, 480), (123, 45)),
    ):
        device.phone.home()
        env.step(Click(point))
        assert device.system.inputs()[-1] == ["tap", *map(str, pixel)]


def test_gestures_become_touches(device: AdbDevice, env: Android) -> None:
    middle = Point.from_pixel(135, 240, 270, 480)
    for action, sent in (
        (Click(middle, count=2), [["tap", "135", "240"]] * 2),
        (LongPress(middle, 0.9), [["swipe", "135", "240", "135", "240", "900"]]),
        (Drag(middle, Point.from_pixel(9, 9, 270, 480)), [["swipe", "135", "240", "9", "9", "600"]]),
        (Back(), [["keyevent", "KEYCODE_BACK"]]),
        (Home(), [["keyevent", "KEYCODE_HOME"]]),
        (Key(("ctrl", "a")), [["keycombination", "KEYCODE_CTRL_LEFT", "KEYCODE_A"]]),
        (Wait(0.0), []),
    ):
        device.system.log.clear()
        env.step(action)
        assert device.system.inputs() == sent


def test_inverted_scroll(device: AdbDevice, env: Android) -> None:
    """To scroll down the finger moves up, and what lies below comes into view."""
    env.step(OpenApp("Contacts"))
    assert device.phone.top is not None
    ways: tuple[tuple[Direction, int, int], ...] = (("down", 1, -1), ("up", 1, 1), ("right", 0, -1), ("left", 0, 1))
    for direction, axis, sign in ways:
        device.phone.top.offset = 200
        env.step(Scroll(direction, 2))
        swipe = device.system.inputs("swipe")[-1]
        assert (int(swipe[axis + 3]) - int(swipe[axis + 1])) * sign == round(0.2 * (270, 480)[axis])
        assert device.phone.top.offset == 200 + {"down": 96, "up": -96}.get(direction, 0)


def test_the_finger_goes_down_where_the_scroll_is_meant(device: AdbDevice, env: Android) -> None:
    env.step(Scroll("down", 1, Point.from_pixel(40, 300, 270, 480)))
    assert device.system.inputs("swipe")[0][1:3] == ["40", "300"]


def test_landscape(device: AdbDevice, env: Android) -> None:
    device.phone.rotation = 1
    observation = env.observe()
    assert observation.size == (480, 270)
    assert observation.info["rotation"] == 1
    env.step(Click(at(device, 'the "Settings" app')))
    assert device.phone.top is not None
    assert device.phone.top.app.label == "Settings"


def test_a_screen_that_was_turned_since_it_was_observed_is_not_touched(device: AdbDevice, env: Android) -> None:
    for rotation in (1, 2):
        device.phone.rotation = 0
        env.observe()
        device.phone.rotation = rotation
        with pytest.raises(ActionRefused, match="the phone was rotated since the observation: observe it again"):
            env.step(Click(Point(0.5, 0.5)))
    assert not device.system.inputs()


def test_first_read_screen_size_kept(device: AdbDevice, env: Android) -> None:
    """Folding phones change their size while they run."""
    device.phone.width, device.phone.height = 400, 440
    assert env.observe().size == (400, 440)
    env.step(Click(Point(1, 1)))
    assert device.system.inputs("tap") == [["tap", "399", "439"]]


def test_a_resolution_changed_by_hand_does_not_move_touches(device: AdbDevice, env: Android) -> None:
    device.system.override = (540, 960)
    env.observe()
    env.step(Click(at(device, 'the "Settings" app')))
    assert device.phone.top is not None
    assert device.phone.top.app.label == "Settings"


def test_a_capture_during_a_turn_is_taken_again(device: AdbDevice, env: Android) -> None:
    def turn(argv: list[str]) -> None:
        if argv[0] == "screencap":
            device.phone.rotation = 1

    device.system.hook = turn
    assert env.observe().size == (480, 270)
    turns = iter(range(100))
    device.system.hook = lambda argv: (
        setattr(device.phone, "rotation", next(turns) % 2) if argv[0] == "screencap" else None
    )
    device.phone.rotation = 1
    with pytest.raises(EnvError, match=r"3 captures of .* did not match its reported screen size: is it being rotated"):
        env.observe()


def test_what_a_phone_cannot_do_is_refused_and_nothing_is_sent(device: AdbDevice, env: Android) -> None:
    refused: tuple[tuple[Action, str], ...] = (
        (Move(Point(0.5, 0.5)), "a phone has no pointer to move; it executes: Back"),
        (Click(Point(0.5, 0.5), button="right"), "a finger has no right button; use LongPress"),
        (Click(Point(0.5, 0.5), held=("ctrl",)), "a phone has no keys to hold during a tap"),
        (Key(("hyper",)), "a phone has no key 'hyper'"),
        (Type("a\x07"), "text may hold line ends and tabs but no other control character"),
    )
    for action, message in refused:
        with pytest.raises(ActionRefused, match=message):
            env.step(action)
    assert not device.system.inputs()


def test_keys_together_need_a_newer_phone(device: AdbDevice, env: Android) -> None:
    device.system.old = True
    with pytest.raises(ActionRefused, match=r"cannot press keys together \(Android 12 or newer can\)"):
        env.step(Key(("ctrl", "c")))


def test_options_and_points_without_an_observation_are_usage_errors(device: AdbDevice) -> None:
    env = Android()
    with pytest.raises(UsageError, match="a phone has no reset options, got task"):
        env.reset(options={"task": "open-app"})
    with pytest.raises(UsageError, match=r"call reset\(\) or observe\(\) first"):
        env.step(Click(Point(0.5, 0.5)))


def test_a_phone_that_does_not_let_itself_be_touched_says_which_switch_helps(device: AdbDevice, env: Android) -> None:
    text = b"java.lang.SecurityException: Injecting to another application requires INJECT_EVENTS permission\n"
    device.system._input = lambda *words: (255, b"", text)  # type: ignore[method-assign]
    with pytest.raises(EnvError, match=r"rejected the input: java.lang.SecurityException.*'USB debugging"):
        env.step(Click(Point(0.5, 0.5)))


# --- Text -------------------------------------------------------------------------------------------------------------


def test_plain_text_arrives_letter_by_letter_and_is_never_a_command(device: AdbDevice, env: Android) -> None:
    write_into_a_note(device, env)
    for text in (
        "hello world",
        "100% sure",
        "%s and %%s and % s",
        'it\'s "quoted" `here` \\ and there',
        "-5 --help",
        "a  b   ",
        *HARM,
    ):
        device.phone.fields.clear()
        env.step(Type(text))
        assert written(device) == text
    assert not [argv for argv in device.system.log if argv[0] in ("reboot", "ime")]


def test_every_printable_character_arrives(device: AdbDevice, env: Android) -> None:
    write_into_a_note(device, env)
    text = "".join(map(chr, range(32, 127)))
    env.step(Type(text))
    assert written(device) == text


def test_long_text_is_sent_in_parts(device: AdbDevice, env: Android) -> None:
    write_into_a_note(device, env)
    text = "The quick brown fox 100%s. " * 20
    env.step(Type(text))
    assert written(device) == text
    assert max(len(sent[1]) for sent in device.system.inputs("text")) < 600


def test_a_blank_is_the_only_thing_that_is_rewritten() -> None:
    assert input_text_arguments("a b") == ["a%sb"]
    assert input_text_arguments("%s") == ["%", "s"]
    assert quote("input", "text", "; reboot") == "input text '; reboot'"
    with pytest.raises(ValueError, match="no zero character"):
        quote("a\0b")


def test_enter_pressed_unasked(device: AdbDevice, env: Android) -> None:
    write_into_a_note(device, env)
    for text in ("hello", "hello ", "https://example.org/?q=1"):
        env.step(Type(text))
    assert not device.system.inputs("keyevent")
    env.step(Type("\nnext\tfield"))
    assert device.system.inputs("keyevent") == [["keyevent", "KEYCODE_ENTER"], ["keyevent", "KEYCODE_TAB"]]


def test_non_latin_text_without_a_keyboard_for_it_is_refused_before_any_of_it_is_sent(
    device: AdbDevice, env: Android
) -> None:
    write_into_a_note(device, env)
    with pytest.raises(ActionRefused, match="plain letters only, not 'ü': install ADBKeyBoard"):
        env.step(Type("first\nGrüße"))
    assert not device.system.inputs()
    assert written(device) == ""


@pytest.mark.parametrize("enabled", [False, True])
def test_non_latin_text(device: AdbDevice, env: Android, enabled: bool) -> None:
    device.system.keyboards.append(ADB_KEYBOARD)
    device.system.enabled = [GBOARD, ADB_KEYBOARD] if enabled else [GBOARD]
    write_into_a_note(device, env)
    text = "Grüße, 你好 🚲 مرحبا $(reboot) '" + "ß" * 300
    env.step(Type(text))
    assert written(device) == text
    assert device.system.settings == {"default_input_method": GBOARD}
    assert device.system.enabled == ([GBOARD, ADB_KEYBOARD] if enabled else [GBOARD])


def test_a_user_who_writes_with_that_keyboard_keeps_it(device: AdbDevice, env: Android) -> None:
    device.system.keyboards.append(ADB_KEYBOARD)
    device.system.settings["default_input_method"] = ADB_KEYBOARD
    write_into_a_note(device, env)
    env.step(Type("é"))
    assert written(device) == "é"
    assert not [argv for argv in device.system.log if argv[:2] == ["ime", "set"]]


def test_keyboard_left_behind_after_a_crash(device: AdbDevice, env: Android) -> None:
    """An error on the way puts the user's keyboard back at once."""
    device.system.keyboards.append(ADB_KEYBOARD)
    write_into_a_note(device, env)

    def fail(argv: list[str]) -> None:
        if argv[:2] == ["am", "broadcast"]:
            raise RuntimeError("the broadcast broke")

    device.system.hook = fail
    with pytest.raises(EnvError, match=r"am broadcast failed on the phone .*the broadcast broke"):
        env.step(Type("é"))
    device.failures.clear()
    assert device.system.settings == {"default_input_method": GBOARD}
    assert device.system.enabled == [GBOARD]


@pytest.mark.parametrize(
    "text", ["tr0ub4dor&3", "open sesame now", "100%sure, 50%said", 'it\'s \\ "q" $HOME', "Grüße, 你好 ñandú"]
)
def test_a_phone_that_repeats_the_text_in_an_error_does_not_show_it(device: AdbDevice, env: Android, text: str) -> None:
    device.system.keyboards.append(ADB_KEYBOARD)
    write_into_a_note(device, env)

    def fail(argv: list[str]) -> None:
        if argv[:2] in (["input", "text"], ["am", "broadcast"]):
            raise RuntimeError(f"cannot enter {argv[-1]}")

    device.system.hook = fail
    with pytest.raises(EnvError, match="its answer repeats the text and is not shown") as caught:
        env.step(Type(text))
    device.failures.clear()
    assert not [piece for piece in (text[:4], text[-4:], text.replace(" ", "%s")) if piece in str(caught.value)]


def test_keyboard_left_behind_by_a_run_that_was_killed_is_put_back_by_the_next(device: AdbDevice) -> None:
    device.system.keyboards.append(ADB_KEYBOARD)
    device.system.enabled.append(ADB_KEYBOARD)
    device.system.settings = {"default_input_method": ADB_KEYBOARD, android_text.NOTE: GBOARD}
    Android().reset()
    assert device.system.settings == {"default_input_method": GBOARD}


def test_a_keyboard_that_does_not_take_over_gets_no_text(device: AdbDevice, env: Android, quick: None) -> None:
    device.system.keyboards.append(ADB_KEYBOARD)
    write_into_a_note(device, env)
    device.system.hook = lambda argv: setattr(device.system, "takeover_in", 9)
    with pytest.raises(EnvError, match=r"did not take over within 0\.3 s; no text was sent"):
        env.step(Type("é"))
    assert device.system.settings["default_input_method"] == GBOARD


def test_a_phone_without_a_keyboard_of_its_own_is_reported(device: AdbDevice, env: Android) -> None:
    device.system.keyboards.append(ADB_KEYBOARD)
    device.system.settings["default_input_method"] = "null"
    with pytest.raises(EnvError, match="expected the phone to name its keyboard, got 'null'"):
        env.step(Type("é"))


# --- Apps -------------------------------------------------------------------------------------------------------------


def test_apps_are_opened_by_label_or_package(device: AdbDevice, env: Android) -> None:
    for name in ("Settings", "settings", "Clock", "com.android.deskclock", "Messages", "Phone"):
        observation, *_ = env.step(OpenApp(name))
        assert device.phone.top is not None
        assert name.casefold() in (device.phone.top.app.label.casefold(), device.phone.top.app.package)
        assert observation.info["app"] == device.phone.top.app.package


def test_an_app_that_is_not_there_is_refused_with_what_is(device: AdbDevice, env: Android) -> None:
    for name in ("Setings", "Facebook", "; reboot", "", "com.android.settingsx"):
        with pytest.raises(ActionRefused, match=r"no app fits .* this phone has .*com.android.settings"):
            env.step(OpenApp(name))
    with pytest.raises(ActionRefused, match=r"no app fits 'Setings': did you mean com.android.settings or"):
        env.step(OpenApp("Setings"))
    assert device.phone.top is None


def test_silent_launch_failure(device: AdbDevice, env: Android, quick: None) -> None:
    device.phone.broken.add("com.android.deskclock")
    with pytest.raises(
        ActionRefused, match=r"reported that it started com.android.deskclock, but .*launcher3.* still in front"
    ):
        env.step(OpenApp("Clock"))


def test_a_launch_failure_that_the_phone_reports_is_passed_on(device: AdbDevice, env: Android) -> None:
    failure = b"Starting: Intent { }\nError type 3\nError: Activity class {x} does not exist.\n"
    device.system._am = lambda *words: (0, failure, b"")  # type: ignore[method-assign]
    with pytest.raises(ActionRefused, match=r"could not start com\.android\.settings: Error type 3"):
        env.step(OpenApp("Settings"))


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Spotify", "com.spotify.music"),
        ("Google Maps", "com.google.android.apps.maps"),
        ("Camera", "com.google.android.GoogleCamera"),
        ("Chrome", "com.android.chrome"),
        ("Play Store", "com.android.vending"),
        ("X", "com.twitter.android"),
    ],
)
def test_labels_are_found_by_the_words_of_packages(name: str, found: str) -> None:
    packages = "com.spotify.music com.google.android.apps.maps com.google.android.GoogleCamera com.android.chrome"
    if name == "Google Maps":
        name = "Maps"
    assert find_app(name, [*packages.split(), "com.android.vending", "com.twitter.android"]) == found


def test_a_label_that_fits_several_apps_is_refused() -> None:
    with pytest.raises(ActionRefused, match=r"several apps fit 'Notes': org.a.notes, org.b.notes; name the package"):
        find_app("Notes", ["org.b.notes", "org.a.notes"])


# --- What can be wrong with a phone -----------------------------------------------------------------------------------


def test_no_phone(server: Any) -> None:
    with pytest.raises(EnvError, match="no phone is connected: plug one in with USB debugging on"):
        Android()


def test_several_phones_need_a_choice(connect: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = connect(1), connect(2)
    with pytest.raises(
        UsageError, match=rf"2 phones are connected: .*{first.serial} \(device\).*choose one with --serial"
    ):
        Android()
    with pytest.raises(UnknownNameError, match=f"unknown phone 'emulator-5554': known: .*{second.serial}"):
        Android("emulator-5554")
    chosen = Android(second.serial).reset()[0]
    assert np.array_equal(chosen.image, draw(second.phone).screen.image)
    monkeypatch.setenv("ANDROID_SERIAL", first.serial)
    assert Android().device.serial == first.serial


def test_a_phone_that_does_not_trust_this_computer(connect: Any) -> None:
    connect(authorised=False)
    with pytest.raises(EnvError, match="does not trust this computer: unlock it and accept 'Allow USB debugging"):
        Android()


def test_a_phone_that_went_offline(device: AdbDevice, env: Android) -> None:
    device.unplug()
    with pytest.raises(EnvError, match="is offline: unplug it and plug it in again"):
        env.observe()
    with pytest.raises(EnvError, match="is offline"):
        Android()


def test_unplugged_between_capture_and_touch(server: Any, device: AdbDevice, env: Android) -> None:
    def pull(argv: list[str]) -> None:
        if argv[0] == "input":
            device.unplug()
            server.disconnect(device.serial)

    device.system.hook = pull
    # For a moment the adb server still calls it offline.
    gone = r"is gone: it was unplugged or switched off while running input tap .*is not known|is offline: unplug it"
    with pytest.raises(EnvError, match=gone):
        env.step(Click(Point(0.5, 0.5)))


def test_a_phone_that_hangs_is_reported_in_time(device: AdbDevice) -> None:
    phone = Device()
    device.system.hook = lambda argv: time.sleep(1.5)
    with pytest.raises(EnvError, match="did not answer in time while running wm"):
        phone.run("wm", "size", timeout_s=0.3)
    time.sleep(1.5)


def test_a_locked_phone(device: AdbDevice, env: Android) -> None:
    device.phone.locked = True
    with pytest.raises(EnvError, match="is locked: unlock it and start again"):
        env.observe()
    for action in (Click(Point(0.5, 0.5)), Type("1234"), Key(("enter",)), OpenApp("Clock"), Home()):
        with pytest.raises(EnvError, match="is locked"):
            env.step(action)
    assert not device.system.inputs()


def test_a_screen_that_is_off(device: AdbDevice, env: Android) -> None:
    device.phone.asleep = True
    with pytest.raises(EnvError, match=r"the screen of .* is off: nothing can be seen or touched"):
        env.observe()


def test_invented_black_frame(device: AdbDevice, env: Android) -> None:
    """A window that forbids captures is told; its black picture is passed on to nobody."""
    device.phone.secure.add("com.android.settings")
    device.phone.launch(device.phone.app("Settings"))
    with pytest.raises(
        EnvError, match=r"com.android.settings on .* does not let its screen be captured \(FLAG_SECURE\)"
    ):
        env.observe()
    device.system.ancient = True
    with pytest.raises(EnvError, match="FLAG_SECURE"):
        env.observe()
    device.system.capture_fault = "empty"
    with pytest.raises(EnvError, match="FLAG_SECURE"):
        env.observe()
    device.phone.home()
    device.system.capture_fault = "black"
    with pytest.raises(EnvError, match=r"is entirely black although its screen is on, with .*launcher3"):
        env.observe()


def test_a_dark_app_is_no_secure_one(connect: Any) -> None:
    device = connect()
    device.phone.switches["Dark theme"] = True
    device.phone.launch(device.phone.app("Settings"))
    assert Android().reset()[0].image.any()


def test_a_capture_of_zero_bytes(device: AdbDevice, env: Android) -> None:
    device.system.capture_fault = "empty"
    with pytest.raises(EnvError, match=r"gave an empty capture of .*Failed to take screenshot"):
        env.observe()


def test_a_warning_before_the_image_is_no_part_of_it(device: AdbDevice, env: Android) -> None:
    device.system.capture_fault = "warning"
    assert np.array_equal(env.observe().image, draw(device.phone).screen.image)


def test_a_capture_that_breaks_off(device: AdbDevice, env: Android) -> None:
    device.system.capture_fault = "truncated"
    with pytest.raises(EnvError, match=r"the capture of .* broke off after \d+ bytes"):
        env.observe()


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match="a phone over adb needs the extra 'android': pip install"):
        Android()


def test_an_adb_server_that_cannot_be_started(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
    monkeypatch.setenv("ADBUTILS_ADB_PATH", "/bin/false")
    with pytest.raises(EnvError, match=r"the adb server cannot be reached or started .*try `adb start-server`"):
        Android()


def test_a_phone_that_is_too_old(device: AdbDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adbutils.AdbDevice, "get_features", lambda self: "cmd")
    with pytest.raises(EnvError, match="is too old: Android 7 or newer is needed"):
        Android()


# --- Whole runs -------------------------------------------------------------------------------------------------------


def test_a_task_of_several_steps_over_the_wire(device: AdbDevice) -> None:
    contact = device.phone.contacts[9].name

    def here(phrase: str) -> list[Box]:
        screen = draw(device.phone).screen
        height, width = screen.image.shape[:2]
        return [Box.from_pixels(*box, width, height) for box in locate(screen, phrase)]

    with Android() as env:
        task = f'launch Contacts, then click the "Search contacts" field, type "{contact[:5]}", then tap "{contact}"'
        run = rollout(PointingPolicy(OraclePointer(here)), env, task)
        assert {step.refused for step in run} == {None}
    assert device.phone.top is not None
    assert device.phone.top.about == contact


def test_agent_run_touches_a_phone_without_a_terminal_only_with_confirm_never(
    device: AdbDevice, tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    script = tmp_path / "answers.json"
    script.write_text('{"the phone": [0.5, 0.5]}')
    command = ["run", "--env", "android", "--model", f"scripted:{script}", "--serial", device.serial]
    done = CliRunner().invoke(command_line, [*command, "--task", "go home", "--out", str(tmp_path / "a")])
    assert isinstance(done.exception, UsageError)
    assert "on a real phone that is the default" in str(done.exception)
    device.phone.launch(device.phone.app("Clock"))
    command += ["--confirm", "never", "--out", str(tmp_path / "b")]
    done = CliRunner().invoke(command_line, [*command, "--task", "go home"])
    assert done.exit_code == 0, done.output
    assert device.phone.top is None
    done = CliRunner().invoke(command_line, command)
    assert "a phone has no task of its own" in str(done.exception)
    done = CliRunner().invoke(command_line, ["run", "--serial", "x", "--task", "go home"])
    assert "--serial goes with --env android, got --env sim-desktop" in str(done.exception)


def test_the_daemon_serves_the_command_line_client_too(device: AdbDevice, tmp_path: Path) -> None:
    adb = [adbutils.adb_path(), "-s", device.serial]
    done = subprocess.run(
        [*adb, "shell", "wm size && reboot_not; echo $?"], capture_output=True, text=True, check=False
    )
    assert done.stdout == "Physical size: 270x480\n127\n"
    assert subprocess.run([*adb, "shell", "false"], check=False).returncode == 1
    (tmp_path / "sent").write_bytes(b"x" * 100_000)
    for words in (["push", str(tmp_path / "sent"), "/sdcard/f"], ["pull", "/sdcard/f", str(tmp_path / "back")]):
        assert subprocess.run([*adb, *words], capture_output=True, check=False).returncode == 0
    assert (tmp_path / "back").read_bytes() == b"x" * 100_000
    assert adbutils.AdbClient().device(device.serial).window_size() == (270, 480)


@pytest.mark.parametrize(("key", "code"), [("Enter", "ENTER"), ("page down", "PAGE_DOWN"), ("a", "A"), ("5", "5")])
def test_keys_have_android_names(key: str, code: str) -> None:
    assert keycode(key) == f"KEYCODE_{code}"


def test_the_doctor_names_the_adb_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {check.name: check for check in diagnose()}["adb"]
    assert found.ok
    assert found.detail == f"{adbutils.adb_path()}, for phones"

    def missing() -> str:
        raise adbutils.AdbError("No adb exe could be found")

    monkeypatch.setattr(adbutils, "adb_path", missing)
    lacking = {check.name: check for check in diagnose()}["adb"]
    assert not lacking.ok
    assert "adb" in lacking.remedy
