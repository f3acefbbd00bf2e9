"""Large pictures in windows: every place is in one, the surest answer counts, its point is one of the whole picture."""

import itertools

import numpy as np
import pytest

from molmo_agent.episode import LabelledPoint, PointResult
from molmo_agent.geometry import Point
from molmo_agent.interfaces import ModelTraits
from molmo_agent.pointers.profile import PointingProfile
from molmo_agent.pointers.windowed import MOST, WindowedPointer, windows_of
from molmo_agent.pointers.wrapped import innermost

WINDOW = (640, 480)
SIZES = [(640, 480), (800, 600), (1280, 800), (1920, 1080), (1080, 1920), (3840, 2160), (5000, 300), (360, 2400)]


def box_of(view):
    """Return (left, top, right, bottom) in pixels of the whole picture."""
    return tuple(map(int, view.steps[0].values))


@pytest.mark.parametrize("size", SIZES)
def test_windows_are_few_of_one_size_and_cover_everything_twice_at_their_seams(size):
    width, height = size
    views = windows_of(width, height, WINDOW)
    assert 1 <= len(views) <= MOST
    covered = np.zeros((height, width), np.int32)
    for view in views:
        left, top, right, bottom = box_of(view)
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        covered[top:bottom, left:right] += 1
    assert covered.min() == 1
    assert len({(r - x, b - y) for x, y, r, b in map(box_of, views)}) == 1
    for (a, b), axis in itertools.product(itertools.pairwise(views), (0, 2)):
        first, second = box_of(a), box_of(b)
        if axis == 0 and second[1] == first[1]:
            assert first[2] - second[0] >= 60, "neighbours share what is as wide as a word"


def test_a_picture_that_is_hardly_larger_is_taken_whole():
    assert [box_of(view) for view in windows_of(800, 600, WINDOW)] == [(0, 0, 800, 600)]
    assert len(windows_of(1280, 800, WINDOW)) == 6
    assert box_of(windows_of(800, 1280, WINDOW)[0]) == (0, 0, 480, 640), "turned with the picture"


class Reader:
    """Finds the one bright pixel; says none where there is none, and what it is told to otherwise."""

    name, traits = "reader", ModelTraits(min_confidence=0.2, window=WINDOW)

    def __init__(self, say=None):
        self.say, self.pictures = say or {}, []

    def point_batch(self, images, instructions):
        return [self.point(image, text) for image, text in zip(images, instructions, strict=True)]

    def point(self, image, instruction, *, max_points=None):
        self.pictures.append(image)
        assert not image.flags.writeable or image.shape == (480, 640, 3)
        found = np.argwhere(image[..., 0] > 0)
        if len(self.pictures) in self.say:
            return PointResult(status=self.say[len(self.pictures)], reply="?", latency_s=1.0)
        if not len(found):
            return PointResult(status="none", reply="There are none.", latency_s=1.0)
        (y, x), sure = found[0], float(image[tuple(found[0])][0]) / 255
        point = Point((x + 0.5) / image.shape[1], (y + 0.5) / image.shape[0])
        return PointResult(
            status="ok", reply="here", points=(LabelledPoint(point, "dot"),), latency_s=1.0, confidence=sure
        )


def screen(*dots, size=(800, 1280)):
    image = np.zeros((*size, 3), np.uint8)
    for x, y, value in dots:
        image[y, x] = value
    return image


@pytest.mark.parametrize("place", [(3, 2), (635, 470), (1279, 799), (700, 400), (10, 790)])
def test_the_point_is_one_of_the_whole_picture(place):
    x, y = place
    answer = WindowedPointer(Reader(), WINDOW).point(screen((x, y, 200)), "the dot")
    assert answer.points[0].point.to_pixels(1280, 800) == place
    assert answer.points[0].label == "dot"
    assert answer.latency_s == 6.0
    assert answer.reply.startswith("in the window capture 1280 x 800, crop(")


@pytest.mark.parametrize("window", [(1, 1), (2, 19), (19, 19), (3, 400)], ids=str)
def test_windows_that_are_far_too_small_grow_until_few_are_enough(window):
    views = windows_of(640, 480, window)
    assert 1 <= len(views) <= MOST


@pytest.mark.parametrize("window", [(0, 0), (0, 640), (-3, 640)], ids=str)
def test_a_window_without_an_area_is_rejected(window):
    with pytest.raises(ValueError, match="expected a window of at least one pixel, got"):
        WindowedPointer(Reader(), window)


def test_the_surest_of_several_windows_counts():
    answer = WindowedPointer(Reader(), WINDOW).point(screen((5, 5, 100), (1200, 700, 240), (20, 700, 60)), "the dot")
    assert answer.points[0].point.to_pixels(1280, 800) == (1200, 700)
    assert answer.confidence == pytest.approx(240 / 255)


def test_nothing_anywhere_is_none_and_a_window_without_an_answer_is_no_none():
    assert WindowedPointer(Reader(), WINDOW).point(screen(), "the dot").status == "none"
    assert WindowedPointer(Reader({3: "unparsed"}), WINDOW).point(screen(), "the dot").status == "unparsed"
    found = WindowedPointer(Reader({1: "unparsed"}), WINDOW).point(screen((1200, 700, 9)), "the dot")
    assert found.status == "ok"


def test_questions_about_one_picture_share_its_windows_and_small_pictures_are_left_alone():
    reader = Reader()
    small, large = screen(size=(480, 640)), screen((1, 1, 9))
    answers = WindowedPointer(reader, WINDOW).point_batch([large, small, large], ["a", "b", "c"])
    assert [answer.status for answer in answers] == ["ok", "none", "ok"]
    assert len({id(picture) for picture in reader.pictures}) == 7
    assert reader.pictures[6] is small
    assert answers[1].reply == "There are none."


def test_it_is_otherwise_the_model_that_it_wraps():
    model = WindowedPointer(Reader(), WINDOW)
    assert (model.name, model.window) == ("reader", WINDOW)
    assert model.traits == ModelTraits(min_confidence=0.2)
    assert innermost(model) is model.inner


def test_the_registry_puts_a_small_model_behind_windows(tmp_path):
    from molmo_agent.pointers.molmo import MolmoPointer
    from molmo_agent.pointers.nano import load_nano
    from molmo_agent.registry import load_model

    nano = load_nano()
    plain = MolmoPointer(nano.model, nano.processor, PointingProfile(window=(320, 240)))
    plain.save_pretrained(tmp_path / "a")
    model = load_model(str(tmp_path / "a"))
    assert isinstance(model, WindowedPointer)
    assert model.window == (320, 240)
    MolmoPointer(nano.model, nano.processor).save_pretrained(tmp_path / "b")
    assert isinstance(load_model(str(tmp_path / "b")), MolmoPointer)


CANVASES = ((640, 480), (360, 640), (160, 210))


class OnlyCanvases(Reader):
    """Fails on images of a shape that it was not trained on."""

    def point(self, image, instruction, *, max_points=None):
        assert (image.shape[1], image.shape[0]) in CANVASES
        image.flags.writeable = False
        return super().point(image, instruction)


@pytest.mark.parametrize("size", [(400, 300), (500, 400), (640, 480), (360, 640), (160, 210), (100, 80), (200, 500)])
def test_a_small_image_is_padded_to_a_canvas_and_its_point_is_one_of_the_image(size):
    width, height = size
    image = screen((width - 2, height - 3, 99), size=(height, width))
    answer = WindowedPointer(OnlyCanvases(), WINDOW, CANVASES).point(image, "the dot")
    assert answer.points[0].point.to_pixels(width, height) == (width - 2, height - 3)


@pytest.mark.parametrize("size", [(412, 915), (480, 800), (1080, 1920), (1280, 800)])
def test_windows_of_an_upright_image_are_padded_instead_of_turned(size):
    width, height = size
    image = screen((width - 2, height - 3, 99), size=(height, width))
    answer = WindowedPointer(OnlyCanvases(), WINDOW, ((640, 480),)).point(image, "the dot") if width < 700 else None
    assert answer is None or answer.points[0].point.to_pixels(width, height) == (width - 2, height - 3)
    views = WindowedPointer(OnlyCanvases(), WINDOW, CANVASES).views(image)
    assert all(view.width >= view.height for view in views)


def test_a_point_in_the_padding_is_out_of_range():
    class PointsAtTheCorner(Reader):
        def point(self, image, instruction, *, max_points=None):
            return PointResult(status="ok", reply="x", points=(LabelledPoint(Point(0.99, 0.99)),), confidence=0.9)

    answer = WindowedPointer(PointsAtTheCorner(), WINDOW, CANVASES).point(screen(size=(300, 400)), "the dot")
    assert answer.status == "out_of_range"
    assert "in its padding" in answer.reply
