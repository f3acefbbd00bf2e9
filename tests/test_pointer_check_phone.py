"""The pointer check of a phone: over the adb wire, with a phone whose touches arrive where they should, or do not."""

import json
import re
import subprocess
from collections.abc import Callable

import numpy as np
import pytest
from adb_device import AdbDevice
from typer.testing import CliRunner

from molmo_agent.cli.app import app
from molmo_agent.envs.doctor import Check
from molmo_agent.envs.pointer_check.phone import BY_HAND, NOTE, SETTING, check_phone, find_crossing, open_phone
from molmo_agent.errors import EnvError, UsageError
from molmo_agent.evaluation.adb_phone.shell import OtherDisplay

pytest_plugins = ("adb_fixtures",)
adbutils = pytest.importorskip("adbutils", reason="needs the extra 'android'")
pytestmark = pytest.mark.filterwarnings("ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning")


def check() -> Check:
    (result,) = check_phone(open_phone())
    return result


@pytest.mark.parametrize("rotation", [0, 1])
def test_a_phone_in_any_rotation_is_proven(device: AdbDevice, rotation: int) -> None:
    device.phone.rotation = rotation
    width, height = device.phone.size
    result = check()
    assert result.ok, result
    assert result.detail == f"{width}x{height} pixels in rotation {rotation}: all 9 marks were touched to the pixel"


def test_a_changed_resolution_and_a_second_display_are_proven(device: AdbDevice) -> None:
    device.system.override, device.system.others = (540, 960), [OtherDisplay(4, (300, 300))]
    assert check().ok


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lambda x, y: (int(x * 1.5), int(y * 1.5)), "input is 1.5 times the capture"),
        (lambda x, y: (int(x / 2), int(y / 2)), "input is 0.5 times the capture"),
        (lambda x, y: (x + 20, y - 14), r"input arrives \(\+20, -14\) beside the mark"),
        (lambda x, y: (269 - x, 479 - y), "input is rotated by 180 degrees against the capture"),
        (lambda x, y: (y * 270 // 480, 479 - x * 480 // 270), "input is rotated by 270 degrees"),
        (lambda x, y: (-1, -1), "none of the 9 marks was seen in the capture"),
    ],
    ids=["larger", "smaller", "shifted", "upside_down", "turned", "off_the_display"],
)
def test_touches_that_arrive_elsewhere_are_described(
    device: AdbDevice, fault: Callable[[int, int], tuple[int, int]], words: str
) -> None:
    device.system.touch_fault = fault
    result = check()
    assert not result.ok
    assert re.search(words, result.detail), result.detail
    assert result.remedy


def test_no_touch_becomes_a_tap(device: AdbDevice) -> None:
    contents = device.phone.fields | device.phone.switches
    device.phone.launch(device.phone.app("Settings"))
    assert check().ok
    assert device.system.finger is None
    kinds = {tuple(sent[:2]) for sent in device.system.inputs()}
    assert kinds == {("keyevent", "KEYCODE_HOME"), ("motionevent", "DOWN"), ("motionevent", "CANCEL")}
    assert device.phone.fields | device.phone.switches == contents
    assert device.phone.top is None


@pytest.mark.parametrize("before", [None, "0", "1"])
def test_the_setting_is_what_it_was(device: AdbDevice, before: str | None) -> None:
    if before is not None:
        device.system.settings[SETTING] = before
    assert check().ok
    assert device.system.settings.get(SETTING, "0") == (before or "0")
    assert NOTE not in device.system.settings


def test_the_setting_is_restored_after_an_error(device: AdbDevice) -> None:
    def lock(argv: list[str]) -> None:
        device.phone.locked |= argv[:2] == ["input", "motionevent"]

    device.system.hook = lock
    with pytest.raises(EnvError, match="is locked"):
        check()
    assert device.system.settings[SETTING] == "0"
    assert NOTE not in device.system.settings


def test_the_setting_that_a_killed_check_left_on_is_restored_by_the_next(device: AdbDevice) -> None:
    device.system.settings |= {SETTING: "1", NOTE: "0"}
    assert check().ok
    assert device.system.settings[SETTING] == "0"


def test_a_phone_that_cannot_take_a_touch_back_gets_none(device: AdbDevice) -> None:
    device.system.no_cancel = True
    with pytest.raises(EnvError, match=r"cannot take a touch back before it counts \(Android 11 or newer can\)"):
        check()
    assert device.system.inputs() == [["keyevent", "KEYCODE_HOME"]]


def test_a_phone_that_does_not_let_its_settings_be_changed(device: AdbDevice) -> None:
    refusal = b"Exception: java.lang.SecurityException: uid 2000 does not have WRITE_SECURE_SETTINGS\n"
    device.system._settings = (  # type: ignore[method-assign]
        lambda *words: (255, b"", refusal) if words[0] == "put" else "null\n"  # type: ignore[assignment,return-value]
    )
    with pytest.raises(EnvError, match=r"does not let its settings be changed: Exception.*'USB debugging"):
        check()


def test_the_command_reports_the_phone_and_its_exit_code(device: AdbDevice) -> None:
    command = ["doctor", "--pointer", "--env", "android", "--serial", device.serial, "--yes"]
    done = CliRunner().invoke(app, [*command, "--json"])
    assert done.exit_code == 0, done.output
    (line,) = (json.loads(line) for line in done.stdout.splitlines())
    assert (line["name"], line["ok"]) == ("phone", True)
    device.system.touch_fault = lambda x, y: (x + 50, y)
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 1
    assert "input arrives (+50, +0) beside the mark" in done.output
    assert "To do: " in done.output


def test_the_command_without_a_phone_or_a_terminal() -> None:
    done = CliRunner().invoke(app, ["doctor", "--pointer", "--env", "sim-phone"])
    assert isinstance(done.exception, UsageError)
    assert "--pointer checks --env desktop or android, got --env sim-phone" in str(done.exception)


def test_a_killed_check_says_by_hand_how_to_end_it(device: AdbDevice) -> None:
    """The line in the manual is one that the phone understands."""
    device.system.settings[SETTING] = "1"
    subprocess.run([adbutils.adb_path(), "-s", device.serial, *BY_HAND.split()[1:]], check=True)
    assert device.system.settings[SETTING] == "0"


# --- Crossed lines ----------------------------------------------------------------------------------------------------


def test_a_crossing_is_found_to_the_pixel_on_any_background() -> None:
    rng = np.random.default_rng(4)
    before = rng.integers(0, 256, (300, 200, 3), np.uint8)
    for x, y in ((0, 0), (199, 299), (73, 120)):
        after = before.copy()
        after[y], after[:, x] = (0, 0, 192), (0, 0, 192)
        assert find_crossing(before, after) == (x, y)


def test_what_is_no_crossing_of_two_thin_lines_is_none() -> None:
    before = np.full((300, 200, 3), 255, np.uint8)
    across, thick, everything = before.copy(), before.copy(), before.copy()
    across[50] = 0
    thick[100:140], thick[:, 60:90], everything[:] = 0, 0, 0
    for after in (before, across, thick, everything, before[:100]):
        assert find_crossing(before, after) is None
