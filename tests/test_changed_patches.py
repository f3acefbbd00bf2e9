"""What counts as a change around a point, and what does not; images drawn here."""

import numpy as np
import PIL.Image
import PIL.ImageDraw
import PIL.ImageFont
import pytest

from molmo_agent.geometry import Point
from molmo_agent.images import caret_bars, different_pixels
from molmo_agent.rollout.patches import differs, differs_largely, moving_cells

MIDDLE = Point(0.5, 0.5)
SIZES = [(640, 480), (1920, 1080), (1080, 2400)]


def screen(size=(640, 480), label="Save", fill="white", ink="black", at=(0, 0), extra=(), ground=(225, 225, 225)):
    """A screen with a button in the middle, moved by ``at``, and extra rectangles (box around the middle, colour)."""
    width, height = size
    image = PIL.Image.new("RGB", size, ground)
    draw = PIL.ImageDraw.Draw(image)
    x, y = width // 2 + at[0], height // 2 + at[1]
    draw.rectangle((x - 70, y - 20, x + 70, y + 20), fill=fill, outline=(120, 120, 120))
    draw.text((x, y), label, fill=ink, font=PIL.ImageFont.load_default(20), anchor="mm")
    for (left, top, right, bottom), colour in extra:
        draw.rectangle((x + left, y + top, x + right, y + bottom), fill=colour)
    return np.asarray(image)


CARET = ((30, -10, 31, 8), "black")
BLOCK_CARET = ((30, -10, 40, 8), "black")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "now",
    [
        {},
        {"extra": [CARET]},
        {"extra": [BLOCK_CARET]},
        {"fill": (240, 240, 240)},
        {"fill": (60, 110, 200), "ink": "white"},
        {"ink": (90, 90, 90)},
        {"extra": [((200, -150, 300, -90), "red")]},
    ],
    ids=["nothing", "a caret", "a block caret", "a faint highlight", "a selection", "greyed out", "a video far away"],
)
def test_what_may_change_around_a_point_while_the_model_thinks(size, now):
    assert not differs(screen(size), screen(size, **now), MIDDLE)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(
    "now",
    [
        {"label": "Delete"},
        {"label": "Sand"},
        {"at": (0, 13)},
        {"at": (40, 0)},
        {"label": ""},
        {"extra": [((-200, -60, 200, 140), "white")]},
        {"fill": (90, 90, 90), "ink": "black", "ground": (80, 80, 80)},
    ],
    ids=["another label", "one letter", "scrolled", "moved", "gone", "a window over it", "the shade of a dialog"],
)
def test_what_must_not_have_changed_around_a_point(size, now):
    assert differs(screen(size), screen(size, **now), MIDDLE)


@pytest.mark.parametrize("corner", [Point(0, 0), Point(1, 1), Point(0, 1), Point(1, 0.5)])
def test_points_at_the_edge_of_the_screen_are_compared_with_what_is_left_of_their_surroundings(corner):
    before = screen()
    after = before.copy()
    x, y = corner.to_pixels(640, 480)
    after[max(0, y - 12) : y + 12, max(0, x - 40) : x + 40] = 0
    assert not differs(before, before.copy(), corner)
    assert differs(before, after, corner)


def test_noise_of_a_compressed_capture_is_no_change():
    rng = np.random.default_rng(3)
    before = screen()
    noisy = np.clip(before.astype(int) + rng.integers(-14, 15, before.shape), 0, 255).astype(np.uint8)
    assert not differs(before, noisy, MIDDLE)


def test_letters_are_no_carets():
    for word in ("Delete", "Ill", "lilt"):
        mask = different_pixels(screen(label=""), screen(label=word))
        assert not 0 < len(caret_bars(mask)) <= 2, word
    mask = different_pixels(screen(label=""), screen(label="", extra=[CARET]))
    assert len(caret_bars(mask)) == 1


def video(frame, place):
    image = screen().copy()
    rng = np.random.default_rng(frame)
    image[place] = rng.integers(0, 256, (*image[place].shape[:2], 3))
    return image


BESIDE = slice(200, 280), slice(340, 520)
SPINNER = slice(230, 250), slice(310, 330)
EVERYWHERE = slice(100, 400), slice(150, 500)


@pytest.mark.parametrize(("place", "is_news"), [(BESIDE, False), (SPINNER, False), (EVERYWHERE, True)])
def test_what_moves_beside_the_point_or_is_small_is_no_news_but_a_large_thing_that_moves_under_it_is(place, is_news):
    captures = [video(frame, place) for frame in range(1, 9)]
    known = moving_cells(video(0, place), captures, MIDDLE)
    assert differs(video(0, place), captures[-1], MIDDLE, known) is is_news


@pytest.mark.parametrize("frames", [2, 3, 9])
def test_what_came_and_stays_is_news_however_often_it_is_captured(frames):
    captures = [screen(label="Delete")] * frames
    known = moving_cells(screen(), captures, MIDDLE)
    assert differs(screen(), captures[-1], MIDDLE, known)


def test_what_blinks_back_to_what_the_model_saw_is_no_news():
    captures = [screen(fill="red"), screen(), screen(fill="red"), screen(fill="red")]
    known = moving_cells(screen(), captures, MIDDLE)
    assert not differs(screen(), captures[-1], MIDDLE, known)


@pytest.mark.parametrize(
    ("box", "is_large"),
    [((-120, -60, 160, 90), True), ((-300, -4, 300, 4), False), ((0, 0, 30, 30), False), ((-2, -200, 2, 200), False)],
)
def test_for_the_keyboard_only_something_as_large_as_a_dialog_counts(box, is_large):
    assert differs_largely(screen(), screen(extra=[(box, "yellow")])) is is_large
    assert not differs_largely(screen(), screen())
