"""A ROS CameraInfo: which of its two images is meant, region, binning, stereo, and other programs' dictionaries."""

from typing import Any

import numpy as np
import pytest

from molmo_agent.camera import Camera
from molmo_agent.geometry import Point

POSE = np.eye(4)
IDEAL = [1.0, 0, 0, 0, 1, 0, 0, 0, 1]


def matrix(fx: float, fy: float, cx: float, cy: float) -> list[float]:
    return [fx, 0, cx, 0, fy, cy, 0, 0, 1]


def projection(fx: float, fy: float, cx: float, cy: float, tx: float = 0, ty: float = 0) -> list[float]:
    return [fx, 0, cx, tx, 0, fy, cy, ty, 0, 0, 1, 0]


PLAIN: dict[str, Any] = {
    "width": 800,
    "height": 600,
    "distortion_model": "plumb_bob",
    "d": [0.0] * 5,
    "k": matrix(700, 705, 399.5, 299.5),
    "r": IDEAL,
    "p": projection(700, 705, 399.5, 299.5),
    "binning_x": 0,
    "binning_y": 0,
    "roi": {"x_offset": 0, "y_offset": 0, "width": 0, "height": 0, "do_rectify": False},
}
RECTIFIED = {"p": projection(610, 612, 390.0, 310.0)}
BARREL = {"d": [-0.3, 0.1, 0.001, 0.0, 0.0]}
FISHEYE = {"distortion_model": "equidistant", "d": [0.02, -0.01, 0.003, 0.0]}
RATIONAL = {"distortion_model": "rational_polynomial", "d": [0.4, -2.1, 0, 0, 1.2, 0.3, -1.9, 1.1]}
TURNED = {"r": [0.9998, -0.02, 0, 0.02, 0.9998, 0, 0, 0, 1]}


def read(*changes: dict[str, Any], **how: Any) -> Camera:
    info = dict(PLAIN)
    for change in changes:
        info.update(change)
    return Camera.from_camera_info(info, POSE, **how)


def intrinsics(camera: Camera) -> tuple[float, ...]:
    return camera.fx, camera.fy, camera.cx, camera.cy


def test_where_both_images_are_one_nothing_has_to_be_said() -> None:
    assert intrinsics(read()) == (700, 705, 400, 300)
    assert intrinsics(read({"p": None, "r": []})) == (700, 705, 400, 300)
    assert intrinsics(read({"p": [0.0] * 12, "r": [0.0] * 9})) == (700, 705, 400, 300)
    assert read(rectified=True).fx == read(rectified=False).fx == 700


@pytest.mark.parametrize(
    "changes", [[BARREL], [FISHEYE, RECTIFIED], [RATIONAL, RECTIFIED], [RECTIFIED], [TURNED], [BARREL, {"p": None}]]
)
def test_where_the_two_images_differ_the_user_says_which_one(changes: list[dict[str, Any]]) -> None:
    with pytest.raises(ValueError, match=r"pass rectified=True: p is used.* pass rectified=False: k is used"):
        read(*changes)


@pytest.mark.parametrize("distortion", [BARREL, FISHEYE, RATIONAL])
def test_a_rectified_image_has_the_intrinsics_of_p_and_a_distorted_one_is_refused(distortion: dict[str, Any]) -> None:
    camera = read(distortion, RECTIFIED, rectified=True)
    assert intrinsics(camera) == (610, 612, 390.5, 310.5)
    # The optical axis is where p says.
    assert camera.ray([Point(390.5 / 800, 310.5 / 600)])[0] == pytest.approx([0, 0, 1])
    with pytest.raises(ValueError, match=r"expected an image without distortion, got d = .*: rectify it"):
        read(distortion, RECTIFIED, rectified=False)


def test_a_raw_image_without_distortion_keeps_k() -> None:
    assert intrinsics(read(RECTIFIED, rectified=False)) == (700, 705, 400, 300)
    with pytest.raises(ValueError, match="expected p of 12 numbers for a rectified image, got none"):
        read({"p": [0.0] * 12}, rectified=True)


@pytest.mark.parametrize(
    ("roi", "binning", "size", "expected"),
    [
        ({"x_offset": 200, "y_offset": 100, "width": 400, "height": 300}, (0, 0), (400, 300), (700, 705, 200, 200)),
        ({}, (2, 2), (400, 300), (350, 352.5, 200, 150)),
        ({}, (4, 1), (200, 600), (175, 705, 100, 300)),
        ({"x_offset": 80, "y_offset": 60, "width": 640, "height": 480}, (2, 4), (320, 120), (350, 176.25, 160, 60)),
        ({"x_offset": 0, "y_offset": 0, "width": 800, "height": 600, "do_rectify": True}, (1, 1), (800, 600), None),
    ],
)
def test_region_and_binning_move_and_scale_the_camera(roi: Any, binning: Any, size: Any, expected: Any) -> None:
    changes = {"roi": roi, "binning_x": binning[0], "binning_y": binning[1]}
    camera = read(changes, image_size=size)
    assert (camera.width, camera.height) == size
    assert intrinsics(camera) == (expected or (700, 705, 400, 300))
    # A place appears at the same pixel of the sensor.
    across, down = max(binning[0], 1), max(binning[1], 1)
    place = (0.1, -0.05, 2.0)
    whole = read().project([place]).points[0] * (800, 600)
    part = camera.project([place]).points[0] * size * (across, down)
    corner = np.array([roi.get("x_offset", 0), roi.get("y_offset", 0)])
    assert corner + part == pytest.approx(whole)


def test_the_region_of_a_rectified_image_is_used_or_refused() -> None:
    roi = {"x_offset": 100, "y_offset": 50, "width": 400, "height": 300}
    camera = read(BARREL, RECTIFIED, {"roi": roi | {"do_rectify": False}}, rectified=True)
    assert (camera.width, camera.height, camera.cx, camera.cy) == (400, 300, 290.5, 260.5)
    with pytest.raises(ValueError, match="the message does not say which part of the rectified image this is"):
        read(BARREL, RECTIFIED, {"roi": roi | {"do_rectify": True}}, rectified=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"roi": {"x_offset": 500, "width": 400, "height": 300}},
        {"roi": {"width": 400}},
        {"roi": {"x_offset": -1, "width": 4, "height": 3}},
        {"roi": [0, 0, 400, 300]},
        {"binning_x": 900},
        {"binning_y": 1.5},
    ],
)
def test_a_region_or_binning_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected (a roi|roi|x_offset|a binning|binning_y) "):
        read(changes)


def test_an_image_of_another_size_than_the_message_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected an image of 400 x 300 .*, got 800 x 600: pass the CameraInfo"):
        read({"binning_x": 2, "binning_y": 2}, image_size=(800, 600))


@pytest.mark.parametrize(
    ("tx", "ty", "center"), [(-73.2, 0, (0.12, 0, 0)), (0, -30.6, (0, 0.05, 0)), (61, 0, (-0.1, 0, 0))]
)
def test_the_second_camera_of_a_stereo_pair_is_a_baseline_away(tx: float, ty: float, center: Any) -> None:
    stereo = {"p": projection(610, 612, 390.0, 310.0, tx, ty)}
    with pytest.raises(ValueError, match=r"second camera of a stereo pair, 0\.\d+ m beside the first\. Pass pose_of="):
        read(stereo, rectified=True)
    assert read(stereo, rectified=True, pose_of="own").position == pytest.approx((0, 0, 0))
    camera = read(stereo, rectified=True, pose_of="first")
    assert camera.position == pytest.approx(center)
    # p maps places of the first camera's frame to pixels, counted from their middle.
    place = np.array([0.3, -0.2, 4.0, 1.0])
    u, v, w = np.reshape(stereo["p"], (3, 4)) @ place
    assert camera.project([place[:3]]).points[0] * (800, 600) == pytest.approx((u / w + 0.5, v / w + 0.5))


def test_a_pose_of_the_first_camera_belongs_to_rectified_images_beside_it() -> None:
    with pytest.raises(ValueError, match="expected rectified=True with pose_of='first'"):
        read(rectified=False, pose_of="first")
    with pytest.raises(ValueError, match="expected pose_of 'own' or 'first', got 'left'"):
        read({"p": projection(610, 612, 390, 310, -60)}, rectified=True, pose_of="left")
    ahead = projection(610, 612, 390, 310)
    ahead[11] = 0.2
    with pytest.raises(ValueError, match=r"expected p of a camera beside the first one, got one 0\.2 m before it"):
        read({"p": ahead}, rectified=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": [1.0] * 8}, "expected a CameraInfo with width, height and k of 9 numbers, got k = "),
        ({"k": ["700"] * 9}, "expected a CameraInfo with width, height and k of 9 numbers, got k = "),
        ({"k": [0.0] * 9}, "expected a calibrated camera, got k with zeros alone"),
        ({"k": matrix(0, 705, 399, 299)}, "expected k with focal lengths above 0"),
        ({"k": matrix(-700, 705, 399, 299)}, "expected k with focal lengths above 0"),
        ({"k": [700, 0, 0, 0, 705, 0, 399, 299, 1]}, "expected k row by row"),
        ({"k": [700, 3, 399, 0, 705, 299, 0, 0, 1]}, "expected k without skew, got the skew 3"),
        ({"k": matrix(float("nan"), 705, 399, 299)}, "expected k of finite numbers"),
        ({"K": matrix(700, 705, 399, 299)}, "expected one of k and K, got both"),
        ({"d": ["0"]}, "expected d of numbers"),
        ({"p": [1.0] * 9}, "expected p of 12 numbers"),
        ({"r": [1.0] * 12}, "expected r of 9 numbers"),
        ({"width": "800"}, "expected width as a whole number of at least 1, got '800'"),
        ({"height": 0}, "expected height as a whole number of at least 1, got 0"),
        ({"width": 800.0}, "expected width as a whole number"),
    ],
)
def test_fields_that_are_missing_or_malformed_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(changes)


@pytest.mark.parametrize(
    ("info", "hint"),
    [
        ({"width": 4, "height": 3, "ppx": 2.0, "ppy": 1.5, "fx": 4, "fy": 4, "coeffs": [0] * 5}, "cx=ppx \\+ 0.5"),
        ({"width": 4, "height": 3, "intrinsic_matrix": [4, 0, 0, 0, 4, 0, 2, 1, 1]}, "cx=m\\[6\\] \\+ 0.5"),
        ({"image_width": 4, "camera_matrix": {"data": [0] * 9}}, "a calibration file: its camera_matrix is k"),
        ({"width": 4, "height": 3, "fovy": 45.0}, "use Camera.from_field_of_view"),
        ({"width": 4, "height": 3, "fx": 4, "fy": 4, "cx": 2, "cy": 1}, "add 0.5 to those of OpenCV"),
    ],
)
def test_the_dictionaries_of_other_programs_are_recognised(info: dict[str, Any], hint: str) -> None:
    with pytest.raises(ValueError, match=f"expected a CameraInfo .*; these are .*{hint}"):
        Camera.from_camera_info(info, POSE)


def test_a_message_object_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a CameraInfo as a mapping of its fields, got list: convert it"):
        Camera.from_camera_info([1, 2], POSE)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pose", "problem"),
    [
        (np.eye(4)[:3], r"an array of float64 of shape \(3, 4\)"),
        (np.full((4, 4), "1"), "an array of <U1"),
        (np.diag([1.0, -1.0, 1.0, 1.0]), "a left-handed one"),
        (np.diag([0.001, 0.001, 0.001, 1.0]), "axes of length 0.001: it scales"),
        (np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0.2, 0.1, 3, 1]]), "the translation in the last row"),
        (np.array([[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), "axes that are not perpendicular"),
        (np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 2], [0, 0, 0, 2.0]]), "a last row that is not 0, 0, 0, 1"),
        (np.full((4, 4), np.inf), "numbers that are not finite"),
    ],
)
def test_a_pose_that_is_not_rigid_is_refused_with_the_reason(pose: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=rf"expected a \(4, 4\) pose of a right-handed .* got {problem}"):
        Camera.from_camera_info(PLAIN, pose)


@pytest.mark.parametrize("change", [{"width": "8"}, {"height": 0}, {"width": 8.5}, {"fx": "9"}, {"cy": np.nan}])
def test_a_camera_of_other_things_than_numbers_is_refused(change: dict[str, Any]) -> None:
    values: dict[str, Any] = {"width": 8, "height": 6, "fx": 9, "fy": 9, "cx": 4, "cy": 3, "pose": POSE}
    with pytest.raises(ValueError, match=r"expected (an image of whole pixels|focal lengths above 0)"):
        Camera(**{**values, **change})
