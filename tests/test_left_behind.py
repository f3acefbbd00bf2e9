"""What a run that was killed leaves on a real screen, and that the next run starts with nothing down."""

import signal
import subprocess

import pytest
from desktop_screen import EventWindow, needs
from kills import CLEAN_ENDS, EVERYTHING, NOTE, check_kills, down, kill_run, typed, xdotool
from x11_keyboards import call_xkb, layout, set_caps_lock, state

from molmo_agent.actions import Click, Drag, Key, Scroll, Type, Wait
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.errors import ActionRefused, EnvError
from molmo_agent.geometry import Point

pytest.importorskip("Xlib", reason="Xlib comes with pyautogui on Linux only")

from molmo_agent.envs.desktop import input as desktop_input
from molmo_agent.envs.desktop import x11_input
from molmo_agent.envs.desktop.x11_keys.xkb import LOCK

pytestmark = needs("Xvfb", "openbox", "xdotool", "xclip", "setxkbmap")

MIDDLE = Point(0.5, 0.5)


pytest_plugins = ("actor_fixtures",)


@pytest.fixture(scope="module")
def screen():
    with VirtualDisplay(640, 480) as display:
        yield display


# --- The start of a run -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "left",
    [
        ["keydown", "ctrl"],
        ["keydown", "shift", "keydown", "alt"],
        ["keydown", "super"],
        ["keydown", "a"],
        ["mousedown", "1"],
        ["mousedown", "3", "keydown", "ctrl"],
        ["keydown", "ISO_Level3_Shift"],
    ],
    ids=" ".join,
)
def test_keys_and_buttons_that_are_down_are_released_before_the_first_input(actor, window, left):
    xdotool("mousemove", "300", "200", *left)
    window.events()
    actor.act(EVERYTHING, Type(NOTE))
    assert typed(window) == (NOTE, False)
    assert down() == ([], 0)


@pytest.mark.parametrize("button", [1, 2, 3, 8, 9])
def test_every_button_that_is_down_is_released_and_no_other(actor, window, button):
    xdotool("mousemove", "300", "200", "mousedown", str(button))
    actor.act(EVERYTHING, Key(("enter",)))
    assert [event["button"] for event in window.events("release")] == [button]


def test_a_wait_and_an_answer_send_nothing(actor, window):
    xdotool("keydown", "ctrl")
    actor.act(EVERYTHING, Wait(0.01))
    assert down()[0] != []
    actor.act(EVERYTHING, Key(("enter",)))
    assert down() == ([], 0)


def test_a_latched_modifier_does_not_reach_the_first_key(actor, window):
    call_xkb("XkbLatchModifiers", 4, 4)
    actor.act(EVERYTHING, Type("ab"))
    assert typed(window) == ("ab", False)


def test_caps_lock_and_num_lock_stay(actor, window):
    set_caps_lock(True)
    try:
        call_xkb("XkbLockModifiers", 16, 16)
        xdotool("keydown", "ctrl")
        actor.act(EVERYTHING, Type("ab"))
        assert state().locked == LOCK | 16
    finally:
        call_xkb("XkbLockModifiers", 16, 0)
        set_caps_lock(False)


@pytest.mark.parametrize(("mask", "name"), [(1, "Shift"), (4, "Ctrl"), (8, "Alt"), (64, "Super")])
def test_a_locked_modifier_is_the_persons_and_stops_the_run(actor, window, mask, name):
    call_xkb("XkbLockModifiers", mask, mask)
    try:
        with pytest.raises(EnvError, match=rf"locked on the keyboard \(sticky keys\): {name}\. .*until it is off"):
            actor.act(EVERYTHING, Type("ab"))
        assert window.events("key_press") == []
    finally:
        call_xkb("XkbLockModifiers", mask, 0)


@pytest.mark.parametrize(
    ("held", "names"), [([37], "Control_L"), ([0], "a mouse button"), ([50, 38], "Shift_L, a")], ids=str
)
def test_what_a_person_holds_stops_the_run(actor, window, held, names):
    with pytest.raises(EnvError, match=f"held down .* not by this program: {names}. Let go and start again"):
        actor.do(_type_while_held, [held] * 1000)
    assert window.events("key_press", "press") == []


def test_a_finger_that_still_is_on_a_key_is_waited_for(actor, window):
    actor.do(_type_while_held, [[36]] * 3)
    assert typed(window) == ("ab", False)


def _type_while_held(answers):
    """Type while a person holds keys: a stand-in, because a test has no fingers."""
    from unittest import mock

    from desktop_screen import act

    def held(_):
        return answers.pop() if answers else []

    with (
        mock.patch.object(desktop_input, "FINGER_S", 0.5),
        mock.patch.object(x11_input.X11Input, "_held_by_anyone", held),
    ):
        act(EVERYTHING, Type("ab"))


# --- Buttons that are swapped -----------------------------------------------------------------------------------------


@pytest.fixture(
    params=["xmodmap", "xinput", "both", "natural_scrolling"],
)
def swapped(request, screen):
    if request.param in ("xinput", "both") and subprocess.run(["which", "xinput"], check=False).returncode:
        pytest.skip("not installed: xinput")
    wheel = "1 2 3 5 4" if request.param == "natural_scrolling" else "3 2 1"
    pointer = ["xmodmap", "-e", f"pointer = {wheel}"]
    device = ["xinput", "set-button-map", "Virtual core XTEST pointer", "3", "2", "1"]
    for command in {"xinput": [device], "both": [pointer, device]}.get(request.param, [pointer]):
        subprocess.run(command, check=True, capture_output=True)
    yield
    subprocess.run(["xmodmap", "-e", "pointer = 1 2 3 4 5"], check=True, capture_output=True)
    if request.param in ("xinput", "both"):
        subprocess.run([*device[:-3], "1", "2", "3"], check=True)


@needs("xmodmap")
def test_the_left_button_is_left_however_the_buttons_are_mapped(actor, window, swapped):
    actions = [
        Click(MIDDLE, "left"),
        Click(MIDDLE, "middle"),
        Click(MIDDLE, "right"),
        Scroll("up", 1),
        Scroll("down", 2),
    ]
    actor.act(EVERYTHING, *actions, Drag(MIDDLE, Point(0.6, 0.6)))
    assert [event["button"] for event in window.events("press")] == [1, 2, 3, 4, 5, 5, 1]
    assert down() == ([], 0)


@needs("xmodmap")
def test_a_button_that_is_disabled_is_refused(actor, window):
    subprocess.run(["xmodmap", "-e", "pointer = 1 0 3"], check=True, capture_output=True)
    try:
        with pytest.raises(ActionRefused, match="no button of the mouse is mapped to 'middle': check `xmodmap -pp`"):
            actor.act(EVERYTHING, Click(MIDDLE, "middle"))
    finally:
        subprocess.run(["xmodmap", "-e", "pointer = 1 2 3"], check=True, capture_output=True)
    assert window.events("press") == []


# --- Runs that are killed ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", CLEAN_ENDS, ids=lambda how: how.name)
@pytest.mark.parametrize("what", ["drag", "held", "type"])
def test_a_run_that_is_told_to_end_releases_everything_itself(window, what, how):
    kill_run(what, how, 0.25)
    assert down() == ([], 0)


def test_a_run_that_is_killed_leaves_something_down(window):
    # Otherwise the tests below would test nothing.
    kill_run("press", signal.SIGKILL, when=lambda: down() != ([], 0))
    assert down() != ([], 0)
    xdotool("mouseup", "1")


@pytest.mark.slow
@pytest.mark.parametrize("what", ["drag", "held", "type", "chord", "press"])
def test_after_a_kill_at_any_moment_the_next_run_starts_with_nothing_down(actor, what):
    """Three kills of each kind of run; `make abuse` has twenty."""
    check_kills(actor, what, 3)


def test_the_clipboard_of_a_killed_paste_is_not_pasted_by_the_next_run(screen, actor):
    with layout("us"), EventWindow() as window:
        kill_run("type", signal.SIGKILL, 0.1)
        window.events()
        actor.act(EVERYTHING, Type("ab"))
        assert typed(window) == ("ab", False)
