import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from molmo_agent.geometry import Point
from molmo_agent.transforms import ImageTransform

fractions = st.floats(0, 1)
sizes = st.integers(1, 5000)
ratios = st.sampled_from([1, 1.0, 1.25, 1.5, 1.75, 2, 2.625, 3])
origins = st.integers(-10_000, 10_000)


@st.composite
def views(draw):
    """Any chain of picture steps without padding, with input units of at least one pixel."""
    transform = ImageTransform.identity(draw(sizes), draw(sizes))
    for name in draw(st.lists(st.sampled_from(["crop", "resize", "rotate"]), max_size=5)):
        if name == "crop":
            left, top = draw(st.integers(0, transform.width - 1)), draw(st.integers(0, transform.height - 1))
            right, bottom = (
                draw(st.integers(left + 1, transform.width)),
                draw(st.integers(top + 1, transform.height)),
            )
            transform = transform.crop(left, top, right, bottom)
        elif name == "resize":
            transform = transform.resize(draw(sizes), draw(sizes))
        else:
            transform = transform.rotate(draw(st.sampled_from([0, 90, 180, 270])))
    return transform


@given(sizes, sizes, fractions, fractions)
def test_an_untouched_capture_follows_the_one_coordinate_rule(width, height, x, y):
    point = Point(x, y)
    assert ImageTransform.identity(width, height).to_device(point) == point.to_pixels(width, height)


@given(sizes, sizes, sizes, sizes, fractions, fractions)
def test_resizing_changes_no_device_pixel(width, height, new_width, new_height, x, y):
    point = Point(x, y)
    resized = ImageTransform.identity(width, height).resize(new_width, new_height).resize(7, 9)
    assert resized.to_device(point) == point.to_pixels(width, height)


@given(views(), ratios, origins, origins, fractions, fractions)
def test_device_units_lead_to_a_point_that_leads_back_to_them(transform, ratio, left, top, x, y):
    transform = transform.scale(ratio).offset(left, top)
    region = transform.device_region
    assume(region[0] < region[2] and region[1] < region[3])
    unit = transform.to_device(Point(x, y))
    assert transform.to_device(transform.from_device(*unit)) == unit


@given(views(), ratios, origins, origins)
def test_corners_and_every_other_point_stay_inside_the_captured_region(transform, ratio, left, top):
    transform = transform.offset(left, top).scale(ratio)
    x0, y0, x1, y1 = transform.device_region
    assume(x0 < x1 and y0 < y1)
    for x in (0.0, 1.0, 0.5, math.nextafter(1, 0)):
        for y in (0.0, 1.0, 0.5, math.nextafter(0, 1)):
            unit = transform.to_device(Point(x, y))
            assert x0 <= unit[0] < x1
            assert y0 <= unit[1] < y1


@given(views(), fractions, fractions)
def test_positions_of_the_capture_round_trip(transform, x, y):
    back = transform.from_capture(*transform.to_capture(Point(x, y)))
    assert (back.x, back.y) == pytest.approx((x, y), abs=1e-6)


@given(views(), ratios, origins, origins, fractions, fractions)
def test_a_record_leads_to_the_same_device_units(transform, ratio, left, top, x, y):
    transform = transform.scale(ratio, ratio * 2).offset(left, top)
    again = ImageTransform.from_dict(json.loads(json.dumps(transform.to_dict())))
    assert again == transform
    assert again.device_region == transform.device_region


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_every_pixel_of_a_rotated_image_leads_to_the_pixel_it_shows(degrees):
    upright = np.arange(3 * 5).reshape(3, 5)
    turned = np.rot90(upright, k=-degrees // 90)
    height, width = turned.shape
    transform = ImageTransform.identity(5, 3).rotate(degrees)
    assert (transform.width, transform.height) == (width, height)
    for y in range(height):
        for x in range(width):
            for point in (Point.from_pixel(x, y, width, height), Point(x / width, y / height)):
                x_px, y_px = transform.to_device(point)
                assert upright[y_px, x_px] == turned[y, x]


@given(views(), st.integers(1, 4))
def test_turning_four_times_changes_nothing(transform, turns):
    turned = transform
    for _ in range(4 * turns):
        turned = turned.rotate(90)
    assert turned.to_device(Point(0.3, 0.7)) == transform.to_device(Point(0.3, 0.7))
    assert (turned.width, turned.height) == (transform.width, transform.height)


@pytest.mark.parametrize("ratio", [1, 1.25, 1.5, 1.75, 2, 3])
def test_hidpi_units_hit_the_pointed_pixel_wherever_one_can(ratio):
    width = 500
    transform = ImageTransform.identity(width, 1).scale(ratio)
    units = range(transform.device_region[2])
    hit_by = {math.floor(unit * ratio): unit for unit in units}
    for pixel in range(width):
        unit, _ = transform.to_device(Point.from_pixel(pixel, 0, width, 1))
        if pixel in hit_by:
            assert unit == hit_by[pixel]
        else:
            # No unit lands there: the one whose span covers the pixel is off by less than one unit.
            assert abs(math.floor(unit * ratio) - pixel) < ratio


def test_a_double_density_screen_covers_two_pixels_per_unit():
    transform = ImageTransform.identity(8, 2).scale(2)
    assert [transform.to_device(Point.from_pixel(x, 0, 8, 2))[0] for x in range(8)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert transform.device_region == (0, 0, 4, 1)


def test_a_monitor_left_of_the_main_one_has_negative_units():
    transform = ImageTransform.identity(1920, 1080).offset(-1920, -200)
    assert transform.to_device(Point(0, 0)) == (-1920, -200)
    assert transform.to_device(Point(1, 1)) == (-1, 879)


def test_an_offset_before_the_scale_is_in_pixels_and_after_it_in_units():
    capture = ImageTransform.identity(200, 100)
    assert capture.offset(-200, 0).scale(2).to_device(Point(0, 0)) == (-100, 0)
    assert capture.scale(2).offset(-200, 0).to_device(Point(0, 0)) == (-200, 0)


def test_image_steps_and_unit_steps_can_be_added_in_any_order():
    capture = ImageTransform.identity(2560, 1600)
    first = capture.scale(2).offset(10, 20).crop(100, 200, 300, 400).resize(50, 50)
    last = capture.crop(100, 200, 300, 400).resize(50, 50).scale(2).offset(10, 20)
    for point in (Point(0, 0), Point(0.3, 0.6), Point(1, 1)):
        assert first.to_device(point) == last.to_device(point)


def test_a_region_that_starts_between_two_units_is_never_left():
    transform = ImageTransform.identity(10, 10).crop(3, 3, 9, 9).scale(2)
    assert transform.to_device(Point(0, 0)) == (2, 2)  # unit 1 would land on pixel 2, outside


def test_a_region_without_any_input_unit_is_an_error():
    transform = ImageTransform.identity(10, 10).crop(3, 3, 4, 4).scale(4)
    with pytest.raises(ValueError, match="no input unit falls into the captured region; capture a larger one"):
        transform.to_device(Point(0.5, 0.5))


def test_composing_leads_from_a_crop_of_the_observation_to_the_device():
    screen = ImageTransform.identity(2000, 1000).resize(1000, 500).scale(2).offset(-1000, 0)
    crop = ImageTransform.identity(1000, 500).crop(500, 250, 1000, 500).resize(336, 336)
    assert screen.compose(crop).to_device(Point(0, 0)) == (-500, 250)
    assert screen.compose(crop).to_device(Point(1, 1)) == (-1, 499)


def test_composing_with_a_transform_of_another_image_is_an_error():
    with pytest.raises(ValueError, match="expected a transform of an image of 10 x 20 pixels, got one of 20 x 10"):
        ImageTransform.identity(10, 20).compose(ImageTransform.identity(20, 10))
    with pytest.raises(ValueError, match=r"input units belong to the outer transform, got scale\(2, 2\)"):
        ImageTransform.identity(10, 20).compose(ImageTransform.identity(10, 20).scale(2))


def test_a_point_on_letterbox_padding_is_an_error_not_a_place():
    letterbox = ImageTransform.identity(200, 100).resize(336, 168).pad(0, 84, 0, 84)
    assert (letterbox.width, letterbox.height) == (336, 336)
    assert letterbox.to_device(Point(0.5, 0.25)) == (100, 0)
    assert letterbox.to_device(Point(1.0, 0.75)) == (199, 99)
    for y in (0.0, 0.24, 0.76, 1.0):
        with pytest.raises(ValueError, match="is on the padding of the image; there is nothing to act on"):
            letterbox.to_device(Point(0.5, y))


def test_the_edge_of_padding_survives_float_noise():
    for pad in range(1, 60):
        padded = ImageTransform.identity(100, 100).pad(pad, pad, pad, pad)
        edge = pad / (100 + 2 * pad)
        assert padded.to_device(Point(edge, 1 - edge)) == (0, 99)


def test_a_crop_of_nothing_but_padding_is_an_error():
    with pytest.raises(ValueError, match="the crop shows nothing but padding"):
        ImageTransform.identity(10, 10).pad(0, 0, 5, 0).crop(10, 0, 15, 10)


def test_padding_cut_away_again_is_no_padding():
    transform = ImageTransform.identity(10, 10).pad(3, 3, 3, 3).crop(3, 3, 13, 13)
    assert transform.to_device(Point(0, 0)) == (0, 0)
    assert transform.to_device(Point(1, 1)) == (9, 9)


def test_device_positions_outside_of_the_image_have_no_point():
    transform = ImageTransform.identity(100, 100).crop(10, 10, 20, 20)
    assert transform.from_device(10, 19) == Point(0.05, 0.95)
    with pytest.raises(ValueError, match=r"\(20, 10\) is outside of the captured region \(10, 10, 20, 20\)"):
        transform.from_device(20, 10)
    with pytest.raises(ValueError, match=r"the image does not show \(5, 15\) of its capture"):
        transform.from_capture(5, 15)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda t: t.crop(0, 0, 11, 10), r"expected a crop inside 10 x 10 pixels .* got \(0, 0, 11, 10\)"),
        (lambda t: t.crop(5, 5, 5, 9), "with left < right and top < bottom"),
        (lambda t: t.crop(0.5, 0, 9, 9), "expected whole pixels"),
        (lambda t: t.pad(-1, 0, 0, 0), "expected borders of 0 pixels or more"),
        (lambda t: t.resize(0, 5), "an image must be whole pixels, at least 1 x 1, got 0 x 5"),
        (lambda t: t.rotate(45), r"degrees must be 0, 90, 180 or 270 \(clockwise\), got 45"),
        (lambda t: t.scale(0), "pixels per unit must be a number above 0"),
        (lambda t: t.scale(math.nan), "pixels per unit must be a number above 0"),
        (lambda t: t.offset(math.inf, 0), "an offset must be finite"),
        (lambda t: ImageTransform.identity(0, 5), "a capture must be whole pixels, at least 1 x 1, got 0 x 5"),
        (lambda t: ImageTransform.identity(5.5, 5), "a capture must be whole pixels"),
    ],
)
def test_impossible_steps_are_refused_with_the_reason(build, message):
    with pytest.raises(ValueError, match=message):
        build(ImageTransform.identity(10, 10))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "expected .*capture"),
        ({"capture": [1], "steps": []}, "expected .*capture"),
        ({"capture": [9, 9], "steps": [["shear", 1]]}, "expected a step among crop, resize, .* got 'shear'"),
        ({"capture": [9, 9], "steps": [["crop", 1]]}, "the values of step 'crop' do not fit it"),
        ({"capture": [9, 9], "steps": [["offset", "a", "b"]]}, "the values of step 'offset' do not fit it"),
        ({"capture": [9, 9], "steps": [["crop", 0, 0, 10, 9]]}, "expected a crop inside 9 x 9"),
    ],
)
def test_a_broken_record_is_refused_with_the_reason(data, message):
    with pytest.raises(ValueError, match=message):
        ImageTransform.from_dict(data)


def test_a_transform_describes_itself_in_one_line():
    transform = ImageTransform.identity(2560, 1600).crop(0, 0, 1280, 1600).scale(1.25).offset(-1024, 0)
    assert transform.describe() == "capture 2560 x 1600, crop(0, 0, 1280, 1600), scale(1.25, 1.25), offset(-1024, 0)"
    assert "steps" in repr(transform)
    with pytest.raises(AttributeError):
        transform.width = 5


def test_decimal_ratios_mean_what_is_written():
    # 1.1 is not a binary number; the pixel boundaries must still fall on multiples of 11/10.
    assert ImageTransform.identity(1100, 1).scale(1.1).device_region == (0, 0, 1000, 1)
    assert ImageTransform.identity(1100, 11).scale(np.float64(1.1)).device_region == (0, 0, 1000, 10)
