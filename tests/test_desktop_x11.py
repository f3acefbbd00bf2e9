"""The desktop env on a real X server: what arrives, where, and in which program."""

import dataclasses
import itertools
import os
import random
import signal
import subprocess
import time

import numpy as np
import pytest
from desktop_screen import (
    FAST,
    PATIENCE_S,
    Actor,
    EventWindow,
    clipboard,
    needs,
    program,
    set_clipboard,
    wait_for,
    wait_for_focus,
)

from molmo_agent.actions import Click, Drag, Key, LongPress, Move, Scroll, Type, Wait
from molmo_agent.envs.desktop.capture import Area
from molmo_agent.envs.desktop.env import Desktop, Pace
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.errors import ActionRefused, EnvError, RunStopped
from molmo_agent.geometry import Point

pytestmark = needs("Xvfb", "openbox", "xdotool", "xclip")

WIDTH, HEIGHT = 3200, 1080
# One wide screen as two monitors side by side.
LEFT, RIGHT = (0, 0, 1920, 1080), (1920, 0, 1280, 1080)
EVERYTHING = {"pace": FAST}


pytest_plugins = ("actor_fixtures",)


@pytest.fixture(scope="module")
def screen():
    with VirtualDisplay(WIDTH, HEIGHT) as display:
        yield display


def point_at(x_px, y_px):
    return Point.from_pixel(x_px, y_px, WIDTH, HEIGHT)


def move_pointer(x, y):
    subprocess.run(["xdotool", "mousemove", str(x), str(y)], check=True)


# --- Where input arrives ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("region", [LEFT, RIGHT], ids=["left_monitor", "right_monitor"])
@pytest.mark.parametrize("max_side", [None, 700], ids=["as_captured", "scaled_down"])
def test_fifty_random_points_are_clicked_to_the_pixel(actor, window, region, max_side):
    left, top, width, height = region
    rng = random.Random(f"{region} {max_side}")
    points = [Point(rng.random(), rng.random()) for _ in range(48)] + [Point(0.5, 0.0), Point(0.5, 1.0)]
    actor.act({"region": region, "max_side": max_side, "pace": FAST}, *map(Click, points))
    clicked = [(event["x"], event["y"]) for event in window.events("press")]
    expected = [(left + min(int(p.x * width), width - 1), top + min(int(p.y * height), height - 1)) for p in points]
    assert clicked == expected


def test_a_mark_seen_in_the_image_is_the_pixel_that_is_clicked(actor, window):
    image = actor.act(EVERYTHING).image
    assert image.shape == (HEIGHT, WIDTH, 3)
    points = []
    for *_, red, green, blue in window.marks:
        rows, columns = np.nonzero((image == (red, green, blue)).all(axis=2))
        points.append(point_at(int(columns.mean()), int(rows.mean())))
    actor.act(EVERYTHING, *map(Click, points))
    clicked = [[event["x"], event["y"]] for event in window.events("press")]
    assert clicked == [mark[:2] for mark in window.marks]


def test_a_click_in_the_corner_lands_one_pixel_beside_it_and_does_not_stop_the_run(actor, window):
    corners = [Point(0, 0), Point(1, 0), Point(0, 1), Point(1, 1)]
    actor.act(EVERYTHING, *map(Click, corners))
    clicked = [(event["x"], event["y"]) for event in window.events("press")]
    assert clicked == [(1, 0), (WIDTH - 2, 0), (1, HEIGHT - 1), (WIDTH - 2, HEIGHT - 1)]


@needs("xcalc")
def test_a_window_is_found_by_a_part_of_its_title_and_followed(actor, screen):
    with program("xcalc"):
        options = {"window": "calcul", "pace": FAST}
        wait_for(
            lambda: (
                b"Calculator"
                in subprocess.run(
                    ["xdotool", "search", "--name", "Calc", "getwindowname"], capture_output=True, check=False
                ).stdout
            )
        )
        before = actor.act(options).transform.device_region
        move = ["xdotool", "search", "--name", "Calculator", "windowmove", "--sync"]
        subprocess.run([*move, "700", "500"], check=True)
        with pytest.raises(ActionRefused, match="'calcul' moved since the observation: observe it again"):
            actor.do(_step, options, Click(Point(0.5, 0.5)))
        after = actor.act(options).transform.device_region
    gone = ["xdotool", "search", "--name", "Calculator"]
    wait_for(lambda: not subprocess.run(gone, capture_output=True, check=False).stdout, "the end of the window")
    with pytest.raises(EnvError, match="'calcul' is no longer on the screen: bring it back"):
        actor.act(options)
    assert before[2] - before[0] == after[2] - after[0] < 400
    assert before[:2] != after[:2]
    assert abs(after[0] - 700) < 10


@pytest.mark.parametrize("title", ["x" * 45 + " – é漢字", "éü漢字 " * 12 + "end", "y" * 500])
def test_a_title_of_any_length_and_script_is_read_whole(title, screen):
    from molmo_agent.envs.desktop import x11

    display = x11.connect()
    try:
        window = display.screen().root.create_window(0, 0, 40, 40, 0, display.screen().root_depth)
        name, kind = display.intern_atom("_NET_WM_NAME"), display.intern_atom("UTF8_STRING")
        window.change_property(name, kind, 8, title.encode())
        assert x11.window_title(display, window) == title
        window.destroy()
    finally:
        display.close()


def test_a_window_that_is_not_there_is_reported_with_the_titles_that_are():
    from molmo_agent.envs.desktop import x11

    # Without a window manager: the event window bypasses its list.
    with VirtualDisplay(640, 480, window_manager=None), EventWindow():
        display = x11.connect()
        assert x11.find_window(display, "EVENT").area == Area(0, 0, 640, 480)
        with pytest.raises(EnvError, match="'Evnt windw' in its title: did you mean 'Event window'"):
            x11.find_window(display, "Evnt windw")
        display.close()


# --- What arrives -----------------------------------------------------------------------------------------------------


def test_buttons_and_counts_arrive_as_asked(actor, window):
    middle = point_at(640, 360)
    actor.act(
        EVERYTHING, Click(middle, count=2), Click(middle, "right"), Click(middle, "middle"), LongPress(middle, 0.1)
    )
    events = [(event["type"], event["button"]) for event in window.events("press", "release")]
    pairs = [("press", n) for n in (1, 1, 3, 2, 1)]
    assert events == [half for _, n in pairs for half in (("press", n), ("release", n))]


def test_a_key_is_held_during_a_click_and_no_longer(actor, window):
    actor.act(EVERYTHING, Click(point_at(640, 360), held=("ctrl_or_cmd",)))
    events = [(event["type"], event.get("key")) for event in window.events() if event["type"] != "motion"]
    assert events == [("key_press", "Control_L"), ("press", None), ("release", None), ("key_release", "Control_L")]


def test_moving_presses_nothing(actor, window):
    actor.act(EVERYTHING, Move(point_at(77, 88)))
    events = window.events()
    assert {event["type"] for event in events} == {"motion"}
    assert (events[-1]["x"], events[-1]["y"]) == (77, 88)


def test_a_drag_moves_in_small_steps_with_the_button_down(actor, window):
    actor.act(EVERYTHING, Move(point_at(10, 10)))
    window.events()
    actor.act(EVERYTHING, Drag(point_at(300, 400), point_at(900, 550)))
    events = window.events()
    press = next(i for i, event in enumerate(events) if event["type"] == "press")
    release = next(i for i, event in enumerate(events) if event["type"] == "release")
    path = [(event["x"], event["y"]) for event in events[press:release]]
    assert (events[press]["x"], events[press]["y"]) == (300, 400)
    assert (events[release]["x"], events[release]["y"]) == (900, 550)
    assert max(abs(b[0] - a[0]) for a, b in itertools.pairwise(path)) <= Pace().drag_step + 1
    assert path == sorted(path)


@pytest.mark.parametrize(("direction", "button"), [("up", 4), ("down", 5), ("left", 6), ("right", 7)])
def test_scrolling_turns_the_wheel_by_notches_at_the_point(actor, window, direction, button):
    actor.act(EVERYTHING, Scroll(direction, 3, point_at(500, 600)))
    presses = window.events("press")
    assert [(event["button"], event["x"], event["y"]) for event in presses] == [(button, 500, 600)] * 3


def test_a_chord_goes_down_in_order_and_up_in_reverse(actor, window):
    actor.act(EVERYTHING, Key(("Control", "shift", "Page_Down")))
    keys = [(event["type"][4:], event["key"]) for event in window.events("key_press", "key_release")]
    names = ["Control_L", "Shift_L", "Page_Down"]
    assert keys == [("press", name) for name in names] + [("release", name) for name in reversed(names)]


def test_an_unknown_key_is_refused_with_the_nearest_names(actor, window):
    with pytest.raises(ActionRefused, match="no key 'entr'; did you mean 'enter'"):
        actor.act(EVERYTHING, Key(("entr",)))
    assert window.events("key_press") == []


# --- Stopping ---------------------------------------------------------------------------------------------------------


def test_a_pointer_in_the_corner_stops_the_run_before_anything_is_sent(actor, window):
    move_pointer(0, 0)
    with pytest.raises(RunStopped, match=r"in the corner \(0, 0\).*emergency stop"):
        actor.act(EVERYTHING, Click(point_at(50, 50)))
    move_pointer(400, 400)
    assert window.events("press") == []


def test_a_pointer_slammed_into_the_corner_ends_a_wait(actor, screen):
    move_pointer(400, 400)
    waiting = actor.start(_seconds_until_stopped)
    time.sleep(0.4)
    move_pointer(WIDTH - 1, HEIGHT - 1)
    assert waiting.get(timeout=PATIENCE_S) < 30
    move_pointer(400, 400)


def _seconds_until_stopped():
    from desktop_screen import act

    begin = time.monotonic()
    with pytest.raises(RunStopped):
        act(EVERYTHING, Wait(50))
    return time.monotonic() - begin


SLOW_DRAG = Drag(Point(0.2, 0.5), Point(0.4, 0.5))


def test_a_corner_in_the_middle_of_a_drag_releases_the_button(actor, window):
    move_pointer(400, 400)
    dragging = actor.start(_drag_slowly)
    wait_for(lambda: window.events("press"), what="the press")
    move_pointer(0, HEIGHT - 1)
    assert dragging.get(timeout=PATIENCE_S) == "RunStopped"
    assert [event["button"] for event in window.events("release")] == [1]
    move_pointer(400, 400)


def test_an_interrupt_in_the_middle_of_a_drag_releases_the_button(actor, window):
    dragging = actor.start(_drag_slowly)
    wait_for(lambda: window.events("press"), what="the press")
    actor.interrupt()
    assert dragging.get(timeout=PATIENCE_S) == "KeyboardInterrupt"
    (release,) = window.events("release")
    assert release["x"] < 0.4 * WIDTH - 10, "released where it was interrupted, not at the end"


def _drag_slowly():
    from desktop_screen import act

    try:
        act({"pace": Pace(drag_step_s=0.15)}, SLOW_DRAG)
    except BaseException as error:
        return type(error).__name__
    return "finished"


def test_ctrl_c_in_the_middle_of_a_call_to_the_server_neither_hangs_nor_leaves_the_button_down(actor, window):
    assert actor.do(_interrupt_many_drags) == 12
    modifiers = 0
    for event in window.events("press", "release"):
        modifiers += 1 if event["type"] == "press" else -1
    assert modifiers == 0


def _interrupt_many_drags():
    from desktop_screen import act

    # Without pauses nearly all of the time is spent talking to the server.
    options = {"pace": dataclasses.replace(FAST, drag_step=1), "region": (100, 100, 200, 200)}
    act(options)
    # A timer presses Ctrl-C, as it were.
    signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGINT))
    interrupted = 0
    for i in range(12):
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.01 + 0.003 * i)
            act(options, *[Drag(Point(0.1, 0.5), Point(0.9, 0.5))] * 3)
            time.sleep(5)
        except KeyboardInterrupt:
            interrupted += 1
    return interrupted


def test_an_interrupted_chord_leaves_no_key_down(actor, window):
    holding = actor.start(_hold_keys)
    pressed = []
    wait_for(lambda: len(pressed.extend(window.events("key_press")) or pressed) == 2, what="both keys")
    actor.interrupt()
    assert holding.get(timeout=PATIENCE_S) == "KeyboardInterrupt"
    assert [event["key"] for event in window.events("key_release")] == ["a", "Control_L"]


def _hold_keys():
    from desktop_screen import act

    try:
        act({"pace": Pace(press_s=30)}, Key(("ctrl", "a")))
    except BaseException as error:
        return type(error).__name__
    return "finished"


# --- Text -------------------------------------------------------------------------------------------------------------


TEXTS = [
    "The quick brown fox JUMPS over 0123456789 lazy dogs.",
    "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~",
    "Grüße aus Zürich, façade, żółć, Ελληνικά, кириллица",
    "漢字かな交じり文, 한국어, العربية, 🙂 👩‍👩‍👧 🇨🇭",
    "two lines\nand\ta tab “quoted” – dashed…\n",
]


@needs("mousepad", "dbus-run-session")
def test_every_character_reaches_a_real_editor_and_the_clipboard_comes_back(actor, screen, tmp_path):
    file = tmp_path / "typed.txt"
    file.touch()
    set_clipboard("what the user had copied – é".encode())
    with program("dbus-run-session", "mousepad", str(file)):
        wait_for_focus("typed.txt")
        actor.act({}, *map(Type, TEXTS))
        actor.act({}, Key(("ctrl", "s")))
        # mousepad adds the line end that the last text lacks.
        wait_for(lambda: file.read_text().endswith(TEXTS[-1]), "the saved text")
    assert file.read_text() == "".join(TEXTS)
    assert clipboard() == "what the user had copied – é"


@needs("mousepad", "dbus-run-session")
def test_a_copied_image_survives_a_paste(actor, screen, tmp_path):
    file = tmp_path / "other.txt"
    file.touch()
    picture = bytes(range(256)) * 50
    set_clipboard(picture, "image/png")
    with program("dbus-run-session", "mousepad", str(file)):
        wait_for_focus("other.txt")
        actor.act({}, Type("ü"))
        actor.act({}, Key(("ctrl", "s")))
        wait_for(lambda: file.read_text().strip() == "ü", "the saved text")
    command = ["xclip", "-selection", "clipboard", "-o", "-t", "image/png"]
    assert subprocess.run(command, capture_output=True, check=True, timeout=PATIENCE_S).stdout == picture


@pytest.mark.parametrize(("class_name", "chord"), [("xterm", "Shift_L Insert"), ("some-game", "Control_L v")])
def test_text_that_can_be_neither_typed_nor_pasted_is_refused_without_repeating_it(actor, screen, class_name, chord):
    set_clipboard(b"untouched")
    with EventWindow(class_name) as window:
        with pytest.raises(
            ActionRefused, match=r"no keys for, and it could not be pasted: the focused .* after"
        ) as refused:
            actor.act(EVERYTHING, Type("geheim ñö"))
        assert [event["key"] for event in window.events("key_press")] == chord.split()
    assert "geheim" not in str(refused.value)
    assert clipboard() == "untouched"


def test_text_that_the_keyboard_has_is_typed_where_a_program_takes_no_paste(actor, screen):
    set_clipboard(b"untouched")
    with EventWindow("some-game") as window:
        actor.act(EVERYTHING, Type("(x)"))
        keys = [event["key"] for event in window.events("key_press")]
    assert keys == ["Control_L", "v", "Shift_L", "9", "x", "Shift_L", "0"]
    assert clipboard() == "untouched"


@pytest.mark.parametrize("text", ["bell\x07", "escape\x1b[0m", "half an emoji \ud83d"])
def test_control_characters_are_refused_before_anything_is_typed(actor, window, text):
    with pytest.raises(ActionRefused, match="no other control character"):
        actor.act(EVERYTHING, Type(text))
    assert window.events("key_press") == []


# --- A program that nobody here wrote ---------------------------------------------------------------------------------


@needs("xcalc")
def test_clicks_on_a_calculator_compute_what_it_then_shows(actor, screen):
    from molmo_agent.envs.desktop import x11

    with program("xcalc"):
        display = x11.connect()
        try:
            frame = wait_for(lambda: [w for w in x11.windows(display) if w.title == "Calculator"], what="xcalc")[0]
            top = display.create_resource_object("window", frame.id)
            inner = wait_for(lambda: top.query_tree().children)[0]
            root, boxes = display.screen().root, []
            for child in inner.query_tree().children:
                geometry, corner = child.get_geometry(), root.translate_coords(child, 0, 0)
                boxes.append((corner.y, corner.x, geometry.width, geometry.height))
        finally:
            display.close()
        boxes.sort()
        lcd, buttons = boxes[0], [box for box in boxes[1:] if box[2] == 40]
        # The last key of the first row clears; the four last rows are the same on all versions of its face.
        last_rows = (*"S789*", *"R456-", *"M123+", *"E0.±=")
        where = {"AC": buttons[4], **dict(zip(last_rows, buttons[-20:], strict=True))}

        def press(box):
            y, x, width, _ = box
            return Click(point_at(x + width // 2, y + 16))

        actor.act({}, *(press(where[key]) for key in ["AC", "1", "2", "3", "*", "4", "5", "6", "="]))
        # A click on its display offers the number as the selection: the program's own account of its state.
        actor.act({}, press(lcd))
        command = ["xclip", "-selection", "primary", "-o"]
        shown = subprocess.run(command, capture_output=True, timeout=PATIENCE_S, check=True).stdout
    assert float(shown) == 123 * 456


# --- Displays that fail -----------------------------------------------------------------------------------------------


def test_it_keeps_the_promises_of_an_env(actor):
    actor.do(_check_env)


def _check_env():
    from molmo_agent.testing import check_env

    check_env(Desktop())


def test_without_a_display_the_next_step_is_reported(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.delenv("XDG_SESSION_TYPE", raising=False)
    with pytest.raises(EnvError, match=r"DISPLAY is not set.*--virtual-display 1280x800"):
        Desktop()


def test_a_dead_display_is_reported(monkeypatch):
    monkeypatch.setenv("DISPLAY", ":987")
    with pytest.raises(EnvError, match=r"':987' does not answer.*Check DISPLAY"):
        Desktop()


def test_a_display_of_the_same_process_cannot_be_switched(actor, screen):
    with VirtualDisplay(640, 480, window_manager=None) as other, pytest.raises(EnvError, match="cannot switch to"):
        actor.do(_open_on, other.name)


def _open_on(name):
    before, os.environ["DISPLAY"] = os.environ["DISPLAY"], name
    try:
        Desktop()
    finally:
        os.environ["DISPLAY"] = before


def test_a_display_that_goes_during_the_run_is_reported():
    lonely = None
    with VirtualDisplay(640, 480, window_manager=None):
        lonely = Actor()
        lonely.act({})
    try:
        with pytest.raises(EnvError, match="is gone"):
            lonely.act({}, Click(Point(0.5, 0.5)))
        with pytest.raises(EnvError, match="is gone"):
            lonely.do(_step, {}, Click(Point(0.5, 0.5)))
    finally:
        lonely.close()


def _step(options, action):
    """Act on the last observation, without a new look."""
    from desktop_screen import _desktops

    _desktops[repr(options)].step(action)
