from pathlib import Path

import numpy as np
import pytest

from molmo_agent import load_env, load_model
from molmo_agent.errors import ModelError, UnknownNameError, UsageError
from molmo_agent.geometry import Point
from molmo_agent.interfaces import Env, PointingModel
from molmo_agent.registry import ENVS, MODELS, POLICIES, load_attribute
from molmo_agent.testing import ToyEnv


@pytest.mark.parametrize("path", [path for path, _ in (*ENVS.values(), *MODELS.values(), *POLICIES.values())])
def test_every_name_leads_to_something_that_can_be_called(path: str) -> None:
    assert callable(load_attribute(path))


def test_envs_and_models_are_made_by_name() -> None:
    env = load_env("toy")
    assert isinstance(env, Env)
    assert isinstance(load_model("oracle", env=env), PointingModel)
    assert isinstance(load_model("centre"), PointingModel)


def test_a_typo_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="did you mean nano"):
        load_model("nanoo")
    with pytest.raises(UnknownNameError, match="did you mean desktop or sim-desktop"):
        load_env("desktop1")


def test_the_oracle_needs_an_env_that_knows_the_truth() -> None:
    with pytest.raises(UsageError, match="no env was given"):
        load_model("oracle")

    class Blind(ToyEnv):
        locate = None  # type: ignore[assignment]

    with pytest.raises(UsageError, match="'toy' does not"):
        load_model("oracle", env=Blind())


def test_a_folder_without_a_checkpoint_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="expected a Molmo checkpoint"):
        load_model(str(tmp_path))


def test_prepared_answers_are_read_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text('{"the Save button": [0.5, 0.25], "stars": [[0, 0], [1, 1]]}')
    model = load_model(f"scripted:{file}")
    assert model.name == "scripted"
    picture = np.zeros((4, 4, 3), dtype=np.uint8)
    assert [p.point for p in model.point(picture, "the Save button").points] == [Point(0.5, 0.25)]
    assert len(model.point(picture, "stars").points) == 2
    assert model.point(picture, "anything else").status == "none"


@pytest.mark.parametrize(
    "text", ["[]", "{", '{"a": 3}', '{"a": [2, 0]}', '{"a": [0.1]}', '{"a": []}', '{"a": ["x", 0]}']
)
def test_prepared_answers_that_are_none_are_told_with_an_example(text: str, tmp_path: Path) -> None:
    file = tmp_path / "answers.json"
    file.write_text(text)
    with pytest.raises(UsageError, match=r'expected .* to be JSON like \{"the Save button"'):
        load_model(f"scripted:{file}")


def test_prepared_answers_need_a_file() -> None:
    with pytest.raises(UsageError, match="expected a file of prepared answers"):
        load_model("scripted")
    with pytest.raises(UsageError, match="cannot read the prepared answers"):
        load_model("scripted:missing.json")
