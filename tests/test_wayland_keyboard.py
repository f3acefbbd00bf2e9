"""Text and shortcuts on Wayland: by the keys that the layouts leave no doubt about, by their symbols, or by pasting."""

import ctypes
import re

import pytest

pytest.importorskip("jeepney", reason="jeepney is not installed: pip install 'molmo-agent[wayland]'")

from molmo_agent.envs.desktop.capture import Area
from molmo_agent.envs.desktop.wayland import keymap as keymap_module
from molmo_agent.envs.desktop.wayland import keymap_reader, portal_input, typing_obstacles
from molmo_agent.envs.desktop.wayland.keymap import Keymap
from molmo_agent.envs.desktop.wayland.keys import char_keysym, parse_key
from molmo_agent.envs.desktop.wayland.portal_input import PortalInput
from molmo_agent.envs.desktop.wayland.virtual_keymap import CAPACITY, VirtualKeymap
from molmo_agent.errors import ActionRefused, EnvError


def keymap_text(symbols):
    return (
        'xkb_keymap { xkb_keycodes { include "evdev+aliases(qwerty)" }; xkb_types { include "complete" }; '
        f'xkb_compat {{ include "complete" }}; xkb_symbols {{ include "pc+{symbols}+inet(evdev)" }}; }};'
    ).encode()


def keymap(symbols):
    try:
        return Keymap(keymap_text(symbols))
    except EnvError as error:
        pytest.skip(f"no keyboard layouts here: {error}")


class RecordingSession:
    """A session that records what is sent."""

    def __init__(self, has_clipboard):
        self.has_clipboard, self.sent, self.is_open = has_clipboard, [], True

    def notify(self, method, signature, *values):
        self.sent.append((method, *values))

    def check(self):
        pass


class RecordingClipboard:
    def __init__(self):
        self.texts = []

    def paste(self, text, press_paste):
        self.texts.append(text)
        press_paste()


@pytest.fixture
def hand(monkeypatch):
    def make(symbols, clipboard=False, caps_lock=False, input_method=""):
        layouts = keymap(symbols)
        monkeypatch.setattr(portal_input, "read_keymap", lambda: layouts)
        monkeypatch.setattr(typing_obstacles, "caps_lock_is_on", lambda: caps_lock)
        monkeypatch.setattr(typing_obstacles, "active_input_method", lambda: input_method)
        monkeypatch.setattr(portal_input, "_NEW_DEVICE_S", 0)
        device = PortalInput(RecordingSession(has_clipboard=False), [Area(0, 0, 100, 100)], [(100, 100)])
        device._session.sent.clear()
        if clipboard:
            device._clipboard = RecordingClipboard()
        return device

    return make


def pressed(device):
    """Return what was pressed, in order: numbers of keys, or symbols as text."""
    return [
        chr(number) if method == "KeyboardKeysym" else number
        for method, number, state in device._session.sent
        if state == 1
    ]


@pytest.mark.parametrize(
    ("symbols", "text", "keys"),
    [
        ("us", "aB1!", [30, 42, 48, 2, 42, 2]),
        ("de", "yzß-/", [44, 21, 12, 53, 42, 8]),
        ("fr", "a1&", [16, 42, 2, 2]),
        ("us+ru:2", "1 ", [2, 57]),
        ("us+de:2", "ab", [30, 48]),
    ],
)
def test_characters_on_the_same_key_of_every_layout_are_typed(hand, symbols, text, keys):
    device = hand(symbols)
    device.type_line(text)
    assert pressed(device) == keys
    assert len([event for event in device._session.sent if event[2] == 0]) == len(keys)


def test_a_third_level_is_held_for_its_characters(hand):
    device = hand("de")
    device.type_line("€@")
    level3, *rest = pressed(device)
    assert rest == [18, level3, 16]


@pytest.mark.parametrize(
    ("symbols", "text"), [("us", "é"), ("us+ru:2", "abc"), ("us+ru:2", "мир"), ("de", "你好"), ("us+de:2", "yes")]
)
def test_other_text_is_pasted_where_the_desktop_allows_it(hand, symbols, text):
    device = hand(symbols, clipboard=True)
    device.type_line(text)
    assert device._clipboard.texts == [text]
    assert pressed(device) == [29, 47]


def test_without_a_clipboard_the_compositor_looks_up_what_each_layout_has_elsewhere(hand):
    device = hand("us+de:2")
    device.type_line("yes")
    assert pressed(device) == ["y", "e", "s"]


@pytest.mark.parametrize(("symbols", "text"), [("us", "é"), ("us+ru:2", "abc"), ("de", "你好")])
def test_text_that_could_get_lost_is_refused_before_the_first_key(hand, symbols, text):
    device = hand(symbols)
    with pytest.raises(
        ActionRefused, match=r"not every keyboard layout.*no Clipboard portal.*nothing was typed"
    ) as error:
        device.type_line(text)
    assert text not in str(error.value)
    assert device._session.sent == []


@pytest.mark.parametrize(("text", "is_typed"), [("abc", False), ("Ä", False), ("12 + 3", True)])
def test_with_caps_lock_on_letters_are_not_typed(hand, text, is_typed):
    device = hand("de", caps_lock=True)
    if is_typed:
        device.type_line(text)
        assert pressed(device)
    else:
        with pytest.raises(ActionRefused, match=r"Caps Lock is on.*Switch it off"):
            device.type_line(text)
    with_clipboard = hand("de", caps_lock=True, clipboard=True)
    with_clipboard.type_line(text)
    assert with_clipboard._clipboard.texts == ([] if is_typed else [text])


@pytest.mark.parametrize("text", ["abc", "12"])
def test_with_an_active_input_method_nothing_is_typed(hand, text):
    device = hand("us", input_method="libpinyin")
    with pytest.raises(ActionRefused, match=r"input method 'libpinyin' is active.*nothing was typed.*plain keyboard"):
        device.type_line(text)
    assert device._session.sent == []
    with_clipboard = hand("us", clipboard=True, input_method="Unikey")
    with_clipboard.type_line(text)
    assert with_clipboard._clipboard.texts == [text]


@pytest.mark.parametrize(
    ("program", "answer", "status", "name"),
    [
        ("ibus", "libpinyin", 0, "libpinyin"),
        ("ibus", "xkb:us::eng", 0, ""),
        ("ibus", "No engine is set.", 1, ""),
        ("fcitx5-remote", "pinyin", 0, "pinyin"),
        ("fcitx5-remote", "keyboard-de", 0, ""),
        ("fcitx5-remote", "", 0, ""),
    ],
)
def test_the_input_method_is_asked_what_it_does(monkeypatch, tmp_path, program, answer, status, name):
    path = tmp_path / program
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n", encoding="ascii")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert typing_obstacles.active_input_method() == name


def test_an_input_method_that_does_not_answer_counts_as_active(monkeypatch, tmp_path):
    monkeypatch.setattr(typing_obstacles, "_ANSWER_S", 0.1)
    path = tmp_path / "ibus"
    path.write_text("#!/bin/sh\nexec /bin/sleep 60\n", encoding="ascii")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert typing_obstacles.active_input_method() == "ibus"


@pytest.mark.parametrize(("lights", "is_on"), [([], False), (["0"], False), (["0", "1"], True), ([""], False)])
def test_a_lit_caps_lock_is_noticed(tmp_path, lights, is_on):
    for number, light in enumerate(lights):
        folder = tmp_path / f"input{number}::capslock"
        folder.mkdir()
        (folder / "brightness").write_text(light + "\n", encoding="ascii")
    assert typing_obstacles.caps_lock_is_on(tmp_path) == is_on


@pytest.mark.parametrize(
    ("symbols", "keys", "numbers"),
    [
        ("us", ("ctrl", "s"), [29, 31]),
        ("us", ("Control_L", "Shift_L", "Page_Up"), [29, 42, 104]),
        ("de", ("ctrl", "z"), [29, 21]),
        ("ru+us:2", ("ctrl", "s"), [29, 31]),
        ("us", ("ctrl", "plus"), [29, 42, 13]),
        ("us+de:2", ("ctrl", "z"), [29, "z"]),
        ("us", ("f12",), [88]),
        ("gr", ("super",), [125]),
    ],
)
def test_a_shortcut_means_the_key(hand, symbols, keys, numbers):
    device = hand(symbols)
    names = [device.key_name(key) for key in keys]
    for name in names:
        device.key_down(name)
    for name in reversed(names):
        device.key_up(name)
    assert pressed(device) == numbers
    assert device._held_keys == []


def test_a_single_character_that_a_layout_lacks_is_refused_without_a_modifier(hand):
    device = hand("us+ru:2")
    with pytest.raises(ActionRefused, match=r"only some of the keyboard layouts.*use `type`"):
        device.key_down(device.key_name("s"))
    assert device._session.sent == []


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("pageupp", "no key 'pageupp'; did you mean 'pageup'"),
        ("ctrl+s", "no key 'ctrl\\+s'.*one by one"),
        ("", "no key ''"),
    ],
)
def test_unknown_keys_are_refused_with_the_nearest_names(key, message):
    with pytest.raises(ActionRefused, match=message):
        parse_key(key)


def test_a_key_that_no_layout_has_is_refused(hand):
    with pytest.raises(ActionRefused, match=r"no keyboard layout of this session has the key 'é'"):
        hand("us").key_name("é")


def test_a_keymap_that_cannot_be_read_is_reported():
    with pytest.raises(EnvError, match="layout of this session cannot be read"):
        Keymap(b"xkb_keymap { nonsense };")


READERS = {
    "the library is not there": (
        "import sys; sys.stderr.write('libxkbcommon.so.0: no such file'); sys.exit(2)",
        r"libxkbcommon.*no such file.*apt-get install libxkbcommon0",
    ),
    "the library crashes": (
        "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)",
        r"libxkbcommon crashed on it \(-11",
    ),
    "the library aborts": ("import os; os.abort()", r"libxkbcommon crashed on it \(-6"),
    "the library loops": ("while True: pass", r"libxkbcommon did not finish within 0.3 s. Choose another layout"),
}


@pytest.mark.parametrize("what", READERS)
def test_whatever_the_library_does_is_an_error_and_the_run_lives_on(what, monkeypatch, tmp_path):
    program, message = READERS[what]
    (tmp_path / "reader.py").write_text(program)
    monkeypatch.setattr(keymap_module, "_READER", tmp_path / "reader.py")
    if "loops" in what:
        monkeypatch.setattr(keymap_module, "_READ_S", 0.3)
    with pytest.raises(EnvError, match=message):
        Keymap(b"")


def test_a_keymap_of_megabytes_is_refused_unread():
    with pytest.raises(EnvError, match=r"it has 4,000,001 bytes, more than 4,000,000"):
        Keymap(b" " * 4_000_001)


def test_the_reader_says_that_the_library_is_missing(monkeypatch, capsys):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert keymap_reader.main() == keymap_reader.NO_LIBRARY
    assert "libxkbcommon.so.0: cannot open" in capsys.readouterr().err


# --- The keyboard of our own ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["".join(map(chr, range(0x20, 0x7F))), "Grüße, 5 €", "你好 мир 😀"])
def test_the_keymap_that_is_sent_gives_each_character_on_its_key(text):
    virtual = VirtualKeymap()
    virtual.add(text)
    layouts = Keymap(virtual.text())
    for char in text:
        assert layouts.certain_stroke(char).keys == virtual.char_keys(char)


def test_keys_are_where_programs_expect_them():
    layouts, real = Keymap(VirtualKeymap().text()), keymap("us")
    for name in ("enter", "tab", "esc", "left", "f5", "f12", "pageup", "delete", "ctrl", "shift", "alt", "win"):
        keysym = parse_key(name)
        assert layouts.keysym_strokes(keysym) == real.keysym_strokes(keysym), name
    for char in "azqwm1!/":
        assert layouts.certain_stroke(char) == real.certain_stroke(char), char


def test_characters_that_have_a_key_keep_it_until_there_is_no_room_for_others():
    virtual = VirtualKeymap()
    assert virtual.add("éa")
    assert not virtual.add("aé")
    key = virtual.char_keys("é")
    assert virtual.add("ü")
    assert virtual.char_keys("é") == key
    others = [chr(0x4E00 + i) for i in range(CAPACITY)]
    assert virtual.add(others)
    assert len({virtual.char_keys(char) for char in others}) == CAPACITY


def test_the_key_numbers_fit_into_what_programs_of_x_can_receive():
    numbers = [int(n) for n in re.findall(rb"<K\d+> = (\d+);", VirtualKeymap().text())]
    assert min(numbers) > 8
    assert max(numbers) <= 255


@pytest.mark.parametrize(("char", "keysym"), [("a", 0x61), ("é", 0xE9), ("€", 0x010020AC), ("😀", 0x0101F600)])
def test_keysyms_of_characters(char, keysym):
    assert char_keysym(char) == keysym
