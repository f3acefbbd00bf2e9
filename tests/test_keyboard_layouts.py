"""Keys and text on keyboards of other countries, with several groups, and with Caps Lock on: what arrives."""

import pytest
from desktop_screen import FAST, needs, program, wait_for
from x11_keyboards import call_xkb, layout, state, terminal

from molmo_agent.actions import Click, Key, Type
from molmo_agent.envs.desktop.virtual_display import VirtualDisplay
from molmo_agent.errors import ActionRefused, EnvError
from molmo_agent.geometry import Point

pytest.importorskip("Xlib", reason="Xlib comes with pyautogui on Linux only")

from molmo_agent.envs.desktop import x11
from molmo_agent.envs.desktop.x11_keys import xkb
from molmo_agent.envs.desktop.x11_keys.xkb import LOCK, character

pytestmark = needs("Xvfb", "openbox", "xdotool", "xclip", "setxkbmap")

EVERYTHING = {"pace": FAST}
CONTROL, SHIFT = 4, 1


pytest_plugins = ("actor_fixtures",)


@pytest.fixture(scope="module")
def screen():
    with VirtualDisplay(640, 480) as display:
        yield display


def presses(window):
    """Return the keys that were pressed, by what their first level gives, and whether Shift and Ctrl were down."""
    return [(event["key"], event["state"] & (SHIFT | CONTROL)) for event in window.events("key_press")]


# --- Text -------------------------------------------------------------------------------------------------------------


@needs("xterm")
@pytest.mark.parametrize("caps_lock", [False, True], ids=["caps_lock_off", "caps_lock_on"])
@pytest.mark.parametrize(
    ("arguments", "group", "text"),
    [
        (["us"], 0, "Hello, WORLD: 1 < 2 > 0 | 'x' \"y\" `z` ~ ^"),
        (["de"], 0, "Zwölf Boxkämpfer jagen Ärger: 3 < 4 ß @ € { } \\ ~"),
        (["fr"], 0, "Voilà l'été: 1, 2, 3 & «ç» @ # ù ^"),
        (["us,ru"], 1, "Привет, мир! Ёлка № 5"),
        (["us,ru"], 0, "plain after Russian"),
        (["ru"], 0, "Съешь ещё этих булок and tea"),
        (["gr"], 0, "Γεια σας κόσμε; ς τελικό"),
        (["bg"], 0, "Жълтата дюля (2)"),
        (["us", "-variant", "intl"], 0, 'it\'s "quoted" ~ `é`'),
        (["pl"], 0, "Zażółć gęślą jaźń"),
    ],
)
def test_text_arrives_whatever_the_layout_and_caps_lock(actor, screen, tmp_path, arguments, group, text, caps_lock):
    file = tmp_path / "typed"
    with layout(*arguments, group=group, caps_lock=caps_lock):
        before = state()
        with terminal(file):
            actor.act({}, Type(text + "\n"))
            wait_for(lambda: file.read_text().endswith("\n"), "the line")
        assert state() == before, "locks and group stay as they were"
    assert file.read_text() == text + "\n"


def test_characters_of_the_layout_are_typed_and_not_pasted(actor, window):
    with layout("de"):
        window.events()
        actor.act(EVERYTHING, Type("yä"))
        assert [key for key, _ in presses(window)] == ["y", "adiaeresis"]


def test_a_layout_that_changes_between_two_texts_is_noticed(actor, window):
    for name, key in (("us", "y"), ("de", "y"), ("us", "y")):
        with layout(name):
            window.events()
            actor.act(EVERYTHING, Type("y"))
            assert [pressed for pressed, _ in presses(window)] == [key]


def test_a_modifier_that_somebody_holds_stops_the_text_before_it_becomes_a_shortcut(actor, window):
    with pytest.raises(EnvError, match=r"somebody holds a key such as Ctrl.*0 of 3 characters were typed"):
        actor.do(_type_while_ctrl_is_down)
    call_xkb("XkbLatchModifiers", CONTROL, 0)
    assert [key for key, _ in presses(window)] == ["Escape"]


def _type_while_ctrl_is_down():
    from desktop_screen import _desktops, act

    act(EVERYTHING, Key(("esc",)))
    # After the start of the run, which releases such things.
    call_xkb("XkbLatchModifiers", CONTROL, CONTROL)
    _desktops[repr(EVERYTHING)].step(Type("abc"))


# --- Shortcuts --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "group", "caps_lock", "chord", "key", "modifiers"),
    [
        (["us"], 0, True, ("ctrl", "s"), "s", ["Control_L"]),
        (["us"], 0, True, ("alt", "f"), "f", ["Alt_L"]),
        (["us"], 0, True, ("super", "y"), "y", ["Super_L"]),
        (["us,ru"], 1, False, ("ctrl", "s"), "s", ["Control_L"]),
        (["us,gr"], 1, True, ("ctrl", "z"), "z", ["Control_L"]),
        (["ru,us"], 0, False, ("ctrl", "c"), "0x6d3", ["Control_L"]),
        (["ru"], 0, False, ("ctrl", "v"), "0x6cd", ["Control_L"]),
        (["bg"], 0, False, ("ctrl", "a"), "0x6d8", ["Control_L"]),
        (["fr"], 0, False, ("ctrl", "a"), "a", ["Control_L"]),
        (["fr"], 0, False, ("ctrl", "1"), "ampersand", ["Control_L", "Shift_L"]),
        (["de"], 0, False, ("ctrl", "z"), "z", ["Control_L"]),
        (["de"], 0, False, ("ctrl", "/"), "7", ["Control_L", "Shift_L"]),
        (["de"], 0, False, ("alt", "ä"), "adiaeresis", ["Alt_L"]),
        (["us"], 0, False, ("ctrl", "."), "period", ["Control_L"]),
        (["us"], 0, False, ("ctrl", "plus"), "equal", ["Control_L", "Shift_L"]),
        (["de"], 0, False, ("ctrl", "plus"), "plus", ["Control_L"]),
        (["us"], 0, False, ("ctrl", "shift", "t"), "t", ["Control_L", "Shift_L"]),
        (["us"], 0, False, ("ctrl", "slash"), "slash", ["Control_L"]),
        (["us,ru"], 1, False, ("ctrl", "."), "slash", ["Control_L"]),
    ],
)
def test_a_shortcut_presses_the_key_that_is_meant(
    actor, window, arguments, group, caps_lock, chord, key, modifiers
):  # fmt: skip
    with layout(*arguments, group=group, caps_lock=caps_lock):
        window.events()
        actor.act(EVERYTHING, Key(chord))
        events = window.events("key_press", "key_release")
        assert state().locked == (LOCK if caps_lock else 0)
    pressed = [event["key"] for event in events if event["type"] == "key_press"]
    assert pressed == [*modifiers, key]
    assert sorted(event["key"] for event in events if event["type"] == "key_release") == sorted(pressed)


@needs("mousepad", "dbus-run-session")
@pytest.mark.parametrize(
    ("arguments", "group", "caps_lock"),
    [(["us"], 0, True), (["us,ru"], 1, False), (["gr,us"], 0, True), (["fr"], 0, True)],
    ids=["caps_lock", "russian", "greek_and_caps_lock", "french_and_caps_lock"],
)
def test_a_real_program_takes_the_shortcut(actor, screen, tmp_path, arguments, group, caps_lock):
    file = tmp_path / "note.txt"
    file.touch()
    editor = program("dbus-run-session", "mousepad", "--disable-server", str(file))
    with layout(*arguments, group=group, caps_lock=caps_lock), editor:
        wait_for_title("note.txt")
        actor.act({}, Click(Point(0.5, 0.5)), Type("saved é"), Key(("ctrl", "s")))
        wait_for(lambda: "saved é" in file.read_text(), "the saved text")


def wait_for_title(part):
    display = x11.connect()
    wait_for(lambda: any(part in window.title for window in x11.windows(display)), f"the window {part}")
    wait_for(lambda: "mousepad" in x11.focused_classes(display), "its focus")
    display.close()


def test_a_shortcut_with_a_character_that_no_key_has_is_refused(actor, window):
    with layout("us"), pytest.raises(ActionRefused, match="this keyboard has no key 'ä'"):
        actor.act(EVERYTHING, Key(("alt", "ä")))
    assert presses(window) == []


# --- Keys without a modifier ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "group", "caps_lock", "char", "expected"),
    [
        (["us"], 0, True, "q", [("Shift_L", 0), ("q", SHIFT)]),
        (["us"], 0, False, "?", [("Shift_L", 0), ("slash", SHIFT)]),
        (["us"], 0, True, "?", [("Shift_L", 0), ("slash", SHIFT)]),
        (["us,ru"], 1, False, "ы", [("s", 0)]),
        (["fr"], 0, False, "1", [("Shift_L", 0), ("ampersand", SHIFT)]),
        (["de"], 0, False, "question", [("Shift_L", 0), ("ssharp", SHIFT)]),
    ],
)
def test_a_single_key_enters_its_character(actor, window, arguments, group, caps_lock, char, expected):
    with layout(*arguments, group=group, caps_lock=caps_lock):
        window.events()
        actor.act(EVERYTHING, Key((char,)))
        assert presses(window) == expected


@pytest.mark.parametrize(("arguments", "group", "char"), [(["us,ru"], 1, "y"), (["gr"], 0, "w"), (["us"], 0, "ß")])
def test_a_single_key_that_cannot_enter_its_character_is_refused(actor, window, arguments, group, char):
    with layout(*arguments, group=group):
        window.events()
        with pytest.raises(ActionRefused, match=f"no key enters '{char}' with the present keyboard layout.*as text"):
            actor.act(EVERYTHING, Key((char,)))
        assert presses(window) == []


@pytest.mark.parametrize("name", ["Return", "Page_Down", "F5", "arrow_left", "Delete", "space", "Menu"])
def test_named_keys_do_not_depend_on_the_layout(actor, window, name):
    with layout("us,ru", group=1, caps_lock=True):
        window.events()
        actor.act(EVERYTHING, Key((name,)))
        ((pressed, _),) = presses(window)
    assert pressed == {"arrow_left": "Left"}.get(name, name)


# --- Keysyms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keysym", "char"),
    [
        (0x61, "a"),
        (0xE4, "ä"),
        (0x1B1, "ą"),
        (0x6D9, "ы"),
        (0x6A3, "ё"),
        (0x7F2, "σ"),
        (0x7F3, "ς"),
        (0x20AC, "€"),
        (0x13BD, "œ"),
        (0xCE0, "א"),
        (0x010020BF, "₿"),
        (0x0101F642, "🙂"),
        (0xFE51, ""),
        (0xFF0D, ""),
        (0x100D800, ""),
        (0, ""),
    ],
)
def test_a_keysym_stands_for_a_character_or_for_none(keysym, char):
    assert character(keysym) == char


def test_a_server_without_the_extension_is_refused(screen, monkeypatch):
    display = x11.connect()
    monkeypatch.setattr(xkb, "_EXTENSION", "NO-SUCH-EXTENSION")
    with pytest.raises(EnvError, match="has no NO-SUCH-EXTENSION extension, so its keyboard layout is unknown"):
        xkb.Xkb(display)
    display.close()
