"""Screens of Windows and macOS without either: what is asked of the system, and what its answers mean."""

import ctypes
import importlib.util
import sys
import types
from typing import ClassVar

import mss.darwin
import mss.exception
import numpy as np
import pytest
from desktop_fakes import FakeInput
from desktop_screen import FAST

from molmo_agent.actions import Click, Move
from molmo_agent.envs.desktop.capture import Area, Monitor
from molmo_agent.envs.desktop.env import Desktop
from molmo_agent.envs.desktop.native import capture as native_capture
from molmo_agent.envs.desktop.native.capture import (
    MssCapture,
    NativeWatcher,
    declare_dpi_awareness,
    mac_monitors,
    native_monitors,
)
from molmo_agent.errors import EnvError
from molmo_agent.geometry import Point

# --- Windows: DPI awareness -------------------------------------------------------------------------------------------

UNAWARE, SYSTEM, PER_MONITOR = 0, 1, 2
V2 = ctypes.c_void_p(-4).value


class Function:
    """A function of a Windows library: its types can be set, and are needed for handles."""

    argtypes = restype = None

    def __init__(self, call):
        self._call = call

    def __call__(self, *args):
        return self._call(*args)


class FakeWindows:
    """user32 and shcore of one process and one thread.

    Args:
        process: what was declared for the process before; None: nothing yet.
        functions: those that this version of Windows has.
        thread_may: whether a thread may declare something else.
    """

    NEW = frozenset({"process", "thread"})

    def __init__(self, process=None, functions=NEW, thread_may=True):
        self.process, self.thread, self.thread_may = process, None, thread_may
        self.calls = []
        self.user32, self.shcore = types.SimpleNamespace(), types.SimpleNamespace()
        if "process" in functions:
            self.user32.SetProcessDpiAwarenessContext = Function(self._set_process)
        if "thread" in functions:
            self.user32.SetThreadDpiAwarenessContext = Function(self._set_thread)
            self.user32.GetThreadDpiAwarenessContext = Function(lambda: 1000 + self.current)
            self.user32.GetAwarenessFromDpiAwarenessContext = Function(lambda context: context.value - 1000)
        self.shcore.SetProcessDpiAwareness = Function(self._set_by_shcore)
        self.shcore.GetProcessDpiAwareness = Function(self._get_by_shcore)

    @property
    def current(self):
        return next((value for value in (self.thread, self.process) if value is not None), UNAWARE)

    def _set_process(self, context):
        self.calls.append("process")
        assert context.value == V2
        if self.process is not None:
            return None
        self.process = PER_MONITOR
        return 1

    def _set_thread(self, context):
        self.calls.append("thread")
        assert context.value == V2
        if not self.thread_may:
            return None
        self.thread = PER_MONITOR
        return 1000 + UNAWARE

    def _set_by_shcore(self, awareness):
        self.calls.append("shcore")
        if self.process is None:
            self.process = awareness
            return 0
        return -2147024891

    def _get_by_shcore(self, process, answer):
        assert process is None
        answer._obj.value = self.current
        return 0


@pytest.mark.parametrize(
    ("windows", "calls"),
    [
        (FakeWindows(), ["process"]),
        # A program that declared something before us, as a window toolkit does.
        (FakeWindows(process=SYSTEM), ["process", "thread"]),
        (FakeWindows(process=UNAWARE), ["process", "thread"]),
        (FakeWindows(process=PER_MONITOR), ["process", "thread"]),
        # Windows 10 1607, and 8.1.
        (FakeWindows(functions={"thread"}), ["thread"]),
        (FakeWindows(functions=frozenset()), ["shcore"]),
        (FakeWindows(process=PER_MONITOR, functions=frozenset()), ["shcore"]),
    ],
)
def test_each_monitors_own_pixels_are_declared_by_the_best_way_there_is(windows, calls):
    declare_dpi_awareness(windows.user32, windows.shcore)
    assert windows.calls == calls
    assert windows.current == PER_MONITOR


@pytest.mark.parametrize(
    "windows",
    [
        FakeWindows(process=SYSTEM, functions=frozenset()),
        FakeWindows(process=UNAWARE, functions=frozenset()),
        FakeWindows(process=SYSTEM, thread_may=False),
    ],
)
def test_a_process_that_is_bound_to_another_scale_is_refused(windows):
    with pytest.raises(EnvError, match=r"points on monitors with another scale would be wrong.*a process of its own"):
        declare_dpi_awareness(windows.user32, windows.shcore)


def test_declaring_twice_is_harmless():
    windows = FakeWindows()
    for _ in range(3):
        declare_dpi_awareness(windows.user32, windows.shcore)
    assert windows.current == PER_MONITOR


# --- Windows: monitors and captures -----------------------------------------------------------------------------------

# A notebook at 150 %, a large monitor at 100 % left of and above it: physical pixels, divided by ten.
MIXED = [(0, 0, 288, 180), (-384, -30, 384, 216)]


class FakeMss:
    """mss: lists the monitors once per object; captures hold the low bytes of their absolute positions."""

    order: ClassVar[list] = []
    layout: ClassVar[list] = []
    error: ClassVar = None

    def __init__(self):
        FakeMss.order.append("mss")
        if FakeMss.error:
            raise FakeMss.error
        self.closed = False
        entries = [dict(zip(("left", "top", "width", "height"), area, strict=True)) for area in FakeMss.layout]
        self.monitors = [{}, *({**entry, "is_primary": index == 0} for index, entry in enumerate(entries))]

    def grab(self, where):
        assert not self.closed
        if FakeMss.error:
            raise FakeMss.error
        width, height = where["width"], where["height"]
        image = np.zeros((height, width, 4), np.uint8)
        image[..., 2] = (np.arange(width) + where["left"]) % 256
        image[..., 1] = ((np.arange(height) + where["top"]) % 256)[:, None]
        return types.SimpleNamespace(raw=image.tobytes(), width=width, height=height)

    def close(self):
        self.closed = True

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr(FakeMss, "order", [])
    monkeypatch.setattr(FakeMss, "layout", MIXED)
    monkeypatch.setattr(FakeMss, "error", None)
    monkeypatch.setattr(native_capture.mss, "MSS", FakeMss)
    monkeypatch.setattr(native_capture, "declare_dpi_awareness", lambda: FakeMss.order.append("declared"))
    return FakeMss


def test_the_pixels_are_declared_before_anything_else(windows):
    MssCapture().close()
    assert windows.order[0] == "declared"
    windows.order.clear()
    NativeWatcher(lambda: (0, 0)).monitors()
    assert windows.order[0] == "declared", "in each thread"


def test_monitors_are_listed_as_they_are_now(windows):
    capture = MssCapture()
    assert capture.monitors() == [Monitor(Area(*MIXED[0]), True), Monitor(Area(*MIXED[1]), False)]
    windows.layout = [(0, 0, 1920, 1080)]
    assert capture.monitors() == [Monitor(Area(0, 0, 1920, 1080), True)]
    windows.layout = []
    with pytest.raises(EnvError, match="no monitor is on: switch one on and start again"):
        capture.monitors()


def test_a_capture_that_fails_is_an_env_error(windows):
    capture = MssCapture()
    windows.error = mss.exception.ScreenShotError("access denied")
    with pytest.raises(EnvError, match=r"capture of 9x9 at \(0, 0\) failed \(access denied\): the session has ended"):
        capture.grab(Area(0, 0, 9, 9))
    with pytest.raises(EnvError, match=r"the screen cannot be captured \(access denied\)\. Run `agent doctor`"):
        MssCapture()


@pytest.mark.parametrize("monitor", [1, 2, "all"])
def test_every_sampled_pixel_of_mixed_monitors_is_where_the_pointer_goes(windows, monitor):
    env = Desktop(monitor=monitor, capture=MssCapture(), input=FakeInput(), pace=FAST)
    observation = env.observe()
    height, width = observation.image.shape[:2]
    for k in range(50):
        i, j = 3 + k * (width - 7) // 50, 3 + k * 7919 % (height - 7)
        env.step(Move(Point.from_pixel(i, j, width, height)))
        x, y = env._input.at
        assert observation.image[j, i].tolist() == [x % 256, y % 256, 0]


def load_windows_pyautogui(monkeypatch, user32):
    """Load pyautogui's own module for Windows on a fake system."""
    path = importlib.util.find_spec("pyautogui").submodule_search_locations[0] + "/_pyautogui_win.py"
    gui = types.ModuleType("pyautogui")
    gui.LEFT, gui.MIDDLE, gui.RIGHT, gui.KEY_NAMES = "left", "middle", "right", ["a"]
    monkeypatch.setitem(sys.modules, "pyautogui", gui)
    monkeypatch.setattr(ctypes, "windll", types.SimpleNamespace(user32=user32), raising=False)
    spec = importlib.util.spec_from_file_location("_pyautogui_win", path)
    module = importlib.util.module_from_spec(spec)
    with monkeypatch.context() as loading:
        loading.setattr(sys, "platform", "win32")
        spec.loader.exec_module(module)
    return module


class VirtualDesktop:
    """user32 of Windows with monitors: the pointer stays on them, in whole physical pixels."""

    def __init__(self, areas):
        self.areas = [Area(*area) for area in areas]
        self.at = (50, 50)
        self.pressed = []

    def SetProcessDPIAware(self):
        return 1

    def VkKeyScanA(self, char):
        return 0

    def GetSystemMetrics(self, index):
        return {0: self.areas[0].width, 1: self.areas[0].height, 23: 0}[index]

    def SetCursorPos(self, x, y):
        if any(area.contains(Area(x, y, 1, 1)) for area in self.areas):
            self.at = (x, y)
        return 1

    def GetCursorPos(self, point):
        point._obj.x, point._obj.y = self.at
        return 1

    def mouse_event(self, event, x, y, data, extra):
        # Neither MOVE (1) nor ABSOLUTE (0x8000): its coordinates, which know the main monitor only, do not count.
        assert not event & 0x8001
        self.pressed.append((event, self.at))


def test_clicks_by_pyautogui_arrive_on_monitors_with_negative_coordinates(windows, monkeypatch):
    user32 = VirtualDesktop(MIXED)
    native = load_windows_pyautogui(monkeypatch, user32)

    class Input(FakeInput):
        def position(self):
            return tuple(native._position())

        def move(self, x, y):
            native._moveTo(x, y)

        def press(self, button, nth=1):
            native._mouseDown(*native._position(), button)

        def release(self, button, nth=1):
            native._mouseUp(*native._position(), button)

    env = Desktop(monitor=2, capture=MssCapture(), input=Input(), pace=FAST)
    env.observe()
    for i, j in ((0, 70), (383, 200), (1, 1), (177, 22)):
        env.step(Click(Point.from_pixel(i, j, 384, 216)))
        assert user32.pressed[-2:] == [(2, (i - 384, j - 30)), (4, (i - 384, j - 30))]


# --- macOS ------------------------------------------------------------------------------------------------------------


class FakeQuartz:
    """Displays of macOS: bounds in points, as seen, also of rotated ones."""

    def __init__(self, *areas):
        self.areas = areas

    def CGGetActiveDisplayList(self, most, *_):
        return 0, tuple(range(len(self.areas))) + (0,) * 3, len(self.areas)

    def CGDisplayBounds(self, display):
        left, top, width, height = (float(value) for value in self.areas[display])
        rectangle = types.SimpleNamespace
        return rectangle(origin=rectangle(x=left, y=top), size=rectangle(width=width, height=height))

    def CGDisplayIsMain(self, display):
        return display == 0


@pytest.mark.parametrize(
    "areas",
    [
        [(0, 0, 1440, 900)],
        [(0, 0, 1440, 900), (-1920, -180, 1920, 1080)],
        [(0, 0, 1440, 900), (1440, -500, 1080, 1920), (-1024, 0, 1024, 768)],
    ],
)
def test_monitors_of_macos_are_in_points_as_they_are_seen(monkeypatch, areas):
    expected = [Monitor(Area(*area), index == 0) for index, area in enumerate(areas)]
    assert mac_monitors(FakeQuartz(*areas)) == expected
    monkeypatch.setitem(sys.modules, "Quartz", FakeQuartz(*areas))
    assert native_monitors("darwin") == expected


def test_no_monitor_of_macos_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "Quartz", FakeQuartz())
    with pytest.raises(EnvError, match="no monitor is on"):
        native_monitors("darwin")


def test_captures_of_macos_count_in_points_also_where_one_monitor_is_retina():
    # Else an image over two monitors would have pixels of two sizes, and no single scale.
    assert mss.darwin.IMAGE_OPTIONS & mss.darwin.kCGWindowImageNominalResolution
