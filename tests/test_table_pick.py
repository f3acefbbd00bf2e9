"""The table with things to pick; skips itself where MuJoCo cannot draw."""

import builtins
import os
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import molmo_agent.envs.gymnasium_api.adapters  # noqa: F401
from molmo_agent.envs.gymnasium_api.base import to_rows
from molmo_agent.envs.worlds.table import simulation as table_world
from molmo_agent.envs.worlds.table.env import TablePick, _lay_table
from molmo_agent.envs.worlds.table.simulation import import_mujoco
from molmo_agent.errors import EnvError, MissingExtraError
from molmo_agent.geometry import Point


@pytest.fixture(scope="module")
def env() -> Iterator[TablePick]:
    try:
        made = TablePick()
    except (EnvError, MissingExtraError) as error:
        pytest.skip(str(error))
    yield made
    made.close()
    made.close()


def places(env: TablePick) -> list[Point]:
    return [box.center for box in env.locate("")]


@pytest.mark.dependencies
@pytest.mark.slow
def test_vector_envs_agree_and_a_fork_is_refused_instead_of_hanging() -> None:
    made = {"num_envs": 2, "vectorization_mode": "async"}
    seen = []
    for mode in ({"num_envs": 2, "vectorization_mode": "sync"}, made | {"vector_kwargs": {"context": "spawn"}}):
        envs = gymnasium.make_vec("molmo_agent.envs.gymnasium_api.adapters:MolmoAgent/TablePick-v0", **mode)
        picture, info = envs.reset(seed=7)
        seen.append((picture.copy(), info["instruction"]))
        envs.close()
    assert np.array_equal(seen[0][0], seen[1][0])
    assert list(seen[0][1]) == list(seen[1][1])
    read, write = os.pipe()
    if os.fork() == 0:
        try:
            TablePick()
        except EnvError as error:
            os.write(write, str(error).encode())
        os._exit(0)
    os.close(write)
    assert "start processes with 'spawn'" in os.read(read, 1000).decode()


def test_two_points_pick_and_place_and_so_do_two_steps(env: TablePick) -> None:
    for seed in range(4):
        _, info = env.reset(seed=seed)
        assert not info["is_success"]
        *_, terminated, _, info = env.step(to_rows(places(env), 2))
        assert (terminated, info["is_success"], info["holding"], info["missed"]) == (True, True, False, 0), seed
        assert info["in_mask"]
        assert info["distance_m"] < 0.052
    env.reset(seed=4)
    *_, info = env.step(to_rows(places(env)[:1], 2))
    assert (info["holding"], info["placed"], info["in_mask"]) == (True, 0, False)
    assert len(places(env)) == 1
    *_, info = env.step(to_rows(places(env), 2))
    assert (info["holding"], info["placed"], info["is_success"]) == (False, 1, True)


def test_the_middle_of_the_image_does_no_task(env: TablePick) -> None:
    done = 0
    for seed in range(2):
        env.reset(seed=seed)
        over = False
        while not over:
            *_, terminated, truncated, info = env.step(to_rows([Point(0.5, 0.5)], 2))
            over = terminated or truncated
        done += info["is_success"]
    assert done == 0


def test_a_point_on_nothing_is_refused_and_one_on_the_bare_table_takes_nothing(env: TablePick) -> None:
    before, _ = env.reset(seed=1)
    after, *_, info = env.step(to_rows([Point(0.02, 0.02)], 2))
    assert (info["point_status"], info["refused_points"], info["missed"]) == ("refused", 1, 0)
    assert "out of reach" in info["refusal"] or "no depth" in info["refusal"]
    assert np.array_equal(before, after)
    bare = env.world.camera().project([(0.0, -0.27, 0.0)]).points[0]
    *_, info = env.step(to_rows([Point(*bare)], 2))
    assert (info["point_status"], info["missed"], info["holding"]) == ("ok", 1, False)


def test_a_full_hand_takes_one_point(env: TablePick) -> None:
    env.reset(seed=2)
    target, plate = places(env)
    env.step(to_rows([target], 2))
    *_, info = env.step(to_rows([target, plate], 2))
    assert info["refusal"] == "the hand is full: expected one point, where to put the thing down, got two"
    assert info["holding"]


def test_a_hole_in_the_depth_is_no_place(env: TablePick, monkeypatch: pytest.MonkeyPatch) -> None:
    env.reset(seed=2)
    monkeypatch.setattr(env.world, "depth", lambda: np.zeros((240, 320), np.float32))
    *_, info = env.step(to_rows(places(env), 2))
    assert info["point_status"] == "refused"
    assert "0 of 25 pixels measured (25 are 0); point at the table" in info["refusal"]


def test_pointed_places_are_the_surfaces_of_things(env: TablePick) -> None:
    errors = []
    for seed in range(3):
        env.reset(seed=seed)
        camera, depth, bodies = env.world.camera(), env.world.depth(), env.world.bodies()
        for name, body in env._bodies.items():
            if name.endswith("plate") and (bodies == body).any():
                middle = env.world.place_of(body) + np.array([0, 0, 0.008])
                seen = camera.project([middle]).points
                x, y = Point(*seen[0]).to_pixels(320, 240)
                if bodies[y, x] == body:
                    errors.append(float(np.linalg.norm(camera.lift(seen, depth).places[0] - middle)))
    assert len(errors) >= 4
    assert max(errors) < 0.005


def test_objects_have_unique_names() -> None:
    for seed in range(60):
        objects, plates = _lay_table(np.random.default_rng(seed))
        for things in (objects, plates):
            assert len({thing.name for thing in things}) == len(things)
        assert 3 <= len(objects) <= 5
        assert 2 <= len(plates) <= 3


def test_the_same_seed_lays_the_same_table(env: TablePick) -> None:
    first, info = env.reset(seed=9)
    other, _ = env.reset(seed=10)
    again, same = env.reset(seed=9)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert info["instruction"] == same["instruction"]
    assert info["distance_m"] == same["distance_m"]


@pytest.mark.dependencies
@pytest.mark.slow
def test_gymnasiums_own_check_finds_nothing(env: TablePick) -> None:
    made = gymnasium.make("MolmoAgent/TablePick-v0", render_mode="rgb_array")
    check_env(made.unwrapped, skip_render_check=True)
    made.close()


def test_a_hand_that_moves_can_be_watched(env: TablePick) -> None:
    env.reset(seed=0)
    seen: list[Any] = []
    env.world.watch = lambda: seen.append(env.world.data.mocap_pos[0].copy())
    env.step(to_rows(places(env), 2))
    env.world.watch = None
    assert len(seen) > 20
    assert min(place[2] for place in seen) < 0.1


def test_a_missing_mujoco_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "mujoco":
            raise ModuleNotFoundError("No module named 'mujoco'", name="mujoco")
        return real(name, *rest, **more)

    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtraError, match=r"needs the extra 'robot': pip install 'molmo-agent\[robot\]'"):
        import_mujoco()


def test_a_machine_that_cannot_render_is_reported_with_what_to_install(
    monkeypatch: pytest.MonkeyPatch, env: TablePick
) -> None:
    def broken(*_: Any) -> Any:
        raise RuntimeError("no display")

    monkeypatch.setattr(table_world.import_mujoco(), "Renderer", broken)
    with pytest.raises(EnvError, match=r"cannot draw with MUJOCO_GL=.*: no display; install libegl1"):
        TablePick()
