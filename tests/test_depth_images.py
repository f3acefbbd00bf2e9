"""Depth images as cameras publish them: units, holes, sizes, and what is refused."""

from typing import Any

import numpy as np
import pytest

from molmo_agent.camera import Camera
from molmo_agent.geometry import Point

SIZE = WIDTH, HEIGHT = 40, 30
CAMERA = Camera(width=WIDTH, height=HEIGHT, fx=50, fy=50, cx=20, cy=15, pose=np.eye(4))
POINTS = [Point(0.3, 0.6)]


def filled(value: float, kind: Any) -> Any:
    return np.full((HEIGHT, WIDTH), value, kind)


@pytest.mark.parametrize("kind", ["uint8", "uint16", ">u2", "int16", "int32", "int64", "uint32"])
def test_whole_numbers_without_a_unit_are_refused_with_the_usual_units(kind: str) -> None:
    with pytest.raises(ValueError, match=r"expected depth_scale, metres per unit, .*0\.001 .*1/5000 .*1/256 .*1/4000"):
        CAMERA.lift(POINTS, filled(120, kind))


@pytest.mark.parametrize(
    ("value", "kind", "scale"),
    [
        (2375, "uint16", 0.001),
        (2375, ">u2", 1 / 1000),
        (11875, "uint16", 1 / 5000),
        (608, "int32", 1 / 256),
        (9500, "uint16", 1 / 4000),
        (23750, "uint16", 0.0001),
        (2375.0, "float32", 0.001),
        (2.375, "float64", None),
    ],
)
def test_every_usual_unit_gives_metres(value: float, kind: str, scale: float | None) -> None:
    surfaces = CAMERA.lift(POINTS, filled(value, kind), depth_scale=scale)
    assert surfaces.valid.all()
    assert surfaces.places[0, 2] == pytest.approx(2.375)


@pytest.mark.parametrize("scale", [1000, 5000.0, 0, -0.001, float("nan"), True, "0.001"])
def test_a_scale_that_is_a_divisor_or_no_length_is_refused(scale: Any) -> None:
    with pytest.raises(ValueError, match="expected depth_scale as metres per unit, above 0 and at most 1"):
        CAMERA.lift(POINTS, filled(900, "uint16"), depth_scale=scale)


@pytest.mark.parametrize(
    ("value", "kind", "scale", "reason"),
    [
        (0, "uint16", 0.001, "25 are 0"),
        (65535, "uint16", 0.001, "25 are 65535"),
        # The same sensor's value after a conversion of the array.
        (65535, "int32", 0.001, "25 are 65535"),
        (65535, "float32", 0.001, "25 are 65535"),
        (32767, "int16", 0.001, "25 are 32767"),
        (-4, "int16", 0.001, "25 are negative"),
        (-1.5, "float64", None, "25 are negative"),
        (np.nan, "float32", None, "25 are NaN"),
        (np.inf, "float16", None, "25 are infinite"),
        (-np.inf, "float32", None, "25 are infinite"),
    ],
)
def test_values_that_mean_no_depth_are_no_place_and_say_why(value: float, kind: str, scale: Any, reason: str) -> None:
    surfaces = CAMERA.lift(POINTS, filled(value, kind), depth_scale=scale)
    assert not surfaces.valid.any()
    assert np.isnan(surfaces.places).all()
    assert surfaces.reasons == (f"no depth at (0.300, 0.600): 0 of 25 pixels measured ({reason})",)


def test_masked_pixels_and_far_ones_are_holes() -> None:
    depth = np.ma.masked_array(filled(2.0, float), mask=np.zeros((HEIGHT, WIDTH), bool))
    depth[16:21, 10:13] = np.ma.masked
    assert CAMERA.lift(POINTS, depth).reasons[0].endswith("10 of 25 pixels measured (15 are masked or too far)")
    assert CAMERA.lift(POINTS, filled(7.0, float), max_depth_m=5).reasons[0].endswith("(25 are masked or too far)")


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_floating_point_millimetres_are_refused(kind: str) -> None:
    rng = np.random.default_rng(1)
    depth = rng.integers(400, 4000, (HEIGHT, WIDTH)).astype(kind)
    depth[1::9] = 0  # holes do not hide the unit
    with pytest.raises(ValueError, match=r"nearest twentieth begins at .* are they millimetres\? Pass depth_scale"):
        CAMERA.lift(POINTS, depth)
    assert CAMERA.lift(POINTS, depth, depth_scale=0.001, window_px=1).places[0, 2] < 4


def test_a_wide_landscape_is_lifted_where_the_caller_says_that_it_is_in_metres() -> None:
    assert CAMERA.lift(POINTS, filled(750.0, float), max_depth_m=2000).places[0, 2] == 750
    # A far sky behind near things needs no word.
    depth = filled(900.0, float)
    depth[15:] = 12.0
    assert CAMERA.lift(POINTS, depth).places[0, 2] == 12


@pytest.mark.parametrize("shape", [(HEIGHT // 2, WIDTH // 2), (WIDTH, HEIGHT), (HEIGHT, WIDTH - 1), (60, 80)])
def test_a_depth_image_of_another_size_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"the image's own size, shape \(30, 40\), got .*: align the depth"):
        CAMERA.lift(POINTS, np.full(shape, 2.0))


@pytest.mark.parametrize("depth", [filled(1, bool), filled(1, complex), filled(1, object), np.full((30, 40), "2.0")])
def test_what_is_no_number_is_no_depth(depth: Any) -> None:
    with pytest.raises(ValueError, match="expected depths as numbers, got an array of"):
        CAMERA.lift(POINTS, depth, depth_scale=0.001)


@pytest.mark.parametrize("depths", [[np.uint16(1500)], np.array([1500], np.int16), np.array([3], np.uint8)])
def test_a_pixel_of_whole_numbers_is_no_depth_in_metres(depths: Any) -> None:
    with pytest.raises(ValueError, match=r"expected depths in metres, got u?int\d+ as a camera gives them"):
        CAMERA.deproject(POINTS, depths)


def test_depths_that_are_none_are_no_places() -> None:
    places = CAMERA.deproject([*POINTS] * 5, [2, 0.0, -1.0, np.inf, np.nan])
    assert np.isfinite(places[0]).all()
    assert np.isnan(places[1:]).all()
    with pytest.raises(ValueError, match="expected depths in metres, got an array of <U3"):
        CAMERA.deproject(POINTS, ["1.5"])
