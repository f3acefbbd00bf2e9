"""Pointing envs in gymnasium: the contract of actions and info, both adapters, executors, views."""

import math
import re
import runpy
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env as gymnasium_check
from gymnasium.wrappers import TransformObservation
from typer.testing import CliRunner

from molmo_agent import testing
from molmo_agent.actions import Click, Drag, PointAt, Wait
from molmo_agent.cli.app import app
from molmo_agent.envs.gymnasium_api.adapters import (
    GymnasiumEnv,
    ImageView,
    Limits,
    Outcome,
    PointingAction,
    PointingEnv,
    load,
    pointing_space,
    read_rows,
    to_rows,
)
from molmo_agent.envs.gymnasium_api.base import box_inside, is_pointing_space, judge
from molmo_agent.envs.gymnasium_api.ids import IDS, register_envs
from molmo_agent.envs.gymnasium_api.minigrid import make_minigrid
from molmo_agent.envs.gymnasium_api.screen_envs import ONE_CLICK, DeviceEnv, make_sim_desktop, make_sim_phone
from molmo_agent.envs.gymnasium_api.view_wrapper import show
from molmo_agent.envs.worlds.point_target import PointTarget
from molmo_agent.errors import ActionRefused, UnknownNameError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.pointers.baselines import CentrePointer, OraclePointer
from molmo_agent.policies.waypoints import WaypointPolicy
from molmo_agent.registry import load_env
from molmo_agent.rollout.loop import rollout
from molmo_agent.rollout.screen_changes import AT_ONCE
from molmo_agent.testing import ScriptedModel, ToyEnv
from molmo_agent.transforms import ImageTransform

NAN, INF = math.nan, math.inf
MIDDLE = Point(0.5, 0.5)
# What needs neither a browser nor a way to draw in three dimensions; these have tests of their own.
PLAIN = [name for name in IDS if not re.search("MiniWoB|TablePick", name)]


# --- Actions ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "status", "points"),
    [
        ([[0.25, 0.5, 1.0]], "ok", 1),
        ([[0.0, 1.0, 0.5]], "ok", 1),
        ([[0.25, 0.5, 0.49]], "none", 0),
        ([[NAN, 2.0, 0.0]], "none", 0),
        ([[NAN, 0.5, 1.0]], "out_of_range", 0),
        ([[0.5, INF, 1.0]], "out_of_range", 0),
        ([[-0.001, 0.5, 1.0]], "out_of_range", 0),
        ([[0.5, 1.001, 1.0]], "out_of_range", 0),
        ([[0.5, 0.5, NAN]], "out_of_range", 0),
        ([[0.5, 0.5, 2.0]], "out_of_range", 0),
        ([[0.1, 0.1, 1.0], [0.2, 0.2, 0.0], [0.3, 0.3, 1.0]], "ok", 2),
        ([[0.1, 0.1, 1.0], [NAN, 0.2, 1.0], [0.3, 0.3, 1.0]], "out_of_range", 0),
    ],
)
def test_only_fractions_of_the_image_are_points(rows: list[list[float]], status: str, points: int) -> None:
    got, found, why = read_rows(np.array(rows, np.float32), len(rows))
    assert (got, len(found)) == (status, points)
    assert bool(why) == (status == "out_of_range")


@pytest.mark.parametrize("action", [np.zeros(3), np.zeros((2, 3)), np.zeros((1, 2)), [["a", "b", "c"]], None])
def test_an_action_of_another_shape_is_an_error(action: Any) -> None:
    with pytest.raises(UsageError, match=r"expected an action of shape \(1, 3\), rows of x, y, present"):
        read_rows(action)


def test_points_go_into_rows_and_come_back() -> None:
    points = (Point(0.0, 1.0), Point(0.25, 0.75))
    rows = to_rows(points, 4)
    assert rows in pointing_space(4)
    assert read_rows(rows, 4) == ("ok", points, "")
    with pytest.raises(UsageError, match="expected at most 1 points, got 2"):
        to_rows(points)


def test_the_pointing_space_is_recognized() -> None:
    box = gymnasium.spaces.Box
    assert is_pointing_space(pointing_space(8))
    assert not any(map(is_pointing_space, (box(0, 1, (3,)), box(-1, 1, (1, 3)), gymnasium.spaces.Discrete(2))))


def test_the_error_is_the_distance_to_the_nearest_pixel_of_the_target() -> None:
    mask = np.zeros((10, 20), bool)
    mask[2:4, 5:8] = True
    assert judge(mask, [Point.from_pixel(6, 3, 20, 10)]) == (True, 0.0)
    assert judge(mask, [Point.from_pixel(10, 7, 20, 10)]) == (False, 5.0)
    assert judge(mask, []) == judge(mask & False, [MIDDLE]) == (False, INF)


def test_an_experts_box_lies_inside_of_a_hollow_thing() -> None:
    y, x = np.mgrid[:60, :60]
    away = np.hypot(x - 30, y - 30)
    ring = (away < 28) & (away > 14)
    (box,) = box_inside(ring)
    px, py = box.center.to_pixels(60, 60)
    assert ring[py, px]
    assert 6 < away[py, px] - 14 < 8
    assert box_inside(ring & False) == []


# --- The envs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLAIN)
def test_gymnasiums_own_check_finds_nothing(name: str) -> None:
    env = gymnasium.make(name, render_mode="rgb_array")
    gymnasium_check(env.unwrapped)
    env.close()


def test_an_id_can_be_made_with_its_module_and_is_registered_once() -> None:
    env = gymnasium.make("molmo_agent.envs.gymnasium_api.adapters:MolmoAgent/PointTarget-v0", num_shapes=4)
    assert env.unwrapped.action_space == pointing_space()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        register_envs()


@pytest.mark.parametrize("name", PLAIN)
def test_info_keeps_its_keys_and_types_and_the_seed_decides(name: str) -> None:
    env = gymnasium.make(name)
    rows = env.action_space.shape[0]
    first, info = env.reset(seed=3)
    assert info["instruction"] == env.unwrapped.task_description
    assert (info["point_status"], info["in_mask"], info["pixel_error"]) == ("none", False, INF)
    kinds = {key: type(value) for key, value in info.items()}
    picture, reward, terminated, truncated, after = env.step(to_rows([], rows))
    assert np.array_equal(picture, first)
    assert (reward, terminated, truncated, after["point_status"]) == (0.0, False, False, "none")
    *_, refused = env.step(np.full((rows, 3), NAN, np.float32))
    assert (refused["point_status"], refused["refused_points"], refused["in_mask"]) == ("out_of_range", 1, False)
    *_, told = env.step(to_rows([MIDDLE], rows))
    for other in (after, refused, told):
        assert {key: type(value) for key, value in other.items()} == kinds
    again, same = env.reset(seed=3)
    assert np.array_equal(first, again)
    assert same["instruction"] == info["instruction"]
    assert not np.array_equal(env.reset(seed=4)[0], first)
    env.close()


@pytest.mark.dependencies
@pytest.mark.slow
@pytest.mark.parametrize("name", PLAIN)
def test_vector_envs_agree_whether_in_one_process_or_in_several(name: str) -> None:
    seen = []
    for mode in ("sync", "async"):
        envs = gymnasium.make_vec(name, num_envs=2, vectorization_mode=mode)
        picture, info = envs.reset(seed=7)
        most = envs.single_action_space.shape[0]
        rows = np.stack([to_rows([Point(0.4, 0.8)], most), np.full((most, 3), NAN, np.float32)])
        seen.append((picture.copy(), info, *envs.step(rows), envs.get_attr("task_description")))
        envs.close()
    assert gymnasium.utils.env_checker.data_equivalence(seen[0], seen[1], exact=True)
    info = seen[0][6]
    assert info["point_status"].tolist()[1] == "out_of_range"
    assert info["pixel_error"].dtype == np.float64
    assert info["in_mask"].dtype == np.bool_


def play(env: gymnasium.Env[Any, Any], model: Any, episodes: int) -> float:
    done = 0
    for seed in range(episodes):
        run = rollout(WaypointPolicy(model), GymnasiumEnv(env), seed=seed, settle=AT_ONCE)
        list(run)
        done += bool(run.trajectory.success)
    return done / episodes


@pytest.mark.parametrize("name", ["PointTarget", "SimDesktop", "SimPhone"])
def test_the_oracle_does_every_episode_and_the_centre_hardly_any(name: str) -> None:
    env = gymnasium.make(f"MolmoAgent/{name}-v0")
    assert play(env, OraclePointer(env.unwrapped.locate), 12) == 1.0
    assert play(env, CentrePointer(), 12) <= 0.2


def test_a_shape_is_found_by_its_name_only() -> None:
    env = PointTarget()
    _, info = env.reset(seed=0)
    named = info["instruction"].removeprefix("point at ")
    assert env.locate(named) == env.locate(info["instruction"])
    assert env.locate("the grey elephant") == []
    with pytest.raises(UsageError, match="num_shapes must be between 1 and 12, got 40"):
        PointTarget(num_shapes=40)
    with pytest.raises(UsageError, match="the shapes need 64 x 64 pixels, got 20 x 20"):
        PointTarget(width=20, height=20)


def test_a_finished_episode_takes_no_more_steps() -> None:
    env = PointTarget(max_steps=2)
    with pytest.raises(UsageError, match=r"PointTarget has no running episode; call reset\(\) first"):
        env.step(to_rows([]))
    env.reset(seed=0)
    assert env.step(to_rows([]))[3] is False
    assert env.step(to_rows([]))[3] is True
    with pytest.raises(UsageError, match="no running episode"):
        env.step(to_rows([]))


def test_bad_options_of_an_env_are_reported() -> None:
    with pytest.raises(UsageError, match="render_mode must be 'rgb_array' or None, got 'human'"):
        PointTarget(render_mode="human")
    with pytest.raises(UsageError, match="expected sizes and limits of at least 1"):
        PointTarget(max_steps=0)
    assert PointTarget().render() is None


# --- Ours -> gymnasium ------------------------------------------------------------------------------------------------


def test_a_point_clicks_on_the_device_below() -> None:
    toy = ToyEnv()
    env = DeviceEnv(toy, size=(160, 120))
    env.reset(seed=1)
    assert env.target_mask().sum() == 17 * 17  # edges included
    point = toy.locate("")[0].center
    *_, terminated, _, info = env.step(to_rows([point]))
    assert len(toy.actions) == 1
    assert isinstance(toy.actions[0], Click)
    assert (terminated, info["is_success"], info["in_mask"]) == (True, True, True)
    env.close()
    assert toy.closed


def test_a_device_that_does_not_know_its_target_says_so() -> None:
    toy = ToyEnv()
    blind: Any = SimpleNamespace(name="blind", capabilities=toy.capabilities, reset=toy.reset, step=toy.step)
    env = DeviceEnv(blind, size=(160, 120))
    _, info = env.reset(seed=1)
    assert "in_mask" not in info
    assert "pixel_error" not in env.step(to_rows([MIDDLE]))[4]


def test_devices_that_do_not_fit_are_reported() -> None:
    class Deaf(ToyEnv):
        capabilities = frozenset({Wait})

    class Idle(ToyEnv):
        def reset(self, **options: Any) -> Any:
            return super().reset(**options)[0], {}

    with pytest.raises(UsageError, match="expected an env that executes Click, got 'toy', which executes: Wait"):
        DeviceEnv(Deaf(), size=(160, 120))
    with pytest.raises(UsageError, match=r"expected images of \(12, 16, 3\), got \(120, 160, 3\)"):
        DeviceEnv(ToyEnv(), size=(16, 12)).reset(seed=0)
    with pytest.raises(UsageError, match="has no task of its own, so there is nothing to point at"):
        DeviceEnv(Idle(), size=(160, 120)).reset(seed=0)
    with pytest.raises(UnknownNameError, match="unknown one-click task family 'fill-field'"):
        make_sim_desktop(task="fill-field")
    with pytest.raises(UnknownNameError, match="unknown one-click task family 'go-home'"):
        make_sim_phone(task="go-home")


@pytest.mark.parametrize("task", ONE_CLICK)
def test_one_click_does_each_family_of_the_simulated_desktop(task: str) -> None:
    env = make_sim_desktop(task=task)
    _, info = env.reset(seed=2)
    *_, info = env.step(to_rows([env.locate(info["instruction"])[0].center]))
    assert info["is_success"], info


# --- Theirs -> ours ---------------------------------------------------------------------------------------------------


def test_a_pointing_env_keeps_the_envs_protocol() -> None:
    testing.check_env(GymnasiumEnv(PointTarget()))
    assert load_env("MolmoAgent/PointTarget-v0", num_shapes=3).name == "MolmoAgent/PointTarget-v0"


def test_clicks_and_points_are_the_same_and_everything_else_is_refused() -> None:
    for kind in (Click, lambda point: PointAt((point,))):
        env = GymnasiumEnv(PointTarget())
        _, info = env.reset(seed=5)
        assert env.locate is not None
        *_, told = env.step(kind(env.locate(info["instruction"])[0].center))
        assert told["is_success"]
    env = load_env("MolmoAgent/PointTarget-v0")
    with pytest.raises(UsageError, match=r"has no episode; call reset\(\) first"):
        env.observe()
    env.reset(seed=5)
    with pytest.raises(ActionRefused, match="takes at most 1 points at a time, got 2"):
        env.step(PointAt((MIDDLE, MIDDLE)))
    for action in (Click(MIDDLE, button="right"), Click(MIDDLE, count=2), Drag(MIDDLE, MIDDLE)):
        with pytest.raises(ActionRefused, match="it executes: Click \\(left, once\\), PointAt, Wait"):
            env.step(action)


def test_what_the_env_refuses_reaches_the_caller_with_its_reason() -> None:
    env = GymnasiumEnv(make_minigrid())
    env.reset(seed=1)
    with pytest.raises(ActionRefused, match=r"refused Point at .*: no way leads to \(0.000, 0.000\), a grey wall"):
        env.step(PointAt((Point(0.0, 0.0),)))


def test_an_env_without_points_is_answered_with_what_helps() -> None:
    with pytest.raises(UsageError, match=r"of CartPole-v1, got Discrete\(2\).*PointingAction\(env, executor\)"):
        load("gymnasium:CartPole-v1")
    with pytest.raises(UnknownNameError, match="did you mean MolmoAgent/PointTarget-v0"):
        load_env("MolmoAgent/PointTraget-v0")
    with pytest.raises(UnknownNameError, match="unknown gymnasium env 'CartPol-v1': did you mean CartPole-v1"):
        load_env("gymnasium:CartPol-v1")
    with pytest.raises(UsageError, match="gymnasium cannot make 'no_such_module:X-v0'"):
        load("gymnasium:no_such_module:X-v0")

    class Grey(gymnasium.ObservationWrapper[Any, Any, Any]):
        observation_space = gymnasium.spaces.Box(0, 255, (240, 320), np.uint8)

        def observation(self, observation: Any) -> Any:
            return observation[:, :, 0]

    with pytest.raises(UsageError, match=r"expected images \(height, width, 3\) uint8 as observations"):
        GymnasiumEnv(Grey(PointTarget()))


def test_a_waypoint_policy_gives_up_on_doubt_and_after_a_refusal() -> None:
    testing.check_policy(WaypointPolicy(ScriptedModel(["hm"])))
    env = GymnasiumEnv(PointTarget())
    run = rollout(WaypointPolicy(ScriptedModel(["hm"])), env, seed=0)
    (step,) = run
    assert step.action.message == "the model gave no usable point (unparsed)"  # type: ignore[union-attr]
    walled = rollout(
        WaypointPolicy(ScriptedModel(['<point x="0.0" y="0.0">it</point>'])), GymnasiumEnv(make_minigrid())
    )
    assert [bool(step.refused) for step in walled] == [True, False]
    assert "the point was refused: MolmoAgent" not in walled.trajectory.ended
    assert "no way leads to" in walled.trajectory.ended


def test_the_command_line_runs_a_gymnasium_env(tmp_path: Path) -> None:
    for model, code in (("oracle", 0), ("centre", 1)):
        options = ["--model", model, "--seed", "4", "--out", str(tmp_path / model)]
        done = CliRunner().invoke(app, ["run", "--env", "MolmoAgent/PointTarget-v0", *options])
        assert done.exit_code == code, done.output
        assert "point at the yellow cross" in done.output
    listed = CliRunner().invoke(app, ["envs", "--json"]).output
    assert all(name in listed for name in IDS)


# --- Executors --------------------------------------------------------------------------------------------------------


class Line(gymnasium.Env[Any, int]):
    """A place on a line of ten; 1 steps right, 0 left; the end on the right is the goal."""

    observation_space = gymnasium.spaces.Box(0, 255, (4, 10, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.seed, self.at = seed, 0
        return self.show(), {}

    def step(self, action: int) -> Any:
        self.at += 1 if action else -1
        return self.show(), 1.0, self.at == 9, False, {}

    def show(self) -> Any:
        picture = np.zeros((4, 10, 3), np.uint8)
        picture[:, self.at] = 255
        return picture


def to_column(env: Any, points: tuple[Point, ...]) -> Any:
    for point in points:
        column = point.to_pixels(10, 4)[0]
        while env.unwrapped.at != column:
            if column == 5 and env.unwrapped.at == 3:
                raise ActionRefused("the bridge is up")
            yield int(column > env.unwrapped.at)
        if column == 0:
            raise ActionRefused("nothing to do at the start")


def reached_the_end(env: Any, reward: float, terminated: bool, info: dict[str, Any]) -> bool:
    return terminated


def test_one_point_is_as_many_native_steps_as_its_executor_makes() -> None:
    env = PointingAction(
        Line(), to_column, instruction="go right", success=reached_the_end, limits=Limits(max_points=2)
    )
    env.reset(seed=11)
    assert env.native.unwrapped.seed == 11  # type: ignore[attr-defined]
    picture, reward, terminated, _, info = env.step(to_rows([Point(0.45, 0.5), Point(0.25, 0.5)], 2))
    assert picture[0, 2, 0] == 255
    assert (reward, terminated, info["native_steps"], info["stopped"]) == (6.0, False, 6, "")
    assert "in_mask" not in info
    still, *_, info = env.step(to_rows([], 2))
    assert np.array_equal(still, picture)
    assert info["native_steps"] == 6
    *_, terminated, _, info = env.step(to_rows([Point(0.95, 0.5), Point(0.1, 0.5)], 2))
    assert (terminated, info["is_success"]) == (True, True)


def test_an_executor_refuses_at_once_or_stops_on_the_way_and_both_are_reported() -> None:
    env = PointingAction(Line(), to_column, instruction="go right", limits=Limits(max_native_steps=4))
    _, info = env.reset(seed=0)
    assert "is_success" not in info  # nobody said what success is
    *_, info = env.step(to_rows([Point(0.05, 0.5)]))
    assert (info["point_status"], info["refusal"]) == ("refused", "nothing to do at the start")
    *_, info = env.step(to_rows([Point(0.55, 0.5)]))
    assert (info["point_status"], info["stopped"], info["native_steps"]) == ("ok", "the bridge is up", 3)
    *_, info = env.step(to_rows([Point(0.85, 0.5)]))
    assert (info["stopped"], info["native_steps"]) == ("stopped after 4 native steps", 7)


def test_an_env_that_says_too_little_for_pointing_is_reported() -> None:
    with pytest.raises(UsageError, match=r"pass PointingAction\(\.\.\., instruction="):
        PointingAction(Line(), to_column).reset(seed=0)
    with pytest.raises(UsageError, match=r"pass PointingAction\(\.\.\., target_mask="):
        PointingAction(Line(), to_column, instruction="go").target_mask()
    with pytest.raises(UsageError, match=r"wrap the env in gymnasium\.wrappers\.AddRenderObservation"):
        PointingAction(gymnasium.make("CartPole-v1"), to_column)


def test_a_pointing_env_can_be_wrapped_again_with_its_own_words() -> None:
    class Native(Line):
        task_description = "go right"

        def target_mask(self) -> Any:
            mask = np.zeros((4, 10), bool)
            mask[:, 9] = True
            return mask

    env = PointingAction(Native(), to_column, success=reached_the_end)
    _, info = env.reset()
    assert (info["instruction"], info["in_mask"]) == ("go right", False)
    *_, info = env.step(to_rows([env.locate("")[0].center]))
    assert info["in_mask"]
    assert info["is_success"]


def test_minigrid_is_walked_by_pointing_with_key_and_door() -> None:
    env = make_minigrid("MiniGrid-DoorKey-8x8-v0")
    env.reset(seed=2)
    world: Any = env.native.unwrapped
    cells = {}
    for x in range(8):
        for y in range(8):
            if (thing := world.grid.get(x, y)) is not None:
                cells[thing.type] = Point((x + 0.5) / 8, (y + 0.5) / 8)
    *_, terminated, _, info = env.step(to_rows([cells["key"], cells["door"], cells["goal"]], 4))
    assert (terminated, info["is_success"], info["in_mask"], info["stopped"]) == (True, True, True, "")
    assert info["native_steps"] < 40
    *_, info = (env.reset(seed=2), env.step(to_rows([cells["goal"]], 4)))[1]
    assert info["refusal"].startswith("no way leads to")


# --- Views ------------------------------------------------------------------------------------------------------------


CHAINS = {
    "crop": lambda chain: chain.crop(20, 10, 310, 230),
    "crop and resize": lambda chain: chain.crop(20, 10, 310, 230).resize(145, 330),
    "turn": lambda chain: chain.rotate(90),
    "border": lambda chain: chain.pad(30, 0, 10, 50).resize(200, 200),
}


@pytest.mark.parametrize("how", CHAINS)
def test_a_point_on_a_view_lands_where_it_lands_without_one(how: str) -> None:
    chain = CHAINS[how](ImageTransform.identity(320, 240))
    for seed in range(6):
        view = ImageView(PointTarget(), chain)
        picture, info = view.reset(seed=seed)
        assert picture in view.observation_space
        boxes = view.locate(info["instruction"])
        if not boxes:
            continue
        x, y = boxes[0].center.to_pixels(chain.width, chain.height)
        plain = PointTarget()
        whole, _ = plain.reset(seed=seed)
        px, py = plain.locate(info["instruction"])[0].center.to_pixels(320, 240)
        assert np.abs(picture[y, x].astype(int) - whole[py, px]).max() < 90  # the same shape, other grain
        *_, told = view.step(to_rows([boxes[0].center]))
        assert told["is_success"]
        assert told["pixel_error"] == 0.0


def test_a_point_on_a_border_of_a_view_is_no_place() -> None:
    view = ImageView(PointTarget(), ImageTransform.identity(320, 240).pad(0, 0, 320, 0))
    view.reset(seed=0)
    *_, info = view.step(to_rows([Point(0.9, 0.5)]))
    assert (info["point_status"], info["refused_points"]) == ("out_of_range", 1)


def test_a_view_shows_what_its_chain_says() -> None:
    image = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    start = ImageTransform.identity(6, 4)
    assert np.array_equal(show(image, start.crop(1, 2, 5, 4)), image[2:4, 1:5])
    assert np.array_equal(show(image, start.rotate(90)), np.rot90(image, -1))
    assert np.array_equal(show(image, start.pad(1, 0, 0, 2))[:4, 1:], image)


def test_gymnasiums_resizing_leaves_points_alone() -> None:
    plain = PointTarget()
    space = gymnasium.spaces.Box(0, 255, (60, 80, 3), np.uint8)
    env: Any = TransformObservation(plain, lambda picture: picture[::4, ::4].copy(), space)
    adapted = GymnasiumEnv(env)
    seen, info = adapted.reset(seed=3)
    assert seen.size == (80, 60)
    assert adapted.locate is not None
    *_, told = adapted.step(PointAt((adapted.locate(info["instruction"])[0].center,)))
    assert told["is_success"]


def test_the_documentation_runs_as_it_is_written(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "gymnasium.md").read_text(encoding="utf-8")
    assert {f"MolmoAgent/{name}" for name in re.findall(r"`(?:MolmoAgent/)?(\w+-v0)`", text)} == set(IDS)
    names = []
    for number, block in enumerate(re.findall(r"```python\n(.*?)```", text, re.S)):
        file = tmp_path / f"block{number}.py"
        file.write_text(block, encoding="utf-8")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=DeprecationWarning)  # what pygame imports
            names.append(runpy.run_path(str(file)))
        assert len(block.splitlines()) < 40
    assert names[0]["info"]["instruction"] == "drive to the purple barrel"
    ours = names[1]["ours"]
    ours.reset(seed=0)
    for cell, over in (((0, 2), False), ((3, 2), False), ((3, 3), True)):
        row, column = cell
        *_, terminated, _, info = ours.step(PointAt((Point.from_pixel(column, row, 4, 4),)))
        assert terminated is over
    assert info["is_success"]


def test_a_subclass_needs_four_methods_only() -> None:
    class Half(PointingEnv):
        def begin(self, rng: np.random.Generator, options: dict[str, Any]) -> str:
            return "point at the left half"

        def image(self) -> Any:
            return np.full((10, 20, 3), 9, np.uint8)

        def target_mask(self) -> Any:
            return np.arange(20) < np.full((10, 1), 10)

        def point_at(self, points: tuple[Point, ...]) -> Outcome:
            return Outcome(success=points[0].x < 0.5, terminated=True, reward=1.0)

    env = Half(size=(20, 10))
    _, info = env.reset()
    *_, info = env.step(to_rows([Point(0.1, 0.1)]))
    assert (info["is_success"], info["in_mask"]) == (True, True)
