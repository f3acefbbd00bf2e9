"""Fuzz targets of messages: what display servers, services, phones and other programs answer."""

import contextlib
import os
import socket
import struct
import tempfile
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from registry import target, target_of_bytes

from molmo_agent.envs.android import screen
from molmo_agent.envs.android.apps import find_app, launchable
from molmo_agent.envs.android.device import Answer
from molmo_agent.envs.android.displays import describe_displays, read_displays
from molmo_agent.envs.desktop.wayland.keymap import Keymap
from molmo_agent.envs.desktop.wayland.outputs import MANAGER, Outputs
from molmo_agent.envs.desktop.wayland.restore_token import load_token, token_path
from molmo_agent.envs.desktop.wayland.wire import WaylandConnection
from molmo_agent.envs.desktop.x11_keys import xkb
from molmo_agent.errors import ActionRefused, EnvError, ModelError, MolmoAgentError
from molmo_agent.ocr import tesseract
from molmo_agent.pointers.icons.vocabulary import meanings_of, names_of

# --- Phones -----------------------------------------------------------------------------------------------------------

_DUMP = b"""mWakefulness=Awake
  Display: mDisplayId=0
    init=1080x2400 420dpi cur=1080x2400 app=1080x2337 rng=1080x1017-2400x2337
  mCurrentFocus=Window{1f u0 com.android.settings/com.android.settings.Settings}
  Display: mDisplayId=2
    init=500x500 160dpi cur=500x500 app=500x500
  mViewports=[DisplayViewport{type=INTERNAL, valid=true, isActive=true, displayId=0, uniqueId='local:4619', \
physicalPort=0, orientation=0, logicalFrame=Rect(0, 0 - 1080, 2400), deviceWidth=1080}]
    mBaseDisplayInfo=DisplayInfo{"Built-in", displayId 0, real 1080 x 2400, state ON, type INTERNAL, rotation 0, \
uniqueId "local:4619"}
"""
_WINDOWS = b"""  Window #0 Window{1f u0 com.android.settings/com.android.settings.Settings}:
    mAttrs={(0,0)(fillxfill) ty=BASE_APPLICATION fl=LAYOUT_IN_SCREEN SECURE fmt=OPAQUE}
  Window #1 Window{2a u0 StatusBar}:
    mAttrs={(0,0)(fillx63) fl=#81840048}
"""


class AnsweringPhone:
    """The part of a phone that questions go to."""

    serial = "phone"

    def __init__(self, answers: Mapping[str, bytes]) -> None:
        self._answers = answers

    def script(self, line: str, *, what: str, timeout_s: float = 15.0) -> Answer:
        key = next((key for key in self._answers if key in line), "")
        return Answer(self._answers.get(key, b""), b"", 0)

    def run(self, *arguments: str, timeout_s: float = 15.0) -> Answer:
        return self.script(" ".join(arguments), what=arguments[0])


def answering_phone(**answers: bytes) -> Any:
    """Return a phone that answers what stands under the first word that the question has."""
    return AnsweringPhone(answers)


@target_of_bytes("phone-displays", _DUMP, b"mShowingLockscreen=true cur=1x1 orientation=1\n", b"mWakefulness=Asleep")
def phone_displays(data: bytes) -> None:
    """What dumpsys tells about the displays: the main one is always there."""
    with contextlib.suppress(MolmoAgentError):
        status = screen.read_status(answering_phone(dumpsys=data))
        assert status.size is None or min(status.size) >= 0
        assert describe_displays(status.displays)
    with contextlib.suppress(EnvError):
        assert 0 in read_displays(data.decode("utf-8", "replace"))


@target_of_bytes(
    "phone-windows", _WINDOWS, b"Window #0 com.android.settings fl=#\n", b"Window #0 com.android.settings fl="
)
def phone_windows(data: bytes) -> None:
    """What dumpsys tells about windows that may not be captured."""
    phone: Any = answering_phone(**{"windows": data, "dumpsys": _DUMP})
    assert screen._forbids_captures(phone, screen.read_status(phone)) in (True, False)


@target_of_bytes("phone-capture")
def phone_capture(data: bytes) -> None:
    """A capture: a whole image of the display's size, or an error."""
    phone: Any = answering_phone(screencap=data, dumpsys=_DUMP.replace(b"1080", b"8").replace(b"2400", b"6"))
    with contextlib.suppress(EnvError):
        image, _ = screen.capture(phone)
        assert image.shape == (6, 8, 3)
        assert image.dtype == np.uint8


@target_of_bytes(
    "phone-apps", b"priority=0\n  com.android.settings/.Settings\n  org.a.b/org.a.b.Main$1\n2 activities\n"
)
def phone_apps(data: bytes) -> None:
    """The list of apps."""
    apps = launchable(answering_phone(query=data))
    with contextlib.suppress(ActionRefused):
        assert find_app("settings", list(apps)) in apps


# --- Display servers --------------------------------------------------------------------------------------------------


def _event(target_id: int, opcode: int, body: bytes = b"") -> bytes:
    return struct.pack("=II", target_id, (8 + len(body)) << 16 | opcode) + body


def _global(name: int, interface: str, version: int) -> bytes:
    text = interface.encode() + b"\0"
    text = struct.pack("=I", len(text)) + text + b"\0" * (-len(text) % 4)
    return _event(2, 0, struct.pack("=I", name) + text + struct.pack("=I", version))


_GLOBALS = _global(1, "wl_output", 3) + _global(2, MANAGER, 3) + _event(3, 0, bytes(4))
# Numbers of objects: 4 the manager, 6 and 7 the output and its area; 5, 8 and 9 answers to questions.
_OUTPUT = (
    _event(5, 0, bytes(4))
    + _event(6, 0, struct.pack("=iiiiiIIi", 0, 0, 1, 1, 0, 0, 0, 1))
    + _event(7, 0, struct.pack("=ii", 0, 0))
    + _event(7, 1, struct.pack("=ii", 640, 480))
    + _event(8, 0, bytes(4))
)


@contextlib.contextmanager
def answering_compositor(data: bytes) -> Iterator[None]:
    """Run a compositor that sends these bytes to whoever connects, whatever it is asked."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(socket.socket(socket.AF_UNIX))
        server.bind(str(folder / "wayland-0"))
        server.listen()

        def answer() -> None:
            with contextlib.suppress(OSError), server.accept()[0] as client:
                client.sendall(data)
                client.shutdown(socket.SHUT_WR)
                while client.recv(1 << 16):
                    pass

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.enter_context(_variables(XDG_RUNTIME_DIR=str(folder), WAYLAND_DISPLAY="wayland-0"))
        yield


@target_of_bytes(
    "wayland", _GLOBALS + _OUTPUT, _GLOBALS + _event(1, 0, struct.pack("=III", 3, 1, 4) + b"bad\0"), b"\0" * 64
)
def wayland(data: bytes) -> None:
    """A compositor's messages: monitors with a size, or an error; and always an end."""
    with answering_compositor(data), contextlib.suppress(EnvError):
        connection = WaylandConnection()
        try:
            if connection.find(MANAGER):
                assert all(min(output.size) > 0 for output in Outputs(connection).now())
        finally:
            connection.close()


@contextlib.contextmanager
def _variables(**values: str) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_KEYMAP_HEAD = bytes(7) + bytes([1, 0, 38, 0, 0, 1]) + bytes(12) + bytes([1]) + bytes(6)
_KEYMAP = (
    _KEYMAP_HEAD
    + struct.pack("=BBHBBBB", 1, 1, 0, 2, 1, 0, 0)
    + struct.pack("=BBBBHH", 1, 1, 1, 1, 0, 0)
    + struct.pack("=BBBBBBHII", 0, 0, 0, 0, 1, 2, 2, 0x61, 0x41)
    + bytes([50, 1])
)


@target_of_bytes("x11-keymap", _KEYMAP, _KEYMAP[:40])
def x11_keymap(data: bytes) -> None:
    """The layout that an X server reports: every key gives something or nothing."""
    with contextlib.suppress(EnvError):
        keymap = xkb.Keymap(data)
        keymap.find({0x61})
        for keycode in keymap.keys:
            for group in range(max(keymap.num_groups, 1)):
                for mods in (0, 1, 3, 0xFF):
                    assert isinstance(xkb.character(keymap.keysym(keycode, group, mods)), str)


_LAYOUT = b"""xkb_keymap {
xkb_keycodes { minimum = 8; maximum = 255; <a> = 38; <s> = 50; };
xkb_types { type "ONE" { modifiers = none; level_name[1] = "x"; };
  type "TWO" { modifiers = Shift; map[Shift] = 2; level_name[1] = "x"; level_name[2] = "y"; }; };
xkb_compat { interpret Shift_L { action = SetMods(modifiers=Shift); }; };
xkb_symbols { key <a> { type = "TWO", [ a, A ] }; key <s> { type = "ONE", [ Shift_L ] };
  modifier_map Shift { <s> }; };
};"""


@target_of_bytes(
    "wayland-keymap", _LAYOUT, _LAYOUT.replace(b"[ a, A ]", b"symbols[1] = [ a, A ], symbols[2] = [ U3b1 ]")
)
def wayland_keymap(data: bytes) -> None:
    """The layouts that a compositor sends: strokes of keys that exist, or an error, also where the library crashes."""
    with contextlib.suppress(EnvError):
        keymap = Keymap(data)
        for char in "aA\u03b1":
            for stroke in keymap.char_strokes(char):
                assert stroke is None or all(0 <= key <= 247 for key in stroke.keys)


# --- Services and programs --------------------------------------------------------------------------------------------


@target_of_bytes("dbus")
def dbus(data: bytes) -> None:
    """Messages of a session bus: signals with a path, a member and values."""
    with contextlib.suppress(ImportError):
        from jeepney import MatchRule, message_bus, new_method_call, new_method_return
        from jeepney.io.blocking import DBusConnection

        from molmo_agent.envs.desktop.wayland.dbus import Bus

        ours, theirs = socket.socketpair()
        with ours, theirs, contextlib.ExitStack() as stack, contextlib.suppress(EnvError):
            hello = new_method_call(message_bus, "Hello")
            hello.header.serial = 1
            theirs.sendall(new_method_return(hello, "s", (":1.1",)).serialise(serial=1) + data)
            theirs.shutdown(socket.SHUT_WR)
            bus: Any = Bus.__new__(Bus)
            bus._connection, bus._signals = DBusConnection(ours, enable_fds=True), deque()
            stack.callback(bus.close)
            bus._connection.filter(MatchRule(type="signal"), queue=bus._signals).__enter__()
            while signal := bus.next_signal(1.0):
                path, member, values = signal
                assert isinstance(path, str)
                assert isinstance(member, str)
                assert isinstance(values, tuple)


@target_of_bytes("restore-token", b'{"GNOME": "abc", "KDE": 3}')
def restore_token(data: bytes) -> None:
    """The token with which a permission is asked for again."""
    with tempfile.TemporaryDirectory() as folder, _variables(XDG_STATE_HOME=folder):
        token_path().parent.mkdir(parents=True)
        token_path().write_bytes(data)
        token_path().chmod(0o600)
        for desktop in ("GNOME", "KDE"):
            token = load_token(desktop)
            assert token is None or (isinstance(token, str) and token)


_TABLE = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n"


@target(
    "tesseract",
    f"{_TABLE}5\t1\t1\t1\t1\t1\t10\t20\t30\t12\t96.5\tSave\n5\t1\t1\t1\t1\t2\t50\t20\t9\t9\t-1\ta\n".encode(),
)
def tesseract_table(text: str) -> None:
    """The words that tesseract found: boxes on the picture."""
    with contextlib.suppress(ModelError):
        for line in tesseract._lines(text, 640, 480):
            for word in line.words:
                assert 0 <= word.box.left <= word.box.right <= 1
                assert 0 <= word.box.top <= word.box.bottom <= 1


@target("icon-name", b"Preferences", b"Search for Files...", "Löschen/Delete brush".encode())
def icon_name(text: str) -> None:
    """The name of an icon: meanings with weights up to 1."""
    for meaning, weight in meanings_of(text).items():
        assert 0 < weight <= 1
        names_of(meaning)
