"""What is known to be harmless by its looks is not asked about: chosen tabs, drop-down lists, rows of menus."""

import pytest
from drawn_text import FONT
from guard_stage import Stage

from molmo_agent.actions import Click


def strip_of_tabs(names, chosen, x=60, y=80):
    """Draw a strip of names, the chosen one in a frame; return the stage and the centre of the chosen one."""
    stage, centre = Stage(), None
    stage.drawing.rectangle(x - 20, y - 10, 620, 40, fill=(250, 250, 250))
    for name in names:
        width = FONT.getlength(name)
        if name == chosen:
            stage.drawing.rectangle(int(x) - 8, y - 6, int(width) + 16, 32, fill=(215, 225, 235))
            centre = (x + width / 2, y + 8)
        stage.drawing.text(x, y, name)
        x += width + 40
    return stage, centre


@pytest.mark.parametrize("chosen", ["Glorfs", "Zorgle", "Naples"])
def test_the_chosen_tab_of_a_strip_of_names_is_no_button(chosen):
    stage, (x, y) = strip_of_tabs(("Zorgle", "Naples", "Frobs", "Glorfs"), chosen)
    assert stage.why(Click(stage.at(x, y)), f"click {chosen}") == ""


def test_a_tab_whose_name_commits_to_something_is_asked_about_and_so_is_a_button_beside_cancel():
    stage, (x, y) = strip_of_tabs(("Zorgle", "Naples", "Delete all"), "Delete all")
    assert "may not be undone" in stage.why(Click(stage.at(x, y)), "click it")
    stage, (x, y) = strip_of_tabs(("Help", "Cancel", "Zorgle"), "Zorgle")
    assert "is not known" in stage.why(Click(stage.at(x, y)), "click Zorgle")


def list_with_arrow(value, mark=True, left_mark=False):
    stage, width = Stage(), int(FONT.getlength(value))
    stage.drawing.rectangle(300, 240, width + 50, 28, fill=(225, 225, 225)).text(314, 246, value)
    if mark:
        right = 314 + width
        stage.drawing.draw.polygon([(right + 14, 250), (right + 26, 250), (right + 20, 258)], fill=(40, 40, 40))
    if left_mark:
        stage.drawing.draw.rectangle((305, 248, 310, 260), fill=(40, 40, 40))
    return stage, stage.at(350, 254)


@pytest.mark.parametrize("value", ["Esperanto", "Naples (UTF-8)", "Every second frob"])
def test_a_list_that_shows_its_value_and_an_arrow_opens_if_a_list_was_asked_for(value):
    stage, point = list_with_arrow(value)
    assert stage.why(Click(point), 'click the "Language" drop-down list') == ""
    assert "is not known" in stage.why(Click(point), 'click "Language"')


def test_a_button_without_an_arrow_or_with_a_risky_value_is_asked_about_as_a_list_too():
    said = 'click the "Language" drop-down list'
    stage, point = list_with_arrow("Esperanto", mark=False)
    assert stage.why(Click(point), said)
    stage, point = list_with_arrow("Esperanto", left_mark=True)
    assert stage.why(Click(point), said)
    stage, point = list_with_arrow("Delete all")
    assert "may not be undone" in stage.why(Click(point), said)


def menu(*entries):
    stage = Stage()
    stage.drawing.rectangle(200, 100, 300, 40 * len(entries) + 10, fill=(252, 252, 252))
    for number, entry in enumerate(entries):
        stage.drawing.text(220, 112 + 40 * number, entry)
    return stage


def test_the_blank_part_of_a_row_is_that_row_and_not_the_next_one():
    stage = menu("Unfold AIll naples", "Remove markers", "Print")
    # Right of the words, above the next row.
    at = Click(stage.at(430, 120))
    assert stage.why(at, 'choose the "Unfold All naples" menu item') == ""
    assert stage.why(at, "click Unfold All naples") == ""
    risky = Click(stage.at(430, 160))
    assert stage.why(risky, "click Remove markers")


@pytest.mark.parametrize("hollow", [False, True])
def test_the_words_right_below_an_icon_still_name_it(hollow):
    stage = Stage()
    stage.drawing.draw.rectangle((300, 200, 340, 240), fill=None if hollow else (80, 120, 60), outline=(20, 20, 20))
    stage.drawing.text(296, 244, "Delete").text(380, 244, "Settings")
    assert "may not be undone" in stage.why(Click(stage.at(320, 222)), "click the frob")
    # A small icon, whose caption is as near as the middle of a row.
    stage = Stage()
    stage.drawing.draw.ellipse((300, 200, 330, 230), outline=(20, 20, 20))
    stage.drawing.text(294, 232, "Delete").text(380, 232, "Settings")
    assert "may not be undone" in stage.why(Click(stage.at(315, 215)), "click the settings icon")
