"""Sentences that people write are read in the sense that a person gives them, or refused with what to write instead."""

import contextlib

import pytest
from test_only_what_was_asked import carried_out, followed, refusal

from molmo_agent.errors import UsageError
from molmo_agent.policies.instructions.splitter import split_instruction


def misread(readings):
    """Return the sentences that are read otherwise, with what is done."""
    return {text: done for text, steps in readings.items() if (done := carried_out(text)) != steps}


def test_a_place_before_the_verb_belongs_to_its_target():
    assert (
        misread(
            {
                "in the left sidebar click Inbox": "click Inbox in the left sidebar",
                "In the Format menu, choose Bold": "click Bold in the Format menu",
                "at the bottom of the page tap Next": "click Next at the bottom of the page",
                "On the right-hand panel, double-click Layers": "double_click Layers on the right-hand panel",
                "In the dialog that appears, click Yes": "click Yes in the dialog that appears",
                "under Privacy, turn off Location": "click Location under Privacy",
                "in the list, scroll down 5": "scroll down 5 the list",
                "in the search field at the top, type ramen": "click the search field at the top | type ramen",
                "click File, then in the menu choose Exit": "click File | click Exit in the menu",
                "In Settings, tap Display": "click Display in Settings",
            }
        )
        == {}
    )


def test_a_condition_or_a_time_that_looks_like_a_place_is_refused():
    conditions = [
        "in the meantime, click Save",
        "at the end of the page click Save",
        "on the next page click Save",
        "on the first screen click Save",
        "at the top of the hour click Save",
        "in the event of an error window click Save",
        "in January, click Save",
        "from Monday click Save",
        "in case of a dialog, click Save",
        "in the window, if it is open, click Save",
        "in the menu, Bob clicked Save",
    ]
    assert followed(conditions) == {}


def test_what_is_refused_alone_is_refused_with_a_place_or_a_purpose_too():
    refused = [
        "click Pay twice a day",
        "select the first three files",
        "click around",
        "click Next 0 times",
        "how do I open settings",
        "install all updates",
        "you should click Pay",
    ]
    assert followed(f"in the menu{join}{text}" for join in (" ", ", ") for text in refused) == {}
    assert (
        followed(["select the first three files to move them", "click Save by clicking OK", "turn A on, it is dark"])
        == {}
    )
    assert followed(["press Enter to click Save", "press Enter to klicka OK", "press Enter a couple of times"]) == {}


def test_a_text_goes_into_a_field_and_into_no_other_place():
    for text in ("in the dialog, type Ada", "at the top type Ada", "in the form, fill in Name with Ada"):
        assert "expected the field that is typed into" in refusal(text)
    assert "name one place before the verb" in refusal("in the dialog, in the list click A")


@pytest.mark.parametrize("gesture", ["in the menu click Pay", "go to example.com", "search for cats", "use ctrl+s"])
@pytest.mark.parametrize("join", [" ", ", ", " - "])
def test_words_that_make_something_else_of_an_order_are_refused_in_every_form(gesture, join):
    endings = ["if it is green", "unless I say so", "until it works", "or Close", "but not Close", "never mind"]
    beginnings = ["don't", "never", "you must not", "if it is green,", "should I", "I did", "Bob said"]
    texts = [f"{gesture}{join}{ending}" for ending in endings] + [f"{word} {gesture}" for word in beginnings]
    assert followed(texts) == {}


def test_keys_are_pressed_whatever_they_are_good_for():
    assert (
        misread(
            {
                "press Enter to send the message": "key enter",
                "press ctrl+a to select everything": "key ctrl+a",
                "hit tab to move to the next field": "key tab",
                "save the document with ctrl+s": "key ctrl+s",
                "close the window using alt+f4": "key alt+f4",
                "open the menu by pressing F10": "key f10",
                "paste it with ctrl+v": "key ctrl+v",
                "select all with ctrl+a and press Delete": "key ctrl+a | key delete",
                "use the keyboard shortcut Ctrl+S": "key ctrl+s",
                "use the down arrow key 3 times": "key down | key down | key down",
                "close the dialog by clicking OK": "click OK",
            }
        )
        == {}
    )


def test_keys_that_are_no_means_and_no_order_are_refused():
    for text in ("click Save with ctrl+s", "type hello with ctrl+v", "double-click Save using alt+f4"):
        assert "cannot follow" in refusal(text)
    assert "keys go to what has the focus" in refusal("press Enter in the search field")
    assert "expected keys: use ctrl+s" in refusal("use the search bar")
    none = ["he saves with ctrl+s", "never save with ctrl+s", "save with ctrl+s or cmd+s", "save nothing with ctrl+s"]
    assert followed(none) == {}


def test_two_things_are_not_one_target():
    texts = [
        "click the red square and the blue circle",
        "tick Milk, Bread and Butter",
        "select the first three files",
        "click the first and second box",
        "turn on the light and the fan",
        "close the left tab and the right tab",
        "click A as well as B",
        "click A followed by B",
        "click A -> click B",
        'select "A", "B" and "C"',
    ]
    for text in texts:
        assert "name one thing, and one step for each" in refusal(text), text


def test_names_that_hold_and_or_a_verb_stay_whole():
    names = [
        "the Cut and Paste button",
        "the save and close button",
        "the Search and Select tab",
        "the button with the plus and the minus",
        "the space between the A and the B",
        "the button, the blue one",
        "Terms and Conditions",
        '"A, B and C"',
    ]
    assert misread({f"click {name}": f"click {name}" for name in names}) == {}
    assert carried_out("click the menu and press the button") == "click the menu | click the button"


def test_signs_in_a_list_are_pressed_one_by_one():
    assert carried_out("press 7, 8, and =") == "click 7 | click 8 | click ="
    assert carried_out("click 1,2,3") == "click 1 | click 2 | click 3"
    assert carried_out("tap A, B and C") == "click A | click B | click C"


def test_a_range_or_a_choice_is_no_target():
    for text in ("select rows 1 to 5", "select the text from A to B", "choose between A and B", "select A1 through B5"):
        assert "a range is not one thing" in refusal(text)
    for text in ("pick the right one", "choose the best answer", "select the correct option if any"):
        assert followed([text]) == {}
    assert carried_out("click the flight from Oslo to Rome") == "click the flight from Oslo to Rome"


def test_what_names_no_thing_is_no_target():
    texts = ["click again", "tap here", "press the mouse button", "tap to continue", "click and release", "choose all"]
    assert followed(texts) == {}
    assert "say right-click" in refusal("click right on the desktop")
    assert "the program cannot be chosen" in refusal("open the file with Notepad")
    assert "name one app" in refusal("launch Firefox and Chrome")
    assert "a distance cannot be chosen" in refusal("drag the circle 100 pixels to the right")
    assert "scroll down 20" in refusal("go to the end of the document")
    assert "say for example: press Tab 3 times" in refusal("press enter twice quickly")
    assert "ctrl-click" in refusal("press and hold shift")


def test_a_manner_is_not_typed():
    texts = [
        "type hello twice",
        "type hello three times",
        "write abc in capital letters",
        "enter abc slowly",
        "type abc using the on-screen keyboard",
        'write "hello" in bold',
        "type it again",
        "type that in the box",
        "type the answer",
        "enter the current date",
        "type the word shown above",
        "type the numbers below",
    ]
    for text in texts:
        assert "put the text to type in quotes" in refusal(text) or "name the field" in refusal(text), text
    for text in ("paste", "paste it", "paste the text", "paste into the document"):
        assert "quotes" in refusal(text)
    assert "put the text in quotes, with ','" in refusal("write Dear Ms Smith,")


def test_what_a_text_is_called_is_not_typed():
    assert (
        misread(
            {
                "type the word hello": "type hello",
                "enter the code 1234": "type 1234",
                "enter my email ada@example.com in the Email box": "click the Email box | type ada@example.com",
                "type the text: how are you?": "type how are you?",
                "type the letter a": "type a",
                "type username ada": "type username ada",
                "type this is a test": "type this is a test",
            }
        )
        == {}
    )


def test_several_texts_go_into_their_fields():
    assert (
        misread(
            {
                'type "Ada" into Name and "Berg" into Town': "click Name | type Ada | click Town | type Berg",
                "enter Ada in the Name field and Berg in the Town field": (
                    "click the Name field | type Ada | click the Town field | type Berg"
                ),
                "type Ada in the Name field, then Berg in the Town field": (
                    "click the Name field | type Ada | click the Town field | type Berg"
                ),
                "fill the name field with Ada and the age field with 30": (
                    "click the name field | replace Ada | click the age field | replace 30"
                ),
                "select May from the month list and 2027 from the year list": (
                    "click May from the month list | click 2027 from the year list"
                ),
            }
        )
        == {}
    )


def test_more_words_fill_and_empty_a_field():
    assert (
        misread(
            {
                "put 42 in the quantity field": "click the quantity field | replace 42",
                'put "Ada" into the Name box': "click the Name box | replace Ada",
                'fill in "Ada" as the first name': "click the first name | replace Ada",
                'replace the contents of the Name field with "Ada"': "click the Name field | replace Ada",
                "delete the text in the search bar": "click the search bar | replace",
                "erase the contents of the Name field": "click the Name field | replace",
            }
        )
        == {}
    )
    others = [
        "put the ball in the box",
        "put it in the box",
        "replace cats with dogs",
        "delete the text on the page",
        "delete the file in the box",
    ]
    assert followed(others) == {}


def test_what_is_looked_for_goes_into_the_search_field_or_the_address_bar():
    assert (
        misread(
            {
                'search for "red shoes"': "click the search field | replace red shoes | key enter",
                "search for italian restaurants": "click the search field | replace italian restaurants | key enter",
                "search for jazz in the search bar": "click the search bar | replace jazz | key enter",
                'search for "cats" and press Enter': "click the search field | replace cats | key enter",
                "go to example.org": "click the address bar | replace example.org | key enter",
                "visit https://a.org/b?c=1": "click the address bar | replace https://a.org/b?c=1 | key enter",
            }
        )
        == {}
    )
    for text in ("search for updates", "search for the red car", "search for files from Bob", "search for it"):
        assert "it is not clear where to search; say for example: search for" in refusal(text)
    assert "expected only an address" in refusal("go to example.com quickly")


def test_back_says_where_to_or_how_often_and_no_more():
    assert (
        misread(
            {
                "go back twice": "back | back",
                "go back to the previous page": "back",
                "return to the previous page": "back",
                "go back one page, then click News": "back | click News",
                "go home": "home",
            }
        )
        == {}
    )
    for text in ("go back to the inbox", "go back home", "go home and away", "go back now"):
        assert "expected only 'go" in refusal(text)


def test_numbers_and_buttons_may_stand_before_the_target():
    assert (
        misread(
            {
                "click twice on the icon": "click the icon | click the icon",
                "tap 3 times on Next": "click Next | click Next | click Next",
                "click the right mouse button on the desktop": "right_click the desktop",
                "do a right click on the file": "right_click the file",
                "perform a long press on the icon": "long_press the icon",
                "hold ctrl while clicking the second item": "ctrl+click the second item",
                "with shift held down, click the last row": "shift+click the last row",
                "turn the radio on": "click the radio",
                "switch Wi-Fi off and tap Done": "click Wi-Fi | click Done",
            }
        )
        == {}
    )
    assert followed(["turn the page on the left", "turn it off and on", "hold ctrl while clicking A or B"]) == {}


def test_a_part_without_a_verb_repeats_a_click_and_nothing_else():
    assert carried_out("click File, then on Open") == "click File | click Open"
    assert carried_out("switch to A then to B") == "click A | click B"
    for text in ("double-click A, then B", "type hello, then goodbye", "hover over A, then B", "drag A to B, then C"):
        assert "say what to do with it" in refusal(text)


def test_a_swipe_between_two_places_is_a_drag_and_scrolling_has_one_direction():
    assert carried_out("swipe from the left edge to the right edge") == "drag the left edge -> the right edge"
    assert carried_out("swipe down to refresh") == "scroll up 3"
    assert carried_out("scroll down a little bit more") == "scroll down 3"
    assert followed(["scroll up 2 and down 3", "scroll down to the comments", "swipe from the top"]) == {}


def test_numbered_steps_are_steps():
    expected = "click A | click B"
    for text in (
        "Step 1: click A. Step 2: click B.",
        "step 1: click A, step 2: click B",
        "first, click A. second, click B",
    ):
        assert carried_out(text) == expected


def test_reading_takes_no_longer_than_the_text_is_long():
    for piece in (
        "in the menu ",
        "press enter to ",
        "the a and ",
        "save with ",
        "from the a and ",
        "type a in the b field and ",
    ):
        for text in (piece * 1500, f"click {piece * 1500}", f"select {piece * 1500}"):
            with contextlib.suppress(UsageError):
                split_instruction(text[:20_000])
