"""The default model on sizes that nano was trained on, and texts on the screen that repeat the request."""

import numpy as np
import pytest
from drawn_text import Drawing
from test_auto import Eyes, Icons

from molmo_agent.geometry import Box
from molmo_agent.interfaces import ModelTraits
from molmo_agent.nano import calibrate_auto
from molmo_agent.pointers.auto import MIN_CONFIDENCE, AutoPointer
from molmo_agent.pointers.reading.confidence import own_confidence
from molmo_agent.pointers.reading.expression import read_expression
from molmo_agent.pointers.reading.pointer import ReadingPointer


class AtHome(Eyes):
    """Was trained on images of 640x400."""

    traits = ModelTraits(min_confidence=0.5, canvases=((640, 400),))


def ask(drawing, question, eyes, icons=None):
    """Return the default model's answer, and its points in pixels."""
    model = AutoPointer(ReadingPointer(drawing.reader), icons or Icons(), eyes)
    result = model.point(drawing.array(), question)
    return result, [one.point.to_pixels(640, 400) for one in result.points]


def by_words(drawing, question):
    """Return the reader's points, in pixels."""
    result = ReadingPointer(drawing.reader).point(drawing.array(), question)
    return [one.point.to_pixels(*drawing.image.size) for one in result.points]


def test_a_text_that_asks_for_the_thing_is_not_the_thing():
    wrong = []
    for line, question in (
        ("Click button ONE.", "button ONE"),
        ("$ agent run --task 'click \"Export\"'", '"Export"'),
        ("Please double-click on the Trash icon", "the Trash icon"),
        ("Tap Continue to go on", "Continue"),
        ("Select Ada from the list.", "Ada from the list"),
        ("Finish by pressing Done now", "Done"),
    ):
        if points := by_words(Drawing().text(20, 20, line), question):
            wrong.append((line, question, points))
    assert wrong == []


def test_the_end_of_a_request_in_the_next_line_is_not_the_thing_either():
    drawing = (
        Drawing().text(20, 20, "Click button ONE, then click").text(20, 42, "button TWO.").button(300, 200, 80, "TWO")
    )
    [(x, y)] = by_words(drawing, "button TWO")
    assert 300 <= x < 380
    assert 200 <= y < 228


def test_labels_that_begin_with_a_verb_are_still_found():
    missed = []
    for labels, question in (
        (("Select All", "Find Next"), "Select All"),
        (("Close Tab", "Close Window"), '"Close Window"'),
        (("Activate with a single click", "Open new instances as tabs"), "Open new instances as tabs"),
        (("Check for updates", "Press Kit"), "Press Kit"),
        (("Click here to log in", "Help"), "Click here to log in"),
    ):
        drawing = Drawing()
        for number, label in enumerate(labels):
            drawing.text(20, 20 + 24 * number, label)
        if len(by_words(drawing, question)) != 1:
            missed.append(question)
    assert missed == []


def test_the_sentence_itself_can_be_asked_for_as_a_text():
    assert len(by_words(Drawing().text(20, 20, "Click Next to continue"), 'the text "Next"')) == 1


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('Close the dialog box by clicking the "x"', "x"),
        ("Leave by pressing Done", "Done"),
        ("log out by tapping on the Exit button", "Exit"),
    ],
)
def test_how_something_is_done_names_the_target(text, name):
    assert read_expression(text).names[0] == name


def test_a_kind_may_stand_before_a_name_in_capitals_and_a_container_behind_one():
    read = {
        text: read_expression(text) for text in ("button ONE", "checkbox B2", "Link Account", "Ada from the user list")
    }
    assert (read["button ONE"].kind, read["button ONE"].names) == ("button", ("button ONE", "ONE"))
    assert (read["checkbox B2"].kind, read["checkbox B2"].names) == ("checkbox", ("checkbox B2", "B2"))
    assert "Account" not in read["Link Account"].names
    assert read["Ada from the user list"].names == ("Ada from the user list", "Ada")


@pytest.mark.parametrize("question", ["the settings icon", "the close button", "the grid coordinate (-2,1)"])
def test_nanos_confidence_counts_on_a_size_that_it_knows_and_on_no_other(question):
    drawing = Drawing().text(20, 20, "Save")
    known, points = ask(drawing, question, AtHome((300, 300), 0.95))
    assert points == [(300, 300)]
    assert known.confidence >= MIN_CONFIDENCE
    elsewhere, _ = ask(drawing, question, Eyes((300, 300), 0.95))
    assert elsewhere.confidence < MIN_CONFIDENCE


def test_a_quoted_name_that_nobody_can_read_counts_less():
    quoted, plain = read_expression('the "Frobnicate" button'), read_expression("the Frobnicate button")
    for confidence in (0.3, 0.7, 0.9):
        assert own_confidence(confidence, quoted, 0) < own_confidence(confidence, plain, 0)
    assert own_confidence(0.9, quoted, 0) < own_confidence(0.99, quoted, 0)


def test_the_surer_of_icon_and_nano_is_the_answer_on_a_known_size():
    drawing, icons = Drawing().text(20, 20, "Save"), Icons(("close", (300, 100, 324, 124), 0.3))
    assert ask(drawing, "the close icon", AtHome((500, 300), 0.97), icons)[1] == [(500, 300)]
    assert ask(drawing, "the close icon", AtHome((500, 300), 0.1), icons)[1] == [(312, 112)]
    assert ask(drawing, "the close icon", AtHome(None), icons)[1] == [(312, 112)]


def test_the_thing_beside_a_text_is_meant_where_nano_finds_it():
    row = Drawing().text(20, 100, "Airplane mode").text(20, 200, "Letter.odt")
    assert ask(row, "the Airplane mode switch", AtHome((600, 108), 0.6))[1] == [(600, 108)]
    assert ask(row, '"Airplane mode"', AtHome((600, 108), 0.95))[1] == [(600, 108)]
    assert ask(row, "the Letter.odt icon", AtHome((50, 160), 0.7))[1] == [(50, 160)]
    for question, at, confidence in (
        ("the Airplane mode switch", (600, 300), 0.6),
        ('"Airplane mode"', (600, 108), 0.5),
        ('the "Airplane mode" text', (600, 108), 0.95),
        ("the Airplane mode button", (600, 108), 0.95),
    ):
        [(x, _)] = ask(row, question, AtHome(at, confidence))[1]
        assert x < 130, question


def test_the_fit_on_drawn_screens_asks_only_about_sizes_that_nano_knows():
    class Anywhere(Eyes):
        traits = ModelTraits(min_confidence=0.5, canvases=((160, 210),))
        sizes = frozenset()

        def point(self, image, instruction, *, max_points=None):
            Anywhere.sizes |= {image.shape[1::-1]}
            return super().point(image, instruction)

    eyes = Anywhere((10, 10), 0.7)
    model = AutoPointer(ReadingPointer(Drawing().reader), Icons(), eyes)
    observed = calibrate_auto.observe_drawn(model, 8)
    assert eyes.sizes == {(160, 210)}
    assert len(observed.hits) == len(observed.rows) > 3
    assert {*observed.rows[0]} == {"offset", "confidence", "unread", "texts"}
    assert not model.knows_size(np.zeros((210, 161, 3), np.uint8))
    assert Box(0, 0, 1, 1).contains(model.point(np.zeros((210, 160, 3), np.uint8), "the red circle").points[0].point)
