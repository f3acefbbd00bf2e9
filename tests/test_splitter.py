import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from molmo_agent.actions import (
    Back,
    Click,
    Drag,
    Home,
    Key,
    LongPress,
    Move,
    OpenApp,
    PointAt,
    Scroll,
    Type,
    Wait,
    action_types,
)
from molmo_agent.errors import UsageError
from molmo_agent.geometry import Point
from molmo_agent.policies.instructions.splitter import split_instruction

A, B = Point(0.1, 0.2), Point(0.3, 0.4)


def read(text):
    """Return (targets, action) of each sub-step, with made-up points."""
    return [(step.targets, step.action((A, B)[: len(step.targets)])) for step in split_instruction(text)]


def click(target):
    return ((target,), Click(A))


def clicks(*names, where, held="ctrl_or_cmd"):
    """The first as it is, every other added to it."""
    return [((f"{name} {where}",), Click(A, held=(held,) if number else ())) for number, name in enumerate(names)]


def typing(text):
    return ((), Type(text))


def key(*keys):
    return ((), Key(keys))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("click Name, type Ada, click Submit", [click("Name"), typing("Ada"), click("Submit")]),
        ('Type "Ada, Countess" into Name, then press Enter', [click("Name"), typing("Ada, Countess"), key("enter")]),
        ("the Submit button", [click("the Submit button")]),
        ("select the red circle", [click("the red circle")]),
        ("tick Remember me and uncheck News", [click("Remember me"), click("News")]),
        ("Please click on Submit.", [click("Submit")]),
        ("press the Submit button", [click("the Submit button")]),
        ('close the "Notes" window', [click('close the "Notes" window')]),
        (
            "Open Settings then Display then click Night light",
            [click(x) for x in ("Settings", "Display", "Night light")],
        ),
        ("ctrl-click the file", [(("the file",), Click(A, held=("ctrl",)))]),
        ("click A and shift+click on B", [click("A"), (("B",), Click(A, held=("shift",)))]),
        ("Ctrl + Shift + right-click A", [(("A",), Click(A, "right", held=("ctrl", "shift")))]),
        ("cmd double-click A", [(("A",), Click(A, count=2, held=("cmd",)))]),
        (
            "Select Ada, Bob from the scroll list and click Submit.",
            [*clicks("Ada", "Bob", where="from the scroll list"), click("Submit")],
        ),
        ("choose A, B and C in the list", clicks("A", "B", "C", where="in the list")),
        ('pick "A, B" and "C" from the list', clicks('"A, B"', '"C"', where="from the list")),
        ("select Salt and Pepper from the list", [click("Salt and Pepper from the list")]),
        ("select Ada from the list", [click("Ada from the list")]),
        ("click A; B\nC", [click("A"), click("B"), click("C")]),
        ("1. click A\n2. type b\n3) press tab\n- click C", [click("A"), typing("b"), key("tab"), click("C")]),
        ("click A 2. click B", [click("A"), click("B")]),
        ("click A then Next", [click("A"), click("Next")]),
        ("click A then ★", [click("A"), click("★")]),
        ("Next", [click("Next")]),
        ("First, click A. Finally click B.", [click("A"), click("B")]),
        ("can you click A?", [click("A")]),
        ("click A and then, please, click B", [click("A"), click("B")]),
        # Labels with "and" or a comma, which no verb with an object follows.
        ("click Save and Close", [click("Save and Close")]),
        ("click Terms and Conditions, the blue one", [click("Terms and Conditions, the blue one")]),
        ("click Save and close the window", [click("Save"), click("close the window")]),
        ('click "Save and close the window"', [click('"Save and close the window"')]),
        # Gestures.
        ("double-click Trash", [(("Trash",), Click(A, count=2))]),
        ("Double tap on the map", [(("the map",), Click(A, count=2))]),
        ("triple click the line", [(("the line",), Click(A, count=3))]),
        ("right click the file", [(("the file",), Click(A, button="right"))]),
        ("click the file with the right mouse button", [(("the file",), Click(A, button="right"))]),
        ("click the file using the left button", [click("the file")]),
        ("middle-click the link", [(("the link",), Click(A, button="middle"))]),
        ("press and hold the icon", [(("the icon",), LongPress(A))]),
        ("long press on the icon", [(("the icon",), LongPress(A))]),
        ("hover over Help, then click About", [(("Help",), Move(A)), click("About")]),
        ("move the mouse to the corner", [(("the corner",), Move(A))]),
        ("drag A to B", [(("A", "B"), Drag(A, B))]),
        ("drag and drop the file onto Trash", [(("the file", "Trash"), Drag(A, B))]),
        ('drag the "to do, later" card and drop it on Done', [(('the "to do, later" card', "Done"), Drag(A, B))]),
        ("drag from A into B", [(("A", "B"), Drag(A, B))]),
        ("move the file to Trash", [(("the file", "Trash"), Drag(A, B))]),
        ("point to the mug", [(("the mug",), PointAt((A,)))]),
        ("Where is the cat?", [(("the cat",), PointAt((A,)))]),
        ("click Next twice", [click("Next")] * 2),
        ("find Save and click it", [(("Save",), PointAt((A,))), click("Save")]),
        # Scrolling.
        ("scroll down 5", [((), Scroll("down", 5))]),
        ("scroll up", [((), Scroll("up", 3))]),
        ("scroll down a bit in the page", [(("the page",), Scroll("down", 3, A))]),
        ("scroll the list right by two notches", [(("the list",), Scroll("right", 2, A))]),
        ("swipe up", [((), Scroll("down", 3))]),
        ("swipe left 2 times", [((), Scroll("right", 2))]),
        # Keys.
        ("press ctrl+s", [key("ctrl", "s")]),
        ("press Ctrl - Shift - T", [key("ctrl", "shift", "t")]),
        ("hit Return", [key("enter")]),
        ("press the page down key", [key("pagedown")]),
        ("press tab three times", [key("tab")] * 3),
        ("press ctrl++", [key("ctrl", "+")]),
        ("press 5", [click("5")]),
        ("press the 5 key", [key("5")]),
        ("press home tab", [click("home tab")]),
        ("enter", [key("enter")]),
        # Waiting and the rest.
        ("wait 2 seconds", [((), Wait(2))]),
        ("wait", [((), Wait(1))]),
        ("wait for half a minute", [((), Wait(30))]),
        ("pause for 1.5 minutes", [((), Wait(90))]),
        ("wait 500 ms and click A", [((), Wait(0.5)), click("A")]),
        ("launch the Notes app", [((), OpenApp("Notes"))]),
        ('launch "The App app"', [((), OpenApp("The App app"))]),
        ("go back", [((), Back())]),
        ("go to the home screen", [((), Home())]),
    ],
)
def test_instructions_become_sub_steps(text, expected):
    if expected is None:
        with pytest.raises(UsageError):
            split_instruction(text)
    else:
        assert read(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("type Ada", "Ada"),
        ("type Ada.", "Ada"),
        ("type 3.14", "3.14"),
        ("type wait...", "wait..."),
        ('type "Ada."', "Ada."),
        ('type "  two  blanks  "', "  two  blanks  "),
        ('type "click Save, then press Enter"', "click Save, then press Enter"),
        ("type 'it's me'", "it's me"),
        ("type “Ada”", "Ada"),
        ("type „Ada“", "Ada"),
        ("type «Ada, Ida»", "Ada, Ida"),
        ("type 「こんにちは、世界」", "こんにちは、世界"),
        ("type `rm x; ls`", "rm x; ls"),
        ('type "مرحبا"', "مرحبا"),
        ('type "line one\nline two"', "line one\nline two"),
        ("type {{PASSWORD}}", "{{PASSWORD}}"),
        ('type "{{USER}}, {{PASSWORD}}"', "{{USER}}, {{PASSWORD}}"),
        ('type the text "Ada"', "Ada"),
        ("type rock and roll", "rock and roll"),
        ("type hello to you", "hello to you"),
        ("type Ada there", "Ada there"),
        ("type Hello, how are you?", "Hello, how are you?"),
        ("type Hello!", "Hello!"),
        ("type Hello.", "Hello"),
        ('type "Ada" there', "Ada"),
        ("write C:\\new", "C:\\new"),
    ],
)
def test_text_to_type_is_kept_as_it_is(text, expected):
    assert read(text) == [typing(expected)]


@pytest.mark.parametrize(
    ("text", "target", "typed"),
    [
        ('type "Ada" into the Name field', "the Name field", "Ada"),
        ('type "Ada" in "First, last"', '"First, last"', "Ada"),
        ("enter Ada into Name", "Name", "Ada"),
        ("type hello in the search box", "the search box", "hello"),
        ("type hello in Search bar", "Search bar", "hello"),
        ("type {{PASSWORD}} into Password.", "Password", "{{PASSWORD}}"),
        ("type こんにちは into 名前", "名前", "こんにちは"),
    ],
)
def test_typing_into_something_clicks_it_first(text, target, typed):
    assert read(text) == [click(target), typing(typed)]


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ('fill in Name with "Ada, Countess"', [("Name", "Ada, Countess")]),
        ("fill in the Name field with Ada", [("the Name field", "Ada")]),
        ("fill out Name with Ada.", [("Name", "Ada")]),
        ('fill "First name" with "Ada with Byron"', [('"First name"', "Ada with Byron")]),
        ('fill in Name with ""', [("Name", "")]),
        ("fill in Password with {{PASSWORD}}", [("Password", "{{PASSWORD}}")]),
        ('set Name to "Ada"', [("Name", "Ada")]),
        ("set the Name field to Ada", [("the Name field", "Ada")]),
        (
            'fill in Name with "Ada", Town with "London" and Year with "1815"',
            [("Name", "Ada"), ("Town", "London"), ("Year", "1815")],
        ),
        ('set Name to "Ada" and Town to "Bath"', [("Name", "Ada"), ("Town", "Bath")]),
    ],
)
def test_filling_in_replaces_what_the_field_holds(text, pairs):
    steps = [step for target, typed in pairs for step in (click(target), ((), Type(typed, replace=True)))]
    assert read(text) == steps


def test_every_sub_step_keeps_the_words_that_asked_for_it():
    steps = split_instruction('click the "Delete" button, type "Ada" into Name then press Enter')
    assert [step.text for step in steps] == [
        'click the "Delete" button',
        'type "Ada" into Name',
        'type "Ada" into Name',
        "press Enter",
    ]


def test_it_stands_for_what_was_pointed_at_last():
    assert read("click Name, double-click it")[1] == (("Name",), Click(A, count=2))
    assert read('click Name and type "Ada" into it') == [click("Name"), typing("Ada")]
    assert read("click Card, drag it to Done")[1] == (("Card", "Done"), Drag(A, B))
    with pytest.raises(UsageError, match="'click it': it is not clear what 'it' stands for; name it"):
        split_instruction("click it")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected something to do, got ''; say for example: click Name"),
        (" ... ,; \n", "expected something to do"),
        ("click", "'click' does not say what"),
        ('type ""', "does not say what"),
        ('type "" into Name', "does not say what"),
        ("drag the file", "'drag the file' does not say where to; say for example: drag the file to Trash"),
        ("scroll", "'scroll': expected a direction; say for example: scroll down 5 in the list"),
        ("scroll to the end", "expected a direction"),
        ("scroll down 0", "expected a whole number of notches, 1 or more, got 0"),
        ("scroll down 1.5", "expected a whole number of notches, 1 or more, got 1.5"),
        ("click A 99 times", "expected 1 to 20 times, got 99"),
        ("wait for the dialog", "can only wait for a time; say for example: wait 2 seconds"),
        ("wait 61 minutes", "'wait 61 minutes': expected at most 60 minutes, got 61"),
        ("fill in Name", 'does not say with what; say for example: fill in Name with "Ada"'),
        ("set Name", 'does not say to what; say for example: fill in Name with "Ada"'),
        ("fill in Name with Ada with Bob", "it is not clear where the text begins; put it in quotes"),
        ("fill in Name with", 'does not say with what; say for example: fill in Name with "Ada"'),
        ("set Volume to 50", 'only fields can be set; put the text in quotes: set Volume to "50", or name the clicks'),
        ('type "a" "b"', "expected 'into' and a field after the quoted text, got '\"b\"'"),
        ('type "say "hi" now"', "a quote begins inside a quote; use another sign outside, such as '...'"),
        ("scroll down 101", "'scroll down 101': expected at most 100 notches, got 101"),
        ("click Next many times", "expected 1 to 20 times, in digits or words; say for example: click Next 3 times"),
        ("click Next thrice", "expected 1 to 20 times, in digits or words"),
        ("press Tab -3 times", "expected 1 to 20 times, in digits or words"),
        ("type Ada Berg into Name and Bob Berg into Surname", "it is not clear where the text ends; put it in quotes"),
        ("don't click Cancel", 'cannot follow "don\'t click Cancel": leave out what is not to be done'),
        ("click Save, never touch Cancel", "leave out what is not to be done"),
        ("if the dialog is open, click OK", "conditions and repetitions are not understood: name the steps one by one"),
        ("click Save, if asked click Yes", "conditions and repetitions"),
        ("click a, " * 9999, "expected an instruction of at most 20000 characters, got 89991"),
        (f"click{' ' * 201}A", "expected words, got more than 200 blanks in a row outside of quotes"),
        ("ctrl+click and hold A", "'ctrl+click and hold A': keys can be held during clicks only"),
    ],
)
def test_what_could_only_be_guessed_is_refused_with_a_hint(text, message):
    with pytest.raises(UsageError) as error:
        split_instruction(text)
    assert message in str(error.value)


@given(st.text(st.characters(codec="utf-8", exclude_characters='"{}'), min_size=1))
def test_any_quoted_text_survives(text):
    assert read(f'type "{text}"') == [typing(text)]
    assert read(f'click A, type "{text}" into B, then press Enter')[1:3] == [click("B"), typing(text)]


@given(st.text(max_size=80))
def test_any_text_is_steps_or_a_usage_error(text):
    try:
        steps = split_instruction(text)
    except UsageError:
        return
    assert steps
    for step in steps:
        assert type(step.action((A, B)[: len(step.targets)])) in action_types().values()
        assert all(target in text for target in step.targets)
        assert step.gesture != "type" or step.value in text


def test_the_longest_instructions_are_read_in_seconds():
    start = time.perf_counter()
    for piece in (
        "click a, ",
        "(",
        '"',
        "and ",
        "{{",
        "«",
        "type a into ",
        "'a ",
        " then ",
        "1. ",
        " with ",
        "please ",
        "ctrl+",
        "ctrl+k ",
        "ctrl and ",
        "as \t",
        "is not",
        '"a", ',
        "don",
        "a: ",
        "A. ",
        "after the ",
        "before Name ",
        "to Never ",
        "leave it ",
        "that is ",
        "? ",
        "点",
        "на",
        "and see ",
    ):
        try:
            split_instruction("click " + piece * (19_990 // len(piece)))
        except UsageError:
            continue
    assert time.perf_counter() - start < 30


def test_a_gesture_is_never_made_from_a_missing_point():
    (step,) = split_instruction("drag A to B")
    with pytest.raises(ValueError, match="'drag A to B' needs 2 points, got 1"):
        step.action([A])
    with pytest.raises(ValueError, match="'click A' needs 1 points, got 0"):
        split_instruction("click A")[0].action()
