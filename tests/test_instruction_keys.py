"""Keys and chords in instructions: signs, names, sequences, and what is no key."""

import pytest

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.keys import read_chord
from molmo_agent.policies.instructions.splitter import split_instruction


def pressed(text):
    """Return the keys that an instruction presses, a blank between those of a chord; or the whole steps."""
    steps = split_instruction(text)
    return [step.value if step.gesture == "key" else step for step in steps]


@pytest.mark.parametrize("sign", list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~€§"))
@pytest.mark.parametrize("form", ["press ctrl+{}", "press Ctrl - {}", "press ctrl+alt+{}", "press ctrl and {}"])
@pytest.mark.parametrize(
    "end", ["", ".", ", then press Enter", "; press Enter", "\npress Enter", " and press Enter", ". Press Enter"]
)
def test_any_sign_may_end_a_chord(sign, form, end):
    chord = f"ctrl {'alt ' * ('alt' in form)}{sign}"
    assert pressed(form.format(sign) + end) == [chord, *["enter"] * ("Enter" in end)]


@pytest.mark.parametrize("sign", list("!'+,-./:;?\"`"))
def test_a_sign_alone_is_a_key_beside_the_word_key(sign):
    assert pressed(f"press the {sign} key, then press Tab") == [sign, "tab"]
    assert pressed(f"press the “{sign}” key") == [sign]
    assert split_instruction(f"press “{sign}”")[0].gesture == "click", "a button of a calculator"


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("press ctrl+plus", ["ctrl +"]),
        ("press ctrl + minus", ["ctrl -"]),
        ("press ctrl+period", ["ctrl ."]),
        ("press ctrl-comma", ["ctrl ,"]),
        ("press ctrl+question mark", ["ctrl ?"]),
        ("press ctrl and the plus key", ["ctrl +"]),
        ("press Page_Down", ["pagedown"]),
        ("press page-up", ["pageup"]),
        ("press KP_5", ["num5"]),
        ("press Num Lock", ["numlock"]),
        ("press Scroll_Lock", ["scrolllock"]),
        ("press Print Screen", ["printscreen"]),
        ("press super+left", ["win left"]),
        ("press Super_L", ["win"]),
        ("press Windows + Shift + S", ["win shift s"]),
        ("press cmd+c", ["cmd c"]),
        ("press ⌘C, then ⌥⇥", ["cmd c", "alt tab"]),
        ("press ⌘,", ["cmd ,"]),
        ("press alt+ä", ["alt ä"]),
        ("press Alt Gr + e", ["altgr e"]),
        ("press right ctrl", ["ctrlright"]),
        ("press the menu key", ["menu"]),
        ("press the volume up key", ["volumeup"]),
        ("press ctrl or cmd", None),
        ("press ctrl/cmd+s", ["ctrl_or_cmd s"]),
        ("press Ctrl S", ["ctrl s"]),
        ("press control plus v", ["ctrl v"]),
        ("press the keys ctrl, shift and t", ["ctrl shift t"]),
        ("press the keyboard shortcut alt+f4", ["alt f4"]),
        ('press "ctrl+s"', ["ctrl s"]),
        ('press ctrl+"s"', ["ctrl s"]),
        ('press the "Enter" key', ["enter"]),
        ("press ctrl+shift++", ["ctrl shift +"]),
        ("press ctrl+..", ["ctrl ."]),
        ("press F5!", ["f5"]),
        ("press shift+tab twice.", ["shift tab"] * 2),
        ("press ctrl+- 3 times", ["ctrl -"] * 3),
        ("press ctrl+a then ctrl+c", ["ctrl a", "ctrl c"]),
        ("press ctrl+k ctrl+s", ["ctrl k", "ctrl s"]),
        ("press Tab, Tab twice and Enter", ["tab", "tab", "tab", "enter"]),
        ("press Tab, then Space", ["tab", "space"]),
        ("ctrl+shift+esc", ["ctrl shift escape"]),
        ("hold ctrl and press .", ["ctrl ."]),
        ("hold shift and press Tab twice", ["shift tab"] * 2),
        ("press ctrl+' and then press ctrl+'", ["ctrl '", "ctrl '"]),
        ("press Strg+C", ["ctrl c"]),
        ("press Strg+Umschalt+T", ["ctrl shift t"]),
        ("press Maj+F10", ["shift f10"]),
        ("press Tab x3", ["tab"] * 3),
        ("press Backspace ×2", ["backspace"] * 2),
        ("press ctrl+z 2x", ["ctrl z"] * 2),
    ],
)
def test_keys_are_read_as_people_write_them(text, keys):
    if keys is None:
        with pytest.raises(UsageError, match="choose one of the two"):
            split_instruction(text)
    else:
        assert pressed(text) == keys


@pytest.mark.parametrize(
    "label",
    [
        "Save",
        "OK",
        "5",
        "C++",
        "X-ray",
        "Name + Address",
        "the Shift tab",
        "Option A",
        "Windows 11",
        "Alt text",
        "Shift-work",
        "Control panel",
        "Command palette",
        "the Enter button",
        "home page",
        "Save and Close",
        '"Enter"',
        '"ctrl+banana"',
        "Generate key",
        "C-4",
        "Speed x2",
        "2x",
    ],
)
def test_what_names_no_key_is_something_on_the_screen(label):
    (step,) = split_instruction(f"press {label}")
    assert (step.gesture, step.targets) == ("click", (label,))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "press ctrl+banana",
            "'ctrl+banana': there is no key 'banana'. Keys are named like ctrl+s, ctrl+., alt+page down",
        ),
        ("press ctrl+entr", "there is no key 'entr'; did you mean 'enter'"),
        ("press alt+pagdown", "did you mean 'pagedown'"),
        ("press ctrl+", "'ctrl+' names no key after the last sign; say for example: press ctrl+s, press ctrl++"),
        ("press ctrl+...", "there is no key '...'"),
        ("press ctrl+s+d", "there is no key 's+d'"),
        ("press right fn + f5", "no program can press the key 'fn'"),
        ("press fn+f5", "no program can press the key 'fn'; name the keys that it stands for"),
        ("press ctrl+{{KEY}}", "expected the name of a key, got a secret"),
        ("press ctrl+s and banana", "'banana' is no key; say for example: press ctrl+s, then click Name"),
        ("click ctrl+s", "'ctrl+s' are keys; say: press ctrl+s. Put a label in quotes: click \"ctrl+s\""),
        ("double-click alt+f4", "'alt+f4' are keys"),
        ("ctrl+banana", "there is no key 'banana'"),
        ("press C-x C-s", "'C-x C-s': write the keys in full, such as: press ctrl+x, press alt+x"),
        ("press M-x", 'If it is a label, put it in quotes: click "M-x"'),
        ("press ^C", "'^C': write the keys in full"),
        ("press Tab x99", "'Tab x99': expected 1 to 20 times, got 99"),
        (
            "press ctrl and click B",
            "'press ctrl' releases the key before 'click B'; to hold it meanwhile, say ctrl-click B",
        ),
    ],
)
def test_a_chord_that_cannot_be_pressed_is_refused_and_never_clicked(text, message):
    with pytest.raises(UsageError) as error:
        split_instruction(text)
    assert message in str(error.value)


@pytest.mark.parametrize(
    "text", ["hold ctrl and click B", "hold down the ctrl key, click B", "click B while holding ctrl", "ctrl-click B"]
)
def test_keys_are_held_during_a_click(text):
    (step,) = split_instruction(text)
    assert (step.gesture, step.targets, step.held) == ("click", ("B",), ("ctrl",))


def test_signs_in_a_text_are_only_text():
    assert [step.value for step in split_instruction('type "press ctrl+; now", press Enter')] == [
        "press ctrl+; now",
        "enter",
    ]
    assert split_instruction("type ctrl+s")[0].value == "ctrl+s"
    assert [step.targets for step in split_instruction('click "ctrl+,", then click B')] == [('"ctrl+,"',), ("B",)]


@pytest.mark.parametrize("text", ["s", "5", "Submit", "the Enter button", "home page", "", "a+b", "+", "plus", "pause"])
def test_words_that_name_no_key_are_no_chord(text):
    assert read_chord(text) == ()


def test_keys_go_by_one_name_each():
    assert read_chord("Command+Option+Esc") == ("cmd", "alt", "escape")
    assert read_chord("the Windows key") == ("win",)
    assert read_chord("arrow left") == ("left",)
    assert read_chord("F11") == ("f11",)
    assert read_chord("alt + f4") == ("alt", "f4")
