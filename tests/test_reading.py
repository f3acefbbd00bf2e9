"""The pointer that reads: names, kinds, order, relations, the widgets beside labels, and honest doubt."""

import pytest
from drawn_text import FONT, INK, WHITE, Drawing, KnownLines

from molmo_agent.pointers.reading.expression import read_expression
from molmo_agent.pointers.reading.matching import find_name
from molmo_agent.pointers.reading.pointer import ReadingPointer
from molmo_agent.pointers.reading.scene import Scene


def pointed(drawing, question):
    """Return the answer to a question, with its points in pixels."""
    result = ReadingPointer(drawing.reader).point(drawing.array(), question)
    return result, [one.point.to_pixels(*drawing.image.size) for one in result.points]


def hits(drawing, question, left, top, right, bottom):
    """Tell whether the one point of the answer lies in a rectangle."""
    result, points = pointed(drawing, question)
    assert result.status == "ok", result
    assert len(points) == 1, result.reply
    return left <= points[0][0] < right and top <= points[0][1] < bottom


@pytest.mark.parametrize(
    ("text", "name", "kind"),
    [
        ('the "Save" button', "Save", "button"),
        ("Where is the Email address field?", "Email address", "field"),
        ('"Wrap lines"', "Wrap lines", None),
        ('checkbox "Wrap lines"', "Wrap lines", "checkbox"),
        ("the Copy path icon", "Copy path", "icon"),
        ("button named Save", "Save", "button"),
        ("the search box", "search", "field"),
        ("the Name column header", "Name", "item"),
        ("„Speichern“", "Speichern", None),
        ("Click the Toggle theme button.", "Toggle theme", "button"),
        ("the Text beside icons check box", "Text beside icons", "checkbox"),
    ],
)
def test_an_expression_says_a_name_and_a_kind(text, name, kind):
    expression = read_expression(text)
    assert expression.names[0] == name
    assert expression.kind == kind


def test_an_expression_says_order_place_relation_and_number():
    assert read_expression('the second "OK" button').ordinal == 2
    assert read_expression("the last item in the list").ordinal == -1
    assert read_expression("the close button at the top right of the window").place == "top"
    beside = read_expression('the checkbox next to "Terms"')
    assert (beside.names, beside.relation, beside.anchor) == ((), "beside", "Terms")
    inside = read_expression("the Save button in the Find dialog")
    assert (inside.names[0], inside.relation, inside.anchor) == ("Save", "in", "Find")
    assert read_expression("all buttons").several
    assert not read_expression("the Replace all in checkbox").several


@pytest.mark.parametrize("text", ["", "   ", "the", "?", '"', "“”", "in the", "button", "\0", "the second", "ß" * 3000])
def test_anything_can_be_asked(text):
    read_expression(text)
    drawing = Drawing().text(20, 20, "Save")
    assert ReadingPointer(drawing.reader).point(drawing.array(), text).status in ("none", "ok")


def test_verbs_are_part_of_a_name_where_the_screen_says_so():
    drawing = Drawing().text(20, 20, "Check for updates").text(20, 80, "Open")
    assert hits(drawing, "Check for updates", 20, 16, 160, 40)
    assert hits(drawing, "Open", 20, 76, 80, 100)


@pytest.mark.parametrize(
    "asked", ["Save all", "save ALL", '"Save all"', "Save all...", "Save aII", "Saveall", "the Save all button"]
)
def test_case_spaces_signs_and_lookalike_letters_do_not_matter(asked):
    assert hits(Drawing().text(20, 20, "Save all").text(20, 60, "Save"), asked, 20, 16, 90, 40)


def test_the_exact_name_beats_longer_and_similar_ones():
    drawing = Drawing().text(20, 20, "Save as").text(20, 60, "Save").text(20, 100, "Saved")
    assert hits(drawing, "Save", 20, 56, 60, 80)


@pytest.mark.parametrize("asked", ["Print", "Delete all", '"Svae the whole world"', "the Email field"])
def test_a_name_that_is_not_there_is_reported_as_none(asked):
    result, _ = pointed(Drawing().text(20, 20, "Save").text(20, 60, "Open recent"), asked)
    assert result.status == "none"
    assert "no text on the screen fits" in result.reply


def test_entries_of_a_menu_bar_are_labels_of_their_own():
    drawing = Drawing().text(20, 20, "File Edit View Document Help", gap=14).text(20, 200, "Document 1 of 3")
    scene = Scene(drawing.array(), drawing.lines)
    assert [segment.text for segment in scene.segments][:5] == ["File", "Edit", "View", "Document", "Help"]
    assert hits(drawing, "the Document menu", 118, 16, 195, 40)


def test_a_label_and_its_badge_are_one_name():
    drawing = Drawing().text(20, 20, "Widgets").text(120, 20, "New").text(20, 60, "New")
    assert hits(drawing, '"Widgets New"', 20, 16, 160, 40)


def test_a_name_may_go_on_in_the_next_line():
    drawing = Drawing().text(20, 20, "Restore the last").text(20, 40, "session on startup")
    assert hits(drawing, "Restore the last session on startup", 20, 16, 160, 60)


def test_places_that_fit_equally_well_are_all_returned_and_order_tells_them_apart():
    drawing = Drawing().button(20, 20, 80, "OK").button(20, 120, 80, "OK").button(20, 220, 80, "OK")
    result, points = pointed(drawing, "OK")
    assert len(points) == 3
    assert result.confidence < 0.5
    assert hits(drawing, "the second OK button", 20, 120, 100, 148)
    assert hits(drawing, "the last OK", 20, 220, 100, 248)
    assert pointed(drawing, "the fifth OK button")[0].status == "none"


def test_a_relation_tells_equals_apart():
    drawing = (
        Drawing()
        .text(20, 20, "Billing")
        .button(20, 60, 80, "Edit")
        .text(320, 20, "Shipping")
        .button(320, 60, 80, "Edit")
    )
    assert hits(drawing, "the Edit button below Shipping", 320, 60, 400, 88)
    assert hits(drawing, 'the Edit button below "Shipping"', 320, 60, 400, 88)
    assert hits(drawing, 'the Edit button below "Billing"', 20, 60, 100, 88)


@pytest.mark.parametrize("label", ["Name:", "Name"])
def test_a_field_lies_right_of_its_label(label):
    drawing = Drawing().text(20, 26, label).rectangle(120, 20, 300, 30)
    assert hits(drawing, "the Name field", 120, 20, 420, 50)
    assert hits(drawing, "Name", 20, 20, 70, 50), "without the word field the label itself is meant"


def test_a_field_may_lie_below_its_label_or_hold_it():
    below = Drawing().text(20, 20, "Email address").rectangle(20, 44, 300, 30)
    assert hits(below, "the Email address field", 20, 44, 320, 74)
    inside = Drawing().rectangle(20, 20, 300, 30).text(28, 26, "Search mail")
    assert hits(inside, "the Search mail field", 20, 20, 320, 50)
    assert hits(inside, "the search box", 20, 20, 320, 50)


def test_two_columns_keep_their_fields_apart():
    drawing = (
        Drawing().text(20, 20, "City").rectangle(20, 44, 250, 30).text(330, 20, "Country").rectangle(330, 44, 250, 30)
    )
    assert hits(drawing, "the City field", 20, 44, 270, 74)
    assert hits(drawing, "the Country field", 330, 44, 580, 74)


def test_a_check_box_lies_left_of_its_label_and_right_of_one_with_a_colon():
    drawing = Drawing().rectangle(20, 22, 14, 14).text(42, 20, "Wrap lines")
    assert hits(drawing, "the Wrap lines checkbox", 20, 22, 34, 36)
    form = Drawing().text(20, 20, "Restore tabs:").rectangle(125, 22, 14, 14)
    assert hits(form, '"Restore tabs"', 125, 22, 139, 36)


def test_a_button_is_meant_rather_than_a_title():
    drawing = Drawing().rectangle(0, 0, 640, 30, fill=(200, 210, 230)).text(280, 6, "Preferences")
    drawing.button(400, 350, 120, "Preferences")
    assert hits(drawing, "Preferences", 400, 350, 520, 378)


def test_a_screen_is_read_once_for_all_questions():
    drawing = Drawing().text(20, 20, "Save").text(20, 60, "Open")
    reader = drawing.reader
    pointer = ReadingPointer(reader)
    image = drawing.array()
    pointer.point_batch([image, image.copy()], ["Save", "Open"])
    assert reader.num_reads == 1


def test_matches_come_with_their_quality():
    drawing = Drawing().text(20, 20, "Save").text(20, 60, "Save as").text(20, 100, "save")
    matches = find_name("Save", Scene(drawing.array(), drawing.lines).segments)
    assert [match.segment.text for match in matches] == ["Save", "save", "Save as"]
    assert matches[0].quality == 1


class Signs(KnownLines):
    """Reads no lines, but single regions: on a blue ground "=", elsewhere "7"."""

    def read_line(self, image):
        return ("=", 0.4) if image[..., 2].mean() > image[..., 0].mean() + 20 else ("7", 0.9)


def test_a_sign_that_no_line_holds_is_read_on_its_own():
    drawing = Drawing()
    drawing.rectangle(100, 100, 60, 40, fill=(20, 60, 160)).draw.text((125, 110), "=", fill=WHITE, font=FONT)
    drawing.rectangle(300, 100, 60, 40).draw.text((325, 110), "7", fill=INK, font=FONT)
    pointer = ReadingPointer(Signs(()))
    for sign, left in (("=", 100), ("7", 300)):
        result = pointer.point(drawing.array(), sign)
        (x, y) = result.points[0].point.to_pixels(640, 400)
        assert left < x < left + 60, sign
        assert 100 < y < 140
        assert "read on its own" in result.reply
    assert pointer.point(drawing.array(), "8").status == "none"
    assert ReadingPointer(KnownLines(())).point(drawing.array(), "=").status == "none", "not every engine can"
