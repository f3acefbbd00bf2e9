"""macOS and Windows without either: what would be sent to the system's own interface."""

import ctypes
import types

import pytest

from molmo_agent.envs.desktop import input as desktop_input
from molmo_agent.envs.desktop import screen_lock
from molmo_agent.envs.desktop.input import PyAutoGuiInput
from molmo_agent.envs.desktop.native import input as native_input
from molmo_agent.envs.desktop.native.input import MacInput, WindowsEvent, WindowsInput, check_permissions
from molmo_agent.errors import ActionRefused, EnvError, RunStopped


class FailSafe(Exception):
    pass


class FakeGui:
    """The part of pyautogui that is used, for a user with ordinary buttons on a screen of 1440 x 900."""

    PRIMARY = LEFT = "left"
    SECONDARY = RIGHT = "right"
    MIDDLE = "middle"
    FAILSAFE = True
    FAILSAFE_POINTS = ((0, 0), (1439, 0), (0, 899), (1439, 899))
    FailSafeException = FailSafe
    KEY_NAMES = ("enter", "esc", "win", "command", "ctrl", "pageup", "apps", "f1")

    def __init__(self):
        self.calls = []
        self.at = (100, 200)

    def position(self):
        return self.at

    def failSafeCheck(self):
        if self.FAILSAFE and self.at in self.FAILSAFE_POINTS:
            raise FailSafe

    def isValidKey(self, key):
        return key in self.KEY_NAMES or len(key) == 1

    def __getattr__(self, name):
        def call(*args, **kwargs):
            self.failSafeCheck()
            self.calls.append((name, *args, *kwargs.values()))

        return call


class FakeQuartz:
    """Quartz: constants are their own names, events are dictionaries."""

    def __init__(self):
        self.posted = []
        # Key codes and button numbers that are down; with fingers on them, releasing them changes nothing.
        self.keys, self.buttons, self.has_fingers = set(), set(), False

    def CGEventSourceKeyState(self, state, code):
        assert state == "kCGEventSourceStateCombinedSessionState"
        return code in self.keys

    def CGEventSourceButtonState(self, state, number):
        return number in self.buttons

    def __getattr__(self, name):
        return name

    def CGEventCreateMouseEvent(self, _, kind, position, button):
        return {"kind": kind, "at": position, "button": button}

    def CGEventSetIntegerValueField(self, event, field, value):
        event[field] = value

    def CGEventCreateScrollWheelEvent(self, _, unit, wheels, *lines):
        assert (unit, wheels) == ("kCGScrollEventUnitLine", len(lines))
        return {"lines": lines}

    def CGEventCreateKeyboardEvent(self, _, code, down):
        return {"down": down, "code": code}

    def CGEventKeyboardSetUnicodeString(self, event, length, text):
        event.update(length=length, text=text)

    def CGEventPost(self, tap, event):
        self.posted.append(event)
        if not self.has_fingers:
            self.keys -= {event.get("code")}
            kinds = {"kCGEventLeftMouseUp": 0, "kCGEventRightMouseUp": 1, "kCGEventOtherMouseUp": 2}
            self.buttons -= {kinds.get(event.get("kind"))}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(native_input, "_PAUSE_S", 0)


@pytest.fixture
def mac():
    return MacInput(FakeGui(), FakeQuartz())


def test_a_mac_double_click_counts_its_clicks(mac):
    for nth in (1, 2):
        mac.press("right", nth)
        mac.release("right", nth)
    kinds = ["kCGEventRightMouseDown", "kCGEventRightMouseUp"] * 2
    assert [event["kind"] for event in mac._quartz.posted] == kinds
    assert [event["kCGMouseEventClickState"] for event in mac._quartz.posted] == [1, 1, 2, 2]
    assert {event["at"] for event in mac._quartz.posted} == {(100, 200)}


def test_a_mac_drag_uses_drag_events(mac):
    mac.press("left")
    mac.move(300, 400)
    mac.release("left")
    mac.move(500, 600)
    assert mac._gui.calls == [("dragTo", 300, 400, 0, "left", False), ("moveTo", 500, 600)]


@pytest.mark.parametrize(
    ("right", "down", "lines"), [(0, 2, (-3, 0)), (0, -2, (3, 0)), (2, 0, (0, -3)), (-2, 0, (0, 3))]
)
def test_a_mac_wheel_turns_both_ways_in_both_directions(mac, right, down, lines):
    mac.scroll(right, down)
    assert [event["lines"] for event in mac._quartz.posted] == [lines] * 2


def test_mac_text_is_sent_as_unicode_with_its_length_in_utf16(mac):
    mac.type_line("é<🙂")
    assert [(event["text"], event["length"]) for event in mac._quartz.posted if event["down"]] == [
        ("é", 1),
        ("<", 1),
        ("🙂", 2),
    ]
    assert len(mac._quartz.posted) == 6, "each key also goes up"


def test_everything_is_released_even_in_the_failsafe_corner(mac):
    mac.press("left")
    mac.key_down("ctrl")
    mac._gui.at = (0, 0)
    with pytest.raises(RunStopped, match="emergency stop"):
        mac.release("left")
    mac.release_all()
    assert mac._gui.calls[-1] == ("keyUp", "ctrl")
    assert mac._quartz.posted[-1]["kind"] == "kCGEventLeftMouseUp"
    assert mac._gui.FAILSAFE is True


class FakeUser32:
    """Windows' user32: decodes what SendInput is given; ``blocked`` takes nothing, as from a lesser program."""

    def __init__(self, blocked=False, swapped=False, double_click_ms=500, held=(), fingers=()):
        self.sent = []
        self.blocked, self.swapped, self.double_click_ms = blocked, swapped, double_click_ms
        # Key codes that are down, and those that a person holds: releasing these changes nothing.
        self.held, self.fingers = set(held), set(fingers)

    def GetSystemMetrics(self, index):
        assert index == 23, "SM_SWAPBUTTON"
        return int(self.swapped)

    def GetDoubleClickTime(self):
        return self.double_click_ms

    def GetAsyncKeyState(self, code):
        # A negative short: the highest bit.
        return -32768 if code in self.held else 0

    def SendInput(self, count, block, size):
        assert size == ctypes.sizeof(WindowsEvent)
        if self.blocked:
            return 0
        for item in block:
            if item.type == 1:
                key = item.event.keyboard
                self.sent.append(("key", key.wVk, key.wScan, key.dwFlags))
                self.held -= {key.wVk} - self.fingers if key.dwFlags & 2 else set()
            else:
                mouse = item.event.mouse
                self.sent.append(("wheel", mouse.dwFlags, ctypes.c_int32(mouse.mouseData).value))
                released = {0x04: 0x01, 0x10: 0x02, 0x40: 0x04, 0x0100: 0x04 + mouse.mouseData}.get(mouse.dwFlags)
                self.held -= {released} - self.fingers
        return count


def test_the_windows_structure_has_the_size_that_windows_expects():
    assert ctypes.sizeof(WindowsEvent) == (40 if ctypes.sizeof(ctypes.c_void_p) == 8 else 28)


def test_windows_text_is_sent_as_utf16_units():
    windows = WindowsInput(FakeGui(), FakeUser32())
    windows.type_line("ß🙂")
    units = [scan for _, _, scan, flags in windows._user32.sent if not flags & 2]
    assert units == [0xDF, 0xD83D, 0xDE42]
    assert all(virtual_key == 0 and flags & 4 for _, virtual_key, _, flags in windows._user32.sent)


@pytest.mark.parametrize(
    ("right", "down", "wheel", "amount"),
    [(0, 1, 0x0800, -120), (0, -1, 0x0800, 120), (1, 0, 0x1000, 120), (-1, 0, 0x1000, -120)],
)
def test_a_windows_notch_is_120_and_sideways_is_sideways(right, down, wheel, amount):
    windows = WindowsInput(FakeGui(), FakeUser32())
    windows.scroll(3 * right, 3 * down)
    assert windows._user32.sent == [("wheel", wheel, amount)] * 3


def test_windows_refusing_input_is_reported():
    with pytest.raises(EnvError, match="probably runs as administrator"):
        WindowsInput(FakeGui(), FakeUser32(blocked=True)).type_line("x")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("Return", "enter"),
        ("Escape", "esc"),
        ("page_up", "pageup"),
        ("PgUp", "pageup"),
        ("super", "win"),
        ("cmd", "win"),
        ("menu", "apps"),
        ("plus", "+"),
        ("F1", "f1"),
        ("A", "A"),
    ],
)
def test_a_key_has_many_names(key, name):
    assert WindowsInput(FakeGui(), FakeUser32()).key_names([key]) == [name]


def test_the_system_key_of_a_mac_is_command(mac):
    assert mac.key_names(["super", "win"]) == ["command", "command"]


def test_the_key_that_adds_to_a_selection_is_each_systems_own(mac):
    assert mac.key_names(["ctrl_or_cmd"]) == ["command"]
    assert WindowsInput(FakeGui(), FakeUser32()).key_names(["ctrl_or_cmd"]) == ["ctrl"]


def test_an_unknown_key_is_refused_with_the_nearest_names(mac):
    with pytest.raises(ActionRefused, match="no key 'entr'; did you mean 'enter'"):
        mac.key_names(["entr"])


def test_text_is_never_typed_by_the_lossy_way_that_all_platforms_share():
    with pytest.raises(NotImplementedError):
        PyAutoGuiInput(FakeGui()).type_line("x")


def answering(**answers):
    """Return a stand-in for ctypes.CDLL whose functions give these answers."""
    functions = {name: types.SimpleNamespace() for name in answers}

    class Function:
        def __init__(self, answer):
            self.answer = answer

        def __call__(self):
            return self.answer

    functions = {name: Function(answer) for name, answer in answers.items()}
    return lambda path: types.SimpleNamespace(**functions)


@pytest.mark.parametrize(
    ("answers", "pane"),
    [
        ({"CGPreflightScreenCaptureAccess": False, "AXIsProcessTrusted": True}, "Screen & System Audio Recording"),
        ({"CGPreflightScreenCaptureAccess": True, "AXIsProcessTrusted": False}, "Accessibility"),
        ({"AXIsProcessTrusted": False}, "Accessibility"),
    ],
)
def test_a_missing_permission_on_macos_is_reported_with_the_place_to_give_it(monkeypatch, answers, pane):
    monkeypatch.setattr(ctypes, "CDLL", answering(**answers))
    with pytest.raises(EnvError, match=f"Privacy & Security > {pane} switch on the terminal"):
        check_permissions("darwin")


def test_permissions_that_are_given_pass(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", answering(CGPreflightScreenCaptureAccess=True, AXIsProcessTrusted=True))
    check_permissions("darwin")
    check_permissions("linux")


@pytest.mark.parametrize("desktop", [None, 44])
def test_a_locked_windows_screen_has_no_input_desktop(desktop):
    class OpenInputDesktop:
        def __call__(self, *_):
            return desktop

    user32 = types.SimpleNamespace(OpenInputDesktop=OpenInputDesktop(), CloseDesktop=lambda handle: True)
    assert screen_lock._windows_locked(user32) is (desktop is None)


@pytest.mark.parametrize(("answer", "locked"), [("yes", True), ("no", False), ("", False)])
def test_a_locked_login_session_is_noticed(monkeypatch, tmp_path, answer, locked):
    program = tmp_path / "loginctl"
    program.write_text(f"#!/bin/sh\necho {answer}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("XDG_SESSION_ID", "7")
    monkeypatch.delenv("DBUS_SESSION_BUS_ADDRESS", raising=False)
    screen_lock._sessions_on.cache_clear()
    assert bool(screen_lock.screen_lock(platform="linux")) is locked
    monkeypatch.delenv("XDG_SESSION_ID")
    assert screen_lock.screen_lock(platform="linux") == ""


# --- Swapped buttons, double clicks, and what a killed run left down --------------------------------------------------


LEFT_DOWN, LEFT_UP, RIGHT_DOWN, RIGHT_UP, MIDDLE_DOWN, MIDDLE_UP = 0x02, 0x04, 0x08, 0x10, 0x20, 0x40


@pytest.mark.parametrize(
    ("swapped", "button", "flags"),
    [
        (False, "left", [LEFT_DOWN, LEFT_UP]),
        (True, "left", [RIGHT_DOWN, RIGHT_UP]),
        (False, "right", [RIGHT_DOWN, RIGHT_UP]),
        (True, "right", [LEFT_DOWN, LEFT_UP]),
        (True, "middle", [MIDDLE_DOWN, MIDDLE_UP]),
    ],
)
def test_windows_gets_the_physical_button_that_means_the_logical_one(swapped, button, flags):
    windows = WindowsInput(FakeGui(), FakeUser32(swapped=swapped))
    windows.press(button)
    windows.release(button)
    assert [sent_flags for _, sent_flags, _ in windows._user32.sent] == flags
    assert windows._gui.calls == [], "nothing else swaps them again"


def test_windows_says_how_fast_a_double_click_is():
    assert WindowsInput(FakeGui(), FakeUser32(double_click_ms=900)).double_click_s() == 0.9


def test_a_mac_counts_clicks_itself_so_nothing_has_to_wait(mac):
    assert mac.double_click_s() == 0.0


@pytest.mark.parametrize(
    ("held", "sent"),
    [
        ({0xA2}, [("key", 0xA2, 0, 0x02)]),
        ({0xA3, 0x5B}, [("key", 0x5B, 0, 0x03), ("key", 0xA3, 0, 0x03)]),
        ({0x01, 0x41}, [("mouse", LEFT_UP, 0), ("key", 0x41, 0, 0x02)]),
        ({0x05}, [("mouse", 0x0100, 1)]),
        (set(), []),
    ],
    ids=["ctrl", "right ctrl and the system key", "left button and a", "an extra button", "nothing"],
)
def test_windows_keys_and_buttons_that_are_down_are_released(held, sent):
    windows = WindowsInput(FakeGui(), FakeUser32(held=held))
    windows.release_leftovers()
    assert [("mouse", *event[1:]) if event[0] == "wheel" else event for event in windows._user32.sent] == sent
    assert windows._user32.held == set()


def test_a_key_that_a_person_holds_stops_the_run_on_windows(monkeypatch):
    monkeypatch.setattr(desktop_input, "FINGER_S", 0)
    windows = WindowsInput(FakeGui(), FakeUser32(held={0x11, 0x02}, fingers={0x11, 0x02}))
    with pytest.raises(EnvError, match=r"held down .*not by this program: a mouse button, key 0x11\. Let go"):
        windows.release_leftovers()


@pytest.mark.parametrize(("keys", "buttons"), [({55, 0}, set()), (set(), {0}), ({56}, {1, 2}), (set(), set())])
def test_mac_keys_and_buttons_that_are_down_are_released(mac, keys, buttons):
    mac._quartz.keys, mac._quartz.buttons = set(keys), set(buttons)
    mac.release_leftovers()
    assert (mac._quartz.keys, mac._quartz.buttons) == (set(), set())
    assert len(mac._quartz.posted) == len(keys) + len(buttons)


def test_a_key_that_a_person_holds_stops_the_run_on_a_mac(mac, monkeypatch):
    monkeypatch.setattr(desktop_input, "FINGER_S", 0)
    mac._quartz.keys, mac._quartz.has_fingers = {55}, True
    with pytest.raises(EnvError, match=r"held down .*not by this program: key 55\. Let go"):
        mac.release_leftovers()
