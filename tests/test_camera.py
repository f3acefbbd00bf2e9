"""The pinhole camera: there and back, conventions, holes in the depth, and MuJoCo's own truth."""

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from molmo_agent.camera import OPENGL_TO_OPENCV, Camera, look_at
from molmo_agent.envs.worlds.table.simulation import import_mujoco
from molmo_agent.errors import EnvError, MissingExtraError
from molmo_agent.geometry import Point

MIDDLE = Point(0.5, 0.5)
IDENTITY = np.eye(4)


def straight(**changes: Any) -> Camera:
    """A camera at the origin that looks along z, with OpenCV's axes."""
    values: dict[str, Any] = {"width": 640, "height": 480, "fx": 500.0, "fy": 500.0, "cx": 320.0, "cy": 240.0}
    return Camera(**{**values, "pose": IDENTITY, **changes})


coordinates = st.floats(-5, 5)
places = st.tuples(coordinates, coordinates, coordinates)
fractions = st.floats(0, 1)


@st.composite
def cameras(draw: Any) -> Camera:
    position = np.array(draw(places))
    target = position + np.array(draw(places.filter(lambda p: math.hypot(p[0], p[1]) > 0.1)))
    return Camera(
        width=draw(st.integers(16, 2000)),
        height=draw(st.integers(16, 2000)),
        fx=draw(st.floats(100, 3000)),
        fy=draw(st.floats(100, 3000)),
        cx=draw(st.floats(0, 2000)),
        cy=draw(st.floats(0, 2000)),
        pose=look_at(position, target),
    )


@settings(deadline=None, max_examples=80)
@given(camera=cameras(), x=fractions, y=fractions, depth=st.floats(0.05, 50))
def test_a_point_at_a_depth_comes_back_to_itself(camera: Camera, x: float, y: float, depth: float) -> None:
    place = camera.deproject([Point(x, y)], [depth])
    back = camera.project(place)
    assert np.abs(back.points - (x, y)).max() < 1e-6
    assert back.depth_m[0] == pytest.approx(depth, rel=1e-9)


@settings(deadline=None, max_examples=80)
@given(camera=cameras(), x=fractions, y=fractions, depth=st.floats(0.05, 50))
def test_the_ray_of_a_point_goes_through_its_places(camera: Camera, x: float, y: float, depth: float) -> None:
    ray = camera.ray([Point(x, y)])
    assert np.linalg.norm(ray) == pytest.approx(1.0)
    way = camera.deproject([Point(x, y)], [depth])[0] - camera.position
    assert np.abs(way / np.linalg.norm(way) - ray[0]).max() < 1e-9


@settings(deadline=None, max_examples=80)
@given(camera=cameras(), x=fractions, y=fractions, height=coordinates)
def test_a_point_meets_a_plane_where_the_plane_is_seen_at_that_point(
    camera: Camera, x: float, y: float, height: float
) -> None:
    found = camera.intersect_plane([Point(x, y)], through=(9.0, -3.0, height))
    if not found.valid[0]:
        assert np.isnan(found.places).all()
        assert "does not meet the plane" in found.reasons[0]
        return
    assert found.places[0, 2] == pytest.approx(height, abs=1e-6 * (1 + np.abs(found.places).max()))
    slope = abs(camera.ray([Point(x, y)])[0, 2])
    if slope > 1e-3 and np.linalg.norm(found.places[0] - camera.position) > 1e-3:
        assert np.abs(camera.project(found.places).points - (x, y)).max() < 1e-6


def test_a_ray_that_all_but_misses_a_plane_does_not_meet_it() -> None:
    level = straight().intersect_plane([Point(0.5, 0.5 + 1e-300)], normal=(0, 1, 0), through=(0, 1e300, 0))
    assert level.valid.tolist() == [False]
    assert "does not meet the plane" in level.reasons[0]


def test_axes_are_right_down_forward() -> None:
    seen = straight().project([(0, 0, 2), (0.1, 0, 2), (0, 0.1, 2), (0, 0, -2)])
    assert seen.points[0] == pytest.approx([0.5, 0.5])
    assert seen.points[1, 0] > 0.5
    assert seen.points[2, 1] > 0.5
    assert np.isnan(seen.points[3]).all()
    assert seen.visible.tolist() == [True, True, True, False]
    assert seen.depth_m.tolist() == [2, 2, 2, -2]
    assert straight().project([(9, 0, 1)]).visible.tolist() == [False]


def test_an_opengl_pose_is_turned_into_an_opencv_one() -> None:
    pose = look_at((0, -2, 1), (0, 0, 1))
    up_and_back = pose @ OPENGL_TO_OPENCV
    assert up_and_back[:3, 1] == pytest.approx([0, 0, 1])  # y up
    assert up_and_back[:3, 2] == pytest.approx([0, -1, 0])  # looks along -z
    assert up_and_back @ OPENGL_TO_OPENCV == pytest.approx(pose)


def test_the_field_of_view_reaches_from_edge_to_edge() -> None:
    camera = Camera.from_field_of_view(640, 480, vertical_deg=90, pose=IDENTITY)
    top, bottom = camera.ray([Point(0.5, 0.0), Point(0.5, 1.0)])
    assert math.degrees(math.acos(float(top @ bottom))) == pytest.approx(90)


def test_ros_counts_pixels_from_their_middle() -> None:
    info = {"width": 640, "height": 480, "k": [500, 0, 319.5, 0, 500, 239.5, 0, 0, 1], "d": [0.0] * 5}
    camera = Camera.from_camera_info(info, IDENTITY)
    assert camera.ray([MIDDLE])[0] == pytest.approx([0, 0, 1])
    same = Camera.from_camera_info({"width": 640, "height": 480, "K": np.reshape(info["k"], (3, 3))}, IDENTITY)
    assert (same.cx, same.cy) == (camera.cx, camera.cy) == (320, 240)
    # OpenCV projects (0, 0, z) to (319.5, 239.5): the edge between the two middle pixels, counted from a middle.
    assert straight().project([(0, 0, 1)]).points[0] * (640, 480) - 0.5 == pytest.approx([319.5, 239.5])


def test_an_unfit_camera_info_is_reported() -> None:
    info = {"width": 640, "height": 480, "k": [500, 0, 320, 0, 500, 240, 0, 0, 1]}
    with pytest.raises(ValueError, match="expected a CameraInfo with width, height and k of 9 numbers"):
        Camera.from_camera_info({"width": 640, "height": 480}, IDENTITY)
    with pytest.raises(ValueError, match="expected a CameraInfo"):
        Camera.from_camera_info({"k": info["k"]}, IDENTITY)


@pytest.mark.parametrize(
    "pose",
    [
        np.zeros((4, 4)),
        np.eye(3),
        np.diag([1.0, 1.0, -1.0, 1.0]),
        np.diag([2.0, 2.0, 2.0, 1.0]),
        np.full((4, 4), math.nan),
    ],
)
def test_a_pose_that_is_none_is_reported(pose: Any) -> None:
    with pytest.raises(ValueError, match=r"expected a \(4, 4\) pose of a right-handed rotation"):
        straight(pose=pose)


def test_other_unfit_numbers_are_reported() -> None:
    with pytest.raises(ValueError, match="focal lengths above 0"):
        straight(fx=0.0)
    with pytest.raises(ValueError, match="focal lengths above 0"):
        straight(fy=math.nan)
    with pytest.raises(ValueError, match="expected a vertical field of view between 0 and 180 degrees, got 180"):
        Camera.from_field_of_view(4, 4, vertical_deg=180, pose=IDENTITY)
    with pytest.raises(ValueError, match=r"expected places of shape \(number, 3\), got \(3,\)"):
        straight().project([1, 2, 3])
    with pytest.raises(ValueError, match=r"expected points of shape \(number, 2\), got \(2,\)"):
        straight().ray(np.array([0.5, 0.5]))
    with pytest.raises(ValueError, match="expected a view that is not along"):
        look_at((0, 0, 1), (0, 0, 0))
    with pytest.raises(ValueError, match=r"expected a depth image of shape \(height, width\), got \(4, 4, 1\)"):
        straight().lift([MIDDLE], np.ones((4, 4, 1)))
    with pytest.raises(ValueError, match="expected an odd window of at least 1 pixel, got 4"):
        straight().lift([MIDDLE], np.ones((4, 4)), window_px=4)


def test_a_camera_does_not_follow_the_callers_array() -> None:
    pose = np.eye(4)
    camera = straight(pose=pose)
    pose[0, 3] = 9.0
    assert camera.position.tolist() == [0, 0, 0]


# --- Lifting ----------------------------------------------------------------------------------------------------------


def test_a_hole_in_the_depth_is_no_place_and_never_the_origin() -> None:
    camera, depth = straight(width=64, height=48), np.full((48, 64), 2.0)
    depth[20:30, 20:30] = 0.0
    depth[:, 40:50] = math.nan
    depth[:, 55:] = math.inf
    points = [Point.from_pixel(x, 25, 64, 48) for x in (5, 25, 45, 60)]
    found = camera.lift(points, depth)
    assert found.valid.tolist() == [True, False, False, False]
    assert np.isnan(found.places[1:]).all()
    assert found.reasons[0] == ""
    assert found.reasons[1] == "no depth at (0.398, 0.531): 0 of 25 pixels measured (25 are 0)"
    assert camera.lift([points[0]], depth, max_depth_m=1.5).valid.tolist() == [False]


def test_single_holes_and_spikes_do_no_harm() -> None:
    depth = np.full((48, 64), 2.0)
    depth[24, 32], depth[23, 31], depth[25, 33] = 0.0, 40.0, math.nan
    found = straight(width=64, height=48).lift([Point.from_pixel(32, 24, 64, 48)], depth)
    assert found.places[0, 2] == 2.0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from([0.0, math.nan, 1.0, 3.0]), min_size=25, max_size=25))
def test_a_lifted_depth_is_one_that_was_measured(values: list[float]) -> None:
    depth = np.full((5, 5), 0.0)
    depth[:] = np.reshape(values, (5, 5))
    found = straight(width=5, height=5).lift([MIDDLE], depth)
    measured = [value for value in values if value > 0]
    assert found.valid[0] == (2 * len(measured) >= 25)
    if found.valid[0]:
        assert found.places[0, 2] in measured


def test_points_beside_the_image_and_at_its_corners() -> None:
    depth = np.full((48, 64), 2.0)
    camera = straight(width=64, height=48)
    beside = camera.lift(np.array([[1.2, 0.5], [0.5, math.nan]]), depth)
    assert not beside.valid.any()
    assert beside.reasons[0] == "(1.2, 0.5) is not on the image"
    assert camera.lift([Point(0.0, 0.0), Point(1.0, 1.0)], depth).valid.all()


# --- MuJoCo -----------------------------------------------------------------------------------------------------------

SCENE = """
<mujoco>
  <visual><map znear="0.01" zfar="30"/></visual>
  <worldbody>
    <light pos="0 0 3"/>
    <camera name="side" pos="0.9 -0.8 0.7" xyaxes="0.66 0.75 0 -0.37 0.33 0.87" fovy="50"/>
    <camera name="odd" pos="0 0 1" sensorsize="0.01 0.01" focal="0.01 0.01" resolution="4 4"/>
    <geom type="plane" size="2 2 0.1"/>
    <body name="ball" pos="0.1 0.05 0.06"><geom type="sphere" size="0.06"/></body>
    <body name="box" pos="-0.2 0.1 0.05" euler="0 0 30"><geom type="box" size="0.05 0.08 0.05"/></body>
  </worldbody>
</mujoco>
"""


@pytest.fixture(scope="module")
def scene() -> Any:
    try:
        mujoco = import_mujoco()
        model = mujoco.MjModel.from_xml_string(SCENE)
        data = mujoco.MjData(model)
        mujoco.mj_forward(model, data)
        renderer = mujoco.Renderer(model, 480, 640)
    except (EnvError, MissingExtraError, RuntimeError, AttributeError) as error:
        pytest.skip(f"MuJoCo cannot draw here: {error}")
    yield SimpleNamespace(mujoco=mujoco, model=model, data=data, renderer=renderer)
    renderer.close()


def depth_of(scene: Any, camera: Any) -> Any:
    scene.renderer.enable_depth_rendering()
    scene.renderer.update_scene(scene.data, camera)
    depth = np.array(scene.renderer.render())
    scene.renderer.disable_depth_rendering()
    return depth


def surface(scene: Any, camera: Camera, point: Point) -> Any:
    """Where MuJoCo's own ray meets something."""
    ray, geom = camera.ray([point])[0], np.array([-1], np.int32)
    away = scene.mujoco.mj_ray(scene.model, scene.data, camera.position, ray, None, 1, -1, geom)
    return camera.position + away * ray if away >= 0 else None


def worst_error(scene: Any, camera: Camera, depth: Any) -> float:
    rng = np.random.default_rng(0)
    grid = [Point(float(x), float(y)) for x, y in rng.uniform(0.02, 0.98, (300, 2))]
    found, errors = camera.lift(grid, depth, max_depth_m=20.0), []
    for point, place, valid in zip(grid, found.places, found.valid, strict=True):
        truth = surface(scene, camera, point)
        beside = camera.lift([point], depth, window_px=1).places[0]
        # On an edge two surfaces lie within the window, and either is right.
        near = truth is not None and np.linalg.norm(truth - camera.position) < 2
        if near and valid and np.linalg.norm(place - beside) < 0.01:
            errors.append(float(np.linalg.norm(place - truth)))
    assert len(errors) > 120
    return max(errors)


def test_within_two_metres_lifted_places_are_less_than_5_mm_off_mujocos_own_rays(scene: Any) -> None:
    camera = Camera.from_mujoco(scene.model, scene.data, "side", 640, 480)
    assert worst_error(scene, camera, depth_of(scene, "side")) < 0.005


def test_a_free_camera_is_read_from_the_scene_it_draws(scene: Any) -> None:
    free = scene.mujoco.MjvCamera()
    scene.mujoco.mjv_defaultFreeCamera(scene.model, free)
    free.lookat[:], free.distance, free.azimuth, free.elevation = (0, 0.05, 0.03), 0.9, 130, -35
    depth = depth_of(scene, free)
    camera = Camera.from_mujoco_scene(scene.renderer.scene, 640, 480)
    assert worst_error(scene, camera, depth) < 0.005


def test_bodies_appear_where_the_camera_says(scene: Any) -> None:
    camera = Camera.from_mujoco(scene.model, scene.data, "side", 640, 480)
    scene.renderer.enable_segmentation_rendering()
    scene.renderer.update_scene(scene.data, "side")
    geoms = np.array(scene.renderer.render())[:, :, 0]
    scene.renderer.disable_segmentation_rendering()
    for name in ("ball", "box"):
        body = scene.model.body(name)
        (point,) = camera.project([scene.data.xpos[body.id]]).points
        x, y = Point(*point).to_pixels(640, 480)
        assert scene.model.geom_bodyid[geoms[y, x]] == body.id


def test_cameras_that_are_not_plain_are_reported(scene: Any) -> None:
    with pytest.raises(ValueError, match="the MuJoCo model has no camera 'top'"):
        Camera.from_mujoco(scene.model, scene.data, "top", 64, 48)
    with pytest.raises(ValueError, match="given by fovy, got 'odd' with a sensor size"):
        Camera.from_mujoco(scene.model, scene.data, "odd", 64, 48)
    flat = SimpleNamespace(orthographic=1)
    with pytest.raises(ValueError, match="expected a perspective camera"):
        Camera.from_mujoco_scene(SimpleNamespace(camera=[flat, flat]), 64, 48)
