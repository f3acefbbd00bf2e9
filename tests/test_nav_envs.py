"""The map with walls, and the room with a robot."""

import dataclasses
import math
import time
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from molmo_agent.camera import Camera, look_at
from molmo_agent.envs.gymnasium_api.base import PointingEnv, to_rows
from molmo_agent.envs.worlds.floor.camera_view import FLOOR, WALL, render
from molmo_agent.envs.worlds.floor.env import FloorNav
from molmo_agent.envs.worlds.floor.robot import COARSE, RADIUS_M, Robot, coarse_ids, drive, place_of, pursue
from molmo_agent.envs.worlds.floor.room import LANDMARKS, Room, Solid
from molmo_agent.envs.worlds.floor.textures import paint_room
from molmo_agent.envs.worlds.grid_nav import GridNav, corners_of, reach_of, shortest_way
from molmo_agent.errors import ActionRefused, UsageError
from molmo_agent.geometry import Point

MIDDLE = Point(0.5, 0.5)


def play(env: PointingEnv, seed: int, choose: Any) -> dict[str, Any]:
    _, info = env.reset(seed=seed)
    over = False
    while not over:
        *_, terminated, truncated, info = env.step(to_rows([choose(env)], env.max_points))
        over = terminated or truncated
    return info


def expert(env: PointingEnv) -> Point:
    return env.locate("")[0].center


# --- The map ----------------------------------------------------------------------------------------------------------

WALLS = np.array([[0, 0, 0, 0, 0], [0, 1, 1, 1, 0], [0, 0, 0, 1, 0]], bool)


def test_the_shortest_way_goes_round_walls_and_turns_at_corners() -> None:
    way = shortest_way(WALLS, (0, 0), (4, 2))
    assert len(way) == 7
    assert corners_of(way) == [(4, 0), (4, 2)]
    assert corners_of([(1, 1)]) == [(1, 1)]
    assert shortest_way(~WALLS, (1, 1), (0, 0)) == []


def test_a_straight_walk_ends_before_the_wall() -> None:
    assert reach_of(WALLS, (0, 0), (4, 0)) == (4, 0)
    assert reach_of(WALLS, (0, 2), (4, 2)) == (2, 2)
    assert reach_of(WALLS, (0, 0), (2, 2))[0] < 2
    assert reach_of(WALLS, (0, 0), (0, 0)) == (0, 0)


def test_a_walker_does_not_squeeze_through_between_two_corners() -> None:
    crossed = np.array([[0, 1], [1, 0]], bool)
    assert reach_of(crossed, (0, 0), (1, 1)) == (0, 0)


def test_all_waypoints_at_once_or_one_by_one_lead_there_on_the_shortest_way() -> None:
    env = GridNav()
    for seed in range(15):
        _, info = env.reset(seed=seed)
        way = [box.center for box in env.locate("")]
        assert len(way) > 1
        *_, terminated, _, info = env.step(to_rows(way, 8))
        assert (terminated, info["is_success"], info["spl"], info["collisions"]) == (True, True, 1.0, 0)
        assert info["in_mask"]
        assert play(env, seed, expert)["spl"] == 1.0


def test_who_points_at_the_middle_or_straight_at_the_mark_does_not_arrive() -> None:
    env = GridNav()
    assert not any(play(env, seed, lambda env: MIDDLE)["is_success"] for seed in range(10))
    env.reset(seed=0)
    *_, info = env.step(to_rows([env.locate("")[-1].center, MIDDLE], 8))
    assert info["in_mask"] is False  # the last point was the middle
    assert (info["collisions"], info["dropped_points"], info["is_success"]) == (1, 1, False)


def test_a_wall_is_no_place_to_walk_to() -> None:
    env = GridNav()
    before, _ = env.reset(seed=0)
    row, column = np.argwhere(env._walls)[0]
    after, *_, info = env.step(to_rows([Point((column + 0.5) / 12, (row + 0.5) / 9)], 8))
    assert (info["point_status"], info["refused_points"], info["walked"]) == ("refused", 1, 0.0)
    assert "is on a wall: point at the floor" in info["refusal"]
    assert np.array_equal(before, after)


def test_maps_are_connected_and_their_marks_have_unique_names() -> None:
    env = GridNav()
    for seed in range(20):
        _, info = env.reset(seed=seed)
        assert len(set(env._marks.values())) == len(env._marks) >= 3
        assert info["instruction"].endswith(" ".join(env._marks[env._goal]))
        for cell in env._marks:
            assert shortest_way(env._walls, env._at, cell)


def test_a_map_that_is_too_small_is_reported() -> None:
    with pytest.raises(UsageError, match="expected at least 6 x 6 cells of 8 pixels, got 3 x 9 of 28"):
        GridNav(columns=3)


# --- The room ---------------------------------------------------------------------------------------------------------


def room_with(*solids: Solid) -> Room:
    return Room(width=6.0, depth=8.0, solids=solids, target=0, robot_radius=RADIUS_M, reach=0.6)


def landmark(kind: str, x: float, y: float, colour: str = "red") -> Solid:
    radius, height = LANDMARKS[kind]
    return Solid(kind=kind, colour=colour, x=x, y=y, radius=radius, height=height)


CRATE = Solid(kind="crate", colour="", x=3.0, y=3.0, half=(0.4, 0.2), turn=0.5, height=0.5)


def test_distances_to_round_and_turned_things_are_exact() -> None:
    assert landmark("ball", 1, 1).distance(np.array([2.0, 1.0])) == pytest.approx(1 - 0.27)
    straight = Solid(kind="crate", colour="", x=0, y=0, half=(0.4, 0.2), turn=math.pi / 2, height=0.5)
    places = np.array([[1.2, 0.0], [0.0, 1.4], [0.5, 0.8], [0.0, 0.0]])
    assert straight.distance(places) == pytest.approx([1.0, 1.0, 0.5, -0.2])


def test_the_way_to_the_target_is_straight_where_it_can_be_and_longer_around_a_wall() -> None:
    free = room_with(landmark("cone", 3, 7))
    start = np.array([[3.05, 1.05]])
    assert free.remaining(start)[0] == pytest.approx(7 - 1.05 - 0.24 - 0.6, abs=0.12)
    screen = Solid(kind="screen", colour="", x=3, y=4, half=(1.5, 0.06), height=1.25)
    assert room_with(landmark("cone", 3, 7), screen).remaining(start)[0] > free.remaining(start)[0] + 0.4
    closed = Solid(kind="screen", colour="", x=3, y=4, half=(3.0, 0.06), height=1.25)
    assert room_with(landmark("cone", 3, 7), closed).remaining(start)[0] == math.inf
    with pytest.raises(ValueError, match="expected a target among 0 solids, got 0"):
        room_with()


@pytest.mark.parametrize("size", [COARSE, (320, 240), (641, 200)])
def test_what_is_drawn_lies_where_the_camera_says(size: tuple[int, int]) -> None:
    solids = [landmark(kind, x, 5.0) for kind, x in zip(LANDMARKS, (1.5, 2.5, 3.5, 4.5), strict=True)]
    room = room_with(*solids, dataclasses.replace(CRATE, x=4.6, y=3.4))
    camera = Robot(3.0, 0.8, math.pi / 2).camera(*size)
    paint = paint_room(np.random.default_rng(0), room)
    image, ids = render(room, paint, camera)
    assert image.shape == (*ids.shape, 3) == (size[1], size[0], 3)
    for number, solid in enumerate(room.solids):
        seen = camera.project([(solid.x, solid.y, solid.height / 2)]).points[0]
        x, y = Point(*seen).to_pixels(*size)
        assert ids[y, x] == number
    assert {WALL, FLOOR} <= set(np.unique(ids).tolist())
    rng = np.random.default_rng(1)
    floor = np.argwhere(ids == FLOOR)
    for y, x in floor[rng.integers(0, len(floor), 50)]:
        place = camera.intersect_plane([Point.from_pixel(int(x), int(y), *size)]).places[0]
        assert -0.05 < place[0] < 6.05
        assert -0.05 < place[1] < 8.05
        # Under the round of a ball the floor is seen.
        assert all(solid.distance(place[:2]) > -0.05 for solid in room.solids if solid.kind != "ball")


def test_a_nearer_thing_hides_a_farther_one_in_any_order() -> None:
    near, far = landmark("pillar", 3, 3), landmark("barrel", 3, 5)
    camera = Robot(3.0, 0.8, math.pi / 2).camera(160, 120)
    seen = [render(room_with(*order), None, camera)[1] for order in ((near, far), (far, near))]
    assert (seen[0] == 0).sum() == (seen[1] == 1).sum() > 0
    x, y = Point(*camera.project([(3, 5, 0.3)]).points[0]).to_pixels(160, 120)
    assert seen[0][y, x] == 0


def test_a_tilted_camera_cannot_be_drawn() -> None:
    camera = Camera.from_field_of_view(32, 24, vertical_deg=60, pose=look_at((3, 1, 1), (3, 4, 0)))
    with pytest.raises(ValueError, match="expected a level camera"):
        render(room_with(CRATE), None, camera)


def test_an_image_takes_a_few_milliseconds() -> None:
    room = room_with(landmark("cone", 2, 5), landmark("ball", 4, 5), CRATE)
    paint, camera = paint_room(np.random.default_rng(0), room), Robot(3.0, 0.8, math.pi / 2).camera(320, 240)
    best = math.inf
    for _ in range(20):
        start = time.process_time()
        render(room, paint, camera)
        best = min(best, time.process_time() - start)
    assert best < 0.05  # about 0.008 on an idle core; machines that run tests are seldom idle


def seen_by(robot: Robot, room: Room) -> Any:
    return coarse_ids(room, robot)


def test_a_point_means_the_floor_there_or_the_floor_before_a_thing() -> None:
    room, robot = room_with(landmark("pillar", 3, 5), CRATE), Robot(3.0, 0.8, math.pi / 2)
    ids, camera = seen_by(robot, room), robot.camera(*COARSE)
    spot = Point(*camera.project([(3.9, 2.2, 0.0)]).points[0])
    assert place_of(spot, robot, ids, room) == pytest.approx((3.9, 2.2), abs=1e-6)
    pillar = Point(*camera.project([(3, 5, 1.2)]).points[0])
    x, y = place_of(pillar, robot, ids, room)
    assert room.solids[0].distance(np.array([x, y])) == pytest.approx(RADIUS_M + 0.12, abs=0.03)
    wall = Point(*camera.project([(5.0, 8.0, 1.0)]).points[0])
    x, y = place_of(wall, robot, ids, room)
    assert y == pytest.approx(8.0 - RADIUS_M - 0.12, abs=0.03)
    with pytest.raises(ActionRefused, match="is on the ceiling: point at the floor or at a thing"):
        place_of(Point(0.5, 0.0), robot, ids, room)


def test_a_robot_arrives_stops_at_things_and_goes_no_farther_than_one_drive() -> None:
    room, robot = room_with(landmark("pillar", 3, 5)), Robot(3.0, 0.8, math.pi / 2)
    poses, touched = drive(room, robot, (3.5, 1.6))
    assert not touched
    assert math.dist((poses[-1].x, poses[-1].y), (3.5, 1.6)) < 0.04
    far, _ = drive(room, robot, (3.0, 4.0))
    assert far[-1].y - 0.8 == pytest.approx(1.5, abs=0.05)
    assert all(math.hypot(b.x - a.x, b.y - a.y) <= 0.0401 for a, b in pairwise(far))
    blocked, touched = drive(room_with(landmark("pillar", 3, 1.6)), robot, (3.0, 4.0))
    assert touched
    assert room_with(landmark("pillar", 3, 1.6)).clearance(np.array([blocked[-1].x, blocked[-1].y])) >= RADIUS_M
    behind, _ = drive(room, robot, (3.0, 0.5))
    assert math.dist((behind[-1].x, behind[-1].y), (3.0, 0.5)) < 0.04
    assert pursue(robot, (3.0, 0.3))[0] == 0.0  # turns on the spot first


def test_the_expert_drives_everywhere_and_looking_ahead_is_not_enough() -> None:
    env = FloorNav()
    ends = [play(env, seed, expert) for seed in range(8)]
    assert all(end["is_success"] for end in ends)
    assert sum(end["collisions"] for end in ends) == 0
    assert min(end["spl"] for end in ends) > 0.6
    assert sum(play(env, seed, lambda env: MIDDLE)["is_success"] for seed in range(8)) <= 1


def test_rooms_do_not_depend_on_the_size_of_the_image_nor_on_the_limit() -> None:
    plain, other = FloorNav(), FloorNav(width=200, height=200, max_steps=3)
    assert plain.reset(seed=5)[1]["pose"] == pytest.approx(other.reset(seed=5)[1]["pose"])
    assert plain.locate("") == other.locate("")
    assert plain._room is not None
    assert other._room is not None
    assert plain._room.solids == other._room.solids


def test_the_thing_that_is_meant_is_in_view_at_first_and_has_its_name_alone() -> None:
    env = FloorNav()
    for seed in range(10):
        _, info = env.reset(seed=seed)
        assert env.target_mask().sum() > 100
        assert env._room is not None
        names = [solid.name for solid in env._room.solids if solid.colour]
        assert len(set(names)) == len(names)
        assert info["instruction"] == f"drive to the {names[0]}"


def test_a_point_on_the_ceiling_moves_nothing() -> None:
    env = FloorNav()
    before, first = env.reset(seed=0)
    picture, *_, info = env.step(to_rows([Point(0.5, 0.0)]))
    assert (info["point_status"], info["driven_m"]) == ("refused", 0.0)
    assert np.array_equal(before, picture)
    assert np.array_equal(first["pose"], info["pose"])


def test_images_for_people_show_view_and_map() -> None:
    env = FloorNav(render_mode="rgb_array")
    env.reset(seed=3)
    assert list(env.film()) == []
    shown = env.render()
    assert shown is not None
    env.step(to_rows([expert(env)]))
    film = list(env.film(every=10))
    assert len(film) > 2
    assert {frame.shape for frame in film} == {shown.shape}
    assert shown.shape[1] > 320
    assert not np.array_equal(film[0], film[-1])


def test_an_image_that_is_too_small_is_reported() -> None:
    with pytest.raises(UsageError, match="expected an image of at least 48 x 48 pixels, got 20 x 240"):
        FloorNav(width=20)
