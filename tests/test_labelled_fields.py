"""Fields that old toolkits draw tightly, areas under a heading, and labels that hold a word for a field."""

from drawn_text import WHITE, Drawing

from molmo_agent.geometry import Box
from molmo_agent.pointers.reading.pointer import ReadingPointer
from molmo_agent.pointers.reading.scene import Scene
from molmo_agent.pointers.reading.widgets import field_holding

PANEL = (220, 210, 185)


def misses(drawing, places):
    """Return the questions that are not answered with one point in their rectangle (left, top, right, bottom)."""
    pointer, wrong = ReadingPointer(drawing.reader), []
    for question, (left, top, right, bottom) in places.items():
        result = pointer.point(drawing.array(), question)
        points = [one.point.to_pixels(*drawing.image.size) for one in result.points]
        if len(points) != 1 or not (left <= points[0][0] < right and top <= points[0][1] < bottom):
            wrong.append((question, points, result.reply))
    return wrong


def icon_at(left, top):
    """Return the box of an icon of 16 pixels on an image of 640 by 400."""
    return Box.from_pixels(left, top, left + 16, top + 16, 640, 400)


def test_an_area_belongs_to_the_heading_that_touches_it():
    drawing = (
        Drawing(640, 500)
        .rectangle(20, 20, 400, 28, fill=(238, 238, 238))
        .text(26, 25, "Translation")
        .rectangle(20, 48, 400, 110)
        .rectangle(20, 180, 400, 28, fill=(200, 212, 230))
        .text(26, 185, "Notes for translators")
        .rectangle(20, 208, 400, 110)
        .rectangle(20, 340, 400, 28, fill=(60, 60, 70))
        .text(26, 345, "Comment", color=WHITE)
        .rectangle(20, 368, 400, 110, fill=(30, 30, 30))
    )
    places = {
        "the Translation field": (20, 49, 420, 158),
        "the Notes for translators field": (20, 209, 420, 318),
        'the "Comment" field': (20, 369, 420, 478),
    }
    assert misses(drawing, places) == []


def test_a_field_keeps_its_text_where_a_list_of_its_colour_follows():
    drawing = Drawing(640, 400).rectangle(20, 20, 300, 30).text(28, 26, "Filter").rectangle(20, 52, 300, 200)
    assert misses(drawing, {"the Filter field": (20, 20, 320, 50)}) == []


def test_a_field_may_be_lower_than_the_line_of_its_label():
    drawing = Drawing(640, 400)
    for row, label in enumerate(["Your name:", "Town", "Postal code:"]):
        # The line of the label is 24 pixels high.
        top = 20 + 60 * row
        drawing.text(20, top, label).rectangle(150, top - 1, 200, 18, fill=PANEL)
    places = {
        "the Your name field": (150, 15, 350, 45),
        "the Town field": (150, 75, 350, 105),
        'the "Postal code" field': (150, 135, 350, 165),
    }
    assert misses(drawing, places) == []


def test_a_label_may_end_in_a_word_for_a_field():
    drawing = (
        Drawing(640, 400)
        .text(20, 26, "Source text:")
        .rectangle(150, 20, 200, 30)
        .text(20, 86, "Reply text")
        .rectangle(150, 80, 200, 30)
        .text(20, 146, "Replacement input:")
        .rectangle(200, 140, 200, 30)
    )
    places = {
        "the Source text field": (150, 20, 350, 50),
        "the Reply text box": (150, 80, 350, 110),
        "the Replacement input field": (200, 140, 400, 170),
    }
    assert misses(drawing, places) == []


def test_a_magnifier_names_the_field_that_it_stands_in():
    drawing = Drawing(640, 400).rectangle(10, 10, 400, 100, fill=(250, 250, 250))
    fields = {"at its left": (20, 20), "at its right": (20, 150), "above another": (20, 250)}
    for left, top in fields.values():
        drawing.rectangle(left, top, 240, 32).rectangle(left, top + 40, 240, 32)
    icons = {"at its left": (28, 28), "at its right": (236, 158), "above another": (28, 258)}
    scene = Scene(drawing.array(), ())
    for name, (left, top) in icons.items():
        field = field_holding(scene, icon_at(left, top))
        assert field is not None, name
        # The region begins behind the frame.
        assert (field.left, field.top) == tuple(edge + 2 for edge in fields[name]), name


def test_a_bar_of_tools_is_no_field_of_an_icon():
    drawing = (
        Drawing(640, 400)
        .rectangle(20, 20, 600, 60, fill=(225, 225, 225))
        .rectangle(20, 120, 40, 32)
        .rectangle(20, 200, 500, 32)
    )
    for left in range(60, 500, 18):
        drawing.rectangle(left, 204, 14, 24, fill=(90, 90, 90))
    scene = Scene(drawing.array(), ())
    places = {"a high bar": (28, 42), "a button": (28, 128), "a full bar": (28, 208)}
    found = [name for name, (left, top) in places.items() if field_holding(scene, icon_at(left, top)) is not None]
    assert found == []


def test_a_command_with_dots_labels_no_field_and_a_placeholder_with_dots_stands_in_one():
    drawing = (
        Drawing(640, 400)
        .text(20, 26, "New folder...")
        .rectangle(150, 20, 200, 30)
        .text(20, 86, "Save As…")
        .rectangle(150, 80, 200, 30)
        .text(20, 146, "Rename..")
        .rectangle(150, 140, 200, 30)
        .rectangle(20, 200, 300, 30)
        .text(28, 206, "Search...")
    )
    places = {
        'the "New folder..." field': (20, 20, 120, 50),
        "the Save As field": (20, 80, 120, 110),
        "the Rename field": (20, 140, 120, 170),
        "the Search field": (20, 200, 320, 230),
    }
    assert misses(drawing, places) == []
