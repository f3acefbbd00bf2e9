"""The default model: what reads, recognizes and sees is combined, and doubt is a low confidence or a status."""

import json

import numpy as np
import pytest
from drawn_text import Drawing

from molmo_agent.episode import LabelledPoint, PointResult
from molmo_agent.errors import UsageError
from molmo_agent.geometry import Box, Point
from molmo_agent.interfaces import ModelTraits, model_traits
from molmo_agent.nano import calibrate_auto
from molmo_agent.nano.calibrate_auto import Observed, fit
from molmo_agent.pointers.auto import MIN_CONFIDENCE, AutoPointer
from molmo_agent.pointers.careful import careful
from molmo_agent.pointers.icons.reader import IconMatch
from molmo_agent.pointers.reading.confidence import icon_confidence, nano_confidence
from molmo_agent.pointers.reading.pointer import ReadingPointer
from molmo_agent.pointers.second_opinion import SecondOpinion, compare

SAVE = (20, 20, 80, 48)


class Eyes:
    """A pointing model with one prepared answer, in pixels of 640x400; counts how often it is asked."""

    name = "eyes"
    traits = ModelTraits(min_confidence=0.5)

    def __init__(self, at=None, confidence=0.9):
        self.at, self.confidence, self.num_questions = at, confidence, 0

    def point(self, image, instruction, *, max_points=None):
        self.num_questions += 1
        if self.at is None:
            return PointResult(status="none", reply="There are none.")
        point = Point.from_pixel(*self.at, 640, 400)
        return PointResult(status="ok", reply="here", points=(LabelledPoint(point),), confidence=self.confidence)

    def point_batch(self, images, instructions):
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]


class Icons:
    """Recognizes prepared icons: (name, (left, top, right, bottom) in pixels of 640x400, probability)."""

    def __init__(self, *icons):
        self.icons, self.num_reads = icons, 0

    def read(self, image, text_boxes):
        self.num_reads += 1
        return self

    def find(self, name):
        matches = [
            IconMatch(Box.from_pixels(*box, 640, 400), probability, meaning)
            for meaning, box, probability in self.icons
            if meaning == name.lower()
        ]
        return sorted(matches, key=lambda match: -match.probability)


def auto(drawing, eyes=None, icons=None):
    """Return the default model with everything around the reader replaced."""
    return AutoPointer(ReadingPointer(drawing.reader), icons or Icons(), eyes or Eyes())


def ask(drawing, question, eyes=None, icons=None):
    """Return the answer, and its points in pixels."""
    result = auto(drawing, eyes, icons).point(drawing.array(), question)
    return result, [one.point.to_pixels(640, 400) for one in result.points]


def test_an_exact_and_only_text_is_pointed_at_without_asking_anything_else():
    eyes, icons = Eyes((300, 300)), Icons(("save", (300, 300, 320, 320), 0.99))
    result, [(x, y)] = ask(Drawing().text(20, 20, "Save").text(20, 80, "Open"), "Save", eyes, icons)
    assert 20 <= x < 60
    assert 16 <= y < 40
    assert result.confidence > 0.9
    assert (eyes.num_questions, icons.num_reads) == (0, 0)


def test_an_icon_is_found_where_no_text_fits():
    icons = Icons(("preferences", (300, 100, 324, 124), 0.95), ("home", (340, 100, 364, 124), 0.95))
    result, points = ask(Drawing().text(20, 20, "Save"), "the Preferences icon", None, icons)
    assert points == [(312, 112)]
    assert result.confidence >= MIN_CONFIDENCE
    assert "icon 'preferences'" in result.reply


def test_two_icons_that_look_alike_are_doubtful_and_order_tells_them_apart():
    icons = Icons(("close", (300, 10, 320, 30), 0.9), ("close", (600, 10, 620, 30), 0.9))
    drawing = Drawing().text(20, 200, "Save")
    result, _ = ask(drawing, "the close button", None, icons)
    single, _ = ask(drawing, "the close button", None, Icons(("close", (300, 10, 320, 30), 0.9)))
    assert result.confidence < single.confidence
    assert ask(drawing, "the second close button", None, icons)[1] == [(610, 20)]
    assert ask(drawing, "the close button at the right of the screen", None, icons)[1] == [(610, 20)]
    assert ask(drawing, "the third close button", None, icons)[0].status == "none"


def test_a_magnifier_names_the_field_beside_it():
    drawing = Drawing().rectangle(60, 20, 300, 30)
    icons = Icons(("search", (30, 26, 48, 44), 0.95))
    _, [(x, y)] = ask(drawing, "the search field", None, icons)
    assert 60 <= x < 360
    assert 20 <= y < 50


def test_several_texts_that_fit_are_told_apart_by_what_nano_sees():
    drawing = Drawing().button(20, 20, 80, "OK").button(20, 220, 80, "OK")
    result, points = ask(drawing, "OK", Eyes((60, 234)))
    assert points == [(60, 234)]
    assert "nano agrees" in result.reply
    unresolved, points = ask(drawing, "OK", Eyes((400, 50)))
    assert len(points) == 2
    assert unresolved.confidence < MIN_CONFIDENCE


def test_what_is_neither_read_nor_recognized_is_no_click_whatever_nano_says():
    drawing = Drawing().text(20, 20, "Save")
    result, _ = ask(drawing, 'the "Frobnicate" button', Eyes((300, 300), 0.99))
    assert result.status == "none" or result.confidence < MIN_CONFIDENCE
    assert ask(drawing, 'the "Frobnicate" button', Eyes(None))[0].status == "none"


@pytest.mark.parametrize("question", ["the red circle", "the text field", "the blue star"])
def test_what_is_described_by_its_looks_is_nanos_to_answer(question):
    result, points = ask(Drawing().text(20, 20, "Save"), question, Eyes((300, 300), 0.9))
    assert points == [(300, 300)]
    assert result.confidence == 0.9


def test_all_things_with_a_name_are_returned():
    drawing = Drawing().button(20, 20, 80, "OK").button(20, 120, 80, "OK").button(20, 220, 80, "Cancel")
    assert len(ask(drawing, "all OK buttons")[1]) == 2 or len(ask(drawing, 'every "OK"')[1]) == 2


def test_its_threshold_can_be_changed_and_it_does_not_look_closer():
    model = auto(Drawing())
    assert careful(model) is model
    strict = careful(model, 0.9)
    assert model_traits(strict).min_confidence == 0.9
    assert model_traits(strict).reader is model.reader.reader
    assert model_traits(careful(strict, 0.2)).min_confidence == 0.2
    assert careful(strict, 0.2).name == "auto"
    with pytest.raises(UsageError, match=r"min_confidence must be in \[0, 1\], got 2"):
        careful(model, 2)


def test_it_is_asked_in_batches_with_the_same_answers():
    drawing = Drawing().text(20, 20, "Save").text(20, 80, "Open")
    model, image = auto(drawing), drawing.array()
    one_by_one = [model.point(image, text).points for text in ("Save", "Open")]
    assert [result.points for result in model.point_batch([image, image], ["Save", "Open"])] == one_by_one


def test_confidences_grow_with_what_speaks_for_a_place():
    assert icon_confidence(0.95, 0.0, 0, "icon") > icon_confidence(0.5, 0.0, 0, "icon")
    assert icon_confidence(0.95, 0.0, 0, "icon") > icon_confidence(0.95, 0.9, 0, "icon")
    assert icon_confidence(0.95, 0.0, 0, "icon") > icon_confidence(0.95, 0.0, 0, None)
    assert nano_confidence(0.9, agreed=True) > nano_confidence(0.9, agreed=False)
    assert nano_confidence(0.99, agreed=False) < MIN_CONFIDENCE


def one(x, confidence=None, status="ok"):
    """Return an answer with a point at x."""
    points = (LabelledPoint(Point(x, 0.5)),) if status == "ok" else ()
    return PointResult(status=status, reply="r", points=points, confidence=confidence, latency_s=1.0)


@pytest.mark.parametrize(
    ("own", "other", "confidence"),
    [
        (one(0.5), one(0.505, 0.97), 0.97),
        (one(0.5, 0.6), one(0.505, 0.97), 0.97),
        (one(0.5), one(0.9, 0.97), 0.25),
        (one(0.5, 0.1), one(0.9, 0.97), 0.1),
        (one(0.5, 0.6), one(0.9, 0.5), 0.6),
        (one(0.5), one(0.9, 0.3, "none"), None),
    ],
)
def test_a_second_opinion_changes_the_confidence_and_never_the_point(own, other, confidence):
    result = compare(own, other)
    assert result.confidence == confidence
    assert result.points == own.points
    assert result.latency_s == 2


def test_a_second_opinion_is_asked_for_single_points_only_and_brings_a_threshold():
    class Plain(Eyes):
        traits = ModelTraits()

    drawing = Drawing().text(20, 20, "Save")
    reader = ReadingPointer(drawing.reader)
    model = SecondOpinion(Plain((30, 28), None), reader)
    assert model_traits(model).min_confidence == 0.5
    assert model_traits(model).reader is reader.reader
    image = np.asarray(drawing.array())
    assert model.point(image, "Save").confidence > 0.9
    assert SecondOpinion(Plain((500, 300), None), reader).point(image, "Save").confidence == 0.25
    assert SecondOpinion(Plain(None), reader).point(image, "Save").status == "none"


def test_the_fit_finds_what_hits_depend_on():
    observed = Observed()
    for number in range(200):
        observed.add({"offset": 1.0, "unlike": number % 2, "nothing": number % 3}, number % 2 == 0 or number % 10 == 1)
    weights = fit(observed)
    assert weights["offset"] > 2
    assert weights["unlike"] < -2
    assert abs(weights["nothing"]) < 1


def test_the_calibration_command_reads_recorded_screens_and_writes_weights(tmp_path, monkeypatch, capsys):
    drawing = Drawing().button(20, 20, 80, "Save").button(200, 20, 80, "Save").button(20, 120, 80, "Open")
    (tmp_path / "screens").mkdir()
    drawing.image.save(tmp_path / "screens" / "a.png")

    def line(number, text, boxes):
        points = [[(left + right) / 2, (top + bottom) / 2] for left, top, right, bottom in boxes]
        row = {"id": f"a#{number}", "image": "screens/a.png", "question": text, "style": "pointing", "points": points}
        extra = {"group": "text", "size": [640, 400], "screen": "a"}
        return json.dumps({**row, **({"boxes": boxes} if boxes else {}), "extra": extra})

    opened = [[20 / 640, 120 / 400, 100 / 640, 148 / 400]]
    second = [[200 / 640, 20 / 400, 280 / 640, 48 / 400]]
    rows = [line(0, "Open", opened), line(1, "the Open button", opened), line(2, "Save", second)]
    (tmp_path / "targets.jsonl").write_text("\n".join(rows) + "\n")
    (tmp_path / "absent.jsonl").write_text(line(3, '"Print"', []) + "\n")
    monkeypatch.setattr(calibrate_auto, "AutoPointer", lambda: auto(drawing))
    calibrate_auto.main([str(tmp_path), "--to", str(tmp_path / "weights.json"), "--drawn", "0"])
    weights = json.loads((tmp_path / "weights.json").read_text())
    assert weights["text"]["equals"] < 0
    assert {*weights} >= {"text", "icon", "nano_agreed", "nano_alone"}
    assert "icon: no question has a candidate" in capsys.readouterr().out
