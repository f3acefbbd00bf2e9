"""Several displays on a phone: size, capture and touch are those of one display, and nothing is ever stretched."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adb_device import AdbDevice
from PIL import Image
from typer.testing import CliRunner

from molmo_agent.actions import Back, Click, Drag, Key, LongPress, OpenApp, Scroll, Type
from molmo_agent.cli.app import app as command_line
from molmo_agent.envs.android import apps as android_apps
from molmo_agent.envs.android.displays import Display, choose_display, describe_displays, read_displays
from molmo_agent.envs.android.env import Android
from molmo_agent.envs.sim_phone.draw import draw
from molmo_agent.errors import ActionRefused, EnvError, UsageError
from molmo_agent.evaluation.adb_phone.shell import OtherDisplay
from molmo_agent.geometry import Point
from molmo_agent.registry import load_env

pytest_plugins = ("adb_fixtures",)
pytest.importorskip("adbutils", reason="needs the extra 'android'")
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")

CAST = OtherDisplay(7, (640, 360))
WATCH = OtherDisplay(3, (200, 200), kind="OVERLAY")
MONITOR = OtherDisplay(2, (960, 540), kind="EXTERNAL", physical="4619827551948147201")
COVER = OtherDisplay(1, (180, 300), kind="INTERNAL", physical="4619827677550801153")


def taps(device: AdbDevice) -> list[list[str]]:
    return device.system.inputs("tap")


# --- What phones report -----------------------------------------------------------------------------------------------

ANDROID_8 = """
  Display: mDisplayId=0
    init=1080x1920 420dpi cur=1920x1080 app=1794x1080 rng=1080x1017-1794x1731
    deferred=false mLayoutNeeded=false
  mCurrentFocus=Window{d2 u0 com.android.settings/com.android.settings.Settings}
  mDefaultViewport=DisplayViewport{valid=true, displayId=0, orientation=1, logicalFrame=Rect(0, 0 - 1920, 1080)}
    mBaseDisplayInfo=DisplayInfo{"Screen, displayId 0", uniqueId "local:0", real 1080 x 1920, rotation 0, type BUILT_IN}
"""
ANDROID_12_WITH_A_CAST_FIRST = (
    """
  Display: mDisplayId=26
    init=864x1920 320dpi cur=864x1920 app=864x1920 rng=864x816-1920x1872
  mCurrentFocus=null
  Display: mDisplayId=0
    init=1440x3120 560dpi base=1080x2340 420dpi cur=2340x1080 app=2210x1080 rng=1080x1008-2340x2268
  mCurrentFocus=Window{77aa u10 com.mail/com.mail.Inbox}
"""
    "  mViewports=[DisplayViewport{type=VIRTUAL, valid=true, isActive=true, displayId=26, uniqueId='virtual:cast,0',"
    " physicalPort=null, orientation=0, logicalFrame=Rect(0, 0 - 864, 1920), deviceWidth=864, deviceHeight=1920}, "
    "DisplayViewport{type=INTERNAL, valid=true, isActive=true, displayId=0, uniqueId='local:4630946674560563842', "
    "physicalPort=130, orientation=3, logicalFrame=Rect(0, 0 - 2340, 1080), deviceWidth=2340, deviceHeight=1080}]\n"
)
ANDROID_15_FOLDED = (
    """
  Display: mDisplayId=3 (organized)
    init=1080x2424 420dpi mMinSizeOfResizeableTaskDp=220 cur=1080x2424 app=1080x2300 rng=9x9-9x9
  mCurrentFocus=Window{5 u0 NotificationShade}
  Display: mDisplayId=0 (organized)
    init=2076x2152 390dpi mMinSizeOfResizeableTaskDp=220 cur=2076x2152 app=2076x2152 rng=9x9-9x9
  mCurrentFocus=null
"""
    "  mViewports=[DisplayViewport{type=INTERNAL, valid=true, isActive=false, displayId=0, uniqueId='local:11', "
    "orientation=0}, DisplayViewport{type=INTERNAL, valid=true, isActive=true, displayId=3, uniqueId='local:22', "
    "orientation=0}]\n"
    '    mBaseDisplayInfo=DisplayInfo{"Built-in Screen", displayId 0", displayGroupId 0, real 2076 x 2152, rotation 0, '
    'type INTERNAL, state OFF, uniqueId "local:11"}\n'
    '    mOverrideDisplayInfo=DisplayInfo{"Second Screen", displayId 3", displayGroupId 0, real 1080 x 2424, '
    'rotation 0, type INTERNAL, state ON, uniqueId "local:22"}\n'
)


def test_a_phone_of_android_8_is_read() -> None:
    main = Display(0, (1920, 1080), (1920, 1080), 1, "internal", physical="0")
    found = read_displays(ANDROID_8)
    assert set(found) == {0}
    assert found[0] == Display(**{**fields(main), "focus": "com.android.settings/com.android.settings.Settings"})


def test_a_cast_that_is_listed_first_changes_nothing_about_the_main_display() -> None:
    found = read_displays(ANDROID_12_WITH_A_CAST_FIRST)
    # The resolution was changed by hand: touches are in other units than pixels.
    assert found[0] == Display(
        0, (2340, 1080), (3120, 1440), 3, "internal", physical="4630946674560563842", focus="com.mail/com.mail.Inbox"
    )
    assert found[26] == Display(26, (864, 1920), (864, 1920), 0, "virtual")
    assert choose_display(found, None, "phone").id == 0


def test_on_a_folded_phone_the_side_that_is_on_is_meant() -> None:
    found = read_displays(ANDROID_15_FOLDED)
    assert (found[0].on, found[3].on) == (False, True)
    chosen = choose_display(found, None, "phone")
    assert (chosen.id, chosen.size, chosen.physical) == (3, (1080, 2424), "22")
    with pytest.raises(EnvError, match=r"display 0 of the phone 'phone' is off.*3 \(internal, 1080x2424\).*unfold"):
        choose_display(found, 0, "phone")


def test_a_viewport_that_is_left_over_from_the_other_side_does_not_count() -> None:
    """Both sides may be reported under the id 0, one of them inactive."""
    inner = "DisplayViewport{type=INTERNAL, valid=true, isActive=false, displayId=0, uniqueId='local:1', orientation=0}"
    outer = "DisplayViewport{type=INTERNAL, valid=true, isActive=true, displayId=0, uniqueId='local:2', orientation=3}"
    for viewports in ([inner, outer], [outer, inner]):
        (display,) = read_displays(f"cur=9x5\nmViewports=[{', '.join(viewports)}]").values()
        assert (display.on, display.rotation, display.physical) == (True, 3, "2")


def test_without_a_word_about_displays_there_is_one() -> None:
    assert read_displays("") == {0: Display(0)}
    assert read_displays("  init=8x6 1dpi cur=6x8 app=1x1\n orientation=1\n mCurrentFocus=Window{1 u0 a/b}")[0] == (
        Display(0, (6, 8), (6, 8), 1, focus="a/b")
    )


def test_what_stands_under_no_heading_is_about_the_main_display() -> None:
    dump = "init=6x8 1dpi cur=6x8 app=1x1\n mCurrentFocus=Window{1 u0 a/b}\n  Display: mDisplayId=4\n cur=50x50\n"
    found = read_displays(dump)
    assert (found[0].size, found[0].focus, found[4].size) == ((6, 8), "a/b", (50, 50))


def test_a_size_that_the_window_service_does_not_report_is_taken_from_the_display_service() -> None:
    info = 'mOverrideDisplayInfo=DisplayInfo{"x", displayId 0", real 720 x 1280, rotation 2, state ON}'
    assert read_displays(info)[0] == Display(0, (720, 1280), None, 2)


def test_displays_are_described_in_one_line() -> None:
    assert (
        describe_displays([Display(0, (5, 6), kind="internal"), Display(4, on=False)]) == "0 (internal, 5x6), 4 (off)"
    )
    assert Display(9).describe() == "9 (no details)"


def fields(display: Display) -> dict[str, Any]:
    return {name: getattr(display, name) for name in Display.__dataclass_fields__}


# --- Touches and captures of the same display -------------------------------------------------------------------------


@pytest.mark.parametrize("rotation", [0, 1, 2, 3])
@pytest.mark.parametrize("others", [[CAST], [WATCH, CAST], [MONITOR]], ids=["cast", "two_virtual", "monitor"])
def test_other_displays_do_not_move_a_tap(device: AdbDevice, others: list[OtherDisplay], rotation: int) -> None:
    device.system.others, device.system.physical = others, "4630946949513469332"
    device.phone.rotation = rotation
    env = Android()
    observation, _ = env.reset()
    width, height = device.phone.size
    assert observation.size == (width, height)
    assert observation.info["rotation"] == rotation
    assert np.array_equal(observation.image, draw(device.phone).screen.image)
    env.step(Click(Point.from_pixel(width - 30, 40, width, height)))
    assert taps(device) == [["tap", str(width - 30), "40"]]


def test_a_changed_resolution_beside_another_display(device: AdbDevice) -> None:
    device.system.others, device.system.override = [CAST], (540, 960)
    env = Android()
    env.reset()
    env.step(Click(Point.from_pixel(100, 200, 270, 480)))
    ((_, x, y),) = taps(device)
    assert (int(x) // 2, int(y) // 2) == (100, 200)


@pytest.mark.parametrize("size", [(500, 500), (480, 854), (960, 540)])
def test_a_capture_of_another_display_is_refused_with_both_sizes(
    device: AdbDevice, monkeypatch: pytest.MonkeyPatch, size: tuple[int, int]
) -> None:
    picture = Image.new("RGB", size, (9, 9, 90))
    monkeypatch.setattr("molmo_agent.evaluation.adb_phone.shell.draw", lambda phone: Shown(np.asarray(picture)))
    device.system.others = [CAST]
    with pytest.raises(
        EnvError,
        match=rf"has {size[0]}x{size[1]} pixels, but its display 0 is 270x480 .*another.*7 \(virtual, 640x360\)",
    ):
        Android().reset()


def test_another_display_of_the_same_proportions_is_no_scaled_one(
    device: AdbDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "molmo_agent.evaluation.adb_phone.shell.draw", lambda phone: Shown(np.full((960, 540, 3), 7, np.uint8))
    )
    # A phone with one display may give captures of another resolution than that of touches ...
    assert Android().reset()[0].size == (540, 960)
    device.system.others = [CAST]
    # ... but with two of them it could be the other one.
    with pytest.raises(EnvError, match="has 540x960 pixels, but its display 0 is 270x480"):
        Android().reset()


class Shown:
    """Stands for a drawing of the phone."""

    def __init__(self, image: Any) -> None:
        self.screen, self.image = self, image


def test_of_two_screens_the_one_that_is_touched_is_captured(device: AdbDevice) -> None:
    """Without an id the capture is that of the first screen, and of a folded phone all black."""
    device.system.others, device.system.physical = [COVER], "4619827677550801152"
    assert np.array_equal(Android().reset()[0].image, draw(device.phone).screen.image)
    assert ["screencap", "-d", "4619827677550801152", "-p"] in device.system.log


def test_a_second_screen_that_only_the_capture_knows_of(device: AdbDevice) -> None:
    device.system.others, device.system.physical = [COVER], "4619827677550801152"
    visible = device.system._viewports
    device.system._viewports = lambda: visible().replace(f"uniqueId='local:{COVER.physical}', ", "")  # type: ignore[method-assign]
    assert np.array_equal(Android().reset()[0].image, draw(device.phone).screen.image)


def test_a_folded_phone_is_seen_and_touched_on_its_cover(device: AdbDevice) -> None:
    device.system.others, device.system.physical, device.system.on = [COVER], "4619827677550801152", False
    env = Android()
    observation, _ = env.reset()
    assert observation.size == COVER.size
    assert observation.image[0, 0].tolist() == list(COVER.colour)
    assert observation.info["app"] == "com.example.other"
    middle = Point.from_pixel(90, 150, *COVER.size)
    for action, sent in (
        (Click(middle), [["-d", "1", "tap", "90", "150"]]),
        (LongPress(middle, 0.5), [["-d", "1", "swipe", "90", "150", "90", "150", "500"]]),
        (Drag(middle, Point(0, 0)), [["-d", "1", "swipe", "90", "150", "0", "0", "600"]]),
        (Scroll("down", 1), [["-d", "1", "swipe", "90", "165", "90", "135", "500"]]),
        (Type("ab"), [["-d", "1", "text", "ab"]]),
        (Key(("enter",)), [["-d", "1", "keyevent", "KEYCODE_ENTER"]]),
        (Back(), [["-d", "1", "keyevent", "KEYCODE_BACK"]]),
    ):
        device.system.log.clear()
        env.step(action)
        assert device.system.inputs() == sent


def test_an_app_is_started_on_the_display_that_is_acted_on(device: AdbDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(android_apps, "_APPEAR_S", 0.3)
    device.system.others, device.system.physical = [MONITOR], "4630946949513469332"
    env = load_env("android", display=2)
    env.reset()
    with pytest.raises(ActionRefused, match=r"com.example.other/.Main is still in front"):
        env.step(OpenApp("Settings"))
    (start,) = (argv for argv in device.system.log if argv[:2] == ["am", "start"])
    assert start[start.index("--display") + 1] == "2"


def test_a_display_is_chosen_by_its_id(device: AdbDevice) -> None:
    device.system.others, device.system.physical = [MONITOR, CAST], "4630946949513469332"
    observation, _ = Android(display=2).reset()
    assert observation.size == MONITOR.size
    assert Android(display=0).reset()[0].size == (270, 480)
    with pytest.raises(UsageError, match=r"has no display 5; it has 0 \(internal, 270x480\), 2 \(external, 960x540\)"):
        Android(display=5).reset()
    # Nothing draws it but an app that adb cannot ask.
    with pytest.raises(EnvError, match=r"display 7 \(virtual, 640x360\) of .* cannot be captured over adb"):
        Android(display=7).reset()


def test_the_command_line_chooses_a_display_by_its_id(device: AdbDevice, tmp_path: Path) -> None:
    device.system.others, device.system.physical = [MONITOR], "4630946949513469332"
    script = tmp_path / "answers.json"
    script.write_text('{"the dot": [0.5, 0.5]}')
    command = ["run", "--env", "android", "--serial", device.serial, "--model", f"scripted:{script}"]
    command += ["--confirm", "never", "--task", "tap the dot", "--out", str(tmp_path / "run"), "--monitor"]
    done = CliRunner().invoke(command_line, [*command, "2"])
    # Nothing reacts there.
    assert done.exit_code == 1, done.output
    assert device.system.inputs("-d")[0] == ["-d", "2", "tap", "480", "270"]
    for wrong in ("primary", "HDMI"):
        done = CliRunner().invoke(command_line, [*command, wrong])
        assert f"--monitor of a phone is the id of one of its displays, such as 0, got {wrong!r}" in str(done.exception)


def test_a_phone_without_input_for_other_displays_says_so(device: AdbDevice) -> None:
    device.system.others, device.system.physical, device.system.one_display = [MONITOR], "1", True
    env = Android(display=2)
    env.reset()
    with pytest.raises(ActionRefused, match=r"cannot send input to display 2 \(Android 10 or newer can\)"):
        env.step(Click(Point(0.5, 0.5)))


def test_a_sleeping_phone_is_asleep_and_not_folded(device: AdbDevice) -> None:
    device.phone.asleep, device.system.on = True, False
    with pytest.raises(EnvError, match=r"the screen of .* is off: nothing can be seen or touched"):
        Android().reset()


# --- Folded or turned during a run ------------------------------------------------------------------------------------


def test_a_phone_that_was_folded_unfolded_or_turned_since_the_observation_is_not_touched(device: AdbDevice) -> None:
    """Every kind of change, for every action with a point: observe again."""
    cover = OtherDisplay(1, (180, 300), kind="INTERNAL", physical="22", on=False)
    device.system.others, device.system.physical = [cover], "11"

    def fold() -> None:
        device.system.on, cover.on = False, True

    def turn() -> None:
        device.phone.rotation = 3

    def turn_over() -> None:
        device.phone.rotation = 2

    def other_size() -> None:
        device.phone.width, device.phone.height = 400, 440

    def other_resolution() -> None:
        device.system.override = (540, 960)

    cases = (
        (fold, r"was folded or unfolded \(display 1 is on instead of 0\)"),
        (turn, "was rotated"),
        (turn_over, "was rotated"),
        (other_size, r"was folded or its resolution was changed \(from 270x480 to 400x440\)"),
        (other_resolution, r"resolution was changed \(from 270x480 to 540x960\)"),
    )
    middle = Point(0.5, 0.5)
    env = Android()
    for change, message in cases:
        device.system.on, cover.on, device.phone.rotation, device.system.override = True, False, 0, None
        device.phone.width, device.phone.height = 270, 480
        env.reset()
        device.system.log.clear()
        change()
        for action in (Click(middle), LongPress(middle), Drag(middle, Point(0, 0)), Scroll("up", 1, middle)):
            with pytest.raises(ActionRefused, match=rf"{message} since the observation: observe it again, then act"):
                env.step(action)
        assert not device.system.inputs()
        env.observe()
        env.step(Click(middle))
        assert device.system.inputs()


def test_a_phone_that_is_folded_during_the_capture_is_captured_again(device: AdbDevice) -> None:
    cover = OtherDisplay(1, (180, 300), kind="INTERNAL", physical="22", on=False)
    device.system.others, device.system.physical = [cover], "11"
    env = Android()
    env.reset()

    def fold(argv: list[str]) -> None:
        if argv[0] == "screencap":
            device.phone.width, device.phone.height = 300, 300

    device.system.hook = fold
    assert env.observe().size == (300, 300)
