"""A locked or blanked screen gets no input: real lockers on a real X server, services and sessions by stand-ins."""

import contextlib
import os
import subprocess
import sys
import textwrap

import pytest
from desktop_fakes import FakeInput
from desktop_screen import FAST, needs, program, wait_for

pytest.importorskip("Xlib", reason="Xlib comes with pyautogui on Linux only")

import Xlib.X
import Xlib.Xatom
from x_servers import connection, needs_dummy, server, xorg

from molmo_agent.actions import Click, Done, Drag, Key, Move, Scroll, Type, Wait
from molmo_agent.envs.desktop import screen_lock
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.envs.desktop.screen_lock import VIRTUAL_DISPLAY, check_unlocked
from molmo_agent.envs.desktop.x11_lock import x11_lock
from molmo_agent.errors import EnvError
from molmo_agent.geometry import Point

pytestmark = needs("Xvfb")
SCREEN = "320x240x24"
MIDDLE = Point(0.5, 0.5)


@pytest.fixture(autouse=True)
def no_session(monkeypatch, tmp_path):
    """Without the session that these tests run in, whatever it is."""
    for name in ("XDG_SESSION_ID", "DBUS_SESSION_BUS_ADDRESS", VIRTUAL_DISPLAY):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(screen_lock, "_default_bus", lambda: "")
    screen_lock._sessions_on.cache_clear()


@pytest.fixture
def display():
    with server("Xvfb", "-screen", "0", SCREEN), connection() as display:
        yield display


def show(display, x, y, width, height, *, override=True, managed=False, window_class=Xlib.X.InputOutput, name=""):
    depth = display.screen().root_depth if window_class == Xlib.X.InputOutput else 0
    window = display.screen().root.create_window(
        x, y, width, height, 0, depth, window_class, override_redirect=override
    )  # fmt: skip
    window.set_wm_name(name)
    if managed:
        state = display.intern_atom("WM_STATE")
        window.change_property(state, state, 32, [1, 0])
    window.map()
    display.sync()
    return window


def grab_keyboard(window):
    """Take the keyboard, as a locker or a menu does."""
    status = window.grab_keyboard(False, Xlib.X.GrabModeAsync, Xlib.X.GrabModeAsync, Xlib.X.CurrentTime)
    assert status == Xlib.X.GrabSuccess


@contextlib.contextmanager
def asking():
    """A second connection: the one that holds the keyboard may take it again."""
    with connection() as other:
        yield other


# --- Lockers on X11 ---------------------------------------------------------------------------------------------------


@needs("i3lock")
def test_i3lock_is_recognized_until_it_ends(display):
    assert x11_lock(display) == ""
    with program("i3lock", "-n"):
        wait_for(lambda: x11_lock(display), what="the lock")
        assert x11_lock(display) == "i3lock (it covers the screen and holds the keyboard)"
        with pytest.raises(EnvError, match=r"screen is locked by i3lock .*: nothing can be seen or clicked. Unlock it"):
            check_unlocked(display)
    wait_for(lambda: not x11_lock(display), what="the end of the lock")


@needs("xsecurelock")
def test_xsecurelock_is_recognized(display):
    with program("xsecurelock"):
        wait_for(lambda: x11_lock(display), what="the lock")


@pytest.mark.parametrize("kind", [Xlib.X.InputOutput, Xlib.X.InputOnly], ids=["opaque", "transparent"])
def test_any_program_that_covers_the_screen_and_holds_the_keyboard_is_a_lock(display, kind):
    window = show(display, 0, 0, 320, 240, window_class=kind, name="my locker")
    with asking() as other:
        assert x11_lock(other) == "", "it holds nothing yet"
        grab_keyboard(window)
        assert x11_lock(other).startswith("my locker")


@needs_dummy
def test_a_window_for_each_monitor_locks_too(tmp_path):
    with xorg(tmp_path), connection() as display, asking() as other:
        first = show(display, 0, 0, 800, 600, name="left half")
        grab_keyboard(first)
        assert x11_lock(other) == "", "the other monitor is free"
        show(display, 800, 0, 640, 480, name="right half")
        assert x11_lock(other)


def test_a_menu_over_a_program_in_full_screen_is_no_lock(display):
    show(display, 0, 0, 320, 240, override=False, managed=True, name="film")
    menu = show(display, 100, 100, 80, 60, name="menu")
    grab_keyboard(menu)
    with asking() as other:
        assert x11_lock(other) == ""


def test_a_frame_around_a_program_in_full_screen_is_no_lock(display):
    frame = show(display, 0, 0, 320, 240)
    inside = frame.create_window(0, 0, 320, 240, 0, display.screen().root_depth)
    state = display.intern_atom("WM_STATE")
    inside.change_property(state, state, 32, [1, 0])
    menu = show(display, 100, 100, 80, 60, name="menu")
    grab_keyboard(menu)
    with asking() as other:
        assert x11_lock(other) == ""


def test_a_menu_over_a_wallpaper_under_a_program_is_no_lock(display):
    show(display, 0, 0, 320, 240, name="wallpaper")
    show(display, 10, 10, 100, 100, override=False, managed=True, name="editor")
    menu = show(display, 20, 20, 40, 40, name="menu")
    grab_keyboard(menu)
    with asking() as other:
        assert x11_lock(other) == ""


@pytest.mark.parametrize("state", ["BLANK", "LOCK"])
def test_what_xscreensaver_reports_counts(display, state):
    root, name = display.screen().root, display.intern_atom("_SCREENSAVER_STATUS")
    for value, expected in ((0, ""), (display.intern_atom(state), f"xscreensaver ({state})"), (0x7FFFFFFF, "")):
        root.change_property(name, Xlib.Xatom.INTEGER, 32, [value, 1, 0])
        display.sync()
        assert x11_lock(display) == expected


def test_asking_does_not_take_the_keyboard_from_anybody(display):
    window = show(display, 0, 0, 100, 100)
    window.change_attributes(event_mask=Xlib.X.FocusChangeMask)
    window.set_input_focus(Xlib.X.RevertToParent, Xlib.X.CurrentTime)
    display.sync()
    while display.pending_events():
        display.next_event()
    with asking() as other:
        for _ in range(5):
            assert x11_lock(other) == ""
        other.sync()
    display.sync()
    assert not display.pending_events()


# --- Before input -----------------------------------------------------------------------------------------------------


INPUTS = [
    Click(MIDDLE),
    Move(MIDDLE),
    Drag(MIDDLE, Point(0.6, 0.6)),
    Scroll("down", 1),
    Type("secret"),
    Key(("enter",)),
]


@pytest.mark.parametrize("action", INPUTS, ids=lambda action: type(action).__name__)
def test_a_lock_that_begins_during_a_run_stops_every_input(display, action):
    # The pointer of a stand-in, so that it is known that nothing was sent; the screen is the real one.
    with Desktop(input=FakeInput(), pace=FAST) as env:
        env._input.at = (100, 100)
        env.reset()
        env.step(Move(MIDDLE))
        sent = list(env._input.sent)
        window = show(display, 0, 0, 320, 240, name="locker")
        grab_keyboard(window)
        with pytest.raises(EnvError, match=r"locked by locker .*Unlock it and start again"):
            env.step(action)
        assert env._input.sent == sent
        for harmless in (Wait(0), Done()):
            env.step(harmless)
        with pytest.raises(EnvError, match="locked by locker"):
            env.reset()


# --- Sessions and services --------------------------------------------------------------------------------------------


def stand_in(tmp_path, monkeypatch, name, code):
    path = tmp_path / name
    path.write_text(f"#!{sys.executable}\nimport sys\nargs = sys.argv[1:]\n{textwrap.dedent(code)}")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")


SESSIONS = """
sessions = {
    "2": {"Display": "", "LockedHint": "no"},
    "5": {"Display": ":0", "LockedHint": "yes"},
    "7": {"Display": ":1", "LockedHint": "no"},
}
if args[0] == "list-sessions":
    print("".join(f"{name} 1000 ada seat0\\n" for name in sessions))
else:
    print(sessions[args[1]][args[2].partition("=")[2]])
"""


@pytest.mark.parametrize(
    ("own", "display", "locked"),
    [
        ("5", ":0", True),
        ("7", ":1", False),
        # Over ssh: the session that shows the display counts.
        ("2", ":0", True),
        ("2", ":1.0", False),
        ("", ":0.0", True),
        # In the locked session, but on a display of its own.
        ("5", ":99", False),
        ("5", ":1", False),
    ],
)
def test_the_session_that_shows_the_display_counts(monkeypatch, tmp_path, own, display, locked):
    stand_in(tmp_path, monkeypatch, "loginctl", SESSIONS)
    monkeypatch.setenv("XDG_SESSION_ID", own)
    monkeypatch.setenv("DISPLAY", display)
    assert screen_lock.screen_lock(platform="linux") == ("the login session" if locked else "")


SERVICES = """
import os
running = dict(item.split("=") for item in os.environ["SERVICES"].split())
if args[-1].endswith("ListNames"):
    print("   array [\\n" + "\\n".join(f"      {name}" for name in running) + "\\n   ]")
else:
    name = next(arg for arg in args if arg.startswith("--dest=")).partition("=")[2]
    assert args[-1] == name + ".GetActive"
    print("   boolean " + running[name])
"""


@pytest.mark.parametrize(
    ("services", "locker"),
    [
        ("org.gnome.ScreenSaver=true", "org.gnome.ScreenSaver"),
        ("org.freedesktop.ScreenSaver=false org.cinnamon.ScreenSaver=true", "org.cinnamon.ScreenSaver"),
        ("org.xfce.ScreenSaver=true org.example=true", "org.xfce.ScreenSaver"),
        ("org.freedesktop.ScreenSaver=false", ""),
        ("org.example.ScreenSaver=true", ""),
    ],
)
def test_a_service_that_runs_and_is_active_is_a_lock(monkeypatch, tmp_path, services, locker):
    stand_in(tmp_path, monkeypatch, "dbus-send", SERVICES)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    monkeypatch.setenv("SERVICES", services)
    monkeypatch.setenv("DISPLAY", ":0")
    assert screen_lock.screen_lock(platform="linux") == locker


def test_the_lock_of_the_session_does_not_cover_a_virtual_display(monkeypatch, tmp_path):
    stand_in(tmp_path, monkeypatch, "dbus-send", SERVICES)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    monkeypatch.setenv("SERVICES", "org.gnome.ScreenSaver=true")
    from molmo_agent.envs.desktop.virtual_display import VirtualDisplay

    with VirtualDisplay(320, 240, window_manager=None):
        assert screen_lock.screen_lock(platform="linux") == ""
    monkeypatch.setenv("DISPLAY", ":0")
    assert screen_lock.screen_lock(platform="linux") == "org.gnome.ScreenSaver"


def test_a_service_that_does_not_answer_is_no_lock(monkeypatch, tmp_path):
    stand_in(tmp_path, monkeypatch, "dbus-send", "import time; time.sleep(60)")
    monkeypatch.setattr(screen_lock, "_ANSWER_S", 0.2)
    monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere")
    monkeypatch.setenv("DISPLAY", ":0")
    assert screen_lock.screen_lock(platform="linux") == ""


@needs("dbus-daemon", "dbus-send")
@pytest.mark.skipif(not os.path.exists("/usr/lib/python3/dist-packages/gi"), reason="needs python3-gi for a service")
@pytest.mark.parametrize("active", ["true", "false"])
def test_a_real_service_on_a_real_bus_is_asked(monkeypatch, active):
    service = f"""
        from gi.repository import Gio, GLib
        xml = "<node><interface name='org.mate.ScreenSaver'><method name='GetActive'><arg type='b' direction='out'/>" \\
            "</method></interface></node>"
        answer = lambda c, s, path, interface, method, args, call: call.return_value(
            GLib.Variant("(b)", ({active!r} == "true",)))
        def ready(connection, name):
            node = Gio.DBusNodeInfo.new_for_xml(xml)
            connection.register_object("/org/mate/ScreenSaver", node.interfaces[0], answer, None, None)
        Gio.bus_own_name(Gio.BusType.SESSION, "org.mate.ScreenSaver", 0, ready, None, None)
        GLib.MainLoop().run()
    """
    command = ["dbus-daemon", "--session", "--nofork", "--print-address=1"]
    bus = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        address = bus.stdout.readline().strip()
        monkeypatch.setenv("DBUS_SESSION_BUS_ADDRESS", address)
        monkeypatch.setenv("DISPLAY", ":0")
        assert screen_lock.screen_lock(platform="linux") == ""
        with program("/usr/bin/python3", "-c", textwrap.dedent(service)):
            ask = [
                "dbus-send",
                f"--bus={address}",
                "--print-reply",
                "--dest=org.freedesktop.DBus",
                "/org/freedesktop/DBus",
            ]
            ask += ["org.freedesktop.DBus.ListNames"]
            names = lambda: subprocess.run(ask, capture_output=True, text=True, check=False).stdout  # noqa: E731
            wait_for(lambda: "org.mate.ScreenSaver" in names(), what="the service")
            assert screen_lock.screen_lock(platform="linux") == ("org.mate.ScreenSaver" if active == "true" else "")
    finally:
        bus.terminate()
        bus.wait()
        bus.stdout.close()
