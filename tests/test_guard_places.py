"""What needs no question beside the words themselves: rows, cards, marks of options, cells, icons read as letters.

An unknown word stays a question in all of these places.
"""

import pytest
from drawn_text import FONT
from guard_stage import Stage

from molmo_agent.actions import Click
from molmo_agent.risk.folding import without_icon

NAMES = ("Panu Reemo", "Quarterly plan", "мои заметки")
UNKNOWN = ("Zap", "Obliviate now", "Frobnicate", "Yeet it")


def row(name, x=330, *, said=None):
    """Return why a person is asked about a place right of a name and left of a time, in a row of a list."""
    stage = Stage()
    drawing = stage.drawing.rectangle(40, 80, 700, 200)
    for number, words in enumerate(("Someone else", name, "Another one")):
        drawing.text(60, 96 + 62 * number, words).text(660, 96 + 62 * number, "17:12")
        drawing.rectangle(40, 140 + 62 * number, 700, 2)
    return stage.why(Click(stage.at(x, 164)), f'click "{said or name}"')


def test_the_blank_part_of_a_row_is_free_where_the_row_has_the_name_that_was_asked_for():
    assert {name: why for name in NAMES if (why := row(name))} == {}


def test_the_blank_part_of_a_row_is_asked_about_under_another_name_or_a_harmful_one():
    asked = {
        "another name": row("Panu Reemo", said="Mira Zel"),
        "a harmful name": row("Delete everything"),
        "a harmful name elsewhere": row("Panu Reemo", said="Empty the trash"),
    }
    assert [what for what, why in asked.items() if not why] == []


def card(name, said):
    stage = Stage()
    stage.drawing.rectangle(100, 100, 200, 220).rectangle(101, 101, 198, 150, fill=(240, 210, 210))
    stage.drawing.draw.ellipse((160, 130, 240, 210), fill=(220, 60, 60))
    stage.drawing.text(200 - FONT.getlength(name) / 2, 270, name)
    return stage.why(Click(stage.at(200, 170)), f'tap "{said}"')


def test_the_picture_of_a_card_is_free_where_the_card_has_the_name_that_was_asked_for():
    assert {name: why for name in NAMES if (why := card(name, name))} == {}
    assert card("Red chair", "Blue mug")
    assert card("Send money", "Send money")
    assert card("Zap", "Frobnicate")


def option(label, said, *, below="Accept the offer", mark=True):
    stage = Stage()
    if mark:
        stage.drawing.rectangle(60, 104, 14, 14)
    stage.drawing.text(84, 103, label).rectangle(60, 133, 14, 14).text(50, 132, below)
    return stage.why(Click(stage.at(67, 111)), said)


def test_the_mark_of_an_option_belongs_to_the_label_at_its_right():
    labels = ("Printers", "Show grid", "Large icons", "Wrap long lines")
    assert {name: why for name in labels if (why := option(name, f'click "{name}"'))} == {}
    assert "gives consent" in option("I trust the license", 'click "I trust the license"')
    assert option("Delete all files", 'click "Delete all files"')


def table(text, columns=("Alpha", "12", "Berlin")):
    """Return why a person is asked about a cell of the highlighted row of a table."""
    stage = Stage()
    drawing = stage.drawing.rectangle(40, 60, 420, 150)
    for number, cells in enumerate((("Beta", "40", "Paris"), (text, *columns[1:]), ("Gamma", "7", "Rome"))):
        if number == 1:
            drawing.rectangle(41, 100, 418, 26, fill=(190, 220, 120))
        for column, cell in enumerate(cells):
            drawing.text(56 + 140 * column, 72 + 32 * number, cell)
    return stage.why(Click(stage.at(66, 112)), f'select "{text}"')


def test_a_cell_of_a_highlighted_row_is_no_button():
    assert {name: why for name in NAMES if (why := table(name))} == {}
    assert table("Delete all")
    assert table("Pay now")


def button(words, said, *others):
    stage = Stage()
    stage.drawing.rectangle(200, 180, 480, 170, fill=(250, 250, 250)).text(220, 200, "The server does not answer.")
    for number, name in enumerate((words, *others)):
        stage.drawing.button(230 + 150 * number, 300, 140, name)
    return stage.why(Click(stage.at(300, 314)), said)


def test_an_icon_that_is_read_as_a_letter_hides_no_word():
    assert [without_icon(text) for text in ("XCancel", "Text Files▼", "xOpen", "Next ▶")] == [
        "Cancel", "Text Files", "Open", "Next"
    ]  # fmt: skip
    assert [text for text in ("XML", "X-ray", "xterm", "Fax", "X", "▼") if without_icon(text) != text] == []
    assert button("XCancel", "click Cancel", "OK") == ""
    assert [name for name in ("XDelete", "xSend", "XZap", "XPay now") if not button(name, "click it")] == []


def test_a_list_that_opens_is_free_and_a_button_with_an_arrow_is_not():
    assert button("Text Files▼", 'open the "Text Files" drop-down') == ""
    asked = (
        button("Text Files▼", 'click "Text Files"'),
        button("Frobnicate", "open the Frobnicate drop-down menu of files"),
        button("Send▼", "open the Send drop-down"),
    )
    assert all(asked), asked


def test_help_and_another_try_are_free_unless_the_dialog_is_about_something_to_pay():
    for name in ("Help", "Details", "Hilfe", "Retry", "Try again"):
        assert button(name, f'click "{name}"', "Cancel") == "", name
    stage = Stage()
    stage.drawing.rectangle(200, 180, 480, 170, fill=(250, 250, 250)).text(220, 200, "Your payment of $40 failed.")
    stage.drawing.button(230, 300, 110, "Retry").button(360, 300, 110, "Cancel")
    assert stage.why(Click(stage.at(285, 314)), 'click "Retry"')


def test_a_thing_goes_into_a_cart_without_a_question_and_is_bought_with_one():
    free = ("Add to cart", "Save for later", "Add to wishlist", "Save and continue editing")
    assert {name: why for name in free if (why := button(name, f'tap "{name}"'))} == {}
    asked = ("Add to cart and pay", "Buy now", "Add to order", "Add card and subscribe")
    assert [name for name in asked if not button(name, f'tap "{name}"')] == []


@pytest.mark.parametrize("verb", UNKNOWN)
def test_an_unknown_verb_is_asked_about_in_all_of_these_places(verb):
    asked = {
        "a button": button(verb, f'click "{verb}"'),
        "beside cancel": button(verb, f'click "{verb}"', "Cancel"),
        "with an icon": button(f"X{verb}", f'click "{verb}"'),
        "with an arrow": button(f"{verb}▼", f'click "{verb}"'),
        "said to be ticked": button(verb, f'tick "{verb}"'),
        "said to be a list": button(verb, f'open the "{verb}" drop-down'),
    }
    assert [where for where, why in asked.items() if not why] == []
