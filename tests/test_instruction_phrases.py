"""Phrases that end a text, join several things or point at what was before: each is read in one sense or refused."""

from test_instruction_readings import misread
from test_only_what_was_asked import followed, refusal


def test_a_place_or_a_role_behind_an_unquoted_text_is_no_part_of_it():
    readings = {
        "type =B2*1.19 in cell C2": "click cell C2 | type =B2*1.19",
        "type 17 in Rooms": "click Rooms | type 17",
        "enter 24/12/2026 as the arrival date": "click the arrival date | type 24/12/2026",
        "input ada@site.org for the contact address": "click the contact address | type ada@site.org",
        "enter order number 7712 in the search box": "click the search box | type 7712",
        "type this: call me": "type call me",
        "type I am at home": "type I am at home",
    }
    assert misread(readings) == {}
    unclear = [
        "type Oslo in Destination",
        "write thanks at the end of the page",
        "type done on line 12",
        "enter Ada as last name",
        "enter 3 for children and 2 for adults",
        "write greetings to Carla",
        "enter password swordfish",
        "enter twice",
    ]
    assert followed(unclear) == {}
    assert "it is not clear where the text ends" in refusal("type Oslo in Destination")


def test_a_text_that_is_described_is_not_typed():
    described = [
        "type what he told me",
        "enter tomorrow's date",
        "type Carla's new address",
        "write back that it is done",
        "enter current time",
        "fill in Name with my usual name",
        "edit the Name field to say Ada",
        "type the # sign",
        "put your address in the address field",
    ]
    assert followed(described) == {}


def test_a_reference_to_something_outside_of_the_task_is_refused():
    references = [
        "same as yesterday",
        "click the same icon",
        "open the page I visited",
        "tap the other one",
        "tap those",
        "click the rest of the rows",
        "press Save as usual",
        "open the mail from before",
        "select a suitable room",
        "tap the icon that fits best",
        "double-click it once more",
    ]
    assert followed(references) == {}
    assert "earlier tasks are not known: name what is meant" in refusal("press Save as usual")


def test_again_repeats_what_the_task_names():
    readings = {
        "click Add, press Tab, press Tab again": "click Add | key tab | key tab",
        "click the plus button, then click it again": "click the plus button | click the plus button",
        'tap "Next" one more time': 'click "Next"',
        "scroll down again": "scroll down 3",
        "click Play again": "click Play again",
    }
    assert misread(readings) == {}


def test_things_named_together_are_one_step_each():
    readings = {
        "tick the boxes for Rain, Ice, Fog": "click the box for Rain | click the box for Ice | click the box for Fog",
        "press the buttons 4 and 2": "click the button 4 | click the button 2",
        'untick both "News" and "Offers"': 'click "News" | click "Offers"',
        'turn off "Sound" and "Vibration"': 'click "Sound" | click "Vibration"',
        'ctrl-click "a.txt", "b.txt"': 'ctrl+click "a.txt" | ctrl+click "b.txt"',
    }
    assert misread(readings) == {}
    refused = [
        "tick the boxes Salt and Pepper and Oil",
        "open the files a.txt and b.txt",
        'double-click "a" and "b"',
        'long-press both "a" and "b"',
        'drag "a" and "b" to Trash',
        'select "a" and "b"',
        "turn on Sound and Vibration",
        "check box 1 and 4",
        "hold ctrl, click A and click B",
        "hold shift and click A, click B",
    ]
    assert followed(refused) == {}
    assert "say for example: ctrl-click A, then click B" in refusal("hold ctrl, click A and click B")


def test_every_text_of_a_sentence_goes_into_its_own_field():
    readings = {
        "type Ada into Name and Rome into Town": "click Name | type Ada | click Town | type Rome",
        "type 5 in cell A1 and 8 in cell A2": "click cell A1 | type 5 | click cell A2 | type 8",
        'enter "Ada" for Name and "Rome" for Town': "click Name | type Ada | click Town | type Rome",
        "fill Name with Ada and Town with Rome": "click Name | replace Ada | click Town | replace Rome",
        "set the Width field to 4 and the Height field to 5": (
            "click the Width field | replace 4 | click the Height field | replace 5"
        ),
        "type Ada in the Name field, type Rome in the Town field": (
            "click the Name field | type Ada | click the Town field | type Rome"
        ),
        'set the From field to "Rome" and the To field to "Oslo"': (
            "click the From field | replace Rome | click the To field | replace Oslo"
        ),
        'enter the password "s3"': "type s3",
        "change the Town field to Oslo": "click the Town field | replace Oslo",
        "put tea in the search box": "click the search box | replace tea",
        'insert "tea" into the note field': "click the note field | type tea",
    }
    assert misread(readings) == {}
    assert followed(['put "a" and "b" in the box', 'fill in Name with "a" and "b"', "put nothing in the box"]) == {}


def test_a_gesture_behind_an_aim_is_what_is_done():
    readings = {
        "reject the offer by clicking No": "click No",
        "increase the size by pressing ctrl+plus": "key ctrl++",
        "highlight the title by triple-clicking it": "triple_click the title",
        "move the card by dragging it to Done": "drag the card -> Done",
        "make the text larger with ctrl+plus": "key ctrl++",
        "press F11 for full screen": "key f11",
        "fill in Name with F5": "click Name | replace F5",
        "fill in Name with ctrl+s": "click Name | replace ctrl+s",
    }
    assert misread(readings) == {}
    refused = [
        "don't reject it by clicking No",
        "reject it by clicking No or Later",
        "the offer is rejected by clicking No",
        "click Save by clicking OK",
        "press Enter for 3 seconds",
    ]
    assert followed(refused) == {}


def test_a_thing_is_dragged_from_where_it_is_to_where_the_task_says():
    readings = {
        'drag "Tea" from To buy to Bought': 'drag "Tea" from To buy -> Bought',
        "drag and drop b.png on the canvas": "drag b.png -> the canvas",
        "drop b.png onto the canvas": "drag b.png -> the canvas",
        "slide the volume bar to the left end": "drag the volume bar -> the left end",
        "swipe up from the bottom edge to the middle": "drag the bottom edge -> the middle",
    }
    assert misread(readings) == {}
    refused = [
        "drag the slider to about 30",
        "drag the file into the folder to the left into Trash",
        "drag from (10, 20) to (30, 40)",
        "swipe from (10, 20) to (30, 40)",
        "click at 120, 340",
        "swipe up from the bottom",
        "tap the map with two fingers",
        "scroll all the way up",
    ]
    assert followed(refused) == {}
    assert "coordinates are not read: name what is seen there" in refusal("click at 120, 340")
    assert "swipe from the bottom edge to the middle of the screen" in refusal("swipe up from the bottom")
    assert "it is not clear which of the words" in refusal("drag the file into the folder to the left into Trash")


def test_keys_stand_beside_a_text_and_not_in_it():
    readings = {
        'type "ls", Enter': "type ls | key enter",
        'type "ls" followed by Enter': "type ls | key enter",
        'type "ls" and confirm with Return': "type ls | key enter",
        "backspace 3 times": "key backspace | key backspace | key backspace",
    }
    assert misread(readings) == {}
    assert followed(["press M to mute", "press + to zoom in", "press the letter key A", "press B to go on"]) == {}
    assert followed(["type ls<Enter>", 'type "a", Enter, "b"', "type a, then Tab, then b", "click A and type"]) == {}
    assert 'say keys as steps: type "Ada", then press Enter' in refusal("type ls[Enter]")


def test_a_mark_in_a_box_is_a_click_on_it():
    readings = {
        'put a check mark next to "News"': 'click "News"',
        "put a cross in the third box": "click the third box",
        "remove the tick from Updates": "click Updates",
        "flip the power switch": "click the power switch",
    }
    assert misread(readings) == {}
    assert followed(["put a tick next to all rows", "put a check mark next to News and Updates", "flip the coin"]) == {}


def test_an_order_with_a_preposition_is_no_name_of_a_widget():
    orders = [
        "replace cats with dogs in the search bar of the dialog",
        "delete entry from list",
        'comment "Nice!" under the photo',
        "pinch to zoom out on the photo",
        "play around with the options",
    ]
    assert followed(orders) == {}
    assert (
        misread({"Add to list": "click Add to list", "the copy icon in the bar": "click the copy icon in the bar"})
        == {}
    )


def test_a_greeting_and_a_favour_are_left_out():
    readings = {
        "Hello, please click Save": "click Save",
        "Hi there! open the View menu": "click the View menu",
        "click Save for me": "click Save",
        "could you press Enter for me?": "key enter",
        "type wait for me": "type wait for me",
        'type "wait" for me': "type wait",
    }
    assert misread(readings) == {}
    assert followed(["Hi, Bob", "Hey, don't click Save", "Hello, should I click Save?"]) == {}


def test_a_refused_aim_shows_how_its_steps_are_said():
    hints = {
        "zoom in on the map": "press ctrl+plus",
        "copy the first line": "press ctrl+c",
        "rename the folder": 'right-click the file, click Rename, then type "Letter"',
        "sort the list": 'click "Sort"',
        "make the page nicer": 'click Tools, then click "Sort by date"',
    }
    assert {
        text: hint for text, hint in hints.items() if f"an aim; say its steps, for example: {hint}" not in refusal(text)
    } == {}
    assert "to undo a change, say: press ctrl+z" in refusal("undo that")
