"""The windows of a desktop: on a real X server, and with stand-ins for the interfaces of Windows and macOS."""

import contextlib
import ctypes
import sys
import types

import pytest
from desktop_screen import Actor, needs, program, wait_for

from molmo_agent.envs.desktop.native.windows import MacWindows, Rectangle, WindowsWindows, native_windows
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.envs.desktop.windows import KnowsWindows
from molmo_agent.episode import ScreenWindow
from molmo_agent.errors import EnvError
from molmo_agent.interfaces import WindowSystem

WINDOW = (
    "import sys, tkinter; root = tkinter.Tk(); root.title(sys.argv[1]); root.geometry(sys.argv[2]); "
    "entry = tkinter.Entry(root); entry.pack(); entry.focus_force(); root.mainloop()"
)


def window(title, geometry):
    return program(sys.executable, "-c", WINDOW, title, geometry)


@pytest.fixture(params=["openbox", None], ids=["with_a_window_manager", "without"])
def windows(request):
    pytest.importorskip("Xlib", reason="Xlib comes with pyautogui on Linux only")
    pytest.importorskip("tkinter", reason="the windows are drawn with Tk")
    from molmo_agent.envs.desktop import x11
    from molmo_agent.envs.desktop.x11_windows import X11Windows

    with VirtualDisplay(640, 480, window_manager=request.param):
        display = x11.connect()
        yield X11Windows(display)
        with contextlib.suppress(Exception):
            display.close()


def at(windows, x, y):
    return [windows.name(each.id) for each in windows.stacked() if each.contains(x, y) and not each.popup]


needs_x = needs("Xvfb", "openbox")


@needs_x
def test_windows_are_listed_from_top_to_bottom_and_can_be_brought_back(windows):
    with window("Below", "300x200+50+50"):
        wait_for(lambda: at(windows, 150, 150) == ["Below"], what="the first window")
        with window("Above", "300x200+120+120"):
            wait_for(lambda: at(windows, 150, 150) == ["Above", "Below"], what="the second window")
            assert at(windows, 60, 100) == ["Below"]
            assert at(windows, 639, 479) == []
            (below,) = (each.id for each in windows.stacked() if windows.name(each.id) == "Below")
            assert windows.activate(below)
            wait_for(lambda: at(windows, 150, 150) == ["Below", "Above"], what="the first window on top")
            wait_for(lambda: windows.activate(below) and windows.focused() == below, what="the focus")
        wait_for(lambda: at(windows, 150, 150) == ["Below"], what="the end of the second window")
    wait_for(lambda: at(windows, 150, 150) == [], what="the end of the first window")
    assert not windows.activate(below)
    assert windows.name(below) == f"a window without a title ({below:#x})"


@needs_x
def test_the_window_with_the_keyboard_is_the_one_that_lists_it(windows):
    with window("First", "300x200+50+50"), window("Second", "300x200+300+200"):
        wait_for(lambda: {"First", "Second"} <= {windows.name(each.id) for each in windows.stacked()}, what="both")
        for title in ("First", "Second", "First"):
            (wanted,) = (each.id for each in windows.stacked() if windows.name(each.id) == title)
            # Again where a program takes the focus for itself while it starts.
            wait_for(
                lambda wanted=wanted: windows.activate(wanted) and windows.focused() == wanted,
                what=f"the focus of {title}",
            )


@needs_x
def test_a_window_without_the_manager_is_a_popup(windows):
    popup = "import tkinter; r = tkinter.Tk(); r.overrideredirect(1); r.geometry('90x90+5+5'); r.mainloop()"
    with program(sys.executable, "-c", popup):
        wait_for(lambda: [each for each in windows.stacked() if each.contains(50, 50)], what="the popup")
        assert all(each.popup for each in windows.stacked() if each.contains(50, 50))


@needs_x
def test_a_display_that_is_gone_is_an_env_error():
    pytest.importorskip("Xlib", reason="Xlib comes with pyautogui on Linux only")
    from molmo_agent.envs.desktop import x11
    from molmo_agent.envs.desktop.x11_windows import X11Windows

    with VirtualDisplay(64, 64, window_manager=None):
        display = x11.connect()
        windows = X11Windows(display)
    for ask in (windows.stacked, windows.focused, lambda: windows.name(1), lambda: windows.activate(1)):
        with pytest.raises(EnvError, match=r"the display is gone.*Start again"):
            ask()
    display.display.socket.close()


def observed_window():
    from molmo_agent.envs.desktop.env import Desktop

    with Desktop() as desktop:
        assert isinstance(desktop, WindowSystem)
        window = desktop.observe().info["window"]
        return desktop.window_name(window), [desktop.window_name(each.id) for each in desktop.stacked_windows()]


@needs_x
def test_the_desktop_names_the_window_with_the_keyboard_in_each_observation():
    pytest.importorskip("tkinter", reason="the windows are drawn with Tk")
    with VirtualDisplay(640, 480), window("Editor", "300x200+50+50"):
        actor = Actor()
        try:
            wait_for(lambda: actor.do(observed_window)[0] == "Editor", what="the focus")
        finally:
            actor.close()


def test_a_desktop_whose_windows_are_not_known_says_so():
    unknown = KnowsWindows()
    assert unknown.stacked_windows() == ()
    assert unknown.window_name(16) == "0x10"
    assert not unknown.activate_window(16)
    assert unknown._window_info() == {}
    assert native_windows("linux") is None


class FakeUser32:
    """Windows of (handle, title, box, style, visible, minimized), topmost first."""

    def _entry(self, handle):
        return next(entry for entry in self.entries if entry[0] == getattr(handle, "value", handle))

    def IsWindowVisible(self, handle):
        return self._entry(handle)[4]

    def IsIconic(self, handle):
        return self._entry(handle)[5]

    def GetWindowLongW(self, handle, index):
        assert index == -16
        return ctypes.c_int32(self._entry(handle)[3]).value

    def GetWindowRect(self, handle, reference):
        rectangle = reference._obj
        assert isinstance(rectangle, Rectangle)
        rectangle.left, rectangle.top, rectangle.right, rectangle.bottom = self._entry(handle)[2]
        return 1

    def GetWindowTextW(self, handle, buffer, size):
        buffer.value = self._entry(handle)[1]

    def SetForegroundWindow(self, handle):
        self.front = handle.value
        return 1


class Call:
    """A function of the library, which takes a ``restype``."""

    def __init__(self, function):
        self._function = function

    def __call__(self, *arguments):
        return self._function(*arguments)


def user32(*entries):
    library = FakeUser32.__new__(FakeUser32)
    library.entries, library.front = entries, entries[0][0] if entries else None
    handles = [entry[0] for entry in entries]
    after = dict(zip(handles, [*handles[1:], None], strict=False))
    library.GetTopWindow = Call(lambda _: handles[0] if handles else None)
    library.GetWindow = Call(lambda handle, way: after[handle.value])
    library.GetForegroundWindow = Call(lambda: library.front)
    return library


OVERLAPPED, POPUP = 0x00CF0000, 0x80000000
BOX = (-8, 0, 500, 400)


def test_windows_lists_visible_windows_with_menus_as_popups():
    windows = WindowsWindows(
        user32(
            (2**40, "", (10, 20, 90, 99), POPUP, 1, 0),
            (8, "Editor", BOX, OVERLAPPED, 1, 0),
            (9, "Hidden", BOX, OVERLAPPED, 0, 0),
            (10, "Minimized", BOX, OVERLAPPED, 1, 1),
            (11, "Desktop", (0, 0, 1920, 1080), 0, 1, 0),
        )
    )
    assert windows.stacked() == (
        ScreenWindow(2**40, 10, 20, 90, 99, popup=True),
        ScreenWindow(8, *BOX),
        ScreenWindow(11, 0, 0, 1920, 1080),
    )
    assert windows.focused() == 2**40
    assert windows.activate(8)
    assert windows.focused() == 8
    assert windows.name(8) == "Editor"
    assert windows.name(2**40) == "a window without a title (0x10000000000)"
    assert WindowsWindows(user32()).stacked() == ()
    assert WindowsWindows(user32()).focused() is None


def entry(number, title, program, layer=0, box=(10, 20, 300, 200)):
    left, top, width, height = box
    return {
        "kCGWindowNumber": number,
        "kCGWindowName": title,
        "kCGWindowOwnerName": f"program {program}",
        "kCGWindowOwnerPID": program,
        "kCGWindowLayer": layer,
        "kCGWindowBounds": {"X": float(left), "Y": float(top), "Width": float(width), "Height": float(height)},
    }


def mac(front, *entries):
    programs = {each["kCGWindowOwnerPID"]: types.SimpleNamespace(activated=[]) for each in entries}
    for number, each in programs.items():
        each.processIdentifier = lambda number=number: number
        each.activateWithOptions_ = lambda options, each=each: each.activated.append(options) is None
    quartz = types.SimpleNamespace(
        kCGWindowListOptionOnScreenOnly=1,
        kCGNullWindowID=0,
        CGWindowListCopyWindowInfo=lambda option, relative: entries if (option, relative) == (1, 0) else None,
    )
    workspace = types.SimpleNamespace(frontmostApplication=lambda: programs.get(front))
    appkit = types.SimpleNamespace(
        NSApplicationActivateIgnoringOtherApps=2,
        NSWorkspace=types.SimpleNamespace(sharedWorkspace=lambda: workspace),
        NSRunningApplication=types.SimpleNamespace(runningApplicationWithProcessIdentifier_=programs.get),
    )
    return MacWindows(quartz, appkit), programs


def test_macos_lists_windows_of_programs_and_what_lies_above_them():
    menu, editor, mail = entry(1, None, 30, layer=101), entry(2, "Editor", 30), entry(3, "Inbox", 40, box=(0, 0, 9, 9))
    windows, programs = mac(40, menu, editor, mail)
    assert windows.stacked() == (
        ScreenWindow(1, 10, 20, 310, 220, popup=True),
        ScreenWindow(2, 10, 20, 310, 220),
        ScreenWindow(3, 0, 0, 9, 9),
    )
    assert windows.focused() == 3
    assert mac(30, menu, editor)[0].focused() == 2, "not the menu"
    assert mac(99, menu, editor)[0].focused() is None
    assert windows.activate(2)
    assert (programs[30].activated, programs[40].activated) == ([2], [])
    assert not windows.activate(77)
    assert [windows.name(number) for number in (1, 2, 77)] == [
        "program 30",
        "Editor",
        "a window without a title (0x4d)",
    ]
