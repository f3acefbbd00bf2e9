"""Waypoint scenes as training pictures: what is asked for is where the box says."""

from random import Random

import pytest

from molmo_agent.envs.worlds.floor.env import FloorNav
from molmo_agent.envs.worlds.grid_nav import GridNav
from molmo_agent.envs.worlds.table.env import TablePick
from molmo_agent.errors import EnvError, MissingExtraError, UsageError
from molmo_agent.synthetic.referring.questions import ask
from molmo_agent.synthetic.sample import draw

SIZES = {"room": (320, 240), "map": (336, 252), "table": (160, 120)}


def scene_or_skip(style: str, seed: int = 0, size: tuple[int, int] | None = None):
    width, height = size or SIZES[style]
    try:
        return draw(seed, style, width=width, height=height, split="train")
    except (MissingExtraError, EnvError) as error:
        assert style == "table"
        pytest.skip(str(error))


@pytest.mark.parametrize("style", SIZES)
def test_every_thing_of_a_scene_can_be_asked_for_by_a_look_that_no_other_has(style):
    asked = 0
    for seed in range(3):
        screen = scene_or_skip(style, seed)
        assert screen.image.shape == (*SIZES[style][::-1], 3)
        looks = [(element.color, element.shape) for element in screen.elements]
        assert len(looks) == len(set(looks)) > 1
        for question in ask(screen, Random(seed), none=0, several=0):
            assert question.category in ("shape", "place", "order", "neighbour", "look"), question
            assert question.element.visible
            asked += 1
    assert asked > 5


def test_the_middle_of_a_box_lies_on_the_thing_itself():
    env, checked = FloorNav(), 0
    for seed in range(3):
        screen = draw(seed, "room", width=env.size[0], height=env.size[1], split="train")
        image, _ = env.reset(seed=seed)
        assert (image == screen.image).all()
        masks = {(colour or None, kind): mask for (colour, kind), mask in env.things().items()}
        for element in screen.elements:
            x, y = (int(value) for value in element.center)
            assert masks[element.color, element.shape][y, x]
            checked += 1
    assert checked > 3


def test_the_target_of_an_episode_is_among_the_things():
    for env in (FloorNav(), GridNav()):
        env.reset(seed=4)
        assert any((mask == env.target_mask()).all() and mask.any() for mask in env.things().values())


def test_a_table_names_its_plates_and_what_lies_there():
    try:
        env = TablePick(width=160, height=120)
        env.reset(seed=1)
    except (MissingExtraError, EnvError) as error:
        pytest.skip(str(error))
    things = env.things()
    named = env.task_description.removeprefix("put the ").split(" on the ")
    assert {tuple(name.split(" ", 1)) for name in named} <= set(things)
    colour, kind = named[1].split(" ", 1)
    assert (things[colour, kind] == env.target_mask()).all()


def test_a_map_that_does_not_fill_the_picture_stands_on_a_ground():
    screen = scene_or_skip("map", 5, (331, 257))
    assert screen.image.shape == (257, 331, 3)
    assert screen.elements
    for element in screen.elements:
        left, top, right, bottom = element.box
        assert 0 <= left < right <= 331
        assert 0 <= top < bottom <= 257


def test_a_picture_too_small_for_a_scene_is_refused():
    with pytest.raises(UsageError, match="at least 48 x 48 pixels"):
        draw(0, "room", width=40, height=40, split="train")
    with pytest.raises(UsageError, match="at least 6 x 6 cells"):
        draw(0, "map", width=100, height=100, split="train")
