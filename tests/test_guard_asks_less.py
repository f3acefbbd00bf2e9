"""What is known to be harmless by its looks is not asked about: chosen tabs, drop-down lists, rows of menus."""

import pytest
from drawn_text import FONT
from guard_stage import Stage

from molmo_agent.actions import Click
from molmo_agent.episode import ScreenElement
from molmo_agent.risk.harmless import is_harmless
from molmo_agent.risk.judge import why_ask


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


def button(name, said=None, *, among=(), role=None, element=None):
    """Return why a person is asked about a drawn button; ``role``: what its program says that it is."""
    stage, width = Stage(), int(FONT.getlength(name)) + 40
    if among:
        stage.drawing.rectangle(280, 220, 400, 170, fill=(250, 250, 250))
    stage.drawing.button(300, 240, width, name)
    for number, text in enumerate(among):
        stage.drawing.button(300 + 70 * (number % 5), 300 + 40 * (number // 5), 40, text)
    named = role and ScreenElement(role=role, name=element or name)
    said = said or f'click "{name}"'
    decision = stage.decision(Click(stage.at(300 + width / 2, 254)), said)
    return why_ask(decision, "", stage.observation(), stage.drawing.reader, (), (lambda _: [named]) if named else None)


def test_names_of_toolkits_forms_of_known_words_and_words_misread_by_a_letter_are_harmless():
    stock = ["Increase Indent", "Strikethrough", "Reverse Landscape", "Invert selection", "Background color"]
    misread = ["Seach...", "Prefercnces", "Propertles", "Draft", "Setting"]
    icons_read_as_letters = ["7Help", "Q Search", "XCancel", "Settings V", "? Details"]
    known = [*stock, *misread, *icons_read_as_letters]
    assert [name for name in known if button(name)] == []
    unknown = ["Deletc", "Frobnicate", "Contract", "Consents", "Release", "7Delete", "Q Send", "Frob V", "Instal"]
    assert [name for name in unknown if not button(name)] == []


def test_what_is_only_shown_copied_or_formatted_is_harmless_whatever_it_is():
    known = ["Copy path to clipboard", "Hide frobs", "Show zorgle blocks", "Zorgle anzeigen", "Copier le zorgle"]
    assert [name for name in known if not is_harmless(name)] == []
    unknown = [
        # What is switched or made may be anything.
        "Toggle firewall",
        "Switch to Premium",
        "New release",
        "Show and zorgle",
        "Copy & frob",
        "Show what I delete",
        "Show license frobs",
        "Show frobs?",
        "Zorgle copy",
        "Frob it",
    ]
    assert [name for name in unknown if is_harmless(name)] == []


def icon(said, monkeypatch, looks=("", "")):
    """Return why a person is asked about a drawn icon; ``looks``: see icon_at."""
    monkeypatch.setattr("molmo_agent.risk.surroundings.icon_at", lambda image, point: looks)
    stage = Stage()
    stage.drawing.draw.polygon([(500, 300), (508, 324), (516, 304), (526, 322), (520, 298)], fill=(60, 60, 60))
    return stage.why(Click(stage.at(512, 312)), said)


def test_an_icon_that_is_asked_for_by_the_usual_name_of_a_harmless_one_is_free(monkeypatch):
    known = ["Increase indent", "Create folder", "Strikethrough", "Copy path", "portrait", "Add"]
    assert [name for name in known if icon(f"click the {name} icon", monkeypatch)] == []
    unknown = ["frob", "Delete row", "Extract", "Upload", "red", "Attach file", "Start recording"]
    assert [name for name in unknown if not icon(f"click the {name} icon", monkeypatch)] == []


def test_an_icon_that_looks_most_like_the_harmless_one_that_was_asked_for_is_free(monkeypatch):
    looks = ("replace", "search")
    assert [
        name for name in ("search", "find", "magnifier") if icon(f"click the {name} icon", monkeypatch, looks)
    ] == []
    # Most like something else, or like what was asked for, which commits.
    assert icon("click the search icon", monkeypatch, ("replace", "replace"))
    assert icon("click the zoom in icon", monkeypatch, ("trash", "search"))
    assert icon("click the trash icon", monkeypatch, ("trash", "trash"))
    for said in ("click the close all button", "click the Close all documents icon", "press the close all icon"):
        assert "may not be undone" in icon(said, monkeypatch)


def test_a_framed_name_that_was_asked_for_as_a_link_a_tab_or_an_entry_is_no_button():
    for kind in ("link", "tab", "menu item", "list entry"):
        assert button("Zorgle frobs", f'click the "Zorgle frobs" {kind}') == ""
        assert button("Zorgle frobs", f"click the other {kind}")
    assert button("Delete frobs", 'click the "Delete frobs" link')
    stage = Stage()
    stage.drawing.rectangle(200, 180, 480, 170, fill=(250, 250, 250)).text(220, 200, "Some frobs")
    stage.drawing.button(300, 300, 90, "Zorgle").button(450, 300, 90, "Cancel")
    assert stage.why(Click(stage.at(345, 314)), 'click the "Zorgle" link')


def test_keys_among_digits_are_keys_of_a_calculator():
    digits = "7894561230"
    assert [name for name in ("MS", "sqrt", "M+V") if button(name, among=digits)] == []
    assert [name for name in ("MS", "sqrt", "M+V") if not button(name, among="789")] == []
    assert button("Send", among=digits)
    assert button("Frobnicate", among=digits)


def test_credits_and_license_of_a_program_are_only_shown():
    for name in ("Credits", "License", "Licence"):
        stage = Stage()
        stage.drawing.rectangle(200, 180, 480, 170, fill=(250, 250, 250)).text(220, 200, "GNU General Public License")
        stage.drawing.button(300, 300, 90, name).button(450, 300, 90, "Close")
        assert stage.why(Click(stage.at(345, 314)), f"click {name}") == ""


def test_what_its_program_calls_a_tab_a_menu_or_a_check_box_opens_or_chooses():
    assert [role for role in ("tab", "menu", "check box", "field") if button("Zorgle", role=role)] == []
    assert button("Zorgle", role="button")
    assert button("Zorgle", role="tab", element="Frobs")
    assert button("Delete all", role="tab")
    assert button("Zorgle", role="check box", element="Zorgle and accept the terms")
